package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver named "pgx"

	"tocsin/oncall"
	"tocsin/store"
	"tocsin/store/pgtest"
)

// TestPostgresLeases shows what only several processes can: a lease is respected, expires, and is fenced.
func TestPostgresLeases(t *testing.T) {
	url := pgtest.URL(t)
	one, two := openPostgres(t, url, quiet), openPostgres(t, url, quiet)
	defer one.Close() //nolint:errcheck // a test's
	defer two.Close() //nolint:errcheck // a test's
	ctx, now := t.Context(), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	first, _, err := one.Acquire(ctx, "main", "one", now, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := two.Acquire(ctx, "main", "two", now.Add(2*time.Second), 3*time.Second); oncall.ErrorCode(err) != oncall.CodeConflict || !strings.Contains(err.Error(), "held by one") {
		t.Fatalf("a held shard was taken: %v", err)
	}
	write := func(at time.Time) error {
		return one.CommitEvaluation(ctx, oncall.Write{Now: at, Lease: &first}, evaluation(1))
	}
	if err := write(now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := write(now.Add(3 * time.Second)); err != oncall.ErrLeaseLost { //nolint:errorlint // exactly this one
		t.Fatalf("an expired lease may write: %v", err)
	}
	if err := one.Renew(ctx, first, now.Add(4*time.Second), 3*time.Second); err != nil {
		t.Fatalf("an expired lease that nobody took cannot be renewed: %v", err)
	}
	second, alive, err := two.Acquire(ctx, "main", "two", now.Add(7*time.Second), 3*time.Second)
	if err != nil || second.Epoch != 2 || !alive.Equal(now.Add(4*time.Second)) {
		t.Fatalf("got %+v, alive at %v (%v)", second, alive, err)
	}
	if err := write(now.Add(5 * time.Second)); err != oncall.ErrLeaseLost { //nolint:errorlint // exactly this one
		t.Fatalf("a lost lease may write: %v", err)
	}
}

// TestPostgresStandby hands a shard over from one process to another.
func TestPostgresStandby(t *testing.T) {
	url := pgtest.URL(t)
	one, two := openPostgres(t, url, quiet), openPostgres(t, url, quiet)
	defer one.Close() //nolint:errcheck // a test's
	defer two.Close() //nolint:errcheck // a test's
	holding := make(chan string)
	hold := func(ctx context.Context, s *store.Store, name string) chan error {
		ended := make(chan error, 1)
		go func() {
			ended <- s.Hold(ctx, "main", name, func(ctx context.Context, l oncall.Lease, _ time.Time) error {
				holding <- fmt.Sprint(name, " ", l.Epoch)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		return ended
	}
	ctxOne, stopOne := context.WithCancel(t.Context())
	ctxTwo, stopTwo := context.WithCancel(t.Context())
	endedOne := hold(ctxOne, one, "one")
	if got := <-holding; got != "one 1" {
		t.Fatal(got)
	}
	endedTwo := hold(ctxTwo, two, "two")
	stopOne()
	if err := <-endedOne; err != nil {
		t.Fatal(err)
	}
	if got := <-holding; got != "two 2" {
		t.Fatal(got)
	}
	stopTwo()
	if err := <-endedTwo; err != nil {
		t.Fatal(err)
	}
}

// TestPostgresRestarts loses all connections, as a restart of the server does.
func TestPostgresRestarts(t *testing.T) {
	url := pgtest.URL(t)
	s := openPostgres(t, url, quiet)
	defer s.Close() //nolint:errcheck // a test's
	for i := range 3 {
		if err := s.CommitEvaluation(t.Context(), oncall.Write{}, evaluation(i)); err != nil {
			t.Fatal(err)
		}
		pgtest.Terminate(t, url)
	}
	if err := s.Healthy(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := s.LoadEvaluator(t.Context())
	if err != nil || len(st.Alerts) != 3 {
		t.Fatalf("%d alerts (%v)", len(st.Alerts), err)
	}
	// In the middle of a transaction the commit fails, and says so.
	if err := s.During(t, func() { pgtest.Terminate(t, url) }); oncall.ErrorCode(err) != oncall.CodeUnavailable {
		t.Fatalf("got %v", err)
	}
	if err := s.CommitEvaluation(t.Context(), oncall.Write{}, evaluation(9)); err != nil {
		t.Fatal(err)
	}
}

// TestPostgresContention has two processes change the same two incidents in opposite orders, in shared
// commits, which the database resolves by failing one of them: the use cases run again.
func TestPostgresContention(t *testing.T) {
	url := pgtest.URL(t)
	stores := []*store.Store{openPostgres(t, url, quiet), openPostgres(t, url, quiet)}
	for _, s := range stores {
		defer s.Close() //nolint:errcheck // a test's
	}
	opened := oncall.Dispatch{}
	for _, g := range []string{"x", "y"} {
		opened.Changes = append(opened.Changes, changeOf(g, "A"))
	}
	if err := stores[0].CommitDispatch(t.Context(), oncall.Write{}, opened); err != nil {
		t.Fatal(err)
	}
	if _, err := stores[0].ApplyAlertChanges(t.Context(), oncall.Write{Now: time.Now()}, 10, placeOf, openIncident); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const rounds = 20
	errs := make(chan error, 4*rounds)
	for round := range rounds {
		for i, s := range stores {
			for j := range 2 {
				wg.Go(func() {
					_, err := s.UpdateIncident(t.Context(), oncall.Write{Now: time.Now()}, int64((i+j+round)%2+1), func(in oncall.Incident) (oncall.Decision, error) {
						in.Revision++
						return oncall.Decision{Changed: true, Incident: in}, nil
					})
					errs <- err
				})
			}
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	list, err := stores[1].Incidents(t.Context(), oncall.IncidentFilter{})
	if err != nil || len(list) != 2 || list[0].Revision+list[1].Revision != 4*rounds {
		t.Errorf("got %+v (%v)", list, err)
	}
}

func TestPostgresNewerSchemaIsRefused(t *testing.T) {
	url := pgtest.URL(t)
	openPostgres(t, url, quiet).Close() //nolint:errcheck // a test's
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test's
	if _, err := db.Exec("insert into goose_db_version (version_id, is_applied) values (999, true)"); err != nil {
		t.Fatal(err)
	}
	_, err = store.OpenPostgres(t.Context(), url, quiet)
	if oncall.ErrorCode(err) != oncall.CodeConflict || !strings.Contains(err.Error(), "schema 999, written by a newer tocsin") {
		t.Errorf("got %v", err)
	}
}

// TestPostgresStartsTogether migrates a new database from several processes at once.
func TestPostgresStartsTogether(t *testing.T) {
	url := pgtest.URL(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.OpenPostgres(t.Context(), url, quiet)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close() //nolint:errcheck // a test's
		})
	}
	wg.Wait()
}

func TestPostgresURLs(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2@127.0.0.1:1/db", "postgres://u:hunter2@127.0.0.1:x/db", "postgres://u:hunter2%@h/db",
		"host=127.0.0.1 port=1 password=hunter2", "not a url hunter2", "postgres://u:hunter2@127.0.0.1:1/db?sslmode=hunter2",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // it waits for one that cannot be reached
		s, err := store.OpenPostgres(ctx, url, quiet)
		cancel()
		if err == nil {
			s.Close() //nolint:errcheck // a test's
			t.Errorf("%s was opened", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}
