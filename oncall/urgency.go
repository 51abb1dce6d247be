package oncall

import (
	"fmt"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
)

// Urgency says of which incidents people are told in their daytime only. The zero value: of none.
type Urgency struct {
	Low      bool              `json:"low,omitempty"`      // of all
	LowWhen  amlabels.Matchers `json:"low_when,omitempty"` // of those of which every firing alert matches; severity is the incident's
	Deadline time.Duration     `json:"deadline,omitempty"` // after the trigger nobody waits any longer; 0: DefaultLowDeadline
}

// UrgencyLow is the Urgency of an incident that waits for daytime.
const UrgencyLow = "low"

// DefaultLowDeadline is for how long an incident of low urgency waits at most where its escalation sets nothing.
const DefaultLowDeadline = 24 * time.Hour

// defaultDaytime is from 9 to 18 o'clock on every day.
var defaultDaytime = Restriction{{Times: []timeinterval.TimeRange{{StartMinute: 9 * 60, EndMinute: 18 * 60}}}}

// Awake returns the first instant at or after from, and not after latest, at which the user is told of what has a
// low urgency: latest where their daytime begins later.
func (u User) Awake(from, latest time.Time) time.Time {
	if !from.Before(latest) {
		return from
	}
	daytime, loc := u.Daytime, u.Location
	if len(daytime) == 0 {
		daytime = defaultDaytime
	}
	if loc == nil {
		loc = time.UTC
	}
	if spans := daytime.within(loc, from, latest); len(spans) > 0 {
		return spans[0].from
	}
	return latest
}

// isLow reports whether the escalation says that the incident, as it now is, can wait for daytime.
func (m *machine) isLow() bool {
	u := m.esc.Urgency
	if u.Low || len(u.LowWhen) == 0 {
		return u.Low
	}
	for i := range m.in.Alerts {
		if a := &m.in.Alerts[i]; a.State == StateFiring && !m.alertMatches(u.LowWhen, a) {
			return false
		}
	}
	return m.firing() > 0
}

// settleUrgency decides before anybody is told whether the incident can wait, and raises it for good when it no
// longer can: an urgency that came and went would make people wait for what they were once told of.
func (m *machine) settleUrgency() {
	switch {
	case m.in.Urgency == UrgencyLow && !m.isLow():
		why := "its alerts are not such as can wait any more"
		if len(m.esc.Urgency.LowWhen) == 0 {
			why = "its escalation has no low urgency any more"
		} else if m.in.Severity != "" {
			why += ", severity " + m.in.Severity
		}
		m.raise("", why)
	case m.in.Urgency == "" && !m.in.Raised && m.in.Round == 0 && m.in.NextTier == 0 && len(m.in.Notifications) == 0 && m.isLow():
		m.in.Urgency = UrgencyLow
		m.visible, m.d.Changed = true, true
		m.note(EntryUrgency, "", fmt.Sprintf("the urgency is low: each user is told in their daytime, or %s after the trigger", short(m.lowDeadline())))
	}
}

// raise ends the waiting: who waits is told now, and what follows keeps its distance from now, so that not everybody
// is told at once.
func (m *machine) raise(actor, why string) {
	if m.in.Urgency != UrgencyLow {
		return
	}
	for i := range m.in.Notifications {
		if n := &m.in.Notifications[i]; len(n.Tries) == 0 && !n.Behind && m.begins(n).After(m.now) {
			n.At = m.now
		}
	}
	m.in.Urgency, m.in.Raised = "", true
	m.visible, m.d.Changed = true, true
	if last, ok := m.lastTurn(); ok && last[0].Tier < len(m.esc.Tiers) {
		if begun := m.now.Add(-m.esc.Tiers[last[0].Tier].After); begun.After(m.in.RoundAt) {
			m.in.RoundAt, m.in.Anchor, m.in.Repeats = begun, begun, 0
		}
	}
	m.note(EntryUrgency, actor, "the urgency is high now: "+why)
}

func (m *machine) lowDeadline() time.Duration {
	if d := m.esc.Urgency.Deadline; d > 0 {
		return d
	}
	return DefaultLowDeadline
}

// begins is the instant from which a target's contact rules count.
func (m *machine) begins(n *Notification) time.Time {
	if m.in.Urgency != UrgencyLow || n.Target.Kind != TargetUser || n.Tier == responderTier {
		return n.At
	}
	return m.p.Users[n.Target.Name].Awake(n.At, m.in.Anchor.Add(m.lowDeadline()))
}

// waits reports that a tier or round keeps its distance from when a notification's contact rules begin. Whom there is
// nothing to reach by has failed at once, and nobody waits for their daytime.
func (n *Notification) waits() bool {
	return n.Target.Kind == TargetUser && n.Tier != responderTier && !n.Behind && !(n.Failed && len(n.Tries) == 0)
}

// tierWaits returns when the next tier is to be told at the earliest because the users of the last one wait for
// their daytime: tiers keep their distance, or all would be told at nine. Zero: nobody waits.
func (m *machine) tierWaits() time.Time {
	if m.in.Urgency != UrgencyLow {
		return time.Time{}
	}
	last, ok := m.lastTurn()
	if !ok || last[0].Tier >= len(m.esc.Tiers) {
		return time.Time{}
	}
	var first time.Time
	for i := range last {
		if n := &last[i]; n.waits() {
			if at := m.begins(n); first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	if first.IsZero() {
		return first
	}
	return first.Add(max(0, m.esc.Tiers[m.in.NextTier].After-m.esc.Tiers[last[0].Tier].After))
}

// roundWaits is tierWaits for the next round.
func (m *machine) roundWaits() time.Time {
	if m.in.Urgency != UrgencyLow {
		return time.Time{}
	}
	var latest time.Time
	for i := range m.in.Notifications {
		if n := &m.in.Notifications[i]; n.waits() {
			if at := m.begins(n); at.After(latest) {
				latest = at
			}
		}
	}
	if latest.IsZero() {
		return latest
	}
	return latest.Add(max(0, m.esc.Repeat.Every-m.esc.Tiers[len(m.esc.Tiers)-1].After))
}

// sayWaiting puts on record who is told later because of a low urgency.
func (m *machine) sayWaiting(told []Notification) {
	for i := range told {
		n := &told[i]
		if at := m.begins(n); at.After(m.now) && !n.Behind && len(m.contacts(n.Target)) > 0 {
			m.note(EntryUrgency, "", fmt.Sprintf("%s is told from %s on: the urgency is low", n.Target, clockFor(m.p.Users[n.Target.Name].Location, at)))
		}
	}
}

// clockFor writes an instant for people in a zone: "Mon 2 Jan 09:00 CET".
func clockFor(loc *time.Location, at time.Time) string {
	if loc == nil {
		loc = time.UTC
	}
	return at.In(loc).Format("Mon 2 Jan 15:04 MST")
}
