package notifier

import (
	"context"
	"slices"
	"time"

	"tocsin/oncall"
)

// turn does what there is to do now, commits it, sends what was committed, and returns when there is more.
func (r *dispatchRun) turn(ctx context.Context) (next time.Time, err error) {
	setup := r.applied.Load()
	if setup == nil {
		return time.Time{}, nil
	}
	r.work, r.launches, r.told = r.work[:0], r.launches[:0], r.told[:0]
	if r.clockSetBack() {
		r.fresh = false
	}
	if !r.fresh {
		if err := r.load(ctx, setup); err != nil {
			return next, r.failed(ctx, "load", err)
		}
	}
	rows, more, err := r.read(ctx)
	if err != nil {
		return next, r.failed(ctx, "read", err)
	}
	r.collect()
	r.decide(setup, rows, more)
	if err := r.commit(ctx); err != nil {
		return next, r.failed(ctx, "commit", err)
	}
	r.unsettled = r.unsettled[:0]
	r.launch()
	r.remind()
	if more {
		return time.Now(), nil
	}
	return r.nextAt(), nil
}

// clockSetBack reports that the clock was set back since the last turn. Then instants in memory may lie in the
// future; those on disk are brought up to now when they are read.
func (r *dispatchRun) clockSetBack() bool {
	now := time.Now().Round(0) // the wall's alone
	back := r.turnedAt.Sub(now)
	r.turnedAt = now
	if back <= time.Second {
		return false
	}
	r.log.Warn("the clock was set back; the dispatcher reads its state anew", "by", back)
	return true
}

// read asks for new rows of the log and for changes of silences, where there may be some. more says that
// there are rows left.
func (r *dispatchRun) read(ctx context.Context) (rows []oncall.Received, more bool, err error) {
	select {
	case <-r.wake:
		r.polledAt = time.Time{}
	default:
	}
	now := time.Now()
	if now.Sub(r.refreshedAt) >= poll {
		if err := r.o.Silences.Refresh(ctx); err != nil {
			return nil, false, err
		}
		r.refreshedAt = now
	}
	if now.Sub(r.polledAt) < poll {
		return nil, false, nil
	}
	rows, err = r.o.Store.ReceivedAfter(ctx, r.s.seq, dispatchRows)
	if err != nil {
		return nil, false, err
	}
	if len(rows) > 0 { // fewer than asked for may be all that fits, so only none means that none is left
		return rows, true, nil
	}
	r.polledAt = now
	return nil, false, nil
}

// decide is the part of a turn that works on memory alone. What follows is in r.work.
func (r *dispatchRun) decide(setup *dispatchSetup, rows []oncall.Received, more bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if setup != r.s.setup {
		r.reroute(setup, now)
	}
	r.settle(now)
	for i := range rows {
		r.take(&rows[i], now)
		r.s.seq = rows[i].Seq
	}
	// Rows never cease to come where much is posted: those from before the start are what must be known.
	if !r.caught && (!more || r.s.seq >= r.s.atLoad && !rows[len(rows)-1].At.Before(r.started)) {
		r.catchUp(now)
	}
	if r.caught {
		r.expire(now)
		r.sweep(now)
		r.flushDue(now)
		r.retryDue(now)
		r.findReminders(now)
	}
	r.writeBehind(now)
	r.observe(now)
}

// nextAt is when the next turn has something to do, as far as time decides it.
func (r *dispatchRun) nextAt() time.Time {
	s := r.s
	next := earlier(s.watched.next(), s.retries.next())
	due := s.due.next()
	if open := r.started.Add(r.o.StartDelay); !due.IsZero() && due.Before(open) {
		due = open
	}
	next = earlier(next, due)
	next = earlier(next, r.boundary)
	if s.intervals != 0 {
		next = earlier(next, time.UnixMicro(s.intervals))
	}
	next = earlier(next, r.remindAt)
	next = earlier(next, r.heldUntil)
	switch {
	case s.checkpointTo != 0:
		next = earlier(next, time.Now())
	case s.seq > s.trimmed || len(s.dirty) > 0:
		next = earlier(next, s.checkpointAt.Add(checkpointEvery))
	}
	return next
}

// commit writes what the turn decided, in as few transactions as hold it. The last one moves the cursor: if
// it is missing, the rows of the log are taken in again, and find the alerts that were written as they are.
func (r *dispatchRun) commit(ctx context.Context) error {
	s := r.s
	r.gather()
	if len(r.work) == 0 {
		return nil
	}
	var d oncall.Dispatch
	trim := int64(0) // with the last one too: what it forgets must be consumed, and what it relies on written
	for i := range r.work {
		if d.Size() > 0 && d.Size()+r.work[i].Size() > dispatchCommit {
			if err := r.write(ctx, d); err != nil {
				return err
			}
			d = oncall.Dispatch{}
		}
		join(&d, &r.work[i])
		trim = max(trim, r.work[i].Trim)
	}
	d.Cursor, d.Trim = max(s.seq, s.cursor), trim
	if err := r.write(ctx, d); err != nil {
		return err
	}
	s.cursor = d.Cursor
	s.trimmed = max(s.trimmed, d.Trim)
	return nil
}

func (r *dispatchRun) write(ctx context.Context, d oncall.Dispatch) error {
	began := time.Now()
	err := r.o.Store.CommitDispatch(ctx, oncall.Write{Now: began, Lease: &r.lease, Urgent: len(d.Deliveries)+len(d.Changes) > 0}, d)
	if err != nil {
		return err
	}
	r.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	r.o.Silences.Committed(d.Silences)
	return nil
}

// join adds what came about later. In a transaction what goes is deleted first, so that what came back at once
// stays; a group that was written and then ended must not come back that way.
func join(d, o *oncall.Dispatch) {
	if len(o.GroupsGone) > 0 {
		d.Groups = slices.DeleteFunc(d.Groups, func(g oncall.GroupRecord) bool { return slices.Contains(o.GroupsGone, g.Key) })
	}
	d.Changes = append(d.Changes, o.Changes...)
	d.Groups = append(d.Groups, o.Groups...)
	d.GroupsGone = append(d.GroupsGone, o.GroupsGone...)
	d.Deliveries = append(d.Deliveries, o.Deliveries...)
	d.Results = append(d.Results, o.Results...)
	d.Silences = append(d.Silences, o.Silences...)
	d.Alerts = append(d.Alerts, o.Alerts...)
	d.AlertsGone = append(d.AlertsGone, o.AlertsGone...)
}

// gather turns what is noted at alerts into work: an alert goes with what the incidents are told of it, so
// that neither is ever on disk without the other.
func (r *dispatchRun) gather() {
	s := r.s
	for _, e := range s.talking {
		d := oncall.Dispatch{Changes: e.out}
		switch {
		case !e.gone:
			d.Alerts = []*oncall.ActiveAlert{e.a}
			e.dirty, e.stored = false, true
		case e.stored:
			d.AlertsGone = []uint64{e.a.Fingerprint}
			e.stored = false
		}
		e.out = nil
		r.work = append(r.work, d)
	}
	s.talking = s.talking[:0]
	if len(s.left) == 0 {
		return
	}
	gone := make([]oncall.Dispatch, 0, len(s.left)+len(r.work))
	for _, fp := range s.left { // first: an alert that left may have come back in this turn
		gone = append(gone, oncall.Dispatch{AlertsGone: []uint64{fp}})
	}
	r.work = append(gone, r.work...)
	s.left = s.left[:0]
}

// writeBehind starts a checkpoint when it is time, and writes a part of the one under way.
func (r *dispatchRun) writeBehind(now time.Time) {
	s := r.s
	if s.checkpointTo == 0 {
		if s.checkpointAt.IsZero() {
			s.checkpointAt = now
		}
		enough := s.replayed > 2*len(s.alerts)+1000
		if !r.caught || s.seq == s.trimmed && len(s.dirty) == 0 || !enough && now.Sub(s.checkpointAt) < checkpointEvery {
			return
		}
		s.checkpoint, s.dirty = s.dirty, s.checkpoint[:0]
		s.checkpointTo, s.checkpointAt, s.replayed = s.seq, now, 0
	}
	var d oncall.Dispatch
	for len(s.checkpoint) > 0 && len(d.Alerts) < dispatchCommit/2 {
		last := len(s.checkpoint) - 1
		e := s.checkpoint[last]
		s.checkpoint[last] = nil
		s.checkpoint = s.checkpoint[:last]
		if e.dirty && !e.gone {
			e.dirty, e.stored = false, true
			d.Alerts = append(d.Alerts, e.a)
		}
	}
	if len(s.checkpoint) == 0 {
		d.Trim = s.checkpointTo
		s.checkpointTo = 0
	}
	r.work = append(r.work, d)
}

// remind tells of silences that end soon, once that they were spoken of is on disk.
func (r *dispatchRun) remind() {
	if len(r.told) == 0 {
		return
	}
	if r.o.Remind == nil { // else who is told of it logs it too
		for _, t := range r.told {
			r.log.Info(t.Text, "silence", t.Silence.ID, "incident", t.Silence.Incident)
		}
		return
	}
	reminders := append([]oncall.SilenceReminder(nil), r.told...)
	r.helpers.Go(func() { r.o.Remind(r.sending, reminders) })
}
