package notifier_test

import (
	"testing"
	"time"

	"tocsin/notifier"
)

// Claims rest while a storm has them follow each other, and at no other time.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		took, apart time.Duration // of each claim; between the end of one and when there is reason for the next
		claims      int
		most, least time.Duration // that one of them rests; that the last of them rests
	}{
		{name: "the claims of one page", took: 5 * ms, apart: ms, claims: 8},
		{name: "of one page on a slow disk", took: 40 * ms, apart: 40 * ms, claims: 3},
		{name: "a page now and then", took: 10 * ms, apart: 30 * ms, claims: 1000},
		{name: "a storm", took: 5 * ms, claims: 1000, most: 25 * ms, least: 9 * ms},
		{name: "a storm with slow claims", took: 300 * ms, claims: 100, most: 25 * ms, least: 25 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			var rest time.Duration
			next := notifier.NewPace()
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			for range c.claims {
				ended := now.Add(c.took)
				reason := ended.Add(c.apart)
				rest = max(0, next(now, ended).Sub(reason))
				if rest > c.most {
					t.Fatalf("rests for %s", rest)
				}
				now = reason.Add(rest)
			}
			if rest < c.least {
				t.Errorf("rests for %s in the end", rest)
			}
		})
	}
}

// What a storm has cost is soon forgotten.
func TestPaceAfterAStorm(t *testing.T) {
	next := notifier.NewPace()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 1000 {
		next(now, now.Add(time.Second))
		now = now.Add(time.Second)
	}
	now = now.Add(200 * time.Millisecond)
	if at := next(now, now.Add(10*time.Millisecond)); at.After(now.Add(10 * time.Millisecond)) {
		t.Errorf("rests for %s", at.Sub(now))
	}
}
