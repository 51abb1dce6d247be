package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// Condition says when a tier is told. All of what is set must hold; the zero value always does.
type Condition struct {
	// When must all match at least one of the alerts that fire. The label severity stands for the incident's, the
	// worst that it ever had: what people see is what counts.
	When      amlabels.Matchers `json:"when,omitempty"`
	During    []string          `json:"during,omitempty"`     // time intervals, by name: now must be in one of them
	NotDuring []string          `json:"not_during,omitempty"` // and in none of these
}

// IsZero reports that nothing is asked for.
func (c Condition) IsZero() bool { return len(c.When)+len(c.During)+len(c.NotDuring) == 0 }

// String says what is asked for: `severity="critical", during business-hours, not during holidays`.
func (c Condition) String() string {
	var parts []string
	for _, m := range c.When {
		parts = append(parts, m.String())
	}
	if len(c.During) > 0 {
		parts = append(parts, "during "+strings.Join(c.During, " or "))
	}
	if len(c.NotDuring) > 0 {
		parts = append(parts, "not during "+strings.Join(c.NotDuring, " or "))
	}
	return strings.Join(parts, ", ")
}

// FailsAt reports why the time does not allow it at an instant; "" where it does. An interval that the configuration
// has lost allows everything: a page too many is better than one too few.
func (c Condition) FailsAt(p Policy, at time.Time) string {
	if len(c.During) > 0 && !slices.ContainsFunc(c.During, func(name string) bool { return !p.hasInterval(name) || p.inInterval(name, at) }) {
		return "it is not " + strings.Join(c.During, " or ") + " now"
	}
	for _, name := range c.NotDuring {
		if p.inInterval(name, at) {
			return "it is " + name + " now"
		}
	}
	return ""
}

// NextAllowed returns the earliest instant after after at which the time allows it, given that it does not now; if
// there is none within NextChangeHorizon, that horizon, at which to ask again.
func (c Condition) NextAllowed(p Policy, after time.Time) time.Time {
	horizon := after.Add(NextChangeHorizon)
	for begin, look := after, day; begin.Before(horizon); look *= 2 { // most intervals change within a day
		end := begin.Add(look)
		if end.After(horizon) {
			end = horizon
		}
		var edges []time.Time
		for _, name := range slices.Concat(c.During, c.NotDuring) {
			for _, s := range p.interval(name).within(time.UTC, begin, end) {
				edges = append(edges, s.from, s.to)
			}
		}
		for _, at := range sortedInstants(edges) {
			if at.After(after) && at.Before(horizon) && c.FailsAt(p, at) == "" {
				return at
			}
		}
		begin = end
	}
	return horizon
}

func (p Policy) hasInterval(name string) bool { _, ok := p.Routing.TimeIntervals[name]; return ok }

func (p Policy) interval(name string) Restriction { return p.Routing.TimeIntervals[name] }

// inInterval reports whether an instant is in the interval of that name. One without a location is in UTC.
func (p Policy) inInterval(name string, at time.Time) bool {
	r := p.interval(name)
	return len(r) > 0 && r.contains(at, time.UTC) // an empty Restriction limits nothing; an empty interval is never
}

// anyFiring reports whether all matchers match one of the alerts that fire.
func (m *machine) anyFiring(ms amlabels.Matchers) bool {
	for i := range m.in.Alerts {
		if a := &m.in.Alerts[i]; a.State == StateFiring && m.alertMatches(ms, a) {
			return true
		}
	}
	return false
}

// matching reports whether all matchers match one of the alerts that fire, by its own labels.
func (m *machine) matching(ms amlabels.Matchers) bool {
	return slices.ContainsFunc(m.in.Alerts, func(a IncidentAlert) bool { return a.State == StateFiring && MatchersMatch(ms, a.Labels) })
}

func (m *machine) alertMatches(ms amlabels.Matchers, a *IncidentAlert) bool {
	for _, x := range ms {
		v := a.Labels.Get(x.Name)
		if x.Name == "severity" {
			v = m.in.Severity
		}
		if !x.Matches(v) {
			return false
		}
	}
	return true
}

// conditions are those of the tier at an index, with what they belong to.
func (m *machine) conditions(tier int) []Condition {
	return []Condition{m.esc.Condition, m.esc.Tiers[tier].Condition}
}

// failing says why a tier is not to be told now, "" where it is.
func (m *machine) failing(tier int) string {
	for _, c := range m.conditions(tier) {
		if len(c.When) > 0 && !m.anyFiring(c.When) {
			return fmt.Sprintf("no firing alert matches %s", Condition{When: c.When})
		}
		if why := c.FailsAt(m.p, m.now); why != "" {
			return why
		}
	}
	return ""
}

// allowed returns when the conditions of a tier that was passed over will hold by the passing of time alone; ok is
// false where they will not.
func (m *machine) allowed(tier int) (at time.Time, ok bool) {
	cs := m.conditions(tier)
	at = m.now
	for range 16 { // each pass moves on to when the next condition allows it; they disagree for ever only by mistake
		moved := false
		for _, c := range cs {
			if len(c.When) > 0 && !m.anyFiring(c.When) {
				return time.Time{}, false
			}
			if c.FailsAt(m.p, at) != "" {
				at, moved = c.NextAllowed(m.p, at), true
			}
		}
		if !moved {
			break
		}
		if at.Sub(m.now) >= NextChangeHorizon {
			return m.now.Add(NextChangeHorizon), true // look again then
		}
	}
	return at, true
}

// passedDue returns the first tier that was passed over and when its conditions hold again.
func (m *machine) passedDue() (tier int, at time.Time, ok bool) {
	for _, i := range m.in.Passed {
		if i >= len(m.esc.Tiers) {
			continue
		}
		if t, may := m.allowed(i); may && (!ok || t.Before(at)) {
			tier, at, ok = i, t, true
		}
	}
	return tier, at, ok
}

// passOver notes that the next tier is due and not to be told now.
func (m *machine) passOver(why string) {
	i := m.in.NextTier
	m.in.Passed = append(slices.Clone(m.in.Passed), i)
	m.in.NextTier++
	m.d.Changed, m.visible = true, true
	text := fmt.Sprintf("the %s tier is passed over: %s (%s)", Nth(i), targetList(m.esc.Tiers[i]), why)
	if _, ok := m.allowed(i); ok {
		text += "; it is told when that changes"
	}
	m.note(EntryPassedOver, "", text)
}
