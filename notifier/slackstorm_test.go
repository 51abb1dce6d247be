package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/notifier/chart"
	"tocsin/notifier/slack"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// one is a change of one of many alerts of the same incident, as the evaluator reports it.
func (r *rig) one(status oncall.ChangeStatus, i int) {
	c := alertOf("session")
	b := labels.NewBuilder(c.Labels)
	c.Labels = b.Set("instance", fmt.Sprintf("session-%d", i)).Labels()
	c.Status, c.At, c.StartsAt = status, time.Now(), time.Now()
	c.Evidence.Expr = "session_memory_bytes / session_memory_limit_bytes > 0.8"
	r.evaluate(oncall.Evaluation{At: time.Now(), Changes: []oncall.AlertChange{c}})
}

// TestStormEndsInTheLatestState: changes faster than Slack takes edits become fewer edits, at most one a second, and the
// last of them shows the end.
func TestStormEndsInTheLatestState(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{RateLimit: true})
		const n = 120
		began := time.Now()
		for i := range n {
			r.one(oncall.ChangeFiring, i)
			r.pass(100 * time.Millisecond)
		}
		r.pass(3 * time.Second)
		ms := roots(s, "#session")
		if len(ms) != 1 || !strings.Contains(string(ms[0].Blocks), fmt.Sprintf("*%d alerts* firing", n)) {
			t.Fatalf("after the storm Slack shows %d messages: %s", len(ms), ms[0].Blocks)
		}
		for i := range n {
			r.one(oncall.ChangeResolved, i)
			r.pass(100 * time.Millisecond)
		}
		r.pass(5 * time.Second)
		if m := roots(s, "#session")[0]; !strings.Contains(m.Text, "Resolved") || !strings.Contains(string(m.Blocks), fmt.Sprintf("%d alerts resolved", n)) {
			t.Errorf("in the end it shows %q: %s", m.Text, m.Blocks)
		}
		if edits := len(s.Calls("chat.update")); edits < 3 || edits > int(time.Since(began).Seconds())+2 {
			t.Errorf("%d edits in %s", edits, time.Since(began))
		}
	})
}

// slowSeries hangs, as a backend may, then answers or fails.
type slowSeries struct {
	asked atomic.Int64
	fails bool
}

func (s *slowSeries) Series(ctx context.Context, _ oncall.Evidence, _ string, from, to time.Time, step time.Duration) ([]chart.Series, error) {
	s.asked.Add(1)
	if s.fails {
		<-ctx.Done()
		return nil, errors.New("the backend did not answer in time")
	}
	<-time.After(8 * time.Second)
	var x chart.Series
	for at := from; !at.After(to); at = at.Add(step) {
		x.Points = append(x.Points, chart.Point{At: at, Value: 0.9})
	}
	return []chart.Series{x}, nil
}

// withCharts is withSlack, with data for charts from somewhere slow.
func withCharts(t *testing.T, r *rig, src *slowSeries) *slacktest.Server {
	s := withSlack(t, r, slacktest.Options{})
	w := slack.NewWorkspaces([]slack.Config{{BotToken: s.Token(), SigningSecret: s.SigningSecret(), APIURL: s.APIURL()}},
		slack.Options{Acts: r.acts, Policy: func() oncall.Policy { return r.policy }, Logger: slog.New(slog.DiscardHandler), Series: src,
			HTTPClient: &http.Client{Transport: slacktest.Transport{"slack.test": s}, Timeout: 10 * time.Second}}, nil)
	t.Cleanup(func() { w.Close() })
	r.more = map[string]notifier.Sender{"slack": w, "chart": w}
	r.policy.Charts = true
	r.apply(r.policy)
	return s
}

// TestChartsHoldUpNoText: while the data of a chart is waited for, the message is edited, replied to and paged about as
// ever; the chart comes into its thread when it is there, and once more at the end.
func TestChartsHoldUpNoText(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withCharts(t, r, &slowSeries{})
		r.one(oncall.ChangeFiring, 0)
		r.pass(2 * time.Second)
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(3 * time.Second)
		m := roots(s, "#session")[0]
		if !strings.Contains(m.Text, "Acknowledged") || len(s.Thread("#session", m.TS)) != 1 {
			t.Fatalf("while the chart waits Slack shows %q and %d replies", m.Text, len(s.Thread("#session", m.TS)))
		}
		r.pass(10 * time.Second)
		if n := pictures(s, m.TS); n != 1 {
			t.Errorf("%d charts while it is open", n)
		}
		r.one(oncall.ChangeResolved, 0)
		r.pass(20 * time.Second)
		if n := pictures(s, m.TS); n != 2 {
			t.Errorf("%d charts in the end", n)
		}
	})
}

// TestChartsAreGivenUpQuietly: without data there is no chart, after a few attempts, and nobody is told anything else
// for that; the timeline says so.
func TestChartsAreGivenUpQuietly(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		src := &slowSeries{fails: true}
		s := withCharts(t, r, src)
		r.one(oncall.ChangeFiring, 0)
		r.pass(4 * time.Minute)
		m := roots(s, "#session")[0]
		if n := pictures(s, m.TS); n != 0 || src.asked.Load() != 4 {
			t.Errorf("%d charts after %d questions", n, src.asked.Load())
		}
		said := 0
		for _, e := range r.incident(1).Timeline {
			if e.Kind == oncall.EntryNotDelivered {
				t.Errorf("the timeline says %q", e.Text)
			}
			if strings.Contains(e.Text, "it is only a picture") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("the timeline says %d times that the chart was given up", said)
		}
	})
}

func pictures(s *slacktest.Server, ts string) (n int) {
	for _, reply := range s.Thread("#session", ts) {
		n += len(reply.Files)
	}
	return n
}
