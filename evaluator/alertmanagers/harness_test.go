package alertmanagers_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"tocsin/evaluator"
	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/alertmanagers/alertmanagertest"
	"tocsin/evaluator/httpconf"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// hosts sends requests to servers by host name.
type hosts map[string]*alertmanagertest.Server

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) { return h[r.URL.Host].RoundTrip(r) }

func config(t testing.TB, address string) alertmanagers.Config {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return alertmanagers.Config{Config: httpconf.Config{URL: u, Timeout: 5 * time.Second, Headers: map[string]string{"X-Team": "shop"}}}
}

// rig is a Forwarder with an evaluator that the test plays.
type rig struct {
	t    testing.TB
	f    *alertmanagers.Forwarder
	reg  *prometheus.Registry
	log  lockedBuffer
	stop func()

	mu     sync.Mutex
	active map[string]evaluator.Forwarded
}

// lockedBuffer keeps what is logged.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB, servers hosts, o alertmanagers.Options) *rig {
	t.Helper()
	r := &rig{t: t, reg: prometheus.NewRegistry(), active: map[string]evaluator.Forwarded{}}
	o.Active, o.Logger, o.Registerer, o.Version = r.list, slog.New(slog.NewTextHandler(&r.log, nil)), r.reg, "1.2.3"
	var configs []alertmanagers.Config
	for host := range servers {
		configs = append(configs, config(t, "http://"+host+"/am"))
	}
	if servers != nil {
		o = o.WithTransport(servers)
	}
	f, err := alertmanagers.New(configs, o)
	if err != nil {
		t.Fatal(err)
	}
	r.f = f
	return r
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.f.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) list() []evaluator.Forwarded {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []evaluator.Forwarded
	for _, a := range r.active {
		out = append(out, a)
	}
	return out
}

func alertOf(name string) evaluator.Forwarded {
	return evaluator.Forwarded{
		Labels: labels.FromStrings("alertname", name, "cluster", "shop-1"), Annotations: map[string]string{"summary": "<b>it is</b>"},
		GeneratorURL: "http://prometheus.example/graph?g0.expr=up+%3D%3D+0", Interval: 15 * time.Second,
	}
}

// fire and resolve do what the evaluator does: change its state, then forward.
func (r *rig) fire(names ...string) {
	var alerts []evaluator.Forwarded
	r.mu.Lock()
	for _, name := range names {
		a := alertOf(name)
		a.StartsAt = time.Now()
		r.active[name] = a
		alerts = append(alerts, a)
	}
	r.mu.Unlock()
	r.f.Forward(alerts)
}

func (r *rig) resolve(names ...string) {
	var alerts []evaluator.Forwarded
	r.mu.Lock()
	for _, name := range names {
		a := r.active[name]
		delete(r.active, name)
		a.EndsAt = time.Now()
		alerts = append(alerts, a)
	}
	r.mu.Unlock()
	r.f.Forward(alerts)
}

func wantFiring(t *testing.T, s *alertmanagertest.Server, want ...string) {
	t.Helper()
	if got := s.Firing(time.Now(), "alertname"); !slices.Equal(got, want) {
		t.Errorf("firing %q, want %q", got, want)
	}
	if len(s.Refused()) > 0 {
		t.Errorf("refused: %v", s.Refused())
	}
}
