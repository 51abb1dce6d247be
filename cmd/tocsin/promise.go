package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin/config"
	"tocsin/oncall"
	"tocsin/problem"
)

// brokenPromises proves for the time ahead that each escalation keeps its promise, and returns a counterexample for
// each that does not. Overrides count as far as the plan's policy has any; at says to simulate where they come from.
func brokenPromises(plan *config.Plan, now time.Time, at string) (problems problem.List) {
	now = now.Truncate(time.Minute)
	first, times := map[string]oncall.Breach{}, map[string]int{}
	var names []string
	for _, b := range oncall.Prove(plan.Policy, now, now.Add(oncall.CoverageAhead)) {
		if times[b.Escalation]++; times[b.Escalation] == 1 {
			first[b.Escalation] = b
			names = append(names, b.Escalation)
		}
	}
	for _, name := range names {
		b, promise := first[name], plan.Policy.Escalations[name].Promise
		what := "an incident"
		if promise.Severity != "" {
			what = "an incident of severity " + promise.Severity
		}
		more := ""
		if n := times[name] - 1; n > 0 {
			more = fmt.Sprintf("; so it is at %s in the next %d days", plural(n, "other time"), int(oncall.CoverageAhead/(24*time.Hour)))
		}
		lasts := "until"
		if end := now.Add(oncall.CoverageAhead); !b.To.Before(end) {
			lasts = "at least until"
		}
		like := alertFlags(promise, b)
		if b.Doubtful {
			more += "; no labels of such an alert were found, so that there may be none: make the conditions simpler, if so"
		}
		p := plan.EscalationAt[name].Errorf("escalation %q breaks its promise: of %s triggered at %s nobody is reached within %s: %s; that lasts %s %s%s",
			name, what, instant(plan.Policy, name, b.From), promise.Within, b.Why, lasts, instant(plan.Policy, name, b.To), more)
		problems = append(problems, p.WithHint("see: tocsin simulate --escalation '%s' --at %s%s%s", name, b.From.UTC().Format(time.RFC3339), like, at))
	}
	return problems
}

// alertFlags are those with which simulate plays an alert through for which the promise is broken.
func alertFlags(promise oncall.Promise, b oncall.Breach) (flags string) {
	severity, needed := b.Labels["severity"]
	if promise.Severity != "" {
		severity, needed = promise.Severity, true
	}
	if needed && severity != "critical" {
		flags = fmt.Sprintf(" --severity '%s'", severity)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Labels)) {
		if name != "severity" {
			flags += fmt.Sprintf(" --label '%s=%s'", name, b.Labels[name])
		}
	}
	if b.Number > 0 {
		flags += fmt.Sprintf(" --number %d", b.Number)
	}
	return flags
}

// instant writes an instant where the first schedule of the escalation is, and in UTC.
func instant(p oncall.Policy, escalation string, at time.Time) string {
	const form = "Mon 2 Jan 2006 15:04 MST"
	at = at.UTC().Truncate(time.Second)
	for _, t := range p.Escalations[escalation].Tiers {
		for _, x := range t.Targets {
			if s, ok := p.Schedules[x.Name]; ok && x.Kind == oncall.TargetSchedule && s.TimeZone != nil && s.TimeZone != time.UTC {
				return at.In(s.TimeZone).Format(form) + at.Format(" (15:04 UTC)")
			}
		}
	}
	return at.Format(form)
}
