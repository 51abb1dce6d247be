package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/oncall"
	"tocsin/store"
)

// TestLogDoesNotGrow receives and trims for long: the file keeps the size that the log needs at once.
func TestLogDoesNotGrow(t *testing.T) {
	dir := t.TempDir()
	s := openSQLite(t, dir, quiet)
	defer s.Close() //nolint:errcheck // a test's
	post := postOf(1)
	const rows = 200
	round := func(n int64) (bytes int64) {
		for range rows {
			if err := s.Receive(t.Context(), oncall.Write{Now: time.Now()}, post); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CommitDispatch(t.Context(), oncall.Write{}, oncall.Dispatch{Cursor: n * rows, Trim: n * rows}); err != nil {
			t.Fatal(err)
		}
		awaitTrimmed(t, s, n*rows)
		for _, name := range []string{"tocsin.db", "tocsin.db-wal"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			bytes += info.Size()
		}
		return bytes
	}
	first := round(1)
	var last int64
	for n := range int64(5) {
		last = round(n + 2)
	}
	if last > first+first/2 {
		t.Errorf("the files have %d KB after one round and %d KB after six", first>>10, last>>10)
	}
}

// awaitTrimmed waits until the rows of the log up to seq are gone.
func awaitTrimmed(t testing.TB, s *store.Store, seq int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		n := s.Rows(t, "received where seq <= $1", seq)
		if n == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("30 s later %d rows of the log are left", n)
		}
	}
}

// TestTrimmedAtNextStart leaves rows that are not needed to the next process.
func TestTrimmedAtNextStart(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		for i := range 3 {
			if err := s.Receive(t.Context(), oncall.Write{Now: time.Now()}, postOf(i)[:1]); err != nil {
				t.Fatal(err)
			}
		}
		s.SetCounter(t, "dispatched", 2)
		s.SetCounter(t, "trimmed", 2)
		if st, err := s.LoadDispatch(t.Context()); err != nil || st.Trimmed != 2 {
			t.Fatal(st, err)
		}
		awaitTrimmed(t, s, 2)
		if n := s.Rows(t, "received where seq > $1", int64(0)); n != 1 {
			t.Errorf("%d rows are left, want 1", n)
		}
	})
}

// TestDispatchInDeadTransaction: a dispatch whose transaction died is not there, and can be committed again.
func TestDispatchInDeadTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		if err := s.Receive(t.Context(), oncall.Write{Now: time.Now()}, postOf(1)); err != nil {
			t.Fatal(err)
		}
		d := oncall.Dispatch{Cursor: 1, Deliveries: []oncall.GroupDelivery{notificationOf(1)}, Changes: changes(3)}
		if err := s.DispatchWithRollback(t, d); oncall.ErrorCode(err) != oncall.CodeUnavailable {
			t.Fatalf("got %v", err)
		}
		for n := range 2 {
			st, err := s.LoadDispatch(t.Context())
			if err != nil || len(st.Deliveries) != n || st.Cursor != int64(n) {
				t.Fatalf("after %d commits: %+v (%v)", n, st, err)
			}
			if n == 0 {
				if err := s.CommitDispatch(t.Context(), oncall.Write{}, d); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := s.Rows(t, "alert_changes where seq > $1", int64(0)); n != 3 {
			t.Errorf("%d changes wait, want 3", n)
		}
	})
}

// TestUnreadableLog: a row that cannot be read is an error that names it.
func TestUnreadableLog(t *testing.T) {
	s := openSQLite(t, t.TempDir(), quiet)
	defer s.Close() //nolint:errcheck // a test's
	s.SetLog(t, 7, []byte("garbage"))
	_, err := s.ReceivedAfter(t.Context(), 0, 10)
	if oncall.ErrorCode(err) != oncall.CodeInternal {
		t.Errorf("got %v", err)
	}
}

// BenchmarkUrgentBesideTrim is how long an acknowledgement waits while thousands of rows of the log are deleted.
func BenchmarkUrgentBesideTrim(b *testing.B) {
	onBoth(b, func(b *testing.B, s *store.Store) {
		post := postOf(1)
		const rows = 2000
		var longest time.Duration
		var seq int64
		for b.Loop() {
			b.StopTimer()
			for range rows {
				if err := s.Receive(b.Context(), oncall.Write{Now: time.Now()}, post); err != nil {
					b.Fatal(err)
				}
			}
			seq += rows
			b.StartTimer()
			if err := s.CommitDispatch(b.Context(), oncall.Write{}, oncall.Dispatch{Cursor: seq, Trim: seq}); err != nil {
				b.Fatal(err)
			}
			for s.Rows(b, "received where seq <= $1", seq) > 0 {
				began := time.Now()
				if err := s.CommitEvaluation(b.Context(), oncall.Write{Urgent: true}, evaluation(1)); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, time.Since(began))
			}
		}
		b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
	})
}

func TestWaitingIsCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		for i := range 3 {
			if err := s.Receive(t.Context(), oncall.Write{Now: time.Now()}, postOf(i)[:1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CommitDispatch(t.Context(), oncall.Write{}, oncall.Dispatch{Cursor: 1, Deliveries: []oncall.GroupDelivery{notificationOf(1)}}); err != nil {
			t.Fatal(err)
		}
		const want = `
			# HELP tocsin_store_unfinished_group_deliveries Notifications of groups that are queued or being sent.
			# TYPE tocsin_store_unfinished_group_deliveries gauge
			tocsin_store_unfinished_group_deliveries 1
			# HELP tocsin_store_waiting_received Rows of the log of received alerts that the dispatcher has not taken in yet.
			# TYPE tocsin_store_waiting_received gauge
			tocsin_store_waiting_received 2
			`
		if err := testutil.CollectAndCompare(s.Sizes(), strings.NewReader(want), "tocsin_store_unfinished_group_deliveries", "tocsin_store_waiting_received"); err != nil {
			t.Error(err)
		}
	})
}

// TestNotificationsAreBounded: more than the latest are not kept, but what is not finished is.
func TestNotificationsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		var d oncall.Dispatch
		for i := range 10 {
			n := notificationOf(i)
			d.Deliveries = append(d.Deliveries, n)
			if n.State = oncall.DeliveryDelivered; i != 1 {
				d.Results = append(d.Results, n)
			}
		}
		if err := s.CommitDispatch(t.Context(), oncall.Write{}, d); err != nil {
			t.Fatal(err)
		}
		s.ForgetGroupDeliveries(t, 10)
		if n := s.Rows(t, "group_deliveries where seq > $1", 0); n != 10 {
			t.Errorf("%d are left of 10", n)
		}
		s.ForgetGroupDeliveries(t, 3)
		if n := s.Rows(t, "group_deliveries where seq > $1 or done_at = 0", 7); n != 4 || s.Rows(t, "group_deliveries where seq > $1", 0) != 4 {
			t.Errorf("%d are left of 4", n)
		}
	})
}
