package oncall

import (
	"fmt"
	"slices"
	"time"
)

// proceed does what is due while the incident is open: everything while it is triggered; while somebody has it, or it is
// snoozed, only the telling of those who were asked to help.
func (m *machine) proceed() {
	if m.in.State == IncidentTriggered {
		m.advance()
		return
	}
	if !m.paused() {
		m.runContacts()
	}
}

// addResponder asks somebody to help: they are told at once, by their contact rules, whatever the state of the
// incident. Who has acknowledged goes on having it.
func (m *machine) addResponder(c Command) {
	if m.ended() {
		return
	}
	u, ok := m.p.Users[c.User]
	if !ok {
		m.refuse(fmt.Sprintf("there is no user named %q%s", c.User, suggestion(c.User, m.p.Users)))
		return
	}
	if !u.reachable() {
		m.refuse(fmt.Sprintf("%s cannot be reached: the configuration gives them no contacts and no Slack ID", c.User))
		return
	}
	if slices.ContainsFunc(m.in.Responders, func(r Responder) bool { return r.User == c.User && r.Round == m.in.Round }) {
		m.d.Reply = fmt.Sprintf("%s was already asked to help with %s", c.User, m.number())
		return
	}
	m.in.Responders = append(slices.Clone(m.in.Responders), Responder{User: c.User, By: c.Actor, At: m.now, Round: m.in.Round})
	m.note(EntryResponder, c.Actor, c.User+" is asked to help"+via(c.Via))
	m.in.Notifications = append(m.in.Notifications, Notification{
		Round: m.in.Round, Tier: responderTier, Target: Target{TargetUser, c.User}, Via: "asked for by " + c.Actor, At: m.now,
	})
	m.visible = true
	m.runContacts()
	m.replyAll(Reply{What: string(EntryResponder), Text: fmt.Sprintf("%s asked %s to help", c.Actor, c.User), At: m.now})
	m.d.Reply = fmt.Sprintf("%s is told of %s now", c.User, m.number())
	if m.in.State == IncidentSnoozed {
		m.d.Reply += ", which stays snoozed"
	}
}

// answers lets a responder say "I am on it" by acknowledging what somebody else has acknowledged already.
func (m *machine) answers(user string) bool {
	i := slices.IndexFunc(m.in.Notifications, func(n Notification) bool {
		return n.Tier == responderTier && n.Target == Target{TargetUser, user}
	})
	if i < 0 {
		return false
	}
	m.in.Notifications = slices.Delete(m.in.Notifications, i, i+1)
	m.note(EntryResponder, user, "is on it too")
	m.replyAll(Reply{What: string(EntryResponder), Text: user + " is on it too", At: m.now})
	m.dropAsksTo(user, user+" answered before it was sent")
	m.visible = true
	return true
}

// dropAsksTo takes back what asks one user and was never attempted.
func (m *machine) dropAsksTo(user, reason string) {
	for _, d := range m.in.Deliveries {
		if d.User == user && d.State == DeliveryQueued && d.Attempts == 0 && d.Kind != KindMessage && asks(d) {
			m.d.Drop = append(m.d.Drop, Drop{Key: d.Key, Reason: reason})
			m.note(EntryDropped, "", fmt.Sprintf("not sent to %s: %s", d.Target, reason))
		}
	}
}

// mergeInto ends this incident in favour of another, which takes its alerts, and those of its group that come while
// it is open. That the other is open, the caller has seen; if it ends meanwhile, the alerts open an incident anew.
func (m *machine) mergeInto(c Command) {
	switch {
	case c.Into == m.in.Number:
		m.refuse(m.number() + " cannot be merged into itself")
		return
	case m.in.MergedInto != 0 && m.in.MergedInto == c.Into:
		m.d.Reply = fmt.Sprintf("%s is already merged into #%d", m.number(), c.Into)
		return
	case m.ended():
		return
	case c.Into <= 0:
		m.refuse("merge into which incident?")
		return
	}
	reason := fmt.Sprintf("%s merged #%d into #%d", c.Actor, m.in.Number, c.Into)
	n := 0
	for i := range m.in.Alerts {
		if m.in.Alerts[i].State == StateFiring {
			m.handOver(i, c.Into, reason, fmt.Sprintf("goes on in #%d", c.Into))
			n++
		}
	}
	m.in.MergedInto = c.Into
	m.note(EntryMerged, c.Actor, fmt.Sprintf("merged into #%d%s, with %s", c.Into, via(c.Via), count(n, "firing alert", "firing alerts")))
	m.resolve(c.Actor, fmt.Sprintf("merged into #%d", c.Into))
	m.d.Reply = fmt.Sprintf("%s is merged into #%d", m.number(), c.Into)
}

// handOver hands a firing alert back, to be placed anew, and ends it here. into may be 0.
func (m *machine) handOver(i int, into int64, reason, ends string) {
	a := &m.in.Alerts[i]
	for _, source := range a.Sources {
		m.d.Requeue = append(m.d.Requeue, AlertChange{
			At: m.now, Source: source, Status: ChangeFiring, Labels: a.Labels, Annotations: a.Annotations, Value: a.Value,
			StartsAt: a.StartsAt, GeneratorURL: a.GeneratorURL, Escalation: m.in.Escalation, GroupBy: groupNames(m.in),
			LinkedFrom: m.in.Number, Into: into, Why: m.in.Why, Reason: reason, Evidence: a.Evidence,
		})
	}
	last := m.d.Requeue[len(m.d.Requeue)-1]
	if !a.MutedSince.IsZero() {
		muted := last
		muted.Status, muted.At, muted.Reason = ChangeMuted, a.MutedSince, a.MutedWhy
		m.d.Requeue = append(m.d.Requeue, muted)
	}
	if !a.UnknownSince.IsZero() {
		unknown := last
		unknown.Status, unknown.At, unknown.Reason = ChangeUnknown, a.UnknownSince, "its query still fails"
		m.d.Requeue = append(m.d.Requeue, unknown)
	}
	a.State, a.ResolvedAt, a.UnknownSince, a.Reason = StateResolved, m.now, time.Time{}, reason+": "+ends
	a.MutedSince, a.MutedWhy = time.Time{}, ""
	m.touch(i)
}

// takesMerged notes incidents whose alerts came here by a merge.
func (m *machine) takesMerged(changes []AlertChange) {
	for _, c := range changes {
		from := c.LinkedFrom
		if c.Into != m.in.Number || from == 0 || from == m.in.Number || slices.Contains(m.in.Merged, from) {
			continue
		}
		m.in.Merged = append(slices.Clone(m.in.Merged), from)
		m.visible = true
		m.note(EntryMerged, "", fmt.Sprintf("#%d was merged into this incident: %s", from, c.Reason))
	}
}

// reopen lets an incident that its alerts resolved go on, because one of them fires again soon.
func (m *machine) reopen(changes []AlertChange) {
	m.in.Reopens++
	at := m.in.ResolvedAt
	m.in.State, m.in.ResolvedAt, m.in.ResolvedBy = IncidentTriggered, time.Time{}, ""
	m.in.AcknowledgedAt, m.in.AcknowledgedBy, m.in.AcknowledgedVia, m.in.AcknowledgedFrom = time.Time{}, "", "", ""
	m.in.Anchor, m.in.Repeats = m.now, 0
	m.beginRound()
	m.visible = true
	text := fmt.Sprintf("reopened: an alert fires %s after all were resolved", human(m.now.Sub(at)))
	m.note(EntryReopened, "", text)
	m.replyAll(Reply{What: string(EntryReopened), Text: capital(text), Broadcast: true, At: m.now})
}
