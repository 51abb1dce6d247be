package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"tocsin/oncall"
)

// dbError is an error of the database, as opposed to one of a caller's closure.
type dbError struct{ err error }

func (e *dbError) Error() string { return e.err.Error() }
func (e *dbError) Unwrap() error { return e.err }

// queryer is what reading use cases need, inside a writing transaction or beside it.
type queryer interface {
	query(query string, args []any) (*sql.Rows, error)
}

// reader reads from a read-only transaction.
type reader struct {
	ctx context.Context
	t   *sql.Tx
}

func (r reader) query(query string, args []any) (*sql.Rows, error) {
	return r.t.QueryContext(r.ctx, query, cleanArgs(args)...)
}

// each calls scan for every row of the answer. scan must not use q.
func each(q queryer, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.query(query, args)
	if err != nil {
		return &dbError{err}
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return &dbError{err}
	}
	return nil
}

// one scans the first row of the answer into dest and reports whether there was one.
func one(q queryer, query string, args []any, dest ...any) (found bool, err error) {
	err = each(q, query, args, func(r *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(dest...)
	})
	return found, err
}

func cleanArgs(args []any) []any {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = clean(s)
		}
	}
	return args
}

// tx is the writing transaction that several use cases share. It belongs to the writer's goroutine.
type tx struct {
	ctx      context.Context
	d        dialect
	instance string
	c        *connection
	watch    *time.Timer // ends ctx when no statement finishes for a while; nil: unbounded
	changes  int         // rows written so far
	topics   Topics      // of the use cases that went well so far
	tell     Topics      // of those, what concerns other processes
	mine     Topics      // of the use case that runs
	leased   bool        // the use case that runs holds a shard: it concerns no other process
	broken   error       // the transaction is dead: nothing of it will be committed
	failed   error       // the last statement that the database refused for reasons of its own
}

// stall bounds how long one statement may take on a database that can hang.
const stall = 10 * time.Second

func (t *tx) progress() {
	if t.watch != nil {
		t.watch.Reset(stall)
	}
}

func (t *tx) query(query string, args []any) (*sql.Rows, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	t.progress()
	rows, err := t.c.query(t.ctx, query, cleanArgs(args))
	t.noteFailure(err)
	return rows, err
}

// exec runs a writing statement and returns how many rows it wrote.
func (t *tx) exec(query string, args ...any) (int, error) {
	if t.broken != nil {
		return 0, &dbError{t.broken}
	}
	t.progress()
	res, err := t.c.exec(t.ctx, query, cleanArgs(args))
	if err != nil {
		t.noteFailure(err)
		return 0, &dbError{err}
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, &dbError{err}
	}
	t.changes += int(n)
	return int(n), nil
}

// exec1 is exec for statements whose count does not matter.
func (t *tx) exec1(query string, args ...any) error {
	_, err := t.exec(query, args...)
	return err
}

func (t *tx) noteFailure(err error) {
	if err != nil && !t.d.again(err) && !t.d.constraint(err) {
		t.failed = err
	}
}

// control runs a statement that steers the transaction. If it fails the transaction is dead.
func (t *tx) control(statement string, args ...any) error {
	if t.broken != nil {
		return t.broken
	}
	t.progress()
	if _, err := t.c.exec(t.ctx, statement, args); err != nil {
		t.broken = errors.Join(t.failed, err)
		t.noteFailure(err)
		return &dbError{t.broken}
	}
	return nil
}

// under runs f under a savepoint: if f fails, what it wrote is taken back, and nothing else.
func (t *tx) under(savepoint string, f func() error) error {
	if err := t.control("savepoint " + savepoint); err != nil {
		return err
	}
	changes := t.changes
	err := f()
	if err == nil {
		return t.control("release savepoint " + savepoint)
	}
	t.changes = changes
	if cerr := t.control("rollback to savepoint " + savepoint); cerr != nil {
		return err // t.broken says the rest
	}
	if cerr := t.control("release savepoint " + savepoint); cerr != nil {
		return err
	}
	return err
}

// attempt runs one use case.
func (t *tx) attempt(run func(*tx) error) error {
	t.mine, t.leased = Topics{}, false
	err := t.under("use_case", func() error { return protect(t, run) })
	if err == nil {
		t.topics.add(t.mine)
		if !t.leased {
			t.tell.add(t.mine)
		}
		t.tell.Silences = t.tell.Silences || t.mine.Silences // everybody keeps those in memory
		t.tell.Overrides = t.tell.Overrides || t.mine.Overrides
	}
	return err
}

// protect turns a panic of a closure into an error of its caller.
func protect(t *tx, run func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = oncall.Errorf(oncall.CodeInternal, "panic in a use case of the store: %v\n%s", p, debug.Stack())
		}
	}()
	return run(t)
}

// requestKept is how long a request is remembered.
const requestKept = 24 * time.Hour

// guard checks the right to write: the lease is still held, the request was not handled before.
func (t *tx) guard(w oncall.Write) error {
	t.leased = w.Lease != nil
	if t.leased {
		if err := t.checkLease(*w.Lease, w.Now); err != nil {
			return err
		}
	}
	if w.Request == "" {
		return nil
	}
	if err := t.exec1("delete from seen_requests where at < $1", micros(w.Now.Add(-requestKept))); err != nil {
		return err
	}
	n, err := t.exec("insert into seen_requests (request, at) values ($1, $2) on conflict (request) do nothing",
		indexed(w.Request), micros(w.Now))
	if err != nil {
		return err
	}
	if n == 0 {
		return oncall.ErrRequestSeen
	}
	return nil
}

// take returns the next n numbers of a counter, as the first of them. The counter is locked until the
// commit, so that numbers are in the order of commits.
func (t *tx) take(counter string, n int) (int64, error) {
	var last int64
	found, err := one(t, "update counters set value = value + $1 where name = $2 returning value", []any{int64(n), counter}, &last)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, fmt.Errorf("the counter %q is missing from the database", counter)
	}
	return last - int64(n) + 1, nil
}
