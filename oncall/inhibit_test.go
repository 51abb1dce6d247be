package oncall_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

func inhibitRule(t testing.TB, source, target string, equal ...string) oncall.InhibitRule {
	t.Helper()
	return oncall.InhibitRule{Source: matchers(t, source), Target: matchers(t, target), Equal: equal}
}

// TestInhibitor: the cases that are easily got wrong.
func TestInhibitor(t *testing.T) {
	type alert = []string
	for _, tc := range []struct {
		name    string
		rules   []oncall.InhibitRule
		firing  []alert // fingerprints are 1, 2, …
		target  alert
		want    []uint64
		couldBe bool
	}{
		{"source fires", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`)}, []alert{{"s", "1"}}, alert{"t", "1"}, []uint64{1}, true},
		{"no source", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`)}, []alert{{"s", "2"}}, alert{"t", "1"}, nil, true},
		{"no target", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`)}, []alert{{"s", "1"}}, alert{"t", "2"}, nil, false},
		{"equal agree", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`, "e")}, []alert{{"s", "1", "e", "x"}}, alert{"t", "1", "e", "x"}, []uint64{1}, true},
		{"equal differ", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`, "e")}, []alert{{"s", "1", "e", "x"}}, alert{"t", "1", "e", "y"}, nil, true},
		{"equal missing in both", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`, "e")}, []alert{{"s", "1"}}, alert{"t", "1"}, []uint64{1}, true},
		{"equal missing in one", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`, "e")}, []alert{{"s", "1"}}, alert{"t", "1", "e", "x"}, nil, true},
		{"equal of several, not run together", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`, "e", "f")}, []alert{{"s", "1", "e", "xy"}}, alert{"t", "1", "e", "x", "f", "y"}, nil, true},
		{"both sides, source only one", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`)}, []alert{{"s", "1"}}, alert{"s", "1", "t", "1"}, []uint64{1}, true},
		{"both sides, so does the source", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`)}, []alert{{"s", "1", "t", "1", "n", "1"}}, alert{"s", "1", "t", "1"}, nil, true},
		{"target only, source both", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`)}, []alert{{"s", "1", "t", "1"}}, alert{"t", "1"}, []uint64{1}, true},
		{"several rules", []oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`), inhibitRule(t, `s="2"`, `t=~"1|2"`, "e")}, []alert{{"s", "2"}, {"s", "1"}}, alert{"t", "1"}, []uint64{1, 2}, true},
		{"several sources of one kind", []oncall.InhibitRule{inhibitRule(t, `s=~"1|2"`, `t="1"`)}, []alert{{"s", "2"}, {"s", "1"}}, alert{"t", "1"}, []uint64{1}, true},
		{"no matchers", []oncall.InhibitRule{inhibitRule(t, ``, `t="1"`)}, []alert{{"s", "2"}}, alert{"t", "1"}, []uint64{1}, true},
		{"itself", []oncall.InhibitRule{inhibitRule(t, `t="1"`, `t="1"`)}, []alert{{"t", "1"}}, alert{"t", "1"}, nil, true},
		{"negative", []oncall.InhibitRule{inhibitRule(t, `s!="1"`, `t!~"1"`)}, []alert{{"t", "1"}}, alert{"s", "1"}, []uint64{1}, true},
	} {
		h := oncall.NewInhibitor(tc.rules)
		for i, a := range tc.firing {
			h.Set(uint64(i+1), labels.FromStrings(a...), true)
		}
		target := labels.FromStrings(tc.target...)
		for range 2 { // unknown, then known
			if by, ok := h.Inhibited(99, target); !slices.Equal(by, tc.want) || ok != (len(tc.want) > 0) {
				t.Errorf("%s: by %v", tc.name, by)
			}
			h.Set(99, target, false)
		}
		if h.Inhibitable(target) != tc.couldBe {
			t.Errorf("%s: inhibitable is %v", tc.name, !tc.couldBe)
		}
	}
}

// TestInhibitorAffected: a change names the alerts that it concerns, and only changes that matter do.
func TestInhibitorAffected(t *testing.T) {
	h := oncall.NewInhibitor([]oncall.InhibitRule{inhibitRule(t, `s="1"`, `t="1"`, "e")})
	affected := func() (fps []uint64) {
		h.Affected(func(fp uint64) { fps = append(fps, fp) })
		slices.Sort(fps)
		return fps
	}
	expect := func(step string, want ...uint64) {
		t.Helper()
		if diff := cmp.Diff(want, affected()); diff != "" {
			t.Errorf("%s: %s", step, diff)
		}
	}
	for fp, e := range map[uint64]string{1: "x", 2: "x", 3: "y"} {
		h.Set(fp, labels.FromStrings("t", "1", "e", e, "fp", fmt.Sprint(fp)), true)
	}
	expect("targets alone")
	source := func(fp uint64, firing bool) {
		h.Set(fp, labels.FromStrings("s", "1", "e", "x", "fp", fmt.Sprint(fp)), firing)
	}
	source(10, true)
	expect("a source", 1, 2)
	source(10, true)
	source(11, true)
	expect("a second one")
	source(10, false)
	expect("one is left")
	h.Remove(11)
	expect("none is left", 1, 2)
	h.Remove(11)
	h.Remove(2)
	source(12, true)
	source(12, false)
	expect("on and off", 1)
}

// naiveInhibited is what the rules say, word for word.
func naiveInhibited(rules []oncall.InhibitRule, firing map[uint64]labels.Labels, ls labels.Labels) (by []uint64) {
	for _, r := range rules {
		if !r.Target.Matches(labelSet(ls)) {
			continue
		}
		both := r.Source.Matches(labelSet(ls))
		for fp, source := range firing {
			agree := !slices.ContainsFunc(r.Equal, func(n string) bool { return source.Get(n) != ls.Get(n) })
			if agree && r.Source.Matches(labelSet(source)) && !(both && r.Target.Matches(labelSet(source))) {
				by = append(by, fp)
			}
		}
	}
	return by
}

// TestInhibitorIsTheScan: alerts come, fire, cease and go; the answers are those of a scan, and what Affected
// does not name has not changed.
func TestInhibitorIsTheScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []oncall.InhibitRule
		targets := []amlabels.Matchers{drawMatchers(t), drawMatchers(t)}
		for range rapid.IntRange(1, 5).Draw(t, "rules") {
			rules = append(rules, oncall.InhibitRule{Source: drawMatchers(t), Target: rapid.SampledFrom(targets).Draw(t, "target"),
				Equal: rapid.SliceOfN(rapid.SampledFrom(matchNames[:3]), 0, 2).Draw(t, "equal")})
		}
		h := oncall.NewInhibitor(rules)
		known, firing, was := map[uint64]labels.Labels{}, map[uint64]labels.Labels{}, map[uint64]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			ls := drawLabels(t)
			fp := ls.Hash()
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				h.Remove(fp)
				delete(known, fp)
				delete(firing, fp)
				delete(was, fp)
			case 1:
				h.Set(fp, ls, false)
				known[fp] = ls
				delete(firing, fp)
			default:
				h.Set(fp, ls, true)
				known[fp], firing[fp] = ls, ls
			}
			affected := map[uint64]bool{fp: true}
			h.Affected(func(fp uint64) { affected[fp] = true })
			known[1] = drawLabels(t) // never told of
			affected[1] = true
			for fp, ls := range known {
				by, ok := h.Inhibited(fp, ls)
				want := naiveInhibited(rules, firing, ls)
				if ok != (len(want) > 0) || slices.ContainsFunc(by, func(s uint64) bool { return !slices.Contains(want, s) }) {
					t.Fatalf("%s is muted by %v, expected one of %v", ls, by, want)
				}
				if ok != was[fp] && !affected[fp] {
					t.Fatalf("%s changed and was not named", ls)
				}
				was[fp] = ok
			}
		}
	})
}

// BenchmarkInhibitor: what one alert costs while one source fires, by the number of rules and their shape:
// known is an alert that was told of, Set tells of one and forgets it. Among the rules one matches.
func BenchmarkInhibitor(b *testing.B) {
	ls := labels.FromStrings("alertname", "SessionMemoryHigh", "cluster", "shop-1", "instance", "web-17:9100", "job", "session", "severity", "warning")
	source := labels.FromStrings("alertname", "ClusterDown", "cluster", "shop-1", "severity", "critical")
	for _, shape := range []struct{ name, source, target, equal string }{
		{"ownTarget", `alertname="Down-%d"`, `alertname="High-%d"`, "cluster"},
		{"sameTarget", `alertname="Down-%d"`, `severity="warning"`, "cluster"},
		{"sameTargetAndSource", `severity="critical"`, `severity="warning",alertname!="x-%d"`, "cluster"},
	} {
		for _, n := range []int{10, 1_000, 10_000} {
			rules := []oncall.InhibitRule{inhibitRule(b, `alertname="ClusterDown"`, `severity="warning"`, "cluster")}
			if shape.name == "sameTargetAndSource" && n > 1_000 {
				continue // every one of them can match: the cost is theirs
			}
			for i := range n {
				source, target := shape.source, shape.target
				if shape.name != "sameTargetAndSource" {
					source = fmt.Sprintf(source, i)
				}
				if shape.name != "sameTarget" {
					target = fmt.Sprintf(target, i)
				}
				rules = append(rules, inhibitRule(b, source, target, shape.equal))
			}
			h := oncall.NewInhibitor(rules)
			h.Set(1, source, true)
			h.Set(2, ls, true)
			for name, f := range map[string]func(){
				"known":   func() { h.Inhibited(2, ls) },
				"unknown": func() { h.Inhibited(3, ls) },
				"Set":     func() { h.Set(4, ls, true); h.Remove(4) },
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", shape.name, n, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						f()
					}
				})
			}
		}
	}
}
