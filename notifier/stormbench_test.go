package notifier_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
	"tocsin/store"
)

const stormSize = 10_000

// BenchmarkStorm: 10,000 incidents are triggered within a second, each of which tells a channel and a user, on a
// file that is synced at each commit. How long after its trigger each incident was first attempted to be sent to its
// user and to its channel, and how long it took until all was settled.
func BenchmarkStorm(b *testing.B) {
	for _, users := range []int{1, 100} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			for b.Loop() {
				storm(b, stormSize, users)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// stormPolicy has an escalation for each user, which tells a channel and the user's phone.
func stormPolicy(users int) oncall.Policy {
	p := testPolicy()
	for i := range users {
		name := fmt.Sprint("u", i)
		phone := name + "-phone"
		p.Users[name] = oncall.User{Name: name, Contacts: []oncall.Contact{{Receiver: phone}}}
		p.Receivers[phone] = oncall.Receiver{Name: phone, Endpoints: []oncall.Endpoint{oncall.PageEndpoint(phone, 0)}}
		p.Escalations[name] = oncall.Escalation{Name: name, GroupBy: []string{"service"}, Tiers: []oncall.Tier{{
			Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#" + name}, {Kind: oncall.TargetUser, Name: name}}}}}
	}
	return p
}

func storm(b *testing.B, incidents, users int) {
	far, slack, p, gather := pagertest.New(secret), &slackStub{}, stormPolicy(users), prometheus.NewRegistry()
	var inc *notifier.Incidents
	var del *notifier.Deliveries
	s, err := store.OpenSQLite(b.Context(), b.TempDir(), store.Options{Registerer: gather, Committed: func(c store.Topics) {
		if c.AlertChanges || c.Incidents {
			inc.Wake()
		}
		if c.Deliveries {
			del.Wake()
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a benchmark's
	inc, del = notifier.NewIncidents(notifier.IncidentOptions{Store: s}), notifier.NewDeliveries(notifier.DeliveryOptions{Store: s})
	base, _ := url.Parse("https://pager.example/page")
	pages := map[oncall.Endpoint]pager.Config{}
	for _, r := range p.Receivers {
		for _, e := range r.Endpoints {
			pages[e] = pager.Config{URL: base.JoinPath(e.Address()), Secrets: []string{secret}}
		}
	}
	sender, err := pager.New(pages, pager.Options{Transport: far})
	if err != nil {
		b.Fatal(err)
	}
	lease, _, err := s.Acquire(b.Context(), "all", "bench", time.Now(), time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	inc.Apply(p)
	del.Apply(p, map[string]notifier.Sender{"page": sender, "slack": slack})
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { inc.Run(ctx, lease) }) //nolint:errcheck // it ends with ctx
	wg.Go(func() { del.Run(ctx, lease) }) //nolint:errcheck // it ends with ctx
	defer wg.Wait()
	defer stop()

	began := time.Now()
	triggered := fireStorm(b, s, oncall.Write{Lease: &lease, Urgent: true}, incidents, users)
	b.ReportMetric(time.Since(began).Seconds(), "fired-s")
	stormFigures(b, s, gather, triggered, began)
	stormPages(b, far, incidents)
}

// stormPages checks that each incident is in a page, and that pages which go for many say so within their bounds.
func stormPages(b *testing.B, far *pagertest.Server, incidents int) {
	told, pages := 0, 0
	for _, p := range far.Pages() {
		if p.Type != "incident.triggered" {
			continue
		}
		pages++
		told += max(p.Count, 1)
		if p.Count > 200 && len(p.Numbers) < 20 {
			b.Errorf("a page for %d incidents names %d", p.Count, len(p.Numbers))
		}
	}
	b.ReportMetric(float64(pages), "pages")
	if told != incidents {
		b.Errorf("%d pages for %d of %d incidents", pages, told, incidents)
	}
}

// fireStorm hands alerts over, evenly within a second, and returns when each incident's did.
func fireStorm(b *testing.B, s *store.Store, w oncall.Write, incidents, users int) map[string]time.Time {
	began := time.Now()
	triggered := map[string]time.Time{}
	const batches = 20
	for batch := range batches {
		<-time.After(time.Until(began.Add(time.Duration(batch) * time.Second / batches)))
		var d oncall.Dispatch
		for i := range incidents / batches {
			service := fmt.Sprint("service-", batch, "-", i)
			c := alertOf(service)
			c.Status, c.At, c.Escalation = oncall.ChangeFiring, time.Now(), fmt.Sprint("u", i%users)
			c.StartsAt, c.Evidence.At = c.At, c.At
			triggered[service] = c.At
			d.Changes = append(d.Changes, c)
		}
		w.Now = time.Now()
		if err := s.CommitDispatch(b.Context(), w, d); err != nil {
			b.Fatal(err)
		}
	}
	return triggered
}

func stormFigures(b *testing.B, s *store.Store, gather prometheus.Gatherer, triggered map[string]time.Time, began time.Time) {
	for unfinished(b, gather) > 0 {
		if time.Since(began) > 3*time.Minute {
			b.Fatal("not settled after three minutes")
		}
		<-time.After(250 * time.Millisecond)
	}
	b.ReportMetric(time.Since(began).Seconds(), "settled-s")
	late := map[string][]time.Duration{}
	opened := time.Duration(0)
	for n := range int64(len(triggered)) {
		in, err := s.Incident(b.Context(), n+1)
		if err != nil {
			b.Fatal(err)
		}
		at := triggered[in.GroupLabels.Get("service")]
		opened = max(opened, in.TriggeredAt.Sub(at))
		for _, d := range in.Deliveries {
			if d.Kind == oncall.KindTriggered || d.Kind == oncall.KindMessage {
				late[d.Endpoint.Kind()] = append(late[d.Endpoint.Kind()], d.FirstAttemptAt.Sub(at))
			}
		}
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(opened), "opened-max-ms")
	for kind, ds := range late {
		if len(ds) != len(triggered) {
			b.Errorf("%d first deliveries to %s of %d incidents", len(ds), kind, len(triggered))
		}
		slices.Sort(ds)
		b.ReportMetric(ms(ds[len(ds)/2]), kind+"-p50-ms")
		b.ReportMetric(ms(ds[len(ds)*99/100]), kind+"-p99-ms")
		b.ReportMetric(ms(ds[len(ds)-1]), kind+"-max-ms")
	}
}

// unfinished is how many deliveries wait, or alert changes that make some.
func unfinished(b *testing.B, g prometheus.Gatherer) (n float64) {
	all, err := g.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range all {
		switch f.GetName() {
		case "tocsin_store_unfinished_deliveries", "tocsin_store_waiting_alert_changes":
			n += f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return n
}
