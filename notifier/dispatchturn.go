package notifier

import (
	"context"
	"time"

	"tocsin/oncall"
)

// turn does what there is to do now, has it committed, and returns when there is more. What was decided is sent
// when its commit has ended; the next turns go on meanwhile, until as much waits for the disk as one commit takes.
func (r *dispatchRun) turn(ctx context.Context) (next time.Time, err error) {
	setup := r.applied.Load()
	if setup == nil {
		return time.Time{}, nil
	}
	if r.clockSetBack() {
		r.fresh = false
	}
	if err := r.landCommit(); err != nil {
		return next, r.failed(ctx, "commit", err)
	}
	if !r.fresh {
		if err := r.anew(ctx, setup); err != nil {
			return next, err
		}
	}
	if r.committing != nil && r.full() {
		return time.Time{}, nil // the end of the commit brings us back
	}
	if err := r.read(ctx); err != nil {
		return next, r.failed(ctx, "read", err)
	}
	if err := r.landCommit(); err != nil { // what it lets go must not wait for more than a read
		return next, r.failed(ctx, "commit", err)
	}
	r.collect()
	r.decide(setup)
	r.commit()
	switch {
	case r.committing != nil && r.full():
		return time.Time{}, nil
	case r.more:
		return time.Now(), nil
	}
	return r.nextAt(), nil
}

// anew reads everything from the store, once what is being committed has ended. What was decided since is forgotten.
func (r *dispatchRun) anew(ctx context.Context, setup *dispatchSetup) error {
	if err := r.awaitCommit(ctx); err != nil {
		return r.failed(ctx, "commit", err)
	}
	r.discard()
	if err := r.load(ctx, setup); err != nil {
		return r.failed(ctx, "load", err)
	}
	return nil
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

// read asks for changes of silences, and for new rows of the log where there may be some and none are left to be
// taken in. r.more says that there may be more of them.
func (r *dispatchRun) read(ctx context.Context) error {
	select {
	case <-r.wake:
		r.polledAt = time.Time{}
	default:
	}
	now := time.Now()
	if now.Sub(r.refreshedAt) >= poll {
		if err := r.o.Silences.Refresh(ctx); err != nil {
			return err
		}
		r.refreshedAt = now
	}
	if len(r.rows) > 0 {
		return nil
	}
	r.more = false
	if now.Sub(r.polledAt) < poll {
		return nil
	}
	rows, err := r.o.Store.ReceivedAfter(ctx, r.s.seq, dispatchRows)
	if err != nil {
		return err
	}
	if r.rows = rows; len(rows) > 0 { // fewer than asked for may be all that fits, so only none means that none is left
		r.more = true
		return nil
	}
	r.polledAt = now
	return nil
}

// decide is the part of a turn that works on memory alone. What follows is in r.batch. It takes a moment only, whatever
// there is to do: groups must not wait for one another, nor for what is received meanwhile.
func (r *dispatchRun) decide(setup *dispatchSetup) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if setup != r.s.setup {
		r.reroute(setup, now)
	}
	r.settle(now)
	last := r.takeRows(now)
	// Rows never cease to come where much is posted: those from before the start are what must be known.
	if !r.caught && (!r.more || r.s.seq >= r.s.atLoad && !last.Before(r.started)) {
		r.catchUp(now)
	}
	if r.caught {
		r.expire(now)
		r.sweep(now)
		r.flushDue()
		r.retryDue(now)
		if r.committing == nil { // until then it is not on record of which silences was spoken
			r.findReminders(now)
		}
	}
	if r.committing == nil {
		r.writeBehind(now)
	}
	r.observe(now)
}

// takeRows takes in rows of the log, for a moment, and returns when the last of them was received.
func (r *dispatchRun) takeRows(now time.Time) (last time.Time) {
	took := 0
	for took < len(r.rows) && (!r.caught || !r.full() && time.Since(now) < intakeTime) {
		row := &r.rows[took]
		r.take(row, now)
		r.s.seq, last = row.Seq, row.At
		*row = oncall.Received{} // what it held is not needed any more, while others wait
		took++
	}
	r.rows = r.rows[took:]
	return last
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
	next = earlier(next, r.heldUntil)
	if r.committing != nil {
		return next // the end of the commit brings us back to the rest
	}
	next = earlier(next, r.remindAt)
	switch {
	case s.checkpointTo != 0:
		next = earlier(next, time.Now())
	case s.seq > s.trimmed || len(s.dirty) > 0:
		next = earlier(next, s.checkpointAt.Add(checkpointEvery))
	}
	return next
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
	for len(s.checkpoint) > 0 && len(d.Alerts) < dispatchCommit {
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
	r.add(d)
}
