package store

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// What tests need to see and to break.

// raw runs f as a use case.
func (s *Store) raw(t testing.TB, urgent bool, f func(*tx) error) error {
	t.Helper()
	return s.w.submit(context.Background(), urgent, f)
}

// LimitPages makes the database believe that the disk has that many pages.
func (s *Store) LimitPages(t testing.TB, n int) {
	t.Helper()
	var now int
	if err := s.raw(t, false, func(x *tx) error {
		_, err := one(x, fmt.Sprintf("pragma max_page_count(%d)", n), nil, &now)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// FullFor changes for how long a disk that was full is taken for full.
func (s *Store) FullFor(d time.Duration) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.fullFor = d
}

// AliveAt returns the alive_at of a shard.
func (s *Store) AliveAt(t testing.TB, shard string) time.Time {
	t.Helper()
	var at int64
	if err := s.view(context.Background(), func(q queryer) error {
		_, err := one(q, "select alive_at from leases where shard = $1", []any{shard}, &at)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return fromMicros(at)
}

// Meta returns how many rows of meta have a name like the pattern.
func (s *Store) Meta(t testing.TB, pattern string) (n int) {
	t.Helper()
	if err := s.view(context.Background(), func(q queryer) error {
		_, err := one(q, "select count(*) from meta where name like $1", []any{pattern}, &n)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Sizes are the gauges of what the store holds.
func (s *Store) Sizes() prometheus.Collector { return &sizes{s} }

// Unreachable is unreachable.
func Unreachable(err error) bool { return unreachable(err) }

// ForgetGroupDeliveries keeps the latest most.
func (s *Store) ForgetGroupDeliveries(t testing.TB, most int64) {
	t.Helper()
	if err := s.forgetGroupDeliveries(context.Background(), time.Time{}, most); err != nil {
		t.Fatal(err)
	}
}

// Rows returns how many rows of a table there are where arg says.
func (s *Store) Rows(t testing.TB, where string, arg any) (n int) {
	t.Helper()
	if err := s.view(context.Background(), func(q queryer) error {
		_, err := one(q, "select count(*) from "+where, []any{arg}, &n)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// SetCounter writes a counter.
func (s *Store) SetCounter(t testing.TB, name string, n int64) {
	t.Helper()
	if err := s.raw(t, false, func(x *tx) error { return x.advance(name, n) }); err != nil {
		t.Fatal(err)
	}
}

// SetLog writes a row of the log.
func (s *Store) SetLog(t testing.TB, seq int64, body []byte) {
	t.Helper()
	if err := s.raw(t, false, func(x *tx) error {
		return x.exec1("insert into received (seq, at, body) values ($1, 1, $2)", seq, body)
	}); err != nil {
		t.Fatal(err)
	}
}

// queued runs the given use cases so that all of them wait when the writer takes the first.
func (s *Store) queued(t testing.TB, urgent func(i int) bool, fs []func(*tx) error) []error {
	return s.queuedFor(t, 0, urgent, fs)
}

// queuedFor is queued for use cases that have waited for so long then.
func (s *Store) queuedFor(t testing.TB, long time.Duration, urgent func(i int) bool, fs []func(*tx) error) []error {
	t.Helper()
	var wg sync.WaitGroup
	inside, proceed := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		s.raw(t, true, func(*tx) error { close(inside); <-proceed; return fmt.Errorf("only a plug") }) //nolint:errcheck // says so
	})
	<-inside
	errs := make([]error, len(fs))
	for i, f := range fs {
		wg.Go(func() { errs[i] = s.raw(t, urgent(i), f) })
		for s.waiting() != i+1 { // in this order
			runtime.Gosched()
		}
	}
	s.w.mu.Lock()
	for _, j := range slices.Concat(s.w.urgent, s.w.bulk) {
		j.from = j.from.Add(-long)
	}
	s.w.mu.Unlock()
	close(proceed)
	wg.Wait()
	return errs
}

func (s *Store) waiting() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return len(s.w.urgent) + len(s.w.bulk)
}

func bulk(int) bool { return false }

func put(x *tx, name string) error {
	return x.exec1("insert into meta (name, value) values ($1, '') on conflict (name) do nothing", name)
}

// TogetherWithRollback commits three use cases together, the second of which ends the transaction behind
// the writer's back and fails with err. It returns the errors of the first two; the third runs after them.
func (s *Store) TogetherWithRollback(t testing.TB, err error) []error {
	t.Helper()
	errs := s.queued(t, bulk, []func(*tx) error{
		func(x *tx) error { return put(x, "together 1") },
		func(x *tx) error {
			if _, failed := x.c.exec(x.ctx, "rollback", nil); failed != nil {
				return failed
			}
			return err
		},
		func(x *tx) error { return put(x, "after") },
	})
	if errs[2] != nil {
		t.Errorf("the use case behind a dead transaction: %v", errs[2])
	}
	return errs[:2]
}

// DispatchWithRollback commits d in a transaction that ends behind the writer's back.
func (s *Store) DispatchWithRollback(t testing.TB, d oncall.Dispatch) error {
	t.Helper()
	rows, err := writeDown(d)
	if err != nil {
		t.Fatal(err)
	}
	return s.queued(t, bulk, []func(*tx) error{
		func(x *tx) error { return x.dispatch(rows) },
		func(x *tx) error { _, err := x.c.exec(x.ctx, "rollback", nil); return err },
	})[0]
}

// OrderOf returns in which order use cases ran that were submitted in order and have waited for so long.
func (s *Store) OrderOf(t testing.TB, long time.Duration, urgent []bool) (order []int) {
	t.Helper()
	fs := make([]func(*tx) error, len(urgent))
	for i := range fs {
		fs[i] = func(*tx) error { order = append(order, i); return nil }
	}
	s.queuedFor(t, long, func(i int) bool { return urgent[i] }, fs)
	return order
}

// CommitsOf returns how many transactions were needed for n use cases that write changes rows each.
func (s *Store) CommitsOf(t testing.TB, n, changes int) int {
	t.Helper()
	seen := map[*tx]bool{}
	fs := make([]func(*tx) error, n)
	for i := range fs {
		fs[i] = func(x *tx) error {
			seen[x] = true
			x.changes += changes
			return nil
		}
	}
	for _, err := range s.queued(t, func(int) bool { return true }, fs) {
		if err != nil {
			t.Error(err)
		}
	}
	return len(seen)
}

// BesideBulk has an urgent use case come while the first of n others runs, which takes a while, and returns which of
// them were in the transaction of the urgent one.
func (s *Store) BesideBulk(t testing.TB, n int, while time.Duration) (beside []int) {
	t.Helper()
	var urgent *tx
	var wg sync.WaitGroup
	of := make([]*tx, n)
	fs := make([]func(*tx) error, n)
	for i := range fs {
		fs[i] = func(x *tx) error {
			of[i] = x
			if i == 0 {
				wg.Go(func() { s.raw(t, true, func(x *tx) error { urgent = x; return nil }) }) //nolint:errcheck // it returns nil
				for s.waiting() != n {
					runtime.Gosched()
				}
				<-time.After(while)
			}
			return nil
		}
	}
	s.queued(t, bulk, fs)
	wg.Wait()
	for i, x := range of {
		if x == urgent {
			beside = append(beside, i)
		}
	}
	return beside
}

// During calls f in the middle of a use case and returns what became of it.
func (s *Store) During(t testing.TB, f func()) error {
	t.Helper()
	return s.raw(t, false, func(x *tx) error {
		if err := put(x, "before"); err != nil {
			return err
		}
		f()
		return put(x, "after")
	})
}
