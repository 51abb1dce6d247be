package store_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tocsin/oncall"
	"tocsin/store"
	"tocsin/store/pgtest"
)

// TestPostgresTells: what one process commits for another wakes that one.
func TestPostgresTells(t *testing.T) {
	dsn := pgtest.URL(t)
	one := openPostgres(t, dsn, quiet)
	defer one.Close() //nolint:errcheck // a test's
	heard := make(chan store.Topics, 100)
	o := quiet
	o.Committed = func(t store.Topics) { heard <- t }
	two := openPostgres(t, dsn, o)
	defer two.Close() //nolint:errcheck // a test's

	// The connection that listens is there a moment later than the store.
	silence := func() {
		t.Helper()
		if _, err := one.UpdateSilence(t.Context(), oncall.Write{}, "s", func(oncall.Silence, bool) ([]oncall.Silence, error) {
			return []oncall.Silence{{ID: "s"}}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want store.Topics) {
		t.Helper()
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		limit := time.After(30 * time.Second)
		for {
			select {
			case got := <-heard:
				if got == want {
					return
				}
			case <-again.C:
				silence()
			case <-limit:
				t.Fatalf("did not hear %+v", want)
			}
		}
	}
	hear(store.Topics{Silences: true})

	lease, _, err := one.Acquire(t.Context(), "main", "one", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Whoever has the watch works alone: nobody is told.
	must(one.CommitDispatch(t.Context(), oncall.Write{Now: time.Now(), Lease: &lease}, oncall.Dispatch{Changes: changes(1)}))
	must(one.Receive(t.Context(), oncall.Write{Now: time.Now()}, postOf(1)))
	for got := range heard {
		if got == (store.Topics{Received: true}) {
			break
		}
		if got != (store.Topics{Silences: true}) {
			t.Fatalf("heard %+v", got)
		}
	}
	// A process hears its own commits once.
	must(two.Receive(t.Context(), oncall.Write{Now: time.Now()}, postOf(1)))
	if got := <-heard; got != (store.Topics{Received: true}) {
		t.Fatalf("heard %+v", got)
	}
	silence()
	if got := <-heard; got != (store.Topics{Silences: true}) {
		t.Fatalf("heard %+v", got)
	}
	// After the connection was lost, something may have been missed.
	pgtest.Terminate(t, dsn)
	if got := <-heard; got != (store.Topics{AlertChanges: true, Incidents: true, Deliveries: true, Received: true, Silences: true, Overrides: true, Heartbeats: true}) {
		t.Fatalf("heard %+v", got)
	}
}

// TestPostgresIsAwaited starts before the server can be reached.
func TestPostgresIsAwaited(t *testing.T) {
	dsn := pgtest.URL(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pg") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	q := u.Query()
	const socket = ".s.PGSQL.5432"
	target := filepath.Join(q.Get("host"), socket)
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	waits := make(chan struct{}, 100)
	o := store.Options{Logger: slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
		if strings.Contains(string(line), "waiting for it") {
			waits <- struct{}{}
		}
		return len(line), nil
	}), nil))}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-waits; cancel() }()
	if _, err := store.OpenPostgres(ctx, u.String(), o); err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("told to end while it waited: %v", err)
	}
	linked := make(chan error)
	go func() { <-waits; linked <- os.Symlink(target, filepath.Join(dir, socket)) }()
	s, err := store.OpenPostgres(t.Context(), u.String(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test's
	if err := <-linked; err != nil {
		t.Fatal(err)
	}
	u.Path = "/nosuch"
	if _, err := store.OpenPostgres(t.Context(), u.String(), quiet); err == nil || !strings.Contains(err.Error(), `"nosuch" does not exist`) {
		t.Errorf("an unknown database: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestUnreachable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&pgconn.PgError{Code: "57P03"}, true},
		{&pgconn.PgError{Code: "53300"}, true},
		{&pgconn.PgError{Code: "28P01"}, false},
		{&pgconn.PgError{Code: "3D000"}, false},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{&net.DNSError{Name: "db"}, true},
		{x509.UnknownAuthorityError{}, false},
		{context.DeadlineExceeded, true},
		{io.ErrUnexpectedEOF, true},
		{errors.New("else"), false},
	} {
		if got := store.Unreachable(fmt.Errorf("connect: %w", c.err)); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
