package watchdog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"tocsin/evaluator/httpconf"
	"tocsin/oncall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is a dead man's switch.
type far struct {
	mu     sync.Mutex
	pulses []time.Time
	status int
	err    error
}

func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if r.URL.Path != "/ping/hunter2" || r.Method != http.MethodGet || r.Header.Get("X-Team") != "shop" {
		return nil, errors.New("not what was configured")
	}
	f.pulses = append(f.pulses, time.Now())
	return &http.Response{StatusCode: f.status, Status: http.StatusText(f.status), Body: http.NoBody, Request: r}, nil
}

func (f *far) set(status int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.err = status, err
}

func (f *far) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pulses)
}

// part is a check that a test breaks.
type part struct {
	mu    sync.Mutex
	err   error
	asked int
}

func (p *part) run(context.Context, oncall.Lease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.err != nil && p.err.Error() == "panic" {
		panic("a defect")
	}
	return p.err
}

func (p *part) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func target(t *testing.T, f *far) *Target {
	u, err := url.Parse("https://deadman.example/ping/hunter2")
	if err != nil {
		t.Fatal(err)
	}
	to, err := NewTarget(Config{Every: time.Minute, Config: httpconf.Config{URL: u, Timeout: time.Second, Headers: map[string]string{"X-Team": "shop"}}}, f)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// pass lets time go by; what is due at its end happens.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble: no real time
	synctest.Wait()
}

// TestPulse sends pulses while all is well, withholds them at once when a part is not, says why, once for each pulse
// that is due, and goes on soon after it is mended.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f, store, slack := &far{status: 200}, &part{}, &part{}
		registry := prometheus.NewPedanticRegistry()
		w := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry, Checks: []Check{
			{Name: "store", Run: store.run}, {Name: "slack", Hold: 10 * time.Minute, Run: slack.run}}})
		if _, ok := w.Report(); !ok {
			t.Error("nothing is configured, and that is a failure")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { w.Run(ctx, oncall.Lease{}) })
		pass(time.Hour)
		w.Apply(target(t, f))
		pass(5*time.Minute + time.Second)
		if f.count() != 6 || store.asked != 6 || slack.asked != 1 {
			t.Fatalf("%d pulses, asked %d and %d times", f.count(), store.asked, slack.asked)
		}
		store.set(errors.New("the disk is full"))
		pass(3 * time.Minute)
		text, ok := w.Report()
		if f.count() != 6 || ok || !strings.Contains(text, "store: FAILED since 2000-01-01T01:06:00Z: the disk is full\n") || !strings.Contains(text, "withheld") {
			t.Errorf("%d pulses, %v\n%s", f.count(), ok, text)
		}
		if n := strings.Count(log.String(), "store: the disk is full"); n < 2 || n > 3 {
			t.Errorf("complained %d times:\n%s", n, log.String())
		}
		store.set(errors.New("panic"))
		pass(11 * time.Second)
		if text, _ := w.Report(); !strings.Contains(text, "a defect") {
			t.Error(text)
		}
		store.set(nil)
		pass(11 * time.Second)
		if text, ok := w.Report(); f.count() != 7 || !ok || strings.Contains(text, "FAILED") {
			t.Errorf("%d pulses, %v\n%s", f.count(), ok, text)
		}
		f.set(500, nil)
		pass(2 * time.Minute)
		text, ok = w.Report()
		if ok || !strings.Contains(text, "The pulse does not arrive: the far end answered") {
			t.Error(text)
		}
		f.set(200, &url.Error{Op: "Get", URL: "https://deadman.example/ping/hunter2", Err: errors.New("refused")})
		pass(time.Minute)
		f.set(200, nil)
		pass(11 * time.Second)
		if _, ok := w.Report(); !ok {
			t.Error("it does not go on")
		}
		w.Apply(nil)
		before := f.count()
		pass(time.Hour)
		if f.count() != before {
			t.Error("pulses are sent to what is not configured any more")
		}
		cancel()
		wg.Wait()
		if text, _ := w.Report(); strings.Contains(log.String()+text, "hunter2") {
			t.Errorf("the address was shown:\n%s", log.String())
		}
		if n := testutil.CollectAndCount(registry, "tocsin_watchdog_ok", "tocsin_watchdog_pulses_total"); n != 5 {
			t.Errorf("%d series", n)
		}
	})
}

// TestStandby: who does not have the watch sends nothing, and does not say that it is ill.
func TestStandby(t *testing.T) {
	w := New(Options{Checks: []Check{{Name: "store", Run: (&part{}).run}}})
	w.Apply(target(t, &far{status: 200}))
	if text, ok := w.Report(); !ok || !strings.Contains(text, "does not have the watch") {
		t.Error(ok, text)
	}
}

// parts is a store whose answers a test chooses.
type parts struct {
	b   oncall.Backlog
	err error
}

func (p parts) Writable(_ context.Context, w oncall.Write) error {
	if w.Lease == nil || w.Lease.Epoch != 7 {
		return errors.New("not under the lease")
	}
	return p.err
}

func (p parts) Backlog(context.Context, time.Time, int64) (oncall.Backlog, error) { return p.b, p.err }

// TestChecks: each part says what is wrong in words that somebody can act on.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ago := time.Now().Add(-2 * time.Minute)
		read := func() (int64, bool) { return 5, true }
		slack := func(err error) Check {
			return SlackCheck(func() func(context.Context) error { return func(context.Context) error { return err } })
		}
		for _, c := range []struct {
			check Check
			want  string // "" for well
		}{
			{StoreCheck(parts{}), ""}, {StoreCheck(parts{err: errors.New("full")}), "full"},
			{RulesCheck(func(time.Time) []string { return nil }), ""},
			{RulesCheck(func(time.Time) []string { return []string{"a", "b", "c", "d", "e"} }), "not evaluated in time: a, b, c, 2 more"},
			{QueuesCheck(parts{}, read), ""}, {QueuesCheck(parts{}, func() (int64, bool) { return 0, false }), "the dispatcher does not work yet"},
			{QueuesCheck(parts{err: errors.New("away")}, read), "away"},
			{QueuesCheck(parts{b: oncall.Backlog{Received: ago, Timer: ago}}, read), "alerts that were received 2m0s ago were not dispatched, a timer of an incident is overdue by 2m0s"},
			{QueuesCheck(parts{b: oncall.Backlog{Change: ago}}, read), "a change of an alert has waited for its incident for 2m0s"},
			{QueuesCheck(parts{b: oncall.Backlog{Page: ago, Endpoint: "page:sms/0"}}, read), "a page to page:sms/0 was not tried for 2m0s"},
			{QueuesCheck(parts{b: oncall.Backlog{Notification: ago, Integration: "webhook_configs:hook/0"}}, read), "a notification of a group by webhook_configs:hook/0 waits for an attempt for 2m0s"},
			{slack(nil), ""}, {slack(oncall.Errorf(oncall.CodeUnavailable, "no answer")), ""}, {slack(oncall.Errorf(oncall.CodeForbidden, "token_revoked")), "token_revoked"},
			{SlackCheck(func() func(context.Context) error { return nil }), ""},
		} {
			err := c.check.Run(t.Context(), oncall.Lease{Epoch: 7})
			if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("%s: %v, want %q", c.check.Name, err, c.want)
			}
		}
	})
}
