package evaluator

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// TestSplit: parts of a bounded size, with everything in them once, in order, and an alert's own in one part.
func TestSplit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 600, 700, 2100, 5000}).Draw(t, "alerts")
		gone := rapid.IntRange(0, n).Draw(t, "gone")
		at := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
		sample := func(i int) oncall.Sample {
			ls := labels.FromStrings("i", fmt.Sprint(i))
			return oncall.Sample{Labels: ls, Metric: ls, Value: 1}
		}
		external := labels.FromStrings("cluster", "c1", "i", "external")
		first := oncall.Observation{At: at, External: external}
		for i := range gone {
			first.Samples = append(first.Samples, sample(i))
		}
		before := oncall.StepRule(oncall.RuleTiming{Rule: "r"}, nil, first)
		second := oncall.Observation{At: at.Add(time.Minute), External: external}
		for i := gone; i < n; i++ {
			second.Samples = append(second.Samples, sample(i))
		}
		step := oncall.StepRule(oncall.RuleTiming{Rule: "r"}, before.Alerts, second)
		ev := evaluation(step, second.At, source{})
		parts := split(step, ev)
		if (parts == nil) != (3*n <= maxRows) {
			t.Fatalf("%d parts of %d alerts", len(parts), n)
		}
		if parts == nil {
			return
		}
		var whole oncall.Evaluation
		in := map[oncall.Fingerprint]int{}
		for p, part := range parts {
			if rows := len(part.Upserts) + len(part.Deletes) + len(part.Transitions) + len(part.Changes); rows == 0 || rows > maxRows || !part.At.Equal(ev.At) {
				t.Fatalf("part %d has %d rows at %s", p, rows, part.At)
			}
			for _, x := range part.Transitions {
				in[x.Fingerprint] = p
			}
			for _, a := range part.Upserts {
				if in[oncall.FingerprintOf(a.Labels)] != p {
					t.Fatalf("%s is in two parts", a.Labels)
				}
			}
			for _, c := range part.Changes {
				if in[oncall.FingerprintOf(labels.FromStrings("i", c.Labels.Get("i")))] != p {
					t.Fatalf("%s is in two parts", c.Labels)
				}
			}
			whole.Append(part)
		}
		if len(in) != n || len(whole.Upserts) != len(ev.Upserts) || len(whole.Deletes) != len(ev.Deletes) || len(whole.Transitions) != len(ev.Transitions) || len(whole.Changes) != len(ev.Changes) {
			t.Fatalf("%d alerts, %+v", len(in), whole)
		}
		for i, x := range whole.Transitions {
			if x.Fingerprint != ev.Transitions[i].Fingerprint {
				t.Fatal("transitions out of order")
			}
		}
	})
}

// TestStormIsCommittedInParts: also where one of the parts fails, each alert fires once, and none is forgotten.
func TestStormIsCommittedInParts(t *testing.T) {
	const n = 1500
	var ans Answer
	for i := range n {
		ans.Samples = append(ans.Samples, Sample{Metric: labels.FromStrings("i", fmt.Sprint(i)), Value: 2})
	}
	for name, how := range map[string]failure{"before": failsBefore, "after": failsAfter} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, group(rule(t, "A", "x > 1")), func(r *rig) {
				commits := 0
				r.store.failing(func(op string) failure {
					if op != "commit" {
						return works
					}
					if commits++; commits == 2 {
						return how
					}
					return works
				})
				r.e.Apply(r.plan)
				r.backend.do("x > 1", func(time.Time) (Answer, error) { return ans, nil })
				r.pass(30 * time.Second)
				told := map[string]int{}
				for _, c := range r.store.changes {
					told[c.Labels.String()]++
				}
				if len(told) != n || len(r.store.changes) != n || commits < 3 {
					t.Errorf("%d changes of %d alerts, %d commits", len(r.store.changes), len(told), commits)
				}
			})
		})
	}
}
