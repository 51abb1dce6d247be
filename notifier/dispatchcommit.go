package notifier

import (
	"context"
	"slices"
	"time"

	"tocsin/oncall"
)

// How what was decided gets to disk: one commit at a time, on a goroutine of its own, while the loop decides what goes
// with the next one. Groups are flushed on time, whoever keeps the store busy; what they say goes out once it is on disk.

// dispatchBatch is what one commit writes, and what follows from it. It belongs to the loop, but for work while it is
// being written, which then belongs to nobody.
type dispatchBatch struct {
	work     []oncall.Dispatch // each part in one transaction
	rows     int               // in work
	launches []*sending        // sent afterwards
	told     []oncall.SilenceReminder
	settled  []groupResult // what work was decided from; it would have to be decided again

	cursor, trim int64 // set when the commit begins
}

// add has a part written with the next commit.
func (r *dispatchRun) add(d oncall.Dispatch) {
	r.batch.work = append(r.batch.work, d)
	r.batch.rows += d.Size()
}

// full reports that as much was decided as a commit takes. One that holds the store for longer makes pages wait.
func (r *dispatchRun) full() bool {
	return r.batch.rows+2*len(r.s.talking)+len(r.s.left) >= dispatchCommit
}

// commit begins to write what was decided, unless a commit is under way.
func (r *dispatchRun) commit() {
	if r.committing != nil {
		return
	}
	if !r.seal() { // what is to be sent was committed before, and was taken back meanwhile
		b := r.batch
		r.batch = &dispatchBatch{}
		r.launch(b.launches)
		return
	}
	b := r.committing
	r.helpers.Go(func() { r.committed <- r.write(r.writing, b) })
}

// seal makes what was decided the batch that is committed; false: there is nothing to commit.
func (r *dispatchRun) seal() bool {
	r.gather()
	b := r.batch
	if len(b.work) == 0 {
		return false
	}
	b.cursor = max(r.s.seq, r.s.cursor)
	for i := range b.work {
		b.trim = max(b.trim, b.work[i].Trim)
	}
	r.committing, r.batch = b, &dispatchBatch{}
	return true
}

// write writes a batch, in as few transactions as hold it. The last one moves the cursor: if it is missing, the rows of
// the log are taken in again, and find the alerts that were written as they are.
func (r *dispatchRun) write(ctx context.Context, b *dispatchBatch) error {
	var d oncall.Dispatch
	for i := range b.work {
		if d.Size() > 0 && d.Size()+b.work[i].Size() > 2*dispatchCommit {
			if err := r.writePart(ctx, d); err != nil {
				return err
			}
			d = oncall.Dispatch{}
		}
		join(&d, &b.work[i])
	}
	d.Cursor, d.Trim = b.cursor, b.trim // trim too: what it forgets must be consumed, and what it relies on written
	return r.writePart(ctx, d)
}

func (r *dispatchRun) writePart(ctx context.Context, d oncall.Dispatch) error {
	began := time.Now()
	err := r.o.Store.CommitDispatch(ctx, oncall.Write{Now: began, Lease: &r.lease, Urgent: len(d.Deliveries)+len(d.Changes) > 0}, d)
	if err != nil {
		return err
	}
	r.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	r.o.Silences.Committed(d.Silences)
	return nil
}

// landCommit follows up on the commit if it has ended, and returns its error.
func (r *dispatchRun) landCommit() error {
	select {
	case err := <-r.committed:
		r.ended(err)
	default:
	}
	err := r.commitErr
	r.commitErr = nil
	return err
}

// awaitCommit waits until no commit is under way. How it ended is for those who read the store anew.
func (r *dispatchRun) awaitCommit(ctx context.Context) error {
	if r.committing == nil {
		return nil
	}
	select {
	case err := <-r.committed:
		r.ended(err)
	case <-ctx.Done():
		return ctx.Err()
	}
	err := r.commitErr
	r.commitErr = nil
	return err
}

// ended sends what was committed. After a failure nothing in memory is to be relied on.
func (r *dispatchRun) ended(err error) {
	b := r.committing
	r.committing = nil
	if err != nil {
		r.fresh, r.commitErr = false, err
		r.unsettled = append(b.settled, r.unsettled...)
		return
	}
	r.s.cursor = b.cursor
	r.s.trimmed = max(r.s.trimmed, b.trim)
	r.launch(b.launches)
	r.remind(b.told)
}

// discard forgets what was decided and not committed.
func (r *dispatchRun) discard() {
	r.unsettled = append(r.batch.settled, r.unsettled...)
	r.batch, r.rows, r.more = &dispatchBatch{}, nil, false
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
		r.add(d)
	}
	s.talking = s.talking[:0]
	if len(s.left) == 0 {
		return
	}
	gone := make([]oncall.Dispatch, 0, len(s.left)+len(r.batch.work))
	for _, fp := range s.left { // first: an alert that left may have come back in this turn
		gone = append(gone, oncall.Dispatch{AlertsGone: []uint64{fp}})
	}
	r.batch.work = append(gone, r.batch.work...)
	s.left = s.left[:0]
}

// remind tells of silences that end soon, once that they were spoken of is on disk.
func (r *dispatchRun) remind(told []oncall.SilenceReminder) {
	if len(told) == 0 {
		return
	}
	if r.o.Remind == nil { // else who is told of it logs it too
		for _, t := range told {
			r.log.Info(t.Text, "silence", t.Silence.ID, "incident", t.Silence.Incident)
		}
		return
	}
	r.helpers.Go(func() { r.o.Remind(r.sending, told) })
}
