package remotewrite_test

import (
	"context"
	"errors"
	"slices"
	"sync"

	"tocsin/oncall"
)

var errStore = errors.New("the disk is full")

// memQueue is a Queue that may fail before and after it has done its work.
type memQueue struct {
	mu    sync.Mutex
	rows  []oncall.QueuedSeries
	seq   int64
	lease oncall.Lease                         // who may write; zero: everybody
	fail  func(op string) (before, after bool) // nil: never
	peak  int64
}

func (q *memQueue) faults(op string) (before, after bool) {
	if q.fail == nil {
		return false, false
	}
	return q.fail(op)
}

func (q *memQueue) check(w oncall.Write) error {
	if q.lease != (oncall.Lease{}) && (w.Lease == nil || *w.Lease != q.lease) {
		return oncall.ErrLeaseLost
	}
	return nil
}

// now returns what is queued.
func (q *memQueue) now() []oncall.QueuedSeries {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.rows)
}

// setFail replaces the faults.
func (q *memQueue) setFail(fail func(op string) (before, after bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail = fail
}

func size(rows []oncall.QueuedSeries) (s oncall.QueueSize) {
	for _, r := range rows {
		if s.Batches == 0 {
			s.Oldest = r.At
		}
		s.Batches++
		s.Samples += r.Samples
		s.Bytes += int64(len(r.Body))
	}
	return s
}

func (q *memQueue) AppendSeries(_ context.Context, w oncall.Write, batches []oncall.QueuedSeries, free int64) (oncall.QueueSize, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, after := q.faults("append")
	if err := q.check(w); err != nil {
		return oncall.QueueSize{}, err
	}
	if before {
		return oncall.QueueSize{}, errStore
	}
	n := 0
	for ; n < len(q.rows) && size(q.rows[:n]).Bytes < free; n++ {
	}
	dropped := size(q.rows[:n])
	q.rows = slices.Clone(q.rows[n:])
	for _, b := range batches {
		q.seq++
		b.Seq = q.seq
		q.rows = append(q.rows, b)
	}
	q.peak = max(q.peak, size(q.rows).Bytes)
	if after {
		return oncall.QueueSize{}, errStore
	}
	return dropped, nil
}

func (q *memQueue) PeekSeries(_ context.Context, maxBytes int64) ([]oncall.QueuedSeries, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if before, _ := q.faults("peek"); before {
		return nil, errStore
	}
	n := 0
	for ; n < len(q.rows) && size(q.rows[:n]).Bytes < maxBytes; n++ {
	}
	return slices.Clone(q.rows[:n]), nil
}

func (q *memQueue) DeleteSeries(_ context.Context, w oncall.Write, through int64) (oncall.QueueSize, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, after := q.faults("delete")
	if err := q.check(w); err != nil {
		return oncall.QueueSize{}, err
	}
	if before {
		return oncall.QueueSize{}, errStore
	}
	n := 0
	for ; n < len(q.rows) && q.rows[n].Seq <= through; n++ {
	}
	gone := size(q.rows[:n])
	q.rows = slices.Clone(q.rows[n:])
	if after {
		return oncall.QueueSize{}, errStore
	}
	return gone, nil
}

func (q *memQueue) QueuedSeries(context.Context) (oncall.QueueSize, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if before, _ := q.faults("count"); before {
		return oncall.QueueSize{}, errStore
	}
	return size(q.rows), nil
}
