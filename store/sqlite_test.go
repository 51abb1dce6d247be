package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/store"
)

var quiet = store.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}

func evaluation(i int) oncall.Evaluation {
	return oncall.Evaluation{Upserts: []oncall.Alert{{
		Rule: "r", Labels: labels.FromStrings("alertname", "A", "i", fmt.Sprint(i)), State: oncall.StateFiring,
		Annotations: map[string]string{"text": strings.Repeat("x", 500)},
	}}}
}

// victim commits evaluations, receives alerts and trims the log, and says so, until it is killed.
func victim(dir string) {
	ctx := context.Background()
	s, err := store.OpenSQLite(ctx, dir, quiet)
	for i := 0; err == nil; i++ {
		if err = s.CommitEvaluation(ctx, oncall.Write{}, evaluation(i)); err != nil {
			break
		}
		if err = s.Receive(ctx, oncall.Write{Now: time.Now()}, postOf(i)); err != nil {
			break
		}
		if i%10 == 0 {
			var st oncall.DispatchState
			if st, err = s.LoadDispatch(ctx); err != nil {
				break
			}
			err = s.CommitDispatch(ctx, oncall.Write{}, oncall.Dispatch{Cursor: st.Cursor + 5, Trim: st.Cursor + 5})
		}
		if err == nil {
			fmt.Println(i)
		}
	}
	fmt.Println("victim:", err)
	os.Exit(1)
}

func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	committed, received := 0, 0
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TOCSIN_TEST_VICTIM="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		for n := 0; n < 100 && said.Scan(); n++ {
			if _, err := fmt.Sscan(said.Text(), &committed); err != nil {
				t.Fatal(said.Text())
			}
		}
		if _, err := store.OpenSQLite(t.Context(), dir, quiet); oncall.ErrorCode(err) != oncall.CodeConflict || !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
			t.Errorf("a second process was not refused clearly: %v", err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for said.Scan() { // what it said before it died
			if _, err := fmt.Sscan(said.Text(), &committed); err != nil {
				t.Fatal(said.Text())
			}
		}
		cmd.Wait() //nolint:errcheck // it was killed
		s := openSQLite(t, dir, quiet)
		st, err := s.LoadEvaluator(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Alerts) <= committed {
			t.Errorf("%d were answered as committed, %d are there", committed+1, len(st.Alerts))
		}
		received = checkLog(t, s, received+committed+1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkLog reads the log as a dispatcher that begins: nothing is missing after what was trimmed, and it ends
// not before row least. It returns the last row.
func checkLog(t *testing.T, s *store.Store, least int) int {
	t.Helper()
	st, err := s.LoadDispatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seq := st.Trimmed
	for {
		rs, err := s.ReceivedAfter(t.Context(), seq, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(rs) == 0 {
			break
		}
		for _, r := range rs {
			if seq++; r.Seq != seq || len(r.Posted) != 64 {
				t.Fatalf("row %d with %d alerts, want row %d with 64", r.Seq, len(r.Posted), seq)
			}
		}
	}
	if int(seq) < least {
		t.Errorf("%d rows were answered as received, the log ends at %d", least, seq)
	}
	return int(seq)
}

func TestSecondStoreIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "directory")
	s := openSQLite(t, dir, quiet)
	_, err := store.OpenSQLite(t.Context(), dir, quiet)
	if oncall.ErrorCode(err) != oncall.CodeConflict || !strings.Contains(err.Error(), "--storage.path") {
		t.Errorf("got %v", err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has rights %v (%v)", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 4 {
		t.Errorf("%d files (%v)", len(files), err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has rights %v (%v)", f.Name(), info.Mode(), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openSQLite(t, dir, quiet).Close() //nolint:errcheck // only whether it opens
}

func TestStrangePaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%e")
	s := openSQLite(t, dir, quiet)
	defer s.Close() //nolint:errcheck // a test's
	if _, err := os.Stat(filepath.Join(dir, "tocsin.db")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenSQLite(t.Context(), file, quiet); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	openSQLite(t, dir, quiet).Close() //nolint:errcheck // a test's
	db, err := sql.Open("sqlite", filepath.Join(dir, "tocsin.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("insert into goose_db_version (version_id, is_applied) values (999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = store.OpenSQLite(t.Context(), dir, quiet)
	if oncall.ErrorCode(err) != oncall.CodeConflict || !strings.Contains(err.Error(), "schema 999, written by a newer tocsin") {
		t.Errorf("got %v", err)
	}
}

func TestNoDatabase(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tocsin.db"), []byte(strings.Repeat("this is no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenSQLite(t.Context(), dir, quiet); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

// TestFullDisk fills the disk, in the middle of statements and of commits, and makes room again.
func TestFullDisk(t *testing.T) {
	reg := prometheus.NewRegistry()
	dir := t.TempDir()
	o := quiet
	o.Registerer = reg
	s := openSQLite(t, dir, o)
	defer s.Close() //nolint:errcheck // a test's
	commit := func(from, n int) error {
		var e oncall.Evaluation
		for i := range n {
			e.Upserts = append(e.Upserts, evaluation(from+i).Upserts...)
		}
		return s.CommitEvaluation(t.Context(), oncall.Write{}, e)
	}
	if err := commit(0, 10); err != nil {
		t.Fatal(err)
	}
	s.LimitPages(t, 60)
	var full error
	good := 10
	for ; full == nil && good < 10_000; good += 10 {
		full = commit(good, 10)
	}
	if oncall.ErrorCode(full) != oncall.CodeUnavailable || !strings.Contains(full.Error(), "full") {
		t.Fatalf("a full disk gave %v", full)
	}
	good -= 10
	if err := s.Healthy(t.Context()); err == nil {
		t.Error("healthy with a full disk, because a small write still found room in a page")
	}
	if err := commit(good, 200); oncall.ErrorCode(err) != oncall.CodeUnavailable {
		t.Fatalf("a full disk gave %v", err)
	}
	st, err := s.LoadEvaluator(t.Context())
	if err != nil || len(st.Alerts) != good {
		t.Fatalf("%d alerts, want %d (%v)", len(st.Alerts), good, err)
	}
	s.LimitPages(t, 1<<30)
	s.FullFor(0)
	if err := commit(good, 200); err != nil {
		t.Fatalf("after the disk returned: %v", err)
	}
	if err := s.Healthy(t.Context()); err != nil {
		t.Errorf("after the disk returned: %v", err)
	}
	if n, err := testutil.GatherAndCount(reg, "tocsin_store_failures_total", "tocsin_store_alerts", "tocsin_store_commits_total"); err != nil || n != 3 {
		t.Errorf("%d metrics (%v)", n, err)
	}
}

// TestDeadTransaction ends the transaction behind the writer's back, as SQLite does on some errors: all
// use cases of the commit fail, none is half written, and the next one works.
func TestDeadTransaction(t *testing.T) {
	s := openSQLite(t, t.TempDir(), quiet)
	defer s.Close() //nolint:errcheck // a test's
	boom := errors.New("boom")
	errs := s.TogetherWithRollback(t, boom)
	for i, err := range errs {
		if oncall.ErrorCode(err) != oncall.CodeUnavailable {
			t.Errorf("use case %d: %v", i, err)
		}
	}
	if s.Healthy(t.Context()) != nil {
		t.Error("it did not recover")
	}
	if got := s.Meta(t, "together%"); got != 0 {
		t.Errorf("%d rows of a dead transaction are there", got)
	}
}

func TestUrgentGoesFirst(t *testing.T) {
	s := openSQLite(t, t.TempDir(), quiet)
	defer s.Close() //nolint:errcheck // a test's
	kinds := []bool{false, false, true, false, true}
	if got := s.OrderOf(t, 0, kinds); fmt.Sprint(got) != "[2 4 0 1 3]" {
		t.Errorf("ran in the order %v", got)
	}
	// In the transaction of what they wait behind one of the others goes first, if they waited for long.
	if got := s.OrderOf(t, 2*time.Second, kinds); fmt.Sprint(got) != "[0 2 4 1 3]" {
		t.Errorf("after two seconds they ran in the order %v", got)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	s := openSQLite(t, t.TempDir(), quiet)
	defer s.Close()                               //nolint:errcheck // a test's
	if got := s.CommitsOf(t, 10, 900); got != 4 { // three fill one
		t.Errorf("10 use cases of 900 changes took %d transactions, want 4", got)
	}
	if got := s.CommitsOf(t, 100, 1); got != 1 {
		t.Errorf("100 small use cases took %d transactions, want 1", got)
	}
}

// Whoever is urgent waits for what runs, and for nothing else that is not urgent, if that takes long.
func TestUrgentWaitsForLittle(t *testing.T) {
	s := openSQLite(t, t.TempDir(), quiet)
	defer s.Close() //nolint:errcheck // a test's
	if got := s.BesideBulk(t, 4, 30*time.Millisecond); fmt.Sprint(got) != "[0]" {
		t.Errorf("the use cases %v were committed with an urgent one", got)
	}
}

// TestHoldRenews holds a shard for an hour of fake time: alive_at follows, and nothing is lost.
func TestHoldRenews(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSQLite(t, dir, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		held := make(chan error, 1)
		runs := 0
		go func() {
			held <- s.Hold(ctx, "main", "me", func(ctx context.Context, l oncall.Lease, _ time.Time) error {
				runs++
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		<-time.After(time.Hour + 5*time.Second)
		at := time.Now()
		if alive := s.AliveAt(t, "main"); at.Sub(alive) > 10*time.Second {
			t.Errorf("alive at %v, now is %v", alive, at)
		}
		cancel()
		if err := <-held; err != nil {
			t.Error(err)
		}
		if alive := s.AliveAt(t, "main"); !alive.Equal(at) || runs != 1 {
			t.Errorf("released at %v after %d runs", alive, runs)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
