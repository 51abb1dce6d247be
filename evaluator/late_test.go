package evaluator

import (
	"slices"
	"testing"
	"time"

	"tocsin/rules"
)

// TestLate: a group is late after two intervals, what its last evaluation took, and half a minute; and never before
// this process could have evaluated it.
func TestLate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e := New(Options{})
	if late := e.Late(now, now); late != nil {
		t.Errorf("without a plan: %q", late)
	}
	e.plan = &Plan{Groups: []rules.Group{{Name: "on time", Interval: time.Minute}, {Name: "slow", Interval: time.Minute}, {Name: "late", Interval: time.Minute}, {Name: "never", Interval: time.Hour}}}
	e.times = map[string]groupTime{
		groupKey(&e.plan.Groups[0]): {began: now.Add(-150 * time.Second)},
		groupKey(&e.plan.Groups[1]): {began: now.Add(-170 * time.Second), took: 20 * time.Second},
		groupKey(&e.plan.Groups[2]): {began: now.Add(-151 * time.Second)},
	}
	for since, want := range map[time.Duration][]string{-3 * time.Hour: {"late", "never"}, -time.Hour: {"late"}, -time.Minute: nil} {
		if late := e.Late(now, now.Add(since)); !slices.Equal(late, want) {
			t.Errorf("since %s: %q", since, late)
		}
	}
}
