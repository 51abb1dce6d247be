package notifier_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// heard returns what the dispatcher would read of heartbeats.
func (r *rig) heard() (said []string) {
	rows, err := r.store.ReceivedAfter(r.t.Context(), 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, row := range rows {
		for _, c := range row.Changes {
			if c.Labels.Get("alertname") == oncall.HeartbeatAlert {
				said = append(said, fmt.Sprintf("%s %s %s", c.Status, c.Labels.Get("heartbeat"), c.Escalation))
			}
		}
	}
	return said
}

// TestHeartbeatLoop: a beat that does not come is told on time, one that comes again ends that at once, and a reload
// or a restart changes neither.
func TestHeartbeatLoop(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		registry := prometheus.NewPedanticRegistry()
		l := notifier.NewHeartbeats(notifier.HeartbeatOptions{Store: r.store, Registerer: registry})
		start := func(aliveAt time.Time) (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := l.Run(ctx, r.lease, aliveAt); err != nil {
					t.Error(err)
				}
			})
			return func() { cancel(); wg.Wait() }
		}
		if err := l.Beat(t.Context(), "backup", ""); oncall.ErrorCode(err) != oncall.CodeUnavailable {
			t.Errorf("before the first configuration: %v", err)
		}
		token := oncall.Heartbeat{Name: "till", Every: 24 * time.Hour, Escalation: "ops", Token: make([]byte, 32)}
		l.Apply([]oncall.Heartbeat{{Name: "backup", Every: time.Minute, Grace: 10 * time.Second, Escalation: "ops"}, token}, labels.EmptyLabels())
		stop := start(time.Time{})
		beat := func(name string) {
			t.Helper()
			if err := l.Beat(t.Context(), name, ""); err != nil {
				t.Fatal(err)
			}
			l.Wake() // as a commit does
		}
		want := func(want ...string) {
			t.Helper()
			if got := r.heard(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("said %q, want %q", got, want)
			}
		}
		r.pass(30 * time.Second)
		beat("backup")
		r.pass(69 * time.Second)
		want()
		r.pass(1010 * time.Millisecond)
		want("firing backup ops")
		if n := testutil.CollectAndCount(registry, "tocsin_heartbeat_missed"); n != 2 {
			t.Errorf("%d gauges", n)
		}
		alive := time.Now()
		stop()
		r.pass(10 * time.Minute)
		stop = start(alive)
		r.pass(2 * time.Second)
		want("firing backup ops")
		beat("backup")
		r.pass(10 * time.Millisecond)
		want("firing backup ops", "resolved backup ops")
		views, err := l.List(t.Context())
		if err != nil || len(views) != 2 || views[0].State != "ok" || views[1].State != "waiting" || !views[1].Token {
			t.Errorf("%+v, %v", views, err)
		}
		for name, code := range map[string]oncall.Code{"till": oncall.CodeForbidden, "bakup": oncall.CodeNotFound, "": oncall.CodeNotFound} {
			if err := l.Beat(t.Context(), name, "guess"); oncall.ErrorCode(err) != code {
				t.Errorf("%q: %v", name, err)
			}
		}
		l.Apply(nil, labels.EmptyLabels())
		r.pass(5 * time.Second)
		if views, err := l.List(t.Context()); err != nil || len(views) != 0 {
			t.Errorf("%+v, %v", views, err)
		}
		if n := testutil.CollectAndCount(registry, "tocsin_heartbeat_missed"); n != 0 {
			t.Errorf("%d gauges are left", n)
		}
		stop()
	})
}
