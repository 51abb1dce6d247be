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
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/rules"
)

func TestForEndsOnTime(t *testing.T) {
	inBubble(t, group(rule(t, "High", "x > 1", holds(20*time.Second), annotated("summary", "{{ $labels.i }} at {{ $value }}"))), func(r *rig) {
		r.pass(16 * time.Second)
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.passUntil(16*time.Second, "pending", func() bool { return len(r.store.stored()) == 1 })
		pending := r.store.stored()[0]
		if want := newSlots(&r.plan.Groups[0], r.plan.Interval).floor(time.Now()); !pending.ActiveAt.Equal(want) {
			t.Errorf("active at %s, its slot is %s", pending.ActiveAt, want)
		}
		r.passUntil(21*time.Second, "firing", func() bool { return len(r.store.told(0)) == 1 })
		c := r.store.changes[0]
		if want := pending.ActiveAt.Add(20 * time.Second); !c.StartsAt.Equal(want) || time.Since(want) > 30*time.Millisecond {
			t.Errorf("fired for %s at %s, want %s", c.StartsAt, time.Now(), want)
		}
		if c.Annotations["summary"] != "a at 5" || c.Value != "5" || c.GeneratorURL != "http://prom/graph?g0.expr=x+%3E+1&g0.tab=1" ||
			c.Source != "rule:g/High" || c.Labels.String() != `{alertname="High", i="a"}` {
			t.Errorf("%+v", c)
		}
		if ev := c.Evidence; ev.Group != "g" || ev.File != "rules.yml" || ev.Expr != "x > 1" || ev.RuleHash != "h-High" || ev.Backend != "prom" ||
			!ev.At.Equal(c.StartsAt) || ev.Metric.Get("__name__") != "x > 1" || ev.Value != "5" || ev.For != 20*time.Second {
			t.Errorf("%+v", ev)
		}
		if w := r.store.writes[len(r.store.writes)-1]; !w.Urgent || w.Lease == nil || w.Lease.Epoch != 1 {
			t.Errorf("%+v", w)
		}
		r.backend.set("x > 1", nil)
		r.pass(15 * time.Second)
		r.wantTold(1, "resolved High")
	})
}

func TestGridAndFirstEvaluation(t *testing.T) {
	inBubble(t, group(rule(t, "High", "x > 1")), func(r *rig) {
		if r.e.Ready() && len(r.backend.questions("x > 1")) == 0 {
			t.Error("ready before the first evaluation")
		}
		r.pass(2 * time.Second)
		if !r.e.Ready() {
			t.Error("not ready")
		}
		r.pass(60 * time.Second)
		s := newSlots(&r.plan.Groups[0], r.plan.Interval)
		qs := r.backend.questions("x > 1")
		if len(qs) < 5 || len(qs) > 6 {
			t.Fatalf("%d evaluations in 62 s", len(qs))
		}
		for _, q := range qs[1:] {
			if !q.at.Equal(s.floor(q.at)) || q.when.Sub(q.at) > 10*time.Millisecond {
				t.Errorf("asked at %s about %s, which is no slot", q.when, q.at)
			}
		}
	})
}

func TestForOnTheGridAsksOnce(t *testing.T) {
	inBubble(t, group(rule(t, "High", "x > 1", holds(30*time.Second))), func(r *rig) {
		r.pass(20 * time.Second)
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.pass(60 * time.Second)
		r.wantTold(0, "firing High")
		if n := len(r.backend.questions("x > 1")); n > 7 {
			t.Errorf("%d queries in 80 s", n)
		}
	})
}

func TestSlowRuleDelaysNobodyElsesFor(t *testing.T) {
	inBubble(t, group(rule(t, "Fast", "x > 1", holds(20*time.Second)), rule(t, "Slow", "y > 1")), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.backend.slow("y > 1", 9*time.Second)
		r.passUntil(3*time.Second, "pending", func() bool { return len(r.store.stored()) == 1 })
		active := r.store.stored()[0].ActiveAt
		r.passUntil(25*time.Second, "firing", func() bool { return len(r.store.told(0)) == 1 })
		if late := time.Since(active.Add(20 * time.Second)); late > 50*time.Millisecond {
			t.Errorf("fired %s late", late)
		}
	})
}

func TestOverrunsSkipAndCount(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1"), rule(t, "B", "y > 1"), rule(t, "C", "z > 1"), rule(t, "D", "w > 1")), func(r *rig) {
		for _, expr := range []string{"x > 1", "y > 1", "z > 1", "w > 1"} {
			r.backend.slow(expr, 9*time.Second)
		}
		r.pass(5 * time.Minute)
		var last time.Time
		for _, q := range r.backend.questions("x > 1") {
			if !q.at.After(last) {
				t.Errorf("asked about %s after %s", q.at, last)
			}
			last = q.at
		}
	})
}

func TestHangingBackendCostsAboutOneInterval(t *testing.T) {
	var rs []rules.Rule
	for i := range 10 {
		rs = append(rs, rule(t, fmt.Sprint("R", i), fmt.Sprintf("x%d > 1", i)))
	}
	inBubble(t, group(rs...), func(r *rig) {
		for i := range 10 {
			r.backend.slow(fmt.Sprintf("x%d > 1", i), time.Hour)
		}
		r.pass(30 * time.Second)
		if n := len(r.store.health); n != 10 {
			t.Errorf("after two intervals %d of 10 rules are known to fail", n)
		}
	})
}

func TestUnknownAndBuiltinAlert(t *testing.T) {
	rs := group(rule(t, "A", "x > 1", escalates("session")), rule(t, "B", "y > 1"), rule(t, "C", "z > 1", escalates("session")))
	inBubble(t, rs, func(r *rig) {
		r.plan.ExternalLabels = labels.FromStrings("cluster", "c1")
		r.e.Apply(r.plan)
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.set("y > 1", map[string]float64{"a": 2})
		r.pass(20 * time.Second)
		r.wantTold(0, "firing A", "firing B")
		for _, expr := range []string{"x > 1", "y > 1", "z > 1"} {
			r.backend.fail(expr)
		}
		r.pass(15 * time.Second)
		r.wantTold(2, "unknown A", "unknown B")
		since := r.store.health["g/A"].FailingSince
		r.pass(time.Until(since.Add(5*time.Minute)) - time.Millisecond)
		r.wantTold(4)
		r.restart() // neither forgets nor repeats
		r.pass(100 * time.Millisecond)
		r.wantTold(4, "firing TocsinCannotEvaluate", "firing TocsinCannotEvaluate")
		r.restart()
		r.pass(10 * time.Minute)
		r.wantTold(6)
		got := map[string]oncall.AlertChange{}
		for _, c := range r.store.changes[4:] {
			got[c.Escalation] = c
		}
		c := got["session"]
		if c.Source != "builtin:cannot-evaluate:prom:session" || c.Labels.String() != `{alertname="TocsinCannotEvaluate", backend="prom", cluster="c1", severity="critical"}` ||
			!slices.Equal(c.GroupBy, []string{"alertname", "backend"}) || c.Reason == "" {
			t.Errorf("%+v", c)
		}
		if a := c.Annotations; !strings.Contains(a["summary"], "2 rules cannot be evaluated on prom: connection refused") ||
			!strings.Contains(a["description"], "A (group g), C (group g)") {
			t.Errorf("%q", a)
		}
		if c := got[""]; c.Source != "builtin:cannot-evaluate:prom:" || !strings.Contains(c.Annotations["description"], "B (group g)") {
			t.Errorf("%+v", c)
		}
		r.backend.set("x > 1", map[string]float64{"a": 3})
		r.backend.set("y > 1", nil)
		r.pass(15 * time.Second)
		r.wantTold(6, "known A", "resolved B", "resolved TocsinCannotEvaluate")
		r.backend.set("z > 1", nil)
		r.pass(15 * time.Second)
		r.wantTold(9, "resolved TocsinCannotEvaluate")
		if reason := r.store.changes[9].Reason; reason != "all its rules are evaluated again" {
			t.Errorf("reason %q", reason)
		}
	})
}

func TestPartialAnswerHoldsAndIsReported(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1")), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.pass(5 * time.Second)
		r.backend.do("x > 1", func(time.Time) (Answer, error) { return Answer{Partial: "store down"}, nil })
		r.pass(6 * time.Minute)
		r.wantTold(0, "firing A", "unknown A", "firing TocsinCannotEvaluate")
	})
}

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

func TestTemplates(t *testing.T) {
	rs := group(rule(t, "A", "x > 1",
		labelled("severity", "{{ if gt $value 5.0 }}critical{{ else }}warning{{ end }}", "i", "", "team", "{{ $labels.i }}-{{ $externalLabels.cluster }}"),
		func(r *rules.Rule) {
			r.Annotations = map[string]string{
				"asked":  `{{ with query "up" }}{{ . | first | value }}{{ end }}`,
				"broken": `{{ index $labels 1 }}`,
				"url":    `{{ externalURL }} {{ pathPrefix }} {{ $externalURL }}`,
			}
		}))
	inBubble(t, rs, func(r *rig) {
		r.plan.ExternalLabels = labels.FromStrings("cluster", "c1", "severity", "none")
		r.e.Apply(r.plan)
		r.backend.set("x > 1", map[string]float64{"a": 2, "b": 9})
		r.backend.set("up", map[string]float64{"a": 42})
		r.pass(3 * time.Second)
		r.wantTold(0, "firing A", "firing A")
		a, b := r.store.changes[0], r.store.changes[1]
		if a.Labels.String() != `{alertname="A", cluster="c1", severity="warning", team="a-c1"}` || b.Labels.Get("severity") != "critical" {
			t.Errorf("%s, %s", a.Labels, b.Labels)
		}
		if a.Annotations["asked"] != "42" || !strings.HasPrefix(a.Annotations["broken"], "<error expanding template: ") || a.Annotations["url"] != "http://tocsin/x /x http://tocsin/x" {
			t.Errorf("%q", a.Annotations)
		}
		if n := len(r.backend.questions("up")); n != 1 {
			t.Errorf("the template's query was asked %d times", n)
		}
	})
}

func TestHangingTemplateQueryDelaysABit(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1", annotated("asked", `{{ query "up" }}`))), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.slow("up", time.Hour)
		r.pass(5 * time.Second)
		r.wantTold(0, "firing A")
		if got := r.store.changes[0].Annotations["asked"]; !strings.HasPrefix(got, "<error expanding template: ") {
			t.Errorf("%q", got)
		}
	})
}

func TestErrorsOfTheRuleKeepItsState(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*rules.Rule, *rules.Group)
		bad  func(*rig)
		err  string
	}{
		{"duplicate labels", func(r *rules.Rule, _ *rules.Group) { r.Labels = labels.FromStrings("i", "") },
			func(r *rig) { r.backend.set("x > 1", map[string]float64{"a": 2, "b": 2}) }, "two samples that become the same alert"},
		{"limit", func(_ *rules.Rule, g *rules.Group) { g.Limit = 1 },
			func(r *rig) { r.backend.set("x > 1", map[string]float64{"b": 2, "c": 2}) }, "exceeded the group's limit of 1 with 2 alerts"},
		{"query in a label fails", func(r *rules.Rule, _ *rules.Group) {
			r.Labels = labels.FromStrings("n", `{{ query "up" | len }}`)
		}, func(r *rig) { r.backend.fail("up") }, "a query in a label's template failed: connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gs := group(rule(t, "A", "x > 1"), rule(t, "B", "y > 1"))
			tc.edit(&gs[0].Rules[0], &gs[0])
			inBubble(t, gs, func(r *rig) {
				r.backend.set("x > 1", map[string]float64{"a": 2})
				r.pass(3 * time.Second)
				tc.bad(r)
				r.backend.set("y > 1", map[string]float64{"a": 1})
				r.pass(15 * time.Second)
				r.wantTold(0, "firing A", "unknown A", "firing B")
				if got := r.store.health["g/A"].LastError; !strings.Contains(got, tc.err) {
					t.Errorf("last error %q", got)
				}
				r.backend.set("x > 1", nil)
				r.pass(15 * time.Second)
				r.wantTold(3, "resolved A")
			})
		})
	}
}

func TestQueryOffset(t *testing.T) {
	gs := group(rule(t, "A", "x > 1"))
	gs[0].QueryOffset = time.Minute
	inBubble(t, gs, func(r *rig) {
		r.pass(20 * time.Second)
		for _, q := range r.backend.questions("x > 1") {
			if d := q.when.Sub(q.at); d < time.Minute || d > time.Minute+10*time.Millisecond {
				t.Errorf("asked about %s ago", d)
			}
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	var gs []rules.Group
	for i := range 30 {
		g := group(rule(t, fmt.Sprint("R", i), fmt.Sprintf("x%d > 1", i)))[0]
		g.Name = fmt.Sprint("g", i)
		gs = append(gs, g)
	}
	inBubble(t, gs, func(r *rig) {
		for i := range 30 {
			r.backend.slow(fmt.Sprintf("x%d > 1", i), 5*time.Second)
		}
		r.pass(4 * time.Second)
		if n := len(r.backend.asked); n != defaultConcurrency {
			t.Errorf("%d queries in flight", n)
		}
		if r.e.Ready() {
			t.Error("ready too early")
		}
		r.pass(20 * time.Second)
		if !r.e.Ready() {
			t.Error("not ready")
		}
	})
}

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
