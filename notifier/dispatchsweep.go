package notifier

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

const remindEvery = 10 * time.Second // how often it is looked for silences that end soon

// look works out anew whether an alert is silenced or inhibited. changed says that this changed; freed, that
// nothing mutes it any more.
func (r *dispatchRun) look(e *dispatched, now time.Time) (changed, freed bool) {
	now = later(now, r.sweptAt) // a row is older than what silences did since, which is not looked at again
	silenced := r.silences.Muted(e.a.Labels, now)
	_, inhibited := r.s.inhibitor.Inhibited(e.a.Fingerprint, e.a.Labels)
	changed = silenced != e.silenced || inhibited != e.inhibited
	freed = changed && !silenced && !inhibited
	e.silenced, e.inhibited = silenced, inhibited
	return changed, freed
}

// consider looks at an alert whose muting may have changed, and follows up on it.
func (r *dispatchRun) consider(e *dispatched, now time.Time) {
	changed, freed := r.look(e, now)
	if !changed {
		return
	}
	for _, g := range e.groups {
		if freed || len(g.sending) > 0 { // what is tried again and again must not tell what is muted now
			g.soilAt(now)
			r.s.schedule(g)
		}
	}
	r.review(e, now, now)
}

// sweep follows up on what mutes alerts: silences that were changed, begin or end; sources that fire or
// resolved; time intervals.
func (r *dispatchRun) sweep(now time.Time) {
	s := r.s
	set, version := r.o.Silences.Current()
	begun := !r.boundary.IsZero() && !r.boundary.After(now)
	if version != r.silencesVersion || begun {
		changed := set.ChangedSince(r.silences, r.sweptAt, now)
		r.silences, r.silencesVersion = set, version
		r.boundary = set.NextBoundary(now)
		r.remindAt = now
		if changed != nil {
			for _, e := range s.alerts {
				if changed.Any(e.a.Labels) {
					r.consider(e, now)
				}
			}
		}
	}
	r.sweptAt = now
	s.inhibitor.Affected(func(fp uint64) {
		if e := s.alerts[fp]; e != nil {
			r.consider(e, now)
		}
	})
	if s.intervals != 0 && s.intervals <= now.UnixMicro() {
		s.intervals = s.nextInterval(now)
		for _, e := range s.alerts {
			r.review(e, now, now)
		}
	}
}

// nextInterval is when the time intervals of a route that leads to an escalation next change, in µs; 0: never.
func (s *dispatchState) nextInterval(now time.Time) int64 {
	var next time.Time
	for route := range s.prefix {
		if len(route.MuteTimeIntervals)+len(route.ActiveTimeIntervals) > 0 && s.setup.policy.Receivers[route.Receiver].Escalation != "" {
			next = earlier(next, s.routing.NextChange(route, now))
		}
	}
	if next.IsZero() {
		return 0
	}
	return ceilMicro(next)
}

// findReminders looks for silences that end soon while alerts fire under them.
func (r *dispatchRun) findReminders(now time.Time) {
	if r.remindAt.IsZero() || now.Before(r.remindAt) {
		return
	}
	told := r.silences.Reminders(now, func(yield func(labels.Labels)) {
		for _, e := range r.s.alerts {
			if e.firing {
				yield(e.a.Labels)
			}
		}
	})
	if len(told) > 0 {
		var d oncall.Dispatch
		for _, t := range told {
			d.Silences = append(d.Silences, t.Silence)
		}
		r.add(d)
		r.batch.told = append(r.batch.told, told...)
	}
	r.remindAt = time.Time{}
	if r.silences.NextBoundary(now).IsZero() {
		return // no silence is in force or to come
	}
	r.remindAt = now.Add(remindEvery)
}
