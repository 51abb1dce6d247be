package oncall

import (
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

// NextChangeHorizon is how far ahead NextChange looks.
const NextChangeHorizon = 8 * 24 * time.Hour

// MutedAt reports whether time intervals mute the route at now, and the names of those that do: all of
// active_time_intervals where now is in none of them, else those of mute_time_intervals that now is in.
func (r *Routing) MutedAt(route *Route, now time.Time) (names []string, muted bool) {
	if active := route.ActiveTimeIntervals; len(active) > 0 && !slices.ContainsFunc(active, func(name string) bool { return r.within(name, now) }) {
		return active, true
	}
	for _, name := range route.MuteTimeIntervals {
		if r.within(name, now) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, len(names) > 0
}

// within reports whether now is in the time interval with the name. One without a location is in UTC.
func (r *Routing) within(name string, now time.Time) bool {
	return slices.ContainsFunc(r.TimeIntervals[name], func(ti timeinterval.TimeInterval) bool { return ti.ContainsTime(now.UTC()) })
}

// NextChange returns the earliest instant after after at which MutedAt of the route answers differently; if there is
// none within NextChangeHorizon, that horizon, at which to ask again. Zero: no time interval concerns the route.
func (r *Routing) NextChange(route *Route, after time.Time) time.Time {
	if len(route.MuteTimeIntervals)+len(route.ActiveTimeIntervals) == 0 {
		return time.Time{}
	}
	horizon := after.Add(NextChangeHorizon)
	var at []time.Time
	for _, name := range slices.Concat(route.MuteTimeIntervals, route.ActiveTimeIntervals) {
		for _, ti := range r.TimeIntervals[name] {
			at = appendBoundaries(at, ti, after, horizon)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	was, _ := r.MutedAt(route, after)
	for i, t := range at {
		if i > 0 && t.Equal(at[i-1]) {
			continue
		}
		if names, _ := r.MutedAt(route, t); !slices.Equal(names, was) {
			return t
		}
	}
	return horizon
}

// appendBoundaries appends the instants after after and before horizon at which the interval may begin or end: the
// beginnings of days, the beginnings and ends of its times, and changes of the clock. Between two changes of the
// clock its time is of a fixed offset, so that an hour that comes twice has its boundaries twice.
func appendBoundaries(at []time.Time, ti timeinterval.TimeInterval, after, horizon time.Time) []time.Time {
	loc := time.UTC
	if ti.Location != nil && ti.Location.Location != nil {
		loc = ti.Location.Location
	}
	minutes := []int{0}
	for _, r := range ti.Times {
		minutes = append(minutes, r.StartMinute, r.EndMinute)
	}
	for from := after; from.Before(horizon); {
		_, offset := from.In(loc).Zone()
		until, ok := evenUntil(from, loc)
		if !ok || until.After(horizon) {
			until = horizon
		} else {
			at = append(at, until)
		}
		fixed := time.FixedZone("", offset)
		y, m, d := from.In(fixed).Date()
		for day := time.Date(y, m, d, 0, 0, 0, 0, fixed); day.Before(until); day = day.Add(24 * time.Hour) {
			for _, minute := range minutes {
				if t := day.Add(time.Duration(minute) * time.Minute); t.After(after) && t.Before(until) {
					at = append(at, t)
				}
			}
		}
		from = until
	}
	return at
}
