package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"tocsin/oncall"
)

const postgresRead = 8 // connections that read

// OpenPostgres opens the database at url ("postgres://user@host/name"), which several processes may share.
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
		if c.Password != "" && strings.Contains(err.Error(), c.Password) {
			err = errors.New("the server could not be reached (its answer is withheld because it repeats the password)")
		}
		return nil, fmt.Errorf("open the PostgreSQL database %s on %s: %w", c.Database, c.Host, err)
	}
	return s, nil
}

func (s *Store) openPostgres(ctx context.Context, c *pgx.ConnConfig, o Options) error {
	write := stdlib.OpenDB(*c)
	s.cleanup = append(s.cleanup, write.Close)
	write.SetMaxOpenConns(1)
	var encoding, durable string
	if err := write.QueryRowContext(ctx, "select current_setting('server_encoding'), current_setting('synchronous_commit')").Scan(&encoding, &durable); err != nil {
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
	return s.start(ctx, write, o)
}
