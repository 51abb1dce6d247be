package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/store"
)

// world is a random walk over all use cases with what must be true of the store after each step.
type world struct {
	*env
	handed   []oncall.AlertChange // all changes ever handed over, in order; Reason is unique
	consumed int                  // so many of them were consumed
	members  map[string][]string  // of each bundle that was ever claimed, by the key of its carrier
	held     []oncall.Claim       // claimed under the present epoch and not finished
	queued   map[string]bool      // keys of pages that committed decisions made
	steps    int
}

func testProperty(t *testing.T, fresh func(testing.TB) Database) {
	rapid.Check(t, func(r *rapid.T) {
		// A sub-test's cleanup closes the store of this run; rapid's own T has no sub-tests.
		e := &env{t: t, db: fresh(t), now: start}
		e.s = e.db.Open(t, store.Options{})
		defer func() { e.s.Close() }() //nolint:errcheck // the next run has a database of its own
		e.acquire()
		w := &world{env: e, queued: map[string]bool{}, members: map[string][]string{}}
		r.Repeat(map[string]func(*rapid.T){
			"":          w.check,
			"evaluate":  w.evaluate,
			"apply":     w.applySome,
			"fail":      w.failToApply,
			"act":       w.act,
			"fail act":  w.failToAct,
			"claim":     w.claimSome,
			"finish":    w.finishOne,
			"settle":    w.settleSome,
			"take over": w.takeOver,
			"reopen":    w.reopen,
			"wait": func(r *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(r, "seconds")) * time.Second)
			},
		})
	})
}

func (w *world) evaluate(r *rapid.T) {
	var cs []oncall.AlertChange
	for range rapid.IntRange(1, 4).Draw(r, "changes") {
		w.steps++
		status := rapid.SampledFrom([]oncall.ChangeStatus{oncall.ChangeFiring, oncall.ChangeFiring, oncall.ChangeResolved}).Draw(r, "status")
		group := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(r, "group")
		alert := rapid.SampledFrom([]string{"A", "B", "C"}).Draw(r, "alert")
		cs = append(cs, change(status, group, alert, fmt.Sprintf("change %d", w.steps)))
	}
	w.hand(cs...)
	w.handed = append(w.handed, cs...)
}

func (w *world) applySome(r *rapid.T) {
	limit := rapid.IntRange(1, 6).Draw(r, "limit")
	n := w.apply(limit)
	if want := min(limit, len(w.handed)-w.consumed); n != want {
		r.Fatalf("consumed %d changes, want %d", n, want)
	}
	w.consumed += n
}

// apply notes the pages that decisions make.
func (w *world) apply(limit int) int {
	made := []string{}
	n, err := w.s.ApplyAlertChanges(w.ctx(), w.write(), limit, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
		d, err := w.decideChanges(in, cs)
		for _, x := range d.Deliveries {
			made = append(made, x.Key)
		}
		return d, err
	})
	w.must(err)
	w.note(made)
	return n
}

func (w *world) note(made []string) {
	for _, k := range made {
		w.queued[k] = true
	}
}

// failToApply fails in the last of the decisions; the invariants say that nothing was consumed.
func (w *world) failToApply(r *rapid.T) {
	if w.consumed == len(w.handed) {
		r.Skip("no changes wait")
	}
	boom := errors.New("boom")
	calls := 0
	_, err := w.s.ApplyAlertChanges(w.ctx(), w.write(), 3, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
		if calls++; calls == 1 {
			if len(in.Timeline)%2 == 0 {
				return oncall.Decision{}, boom
			}
			panic(boom)
		}
		return w.decideChanges(in, cs)
	})
	// Changes that concern no incident are consumed without a decision.
	if err == nil && calls > 0 {
		r.Fatal("the failure was not reported")
	}
	if err == nil {
		w.consumed += min(3, len(w.handed)-w.consumed)
	}
}

// pick returns a random incident.
func (w *world) pick(r *rapid.T) oncall.Incident {
	list, err := w.s.Incidents(w.ctx(), oncall.IncidentFilter{Limit: 1000})
	w.must(err)
	if len(list) == 0 {
		r.Skip("no incident")
	}
	return w.load(rapid.SampledFrom(list).Draw(r, "incident").Number)
}

// act does what people do: pages more endpoints, takes pages back, redraws messages, closes incidents.
func (w *world) act(r *rapid.T) {
	in := w.pick(r)
	w.steps++
	more := page(in, rapid.SampledFrom([]oncall.Endpoint{"page:a/0", "page:b/0"}).Draw(r, "endpoint"), fmt.Sprint("step ", w.steps))
	more.NextAt = w.now.Add(time.Duration(rapid.IntRange(-1, 30).Draw(r, "in")) * time.Second)
	more.Priority = rapid.IntRange(0, 2).Draw(r, "priority")
	redraw := edit(in, fmt.Sprint(w.steps))
	closes, takesBack, pages, draws := rapid.Bool().Draw(r, "closes"), rapid.Bool().Draw(r, "takes back"), rapid.Bool().Draw(r, "pages"), rapid.Bool().Draw(r, "draws")
	again := rapid.Bool().Draw(r, "again")
	w.update(in.Number, func(in oncall.Incident, d *oncall.Decision) {
		if closes && in.Open() {
			resolve(&d.Incident, w.now)
		}
		for _, x := range in.Deliveries {
			if takesBack && x.State == oncall.DeliveryQueued && x.Attempts == 0 {
				d.Drop = append(d.Drop, oncall.Drop{Key: x.Key, Reason: "taken back"})
			}
		}
		if pages {
			d.Deliveries = append(d.Deliveries, more)
		}
		if draws {
			d.Deliveries = append(d.Deliveries, redraw)
		}
		if again {
			d.Deliveries = append(d.Deliveries, page(in, "page:a/0", "first")) // is there already
		}
	})
	if pages {
		w.note([]string{more.Key})
	}
}

func (w *world) failToAct(r *rapid.T) {
	in := w.pick(r)
	_, err := w.s.UpdateIncident(w.ctx(), w.write(), in.Number, decision(func(in oncall.Incident, d *oncall.Decision) {
		d.Incident.Title = "never"
		d.Deliveries = []oncall.Delivery{page(in, "page:never/0", "never"), edit(in, "never")}
		d.Timeline = []oncall.TimelineEntry{{At: w.now, Text: "never"}}
		d.Requeue = []oncall.AlertChange{change(oncall.ChangeFiring, "never", "N", "never")}
		d.Alerts = []oncall.IncidentAlert{{Fingerprint: "never", State: "never"}}
	}))
	if err == nil {
		r.Fatal("an impossible state was accepted")
	}
	equal(w.t, w.load(in.Number), in)
}

func (w *world) claimSome(r *rapid.T) {
	limit, room := rapid.IntRange(1, 4).Draw(r, "limit"), rapid.IntRange(0, 2).Draw(r, "room")
	got := w.claimUpTo(limit, func(oncall.Endpoint, string) int { return room })
	cs, next := got.Claims, got.Next
	if len(cs) > limit {
		r.Fatalf("claimed %d of at most %d", len(cs), limit)
	}
	if !next.IsZero() && !next.After(w.now) {
		r.Fatalf("next is %v, which is not after %v", next, w.now)
	}
	per := map[oncall.Endpoint]int{}
	for _, c := range cs {
		d := c.Delivery
		if per[d.Endpoint]++; per[d.Endpoint] > room {
			r.Fatalf("%s was given %d deliveries and has room for %d", d.Endpoint, per[d.Endpoint], room)
		}
		if d.NextAt.After(w.now) {
			r.Fatalf("%s was claimed before its time", d.Key)
		}
		w.checkBundle(r, c)
		for _, o := range w.load(d.Incident).Deliveries {
			if o.Endpoint == d.Endpoint && o.Seq < d.Seq && !o.State.Final() {
				r.Fatalf("%s was claimed before the older %s", d.Key, o.Key)
			}
		}
		if slices.ContainsFunc(w.held, func(h oncall.Claim) bool { return h.Delivery.Key == d.Key }) {
			r.Fatalf("%s was claimed twice", d.Key)
		}
	}
	w.held = append(w.held, cs...)
}

func (w *world) finishOne(r *rapid.T) {
	if len(w.held) == 0 {
		r.Skip("nothing is being sent")
	}
	i := rapid.IntRange(0, len(w.held)-1).Draw(r, "which")
	c := w.held[i]
	state := rapid.SampledFrom([]oncall.DeliveryState{oncall.DeliveryDelivered, oncall.DeliveryQueued, oncall.DeliveryRefused}).Draw(r, "state")
	var next time.Time
	if state == oncall.DeliveryQueued {
		next = w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(r, "in")) * time.Second)
	}
	w.finishAs(c, state, next, rapid.SampledFrom([]int{200, 400, 401}).Draw(r, "status"))
	w.held = slices.Delete(w.held, i, i+1)
}

func (w *world) finishAs(c oncall.Claim, state oncall.DeliveryState, next time.Time, status int) {
	a := oncall.Attempt{At: w.now, Number: c.Delivery.Attempts, Outcome: oncall.OutcomeDelivered, Status: 200}
	switch state {
	case oncall.DeliveryRefused:
		a.Outcome, a.Status = oncall.OutcomeRefused, max(status, 400)
	case oncall.DeliveryQueued:
		a.Outcome, a.Status = oncall.OutcomeUnknown, 0
	}
	w.must(w.s.FinishDelivery(w.ctx(), w.write(), c.Delivery.Key, a, state, next, nil))
}

// checkBundle: what a delivery carries is settled with its first attempt and never changes, nor does its body.
func (w *world) checkBundle(r *rapid.T, c oncall.Claim) {
	d := c.Delivery
	var carried []string
	for _, in := range w.all() {
		for _, o := range in.Deliveries {
			if o.Bundle == d.Key {
				carried = append(carried, o.Key)
			}
		}
	}
	if before, ok := w.members[d.Key]; ok && !slices.Equal(before, carried) {
		r.Fatalf("%s carried %v, and carries %v in attempt %d", d.Key, before, carried, d.Attempts)
	}
	w.members[d.Key] = carried
	if (c.Bundle == nil) != (len(carried) == 0) || c.Bundle != nil && c.Bundle.Count != 1+len(carried) {
		r.Fatalf("%s carries %v, its claim says %+v", d.Key, carried, c.Bundle)
	}
}

func (w *world) all() (ins []oncall.Incident) {
	list, err := w.s.Incidents(w.ctx(), oncall.IncidentFilter{Limit: 1000})
	w.must(err)
	for _, in := range list {
		ins = append(ins, w.load(in.Number))
	}
	return ins
}

// settleSome settles some members of the bundles that have ended.
func (w *world) settleSome(r *rapid.T) {
	limit := rapid.IntRange(1, 3).Draw(r, "limit")
	for _, key := range w.claimUpTo(0, func(oncall.Endpoint, string) int { return 0 }).Ended {
		_, err := w.s.SettleBundle(w.ctx(), w.write(), key, limit, func(in oncall.Incident, ev oncall.DeliveryFinished) (oncall.Decision, error) {
			if ev.State == oncall.DeliveryDropped && in.Open() {
				r.Fatalf("%s was dropped while #%d is %s", ev.Key, in.Number, in.State)
			}
			return oncall.Decision{}, nil
		})
		w.must(err)
	}
}

// takeOver voids what was claimed, as a restart does.
func (w *world) takeOver(r *rapid.T) {
	old := w.write()
	lease := w.lease
	old.Lease = &lease
	w.acquire()
	for _, c := range w.held {
		err := w.s.FinishDelivery(w.ctx(), old, c.Delivery.Key, oncall.Attempt{Number: c.Delivery.Attempts}, oncall.DeliveryDelivered, time.Time{}, nil)
		if !errors.Is(err, oncall.ErrLeaseLost) {
			r.Fatalf("a lost lease was accepted: %v", err)
		}
	}
	w.held = nil
}

func (w *world) reopen(r *rapid.T) {
	if err := w.s.Close(); err != nil {
		r.Fatal(err)
	}
	w.s = w.db.Open(w.t, store.Options{})
	w.acquire()
	w.held = nil
}

// check holds the store against what must always be true.
func (w *world) check(r *rapid.T) {
	list, err := w.s.Incidents(w.ctx(), oncall.IncidentFilter{Limit: 1000})
	w.must(err)
	open := map[string]int64{}
	found := map[string]int{}  // timeline texts
	stored := map[string]int{} // delivery keys
	for _, in := range list {
		if in.Open() {
			if o, twice := open[in.GroupKey]; twice {
				r.Fatalf("#%d and #%d are open for the same group %s", o, in.Number, in.GroupKey)
			}
			open[in.GroupKey] = in.Number
		}
		full := w.load(in.Number)
		for _, e := range full.Timeline {
			found[e.Text]++
		}
		w.checkDeliveries(r, full, stored)
	}
	for i, c := range w.handed {
		n := found[c.Reason]
		switch {
		case i >= w.consumed && n != 0:
			r.Fatalf("%s was applied, but not consumed", c.Reason)
		case i < w.consumed && c.Status == oncall.ChangeFiring && n != 1:
			r.Fatalf("%s was applied %d times", c.Reason, n)
		}
	}
	if found["never"] > 0 {
		r.Fatal("something of a failed use case was kept")
	}
	for k := range w.queued {
		if stored[k] != 1 {
			r.Fatalf("the page %s is there %d times", k, stored[k])
		}
	}
	if len(stored) != len(w.queued) {
		r.Fatalf("%d pages are there, %d were decided", len(stored), len(w.queued))
	}
}

func (w *world) checkDeliveries(r *rapid.T, in oncall.Incident, stored map[string]int) {
	sending := map[oncall.Endpoint]int{}
	last := int64(0)
	for _, d := range in.Deliveries {
		stored[d.Key]++
		if d.Seq <= last {
			r.Fatalf("#%d: deliveries out of order", in.Number)
		}
		last = d.Seq
		if d.Bundle != "" && d.State == oncall.DeliverySending {
			r.Fatalf("#%d: %s is carried and is being sent", in.Number, d.Key)
		}
		if d.State == oncall.DeliverySending {
			if sending[d.Endpoint]++; sending[d.Endpoint] > 1 {
				r.Fatalf("#%d: two deliveries to %s are being sent", in.Number, d.Endpoint)
			}
		}
	}
}
