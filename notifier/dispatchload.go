package notifier

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// How the dispatcher comes to know what it must know: from the store at a start and after a commit that
// failed; and how it takes on a new configuration.

// load reads everything anew. Attempts under way are not given up: their results find what they belong to.
func (r *dispatchRun) load(ctx context.Context, setup *dispatchSetup) error {
	if err := r.o.Silences.Refresh(ctx); err != nil {
		return err
	}
	stored, err := r.o.Store.LoadDispatch(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	s := newDispatchState(setup)
	s.seq, s.trimmed, s.cursor, s.atLoad = stored.Trimmed, stored.Trimmed, stored.Cursor, stored.Cursor
	s.records = make(map[string]oncall.GroupRecord, len(stored.Groups))
	for _, g := range stored.Groups {
		s.records[g.Key] = g.Until(now)
	}
	s.follow(setup)
	r.s, r.caught, r.polledAt, r.sweptAt = s, false, time.Time{}, now
	r.silences, r.silencesVersion = r.o.Silences.Current()
	r.boundary = r.silences.NextBoundary(now)
	flying := r.lanes.restart()
	for _, res := range r.unsettled {
		flying[res.key] = true
	}
	for _, d := range stored.Deliveries { // first: a resolved alert may be waited for by one of them
		r.restoreDelivery(d, flying[d.Key], now)
	}
	for _, a := range stored.Alerts {
		r.restore(a, now)
	}
	r.fresh = true
	r.mu.Lock()
	r.state = nil // nothing is shown until the log was read
	r.mu.Unlock()
	return nil
}

// follow takes on a configuration: what depends on nothing but it.
func (s *dispatchState) follow(setup *dispatchSetup) {
	s.setup = setup
	s.routing = &setup.policy.Routing
	s.inhibitor = oncall.NewInhibitor(s.routing.InhibitRules)
	s.prefix = map[*oncall.Route]string{}
	if s.routing.Root == nil {
		return
	}
	taken := map[string]bool{}
	s.routing.Root.Walk(func(route *oncall.Route) {
		// Two routes may have the same key, such as two receivers for the same matchers.
		prefix := route.Key
		if taken[prefix] {
			prefix += " to " + route.Receiver
		}
		for taken[prefix] {
			prefix += "'"
		}
		taken[prefix] = true
		s.prefix[route] = prefix
	})
}

// restore takes in an alert as it was written down.
func (r *dispatchRun) restore(a *oncall.ActiveAlert, now time.Time) {
	s := r.s
	e := &dispatched{a: a, stored: true}
	e.posted = a.EndsAt > a.UpdatedAt // as of then: whether it has ended since is for later
	e.firing = e.posted || len(a.Rules) > 0
	s.alerts[a.Fingerprint] = e
	s.inhibitor.Set(a.Fingerprint, a.Labels, e.firing)
	if e.posted {
		s.watchAt(e, a.EndsAt)
	}
	if e.firing {
		r.join(e, earlier(now, time.UnixMicro(a.ReceivedAt)))
		return
	}
	r.rejoin(e)
}

// rejoin puts a resolved alert back into the groups of which somebody waits to hear that it resolved.
func (r *dispatchRun) rejoin(e *dispatched) {
	s := r.s
	if s.routing.Root == nil {
		return
	}
	for _, route := range s.routing.Root.Match(e.a.Labels) {
		if g := s.groupFor(route, e.a.Labels); g.toldOf(e.a.Fingerprint) {
			g.members[e.a.Fingerprint] = e
			e.groups = append(e.groups, g)
			g.soilAt(time.UnixMicro(e.a.EndsAt))
		}
	}
}

// toldOf reports whether some integration was, or may have been, told that the alert fires.
func (g *group) toldOf(fp uint64) bool {
	for _, n := range g.record.Notified {
		if slices.Contains(n.Firing, fp) || slices.Contains(n.Told, fp) {
			return true
		}
	}
	for _, t := range g.sending {
		if slices.Contains(t.d.Notice.Firing, fp) {
			return true
		}
	}
	return false
}

// restoreDelivery takes in an unfinished notification. Whether an attempt was under way when the last
// process ended is not known, so it may have arrived.
func (r *dispatchRun) restoreDelivery(d oncall.GroupDelivery, flying bool, now time.Time) {
	s := r.s
	g := s.groupOf(&d)
	if g == nil {
		s.finish(r, d, oncall.DeliveryDropped, "its route is not configured any more", now)
		return
	}
	t := &sending{d: d, group: g, unconfirmed: true}
	s.deliveries[d.Key] = t
	g.sending[d.Endpoint] = t
	if flying {
		t.state.Store(sendingFlies)
		return
	}
	if d.NextAt.After(now.Add(time.Hour)) {
		d.NextAt = now // the clock was set back: nothing waits for so long
	}
	s.retryAt(t, d.NextAt)
}

// finish puts on record that nothing more comes of a notification.
func (s *dispatchState) finish(r *dispatchRun, d oncall.GroupDelivery, state oncall.DeliveryState, why string, now time.Time) {
	d.State, d.DoneAt, d.NextAt, d.Alerts = state, now, time.Time{}, nil
	if why != "" {
		d.Error = why
	}
	r.add(oncall.Dispatch{Results: []oncall.GroupDelivery{d}})
}

// groupOf returns the group of a notification; nil: there is no such route.
func (s *dispatchState) groupOf(d *oncall.GroupDelivery) *group {
	var found *oncall.Route
	for route := range s.prefix {
		if route.Receiver == d.Receiver && route.GroupKeyOf(d.GroupLabels) == d.GroupKey && (found == nil || route.ID == d.Route) {
			found = route
		}
	}
	if found == nil {
		return nil
	}
	g := s.groupFor(found, d.GroupLabels)
	g.labels = d.GroupLabels
	return g
}

// catchUp is called once what was received before the start is known: from here on the clock counts.
func (r *dispatchRun) catchUp(now time.Time) {
	s := r.s
	r.caught = true
	for _, e := range s.alerts {
		r.outlive(e)
		r.look(e, now)
		r.review(e, now, now)
		r.settled(e)
	}
	s.inhibitor.Affected(func(uint64) {}) // all were looked at
	for id := range s.records {
		r.add(oncall.Dispatch{GroupsGone: []string{id}})
	}
	s.records = nil
	for _, g := range s.groups {
		if len(g.members)+len(g.sending) == 0 {
			r.end(g)
			continue
		}
		g.revive()
		s.schedule(g)
	}
	s.intervals = s.nextInterval(now)
	r.remindAt = now
	r.state = s // decide holds mu
}

// outlive gives an alert that could not be reported again, because no process was there, the time that it
// had left.
func (r *dispatchRun) outlive(e *dispatched) {
	if !e.posted || r.aliveAt.IsZero() || e.a.UpdatedAt >= r.started.UnixMicro() || e.a.EndsAt <= r.aliveAt.UnixMicro() {
		return
	}
	since := max(r.aliveAt.UnixMicro(), e.a.UpdatedAt)
	a := *e.a
	a.EndsAt += r.started.UnixMicro() - since
	a.UpdatedAt = r.started.UnixMicro()
	e.a = &a
	r.s.soil(e)
}

// revive has a group that was flushed before looked at, at the tick after the last thing that happened to it:
// what was due while no process was there is due now, and nothing is early.
func (g *group) revive() {
	if g.record.Anchor.IsZero() {
		return
	}
	g.alive, g.dirtyAt = true, g.record.Flushed
	for _, e := range g.members {
		at := e.a.ReceivedAt
		if !e.firing {
			at = max(at, e.a.EndsAt)
		}
		if t := time.UnixMicro(at); t.After(g.dirtyAt) {
			g.dirtyAt = t
		}
	}
}

// end forgets a group.
func (r *dispatchRun) end(g *group) {
	g.gone = true
	delete(r.s.groups, g.id)
	if g.stored {
		r.add(oncall.Dispatch{GroupsGone: []string{g.id}})
	}
}

// reroute takes on a new configuration. Groups whose route is still there keep their timer and their record;
// nobody is told again what he knows.
func (r *dispatchRun) reroute(setup *dispatchSetup, now time.Time) {
	s := r.s
	before := s.groups
	s.follow(setup)
	s.groups = make(map[string]*group, len(before))
	if s.records == nil {
		s.records = map[string]oncall.GroupRecord{}
	}
	byID := map[string]*oncall.Route{}
	for route, prefix := range s.prefix {
		byID[prefix] = route
	}
	for _, g := range before {
		route := byID[strings.TrimSuffix(g.id, g.key[len(g.route.Key):])]
		if route == nil || !labels.Equal(route.GroupLabelsOf(g.labels), g.labels) {
			g.gone = true
			r.dissolve(g, now)
			continue
		}
		g.route, g.members, g.queued = route, map[uint64]*dispatched{}, 0
		s.groups[g.id] = g
	}
	for _, t := range s.deliveries {
		if t.withdraw() { // the new configuration is to send it
			r.batch.launches = append(r.batch.launches, t)
		}
	}
	s.due = queue[*group]{}
	for _, e := range s.alerts {
		was := e.groups
		e.groups = nil
		s.inhibitor.Set(e.a.Fingerprint, e.a.Labels, e.firing)
		if e.firing {
			r.join(e, time.UnixMicro(e.a.ReceivedAt))
			continue
		}
		for _, g := range was {
			if !g.gone {
				g.members[e.a.Fingerprint] = e
				e.groups = append(e.groups, g)
			}
		}
	}
	if !r.caught {
		return
	}
	r.adopt(now)
}

// adopt follows up on alerts that were routed anew.
func (r *dispatchRun) adopt(now time.Time) {
	s := r.s
	s.inhibitor.Affected(func(uint64) {})
	for e := range maps.Values(s.alerts) {
		r.look(e, now)
		r.review(e, now, now)
		r.settled(e)
	}
	for _, g := range s.groups {
		if len(g.members)+len(g.sending) == 0 {
			r.end(g)
			continue
		}
		g.openAt = time.Time{}
		g.soilAt(now)
		s.schedule(g)
	}
	s.intervals = s.nextInterval(now)
}

// dissolve ends a group whose route is gone, with what it was still to say.
func (r *dispatchRun) dissolve(g *group, now time.Time) {
	for _, t := range g.sending {
		t.withdraw()
		t.gone = true
		delete(r.s.deliveries, t.d.Key)
		r.s.finish(r, t.d, oncall.DeliveryDropped, "its route is not configured any more", now)
	}
	if g.stored {
		r.add(oncall.Dispatch{GroupsGone: []string{g.id}})
	}
}
