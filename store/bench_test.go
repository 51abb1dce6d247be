package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/store"
	"tocsin/store/pgtest"
)

func changeOf(group, alert string) oncall.AlertChange {
	return oncall.AlertChange{
		At: time.Now(), Source: "rule:r", Status: oncall.ChangeFiring, Escalation: "team", StartsAt: time.Now(), Reason: "above the threshold for 2m",
		Labels:      labels.FromStrings("alertname", alert, "group", group, "instance", "10.0.0.1:9100", "job", "session", "severity", "critical"),
		Annotations: map[string]string{"summary": "Session memory at 93% on 10.0.0.1:9100", "runbook_url": "https://runbooks.example/session"},
	}
}

func placeOf(c oncall.AlertChange) oncall.Place {
	g := c.Labels.Get("group")
	return oncall.Place{Escalation: c.Escalation, GroupKey: g, GroupLabels: labels.FromStrings("group", g), Why: "by group"}
}

// openIncident is about as much as a real decision writes: a message, a page, two timeline entries.
func openIncident(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
	d := oncall.Decision{Changed: true}
	in.State, in.NextAt = oncall.IncidentTriggered, cs[0].At.Add(time.Minute)
	for _, c := range cs {
		d.Alerts = append(d.Alerts, oncall.IncidentAlert{Labels: c.Labels, Annotations: c.Annotations, State: oncall.StateFiring, Sources: []string{c.Source}})
	}
	for _, e := range []oncall.Endpoint{"slack:#a", "page:a/0"} {
		d.Deliveries = append(d.Deliveries, oncall.Delivery{Key: oncall.DeliveryKey(in.Key, e), Endpoint: e, Kind: oncall.KindUpdated, Body: make([]byte, 1000)})
	}
	d.Timeline = []oncall.TimelineEntry{{At: cs[0].At, Kind: oncall.EntryTriggered, Text: "opened"}, {At: cs[0].At, Kind: oncall.EntryEscalated, Text: "tier 1"}}
	d.Incident = in
	return d, nil
}

func changes(n int) (cs []oncall.AlertChange) {
	for i := range n {
		cs = append(cs, changeOf(fmt.Sprint("g", i), "A"))
	}
	return cs
}

// TestStorm opens thousands of incidents in one transaction, lists what is due, and claims. How long that
// takes is BenchmarkApplyAlertChanges' business.
func TestStorm(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		n := 3000
		if testing.Short() {
			n = 500
		}
		began := time.Now()
		if err := s.CommitDispatch(t.Context(), oncall.Write{Now: began}, oncall.Dispatch{Changes: changes(n)}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ApplyAlertChanges(t.Context(), oncall.Write{Now: began}, n, placeOf, openIncident); err != nil || got != n {
			t.Fatalf("consumed %d (%v)", got, err)
		}
		if due, _, err := s.DueIncidents(t.Context(), began.Add(time.Hour), 2*n); err != nil || len(due) != n {
			t.Fatalf("%d are due (%v)", len(due), err)
		}
		for range 3 {
			at := time.Now()
			got, err := s.ClaimDeliveries(t.Context(), oncall.Write{Now: at}, claimFor(30))
			if err != nil || len(got.Claims) != 50 {
				t.Fatalf("%d claimed (%v)", len(got.Claims), err)
			}
		}
		at := time.Now()
		if got, err := s.ClaimDeliveries(t.Context(), oncall.Write{Now: at}, claimFor(0)); err != nil || len(got.Claims) != 0 {
			t.Fatalf("%d claimed (%v)", len(got.Claims), err)
		}
	})
}

func claimFor(room int) oncall.ClaimRequest {
	return oncall.ClaimRequest{Limit: 50, Free: func(oncall.Endpoint, string) int { return room }}
}

func onBoth[T interface {
	testing.TB
	Run(string, func(T)) bool
}](t T, f func(T, *store.Store)) {
	t.Run("sqlite", func(t T) {
		s := openSQLite(t, t.TempDir(), quiet)
		defer s.Close() //nolint:errcheck // a test's
		f(t, s)
	})
	t.Run("postgres", func(t T) {
		s := openPostgres(t, pgtest.URL(t), quiet)
		defer s.Close() //nolint:errcheck // a test's
		f(t, s)
	})
}

func BenchmarkCommitEvaluation(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		for _, callers := range []int{1, 50} {
			b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
				b.SetParallelism(callers)
				b.RunParallel(func(p *testing.PB) {
					for i := 0; p.Next(); i++ {
						if err := s.CommitEvaluation(b.Context(), oncall.Write{}, evaluation(i%1000)); err != nil {
							b.Error(err)
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	})
}

func BenchmarkApplyAlertChanges(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		for i := 0; b.Loop(); i++ {
			var e oncall.Dispatch
			for j := range 500 {
				e.Changes = append(e.Changes, changeOf(fmt.Sprint(i, " ", j), "A"))
			}
			if err := s.CommitDispatch(b.Context(), oncall.Write{}, e); err != nil {
				b.Fatal(err)
			}
			if n, err := s.ApplyAlertChanges(b.Context(), oncall.Write{Now: time.Now()}, 1000, placeOf, openIncident); err != nil || n != 500 {
				b.Fatal(n, err)
			}
		}
		b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "incidents/s")
	})
}

// BenchmarkSeriesQueue is what an outage of remote_write costs: a batch appended, and one read and taken out.
func BenchmarkSeriesQueue(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		body := make([]byte, 20<<10)
		for b.Loop() {
			w := oncall.Write{Now: time.Now()}
			if _, err := s.AppendSeries(b.Context(), w, []oncall.QueuedSeries{{At: w.Now, Samples: 1000, Body: body}}, 0); err != nil {
				b.Fatal(err)
			}
			qs, err := s.PeekSeries(b.Context(), 1<<18)
			if err != nil || len(qs) != 1 {
				b.Fatal(len(qs), err)
			}
			if _, err := s.DeleteSeries(b.Context(), w, qs[0].Seq); err != nil {
				b.Fatal(err)
			}
		}
	})
}
