package notifier_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

// dice are random numbers that several goroutines may draw.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// Whatever fails, and whenever the process is restarted: every page that was decided arrives, under one
// key, in order for each incident and endpoint.
func TestNothingIsLostWhateverFails(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { chaos(t, seed) })
	}
}

func chaos(t *testing.T, seed uint64) {
	d := &dice{r: rand.New(rand.NewPCG(seed, 42))}
	f := &failing{}
	bubble(t, withFailing(f), func(t *testing.T, r *rig) {
		faults := []pagertest.Fault{
			{}, {}, {}, pagertest.Busy, pagertest.ErrorAfter, pagertest.ResetAfter, pagertest.HangAfter, pagertest.Limited(5 * time.Second),
		}
		r.far.FailWith(func(pagertest.Page) pagertest.Fault { return faults[d.n(len(faults))] })
		const incidents = 6
		for i := range incidents {
			service := fmt.Sprint("service-", i)
			r.fire(service)
			f.mu.Lock()
			f.before, f.after, f.claims = d.n(3), d.n(2), d.n(2)
			f.mu.Unlock()
			for range d.n(3) {
				r.pass(time.Duration(d.n(4000)) * time.Millisecond)
				if d.n(2) == 0 {
					r.halt()
					r.start()
				}
			}
			r.reviveIfEnded()
			if d.n(2) == 0 {
				r.act(int64(i+1), oncall.CmdAcknowledge, "")
			}
			if d.n(2) == 0 {
				r.change(oncall.ChangeResolved, service)
			}
		}
		f.mu.Lock()
		f.before, f.after, f.claims = 0, 0, 0
		f.mu.Unlock()
		r.far.FailWith(nil)
		for range 12 {
			r.pass(time.Minute)
			r.reviveIfEnded()
		}
		for n := range int64(incidents) {
			r.complete(n + 1)
		}
	})
}

// reviveIfEnded acquires the lease anew after the loops have given it up, as the store's Hold does.
func (r *rig) reviveIfEnded() {
	if len(r.errs) > 0 {
		r.halt()
		r.start()
		r.pass(0)
	}
}

// complete checks that nothing is unfinished, that all that was not dropped has arrived, and in order.
func (r *rig) complete(number int64) {
	r.t.Helper()
	arrived := map[string]int{}
	for i, p := range r.far.ByIncident()[number] {
		arrived[p.Key] = i + 1
	}
	last := map[oncall.Endpoint]int{}
	ds := r.incident(number).Deliveries
	slices.SortFunc(ds, func(a, b oncall.Delivery) int { return int(a.Seq - b.Seq) })
	for _, d := range ds {
		if !d.State.Final() {
			r.t.Errorf("#%d: %s to %s is still %s", number, d.Kind, d.Endpoint, d.State)
		}
		if d.Endpoint.Kind() != "page" || d.State == oncall.DeliveryDropped {
			continue
		}
		at := max(arrived[d.Key], arrived[d.Bundle])
		if at == 0 {
			r.t.Errorf("#%d: %s to %s never arrived: %s, %q", number, d.Kind, d.Endpoint, d.State, d.Error)
		} else if at < last[d.Endpoint] {
			r.t.Errorf("#%d: %s to %s overtook an earlier page", number, d.Kind, d.Endpoint)
		}
		last[d.Endpoint] = at
	}
	if len(ds) == 0 {
		r.t.Errorf("#%d: nothing was decided", number)
	}
}

var _ notifier.DeliveryStore = (*failing)(nil)
