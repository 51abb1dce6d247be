package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tocsin/oncall"
)

const (
	maxChanges = 2000                  // a transaction takes no further use case beyond this many written rows
	maxBulk    = 25 * time.Millisecond // nor one that is not urgent when those took that long: whoever is urgent waits for the commit of all
	maxWait    = time.Second           // who is not urgent and has waited so long goes first, one in each transaction: alerts that are posted in a storm must be taken
	maxRuns    = 5                     // how often a use case runs when it loses against another process
)

// job is one use case that waits for its commit.
type job struct {
	run  func(*tx) error
	done chan error // buffered: the answer never waits for a caller that left
	bulk bool       // it is not urgent
	from time.Time  // it waits since then
	runs int        // owned by the writer's goroutine
}

// writer runs all use cases that write, on one goroutine and one connection.
type writer struct {
	d         dialect
	db        *sql.DB
	log       *slog.Logger
	m         *metrics
	committed func(Topics)
	instance  string // set once, before the first use case that needs it
	sender    string // tells this process from others that share the database

	wake    chan struct{} // capacity 1
	stopped chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	urgent  []*job        // guarded by mu
	bulk    []*job        // guarded by mu
	closed  bool          // guarded by mu
	failed  failure       // of writing, if it fails now; guarded by mu
	fullFor time.Duration // fullFor, but in tests; guarded by mu

	c *connection // owned by the goroutine
}

func newWriter(d dialect, db *sql.DB, log *slog.Logger, m *metrics, committed func(Topics)) *writer {
	w := &writer{d: d, db: db, log: log, m: m, committed: committed, fullFor: fullFor, sender: rand.Text(),
		wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go w.loop()
	return w
}

var errClosed = &oncall.Error{Code: oncall.CodeUnavailable, Message: "the store is closed"}

// submit waits until run was committed, or failed. When ctx ends first it says whether run may yet be
// committed.
func (w *writer) submit(ctx context.Context, urgent bool, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return &oncall.Error{Code: oncall.CodeUnavailable, Message: "nothing was written", Cause: context.Cause(ctx)}
	}
	j := &job{run: run, done: make(chan error, 1), bulk: !urgent, from: time.Now()}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosed
	}
	if urgent {
		w.urgent = append(w.urgent, j)
	} else {
		w.bulk = append(w.bulk, j)
	}
	w.mu.Unlock()
	w.poke()
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
	}
	if w.withdraw(j) {
		return &oncall.Error{Code: oncall.CodeUnavailable, Message: "gave up waiting for the store; nothing was written", Cause: context.Cause(ctx)}
	}
	select {
	case err := <-j.done:
		return err
	default:
		return &oncall.Error{Code: oncall.CodeUnavailable, Message: "gave up waiting for the store; whether this was written is unknown", Cause: context.Cause(ctx)}
	}
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// withdraw takes a job back that was not begun.
func (w *writer) withdraw(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range []*[]*job{&w.urgent, &w.bulk} {
		for i, o := range *q {
			if o == j {
				*q = append((*q)[:i], (*q)[i+1:]...)
				return true
			}
		}
	}
	return false
}

// next takes the next job for a transaction in which bulk ones took so long; nil if there is none. Urgent ones go first,
// but for a first bulk one that has waited too long.
func (w *writer) next(bulk time.Duration) *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &w.urgent
	if len(w.bulk) > 0 && (len(w.urgent) == 0 || bulk == 0 && time.Since(w.bulk[0].from) >= maxWait) {
		q = &w.bulk
	}
	if len(*q) == 0 || q == &w.bulk && bulk >= maxBulk {
		return nil
	}
	j := (*q)[0]
	(*q)[0] = nil
	*q = (*q)[1:]
	return j
}

// close refuses new use cases, finishes the accepted ones, and returns when the goroutine has ended.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
	<-w.stopped
}

func (w *writer) loop() {
	defer close(w.stopped)
	for {
		for j := w.next(0); j != nil; j = w.next(0) {
			w.commitWith(j)
		}
		w.mu.Lock()
		end := w.closed && len(w.urgent)+len(w.bulk) == 0
		w.mu.Unlock()
		if end {
			if w.c != nil {
				w.c.close(false)
			}
			return
		}
		<-w.wake
	}
}

// commitWith commits j with whatever else waits. Those that lost against another process run again, each in
// a transaction of its own, so that they cannot lose against each other's locks.
func (w *writer) commitWith(j *job) {
	first := true
	again := w.transaction(func(bulk time.Duration) *job {
		if first {
			first = false
			return j
		}
		return w.next(bulk)
	})
	for len(again) > 0 {
		j, again = again[0], again[1:]
		alone := j
		more := w.transaction(func(time.Duration) *job { j := alone; alone = nil; return j })
		again = append(again, more...)
	}
}

// transaction runs and commits jobs until next has none, or until it is full. next is told how long bulk
// ones took so far. It returns those that must run again.
func (w *writer) transaction(next func(bulk time.Duration) *job) (again []*job) {
	began := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t, err := w.begin(ctx, cancel)
	if err != nil {
		w.failedWith(err)
		w.m.observe(0, time.Since(began), true)
		err = w.public(&dbError{err}, false)
		for j := next(0); j != nil; j = next(0) {
			j.done <- err
		}
		return nil
	}
	if t.watch != nil {
		defer t.watch.Stop()
	}
	var good []*job
	var bulk time.Duration // what the bulk ones took
	for t.changes < maxChanges {
		j := next(bulk)
		if j == nil {
			break
		}
		j.runs++
		start := time.Now()
		err := t.attempt(j.run)
		if j.bulk {
			bulk += max(time.Since(start), 1)
		}
		switch {
		case t.broken != nil:
			w.abandon(t, append(good, j), time.Since(began))
			return again
		case err == nil:
			good = append(good, j)
		case w.d.again(err) && j.runs < maxRuns:
			again = append(again, j)
		default:
			j.done <- w.public(err, false)
		}
	}
	w.finish(t, good, began)
	return again
}

func (w *writer) begin(ctx context.Context, cancel context.CancelFunc) (*tx, error) {
	t := &tx{ctx: ctx, d: w.d, instance: w.instance}
	if w.d.bounded {
		t.watch = time.AfterFunc(stall, cancel)
	} else {
		t.ctx = context.Background() // a watched context costs a goroutine per statement, and a local file does not hang
	}
	var err error
	for range 2 { // a kept connection may have died while nobody used it
		fresh := w.c == nil
		if fresh {
			if w.c, err = connect(t.ctx, w.d, w.db); err != nil {
				w.c = nil
				return nil, err
			}
		}
		if _, err = w.c.exec(t.ctx, w.d.begin, nil); err == nil {
			t.c = w.c
			return t, nil
		}
		w.c.close(true)
		w.c = nil
		if fresh {
			break
		}
	}
	return nil, err
}

// finish commits, and answers the jobs that went well.
func (w *writer) finish(t *tx, good []*job, began time.Time) {
	commit, args := "commit", []any(nil)
	if w.d.tell != nil && t.tell != (Topics{}) {
		commit, args = w.d.tell(w.sender, t.tell)
	}
	if err := t.control(commit, args...); err != nil {
		w.abandon(t, good, time.Since(began))
		return
	}
	w.m.observe(t.changes, time.Since(began), false)
	switch {
	case t.failed != nil:
		w.failedWith(t.failed)
	case t.changes > 0:
		w.wrote()
	}
	if w.committed != nil && t.topics != (Topics{}) {
		w.committed(t.topics)
	}
	for _, j := range good {
		j.done <- nil
	}
}

// abandon ends a transaction that is dead and tells all its jobs.
func (w *writer) abandon(t *tx, jobs []*job, took time.Duration) {
	w.failedWith(t.broken)
	w.m.observe(0, took, true)
	// SQLite may keep the transaction open after a failed commit, or may have ended it by itself; a connection
	// of which we do not know is given up.
	_, err := w.c.exec(t.ctx, "rollback", nil)
	if w.d.bounded || err != nil && !noTransaction(err) {
		w.c.close(true)
		w.c = nil
	}
	err = w.public(&dbError{t.broken}, true)
	for _, j := range jobs {
		j.done <- err
	}
}

// public is an error as callers see it: closures' own errors as they are, others with a code.
func (w *writer) public(err error, committing bool) error {
	if _, ok := errors.AsType[*dbError](err); !ok {
		return err
	}
	code, message := oncall.CodeUnavailable, "the store could not write; nothing was changed"
	switch {
	case committing:
		message = "the store could not commit; whether this was written is unknown"
	case w.d.constraint(err):
		code, message = oncall.CodeInternal, "a rule of the database was broken; nothing was changed"
	case w.d.again(err):
		message = "others kept changing the same rows; nothing was changed"
	}
	return &oncall.Error{Code: code, Message: message, Cause: err}
}
