package remotewrite_test

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tocsin/evaluator"
	"tocsin/evaluator/httpconf"
	"tocsin/evaluator/remotewrite"
	"tocsin/evaluator/remotewrite/remotewritetest"
	"tocsin/oncall"
)

// TestNothingIsLost: rules write beside each other while the far end fails in all its ways, the store fails
// before and after its work, and the process ends and starts again. Whatever a Write did not report as lost
// arrives, in order.
func TestNothingIsLost(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		plan := drawPlan(t)
		var failure string
		synctest.Test(outer, func(*testing.T) { failure = plan.run() })
		if failure != "" {
			t.Fatal(failure)
		}
	})
}

// walk is one drawn course of events.
type walk struct {
	faults   []remotewritetest.Fault // of requests, in order; none after the last
	store    []string                // operations of the queue that fail, in order: "append before"
	restarts []bool                  // after each round
	pauses   []time.Duration
	rules    int
}

func drawPlan(t *rapid.T) walk {
	fault := rapid.SampledFrom([]remotewritetest.Fault{{}, {}, {}, {Status: 500}, {Status: 503, After: true}, {Status: 429, RetryAfter: "3"},
		{Reset: true}, {Reset: true, After: true}, {Hang: true}, {Hang: true, After: true}, {Status: 401}})
	rounds := rapid.IntRange(1, 12).Draw(t, "rounds")
	return walk{
		faults:   rapid.SliceOfN(fault, 0, 60).Draw(t, "faults"),
		store:    rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "", "append before", "append after", "peek before", "delete before", "delete after"}), 0, 30).Draw(t, "store"),
		restarts: rapid.SliceOfN(rapid.Bool(), rounds, rounds).Draw(t, "restarts"),
		pauses:   rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 20 * time.Second}), rounds, rounds).Draw(t, "pauses"),
		rules:    rapid.IntRange(1, 3).Draw(t, "rules"),
	}
}

func (p walk) run() string {
	far := remotewritetest.New(func(n int) remotewritetest.Fault {
		if n < len(p.faults) {
			return p.faults[n]
		}
		return remotewritetest.Fault{}
	})
	ops := 0
	queue := &memQueue{fail: func(op string) (before, after bool) {
		ops++
		if ops > len(p.store) {
			return false, false
		}
		return p.store[ops-1] == op+" before", p.store[ops-1] == op+" after"
	}}
	var mu sync.Mutex
	want := map[string]string{} // series → values that were not reported as lost
	w, end := startWriter(queue, far)
	i := 0
	for round, restart := range p.restarts {
		var wg sync.WaitGroup
		for rule := range p.rules {
			wg.Go(func() {
				for k := range 3 {
					s := sample(fmt.Sprint("rule", rule), i+k)
					ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
					err := w.Write(ctx, []evaluator.Series{s})
					cancel()
					if err == nil {
						mu.Lock()
						want[s.Labels.Get("__name__")] += fmt.Sprint(i+k, " ")
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		i += 3
		time.Sleep(p.pauses[round])
		if restart {
			end()
			w, end = startWriter(queue, far)
		}
	}
	time.Sleep(30 * time.Minute)
	defer end()
	for name, values := range want {
		if got := valuesOf(far, name); !contains(got, values) {
			return fmt.Sprintf("%s: got %q, want all of %q; refused %q", name, got, values, far.Refused())
		}
	}
	if n := len(queue.now()); n > 0 {
		return fmt.Sprintf("%d batches are left", n)
	}
	return ""
}

// startWriter is a process: it returns its writer, and what ends it.
func startWriter(queue *memQueue, far *remotewritetest.Receiver) (*remotewrite.Writer, func()) {
	w, err := remotewrite.New(far0, remotewrite.Options{Queue: queue}.WithTransport(far))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx, oncall.Lease{})
	}()
	return w, func() { cancel(); <-done }
}

// far0 is the configuration of the walk's far end.
var far0 = remotewrite.Config{Config: httpconf.Config{URL: &url.URL{Scheme: "http", Host: "far.example", Path: "/"}, Timeout: 5 * time.Second}}

func valuesOf(far *remotewritetest.Receiver, name string) (out string) {
	var last int64
	for _, p := range far.Series()[fmt.Sprintf(`{__name__=%q, job="x"}`, name)] {
		if p.T <= last {
			return "out of order"
		}
		last = p.T
		out += fmt.Sprint(math.Float64frombits(p.Bits), " ")
	}
	return out
}

// contains reports whether all words of want are in got. There may be more: what was reported as lost may
// have arrived all the same.
func contains(got, want string) bool {
	words := " " + got
	for _, w := range strings.Fields(want) {
		if !strings.Contains(words, " "+w+" ") {
			return false
		}
	}
	return true
}
