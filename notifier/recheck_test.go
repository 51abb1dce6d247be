package notifier_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// countingStore counts how often incidents are listed, and how often one is decided about.
type countingStore struct {
	notifier.IncidentStore
	listed, decided atomic.Int64
}

func (s *countingStore) Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error) {
	s.listed.Add(1)
	return s.IncidentStore.Incidents(ctx, f)
}

func (s *countingStore) UpdateIncident(ctx context.Context, w oncall.Write, number int64,
	decide func(oncall.Incident) (oncall.Decision, error)) (oncall.Decision, error) {
	s.decided.Add(1)
	return s.IncidentStore.UpdateIncident(ctx, w, number, decide)
}

// What an edit does not concern costs no decision, and every incident of many that it does concern follows it.
func TestAReloadLooksAtEveryOpenIncident(t *testing.T) {
	const many = 250
	var counting *countingStore
	o := options{incidents: func(s notifier.IncidentStore) notifier.IncidentStore {
		counting = &countingStore{IncidentStore: s}
		return counting
	}}
	bubble(t, o, func(t *testing.T, r *rig) {
		services := make([]string, many)
		for i := range services {
			services[i] = fmt.Sprintf("service-%d", i)
		}
		r.fire(services...)
		r.pass(20 * time.Second)
		counting.listed.Store(0)
		counting.decided.Store(0)

		r.inc.ApplyOverrides(r.policy)
		r.pass(2 * time.Second)
		if n := counting.listed.Load() + counting.decided.Load(); n != 0 {
			t.Errorf("overrides: incidents were looked at %d times", n)
		}
		r.apply(r.policy)
		r.pass(2 * time.Second)
		if counting.listed.Load() == 0 || counting.decided.Load() != 0 {
			t.Errorf("a reload that changes nothing: listed %d times, decided %d times", counting.listed.Load(), counting.decided.Load())
		}

		p := testPolicy()
		esc := p.Escalations["oncall"]
		esc.Tiers[1].After = 90 * time.Second
		p.Escalations["oncall"] = esc
		r.apply(p)
		r.pass(2 * time.Second)
		if n := counting.decided.Load(); n != many {
			t.Errorf("an edit that moves a tier: decided about %d incidents", n)
		}
		r.pass(2 * time.Minute)
		if n := len(r.kinds("bo-phone/0")); n != many {
			t.Errorf("%d of %d were told earlier", n, many)
		}
	})
}
