package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"tocsin/oncall"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema to this build's version, and refuses one that is newer. The migrations run
// under a lock: on SQLite the directory's, which is held already.
func migrate(ctx context.Context, d dialect, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.goose == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(d.goose, db, files, opts...)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if has > newest {
		return oncall.Errorf(oncall.CodeConflict,
			"the database has schema %d, written by a newer tocsin; this build knows schema %d: run the newer build, or restore the backup made before the upgrade", has, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the schema from %d to %d: %w", has, newest, err)
	}
	return nil
}
