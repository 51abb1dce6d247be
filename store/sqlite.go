package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver named "sqlite"

	"tocsin/oncall"
)

const (
	sqliteFile = "tocsin.db"
	lockFile   = "tocsin.lock"
	sqliteRead = 4 // connections that read
)

// OpenSQLite opens the database in the directory dir, which is made (for its owner alone) if it is not
// there. A second process is refused while the Store is open.
func OpenSQLite(ctx context.Context, dir string, o Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the storage directory: %w", err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{d: sqliteDialect, cleanup: []func() error{unlock}}
	if err := s.openSQLite(ctx, filepath.Join(dir, sqliteFile), o); err != nil {
		s.Close() //nolint:errcheck // the first error says more
		return nil, fmt.Errorf("open the database in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) openSQLite(ctx context.Context, path string, o Options) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	// SQLite would make the file readable for everybody; the files beside it take their rights from it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	write, err := sql.Open("sqlite", sqliteDSN(path, url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
			"temp_store(MEMORY)",            // what savepoints remember
			"cache_size(-16384)",            // KiB: a storm of notifications touches many pages
			"journal_size_limit(67108864)"}, // bytes that the WAL keeps of a peak
	}))
	if err != nil {
		return err
	}
	s.cleanup = append(s.cleanup, write.Close)
	write.SetMaxOpenConns(1)
	if err := write.PingContext(ctx); err != nil {
		return err
	}
	s.read, err = sql.Open("sqlite", sqliteDSN(path, url.Values{
		"mode":    {"ro"},
		"_pragma": {"busy_timeout(5000)", "query_only(1)"},
	}))
	if err != nil {
		return err
	}
	s.cleanup = append(s.cleanup, s.read.Close)
	s.read.SetMaxOpenConns(sqliteRead)
	s.read.SetMaxIdleConns(sqliteRead)
	return s.start(ctx, write, o)
}

func sqliteDSN(path string, q url.Values) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// noTransaction reports that a rollback found the transaction ended already.
func noTransaction(err error) bool { return strings.Contains(err.Error(), "no transaction is active") }

func errLocked(dir, holder string) error {
	if holder != "" {
		holder = " (process " + holder + ")"
	}
	return oncall.Errorf(oncall.CodeConflict,
		"another tocsin%s uses the storage directory %s: stop it, or give this one another --storage.path", holder, dir)
}
