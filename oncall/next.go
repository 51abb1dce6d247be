package oncall

import (
	"fmt"
	"strings"
	"time"
)

// due is an instant and what happens then.
type due struct {
	at   time.Time
	what string
}

// next works out NextAt: the earliest instant at which Tick has something to do.
func (m *machine) next() time.Time {
	best := m.nextAsked()
	if m.paused() {
		return best
	}
	if at, ok := m.owedDue(); ok && (best.IsZero() || at.Before(best)) {
		best = at
	}
	return best
}

// nextAsked is when somebody is told next, or found not to have been.
func (m *machine) nextAsked() time.Time {
	best := m.nextStep().at
	if m.paused() {
		return best
	}
	for i := range m.in.Notifications {
		for j := range m.in.Notifications[i].Tries {
			at, ok := m.overdueAt(&m.in.Notifications[i].Tries[j])
			if ok && (best.IsZero() || at.Before(best)) {
				best = at
			}
		}
	}
	return best
}

// nextStep works out what people are to expect next.
func (m *machine) nextStep() due {
	var best due
	consider := func(at time.Time, ok bool, what func() string) {
		if ok && (best.at.IsZero() || at.Before(best.at)) {
			best = due{at, what()}
		}
	}
	say := func(s string) func() string { return func() string { return s } }
	if m.paused() {
		return due{what: m.pausedText()}
	}
	switch m.in.State {
	case IncidentTriggered:
		if m.in.Drill != nil {
			consider(m.drillEnds(), true, say("the drill ends"))
			break
		}
		at, ok := m.tierDue()
		consider(at, ok, func() string {
			return fmt.Sprintf("the %s tier is told: %s", Nth(m.in.NextTier), targetList(m.esc.Tiers[m.in.NextTier]))
		})
		passed, at, ok := m.passedDue()
		consider(at, ok, func() string {
			return fmt.Sprintf("the %s tier, which was passed over, is told: %s", Nth(passed), targetList(m.esc.Tiers[passed]))
		})
		at, ok = m.roundDue()
		consider(at, ok, func() string { return fmt.Sprintf("the %s round begins: all tiers are told again", Nth(m.in.Round+1)) })
		m.nextContacts(consider)
	case IncidentAcknowledged:
		at, ok := m.ackEnds()
		consider(at, ok, say("it is un-acknowledged unless resolved"))
		m.nextContacts(consider) // of responders
	case IncidentSnoozed:
		consider(m.in.SnoozedUntil, true, say("the snooze ends"))
		m.nextContacts(consider)
	case IncidentResolved:
		at, ok := m.reopens()
		consider(at, ok, say("a linked incident opens if its alerts still fire"))
	}
	return best
}

func (m *machine) nextContacts(consider func(time.Time, bool, func() string)) {
	for i := range m.in.Notifications {
		n := &m.in.Notifications[i]
		at, ok := m.contactDue(n)
		consider(at, ok, func() string {
			cs := m.contacts(n.Target)
			return n.Target.String() + " is told by " + contactName(cs[nextContact(n, cs)])
		})
	}
}

// targetList is what a tier names.
func targetList(t Tier) string {
	names := make([]string, len(t.Targets))
	for i, x := range t.Targets {
		names[i] = x.String()
	}
	if t.RoundRobin {
		return "one of " + strings.Join(names, ", ")
	}
	return strings.Join(names, ", ")
}
