package evaluator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tocsin/rules"
)

// act is one thing that happens in TestChaos.
type act struct {
	what, expr string
	values     map[string]float64
	failure    failure
	rules      string // the first letters of those that a reload leaves
	after      time.Duration
}

// TestChaos lets the store and the backend fail at random, restarts and reloads, and then holds the record
// against itself and the state against what the backend said last.
func TestChaos(t *testing.T) {
	a, b := rule(t, "A", "x > 1", holds(20*time.Second)), rule(t, "B", "y > 1", keeps(30*time.Second))
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) act {
			return act{
				what:    rapid.SampledFrom([]string{"values", "values", "fail", "store", "restart", "reload"}).Draw(rt, "what"),
				expr:    rapid.SampledFrom([]string{"x > 1", "y > 1"}).Draw(rt, "expr"),
				values:  rapid.SampledFrom([]map[string]float64{nil, {"a": 2}, {"a": 2, "b": 2}, {"b": 2}}).Draw(rt, "values"),
				failure: rapid.SampledFrom([]failure{works, failsBefore, failsAfter}).Draw(rt, "failure"),
				rules:   rapid.SampledFrom([]string{"AB", "A", "B"}).Draw(rt, "rules"),
				after:   time.Duration(rapid.IntRange(1, 40_000).Draw(rt, "ms")) * time.Millisecond,
			}
		}), 1, 15).Draw(rt, "acts")
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			r := &rig{t: t, store: newMemStore(), backend: newFakeBackend()}
			r.plan = Plan{Groups: group(a, b), Backend: r.backend, BackendName: "prom", Interval: 15 * time.Second, UnknownAfter: time.Minute}
			problems = r.chaos(acts)
		})
		if len(problems) > 0 {
			rt.Fatal(strings.Join(problems, "\n"))
		}
	})
}

func (r *rig) chaos(acts []act) []string {
	all := r.plan.Groups
	r.start()
	for _, a := range acts {
		switch a.what {
		case "values":
			r.backend.set(a.expr, a.values)
		case "fail":
			r.backend.fail(a.expr)
		case "store":
			r.store.failing(func(string) failure { return a.failure })
		case "restart":
			r.restart()
		case "reload":
			r.plan.Groups = group(slices.DeleteFunc(slices.Clone(all[0].Rules), func(ru rules.Rule) bool {
				return !strings.Contains(a.rules, ru.Alert)
			})...)
			r.e.Apply(r.plan)
		}
		r.pass(a.after)
	}
	r.store.failing(func(string) failure { return works })
	r.plan.Groups = all
	r.e.Apply(r.plan)
	r.backend.set("x > 1", map[string]float64{"a": 2})
	r.backend.set("y > 1", map[string]float64{"b": 2})
	r.pass(90 * time.Second)
	r.halt()
	problems := r.store.check()
	var left []string
	for _, al := range r.store.stored() {
		left = append(left, fmt.Sprint(al.Labels.Get("alertname"), al.Labels.Get("i"), " ", al.State))
	}
	slices.Sort(left)
	if fmt.Sprint(left) != "[Aa firing Bb firing]" {
		problems = append(problems, fmt.Sprintf("left %q", left))
	}
	return problems
}
