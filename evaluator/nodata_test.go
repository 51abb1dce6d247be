package evaluator

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/rules"
)

func noData(mode rules.NoDataMode, after time.Duration) func(*rules.Rule) {
	return func(r *rules.Rule) { r.NoData, r.NoDataFor = mode, after }
}

func TestSharedQueriesOfAGroup(t *testing.T) {
	gs := group(rule(t, "Warn", "x > 60"), rule(t, "Crit", "x > 80"), rule(t, "Again", "x > 80", labelled("a", "b")), rule(t, "Merged", "x > 70", labelled("i", "")))
	inBubble(t, gs, func(r *rig) {
		r.backend.set("x > 60", map[string]float64{"a": 90, "b": 65, "c": 80})
		r.pass(3 * time.Second)
		r.wantTold(0, "firing Warn", "firing Warn", "firing Warn", "firing Crit", "firing Again")
		if all, shared := r.backend.count(), len(r.backend.questions("x > 60")); all != shared {
			t.Errorf("%d queries, %d of them shared", all, shared)
		}
		if c := r.store.changes[3]; c.Value != "90" || c.Evidence.Expr != "x > 80" {
			t.Errorf("%+v", c.Evidence)
		}
		if got := r.store.health["g/Merged"].LastError; !strings.Contains(got, "two samples that become the same alert") || len(r.store.health) != 1 {
			t.Errorf("%v", r.store.health)
		}
		r.backend.fail("x > 60")
		r.pass(15 * time.Second)
		if len(r.store.health) != 4 {
			t.Errorf("a failed question fails all who share it: %v", r.store.health)
		}
	})
}

func TestExtraEvaluationAsksForThatRuleAlone(t *testing.T) {
	inBubble(t, group(rule(t, "Warn", "x > 60"), rule(t, "Crit", "x > 80", holds(20*time.Second))), func(r *rig) {
		r.backend.set("x > 60", map[string]float64{"a": 90})
		r.backend.set("x > 80", map[string]float64{"a": 90})
		r.pass(40 * time.Second)
		if n := len(r.backend.questions("x > 80")); n != 1 {
			t.Errorf("%d questions about the rule alone", n)
		}
		r.wantTold(0, "firing Warn", "firing Crit")
	})
}

func TestRecoverHolds(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 80", recovers(70))), func(r *rig) {
		r.backend.set("x > 70", map[string]float64{"a": 75})
		r.pass(3 * time.Second)
		r.wantTold(0)
		r.backend.set("x > 70", map[string]float64{"a": 81})
		r.pass(15 * time.Second)
		r.backend.set("x > 70", map[string]float64{"a": 71})
		r.pass(15 * time.Second)
		r.restart()
		r.pass(15 * time.Second)
		r.wantTold(0, "firing A")
		r.backend.set("x > 70", nil)
		r.pass(15 * time.Second)
		r.wantTold(1, "resolved A")
	})
}

func TestNoDataHold(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 80", noData(rules.NoDataHold, time.Hour))), func(r *rig) {
		r.backend.set("x > 80", map[string]float64{"a": 90, "b": 90, "c": 90})
		r.backend.set("x", map[string]float64{"a": 90, "b": 90, "c": 90})
		r.pass(3 * time.Second)
		if n := len(r.backend.questions("x")); n != 0 {
			t.Error("the vector is asked though nothing is missing")
		}
		r.backend.set("x > 80", map[string]float64{"c": 90})
		r.backend.set("x", map[string]float64{"a": 50, "c": 90}) // a recovers, b is gone
		r.pass(15 * time.Second)
		r.wantTold(3, "resolved A")
		if got := r.store.changes[3].Labels.Get("i"); got != "a" {
			t.Errorf("%s resolved", got)
		}
		r.restart()
		r.backend.set("x", map[string]float64{"b": math.NaN(), "c": 90})
		r.pass(15 * time.Second)
		r.wantTold(4)
		r.backend.fail("x")
		r.pass(15 * time.Second)
		r.wantTold(4, "unknown A", "unknown A")
		r.backend.set("x", map[string]float64{"c": 90})
		r.pass(15 * time.Second)
		r.wantTold(6, "known A", "known A")
		r.pass(time.Hour)
		r.wantTold(8, "resolved A")
		if c := r.store.changes[8]; c.Labels.Get("i") != "b" || !strings.Contains(c.Reason, "no_data_for: 1h") {
			t.Errorf("%+v", c)
		}
	})
}

func TestNoDataAlert(t *testing.T) {
	rs := group(rule(t, "A", "x > 80", noData(rules.NoDataAlert, 0), holds(time.Minute), annotated("summary", "{{ $labels.i }}")))
	inBubble(t, rs, func(r *rig) {
		r.backend.set("x", map[string]float64{"a": 50, "b": 40})
		r.pass(20 * time.Second)
		r.backend.set("x", map[string]float64{"b": 40})
		r.pass(15 * time.Second)
		if got := r.store.stored(); len(got) != 1 || got[0].ActiveAt.IsZero() || time.Since(got[0].ActiveAt) < 15*time.Second {
			t.Fatalf("%+v", got)
		}
		active := r.store.stored()[0].ActiveAt
		r.passUntil(time.Minute, "firing", func() bool { return len(r.store.told(0)) == 1 })
		c := r.store.changes[0]
		if late := time.Since(active.Add(time.Minute)); late > 50*time.Millisecond || c.Annotations["summary"] != "a" || c.Value != "50" ||
			!strings.HasPrefix(c.Annotations["no_data"], "no sample since ") || !strings.Contains(c.Reason, "no_data: alert") {
			t.Errorf("%s late: %+v", late, c)
		}
		r.pass(10 * time.Minute)
		r.wantTold(1)
		r.backend.set("x", map[string]float64{"a": 10, "b": 40})
		r.pass(15 * time.Second)
		r.wantTold(1, "resolved A")
		r.backend.set("x", map[string]float64{"b": 40})
		r.pass(61 * time.Minute)
		r.wantTold(2, "firing A", "resolved A")
	})
}

// TestNoDataAlertLooksBack: a series that vanished while tocsin was down is gone, not unknown.
func TestNoDataAlertLooksBack(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 80", noData(rules.NoDataAlert, 0))), func(r *rig) {
		r.halt()
		seen := time.Now().Add(-5 * time.Minute)
		answer := func(v float64) func(time.Time) (Answer, error) {
			return func(time.Time) (Answer, error) {
				return Answer{Samples: []Sample{{Metric: labels.FromStrings("i", "a"), Value: v}}}, nil
			}
		}
		r.backend.do("max_over_time(timestamp(x)[1h:1m])", answer(float64(seen.Unix())))
		r.backend.do("last_over_time(x[1h:1m])", answer(42))
		r.store = newMemStore()
		r.start()
		r.pass(3 * time.Second)
		r.wantTold(0, "firing A")
		if a := r.store.stored()[0]; a.ActiveAt.Unix() != seen.Unix() || a.Value != 42 {
			t.Errorf("%+v", a)
		}
		r.pass(56 * time.Minute)
		r.wantTold(1, "resolved A")
	})
}

// TestNoDataAlertStaysOverRestart: what is known to be gone stays so where the backend cannot look back.
func TestNoDataAlertStaysOverRestart(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 80", noData(rules.NoDataAlert, 0))), func(r *rig) {
		r.backend.set("x", map[string]float64{"a": 50, "b": 40})
		r.pass(20 * time.Second)
		r.backend.set("x", map[string]float64{"b": 40})
		r.pass(20 * time.Second)
		r.restart()
		r.pass(30 * time.Minute)
		r.wantTold(0, "firing A")
		r.pass(31 * time.Minute)
		r.wantTold(1, "resolved A")
	})
}

// TestTroubleIsNotBeaten: a backend that is down is asked one cheap question per interval instead of all the
// rules', one at a time; when it is back every rule is evaluated within one interval.
func TestTroubleIsNotBeaten(t *testing.T) {
	var gs []rules.Group
	for n := range 4 {
		var rs []rules.Rule
		for i := range 25 {
			rs = append(rs, rule(t, fmt.Sprint("R", n, "-", i), fmt.Sprintf("x%d_%d > 1", n, i)))
		}
		g := group(rs...)[0]
		g.Name = fmt.Sprint("g", n)
		gs = append(gs, g)
	}
	inBubble(t, gs, func(r *rig) {
		r.pass(20 * time.Second)
		down := func(time.Time) (Answer, error) {
			return Answer{}, &QueryError{Kind: BackendError, Message: "connection refused"}
		}
		every := func(f func(time.Time) (Answer, error)) {
			r.backend.do(probeQuery, f)
			for n := range 4 {
				for i := range 25 {
					r.backend.do(fmt.Sprintf("x%d_%d > 1", n, i), f)
				}
			}
		}
		every(down)
		r.pass(30 * time.Second)
		if n := len(r.store.health); n != 100 {
			t.Errorf("%d of 100 rules are known to fail", n)
		}
		before := r.backend.count()
		r.pass(60 * time.Second)
		if n := r.backend.count() - before; n > 4*5 {
			t.Errorf("%d questions in 4 intervals of 4 groups", n)
		}
		every(nil)
		r.pass(15 * time.Second)
		if n := len(r.store.health); n != 0 {
			t.Errorf("an interval after it is back, %d rules still fail", n)
		}
	})
}

// TestHeavyRulesAreNoTrouble: rules that always time out do not blind their neighbours.
func TestHeavyRulesAreNoTrouble(t *testing.T) {
	var rs []rules.Rule
	for i := range 8 {
		rs = append(rs, rule(t, fmt.Sprint("R", i), fmt.Sprintf("x%d > 1", i)))
	}
	inBubble(t, group(rs...), func(r *rig) {
		for i := range 5 {
			r.backend.fail(fmt.Sprintf("x%d > 1", i))
		}
		r.backend.set("x7 > 1", map[string]float64{"a": 2})
		r.pass(40 * time.Second)
		r.wantTold(0, "firing R7")
		if n := len(r.store.health); n != 5 {
			t.Errorf("%d rules fail", n)
		}
	})
}

func TestBackendsByName(t *testing.T) {
	other := newFakeBackend()
	gs := []rules.Group{group(rule(t, "A", "x > 1"))[0], group(rule(t, "B", "y > 1"))[0], group(rule(t, "C", "z > 1"))[0]}
	gs[1].Name, gs[1].Prometheus, gs[1].Headers = "g2", "eu", map[string]string{"X-Scope-OrgID": "shop"}
	gs[2].Name, gs[2].Prometheus = "g3", "nowhere"
	inBubble(t, gs, func(r *rig) {
		r.plan.Backends = map[string]Source{"eu": {Backend: other, BackendName: "http://eu", GraphURL: "http://eu-graph"}}
		r.e.Apply(r.plan)
		r.backend.set("x > 1", map[string]float64{"a": 2})
		other.set("y > 1", map[string]float64{"a": 2})
		r.pass(20 * time.Second)
		got := r.store.told(0)
		if len(got) != 2 || len(other.questions("y > 1")) == 0 || len(r.backend.questions("y > 1")) != 0 {
			t.Fatalf("%q", got)
		}
		for _, c := range r.store.changes {
			if c.Labels.Get("alertname") == "B" && (c.Evidence.Backend != "http://eu" || !strings.HasPrefix(c.GeneratorURL, "http://eu-graph/")) {
				t.Errorf("%+v", c)
			}
		}
		if got := r.store.health["g/C"].LastError; !strings.Contains(got, `no prometheus named "nowhere"`) {
			t.Errorf("%q", got)
		}
		other.fail("y > 1")
		r.pass(6 * time.Minute)
		backends := map[string]bool{}
		for _, c := range r.store.changes {
			if c.Labels.Get("alertname") == CannotEvaluate {
				backends[c.Labels.Get("backend")] = true
			}
		}
		if len(backends) != 2 || !backends["http://eu"] || !backends["nowhere"] {
			t.Errorf("%v", backends)
		}
	})
}
