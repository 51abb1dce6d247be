package oncall

import (
	"fmt"
	"time"
)

// runContacts marks overdue tries as failed and runs the contact rules that are due.
func (m *machine) runContacts() {
	for i := range m.in.Notifications {
		n := &m.in.Notifications[i]
		m.takeTurn(i)
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
		if ok && d.Arrived {
			return time.Time{}, false
		}
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
	if n.Behind {
		return time.Time{}, false
	}
	cs := m.contacts(n.Target)
	next := nextContact(n, cs)
	if next >= len(cs) {
		return time.Time{}, false
	}
	if n.NextNow != "" {
		return m.now, true
	}
	return m.begins(n).Add(cs[next].After), true
}

// nextContact returns the index of the first contact rule that has not run, len(cs) where all have. A rule is known
// by what it names, so that an edit of the list neither skips one nor runs one twice; one that is listed twice may
// run twice.
func nextContact(n *Notification, cs []Contact) int {
	for i, c := range cs {
		name, listed, ran := contactName(c), 0, 0
		for _, before := range cs[:i+1] {
			if contactName(before) == name {
				listed++
			}
		}
		for _, t := range n.Tries {
			if t.by(cs) == name {
				ran++
			}
		}
		if ran < listed {
			return i
		}
	}
	return len(cs)
}

// by names the contact rule that ran; one of an older version knows only its place in the list.
func (t Try) by(cs []Contact) string {
	if t.By == "" && t.Contact < len(cs) {
		return contactName(cs[t.Contact])
	}
	return t.By
}

// checkFailed settles whether the target could not be reached at all: no contact is left, and none of
// those that ran arrived or still may.
func (m *machine) checkFailed(n *Notification) {
	if cs := m.contacts(n.Target); n.Failed || n.Behind || nextContact(n, cs) < len(cs) {
		return
	}
	for _, t := range n.Tries {
		if !t.Failed {
			return
		}
	}
	n.Failed = true
	m.d.Changed = true
	switch {
	case len(n.Tries) > 0:
	case n.Target.Kind == TargetSchedule:
		_, why := m.p.OnCall(n.Target.Name, m.now)
		m.note(EntryNotDelivered, "", n.Target.String()+": nobody is on call ("+why+")")
	default:
		m.note(EntryNotDelivered, "", n.Target.String()+": there is nobody and nothing to send to")
	}
}
