package oncall

import (
	"fmt"
	"time"
)

// MaxSnooze is the longest snooze: one without an end would be a page that is lost.
const MaxSnooze = 30 * 24 * time.Hour

// ClearWithin bounds a snooze until matchers clear where nobody gave an end.
const ClearWithin = 24 * time.Hour

// snooze is quiet until an instant, or until no firing alert matches any more, whichever comes first.
func (m *machine) snooze(c Command) {
	if m.ended() {
		return
	}
	until := c.Until
	if until.IsZero() && len(c.UntilClear) > 0 {
		until = m.now.Add(ClearWithin)
	}
	switch {
	case m.in.State == IncidentSnoozed && len(c.UntilClear) > 0 && SameMatchers(m.in.UntilClear, c.UntilClear) &&
		(c.Until.IsZero() || m.in.SnoozedUntil.Equal(c.Until)):
		m.d.Reply = m.number() + " is already snoozed until then"
		return
	case !until.After(m.now):
		m.refuse("the end of a snooze must be in the future")
		return
	case until.Sub(m.now) > MaxSnooze:
		m.refuse("a snooze lasts 30 days at most; resolve the incident, or change the rule")
		return
	case len(c.UntilClear) > 0 && !m.matching(c.UntilClear):
		m.refuse(fmt.Sprintf("no firing alert of %s matches %s: the snooze would end at once", m.number(), c.UntilClear))
		return
	case m.in.State == IncidentSnoozed && m.in.SnoozedUntil.Equal(until) && SameMatchers(m.in.UntilClear, c.UntilClear):
		m.d.Reply = m.number() + " is already snoozed until then"
		return
	}
	m.in.State, m.in.SnoozedUntil, m.in.UntilClear = IncidentSnoozed, until, c.UntilClear
	m.in.Notifications, m.in.TierNow = nil, ""
	text := until.UTC().Format("2006-01-02 15:04 MST")
	if len(c.UntilClear) > 0 {
		text = fmt.Sprintf("no firing alert matches %s, at the latest %s", c.UntilClear, text)
	}
	m.note(EntrySnoozed, c.Actor, "snoozed until "+text+via(c.Via))
	m.dropAsks(fmt.Sprintf("snoozed by %s before it was sent", c.Actor), false)
	m.tellSnoozed()
	m.replyAll(Reply{What: string(EntrySnoozed), Text: fmt.Sprintf("Snoozed by %s until %s", c.Actor, text), At: m.now})
	m.visible = true
	m.d.Reply = m.number() + " is snoozed until " + text
}

// settleSnooze ends a snooze whose matchers have cleared.
func (m *machine) settleSnooze() {
	if m.in.State == IncidentSnoozed && len(m.in.UntilClear) > 0 && !m.matching(m.in.UntilClear) {
		m.unack("", fmt.Sprintf("the snooze ended: no firing alert matches %s any more", m.in.UntilClear))
	}
}
