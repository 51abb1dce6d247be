package store_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"tocsin/evaluator"
	"tocsin/evaluator/remotewrite"
	"tocsin/notifier"
	"tocsin/store"
	"tocsin/store/pgtest"
	"tocsin/store/storetest"
)

// The store knows nothing of its consumers; it fits them all the same.
var (
	_ notifier.IncidentStore = (*store.Store)(nil)
	_ notifier.DeliveryStore = (*store.Store)(nil)
	_ notifier.DispatchStore = (*store.Store)(nil)
	_ notifier.ReceiveStore  = (*store.Store)(nil)
	_ notifier.SilenceStore  = (*store.Store)(nil)
	_ evaluator.Store        = (*store.Store)(nil)
	_ remotewrite.Queue      = (*store.Store)(nil)
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TOCSIN_TEST_VICTIM"); dir != "" {
		victim(dir)
	}
	// A walk on PostgreSQL begins with a new database, which takes a while; -rapid.checks asks for more.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error()) //nolint:errcheck // nothing better to do
			code = 1
		}
	}
	os.Exit(code)
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Database {
		dir := t.TempDir()
		return storetest.Database{Open: func(t testing.TB, o store.Options) *store.Store {
			t.Helper()
			return openSQLite(t, dir, o)
		}}
	})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Database {
		url := pgtest.URL(t)
		return storetest.Database{Open: func(t testing.TB, o store.Options) *store.Store {
			t.Helper()
			return openPostgres(t, url, o)
		}}
	})
}

func openSQLite(t testing.TB, dir string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.OpenSQLite(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openPostgres(t testing.TB, url string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.OpenPostgres(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
