package e2etest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/config"
	"tocsin/oncall"
	"tocsin/store"
)

// Benchmark100kOpen: 100,000 open incidents of 100 teams, each told its first tier, with two tiers and three repeats
// to come. Some of them are due at a steady rate: alone, then beside an override, a reload that changes nothing, and
// one that changes what is to come for every one of them. late is from when a tier is due until its page arrives.
func Benchmark100kOpen(b *testing.B) {
	for range b.N {
		measureOpen(b, 100_000, 50)
	}
	b.ReportMetric(0, "ns/op")
}

// phase is a stretch of time in which tiers fall due.
type phase struct {
	name string
	long time.Duration
	do   func() // at its beginning
	cpu  float64
	mb   float64
}

func measureOpen(b *testing.B, incidents, perSecond int) {
	const teams, lead = 100, 2 * time.Minute
	far, url := newArrivals(b)
	configuration := teamsConfig(teams, url)
	d := prepare(b, ours(), "", configuration)
	d.write("page", pageSecret)
	phases := []phase{
		{name: "alone", long: 30 * time.Second, do: func() {}},
		{name: "override", long: 20 * time.Second, do: func() {
			from := time.Now().Add(time.Hour)
			code, answer := d.call(http.MethodPost, "/api/tocsin/v1/overrides", map[string]any{"schedule": "s", "kind": "add", "who": "u9", "from": from, "to": from.Add(time.Hour)})
			if code != http.StatusCreated {
				b.Errorf("the override: HTTP %d %s", code, answer)
			}
		}},
		{name: "reload", long: 40 * time.Second, do: d.reload},
		{name: "edit", long: 80 * time.Second, do: func() {
			d.configure(strings.ReplaceAll(configuration, "every: 6h", "every: 7h"))
			d.reload()
		}},
	}
	var long time.Duration
	for _, p := range phases {
		long += p.long
	}
	due := seedOpen(b, d, incidents, int(long/time.Second)*perSecond, lead, long)
	began := time.Now()
	d.start()
	pid := d.proc.Process.Pid
	start := time.Since(began)
	settled := until(lead-20*time.Second-time.Since(began), func() bool {
		before := cpuSeconds(b, pid)
		<-time.After(time.Second)
		return cpuSeconds(b, pid)-before < 0.1
	})
	b.Logf("settled after the start: %v, after %s", settled, time.Since(began).Round(time.Second))
	startCPU, cpu := cpuSeconds(b, pid), cpuSeconds(b, pid)
	<-time.After(10 * time.Second)
	rest := 6 * (cpuSeconds(b, pid) - cpu)
	restMB := rssMB(b, pid)

	at := due.from
	for i, p := range phases {
		<-time.After(time.Until(at))
		cpu := cpuSeconds(b, pid)
		p.do()
		<-time.After(time.Until(at.Add(p.long)))
		phases[i].cpu, phases[i].mb = cpuSeconds(b, pid)-cpu, rssMB(b, pid)
		at = at.Add(p.long)
	}
	if !until(time.Minute, func() bool { return far.told() >= len(due.at) }) {
		b.Errorf("%d of %d tiers were told", far.told(), len(due.at))
	}
	peak := peakMB(b, pid)
	d.kill()
	b.Run("rest", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(start.Milliseconds()), "start-ms")
		b.ReportMetric(startCPU, "start-cpu-s")
		b.ReportMetric(rest, "cpu-s/min")
		b.ReportMetric(restMB, "MB")
		b.ReportMetric(peak, "peak-MB")
	})
	at = due.from
	for _, p := range phases {
		b.Run(p.name, func(b *testing.B) {
			due.report(b, far, at, at.Add(p.long))
			b.ReportMetric(p.cpu, "cpu-s")
			b.ReportMetric(p.mb, "MB")
		})
		at = at.Add(p.long)
	}
}

// dues are the incidents whose second tier falls due during the measurement.
type dues struct {
	from time.Time
	at   map[string]time.Time // by instance
}

func (d dues) report(b *testing.B, far *arrivals, from, to time.Time) {
	far.mu.Lock()
	defer far.mu.Unlock()
	var late []time.Duration
	for instance, at := range d.at {
		if told, ok := far.first[arrival{instance, 1}]; ok && !at.Before(from) && at.Before(to) {
			late = append(late, told.Sub(at))
		}
	}
	reportLate(b, late)
	b.ReportMetric(0, "ns/op")
}

// seedOpen puts open incidents into the store of a tocsin that does not run, as the core decides about them. The second
// tier of some is due from lead from now on, one after the other; that of the others is not due for a while after.
func seedOpen(b *testing.B, d *daemon, incidents, some int, lead, long time.Duration) dues {
	b.Helper()
	plan, problems := config.Load(filepath.Join(d.dir, "alertmanager.yml"))
	if plan == nil {
		b.Fatal(problems)
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "data"), 0o700); err != nil {
		b.Fatal(err)
	}
	s, err := store.OpenSQLite(context.Background(), filepath.Join(d.dir, "data"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a benchmark's
	const after = 10 * time.Minute
	began := time.Now()
	seedBatches(b, s, plan.Policy, 0, incidents-some, func(int) time.Time { return time.Now().Add(lead + long + 3*time.Minute - after) })
	out := dues{from: time.Now().Add(lead), at: map[string]time.Time{}}
	seedBatches(b, s, plan.Policy, incidents-some, incidents, func(i int) time.Time {
		at := out.from.Add(long * time.Duration(i-(incidents-some)) / time.Duration(some))
		out.at[instanceName(i)] = at
		return at.Add(-after)
	})
	b.Logf("seeded in %s", time.Since(began).Round(time.Second))
	return out
}

func instanceName(i int) string { return fmt.Sprintf("host-%d.shop.example:9100", i) }

func seedBatches(b *testing.B, s *store.Store, p oncall.Policy, from, to int, triggered func(i int) time.Time) {
	b.Helper()
	const batch = 1000
	for first := from; first < to; first += batch {
		var changes []oncall.AlertChange
		for i := first; i < min(first+batch, to); i++ {
			at := triggered(i)
			changes = append(changes, oncall.AlertChange{
				At: at, Source: "seed", Status: oncall.ChangeFiring, Escalation: fmt.Sprintf("e%d", i%100), StartsAt: at, Reason: "posted",
				Labels:      labels.FromStrings("alertname", "Storm", "instance", instanceName(i), "severity", "critical", "cluster", "shop-1", "team", fmt.Sprintf("t%d", i%100)),
				Annotations: map[string]string{"summary": fmt.Sprintf("Storm on host-%d, for some time already", i), "runbook_url": "https://runbooks.example/storm"},
			})
		}
		w := oncall.Write{Now: time.Now()}
		if err := s.CommitDispatch(b.Context(), w, oncall.Dispatch{Changes: changes}); err != nil {
			b.Fatal(err)
		}
		place := func(c oncall.AlertChange) oncall.Place { return oncall.PlaceAlert(c, p) }
		if n, err := s.ApplyAlertChanges(b.Context(), w, batch, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
			return openAndTold(in, cs, p), nil
		}); err != nil || n != len(changes) {
			b.Fatal(n, err)
		}
	}
}

// openAndTold decides about a new incident, and that its first pages arrived.
func openAndTold(in oncall.Incident, cs []oncall.AlertChange, p oncall.Policy) oncall.Decision {
	now := cs[0].At
	d := oncall.Decide(now, in, oncall.AlertsChanged{Changes: cs}, p)
	told := now.Add(50 * time.Millisecond)
	for i := range d.Deliveries {
		x := &d.Deliveries[i]
		x.State, x.Attempts, x.FirstAttemptAt, x.DoneAt, x.Status = oncall.DeliveryDelivered, 1, told, told, http.StatusNoContent
	}
	for _, x := range d.Deliveries {
		a := oncall.Attempt{At: told, Number: 1, Outcome: oncall.OutcomeDelivered, Status: http.StatusNoContent}
		next := d.Incident
		next.Alerts, next.Deliveries, next.Timeline = d.Alerts, d.Deliveries, append(d.Timeline, oncall.AttemptEntry(x, a))
		after := oncall.Decide(told, next, oncall.DeliveryFinished{Key: x.Key, Attempt: a, State: oncall.DeliveryDelivered}, p)
		d.Incident, d.Timeline = after.Incident, append(next.Timeline, after.Timeline...)
	}
	return d
}
