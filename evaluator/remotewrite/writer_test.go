package remotewrite_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"tocsin/evaluator"
	"tocsin/evaluator/remotewrite"
	"tocsin/evaluator/remotewrite/remotewritetest"
	"tocsin/oncall"
)

func TestDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, remotewrite.Options{ExternalLabels: labels.FromStrings("cluster", "shop-1", "job", "never", "zone", "z")}, remotewritetest.New(nil), &memQueue{})
		r.start()
		defer r.stop()
		r.write(
			evaluator.Series{Labels: labels.FromStrings("__name__", "ALERTS", "alertname", "A", "alertstate", "firing", "job", "x"), T: at(1), V: 1},
			evaluator.Series{Labels: labels.FromStrings("__name__", "ALERTS", "alertname", "A", "alertstate", "pending", "job", "x"), T: at(1), V: math.Float64frombits(value.StaleNaN)},
			evaluator.Series{Labels: labels.FromStrings("__name__", "ALERTS_FOR_STATE", "alertname", "A"), T: at(1), V: math.Inf(-1)},
		)
		got := r.far.Series()
		for name, want := range map[string]uint64{
			`{__name__="ALERTS", alertname="A", alertstate="firing", cluster="shop-1", job="x", zone="z"}`:  math.Float64bits(1),
			`{__name__="ALERTS", alertname="A", alertstate="pending", cluster="shop-1", job="x", zone="z"}`: value.StaleNaN,
			`{__name__="ALERTS_FOR_STATE", alertname="A", cluster="shop-1", job="never", zone="z"}`:         math.Float64bits(math.Inf(-1)),
		} {
			if p := got[name]; len(p) != 1 || p[0].Bits != want || p[0].T != at(1) {
				t.Errorf("%s: got %v", name, p)
			}
		}
		if len(got) != 3 || len(r.far.Refused()) > 0 || len(r.queue.now()) > 0 || r.far.Requests() != 1 {
			t.Errorf("got %v, refused %v, %d queued", got, r.far.Refused(), len(r.queue.now()))
		}
		if h := r.far.Headers(); h.Get("X-Scope-OrgID") != "shop" {
			t.Errorf("headers %v", h)
		}
		if n := r.metric("tocsin_remote_write_samples_total"); n != 3 {
			t.Errorf("%v samples", n)
		}
	})
}

// TestSameSeriesTwice: what the caller gives twice, or in the wrong order, is put right.
func TestSameSeriesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, remotewrite.Options{}, remotewritetest.New(nil), &memQueue{})
		r.start()
		defer r.stop()
		newer := sample("a", 2)
		newer.V = 20
		r.write(sample("a", 3), sample("b", 1), sample("a", 2), sample("a", 1), newer)
		if got := values(r.far, "a"); got != "1 20 3 " || len(r.far.Refused()) > 0 {
			t.Errorf("got %q, refused %v", got, r.far.Refused())
		}
	})
}

func TestOutage(t *testing.T) {
	for name, fault := range map[string]remotewritetest.Fault{
		"500":          {Status: 500, Text: "no"},
		"503 taken":    {Status: 503, After: true},
		"429":          {Status: 429, RetryAfter: "7"},
		"reset":        {Reset: true},
		"reset, taken": {Reset: true, After: true},
		"hang":         {Hang: true},
		"hang, taken":  {Hang: true, After: true},
		"password":     {Status: 401},
		"switched off": {Status: 404, Text: "remote write receiver needs to be enabled"},
		"redirect":     {Status: 302},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, remotewrite.Options{}, remotewritetest.New(nil), &memQueue{lease: lease})
				r.start()
				defer r.stop()
				r.write(sample("a", 0))
				r.far.SetFault(always(fault))
				for i := 1; i <= 50; i++ {
					began := time.Now()
					r.write(sample("a", i), sample("b", i))
					if took := time.Since(began); i > 1 && took > time.Second {
						t.Errorf("write %d took %v: only the first may wait for the far end", i, took)
					}
					time.Sleep(time.Second)
				}
				if r.metric("tocsin_remote_write_queue_batches") != 50 || r.metric("tocsin_remote_write_queue_samples") != 100 || len(r.queue.now()) != 50 {
					t.Errorf("%d are queued", len(r.queue.now()))
				}
				if s := r.log.String(); strings.Contains(s, "s3cret") || strings.Count(s, "level=WARN") != 1 {
					t.Errorf("the log says %s", s)
				}
				r.far.SetFault(nil)
				time.Sleep(time.Minute)
				r.write(sample("a", 51), sample("b", 51))
				want := ""
				for i := range 52 {
					want += fmt.Sprint(i, " ")
				}
				if got := values(r.far, "a"); got != want || "0 "+values(r.far, "b") != want {
					t.Errorf("got %q and %q", got, values(r.far, "b"))
				}
				for _, gauge := range []string{"batches", "samples", "bytes", "oldest_timestamp_seconds"} {
					if n := r.metric("tocsin_remote_write_queue_" + gauge); n != 0 || len(r.queue.now()) > 0 {
						t.Errorf("%s: %v left, %d rows", gauge, n, len(r.queue.now()))
					}
				}
				if lost := r.metric("tocsin_remote_write_samples_dropped_total", "refused"); lost != 0 {
					t.Errorf("%v counted as refused: %v", lost, r.far.Refused())
				}
			})
		})
	}
}

// TestRefused: what is wrong is dropped and counted, and holds up nothing else.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, remotewrite.Options{}, remotewritetest.New(nil), &memQueue{})
		r.start()
		defer r.stop()
		r.write(sample("a", 5))
		r.write(sample("a", 4)) // out of order
		if n := r.metric("tocsin_remote_write_samples_dropped_total", "refused"); n != 1 || !strings.Contains(r.log.String(), "out of order") {
			t.Errorf("%v dropped, log: %s", n, r.log.String())
		}
		r.far.SetFault(always(remotewritetest.Fault{Status: 500}))
		r.write(sample("b", 1))
		r.write(sample("a", 3))
		r.write(sample("c", 1))
		r.far.SetFault(nil)
		time.Sleep(time.Minute)
		if values(r.far, "a") != "5 " || values(r.far, "b") != "1 " || values(r.far, "c") != "1 " || len(r.queue.now()) > 0 {
			t.Errorf("got %v, %d left", r.far.Series(), len(r.queue.now()))
		}
		if n := r.metric("tocsin_remote_write_samples_dropped_total", "refused") + r.metric("tocsin_remote_write_samples_dropped_total", "arrived"); n != 2 {
			t.Errorf("%v dropped", n)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []time.Duration
		began := time.Now()
		far := remotewritetest.New(func(n int) remotewritetest.Fault {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(began).Round(time.Second))
			if n < 3 {
				return remotewritetest.Fault{Status: 429, RetryAfter: "40"}
			}
			return remotewritetest.Fault{}
		})
		r := newRig(t, remotewrite.Options{}, far, &memQueue{})
		r.start()
		defer r.stop()
		r.write(sample("a", 1))
		time.Sleep(5 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if got := fmt.Sprint(asked); got != "[0s 40s 1m20s 2m0s]" {
			t.Errorf("asked at %s", got)
		}
	})
}

func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := remotewritetest.New(always(remotewritetest.Fault{Status: 500}))
		r := newRig(t, remotewrite.Options{MaxBytes: 1000}, far, &memQueue{})
		r.start()
		defer r.stop()
		for i := range 100 {
			r.write(sample("a", i))
		}
		if r.queue.peak > 1000 || r.metric("tocsin_remote_write_queue_bytes") != float64(size(r.queue.now()).Bytes) {
			t.Errorf("the queue grew to %d bytes; %v counted of %d", r.queue.peak, r.metric("tocsin_remote_write_queue_bytes"), size(r.queue.now()).Bytes)
		}
		kept := len(r.queue.now())
		synctest.Wait() // what is on its way now is counted as lost, and must not arrive after all
		if lost := r.metric("tocsin_remote_write_samples_dropped_total", "overflow"); int(lost)+kept != 100 || !strings.Contains(r.log.String(), "overflow") {
			t.Errorf("%v lost, %d kept, log %s", lost, kept, r.log.String())
		}
		far.SetFault(nil)
		time.Sleep(time.Minute)
		if got := values(far, "a"); !strings.HasSuffix(got, " 98 99 ") || strings.Count(got, " ") != kept {
			t.Errorf("got %q, kept %d", got, kept)
		}
	})
}

func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := remotewritetest.New(always(remotewritetest.Fault{Status: 500}))
		r := newRig(t, remotewrite.Options{MaxAge: time.Hour}, far, &memQueue{})
		r.start()
		defer r.stop()
		r.write(sample("a", 1))
		time.Sleep(50 * time.Minute)
		r.write(sample("a", 2))
		time.Sleep(11 * time.Minute)
		if n := r.metric("tocsin_remote_write_samples_dropped_total", "expired"); n != 1 || len(r.queue.now()) != 1 {
			t.Errorf("%v expired, %d left", n, len(r.queue.now()))
		}
		far.SetFault(nil)
		time.Sleep(time.Minute)
		if got := values(far, "a"); got != "2 " {
			t.Errorf("got %q", got)
		}
	})
}

// TestRestart: what waits outlives the process, and arrives before what comes after.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := remotewritetest.New(always(remotewritetest.Fault{Status: 500}))
		queue := &memQueue{}
		r := newRig(t, remotewrite.Options{}, far, queue)
		r.start()
		for i := range 3 {
			r.write(sample("a", i))
		}
		r.stop()
		r.write(sample("a", 3)) // an evaluation that ends after Run
		far.SetFault(nil)

		next := newRig(t, remotewrite.Options{}, far, queue)
		early := make(chan struct{})
		go func() { // before the queue is counted
			defer close(early)
			next.write(sample("a", 4))
		}()
		synctest.Wait()
		if far.Series()[`{__name__="a", job="x"}`] != nil {
			t.Error("written before Run")
		}
		next.start()
		defer next.stop()
		<-early
		time.Sleep(time.Second)
		if got := values(far, "a"); got != "0 1 2 3 4 " {
			t.Errorf("got %q", got)
		}
	})
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := remotewritetest.New(always(remotewritetest.Fault{Reset: true}))
		failing := func(what string) func(string) (bool, bool) {
			return func(op string) (bool, bool) { return op == what, false }
		}
		queue := &memQueue{fail: failing("count")}
		r := newRig(t, remotewrite.Options{}, far, queue)
		r.start()
		defer r.stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := r.w.Write(ctx, []evaluator.Series{sample("a", 0)}); oncall.ErrorCode(err) != oncall.CodeUnavailable {
			t.Errorf("written without knowing the queue: %v", err)
		}
		queue.setFail(failing("append"))
		time.Sleep(time.Minute)
		if err := r.w.Write(context.Background(), []evaluator.Series{sample("a", 1)}); !errors.Is(err, errStore) {
			t.Errorf("got %v", err)
		}
		if n := r.metric("tocsin_remote_write_samples_dropped_total", "store"); n != 2 {
			t.Errorf("%v lost", n)
		}
		queue.setFail(failing("peek"))
		r.write(sample("a", 2))
		far.SetFault(nil)
		time.Sleep(time.Minute)
		queue.setFail(failing("delete"))
		time.Sleep(5 * time.Minute)
		if far.Requests() > 10 {
			t.Errorf("%d requests: sent again because it could not be deleted", far.Requests())
		}
		queue.setFail(failing(""))
		time.Sleep(time.Minute)
		r.write(sample("a", 3))
		if got := values(far, "a"); got != "2 3 " || len(queue.now()) > 0 {
			t.Errorf("got %q, %d left", got, len(queue.now()))
		}
	})
}

func TestLeaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := &memQueue{lease: lease}
		r := newRig(t, remotewrite.Options{}, remotewritetest.New(always(remotewritetest.Fault{Reset: true})), queue)
		done := make(chan error, 1)
		go func() { done <- r.w.Run(context.Background(), lease) }()
		r.write(sample("a", 1))
		queue.mu.Lock()
		queue.lease.Epoch++
		queue.mu.Unlock()
		r.far.SetFault(nil)
		if err := <-done; !errors.Is(err, oncall.ErrLeaseLost) {
			t.Errorf("got %v", err)
		}
		r.far.SetFault(always(remotewritetest.Fault{Reset: true}))
		if err := r.w.Write(context.Background(), []evaluator.Series{sample("a", 2)}); !errors.Is(err, oncall.ErrLeaseLost) {
			t.Errorf("got %v", err)
		}
	})
}

// TestApply: what waits goes to the new far end, at once.
func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := remotewritetest.New(always(remotewritetest.Fault{Status: 500}))
		r := newRig(t, remotewrite.Options{}, far, &memQueue{})
		r.start()
		defer r.stop()
		r.write(sample("a", 1))
		time.Sleep(10 * time.Minute) // the wait is at its longest
		if err := r.w.Apply(remotewrite.Config{}, labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
		far.SetFault(nil)
		r.write(sample("a", 2)) // nowhere
		time.Sleep(10 * time.Minute)
		if len(far.Series()) > 0 || len(r.queue.now()) != 1 {
			t.Errorf("got %v, %d queued", far.Series(), len(r.queue.now()))
		}
		if err := r.w.Apply(config(t, "http://other.example/"), labels.FromStrings("cluster", "c")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.write(sample("a", 3))
		if got := values(far, "a"); got != "1 " || len(far.Series()) != 2 {
			t.Errorf("got %v", far.Series())
		}
	})
}

func TestStatuses(t *testing.T) {
	for status, want := range map[int]bool{400: false, 401: true, 403: true, 404: true, 408: true, 409: false, 413: false, 422: false, 429: true, 301: true, 500: true, 503: true, 599: true} {
		if got := remotewrite.Retryable(status); got != want {
			t.Errorf("%d: retryable %v", status, got)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "soon": 0, "99999999999999": 0, "4000": 5 * time.Minute,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := remotewrite.RetryAfter(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestMetricNames(t *testing.T) {
	r := newRig(t, remotewrite.Options{}, remotewritetest.New(nil), &memQueue{})
	problems, err := testutil.GatherAndLint(r.reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v (%v)", problems, err)
	}
}
