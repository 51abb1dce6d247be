package oncall

import (
	"fmt"
	"slices"
	"strings"
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
		}
	case IncidentSnoozed:
		if !m.in.SnoozedUntil.After(m.now) {
			m.unack("", "the snooze ended")
		}
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
		reason := fmt.Sprintf("still firing %s after #%d was closed by hand", short(m.reopenAfter()), m.in.Number)
		for _, source := range a.Sources {
			m.d.Requeue = append(m.d.Requeue, AlertChange{
				At: m.now, Source: source, Status: ChangeFiring, Labels: a.Labels, Annotations: a.Annotations, Value: a.Value,
				StartsAt: a.StartsAt, GeneratorURL: a.GeneratorURL, Escalation: m.in.Escalation, GroupBy: groupNames(m.in),
				LinkedFrom: m.in.Number, Why: m.in.Why, Reason: reason, Evidence: a.Evidence,
			})
		}
		if !a.UnknownSince.IsZero() {
			unknown := m.d.Requeue[len(m.d.Requeue)-1]
			unknown.Status, unknown.At, unknown.Reason = ChangeUnknown, a.UnknownSince, "its query still fails"
			m.d.Requeue = append(m.d.Requeue, unknown)
		}
		a.State, a.ResolvedAt, a.UnknownSince, a.Reason = StateResolved, m.now, time.Time{}, reason+": goes on in a linked incident"
		m.touch(i)
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
	m.in.Notifications = nil
}

// advance runs what is due for a triggered incident, in the order in which it fell due: deliveries that
// are overdue, contact rules, then one tier, else the next round.
func (m *machine) advance() {
	if m.in.State != IncidentTriggered || m.paused() {
		return
	}
	m.runContacts()
	m.failTier()
	if at, ok := m.tierDue(); ok && !at.After(m.now) && !m.tierRan {
		m.runTier()
	}
	if at, ok := m.roundDue(); ok && !at.After(m.now) && !m.tierRan {
		m.in.Repeats++
		m.beginRound()
		if m.now.Sub(at) < time.Minute {
			m.in.RoundAt = at // on time by the schedule of the repeats
		} // else it fell due while nobody was running: its tiers keep their distance from now, so that nobody is paged twice at once
		m.note(EntryEscalated, "", fmt.Sprintf("round %d begins: still not acknowledged", m.in.Round))
		m.runTier()
	}
	m.sayExhausted()
}

// runContacts marks overdue tries as failed and runs the contact rules that are due.
func (m *machine) runContacts() {
	for i := range m.in.Notifications {
		n := &m.in.Notifications[i]
		for j := range n.Tries {
			t := &n.Tries[j]
			if at, waits := m.overdueAt(t); waits && !at.After(m.now) {
				m.tryFailed(n, t, fmt.Sprintf("not delivered within %s", short(m.deliverWithin())))
			}
		}
		for {
			at, ok := m.contactDue(n)
			if !ok || at.After(m.now) {
				break
			}
			m.runContact(n)
		}
		m.checkFailed(n)
	}
}

// overdueAt returns when a try that waits for its first delivery counts as failed. A Slack delivery that
// was never attempted waits in our own queue: while its channel delivers others, that is no failure.
func (m *machine) overdueAt(t *Try) (time.Time, bool) {
	if len(t.Keys) == 0 || t.Failed || t.Reached {
		return time.Time{}, false
	}
	since := t.At
	for _, key := range t.Keys {
		d, ok := m.delivery(key)
		if ok && d.Endpoint.Kind() == "slack" && d.Attempts == 0 && d.EndpointLast.After(since) {
			since = d.EndpointLast
		}
	}
	return since.Add(m.deliverWithin()), true
}

// contacts returns the contact rules of a target; anything but a user has one, itself.
func (m *machine) contacts(t Target) []Contact {
	switch t.Kind {
	case TargetSlack:
		return []Contact{{Slack: t.Name}}
	case TargetReceiver:
		return []Contact{{Receiver: t.Name}}
	case TargetUser:
		u, ok := m.p.Users[t.Name]
		if ok && len(u.Contacts) == 0 && u.Slack != "" {
			return []Contact{{Slack: "dm"}}
		}
		return u.Contacts
	}
	return nil
}

func (m *machine) contactDue(n *Notification) (time.Time, bool) {
	cs := m.contacts(n.Target)
	if n.Next >= len(cs) {
		return time.Time{}, false
	}
	if n.NextNow != "" {
		return m.now, true
	}
	return n.At.Add(cs[n.Next].After), true
}

// checkFailed settles whether the target could not be reached at all: no contact is left, and none of
// those that ran arrived or still may.
func (m *machine) checkFailed(n *Notification) {
	if n.Failed || n.Next < len(m.contacts(n.Target)) {
		return
	}
	for _, t := range n.Tries {
		if !t.Failed {
			return
		}
	}
	n.Failed = true
	m.d.Changed = true
	if len(n.Tries) == 0 {
		m.note(EntryNotDelivered, "", n.Target.String()+": there is nobody and nothing to send to")
	}
}

// failTier lets the next tier run now when none of the present one's targets was reached. Later tiers keep
// their own after.
func (m *machine) failTier() {
	if m.in.TierNow != "" || m.in.NextTier == 0 || m.in.NextTier >= len(m.esc.Tiers) {
		return
	}
	told := 0
	for _, n := range m.in.Notifications {
		if n.Tier != m.in.NextTier-1 {
			continue
		}
		if !n.Failed {
			return
		}
		told++
	}
	if told > 0 {
		m.in.TierNow = fmt.Sprintf("none of tier %d's targets was reached", m.in.NextTier-1)
		m.d.Changed = true
	}
}

func (m *machine) tierDue() (time.Time, bool) {
	if m.in.NextTier >= len(m.esc.Tiers) {
		return time.Time{}, false
	}
	if m.in.TierNow != "" {
		return m.now, true
	}
	return m.in.RoundAt.Add(m.esc.Tiers[m.in.NextTier].After), true
}

func (m *machine) roundDue() (time.Time, bool) {
	if m.in.NextTier < len(m.esc.Tiers) || len(m.esc.Tiers) == 0 || m.in.Repeats >= m.esc.Repeat.Times || m.esc.Repeat.Every <= 0 {
		return time.Time{}, false
	}
	return m.in.Anchor.Add(time.Duration(m.in.Repeats+1) * m.esc.Repeat.Every), true
}

// runTier tells the next tier.
func (m *machine) runTier() {
	i := m.in.NextTier
	tier := m.esc.Tiers[i]
	why := m.in.TierNow
	if why == "" {
		why = "not acknowledged " + short(tier.After) + " after the trigger"
		if m.in.Round > 0 {
			why = "not acknowledged " + short(tier.After) + " after round " + fmt.Sprint(m.in.Round) + " began"
		}
		if tier.After == 0 {
			why = "at once"
		}
	}
	m.in.NextTier++
	m.in.TierNow = ""
	m.tierRan, m.visible = true, true
	list := targetList(tier)
	m.note(EntryEscalated, "", fmt.Sprintf("tier %d is told: %s (%s)", i, list, why))
	before := slices.Clone(m.in.Told)
	for _, t := range tier.Targets {
		m.in.Notifications = append(m.in.Notifications, Notification{Round: m.in.Round, Tier: i, Target: t, At: m.now})
	}
	m.runContacts()
	if i > 0 { // the first tier of a round asks in the threads by itself
		// After what asks: Slack takes one message a second, and the asking must not wait behind the telling.
		m.reply(before, Reply{What: string(EntryEscalated), Text: fmt.Sprintf("Escalated to tier %d: %s (%s)", i, list, why), At: m.now})
	}
	m.failTier()
}

// sayExhausted puts on record that nobody is left to tell, once.
func (m *machine) sayExhausted() {
	if m.in.Exhausted || m.in.State != IncidentTriggered || !m.next().IsZero() {
		return
	}
	m.in.Exhausted = true
	why := "every tier was told"
	if len(m.esc.Tiers) == 0 {
		why = fmt.Sprintf("the escalation %s has no tiers", m.in.Escalation)
	} else if m.esc.Repeat.Times > 0 {
		why += fmt.Sprintf(", %s", count(m.in.Repeats+1, "time", "times"))
	}
	m.note(EntryExhausted, "", "nobody is left to tell: "+why+"; the incident stays open until somebody acknowledges or its alerts resolve")
}

// due is an instant and what happens then.
type due struct {
	at   time.Time
	what string
}

// next works out NextAt: the earliest instant at which Tick has something to do.
func (m *machine) next() time.Time {
	best := m.nextStep().at
	if m.in.State != IncidentTriggered || m.paused() {
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
		at, ok := m.tierDue()
		consider(at, ok, func() string {
			return fmt.Sprintf("tier %d is told: %s", m.in.NextTier, targetList(m.esc.Tiers[m.in.NextTier]))
		})
		at, ok = m.roundDue()
		consider(at, ok, func() string { return fmt.Sprintf("round %d begins: all tiers are told again", m.in.Round+1) })
		for i := range m.in.Notifications {
			n := &m.in.Notifications[i]
			at, ok := m.contactDue(n)
			consider(at, ok, func() string { return n.Target.String() + " is told by " + contactName(m.contacts(n.Target)[n.Next]) })
		}
	case IncidentAcknowledged:
		at, ok := m.ackEnds()
		consider(at, ok, say("it is un-acknowledged unless resolved"))
	case IncidentSnoozed:
		consider(m.in.SnoozedUntil, true, say("the snooze ends"))
	case IncidentResolved:
		at, ok := m.reopens()
		consider(at, ok, say("a linked incident opens if its alerts still fire"))
	}
	return best
}

func targetList(t Tier) string {
	names := make([]string, len(t.Targets))
	for i, x := range t.Targets {
		names[i] = x.String()
	}
	return strings.Join(names, ", ")
}
