package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/store"
)

// postOf is a request of Prometheus: 64 alerts with as many labels as usual.
func postOf(n int) (ps []oncall.PostedAlert) {
	at := time.Now()
	for i := range 64 {
		ps = append(ps, oncall.PostedAlert{
			Labels: labels.FromStrings("alertname", "SessionMemoryHigh", "cluster", "shop-1", "instance", fmt.Sprintf("10.0.%d.%d:9100", n%256, i), "job", "session",
				"namespace", "shop", "pod", fmt.Sprintf("session-%d-%d", n, i), "severity", "critical", "team", "shop"),
			Annotations: labels.FromStrings("runbook_url", "https://runbooks.example/session", "summary", "Session memory at 93% on 10.0.0.1:9100"),
			StartsAt:    at, EndsAt: at.Add(4 * time.Minute), GeneratorURL: "http://prometheus.example:9090/graph?g0.expr=session_memory%20%3E%200.9&g0.tab=1",
		})
	}
	return ps
}

// trimming is a dispatcher that only reads the log and trims it.
func trimming(ctx context.Context, s *store.Store, last *atomic.Int64, more <-chan struct{}) error {
	var seq int64
	for range more {
		for seq < last.Load() {
			rs, err := s.ReceivedAfter(ctx, seq, 500)
			if err != nil {
				return err
			}
			if len(rs) == 0 {
				break
			}
			seq = rs[len(rs)-1].Seq
			if err := s.CommitDispatch(ctx, oncall.Write{Now: time.Now()}, oncall.Dispatch{Cursor: seq, Trim: seq}); err != nil {
				return err
			}
		}
	}
	return nil
}

func BenchmarkReceive(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		for _, posters := range []int{1, 4} {
			b.Run(fmt.Sprintf("posters=%d", posters), func(b *testing.B) {
				posts := make([][]oncall.PostedAlert, 100)
				for i := range posts {
					posts[i] = postOf(i)
				}
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range posters {
					wg.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							if err := s.Receive(b.Context(), oncall.Write{Now: time.Now()}, posts[n%100]); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "alerts/s")
			})
		}
	})
}

// BenchmarkReceiveAndTrim is BenchmarkReceive with somebody who reads the log and trims it.
func BenchmarkReceiveAndTrim(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		posts := make([][]oncall.PostedAlert, 100)
		for i := range posts {
			posts[i] = postOf(i)
		}
		var next, last atomic.Int64
		var posting, trimmer sync.WaitGroup
		more := make(chan struct{}, 1)
		trimmer.Go(func() {
			if err := trimming(b.Context(), s, &last, more); err != nil {
				b.Error(err)
			}
		})
		b.ResetTimer()
		for range 4 {
			posting.Go(func() {
				for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
					if err := s.Receive(b.Context(), oncall.Write{Now: time.Now()}, posts[n%100]); err != nil {
						b.Error(err)
					}
					last.Add(1)
					select {
					case more <- struct{}{}:
					default:
					}
				}
			})
		}
		posting.Wait()
		b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "alerts/s")
		close(more)
		trimmer.Wait()
	})
}

func notificationOf(i int) oncall.GroupDelivery {
	at := time.Now()
	d := oncall.GroupDelivery{
		Key: fmt.Sprint("gmsg_", i), Endpoint: "webhook_configs:team/0", Receiver: "team", GroupKey: fmt.Sprintf(`{}/{team="shop"}:{alertname="A", pod="%d"}`, i),
		Route: `{}/{team="shop"}/0`, GroupLabels: labels.FromStrings("alertname", "A", "pod", fmt.Sprint(i)), Reason: "FirstNotification", Firing: 10,
		State: oncall.DeliverySending, Attempts: 1, CreatedAt: at, FirstAttemptAt: at,
	}
	for j, p := range postOf(i)[:10] {
		d.Alerts = append(d.Alerts, oncall.GroupAlert{Labels: p.Labels, Annotations: p.Annotations, StartsAt: at, UpdatedAt: at, GeneratorURL: p.GeneratorURL})
		d.Notice.Firing = append(d.Notice.Firing, 1<<63+uint64(i*10+j))
	}
	return d
}

// BenchmarkCommitDispatch notifies 1,000 groups of ten alerts: their deliveries and records, then the results.
func BenchmarkCommitDispatch(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		var flushed, done time.Duration
		for n := 0; b.Loop(); n++ {
			b.StopTimer()
			var decided, results oncall.Dispatch
			for i := range 1000 {
				d := notificationOf(n*1000 + i)
				decided.Deliveries = append(decided.Deliveries, d)
				decided.Groups = append(decided.Groups, oncall.GroupRecord{Key: d.GroupKey, Route: d.Route, Labels: d.GroupLabels, Anchor: d.CreatedAt, Flushed: d.CreatedAt})
				r := d
				r.State, r.Status, r.DoneAt, r.Alerts = oncall.DeliveryDelivered, 200, d.CreatedAt, nil
				results.Results = append(results.Results, r)
				g := decided.Groups[i]
				g.Notified = map[oncall.Endpoint]oncall.Notice{d.Endpoint: d.Notice}
				results.Groups = append(results.Groups, g)
			}
			b.StartTimer()
			began := time.Now()
			if err := s.CommitDispatch(b.Context(), oncall.Write{Now: began}, decided); err != nil {
				b.Fatal(err)
			}
			flushed += time.Since(began)
			began = time.Now()
			if err := s.CommitDispatch(b.Context(), oncall.Write{Now: began}, results); err != nil {
				b.Fatal(err)
			}
			done += time.Since(began)
		}
		b.ReportMetric(flushed.Seconds()*1000/float64(b.N), "ms/flush")
		b.ReportMetric(done.Seconds()*1000/float64(b.N), "ms/results")
	})
}

// BenchmarkCheckpoint writes 1,000 alerts behind.
func BenchmarkCheckpoint(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		var d oncall.Dispatch
		for i, p := range postOf(0) {
			for j := range 16 {
				d.Alerts = append(d.Alerts, &oncall.ActiveAlert{Fingerprint: uint64(i*16+j) * 0x9E3779B97F4A7C15, Labels: p.Labels, Annotations: p.Annotations, GeneratorURL: p.GeneratorURL})
			}
		}
		for b.Loop() {
			if err := s.CommitDispatch(b.Context(), oncall.Write{Now: time.Now()}, d); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(d.Alerts))/b.Elapsed().Seconds(), "alerts/s")
	})
}
