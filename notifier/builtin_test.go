package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// postings is a store that keeps what was posted, and fails on demand.
type postings struct {
	mu   sync.Mutex
	all  []string
	fail error
}

func (p *postings) Receive(_ context.Context, w oncall.Write, posted []oncall.PostedAlert) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	for _, a := range posted {
		state := "firing"
		if !a.EndsAt.After(w.Now) {
			state = "ended"
		}
		p.all = append(p.all, fmt.Sprintf("%s %s %s", w.Now.UTC().Format("04:05"), state, a.Labels))
	}
	return nil
}

func (p *postings) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.all, "\n")
	p.all = nil
	return s
}

// TestBuiltins: a finding is posted at once, again each minute, with what changed in its words at once, and its end
// once; what the store did not take is posted again.
func TestBuiltins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var found []notifier.Finding
		set := func(fs ...notifier.Finding) {
			mu.Lock()
			defer mu.Unlock()
			found = fs
		}
		p := &postings{}
		b := notifier.NewBuiltins(notifier.BuiltinOptions{Store: p, External: func() labels.Labels { return labels.FromStrings("cluster", "c1", "severity", "none") },
			Findings: func() []notifier.Finding { mu.Lock(); defer mu.Unlock(); return found }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx, oncall.Lease{}) }()
		after := func(d time.Duration) string {
			time.Sleep(d) // the bubble's time
			synctest.Wait()
			return p.take()
		}
		if s := after(10 * time.Second); s != "" {
			t.Errorf("without findings: %s", s)
		}
		one := notifier.Finding{Labels: labels.FromStrings("alertname", "A", "severity", "critical"), Annotations: labels.FromStrings("summary", "1"), Since: time.Now()}
		const a = `{alertname="A", cluster="c1", severity="critical"}`
		set(one)
		if s := after(time.Second); s != "00:11 firing "+a {
			t.Errorf("a finding: %s", s)
		}
		if s := after(65 * time.Second); s != "01:11 firing "+a {
			t.Errorf("it lasts: %s", s)
		}
		one.Annotations = labels.FromStrings("summary", "2")
		set(one)
		if s := after(time.Second); s != "01:17 firing "+a {
			t.Errorf("in other words: %s", s)
		}
		p.mu.Lock()
		p.fail = errors.New("away")
		p.mu.Unlock()
		set()
		after(5 * time.Second)
		p.mu.Lock()
		p.fail = nil
		p.mu.Unlock()
		if s := after(5 * time.Second); !strings.HasSuffix(s, " ended "+a) || strings.Contains(s, "\n") {
			t.Errorf("mended: %s", s)
		}
		p.mu.Lock()
		p.fail = oncall.ErrLeaseLost
		p.mu.Unlock()
		set(one)
		if err := <-done; !errors.Is(err, oncall.ErrLeaseLost) {
			t.Error(err)
		}
		cancel()
	})
}
