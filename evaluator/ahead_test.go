package evaluator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/rules"
)

// crowded counts how many queries are in flight, and hangs or refuses from its n-th query on.
type crowded struct {
	*fakeBackend
	mu        sync.Mutex
	now, most int
	asked     int
	diesAt    int // 0: never
	refuses   bool
}

func (c *crowded) Query(ctx context.Context, expr string, at time.Time) (Answer, error) {
	c.mu.Lock()
	c.now++
	c.asked++
	c.most = max(c.most, c.now)
	dead := c.diesAt > 0 && c.asked >= c.diesAt
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	}()
	switch {
	case dead && c.refuses:
		return Answer{}, &QueryError{Kind: BackendError, Message: "connection refused"}
	case dead:
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	return c.fakeBackend.Query(ctx, expr, at)
}

// manyRules are n independent rules in one group.
func manyRules(t testing.TB, n int) []rules.Group {
	var rs []rules.Rule
	for i := range n {
		rs = append(rs, rule(t, fmt.Sprint("R", i), fmt.Sprintf("x%d > 1", i)))
	}
	return group(rs...)
}

// inCrowd is inBubble with a crowded backend from the start.
func inCrowd(t *testing.T, groups []rules.Group, concurrency int, f func(r *rig, c *crowded)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: newMemStore(), backend: newFakeBackend()}
		c := &crowded{fakeBackend: r.backend}
		r.plan = Plan{Groups: groups, Backend: c, BackendName: "prom", Interval: 15 * time.Second, QueryTimeout: 10 * time.Second, Concurrency: concurrency}
		f(r, c)
		r.halt()
		for _, p := range r.store.check() {
			t.Error(p)
		}
	})
}

// TestIndependentRulesAreAskedTogether: in the time of a third of the queries, and what follows is told in the
// rules' order, however their answers overtake each other; each rule's time is its own.
func TestIndependentRulesAreAskedTogether(t *testing.T) {
	for concurrency, most := range map[int]int{0: 3, 1: 1, 2: 1, 3: 2, 4: 3, 50: 3} {
		t.Run(fmt.Sprint("concurrency ", concurrency), func(t *testing.T) {
			inCrowd(t, manyRules(t, 13), concurrency, func(r *rig, c *crowded) {
				var want []string
				for i := range 13 {
					expr := fmt.Sprintf("x%d > 1", i)
					c.set(expr, map[string]float64{"a": 2})
					c.slow(expr, time.Duration(1000-10*i)*time.Millisecond)
					want = append(want, fmt.Sprint("firing R", i))
				}
				r.start()
				r.pass(time.Minute)
				if r.wantTold(0, want...); c.most != most {
					t.Errorf("%d queries in flight, want %d", c.most, most)
				}
				g := r.e.Groups()[0]
				if limit := time.Duration(12/most+2) * time.Second; g.EvaluationTime > limit {
					t.Errorf("the group took %s with %d at a time, want %s", g.EvaluationTime, most, limit)
				}
				for i, ru := range g.Rules {
					if want := time.Duration(1000-10*i) * time.Millisecond; ru.EvaluationTime != want {
						t.Errorf("rule %d took %s, want %s", i, ru.EvaluationTime, want)
					}
				}
				first := c.questions("x0 > 1")[0].when
				for i := 1; i < 13; i++ {
					if q := c.questions(fmt.Sprintf("x%d > 1", i))[0]; q.when.Sub(first) < time.Second {
						t.Errorf("rule %d was asked before the backend had answered once", i)
					}
				}
			})
		})
	}
}

// TestSharedQuestionIsAskedOnceAhead: rules that share a question wait for one answer.
func TestSharedQuestionIsAskedOnceAhead(t *testing.T) {
	var rs []rules.Rule
	for i := range 6 {
		rs = append(rs, rule(t, fmt.Sprint("W", i), fmt.Sprintf("x%d > 1", i)), rule(t, fmt.Sprint("C", i), fmt.Sprintf("x%d > 2", i)))
	}
	inCrowd(t, group(rs...), 8, func(r *rig, c *crowded) {
		for i := range 6 {
			c.slow(fmt.Sprintf("x%d > 1", i), time.Second)
		}
		r.start()
		r.pass(10 * time.Second)
		for i := range 6 {
			at := map[time.Time]bool{}
			for _, q := range c.questions(fmt.Sprintf("x%d > 1", i)) {
				if at[q.at] {
					t.Errorf("%s was asked twice for %s", q.expr, q.at)
				}
				at[q.at] = true
			}
		}
		if took := r.e.Groups()[0].EvaluationTime; took == 0 || took > 3*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestDyingBackendIsAskedNoMore: a backend that hangs or refuses, from whichever query on, is asked as often in
// the next minutes as if the rules were evaluated one after the other, and each of its rules says so.
func TestDyingBackendIsAskedNoMore(t *testing.T) {
	asked := func(t *testing.T, concurrency, diesAt int, refuses bool) (n int) {
		inCrowd(t, manyRules(t, 20), concurrency, func(r *rig, c *crowded) {
			for i := range 20 {
				c.slow(fmt.Sprintf("x%d > 1", i), 50*time.Millisecond)
			}
			c.diesAt, c.refuses = diesAt, refuses
			r.start()
			r.pass(3 * time.Minute)
			n = c.asked
			for _, ru := range r.e.Groups()[0].Rules {
				if ru.Health != HealthErr {
					t.Errorf("%s is %s", ru.Name, ru.Health)
				}
			}
		})
		return n
	}
	for _, refuses := range []bool{false, true} {
		for _, diesAt := range []int{1, 2, 3, 10, 19, 20, 21, 22, 35} {
			t.Run(fmt.Sprintf("refuses %t from %d on", refuses, diesAt), func(t *testing.T) {
				if one, many := asked(t, 1, diesAt, refuses), asked(t, 8, diesAt, refuses); many > one {
					t.Errorf("%d queries, %d one after the other", many, one)
				}
			})
		}
	}
}

// TestHeavyRulesLeaveTheGroupTime: rules that wait to their timeouts, ahead of their turn or in it, still leave
// the other rules their share of the interval.
func TestHeavyRulesLeaveTheGroupTime(t *testing.T) {
	inCrowd(t, manyRules(t, 20), 8, func(r *rig, c *crowded) {
		for _, i := range []int{0, 3, 4, 5, 11} {
			c.slow(fmt.Sprintf("x%d > 1", i), time.Hour)
		}
		r.start()
		r.pass(10 * time.Minute)
		n := len(c.questions("x19 > 1"))
		r.pass(10 * time.Minute)
		if n = len(c.questions("x19 > 1")) - n; n < 20 {
			t.Errorf("the last rule was evaluated %d times in 40 slots", n)
		}
	})
}

// TestAheadDelaysNoPage: the end of a for finds a place while slow queries are asked ahead.
func TestAheadDelaysNoPage(t *testing.T) {
	for _, concurrency := range []int{2, 3, 4, 8} {
		gs := manyRules(t, 20)
		gs[0].Rules[0].For = 20 * time.Second
		inCrowd(t, gs, concurrency, func(r *rig, c *crowded) {
			c.set("x0 > 1", map[string]float64{"a": 2})
			for i := 1; i < 20; i++ {
				c.slow(fmt.Sprintf("x%d > 1", i), 4*time.Second)
			}
			r.start()
			r.passUntil(3*time.Second, "pending", func() bool { return len(r.store.stored()) == 1 })
			due := r.store.stored()[0].ActiveAt.Add(20 * time.Second)
			r.passUntil(25*time.Second, "firing", func() bool { return len(r.store.told(0)) == 1 })
			if late := time.Since(due); late > 50*time.Millisecond {
				t.Errorf("concurrency %d: fired %s late", concurrency, late)
			}
		})
	}
}

// TestReloadWhileAskedAhead: what was asked ahead ends with its generation, and the slot is evaluated anew.
func TestReloadWhileAskedAhead(t *testing.T) {
	inCrowd(t, manyRules(t, 20), 8, func(r *rig, c *crowded) {
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint("firing R", i))
			c.set(fmt.Sprintf("x%d > 1", i), map[string]float64{"a": 2})
			c.slow(fmt.Sprintf("x%d > 1", i), 500*time.Millisecond)
		}
		r.start()
		for range 10 {
			r.pass(1300 * time.Millisecond)
			r.e.Apply(r.plan)
			r.pass(0)
		}
		r.pass(30 * time.Second)
		if c.most > 3 {
			t.Errorf("%d queries in flight", c.most)
		}
		if got := r.store.told(0); !slices.Equal(got, want) {
			t.Errorf("told %q", got)
		}
	})
}

// world is a group whose rules read each other's series, answered from what was written so far.
type world struct {
	rules   []string // "record NAME EXPR" or "alert NAME EXPR"
	latency []time.Duration
	fails   map[int]error // by rule
}

// TestAskingAheadIsInvisible: with answers fetched ahead, everything that is written and told, and its order, is
// as when one rule is asked after the other; each answer counts what was written before the question.
func TestAskingAheadIsInvisible(t *testing.T) {
	exprs := []string{"x > 1", "x > 2", "y > 1", "y", "z > 0", "rec0 > 0", "rec0", "rec1 > 0", "x > 1 and rec1", `{job="a"} > 0`, "ALERTS > 0", `ALERTS{alertname="A1"} > 0`,
		"ALERTS_FOR_STATE", `{__name__=~"rec.*"} > 0`, "sum(rec0) > 1", "max_over_time(rec1[1m]) > 3"}
	rapid.Check(t, func(rt *rapid.T) {
		w := world{fails: map[int]error{}}
		for i := range rapid.IntRange(2, 9).Draw(rt, "rules") {
			kind := rapid.SampledFrom([]string{"record rec0", "record rec1", "alert A0", "alert A1", "alert A2"}).Draw(rt, "kind")
			w.rules = append(w.rules, kind+" "+rapid.SampledFrom(exprs).Draw(rt, "expr"))
			w.latency = append(w.latency, time.Duration(rapid.IntRange(0, 900).Draw(rt, "ms"))*time.Millisecond)
			if err := rapid.SampledFrom([]error{nil, nil, nil, nil, &QueryError{Kind: RuleError, Message: "no"}, errors.New("down")}).Draw(rt, "error"); err != nil {
				w.fails[i] = err
			}
		}
		var seen [2][]string
		for i, concurrency := range []int{1, 8} {
			synctest.Test(t, func(t *testing.T) { seen[i] = w.run(t, concurrency) })
		}
		if diff := cmp.Diff(seen[0], seen[1]); diff != "" {
			rt.Fatalf("one after the other (-), and asked ahead (+):\n%s", diff)
		}
	})
}

// selected counts the samples written so far that the selectors of an expression select.
func (f *fakeRecorder) selected(e parser.Expr) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, selectors := range parser.ExtractSelectors(e) {
		for _, s := range f.written {
			if !slices.ContainsFunc(selectors, func(m *labels.Matcher) bool { return !m.Matches(s.Labels.Get(m.Name)) }) {
				n++
			}
		}
	}
	return n
}

// run evaluates the world for some slots, and returns what was seen of it.
func (w *world) run(t *testing.T, concurrency int) []string {
	rec := &fakeRecorder{}
	r := &rig{t: t, store: newMemStore(), backend: newFakeBackend()}
	var rs []rules.Rule
	for i, text := range w.rules {
		kind, rest, _ := strings.Cut(text, " ")
		name, expr, _ := strings.Cut(rest, " ")
		ru := rule(t, name, expr, labelled("rule", fmt.Sprint(i)))
		if ru.ID = oncall.RuleID(fmt.Sprint("g/", i)); kind == "record" {
			records(name)(&ru)
		}
		rs = append(rs, ru)
	}
	for i, q := range questions(&rules.Group{Rules: rs}) {
		for _, text := range []string{q.exact, q.shared} {
			r.backend.slow(text, w.latency[i])
			r.backend.do(text, func(at time.Time) (Answer, error) {
				if err := w.fails[i]; err != nil && at.Minute()%2 == 0 {
					return Answer{}, err
				}
				n := 1 + float64(rec.selected(rs[i].Expr)) // what it reads of the group is in the answer
				return Answer{Samples: []Sample{{Metric: labels.FromStrings("i", "a"), Value: n}}}, nil
			})
		}
	}
	r.plan = Plan{Groups: group(rs...), Backend: r.backend, BackendName: "prom", Interval: 15 * time.Second, QueryTimeout: 10 * time.Second, Concurrency: concurrency}
	r.e = New(Options{Store: r.store})
	r.e.Outputs(rec, &fakeForwarder{})
	r.run()
	r.pass(time.Minute)
	r.halt()
	var out []string
	for i, s := range rec.since(0) {
		out = append(out, fmt.Sprint(s, " ", rec.written[i].T))
	}
	for _, tr := range r.store.transitions {
		out = append(out, fmt.Sprint(tr.Rule, tr.From, tr.To, tr.Reason, tr.At))
	}
	for _, c := range r.store.changes {
		out = append(out, fmt.Sprint(c.Source, c.Status, c.Labels, c.Value))
	}
	return out
}
