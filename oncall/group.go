package oncall

import (
	"slices"
	"time"
)

// The reasons for which an integration is told of a group, by Alertmanager's names.
const (
	ReasonNone                  = "" // there is nothing to tell
	ReasonFirstNotification     = "FirstNotification"
	ReasonNewAlertsInGroup      = "NewAlertsInGroup"
	ReasonNewResolvedAlerts     = "NewResolvedAlerts"
	ReasonAllAlertsResolved     = "AllAlertsResolved"
	ReasonRepeatIntervalElapsed = "RepeatIntervalElapsed"
)

// NeedsUpdate says why an integration must be told of a group that has these alerts firing and resolved
// (fingerprints, sorted): Alertmanager's rules, in its order. last is what the integration was last told; a
// zero At means that it was never told anything.
//
// Beyond Alertmanager: an alert in last.Told that resolved is a reason.
func NeedsUpdate(last Notice, firing, resolved []uint64, sendResolved bool, repeat time.Duration, now time.Time) string {
	owed := sendResolved && overlap(resolved, last.Told)
	switch {
	case last.At.IsZero() && len(firing) > 0:
		return ReasonFirstNotification
	case !subset(firing, last.Firing):
		if len(last.Firing) == 0 { // what was told last was the end of what was before
			return ReasonFirstNotification
		}
		return ReasonNewAlertsInGroup
	case len(firing) == 0:
		// Also where resolved alerts are not sent: then it is what clears the notice of firing ones.
		if len(last.Firing) > 0 || owed {
			return ReasonAllAlertsResolved
		}
		return ReasonNone
	case sendResolved && !subset(resolved, last.Resolved), owed:
		return ReasonNewResolvedAlerts
	case !last.At.After(now.Add(-repeat)):
		return ReasonRepeatIntervalElapsed
	}
	return ReasonNone
}

// NextTick returns the first flush of a group at or after an instant: they are at anchor + n·interval, n > 0.
func NextTick(anchor time.Time, interval time.Duration, at time.Time) time.Time {
	interval = max(interval, time.Millisecond)
	since := at.Sub(anchor)
	if since <= interval {
		return anchor.Add(interval)
	}
	n := (since + interval - 1) / interval
	return anchor.Add(n * interval)
}

// LastTick returns the last flush of a group at or before an instant: the first one, at anchor, where there was no
// other. It is when what was delivered at that instant counts as told: a repeat_interval that is a multiple of the
// group_interval then ends with a flush, as with Alertmanager and a far end that answers fast, and not just after one.
func LastTick(anchor time.Time, interval time.Duration, at time.Time) time.Time {
	interval = max(interval, time.Millisecond)
	return anchor.Add(max(0, at.Sub(anchor)) / interval * interval)
}

// subset reports whether all of a are in b. Both are sorted.
func subset(a, b []uint64) bool {
	i := 0
	for _, v := range a {
		for i < len(b) && b[i] < v {
			i++
		}
		if i == len(b) || b[i] != v {
			return false
		}
	}
	return true
}

// overlap reports whether a and b have anything in common. Both are sorted.
func overlap(a, b []uint64) bool {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			return true
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	return false
}

// union returns what is in a or b, sorted. Both are sorted; the result may share their memory.
func union(a, b []uint64) []uint64 {
	if len(a) == 0 {
		return b
	}
	if subset(b, a) {
		return a
	}
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// without returns what of a is not in b. Both are sorted.
func without(a, b []uint64) []uint64 {
	if !overlap(a, b) {
		return a
	}
	var left []uint64
	for _, v := range a {
		if _, ok := slices.BinarySearch(b, v); !ok {
			left = append(left, v)
		}
	}
	return left
}

func contains(a []uint64, v uint64) bool {
	_, ok := slices.BinarySearch(a, v)
	return ok
}
