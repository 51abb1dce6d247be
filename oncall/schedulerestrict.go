package oncall

import (
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

// Restriction limits a layer to the times within any of its intervals; an empty one limits nothing.
// Intervals without a location are in the wall time of the schedule's zone. What clocks show twice is within
// twice, and what they skip never.
type Restriction []timeinterval.TimeInterval

// span is a stretch of time: from is within, to is not.
type span struct{ from, to time.Time }

// contains reports whether an instant is within the restriction.
func (r Restriction) contains(t time.Time, loc *time.Location) bool {
	return len(r) == 0 || slices.ContainsFunc(r, func(ti timeinterval.TimeInterval) bool { return intervalContains(ti, t, loc) })
}

// intervalContains asks about the wall time, because the interval counts the days of a month in hours: those
// of a month in which clocks change would be one short.
func intervalContains(ti timeinterval.TimeInterval, t time.Time, loc *time.Location) bool {
	w := wallOf(t, intervalZone(ti, loc))
	ti.Location = nil
	return ti.ContainsTime(w)
}

func intervalZone(ti timeinterval.TimeInterval, loc *time.Location) *time.Location {
	if ti.Location != nil {
		return ti.Location.Location
	}
	return loc
}

// within returns the stretches of [from, to) within the restriction: in order, neither empty nor touching.
func (r Restriction) within(loc *time.Location, from, to time.Time) []span {
	if !from.Before(to) {
		return nil
	}
	if len(r) == 0 {
		return []span{{from, to}}
	}
	edges := []time.Time{from}
	for _, ti := range r {
		edges = appendEdges(edges, ti, intervalZone(ti, loc), from, to)
	}
	edges = sortedInstants(edges)
	var spans []span
	for i, at := range edges {
		end := to
		if i+1 < len(edges) {
			end = edges[i+1]
		}
		switch last := len(spans) - 1; {
		case !r.contains(at, loc):
		case last >= 0 && spans[last].to.Equal(at):
			spans[last].to = end
		default:
			spans = append(spans, span{at, end})
		}
	}
	return spans
}

// appendEdges appends every instant within (from, to) at which an interval can begin or end: when clocks
// change, and, on each day of the wall, midnight and the times that the interval names.
func appendEdges(edges []time.Time, ti timeinterval.TimeInterval, loc *time.Location, from, to time.Time) []time.Time {
	minutes := []int{0}
	for _, r := range ti.Times {
		minutes = append(minutes, r.StartMinute, r.EndMinute)
	}
	slices.Sort(minutes)
	minutes = slices.Compact(minutes)
	for start := from; start.Before(to); {
		end, ok := evenUntil(start, loc)
		if !ok || end.After(to) {
			end = to
		}
		if start.After(from) {
			edges = append(edges, start)
		}
		w := wallOf(start, loc)
		offset := w.Sub(start)
		for midnight := w.Truncate(day); midnight.Add(-offset).Before(end); midnight = midnight.Add(day) {
			for _, m := range minutes {
				if at := midnight.Add(time.Duration(m)*time.Minute - offset); at.After(start) && at.Before(end) {
					edges = append(edges, at)
				}
			}
		}
		start = end
	}
	return edges
}

// sortedInstants sorts, and leaves each instant once.
func sortedInstants(ts []time.Time) []time.Time {
	slices.SortFunc(ts, time.Time.Compare)
	return slices.CompactFunc(ts, time.Time.Equal)
}
