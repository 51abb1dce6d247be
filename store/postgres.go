package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"tocsin/oncall"
)

const postgresRead = 8 // connections that read

// OpenPostgres opens the database at url ("postgres://user@host/name"), which several processes may share. It
// waits for a server that cannot be reached until ctx ends; a wrong password or name is an error at once.
func OpenPostgres(ctx context.Context, url string, o Options) (*Store, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		// The parser quotes what it was given, a password perhaps included.
		return nil, oncall.Errorf(oncall.CodeInvalid,
			"--storage.url is no PostgreSQL URL; expected postgres://user:password@host:port/database?sslmode=…")
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "tocsin"
	}
	s := &Store{d: postgresDialect}
	if err := s.openPostgres(ctx, c, o); err != nil {
		s.Close() //nolint:errcheck // the first error says more
		return nil, fmt.Errorf("open the PostgreSQL database %s on %s: %w", c.Database, c.Host, withheld(err, c))
	}
	return s, nil
}

func (s *Store) openPostgres(ctx context.Context, c *pgx.ConnConfig, o Options) error {
	write := stdlib.OpenDB(*c)
	s.cleanup = append(s.cleanup, write.Close)
	write.SetMaxOpenConns(1)
	encoding, durable, err := s.awaitPostgres(ctx, write, c, logger(o))
	if err != nil {
		return err
	}
	if encoding != "UTF8" {
		return oncall.Errorf(oncall.CodeInvalid, "the database's encoding is %s; tocsin needs one created with encoding UTF8", encoding)
	}
	if durable == "off" {
		return oncall.Errorf(oncall.CodeInvalid,
			"synchronous_commit is off for this user and database, so a crash of the server would lose pages; run: alter role … set synchronous_commit = on")
	}
	s.read = stdlib.OpenDB(*c)
	s.cleanup = append(s.cleanup, s.read.Close)
	s.read.SetMaxOpenConns(postgresRead)
	s.read.SetMaxIdleConns(postgresRead)
	if err := s.start(ctx, write, o); err != nil {
		return err
	}
	if o.Committed != nil {
		s.cleanup = append(s.cleanup, startListener(c, s.w.sender, s.log, o.Committed).close)
	}
	return nil
}

// awaitPostgres asks the server for what must be right, and waits until ctx ends for one that cannot be
// reached: after a power cut it may come up later than we do.
func (s *Store) awaitPostgres(ctx context.Context, db *sql.DB, c *pgx.ConnConfig, log *slog.Logger) (encoding, durable string, err error) {
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		err = db.QueryRowContext(ctx, "select current_setting('server_encoding'), current_setting('synchronous_commit')").Scan(&encoding, &durable)
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return encoding, durable, err
		}
		log.Warn("PostgreSQL cannot be reached; waiting for it", "database", c.Database, "host", c.Host, "port", c.Port, "err", withheld(err, c))
		select {
		case <-ctx.Done():
			return "", "", err
		case <-time.After(wait):
		}
	}
}

// unreachable reports that a later attempt to connect may succeed with nothing changed: nobody answered, or
// the server said that it does not take connections now.
func unreachable(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{"57P01", "57P02", "57P03", "53300"}, e.Code) // stops, crashed, starts; has too many connections
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Op != "remote error" && e.Op != "local error" // of TLS
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// withheld is err, unless that repeats the password.
func withheld(err error, c *pgx.ConnConfig) error {
	if c.Password != "" && strings.Contains(err.Error(), c.Password) {
		return errors.New("the server could not be reached (its answer is withheld because it repeats the password)")
	}
	return err
}
