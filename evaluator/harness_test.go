package evaluator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.uber.org/goleak"

	"tocsin/oncall"
	"tocsin/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBackend answers each expression as told, and remembers what it was asked.
type fakeBackend struct {
	mu      sync.Mutex
	answer  map[string]func(at time.Time) (Answer, error)
	latency map[string]time.Duration
	asked   []asked
}

type asked struct {
	expr string
	at   time.Time // evaluation timestamp
	when time.Time
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{answer: map[string]func(time.Time) (Answer, error){}, latency: map[string]time.Duration{}}
}

func (b *fakeBackend) Query(ctx context.Context, expr string, at time.Time) (Answer, error) {
	b.mu.Lock()
	b.asked = append(b.asked, asked{expr, at, time.Now()})
	answer, wait := b.answer[expr], b.latency[expr]
	b.mu.Unlock()
	if wait > 0 && !sleep(ctx, wait) {
		return Answer{}, ctx.Err()
	}
	if answer == nil {
		return Answer{}, nil
	}
	return answer(at)
}

// count is how many queries were asked so far.
func (b *fakeBackend) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

// set makes expr return these values, each as a series with the label "i".
func (b *fakeBackend) set(expr string, values map[string]float64) {
	var ans Answer
	for _, i := range []string{"a", "b", "c", "d"} {
		if v, ok := values[i]; ok {
			ans.Samples = append(ans.Samples, Sample{Metric: labels.FromStrings(model.MetricNameLabel, expr, "i", i), Value: v})
		}
	}
	b.do(expr, func(time.Time) (Answer, error) { return ans, nil })
}

func (b *fakeBackend) fail(expr string) {
	b.do(expr, func(time.Time) (Answer, error) {
		return Answer{}, &QueryError{Kind: BackendError, Message: "connection refused", Cause: errors.ErrUnsupported}
	})
}

func (b *fakeBackend) do(expr string, f func(at time.Time) (Answer, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer[expr] = f
}

func (b *fakeBackend) slow(expr string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latency[expr] = d
}

func (b *fakeBackend) questions(expr string) []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []asked
	for _, q := range b.asked {
		if q.expr == expr {
			out = append(out, q)
		}
	}
	return out
}

// rig is an evaluator in a bubble, with fakes around it.
type rig struct {
	t       *testing.T
	store   *memStore
	backend *fakeBackend
	plan    Plan
	e       *Evaluator
	stop    context.CancelFunc
	done    chan error
	lastRun time.Time
}

// inBubble runs f with a rig whose groups have these rules. The rig is stopped and its record checked.
func inBubble(t *testing.T, groups []rules.Group, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: newMemStore(), backend: newFakeBackend()}
		r.plan = Plan{Groups: groups, Backend: r.backend, BackendName: "prom", GraphURL: "http://prom", ExternalURL: "http://tocsin/x",
			Interval: 15 * time.Second, QueryTimeout: 10 * time.Second}
		r.start()
		f(r)
		r.halt()
		for _, p := range r.store.check() {
			t.Error(p)
		}
	})
}

func (r *rig) start() {
	r.e = New(Options{Store: r.store})
	r.run()
}

// run runs the evaluator that is there.
func (r *rig) run() {
	r.e.Apply(r.plan)
	ctx, cancel := context.WithCancel(r.t.Context())
	r.stop, r.done = cancel, make(chan error, 1)
	go func(e *Evaluator, lastRun time.Time) {
		r.done <- e.Run(ctx, oncall.Lease{Shard: "evaluator", Owner: "test", Epoch: 1}, lastRun)
	}(r.e, r.lastRun)
	synctest.Wait()
}

func (r *rig) halt() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run returned %v", err)
	}
	r.lastRun = time.Now()
	r.done <- nil // halting twice is fine
}

func (r *rig) restart() { r.halt(); r.start() }

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// passUntil lets time go by until ok, for at most d.
func (r *rig) passUntil(d time.Duration, what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(d); !ok(); r.pass(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within %s: %s", d, what)
		}
	}
}

func (r *rig) wantTold(from int, want ...string) {
	r.t.Helper()
	if got := r.store.told(from); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("told %q, want %q", got, want)
	}
}

func rule(t testing.TB, name, expr string, edit ...func(*rules.Rule)) rules.Rule {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	r := rules.Rule{ID: oncall.RuleID("g/" + name), Hash: "h-" + name, Alert: name, Expr: e}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func holds(d time.Duration) func(*rules.Rule) { return func(r *rules.Rule) { r.For = d } }
func keeps(d time.Duration) func(*rules.Rule) { return func(r *rules.Rule) { r.KeepFiringFor = d } }
func labelled(kv ...string) func(*rules.Rule) {
	return func(r *rules.Rule) { r.Labels = labels.FromStrings(kv...) }
}
func annotated(name, text string) func(*rules.Rule) {
	return func(r *rules.Rule) { r.Annotations = map[string]string{name: text} }
}
func escalates(to string) func(*rules.Rule) { return func(r *rules.Rule) { r.Escalation = to } }

func group(rs ...rules.Rule) []rules.Group {
	return []rules.Group{{Name: "g", File: "rules.yml", Rules: rs}}
}
