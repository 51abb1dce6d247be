package oncall

import (
	"fmt"
	"time"
)

// unseen steps an alert that a partial answer does not contain: nothing follows from that.
func (s *stepper) unseen(a Alert) {
	if s.obs.DueOnly {
		s.keep(a)
		return
	}
	s.unknown(a, "the answer was partial: "+s.obs.Partial)
}

// held steps a firing alert whose value is between its threshold and recover.
func (s *stepper) held(a Alert, smp Sample) {
	if s.obs.DueOnly {
		s.keep(a)
		return
	}
	wasUnknown, wasGone := !a.UnknownSince.IsZero(), !a.NoDataSince.IsZero()
	a.UnknownSince, a.NoDataSince = time.Time{}, time.Time{}
	a.Latest, a.Histogram = smp.Value, smp.Histogram
	if !wasUnknown && !wasGone {
		s.keep(a)
		return
	}
	i := s.put(a)
	if wasUnknown {
		s.change(ChangeKnown, a, i, "the query works again; the value is not yet at recover", s.evidence(smp.Metric, smp.text()))
	}
}

// overdue steps an alert that the extra evaluation does not show: it ends only what keep_firing_for has held
// to its end.
func (s *stepper) overdue(a Alert) {
	kept := s.obs.At.Sub(a.KeepFiringSince)
	if a.State == StateFiring && !a.KeepFiringSince.IsZero() && kept >= s.timing.KeepFiringFor {
		s.end(a, fmt.Sprintf("no longer returned by the query for %s (keep_firing_for: %s)", human(kept), human(s.timing.KeepFiringFor)))
		return
	}
	s.keep(a)
}

// noData steps an alert whose series is gone, and that no_data: hold keeps. A pending one stays pending: it
// fires when a sample says that the breach goes on.
func (s *stepper) noData(a Alert) {
	since := a.NoDataSince
	if since.IsZero() {
		since = s.obs.At
	}
	if gone := s.obs.At.Sub(since); gone >= s.timing.NoDataFor {
		s.end(a, fmt.Sprintf("its series is gone for %s (no_data: hold, no_data_for: %s)", human(gone), human(s.timing.NoDataFor)))
		return
	}
	wasUnknown := !a.UnknownSince.IsZero()
	if since.Equal(a.NoDataSince) && !wasUnknown {
		s.keep(a)
		return
	}
	a.NoDataSince, a.UnknownSince = since, time.Time{}
	i := s.put(a)
	if wasUnknown && a.State == StateFiring {
		s.change(ChangeKnown, a, i, "the query works again; the series is gone, which no_data: hold does not take for a recovery", s.evidence(a.Evidence.Metric, ""))
	}
}

// returned says why an alert begins.
func (s *stepper) returned(smp Sample) string {
	if smp.LastSeen.IsZero() {
		return "returned by the query"
	}
	return fmt.Sprintf("no sample for %s, which no_data: alert takes for a breach", human(s.obs.At.Sub(smp.LastSeen)))
}

// breached says that an alert has lasted for long enough.
func (s *stepper) breached(lasted time.Duration, smp Sample) string {
	reason := fmt.Sprintf("breached for %s (for: %s)", human(lasted), human(s.timing.For))
	if !smp.LastSeen.IsZero() {
		reason += "; " + s.returned(smp)
	}
	return reason
}

// rewind brings an alert's clocks back to now where they lie ahead, because the machine's clock was set back,
// and begins pending time anew after a gap. It reports whether it did.
func (s *stepper) rewind(a *Alert) (moved bool) {
	if s.obs.DueOnly {
		return false
	}
	for _, t := range []*time.Time{&a.KeepFiringSince, &a.NoDataSince} {
		if t.After(s.obs.At) {
			*t, moved = s.obs.At, true
		}
	}
	if a.State == StatePending && (a.ActiveAt.After(s.obs.At) || s.obs.Gap) {
		a.ActiveAt, moved = s.obs.At, true
	}
	return moved
}

// alsoUpsert notes that the alert that was stepped last has changed, if it is still there.
func (s *stepper) alsoUpsert(a Alert) {
	last := len(s.out.Alerts) - 1
	if last < 0 || s.out.Alerts[last].Labels.Hash() != a.Labels.Hash() {
		return
	}
	if n := len(s.out.Upserts); n == 0 || s.out.Upserts[n-1] != last {
		s.out.Upserts = append(s.out.Upserts, last)
	}
}
