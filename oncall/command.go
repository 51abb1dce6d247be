package oncall

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// command does what a person asked for. Every command may arrive twice and by any way in: the second time
// it changes nothing and says what is.
func (m *machine) command(c Command) {
	if m.in.State == "" {
		m.refuse("there is no such incident")
		return
	}
	m.from = c.From
	if m.in.Drill != nil {
		m.drillCommand(c)
		return
	}
	if m.late(c) {
		return
	}
	switch c.Kind {
	case CmdAcknowledge:
		m.acknowledge(c)
	case CmdUnacknowledge:
		m.unacknowledge(c)
	case CmdResolve:
		m.resolveByHand(c)
	case CmdEscalate:
		m.escalate(c)
	case CmdSnooze:
		m.snooze(c)
	case CmdAssign:
		m.assign(c)
	case CmdNote:
		m.addNote(c)
	case CmdAddResponder:
		m.addResponder(c)
	case CmdMerge:
		m.mergeInto(c)
	default:
		m.refuse(fmt.Sprintf("unknown command %q", c.Kind))
	}
}

func (m *machine) refuse(why string) { m.d.Refused, m.d.Reply = true, why }

func (m *machine) number() string { return fmt.Sprintf("#%d", m.in.Number) }

// ended refuses what only makes sense while the incident is open.
func (m *machine) ended() bool {
	if m.in.Open() {
		return false
	}
	m.refuse(fmt.Sprintf("%s is already resolved%s", m.number(), by(m.in.ResolvedBy)))
	return true
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// acknowledge stops the clock. A second one does not take over; assign does.
func (m *machine) acknowledge(c Command) {
	if m.ended() {
		return
	}
	if m.in.State == IncidentAcknowledged {
		if c.Actor != m.in.AcknowledgedBy && m.answers(c.Actor) {
			m.d.Reply = fmt.Sprintf("you are on %s too; %s has acknowledged it", m.number(), m.in.AcknowledgedBy)
			return
		}
		m.d.Reply = fmt.Sprintf("%s is already acknowledged by %s", m.number(), m.in.AcknowledgedBy)
		return
	}
	m.in.State = IncidentAcknowledged
	m.in.AcknowledgedAt, m.in.AcknowledgedBy = m.now, c.Actor
	m.in.AcknowledgedVia, m.in.AcknowledgedFrom = c.Via, c.From
	m.in.SnoozedUntil, m.in.UntilClear = time.Time{}, nil
	m.in.Acks++
	m.in.TierNow = ""
	m.in.Notifications = slices.DeleteFunc(m.in.Notifications, func(n Notification) bool { // who was asked to help is waited for all the same
		return n.Tier != responderTier || n.Target == Target{TargetUser, c.Actor}
	})
	m.note(EntryAcknowledged, c.Actor, "acknowledged"+via(c.Via)+m.timeoutNote())
	m.dropAsks(fmt.Sprintf("acknowledged by %s before it was sent", c.Actor), false)
	m.tellPages(KindAcknowledged, fmt.Sprintf("ack %d", m.in.Acks))
	m.replyAll(Reply{What: string(EntryAcknowledged), Text: "Acknowledged by " + c.Actor, At: m.now})
	m.visible = true
	m.d.Reply = m.number() + " is acknowledged by " + c.Actor
}

func (m *machine) timeoutNote() string {
	if m.esc.AckTimeout <= 0 {
		return ""
	}
	return fmt.Sprintf("; escalation goes on in %s unless it is resolved by then", short(m.esc.AckTimeout))
}

// via names the way in, so that it does not read like the actor: "acknowledged (link)".
func via(v string) string {
	if v == "" {
		return ""
	}
	return " (" + v + ")"
}

func (m *machine) unacknowledge(c Command) {
	if m.ended() {
		return
	}
	if m.in.State == IncidentTriggered {
		m.d.Reply = m.number() + " is not acknowledged"
		return
	}
	if c.ByItself && m.saidElsewhere(c) {
		m.note(EntryNote, c.Actor, fmt.Sprintf("un-acknowledged%s by a timer; here %s still has it", via(c.Via), m.in.AcknowledgedBy))
		m.d.Reply = fmt.Sprintf("%s stays acknowledged by %s", m.number(), m.in.AcknowledgedBy)
		return
	}
	why := "un-acknowledged" + via(c.Via)
	if c.ByItself {
		why += " by a timer"
	}
	m.unack(c.Actor, why)
	m.d.Reply = m.number() + " is triggered again; its tiers are told anew"
	if m.paused() {
		m.d.Reply = m.number() + " is triggered again, and " + m.pausedText() + "; its tiers are told anew when that ends"
	}
}

// saidElsewhere reports that whoever has the incident did not say so at the far end that a command comes from. What a
// timer there takes back is only what was said there: a person who said it here has not let go of it.
func (m *machine) saidElsewhere(c Command) bool {
	switch {
	case m.in.State != IncidentAcknowledged || m.in.AcknowledgedVia == "":
		return false
	case m.in.AcknowledgedVia != c.Via:
		return true
	}
	return m.in.AcknowledgedFrom != c.From && m.in.AcknowledgedFrom != "" && c.From != "" // another account there
}

// unack puts the incident back to triggered and begins a new round at once.
func (m *machine) unack(actor, why string) {
	kind := EntryUnacknowledged
	if m.in.State == IncidentSnoozed {
		kind = EntryUnsnoozed
	}
	m.in.State = IncidentTriggered
	m.in.AcknowledgedAt, m.in.AcknowledgedBy, m.in.SnoozedUntil, m.in.UntilClear = time.Time{}, "", time.Time{}, nil
	m.in.AcknowledgedVia, m.in.AcknowledgedFrom = "", ""
	m.note(kind, actor, why)
	m.in.Anchor, m.in.Repeats = m.now, 0
	m.beginRound()
	m.visible = true
	m.advance()
}

func (m *machine) resolveByHand(c Command) {
	if !m.in.Open() {
		m.d.Reply = fmt.Sprintf("%s is already resolved%s", m.number(), by(m.in.ResolvedBy))
		return
	}
	m.endManual(c.Actor)
	n, muted := m.firing(), m.muted()
	m.resolve(c.Actor, "resolved"+via(c.Via))
	m.d.Reply = m.number() + " is resolved by " + c.Actor
	if n > 0 {
		s := fmt.Sprintf("%s still firing; if that lasts for %s, a new, linked incident opens", count(n, "alert is", "alerts are"), short(m.reopenAfter()))
		if n == muted {
			s = fmt.Sprintf("%s still firing, and muted; if one fires when that ends, a new, linked incident opens", count(n, "alert is", "alerts are"))
		}
		m.note(EntryResolved, "", s)
		m.d.Reply += ". " + s
	}
}

// resolve ends the incident. actor is "" when its alerts did.
func (m *machine) resolve(actor, why string) {
	m.in.State = IncidentResolved
	m.in.ResolvedAt, m.in.ResolvedBy = m.now, actor
	m.in.SnoozedUntil, m.in.UntilClear, m.in.PausedSince = time.Time{}, nil, time.Time{}
	m.in.Notifications, m.in.TierNow = nil, ""
	m.note(EntryResolved, actor, why)
	m.dropAsks("resolved before it was sent", true)
	m.settleOwed()
	what := "resolved"
	if m.in.Reopens > 0 { // each end is told once
		what = fmt.Sprintf("resolved %d", m.in.Reopens)
	}
	m.tellPages(KindResolved, what)
	text := "Resolved: " + why
	if actor != "" {
		text = "Resolved by " + actor
	}
	m.replyAll(Reply{What: string(EntryResolved), Text: text, At: m.now})
	m.chartsAtEnd()
	m.visible = true
}

func (m *machine) reopenAfter() time.Duration { return cmp.Or(m.esc.AckTimeout, ReopenAfter) }

// escalate tells the next tier now. A press on an old message carries what it was drawn for, and is refused
// when the incident has moved on since.
func (m *machine) escalate(c Command) {
	if m.ended() {
		return
	}
	if m.in.State != IncidentTriggered {
		m.refuse(fmt.Sprintf("%s is %s%s; un-acknowledge it to let it escalate", m.number(), m.in.State, by(m.in.AcknowledgedBy)))
		return
	}
	if c.Seen != nil && (c.Seen.Round != m.in.Round || c.Seen.Tier != m.in.NextTier-1) {
		m.refuse(fmt.Sprintf("%s has moved on since that button was drawn: the %s tier of the %s round was told", m.number(), Nth(m.in.NextTier-1), Nth(m.in.Round)))
		return
	}
	tier := m.in.NextTier
	for tier < len(m.esc.Tiers) && m.toldBefore(tier) {
		tier++
	}
	if tier >= len(m.esc.Tiers) {
		if len(m.in.Passed) == 0 || m.in.Passed[0] >= len(m.esc.Tiers) {
			m.refuse(fmt.Sprintf("every tier of %s was told already", m.number()))
			return
		}
		tier, m.in.Passed = m.in.Passed[0], m.in.Passed[1:]
	} else {
		m.in.NextTier = tier
	}
	m.d.Reply = fmt.Sprintf("%s: the %s tier is told now", m.number(), Nth(tier))
	if m.paused() {
		m.d.Reply += "; but for that it stays " + m.pausedText()
	}
	m.settleUrgency()
	m.raise(c.Actor, "escalated by hand")
	m.runTier(tier, "escalated by "+c.Actor) // a person asks for it, whatever its conditions are
	m.advance()
}

func (m *machine) assign(c Command) {
	if m.ended() {
		return
	}
	if _, ok := m.p.Users[c.User]; !ok && len(m.p.Users) > 0 {
		m.refuse(fmt.Sprintf("there is no user named %q", c.User))
		return
	}
	if m.in.Assignee == c.User {
		m.d.Reply = fmt.Sprintf("%s is already assigned to %s", m.number(), c.User)
		return
	}
	m.in.Assignee = c.User
	if m.in.State == IncidentAcknowledged {
		m.in.AcknowledgedBy, m.in.AcknowledgedVia, m.in.AcknowledgedFrom = c.User, c.Via, c.From
	}
	m.note(EntryAssigned, c.Actor, "assigned to "+c.User)
	m.replyAll(Reply{What: string(EntryAssigned), Text: fmt.Sprintf("Assigned to %s by %s", c.User, c.Actor), At: m.now})
	m.visible = true
	m.d.Reply = m.number() + " is assigned to " + c.User
	if m.in.State == IncidentTriggered {
		m.d.Reply += "; nobody has acknowledged it, and its tiers are told on"
	}
}

func (m *machine) addNote(c Command) {
	text := truncate(c.Text, 3000)
	if text == "" {
		m.refuse("a note needs a text")
		return
	}
	m.note(EntryNote, c.Actor, text)
	m.replyAll(Reply{What: string(EntryNote), Text: fmt.Sprintf("%s noted: %s", c.Actor, text), At: m.now})
	m.d.Reply = "noted on " + m.number()
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// short writes a duration for people: "2m", "1h30m", "1.5s".
func short(d time.Duration) string {
	s := d.String()
	for _, z := range []string{"m0s", "h0m"} {
		if len(s) > len(z) && s[len(s)-len(z):] == z {
			s = s[:len(s)-2]
		}
	}
	return s
}
