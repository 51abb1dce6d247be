package notifier_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
	"tocsin/store"
)

// sink is integrations that take everything at once.
type sink struct {
	n    atomic.Int64
	mu   sync.Mutex
	took []time.Duration // from the creation of a group's newest alert to its notification
}

func (s *sink) SendGroup(_ context.Context, d oncall.GroupDelivery, _ *oncall.Route, _ oncall.Notice) oncall.Attempt {
	now := time.Now()
	newest := d.Alerts[0].UpdatedAt
	for _, a := range d.Alerts {
		if a.UpdatedAt.After(newest) {
			newest = a.UpdatedAt
		}
	}
	s.n.Add(1)
	s.mu.Lock()
	s.took = append(s.took, now.Sub(newest))
	s.mu.Unlock()
	return oncall.Attempt{At: now, Outcome: oncall.OutcomeDelivered}
}

func benchAlert(i, groups int) labels.Labels {
	return labels.FromStrings("alertname", "SessionMemoryHigh", "group", fmt.Sprint(i%groups), "instance", fmt.Sprintf("web-%d.example:9100", i),
		"job", "session", "severity", "critical")
}

// BenchmarkDispatch posts alerts in batches of 64 from four posters to a dispatcher on SQLite, until every
// group was notified. One operation is all of them.
func BenchmarkDispatch(b *testing.B) {
	for _, size := range []struct {
		alerts, groups int
		wait           time.Duration
	}{{10000, 10000, 0}, {100000, 1000, 0}, {100000, 10000, time.Second}} {
		b.Run(fmt.Sprintf("alerts=%d/groups=%d/group_wait=%s", size.alerts, size.groups, size.wait), func(b *testing.B) {
			for b.Loop() {
				benchDispatch(b, size.alerts, size.groups, size.wait)
			}
		})
	}
}

func benchDispatch(b *testing.B, alerts, groups int, wait time.Duration) {
	var d *notifier.Dispatcher
	s, err := store.OpenSQLite(b.Context(), b.TempDir(), store.Options{Committed: func(t store.Topics) {
		if t.Received && d != nil {
			d.Wake()
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	lease, _, err := s.Acquire(b.Context(), "all", "bench", time.Now(), time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	policy := routed(func(p *oncall.Policy) {
		p.Routing.Root.GroupBy, p.Routing.Root.GroupWait = []string{"group"}, wait
	})
	silences := notifier.NewSilences(notifier.SilencesOptions{Store: s})
	d = notifier.NewDispatcher(notifier.DispatcherOptions{Store: s, Silences: silences})
	to := &sink{}
	d.Apply(policy, to)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, lease, time.Now()) }()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	var posters sync.WaitGroup
	for p := range 4 {
		posters.Go(func() {
			for from := p * 64; from < alerts; from += 4 * 64 {
				now := time.Now()
				var posted []oncall.PostedAlert
				for i := from; i < min(from+64, alerts); i++ {
					posted = append(posted, oncall.PostedAlert{Labels: benchAlert(i, groups), StartsAt: now, EndsAt: now.Add(time.Hour),
						Annotations: labels.FromStrings("summary", "Session memory at 82%", "runbook_url", "https://runbooks.example/session"), GeneratorURL: "http://prometheus.example:9090/graph?g0.expr=up"})
				}
				if err := s.Receive(b.Context(), oncall.Write{Now: now}, posted); err != nil {
					b.Error(err)
				}
			}
		})
	}
	posters.Wait()
	posted := time.Since(began)
	for to.n.Load() < int64(groups) || len(d.Alerts(time.Now())) < alerts {
		time.Sleep(10 * time.Millisecond)
	}
	all := time.Since(began)
	listed := time.Now()
	d.Groups(time.Now())
	list := time.Since(listed)
	runtime.GC()
	runtime.ReadMemStats(&after)
	slices.Sort(to.took)
	b.ReportMetric(float64(alerts)/posted.Seconds(), "alerts/s")
	b.ReportMetric(all.Seconds(), "s/all")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(alerts), "B/alert")
	b.ReportMetric(list.Seconds()*1000, "ms/list")
	b.ReportMetric(to.took[len(to.took)*95/100].Seconds()*1000, "p95-ms")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
