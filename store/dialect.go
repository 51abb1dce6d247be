package store

import (
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is everything in which the two databases differ. The statements are the same for both.
type dialect struct {
	name          string
	goose         goose.Dialect
	readIsolation sql.IsolationLevel
	begin         string // starts a transaction that will write
	forUpdate     string // appended to a select: nobody else changes the row until the commit
	forShare      string // appended to a select: the row stays as it is until the commit
	prepare       bool   // keep prepared statements (the driver of PostgreSQL does by itself)
	anonymous     bool   // arguments need no numbers
	bounded       bool   // statements may hang (network, locks of others) and need a bound

	tell func(sender string, t Topics) (statement string, args []any) // commits and tells other processes; nil: there are none

	leaseTTL   time.Duration // 0: a lease never expires, because a file lock keeps other processes out
	leaseEvery time.Duration // how often it is renewed

	again      func(error) bool // the transaction lost against another one: run the use case again
	constraint func(error) bool // a rule of the schema was broken: a defect of ours
	full       func(error) bool // there is no room: a smaller write may still find some
}

var sqliteDialect = dialect{
	name:       "sqlite",
	goose:      goose.DialectSQLite3,
	begin:      "begin immediate",
	prepare:    true,
	anonymous:  true,
	leaseEvery: 10 * time.Second,
	again:      func(error) bool { return false },
	constraint: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
	},
	full: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && (e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code()&0xff == sqlite3.SQLITE_IOERR)
	},
}

var postgresDialect = dialect{
	name:          "postgres",
	goose:         goose.DialectPostgres,
	readIsolation: sql.LevelRepeatableRead,
	begin:         "begin",
	forUpdate:     " for update",
	forShare:      " for share",
	bounded:       true,
	tell:          commitAndTell,
	leaseTTL:      3 * time.Second,
	leaseEvery:    time.Second,
	again: func(err error) bool {
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok {
			return false
		}
		switch e.Code {
		case "40001", "40P01": // serialization failure, deadlock
			return true
		case "23505": // two replicas opened the same incident
			return e.ConstraintName == "incidents_open"
		}
		return false
	},
	constraint: func(err error) bool {
		e, ok := errors.AsType[*pgconn.PgError](err)
		return ok && len(e.Code) == 5 && e.Code[:2] == "23"
	},
	full: func(err error) bool {
		e, ok := errors.AsType[*pgconn.PgError](err)
		return ok && len(e.Code) == 5 && e.Code[:2] == "53" // out of disk, memory or connections
	},
}
