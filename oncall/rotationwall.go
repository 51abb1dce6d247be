package oncall

import "time"

// People agree on shifts by the clock on the wall, so handoffs and restrictions are worked out on wall time
// and only then become instants. A wall time is written as a time.Time in UTC that has the same digits: in
// that form every day has 24 hours, and nothing is missing or twice.

// wallOf returns what clocks in loc show at t.
func wallOf(t time.Time, loc *time.Location) time.Time {
	_, offset := t.In(loc).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instantOf returns the first instant at which clocks in loc show the wall time w, or have gone past it: where
// clocks are put back and show w twice, the first of both; where they are put forward over w, the moment
// when they are.
func instantOf(w time.Time, loc *time.Location) time.Time {
	// No zone was ever 16 hours off, so nowhere do clocks show w before this.
	const farthest = 16 * time.Hour
	at := w.Add(-farthest).In(loc)
	for {
		_, offset := at.Zone()
		start, _ := at.ZoneBounds()
		t := w.Add(-time.Duration(offset) * time.Second)
		if !start.IsZero() && t.Before(start) {
			t = start
		}
		end, ok := evenUntil(at, loc)
		if !ok || t.Before(end) {
			return t.In(loc)
		}
		at = end.In(loc)
	}
}

// evenUntil returns an instant until which wall time runs evenly from t on, always after t, so that who goes on from
// it gets ahead; ok is false where clocks never change again.
//
// ZoneBounds alone does not promise that: behind the last change that a zone's data lists, it takes each year to have
// 365 days, and on the 31 December of a leap year names an end that has passed.
func evenUntil(t time.Time, loc *time.Location) (end time.Time, ok bool) {
	_, end = t.In(loc).ZoneBounds()
	if end.IsZero() || end.After(t) {
		return end, !end.IsZero()
	}
	return time.Date(t.UTC().Year()+1, time.January, 1, 0, 0, 0, 0, time.UTC), true
}

// passedAt returns the latest wall time that clocks in loc have shown up to t. It differs from wallOf after
// they were put back. For any wall time w: instantOf(w) is at or before t just if w is at or before passedAt(t).
func passedAt(t time.Time, loc *time.Location) time.Time {
	// Clocks were never put back by more than a day.
	const longest = 48 * time.Hour
	passed := wallOf(t, loc)
	for start, _ := t.In(loc).ZoneBounds(); !start.IsZero() && t.Sub(start) < longest; {
		before := start.Add(-time.Nanosecond)
		if w := wallOf(before, loc); w.After(passed) {
			passed = w
		}
		start, _ = before.In(loc).ZoneBounds()
	}
	return passed
}

// StartOfDay is the first instant of a day on a zone's clocks, also where they skip midnight. Of date only year, month
// and day count.
func StartOfDay(date time.Time, loc *time.Location) time.Time {
	y, m, d := date.Date()
	return instantOf(time.Date(y, m, d, 0, 0, 0, 0, time.UTC), loc)
}
