package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// connection is the one connection that writes, with its prepared statements. It belongs to the writer's
// goroutine.
type connection struct {
	d     dialect
	c     *sql.Conn
	stmts map[string]*sql.Stmt // nil where the driver keeps them
}

func connect(ctx context.Context, d dialect, db *sql.DB) (*connection, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	conn := &connection{d: d, c: c}
	if d.prepare {
		conn.stmts = map[string]*sql.Stmt{}
	}
	return conn, nil
}

func (c *connection) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	s, err := c.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.c.ExecContext(ctx, query, args...)
	}
	return s.ExecContext(ctx, args...)
}

func (c *connection) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	s, err := c.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.c.QueryContext(ctx, query, args...)
	}
	return s.QueryContext(ctx, args...)
}

// stmt returns the prepared statement, nil where none is kept.
func (c *connection) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if c.stmts == nil {
		return nil, nil
	}
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	s, err := c.c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// close gives the connection up. A discarded one is not used again by anybody.
func (c *connection) close(discard bool) {
	for _, s := range c.stmts {
		s.Close() //nolint:errcheck // the connection ends anyway
	}
	if discard {
		c.c.Raw(func(any) error { return driver.ErrBadConn }) //nolint:errcheck // returns what it was given
	}
	c.c.Close() //nolint:errcheck // nothing uncommitted is left on it
}
