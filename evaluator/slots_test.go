package evaluator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/rules"
)

// TestSlots: the grid is the same from wherever one looks at it, so that neither a restart nor a host clock that
// jumps moves it.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		interval := time.Duration(rapid.Int64Range(1, 4_000_000).Draw(rt, "ms")) * time.Millisecond
		s := newSlots(&rules.Group{Name: rapid.String().Draw(rt, "name"), File: "rules.yml"}, interval)
		now := time.Unix(0, rapid.Int64Range(int64(interval), 4e18).Draw(rt, "now"))
		floor, after := s.floor(now), s.after(now)
		if floor.After(now) || !after.After(now) || after.Sub(floor) != interval {
			rt.Errorf("%s is not between %s and %s", now, floor, after)
		}
		if !s.floor(floor).Equal(floor) || !s.after(floor).Equal(after) || !s.floor(after.Add(-1)).Equal(floor) {
			rt.Errorf("%s is no slot", floor)
		}
		if ms := floor.UnixNano() % int64(time.Millisecond); ms != 0 {
			rt.Errorf("%s is no whole millisecond, which is all that a query can ask about", floor)
		}
		jump := time.Duration(rapid.Int64Range(-1000, 1000).Draw(rt, "slots")) * interval
		if then := now.Add(jump); then.UnixNano() > int64(interval) && !s.floor(then).Equal(floor.Add(jump)) {
			rt.Errorf("a jump by %s moved the grid", jump)
		}
		if d := s.firstDelay(); d < 0 || d >= 2*time.Second || d >= interval {
			rt.Errorf("the first evaluation waits for %s", d)
		}
	})
}

// TestGroupsSpread: groups do not ask all at the same instant.
func TestGroupsSpread(t *testing.T) {
	const n, buckets = 1000, 10
	var seen [buckets]int
	for i := range n {
		s := newSlots(&rules.Group{Name: fmt.Sprint("group", i), File: "rules.yml"}, 15*time.Second)
		seen[s.offset*buckets/(15*time.Second)]++
	}
	for i, c := range seen {
		if c < n/buckets/2 || c > n/buckets*2 {
			t.Errorf("%d of %d groups in tenth %d of the interval", c, n, i)
		}
	}
}

// TestMissedIterationsAreCounted: with a rule that takes longer than its interval, each slot is either evaluated
// or counted as missed, and the other groups keep theirs.
func TestMissedIterationsAreCounted(t *testing.T) {
	gs := group(rule(t, "A", "a > 1"), rule(t, "B", "b > 1"), rule(t, "C", "c > 1"), rule(t, "D", "d > 1"))
	gs = append(gs, rules.Group{Name: "other", File: "rules.yml", Rules: []rules.Rule{rule(t, "E", "e > 1")}})
	inBubble(t, gs, func(r *rig) {
		reg := prometheus.NewPedanticRegistry()
		r.halt()
		r.e = New(Options{Store: r.store, Registerer: reg})
		for _, expr := range []string{"a > 1", "b > 1", "c > 1", "d > 1"} {
			r.backend.slow(expr, 9*time.Second)
		}
		r.run()
		r.pass(time.Minute)
		slow, fast, missed := len(r.backend.questions("a > 1")), len(r.backend.questions("e > 1")), missedIterations(t, reg, "rules.yml;g")
		r.pass(time.Hour)
		slow, fast, missed = len(r.backend.questions("a > 1"))-slow, len(r.backend.questions("e > 1"))-fast, missedIterations(t, reg, "rules.yml;g")-missed
		const slots = 240
		if fast != slots {
			t.Errorf("the other group was evaluated %d times in %d slots", fast, slots)
		}
		if missed == 0 || slow+missed < slots-2 || slow+missed > slots+2 {
			t.Errorf("%d evaluations and %d missed in %d slots", slow, missed, slots)
		}
		if n := missedIterations(t, reg, "rules.yml;other"); n != 0 {
			t.Errorf("the other group missed %d", n)
		}
	})
}

func missedIterations(t *testing.T, reg prometheus.Gatherer, group string) int {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasSuffix(f.GetName(), "iterations_missed_total") {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == group {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("no missed iterations of %s", group)
	return 0
}

// TestReloadInTheMiddle: a reload while a query is in flight breaks that evaluation off and repeats it, for the
// same slot; no for begins anew, nothing is told twice, and no slot is lost.
func TestReloadInTheMiddle(t *testing.T) {
	a, b := rule(t, "A", "x > 1", holds(20*time.Second)), rule(t, "B", "y > 1")
	inBubble(t, group(a, b), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.set("y > 1", map[string]float64{"a": 2})
		r.pass(3 * time.Second)
		active := r.store.stored()[0].ActiveAt
		n := len(r.backend.questions("y > 1"))
		r.backend.slow("y > 1", 5*time.Second)
		r.passUntil(16*time.Second, "B is asked", func() bool { return len(r.backend.questions("y > 1")) > n })
		r.pass(2 * time.Second)
		for range 3 {
			r.e.Apply(r.plan)
			r.pass(100 * time.Millisecond)
		}
		r.pass(6 * time.Second)
		qs := r.backend.questions("y > 1")
		for _, q := range qs[n:] {
			if !q.at.Equal(qs[n].at) {
				t.Errorf("asked about %s after the reload, instead of the slot %s", q.at, qs[n].at)
			}
		}
		if last := qs[len(qs)-1].when; last.Sub(qs[n].when) > 2400*time.Millisecond {
			t.Errorf("the evaluation was repeated only %s after it began", last.Sub(qs[n].when))
		}
		r.pass(time.Until(active.Add(20*time.Second)) + 50*time.Millisecond)
		r.wantTold(0, "firing B", "firing A")
		if got := r.store.changes[1].StartsAt; !got.Equal(active.Add(20 * time.Second)) {
			t.Errorf("A fired at %s, due at %s", got, active.Add(20*time.Second))
		}
	})
}

// TestRecoveryWithinAnInterval: however long a backend was down, and however many groups ask it, each rule is
// evaluated within one interval after it is back.
func TestRecoveryWithinAnInterval(t *testing.T) {
	var gs []rules.Group
	for i := range 20 {
		g := group(rule(t, fmt.Sprint("R", i), fmt.Sprintf("x%d > 1", i)))[0]
		g.Name = fmt.Sprint("g", i)
		gs = append(gs, g)
	}
	for _, down := range []time.Duration{20 * time.Second, 10 * time.Minute, 6 * time.Hour} {
		for name, hangs := range map[string]time.Duration{"refuses": 0, "hangs": time.Hour} {
			t.Run(fmt.Sprint(name, " for ", down), func(t *testing.T) {
				inBubble(t, gs, func(r *rig) {
					r.pass(20 * time.Second)
					for i := range 20 {
						r.backend.fail(fmt.Sprintf("x%d > 1", i))
						r.backend.slow(fmt.Sprintf("x%d > 1", i), hangs)
					}
					r.pass(down)
					for i := range 20 {
						r.backend.set(fmt.Sprintf("x%d > 1", i), map[string]float64{"a": 2})
						r.backend.slow(fmt.Sprintf("x%d > 1", i), 0)
					}
					// What hangs ends with its timeout only; the interval counts from then.
					bound := r.plan.Interval + 10*time.Millisecond
					if hangs > 0 {
						bound += r.plan.QueryTimeout
					}
					r.pass(bound)
					if n := len(r.store.stored()); n < 20 {
						t.Errorf("%d of 20 alerts within %s", n, bound)
					}
				})
			})
		}
	}
}

// TestStartUp: the first evaluation of each group is at once, spread over two seconds; a for that is shorter than
// the interval ends on time there too.
func TestStartUp(t *testing.T) {
	var gs []rules.Group
	for i := range 20 {
		g := group(rule(t, fmt.Sprint("R", i), fmt.Sprintf("x%d > 1", i), holds(5*time.Second)))[0]
		g.Name = fmt.Sprint("g", i)
		gs = append(gs, g)
	}
	inBubble(t, nil, func(r *rig) {
		r.plan.Groups = gs
		r.plan.Interval = time.Minute
		for i := range 20 {
			r.backend.set(fmt.Sprintf("x%d > 1", i), map[string]float64{"a": 2})
		}
		began := time.Now()
		r.e.Apply(r.plan)
		r.pass(2 * time.Second)
		instants := map[time.Time]bool{}
		for i := range 20 {
			qs := r.backend.questions(fmt.Sprintf("x%d > 1", i))
			if len(qs) != 1 {
				t.Fatalf("group %d: %d evaluations in the first two seconds", i, len(qs))
			}
			instants[qs[0].when] = true
		}
		if len(instants) < 15 {
			t.Errorf("20 groups began at %d instants", len(instants))
		}
		r.pass(time.Until(began.Add(7*time.Second + 50*time.Millisecond)))
		if got := r.store.told(0); len(got) != 20 {
			t.Errorf("%d of 20 fire within 7 s: %q", len(got), got)
		}
		for _, a := range r.store.stored() {
			if a.State == oncall.StateFiring && a.FiredAt.Sub(a.ActiveAt) != 5*time.Second {
				t.Errorf("%s fired after %s", a.Labels, a.FiredAt.Sub(a.ActiveAt))
			}
		}
	})
}

// TestTwoRulesOneAlert: two rules whose alerts have equal labels are two sources of one alert, each of which
// says for itself when it begins and ends.
func TestTwoRulesOneAlert(t *testing.T) {
	a, b := rule(t, "Same", "x > 1"), rule(t, "Same", "y > 1")
	a.ID, b.ID = "g/first", "g/second"
	inBubble(t, group(a, b), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.set("y > 1", map[string]float64{"a": 3})
		r.pass(3 * time.Second)
		r.backend.set("x > 1", nil)
		r.pass(15 * time.Second)
		r.backend.set("y > 1", nil)
		r.pass(15 * time.Second)
		r.wantTold(0, "firing Same", "firing Same", "resolved Same", "resolved Same")
		var sources []string
		for _, c := range r.store.changes {
			sources = append(sources, c.Source)
			if c.Labels.String() != `{alertname="Same", i="a"}` {
				t.Errorf("%s", c.Labels)
			}
		}
		if fmt.Sprint(sources) != "[rule:g/first rule:g/second rule:g/first rule:g/second]" {
			t.Errorf("sources %q", sources)
		}
	})
}
