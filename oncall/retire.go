package oncall

import "time"

// RetireRule ends all alerts of a rule that is no longer evaluated; reason says why. Unlike an absent
// series, a rule that is gone waits for no keep_firing_for.
func RetireRule(current []Alert, at time.Time, reason string) Step {
	s := stepper{obs: Observation{At: at}}
	for _, a := range current {
		s.timing = RuleTiming{Rule: a.Rule, For: a.Evidence.For}
		s.obs.Evidence = a.Evidence
		s.obs.Evidence.At = at
		s.end(a, reason)
	}
	return s.finish()
}

// ForgetAfter is the longest downtime that pending time survives.
const ForgetAfter = time.Hour

// ForgetPending is the step of a start: after a downtime of more than ForgetAfter nobody knows whether a
// breach lasted, so pending alerts end and begin again with the first evaluation. Firing alerts stay.
// aliveAt is when a process last held the state; zero: unknown, which counts as too long ago. NextAt has no
// meaning here: current holds the alerts of many rules.
func ForgetPending(current []Alert, aliveAt, now time.Time) Step {
	s := stepper{obs: Observation{At: now}}
	down := now.Sub(aliveAt)
	for _, a := range current {
		if a.State != StatePending || (!aliveAt.IsZero() && down <= ForgetAfter) {
			s.keep(a)
			continue
		}
		reason := "pending time starts again: tocsin was down for " + human(down)
		if aliveAt.IsZero() {
			reason = "pending time starts again: it is not known when tocsin last ran"
		}
		s.timing = RuleTiming{Rule: a.Rule, For: a.Evidence.For}
		s.obs.Evidence = a.Evidence
		s.end(a, reason)
	}
	return s.finish()
}
