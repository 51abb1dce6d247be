// Package store keeps everything that tocsin must not forget, in SQLite (the default, nothing to install)
// or in PostgreSQL. It is the only package that knows SQL.
//
// A method is a use case, one transaction each: what was decided, what follows from it, and the handed-over
// row that caused it are committed together or not at all. The decision itself is made by a pure closure of
// the caller, which may be called more than once and must not write to what the caller shares with others:
// a caller whose context ends leaves while its closure may still run.
//
// Concurrent use cases share a commit. One goroutine writes (writer.go); each use case runs under a
// savepoint of its own, so that one that fails takes only itself back; all are answered after the commit.
//
// The package does not know what an alert, an incident or a delivery means, has no clock of its own in what
// it writes (now is always an argument; only Hold, a loop, reads it), and sends nothing. Start reading at
// Store, then writer.go, then changes.go for the largest use case. What differs between the two databases
// is in dialect.go.
package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// Topics says which kinds of rows a commit wrote that a loop may be waiting for.
type Topics struct {
	AlertChanges bool // alert changes were appended
	Incidents    bool // incidents were written: their NextAt may have moved
	Deliveries   bool // deliveries were added, finished or handed back
	Received     bool // the log of what was received grew
	Silences     bool // silences were written or forgotten
	Heartbeats   bool // a heartbeat was heard
	Overrides    bool // overrides of schedules were written or forgotten
}

func (t *Topics) add(o Topics) {
	t.AlertChanges = t.AlertChanges || o.AlertChanges
	t.Incidents = t.Incidents || o.Incidents
	t.Deliveries = t.Deliveries || o.Deliveries
	t.Received = t.Received || o.Received
	t.Silences = t.Silences || o.Silences
	t.Heartbeats = t.Heartbeats || o.Heartbeats
	t.Overrides = t.Overrides || o.Overrides
}

// Options are what a Store needs besides its place. The zero value is usable.
type Options struct {
	Logger     *slog.Logger          // nil: slog.Default
	Registerer prometheus.Registerer // nil: no metrics
	// Committed is called after each commit that wrote something, before its callers are answered, and on
	// PostgreSQL also when another process says that it committed something. It runs on the goroutines that
	// write and that listen: it must return at once and must not call the store.
	Committed func(Topics)
}

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	d    dialect
	log  *slog.Logger
	read *sql.DB // reading transactions
	w    *writer // the only one who writes
	m    *metrics

	sweeper *sweeper

	closing sync.Once
	cleanup []func() error // in reverse order of opening
	closed  error          // result of Close
}

// start migrates the opened databases and starts the writer. On error the caller runs s.Close.
func (s *Store) start(ctx context.Context, write *sql.DB, o Options) error {
	s.log = logger(o)
	if err := migrate(ctx, s.d, write); err != nil {
		return err
	}
	s.m = newMetrics()
	s.w = newWriter(s.d, write, s.log, s.m, o.Committed)
	s.sweeper = startSweeper(s)
	id, err := s.InstanceID(ctx)
	if err != nil {
		return err
	}
	s.w.instance = id // before anything that makes incidents
	if o.Registerer != nil {
		undo, err := s.m.register(o.Registerer, s)
		if err != nil {
			return err
		}
		s.cleanup = append(s.cleanup, undo)
	}
	return nil
}

func logger(o Options) *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}

// Close finishes the use cases that were accepted, then closes the database. Later calls of any method
// return an error with oncall.CodeUnavailable. Close may be called more than once.
func (s *Store) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.sweeper != nil {
			s.sweeper.close()
		}
		if s.w != nil {
			s.w.close()
		}
		for i := len(s.cleanup) - 1; i >= 0; i-- {
			errs = append(errs, s.cleanup[i]())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// do runs one use case: the lease and the request are checked, f runs, and its result is returned after
// the commit. f may run again.
func do[T any](ctx context.Context, s *Store, w oncall.Write, f func(*tx) (T, error)) (T, error) {
	result := new(T) // not on the caller's frame: the caller may leave first
	err := s.w.submit(ctx, w.Urgent, func(t *tx) error {
		if err := t.guard(w); err != nil {
			return err
		}
		v, err := f(t)
		if err == nil {
			*result = v
		}
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return *result, nil
}

// view runs f on one consistent picture of what is committed.
func (s *Store) view(ctx context.Context, f func(queryer) error) error {
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.d.readIsolation})
	if err != nil {
		return readFailed(err)
	}
	defer t.Rollback() //nolint:errcheck // nothing was written
	if err := f(reader{ctx, t}); err != nil {
		return readFailed(err)
	}
	return nil
}

// readFailed gives errors of the database a code; others are returned as they are.
func readFailed(err error) error {
	if _, ok := errors.AsType[*oncall.Error](err); ok {
		return err
	}
	return &oncall.Error{Code: oncall.CodeUnavailable, Message: "the store could not be read", Cause: err}
}

// Healthy reports whether the store works: it answers now, and the last write did not fail. After a failed
// write it tries a small one, so that it notices when the database is back; a full disk takes small writes
// long after it refuses what matters, so that one is believed only when nothing has failed for a while.
func (s *Store) Healthy(ctx context.Context) error {
	if err := s.view(ctx, func(q queryer) error {
		_, err := one(q, "select name from meta limit 1", nil, new(string))
		return err
	}); err != nil {
		return err
	}
	if s.w.failure() == nil {
		return nil
	}
	_, err := do(ctx, s, oncall.Write{Urgent: true}, func(t *tx) (struct{}, error) {
		return struct{}{}, t.exec1("update counters set value = value where name = 'record'")
	})
	if failure := s.w.failure(); err == nil && failure != nil {
		err = s.w.public(&dbError{failure}, false)
	}
	return err
}
