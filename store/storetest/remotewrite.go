package storetest

import (
	"errors"
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

func batch(at time.Time, samples int, body string) oncall.QueuedSeries {
	return oncall.QueuedSeries{At: at.Truncate(time.Microsecond), Samples: samples, Body: []byte(body)}
}

// bodies is the queue's beginning as text.
func (e *env) bodies(maxBytes int64) (out string) {
	e.t.Helper()
	qs, err := e.s.PeekSeries(e.ctx(), maxBytes)
	e.must(err)
	for i, q := range qs {
		if i > 0 && q.Seq <= qs[i-1].Seq {
			e.t.Errorf("out of order: %d after %d", q.Seq, qs[i-1].Seq)
		}
		out += string(q.Body) + " "
	}
	return out
}

func testSeriesQueue(t *testing.T, e *env) {
	equal(t, e.bodies(100), "")
	size, err := e.s.QueuedSeries(e.ctx())
	e.must(err)
	equal(t, size, oncall.QueueSize{})

	first := start.Truncate(time.Microsecond)
	_, err = e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start, 1, "one\x00\xff"), batch(start.Add(time.Second), 2, "two")}, 0)
	e.must(err)
	_, err = e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start.Add(2*time.Second), 3, "three")}, 0)
	e.must(err)
	equal(t, e.bodies(1), "one\x00\xff ")
	equal(t, e.bodies(6), "one\x00\xff two ")
	equal(t, e.bodies(1000), "one\x00\xff two three ")
	size, err = e.s.QueuedSeries(e.ctx())
	e.must(err)
	equal(t, size, oncall.QueueSize{Batches: 3, Samples: 6, Bytes: 13, Oldest: first})

	// It outlives a restart, and order goes on.
	e.must(e.s.Close())
	e.s = e.db.Open(t, store.Options{})
	e.acquire()
	qs, err := e.s.PeekSeries(e.ctx(), 1)
	e.must(err)
	equal(t, qs[0].At, first)
	equal(t, qs[0].Samples, 1)
	size, err = e.s.DeleteSeries(e.ctx(), e.write(), qs[0].Seq)
	e.must(err)
	equal(t, size, oncall.QueueSize{Batches: 1, Samples: 1, Bytes: 5, Oldest: first})
	size, err = e.s.DeleteSeries(e.ctx(), e.write(), qs[0].Seq)
	e.must(err)
	equal(t, size, oncall.QueueSize{})
	_, err = e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start, 1, "four")}, 0)
	e.must(err)
	equal(t, e.bodies(1000), "two three four ")
}

func testSeriesBound(t *testing.T, e *env) {
	for _, s := range []string{"aaaa", "bbbb", "cccc"} {
		_, err := e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start, 2, s)}, 0)
		e.must(err)
	}
	dropped, err := e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start, 1, "dddd")}, 5)
	e.must(err)
	equal(t, dropped, oncall.QueueSize{Batches: 2, Samples: 4, Bytes: 8})
	equal(t, e.bodies(1000), "cccc dddd ")
	dropped, err = e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start, 1, "eeee")}, 1000)
	e.must(err)
	equal(t, dropped.Batches, 2)
	equal(t, e.bodies(1000), "eeee ")

	n, err := e.s.Prune(e.ctx(), start, 0)
	e.must(err)
	equal(t, n, 0)
	equal(t, e.bodies(1000), "eeee ")
	_, err = e.s.Prune(e.ctx(), start.Add(time.Second), 0)
	e.must(err)
	equal(t, e.bodies(1000), "")
}

// testSeriesLease: who lost the watch changes nothing.
func testSeriesLease(t *testing.T, e *env) {
	_, err := e.s.AppendSeries(e.ctx(), e.write(), []oncall.QueuedSeries{batch(start, 1, "one")}, 0)
	e.must(err)
	lost := e.lease
	old := oncall.Write{Now: e.now, Lease: &lost}
	e.acquire()
	if _, err := e.s.AppendSeries(e.ctx(), old, []oncall.QueuedSeries{batch(start, 1, "two")}, 1000); !errors.Is(err, oncall.ErrLeaseLost) {
		t.Errorf("appended under a lost lease: %v", err)
	}
	if _, err := e.s.DeleteSeries(e.ctx(), old, 1000); !errors.Is(err, oncall.ErrLeaseLost) {
		t.Errorf("deleted under a lost lease: %v", err)
	}
	equal(t, e.bodies(1000), "one ")
}
