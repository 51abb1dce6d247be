package evaluator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

func TestRestartIsInvisible(t *testing.T) {
	inBubble(t, group(rule(t, "Kept", "x > 1", keeps(time.Minute)), rule(t, "Held", "y > 1", holds(2*time.Minute))), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.set("y > 1", map[string]float64{"a": 2})
		r.pass(3 * time.Second)
		active := r.store.stored()[1].ActiveAt
		r.backend.set("x > 1", nil)
		r.pass(20 * time.Second)
		r.halt()
		r.pass(30 * time.Second)
		r.start()
		r.pass(35 * time.Second)
		r.wantTold(0, "firing Kept", "resolved Kept")
		r.halt()
		r.pass(10 * time.Minute)
		r.start()
		r.pass(2 * time.Second)
		r.wantTold(2, "firing Held")
		if c := r.store.changes[2]; !strings.HasPrefix(c.Reason, "breached for 11m") || !r.store.stored()[0].ActiveAt.Equal(active) {
			t.Errorf("%+v", c)
		}
	})
}

func TestPendingTimeIsForgottenAfterAnHour(t *testing.T) {
	inBubble(t, group(rule(t, "Held", "y > 1", holds(2*time.Minute))), func(r *rig) {
		r.backend.set("y > 1", map[string]float64{"a": 2})
		r.pass(3 * time.Second)
		r.halt()
		r.pass(61 * time.Minute)
		r.start()
		r.pass(110 * time.Second)
		r.wantTold(0)
		r.pass(15 * time.Second)
		r.wantTold(0, "firing Held")
	})
}

func TestReload(t *testing.T) {
	a, b := rule(t, "A", "x > 1"), rule(t, "B", "y > 1", holds(20*time.Second))
	inBubble(t, group(a, b), func(r *rig) {
		r.plan.ExternalLabels = labels.FromStrings("cluster", "old")
		r.e.Apply(r.plan)
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.set("y > 1", map[string]float64{"a": 2})
		r.pass(10 * time.Second)
		n := len(r.backend.questions("x > 1"))
		active := r.store.stored()[1].ActiveAt

		r.plan.Groups = group(b)
		r.plan.ExternalLabels = labels.FromStrings("cluster", "new")
		r.e.Apply(r.plan)
		r.pass(time.Millisecond)
		r.wantTold(0, "firing A", "resolved A")
		c := r.store.changes[1]
		if c.Reason != "rule removed from rules.yml" || c.Labels.Get("cluster") != "old" || c.Source != "rule:g/A" {
			t.Errorf("%+v", c)
		}
		if len(r.backend.questions("x > 1")) != n {
			t.Error("a removed rule was asked")
		}
		r.pass(time.Until(active.Add(20*time.Second)) + 30*time.Millisecond)
		r.wantTold(2, "firing B")
		if c := r.store.changes[2]; !c.StartsAt.Equal(active.Add(20*time.Second)) || c.Labels.Get("cluster") != "new" {
			t.Errorf("the reload moved a for: %+v", c)
		}
		r.plan.Groups = nil
		r.e.Apply(r.plan)
		r.pass(time.Millisecond)
		r.wantTold(3, "resolved B")
		if len(r.store.stored()) != 0 {
			t.Errorf("left: %+v", r.store.stored())
		}
	})
}

func TestForLoweredAtReload(t *testing.T) {
	for _, tc := range []struct{ pending, to, late time.Duration }{
		{5 * time.Second, 20 * time.Second, 0},
		{30 * time.Second, 20 * time.Second, 10 * time.Second}, // over by the new for: at once
	} {
		inBubble(t, group(rule(t, "A", "x > 1", holds(time.Hour))), func(r *rig) {
			r.plan.Interval = time.Minute
			r.restart()
			r.backend.set("x > 1", map[string]float64{"a": 5})
			r.passUntil(2*time.Minute, "pending", func() bool { return len(r.store.stored()) == 1 })
			active := r.store.stored()[0].ActiveAt
			r.pass(time.Until(active.Add(tc.pending)))
			r.plan.Groups = group(rule(t, "A", "x > 1", holds(tc.to)))
			r.e.Apply(r.plan)
			r.passUntil(2*time.Minute, "firing", func() bool { return len(r.store.told(0)) == 1 })
			if late := time.Since(active.Add(tc.to)); late > tc.late+50*time.Millisecond {
				t.Errorf("%s, then for: %s: fired %s late", tc.pending, tc.to, late)
			}
		})
	}
}

func TestReloadKeepsTheGrid(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1")), func(r *rig) {
		r.pass(20 * time.Second)
		before := len(r.backend.questions("x > 1"))
		for range 20 {
			r.e.Apply(r.plan)
			r.pass(100 * time.Millisecond)
		}
		if n := len(r.backend.questions("x > 1")) - before; n > 1 {
			t.Errorf("%d evaluations in 2 s of reloads", n)
		}
		r.plan.Interval = time.Second
		r.e.Apply(r.plan)
		before = len(r.backend.questions("x > 1"))
		r.pass(10 * time.Second)
		if n := len(r.backend.questions("x > 1")) - before; n < 9 || n > 11 {
			t.Errorf("%d evaluations in 10 s after the interval became 1 s", n)
		}
	})
}

func TestRemovedWhileDownResolves(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1"), rule(t, "B", "y > 1")), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.fail("y > 1")
		r.pass(6 * time.Minute)
		r.wantTold(0, "firing A", "firing TocsinCannotEvaluate")
		r.halt()
		r.plan.Groups = nil
		r.store.failing(func(op string) failure {
			if op == "commit" && time.Now().Second()%2 == 0 {
				return failsAfter
			}
			return works
		})
		r.start()
		r.pass(3 * time.Second)
		got := r.store.told(2)
		slices.Sort(got)
		if fmt.Sprint(got) != "[resolved A resolved TocsinCannotEvaluate]" || len(r.store.health) != 0 {
			t.Errorf("%q, health %v", got, r.store.health)
		}
	})
}

func TestStoreFailures(t *testing.T) {
	for _, f := range []failure{failsBefore, failsAfter} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inBubble(t, group(rule(t, "A", "x > 1"), rule(t, "B", "y > 1", holds(20*time.Second))), func(r *rig) {
				r.pass(3 * time.Second)
				r.backend.set("x > 1", map[string]float64{"a": 2, "b": 3})
				r.backend.set("y > 1", map[string]float64{"a": 2})
				r.store.failing(func(op string) failure {
					if op == "load" {
						return failsBefore
					}
					return f
				})
				r.pass(time.Minute)
				r.store.failing(func(string) failure { return works })
				r.pass(6 * time.Second)
				if got := r.store.told(0); len(got) < 2 {
					t.Errorf("6 s after the store is back: %q", got)
				}
				r.pass(40 * time.Second)
				got := r.store.told(0)
				slices.Sort(got)
				if !slices.Equal(got, []string{"firing A", "firing A", "firing B"}) {
					t.Errorf("told %q", got)
				}
			})
		})
	}
}

func TestLostLeaseEndsRun(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1")), func(r *rig) {
		r.pass(3 * time.Second)
		r.store.failing(func(string) failure { return losesLease })
		r.backend.set("x > 1", map[string]float64{"a": 2})
		err := <-r.done
		if !errors.Is(err, oncall.ErrLeaseLost) {
			t.Errorf("Run returned %v", err)
		}
		if r.e.Ready() {
			t.Error("ready without a lease")
		}
		r.done <- nil
	})
}

func TestRunWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: newMemStore(), backend: newFakeBackend()}
		r.plan = Plan{Groups: group(rule(t, "A", "x > 1")), Backend: r.backend, Interval: 15 * time.Second}
		r.store.failing(func(string) failure { return failsBefore })
		r.start()
		r.pass(30 * time.Second)
		if r.e.Ready() || len(r.backend.questions("x > 1")) != 0 {
			t.Error("evaluates without its memory")
		}
		r.store.failing(func(string) failure { return works })
		r.pass(8 * time.Second)
		if !r.e.Ready() {
			t.Error("not ready")
		}
		r.halt()
	})
}
