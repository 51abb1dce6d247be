package oncall

import (
	"fmt"
	"slices"
	"time"
)

// tick does what is due. It runs at most one tier; the caller ticks again while NextAt is not in the future.
func (m *machine) tick() {
	switch m.in.State {
	case IncidentTriggered, IncidentAcknowledged, IncidentSnoozed:
		if !m.paused() {
			m.tickOpen()
		}
	case IncidentResolved:
		m.stillFiring()
	}
	if !m.paused() {
		m.makeUp()
	}
	// NextAt is worked out anew even when nothing was due, so that a stale one cannot spin.
	if !m.d.Changed && !m.next().Equal(m.in.NextAt) {
		m.d.Changed = true
	}
}

func (m *machine) tickOpen() {
	switch m.in.State {
	case IncidentTriggered:
		m.advance()
	case IncidentAcknowledged:
		if at, ok := m.ackEnds(); ok && !at.After(m.now) {
			m.unack("", fmt.Sprintf("un-acknowledged: %s had it, and it was not resolved within %s", m.in.AcknowledgedBy, short(m.esc.AckTimeout)))
			return
		}
		m.proceed()
	case IncidentSnoozed:
		if !m.in.SnoozedUntil.After(m.now) {
			m.unack("", "the snooze ended")
			return
		}
		m.proceed()
	}
}

func (m *machine) ackEnds() (time.Time, bool) {
	return m.in.AcknowledgedAt.Add(m.esc.AckTimeout), m.esc.AckTimeout > 0
}

// stillFiring hands the alerts of an incident that was closed by hand back, if they fire after all.
func (m *machine) stillFiring() {
	at, ok := m.reopens()
	if !ok || at.After(m.now) {
		return
	}
	n := 0
	for i := range m.in.Alerts {
		a := &m.in.Alerts[i]
		if a.State != StateFiring || !a.MutedSince.IsZero() { // a muted one opens an incident when that ends
			continue
		}
		n++
		m.handOver(i, 0, fmt.Sprintf("still firing %s after #%d was closed by hand", short(m.reopenAfter()), m.in.Number), "goes on in a linked incident")
	}
	m.note(EntryLinked, "", fmt.Sprintf("%s still firing: a linked incident takes over", count(n, "alert is", "alerts are")))
}

// groupNames returns the label names that group the incident, so that its alerts come to the same place.
func groupNames(in Incident) []string {
	if len(in.Policy.GroupBy) > 0 && !slices.Contains(in.Policy.GroupBy, "") {
		ok := true
		for _, a := range in.Alerts {
			if PlaceAlert(AlertChange{Labels: a.Labels, GroupBy: in.Policy.GroupBy}, Policy{}).GroupKey != in.GroupKey {
				ok = false
			}
		}
		if ok {
			return in.Policy.GroupBy
		}
	}
	names := []string{}
	for name := range in.GroupLabels.Map() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *machine) reopens() (time.Time, bool) {
	if m.in.State != IncidentResolved || m.in.ResolvedBy == "" || m.firing() == m.muted() {
		return time.Time{}, false
	}
	return m.in.ResolvedAt.Add(m.reopenAfter()), true
}

// beginRound starts the tiers over, with new keys.
func (m *machine) beginRound() {
	m.in.Round++
	m.in.RoundAt, m.in.NextTier, m.in.TierNow, m.in.Exhausted = m.now, 0, "", false
	m.in.Turns, m.in.Passed, m.in.ToldBefore, m.in.ToldTiers = 0, nil, nil, nil
	m.in.Notifications = slices.DeleteFunc(m.in.Notifications, func(n Notification) bool { return n.Tier != responderTier })
}

// advance runs what is due for a triggered incident, in the order in which it fell due: deliveries that
// are overdue, contact rules, then one tier, else the next round.
func (m *machine) advance() {
	if m.in.State != IncidentTriggered || m.paused() {
		return
	}
	if m.in.Drill != nil {
		m.runDrill()
		return
	}
	m.settleUrgency()
	m.runContacts()
	m.failTier()
	m.runPassed()
	m.runDueTier()
	if at, ok := m.roundDue(); ok && !at.After(m.now) && !m.tierRan {
		m.in.Repeats++
		m.beginRound()
		if m.now.Sub(at) < time.Minute {
			m.in.RoundAt = at // on time by the schedule of the repeats
		} // else it fell due while nobody was running: its tiers keep their distance from now, so that nobody is paged twice at once
		m.d.Changed = true
		m.note(EntryEscalated, "", fmt.Sprintf("the %s round begins: still not acknowledged", Nth(m.in.Round)))
		m.runDueTier()
	}
	m.sayExhausted()
}

// failTier lets the next tier run now when none of the targets of the one that was told last was reached. Later
// tiers keep their own after.
func (m *machine) failTier() {
	if m.in.TierNow != "" || m.in.NextTier >= len(m.esc.Tiers) {
		return
	}
	last, ok := m.lastTurn()
	if !ok || slices.ContainsFunc(last, func(n Notification) bool { return !n.Failed }) {
		return
	}
	m.in.TierNow = fmt.Sprintf("none of the %s tier's targets was reached", Nth(last[0].Tier))
	m.d.Changed = true
}

// lastTurn returns the notifications of the tier that was told last in this round.
func (m *machine) lastTurn() (ns []Notification, ok bool) {
	for _, n := range m.in.Notifications {
		if n.Tier == responderTier || n.Round != m.in.Round {
			continue
		}
		if len(ns) > 0 && ns[0].Turn != n.Turn {
			ns = ns[:0:0]
		}
		ns = append(ns, n)
	}
	return ns, len(ns) > 0
}

func (m *machine) tierDue() (time.Time, bool) {
	if m.in.NextTier >= len(m.esc.Tiers) {
		return time.Time{}, false
	}
	if m.in.TierNow != "" {
		return m.now, true
	}
	at := m.in.RoundAt.Add(m.esc.Tiers[m.in.NextTier].After)
	if wait := m.tierWaits(); wait.After(at) {
		at = wait
	}
	return at, true
}

func (m *machine) roundDue() (time.Time, bool) {
	if m.in.NextTier < len(m.esc.Tiers) || len(m.esc.Tiers) == 0 || m.in.Repeats >= m.esc.Repeat.Times || m.esc.Repeat.Every <= 0 {
		return time.Time{}, false
	}
	at := m.in.Anchor.Add(time.Duration(m.in.Repeats+1) * m.esc.Repeat.Every)
	if wait := m.roundWaits(); wait.After(at) {
		at = wait
	}
	return at, true
}

// runPassed tells a tier that was passed over and whose conditions hold now.
func (m *machine) runPassed() {
	i, at, ok := m.passedDue()
	if !ok || at.After(m.now) || m.tierRan {
		return
	}
	m.in.Passed = slices.DeleteFunc(slices.Clone(m.in.Passed), func(x int) bool { return x == i })
	m.runTier(i, "it was passed over, and its condition holds now")
}

// runDueTier tells the next tier if it is due, and passes over those that are not to be told now.
func (m *machine) runDueTier() {
	for !m.tierRan {
		at, ok := m.tierDue()
		if !ok || at.After(m.now) {
			return
		}
		i := m.in.NextTier
		if m.toldBefore(i) {
			m.in.NextTier++
			m.d.Changed = true
			continue
		}
		if why := m.failing(i); why != "" {
			m.passOver(why)
			continue
		}
		m.runTier(i, m.whyNow(i))
	}
}

// whyNow says why the next tier is told now.
func (m *machine) whyNow(i int) string {
	after := m.esc.Tiers[i].After
	switch {
	case m.in.TierNow != "":
		return m.in.TierNow
	case m.tierWaits().After(m.in.RoundAt.Add(after)):
		return "not acknowledged after the tier before had told its users in their daytime"
	case after == 0:
		return "at once"
	case m.in.Round > 0:
		return fmt.Sprintf("not acknowledged %s after the %s round began", short(after), Nth(m.in.Round))
	}
	return "not acknowledged " + short(after) + " after the trigger"
}

// runTier tells a tier: the next one, or one that was passed over.
func (m *machine) runTier(i int, why string) {
	if i == m.in.NextTier {
		m.in.NextTier++
		m.in.TierNow = ""
	}
	m.tierRan, m.visible, m.in.Exhausted = true, true, false
	told, shadows := m.whom(i)
	m.in.Turns++
	m.in.ToldTiers = append(slices.Clone(m.in.ToldTiers), tierKey(m.esc.Tiers[i]))
	list := toldList(told)
	m.note(EntryEscalated, "", fmt.Sprintf("the %s tier is told: %s (%s)", Nth(i), list, why))
	before := slices.Clone(m.in.Told)
	m.in.Notifications = append(m.in.Notifications, told...)
	m.sayWaiting(told)
	m.runContacts()
	for _, user := range shadows {
		m.tellShadow(user, i)
	}
	if i > 0 { // the first tier of a round asks in the threads by itself
		// After what asks: Slack takes one message a second, and the asking must not wait behind the telling.
		m.reply(before, Reply{What: string(EntryEscalated), Text: fmt.Sprintf("Escalated to the %s tier: %s (%s)", Nth(i), list, why), Broadcast: true, At: m.now})
	}
	m.failTier()
}

// sayExhausted puts on record that nobody is left to tell, once.
func (m *machine) sayExhausted() {
	if m.in.Exhausted || m.in.State != IncidentTriggered || !m.nextAsked().IsZero() {
		return
	}
	m.in.Exhausted = true
	why := "every tier was told"
	if len(m.esc.Tiers) == 0 {
		why = fmt.Sprintf("the escalation %s has no tiers", m.in.Escalation)
	} else if len(m.in.Passed) > 0 {
		why = "every tier was told or passed over"
	}
	if len(m.esc.Tiers) > 0 && m.esc.Repeat.Times > 0 {
		why += fmt.Sprintf(", %s", count(m.in.Repeats+1, "time", "times"))
	}
	m.note(EntryExhausted, "", "nobody is left to tell: "+why+"; the incident stays open until somebody acknowledges or its alerts resolve")
}
