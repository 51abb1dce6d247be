package evaluator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

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

// TestLimitRecovers: what keep_firing_for holds does not keep the rule above its limit.
func TestLimitRecovers(t *testing.T) {
	gs := group(rule(t, "A", "x > 1"))
	gs[0].Limit, gs[0].Rules[0].KeepFiringFor = 2, time.Minute
	inBubble(t, gs, func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2, "b": 2})
		r.pass(5 * time.Second)
		r.backend.set("x > 1", map[string]float64{"c": 2, "d": 2})
		r.pass(15 * time.Second)
		r.wantTold(0, "firing A", "firing A", "firing A", "firing A")
		r.pass(2 * time.Minute)
		r.wantTold(4, "resolved A", "resolved A")
	})
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
		if n := r.backend.count(); n != defaultConcurrency {
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

func TestMetrics(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1"), rule(t, "B", "y > 1", holds(time.Hour)), rule(t, "C", "z > 1")), func(r *rig) {
		reg := prometheus.NewPedanticRegistry()
		r.halt()
		r.e = New(Options{Store: r.store, Registerer: reg})
		r.run()
		r.backend.set("x > 1", map[string]float64{"a": 2, "b": 3})
		r.backend.set("y > 1", map[string]float64{"a": 2})
		r.backend.slow("x > 1", 9*time.Second)
		r.backend.slow("y > 1", 9*time.Second)
		r.backend.slow("z > 1", 9*time.Second)
		r.backend.fail("z > 1")
		r.pass(5 * time.Minute)
		got := gather(t, reg)
		for name, atLeast := range map[string]float64{
			"tocsin_evaluator_evaluations_total":                                    20,
			"tocsin_evaluator_evaluation_failures_total{backend}":                   5,
			"tocsin_evaluator_group_iterations_missed_total{rules.yml;g}":           4,
			"tocsin_evaluator_group_last_evaluation_timestamp_seconds{rules.yml;g}": 1,
			"tocsin_evaluator_group_iterations_total{rules.yml;g}":                  5,
			"tocsin_evaluator_group_evaluations_total{rules.yml;g}":                 15,
			"tocsin_evaluator_group_evaluation_failures_total{rules.yml;g}":         5,
			"tocsin_evaluator_group_last_duration_seconds{rules.yml;g}":             18,
			"tocsin_evaluator_group_last_rule_duration_sum_seconds{rules.yml;g}":    20,
			"tocsin_evaluator_group_interval_seconds{rules.yml;g}":                  15,
			"tocsin_evaluator_group_rules{rules.yml;g}":                             3,
			"tocsin_evaluator_group_last_evaluation_samples{rules.yml;g}":           3,
			"tocsin_evaluator_alerts{pending}":                                      1,
			"tocsin_evaluator_alerts{firing}":                                       2,
		} {
			if got[name] < atLeast {
				t.Errorf("%s is %v, want at least %v", name, got[name], atLeast)
			}
		}
		r.plan.Groups = nil
		r.e.Apply(r.plan)
		r.pass(time.Millisecond)
		got = gather(t, reg)
		if _, ok := got["tocsin_evaluator_group_iterations_missed_total{rules.yml;g}"]; ok || got["tocsin_evaluator_alerts{firing}"] != 0 {
			t.Errorf("series of a removed group: %v", got)
		}
	})
}

// gather returns counters and gauges as name{label value}.
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetValue() + "}"
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}
