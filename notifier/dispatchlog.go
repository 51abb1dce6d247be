package notifier

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// How the log is taken in. A row is decided on as of the instant at which it was received: what ends by
// itself ends later, in expire. Rows up to the cursor are taken in again after a start, silently: what follows
// from them is committed. The one exception is an end of which incidents have not been told, and whether they
// have is on record: the row of an alert is written with what they are told, so one of which they still know
// that it fires has never ended for them, whatever the cursor says.

// take takes in one row of the log.
func (r *dispatchRun) take(row *oncall.Received, now time.Time) {
	for i := range row.Posted {
		r.takePosted(&row.Posted[i], row)
	}
	for i := range row.Changes {
		r.takeChange(&row.Changes[i], row)
	}
	r.s.replayed += len(row.Posted) + len(row.Changes)
	r.metrics.received.Add(float64(len(row.Posted) + len(row.Changes)))
	if r.caught {
		r.metrics.logLag.Observe(now.Sub(row.At).Seconds())
	}
}

// contained reports whether what is in memory of an alert came from the row, or from a later one.
func (e *dispatched) contained(row *oncall.Received) bool {
	if e == nil || e.marked == row.Seq {
		return false // a row may name an alert twice
	}
	return e.a.Seq >= row.Seq
}

func (r *dispatchRun) takePosted(p *oncall.PostedAlert, row *oncall.Received) {
	s, at := r.s, row.At
	e := s.alerts[oncall.AlertFingerprint(p.Labels)]
	if e.contained(row) || e == nil && !p.EndsAt.After(at) {
		return // it resolved, and nobody knows of it
	}
	a := oncall.MergePosted(r.known(e, at), *p, at, row.Seq)
	before, after, old := e != nil && e.posted, a.EndsAt > at.UnixMicro(), e != nil
	changed := old && !labels.Equal(e.a.Annotations, a.Annotations)
	e = r.put(e, a, row)
	e.posted = after
	r.moved(e, at)
	if row.Seq <= s.atLoad && (after || !before || len(e.a.Incidents) == 0) {
		return // its consequences are committed
	}
	switch {
	case after && !before, after && changed:
		r.sourceFires(e, postedChange(e, at), at)
	case before && !after:
		c := postedChange(e, at)
		c.Status, c.Reason = oncall.ChangeResolved, "reported resolved"
		r.sourceEnds(e, c)
	}
	r.settled(e)
}

// known returns what is known of an alert for merging with what was posted at an instant; e may be nil.
//
// An alert that outlived a downtime looks as if it was updated when this process began. What was posted
// a moment before that, and reached the log after it, is no less true for that: only a clock that was set back
// makes a later row older than what is known.
func (r *dispatchRun) known(e *dispatched, at time.Time) *oncall.ActiveAlert {
	switch {
	case e == nil:
		return nil
	case e.a.UpdatedAt != r.started.UnixMicro() || !at.Before(r.started):
		return e.a
	}
	a := *e.a
	a.UpdatedAt = at.UnixMicro()
	return &a
}

func (r *dispatchRun) takeChange(c *oncall.AlertChange, row *oncall.Received) {
	s, at := r.s, row.At
	e := s.alerts[oncall.AlertFingerprint(c.Labels)]
	if e.contained(row) {
		return
	}
	var old *oncall.ActiveAlert
	if e != nil {
		old = e.a
	}
	a := oncall.MergeChange(old, *c, at, row.Seq)
	if a == nil {
		return
	}
	e = r.put(e, a, row)
	r.moved(e, at)
	if row.Seq <= s.atLoad && (c.Status != oncall.ChangeResolved || len(e.a.Incidents) == 0) {
		return // its consequences are committed
	}
	switch c.Status {
	case oncall.ChangeFiring:
		r.sourceFires(e, *c, at)
	case oncall.ChangeResolved:
		r.sourceEnds(e, *c)
	default:
		if len(e.a.Incidents) > 0 {
			r.say(e, *c)
		}
	}
	r.settled(e)
}

// put makes a what is known of the alert e, nil for a new one.
func (r *dispatchRun) put(e *dispatched, a *oncall.ActiveAlert, row *oncall.Received) *dispatched {
	if e == nil {
		e = &dispatched{}
		r.s.alerts[a.Fingerprint] = e
	}
	e.a, e.marked = a, row.Seq
	r.s.soil(e)
	return e
}

// moved follows up on whether the alert fires, after it was replaced.
func (r *dispatchRun) moved(e *dispatched, at time.Time) {
	s := r.s
	firing := e.a.Firing(at)
	if e.posted && firing {
		s.watchAt(e, e.a.EndsAt)
	}
	if firing == e.firing {
		return
	}
	e.firing = firing
	s.inhibitor.Set(e.a.Fingerprint, e.a.Labels, firing)
	if !firing {
		r.soilGroups(e, at)
		return
	}
	e.hold = 0
	if r.mayBeMutedSoon(e, at) {
		e.hold = at.Add(max(startHold, r.started.Add(r.o.StartDelay).Sub(at))).UnixMicro()
		s.watchAt(e, e.hold)
	}
	r.join(e, at)
	r.look(e, at)
}

// mayBeMutedSoon reports whether the alert came so soon after the start that what would inhibit it may not
// have been reported yet.
func (r *dispatchRun) mayBeMutedSoon(e *dispatched, at time.Time) bool {
	return !at.Before(r.started) && at.Sub(r.started) < startUp && r.s.inhibitor.Inhibitable(e.a.Labels)
}

// soilGroups has the groups of an alert flushed at their next time after at.
func (r *dispatchRun) soilGroups(e *dispatched, at time.Time) {
	for _, g := range e.groups {
		g.soilAt(at)
		r.s.schedule(g)
	}
}

// join puts a firing alert into the groups of the routes that it takes.
func (r *dispatchRun) join(e *dispatched, at time.Time) {
	s := r.s
	if s.routing.Root == nil {
		return
	}
	for _, route := range s.routing.Root.Match(e.a.Labels) {
		g := s.groupFor(route, e.a.Labels)
		if _, ok := g.members[e.a.Fingerprint]; !ok {
			if len(g.members) == 0 && g.record.Anchor.IsZero() {
				g.startAt = r.firstFlush(g, e, at)
			}
			g.members[e.a.Fingerprint] = e
			e.groups = append(e.groups, g)
		}
		g.soilAt(at)
		s.schedule(g)
	}
}

// firstFlush is when a group that begins with the alert is flushed first: after group_wait, at once if the
// alert has been firing for longer than that already.
func (r *dispatchRun) firstFlush(g *group, e *dispatched, at time.Time) time.Time {
	first := at.Add(g.route.GroupWait)
	if time.UnixMicro(e.a.StartsAt).Add(g.route.GroupWait).Before(at) {
		first = at
	}
	if e.hold != 0 {
		if hold := time.UnixMicro(e.hold); hold.After(first) {
			first = hold
		}
	}
	return first
}

// groupFor returns the group of the labels under the route. What is on record of it comes back.
func (s *dispatchState) groupFor(route *oncall.Route, ls labels.Labels) *group {
	of := route.GroupLabelsOf(ls)
	key := route.GroupKeyOf(of)
	id := key
	if prefix := s.prefix[route]; prefix != route.Key {
		id = prefix + key[len(route.Key):]
	}
	g := s.groups[id]
	if g != nil {
		return g
	}
	g = &group{id: id, route: route, key: key, labels: of, members: map[uint64]*dispatched{}, sending: map[oncall.Endpoint]*sending{}}
	if record, ok := s.records[id]; ok {
		g.record, g.stored = record, true
		delete(s.records, id)
	} else {
		g.record = oncall.GroupRecord{Key: id, Route: route.ID, Labels: of}
	}
	s.groups[id] = g
	return g
}

// settled forgets an alert that nobody holds any more.
func (r *dispatchRun) settled(e *dispatched) {
	if e.firing || e.gone || len(e.groups) > 0 {
		return
	}
	s := r.s
	e.gone = true
	delete(s.alerts, e.a.Fingerprint)
	s.inhibitor.Remove(e.a.Fingerprint)
	if e.stored && len(e.out) == 0 {
		s.left = append(s.left, e.a.Fingerprint)
		e.stored = false
	}
}

// expire ends the alerts whose end has come, and tells of those that were held back.
func (r *dispatchRun) expire(now time.Time) {
	s := r.s
	for {
		at, e, ok := s.watched.pop(now.UnixMicro())
		if !ok {
			return
		}
		if e.gone || at != e.watch {
			continue // moved meanwhile
		}
		e.watch = 0
		if e.posted && e.a.EndsAt <= now.UnixMicro() {
			e.posted = false
			ends := time.UnixMicro(e.a.EndsAt).UTC()
			a := *e.a
			a.UpdatedAt = max(a.UpdatedAt, a.EndsAt) // says in its row that its end was seen
			e.a = &a
			s.soil(e)
			r.moved(e, ends)
			c := postedChange(e, ends)
			c.Status, c.Reason = oncall.ChangeResolved, "not reported again before its end at "+ends.Format("15:04:05 MST")
			r.sourceEnds(e, c)
			r.settled(e)
		}
		if e.hold != 0 && e.hold <= now.UnixMicro() {
			e.hold = 0
			r.review(e, now, now)
		}
		if e.posted && e.firing {
			s.watchAt(e, e.a.EndsAt)
		}
		if e.hold != 0 {
			s.watchAt(e, e.hold)
		}
	}
}
