package notifier

import (
	"slices"
	"time"

	"tocsin/oncall"
)

// flushDue flushes the groups whose time has come, as many as fit into a moment and into one commit.
func (r *dispatchRun) flushDue() {
	s, began := r.s, time.Now()
	if began.Before(r.started.Add(r.o.StartDelay)) {
		return
	}
	for now := began; now.Sub(began) < flushTime && !r.full(); now = time.Now() {
		at, g, ok := s.due.pop(now.UnixMicro())
		if !ok {
			return
		}
		if g.gone || at != g.queued {
			continue // moved meanwhile
		}
		g.queued = 0
		due := g.next()
		if due.IsZero() || due.After(now) {
			s.schedule(g)
			continue
		}
		r.metrics.lateness.Observe(now.Sub(due).Seconds())
		r.flush(g, now)
	}
}

// flush decides what a group says now.
func (r *dispatchRun) flush(g *group, now time.Time) {
	s := r.s
	names, _ := s.routing.MutedAt(g.route, now)
	g.record.Route = g.route.ID
	var withdrawn []*sending
	for _, t := range g.sending { // what waits to be sent is overtaken, and must not begin meanwhile
		if t.withdraw() {
			withdrawn = append(withdrawn, t)
		}
	}
	f := oncall.FlushGroup(now, r.groupState(g, names, now))
	g.dirtyAt, g.openAt, g.alive = time.Time{}, time.Time{}, f.Alive
	if len(names) > 0 {
		g.openAt = s.routing.NextChange(g.route, now)
		r.metrics.suppressed.WithLabelValues("time_interval").Add(float64(len(g.members)))
	} else {
		r.countSuppressed(g)
	}
	g.deferred = f.Deferred
	r.follow(g, &f, now)
	for _, t := range withdrawn { // unless its integration is not there any more: who sends must say so
		if !t.gone {
			r.batch.launches = append(r.batch.launches, t)
		}
	}
}

func (r *dispatchRun) countSuppressed(g *group) {
	silenced, inhibited := 0, 0
	for _, e := range g.members {
		switch {
		case e.silenced:
			silenced++
		case e.inhibited:
			inhibited++
		}
	}
	if silenced+inhibited > 0 {
		r.metrics.suppressed.WithLabelValues("silence").Add(float64(silenced))
		r.metrics.suppressed.WithLabelValues("inhibition").Add(float64(inhibited))
	}
}

// groupState is what a flush of the group is decided on.
func (r *dispatchRun) groupState(g *group, muted []string, now time.Time) oncall.GroupState {
	state := oncall.GroupState{
		Route: g.route, Integrations: r.s.setup.policy.Receivers[g.route.Receiver].Integrations, Record: g.record, MutedBy: muted,
		Members: make([]oncall.GroupMember, 0, len(g.members)),
	}
	for _, e := range g.members {
		r.consider(e, now)
		state.Members = append(state.Members, oncall.GroupMember{Alert: e.a, Firing: e.firing, Muted: e.silenced || e.inhibited})
	}
	if len(g.sending) > 0 {
		state.Sending = make(map[oncall.Endpoint]oncall.GroupSending, len(g.sending))
		for e, t := range g.sending {
			state.Sending[e] = oncall.GroupSending{Delivery: t.d, InFlight: t.inFlight(), Unconfirmed: t.unconfirmed}
		}
	}
	return state
}

// follow carries out what was decided about a group.
func (r *dispatchRun) follow(g *group, f *oncall.GroupFlush, now time.Time) {
	s := r.s
	g.record = f.Record
	var d oncall.Dispatch
	for _, old := range f.Overtaken {
		if t := s.deliveries[old.Key]; t != nil {
			r.drop(t)
		}
		d.Results = append(d.Results, old)
		r.metrics.notifications.WithLabelValues(old.Endpoint.Kind(), "overtaken").Inc()
	}
	for _, delivery := range f.Deliveries {
		delivery.GroupKey = g.key
		t := &sending{d: delivery, group: g}
		s.deliveries[delivery.Key] = t
		g.sending[delivery.Endpoint] = t
		r.begin(t, now)
		d.Deliveries = append(d.Deliveries, t.d)
	}
	for _, fp := range f.Forget {
		r.forget(g, fp)
	}
	if len(g.members)+len(g.sending) == 0 {
		if len(d.Results) > 0 {
			r.add(d)
		}
		r.end(g)
		return
	}
	if f.Changed {
		d.Groups = append(d.Groups, g.record)
		g.stored = true
	}
	if d.Size() > 0 {
		r.add(d)
	}
	s.schedule(g)
}

// forget takes a resolved alert out of a group.
func (r *dispatchRun) forget(g *group, fp uint64) {
	e := g.members[fp]
	delete(g.members, fp)
	if i := slices.Index(e.groups, g); i >= 0 {
		e.groups = slices.Delete(e.groups, i, i+1)
	}
	r.settled(e)
}

// drop takes a notification out of memory.
func (r *dispatchRun) drop(t *sending) {
	t.gone = true
	delete(r.s.deliveries, t.d.Key)
	if t.group.sending[t.d.Endpoint] == t {
		delete(t.group.sending, t.d.Endpoint)
	}
}

// settle takes in what came of attempts.
func (r *dispatchRun) settle(now time.Time) {
	r.batch.settled = append(r.batch.settled, r.unsettled...)
	defer func() { r.unsettled = r.unsettled[:0] }()
	for i := range r.unsettled {
		res := &r.unsettled[i]
		t := r.s.deliveries[res.key]
		if t == nil {
			continue // its group is gone
		}
		r.settleOne(t, res, now)
	}
}

func (r *dispatchRun) settleOne(t *sending, res *groupResult, now time.Time) {
	g, a := t.group, res.attempt
	t.state.Store(sendingIdle)
	t.d.Attempts = max(t.d.Attempts, a.Number)
	if t.d.FirstAttemptAt.IsZero() {
		t.d.FirstAttemptAt = a.At
	}
	t.d.Status, t.d.Error, t.d.Excerpt = a.Status, a.Error, a.Excerpt
	state, next := oncall.AfterAttempt(a.At.Add(a.Took), oncall.Delivery{CreatedAt: t.d.CreatedAt}, a)
	t.d.State, t.d.NextAt = state, next
	r.report(t, a)
	d := oncall.Dispatch{}
	switch state {
	case oncall.DeliveryDelivered:
		notice := t.d.Notice
		notice.At = oncall.LastTick(g.record.Anchor, g.route.GroupInterval, a.At.Add(a.Took))
		if a.Remote != "" {
			notice.Remote = a.Remote
		}
		g.record = g.record.WithNotice(t.d.Endpoint, notice)
	case oncall.DeliveryRefused:
		if t.unconfirmed {
			g.record = g.record.WithNotice(t.d.Endpoint, oncall.MaybeTold(g.record.Notified[t.d.Endpoint], t.d.Notice))
		}
		g.soilAt(now) // it is tried again at the next flush, as long as there is something to say
	default:
		t.unconfirmed = t.unconfirmed || a.Outcome == oncall.OutcomeUnknown
		r.s.retryAt(t, next)
	}
	if state.Final() {
		t.d.DoneAt, t.d.Alerts = now, nil
		r.drop(t)
		if !g.record.Anchor.IsZero() {
			d.Groups = append(d.Groups, g.record)
			g.stored = true
		}
	}
	d.Results = append(d.Results, t.d)
	r.add(d)
	r.afterAttempt(g, t.d.Endpoint, now)
}

// afterAttempt decides what had to wait for the end of an attempt.
func (r *dispatchRun) afterAttempt(g *group, e oncall.Endpoint, now time.Time) {
	if !r.caught {
		return // with the other groups, then
	}
	waited := slices.Index(g.deferred, e)
	if waited < 0 && !g.hasResolved() && len(g.members) > 0 {
		r.s.schedule(g)
		return
	}
	names, _ := r.s.routing.MutedAt(g.route, now)
	state := r.groupState(g, names, now)
	if waited >= 0 {
		g.deferred = slices.Delete(g.deferred, waited, waited+1)
		f := oncall.FlushEndpoint(now, state, e)
		r.follow(g, &f, now)
		return
	}
	f := oncall.SettleGroup(now, state)
	r.follow(g, &f, now)
}

func (g *group) hasResolved() bool {
	for _, e := range g.members {
		if !e.firing {
			return true
		}
	}
	return false
}
