package oncall

import (
	"fmt"
	"slices"
	"strings"
)

// deliveryFinished takes in what a far end made of an attempt. A retry alone changes nothing here, and neither does a
// page that was accepted and not confirmed: the bound on waiting is deliver_within, which Tick watches. A confirmation
// that comes after that still counts.
func (m *machine) deliveryFinished(ev DeliveryFinished) {
	if m.in.Drill != nil {
		m.drillHears(ev)
		return
	}
	if ev.Edit != "" {
		m.editFinished(ev)
		return
	}
	switch ev.State {
	case DeliveryDelivered:
		m.deliveryArrived(ev)
		m.chartUnder(ev.Key)
		if d, ok := m.delivery(ev.Key); ok {
			m.arrivedAt(d)
		}
	case DeliveryRefused:
		m.deliveryRefused(ev)
	case DeliveryDropped: // a bundle's, which nobody needs any more
		if d, ok := m.delivery(ev.Key); ok && d.Kind == KindMessage {
			m.forgetMessage(d.Endpoint)
		}
	}
}

// findTry returns the try that waits for the delivery.
func (m *machine) findTry(key string) (*Notification, *Try) {
	for i := range m.in.Notifications {
		n := &m.in.Notifications[i]
		for j := range n.Tries {
			if slices.Contains(n.Tries[j].Keys, key) {
				return n, &n.Tries[j]
			}
		}
	}
	return nil, nil
}

func (m *machine) deliveryArrived(ev DeliveryFinished) {
	n, t := m.findTry(ev.Key)
	if t == nil {
		return
	}
	t.Keys = remove(t.Keys, ev.Key)
	t.Reached, t.Failed = true, false
	n.Failed = false
	m.d.Changed = true
	// Messages say who was reached; that a channel's own message arrived, its readers see without an edit.
	if d, ok := m.delivery(ev.Key); !ok || d.Endpoint.Kind() != "slack" || d.User != "" {
		m.visible = true
	}
	m.proceed()
}

func (m *machine) delivery(key string) (Delivery, bool) {
	i := slices.IndexFunc(m.in.Deliveries, func(d Delivery) bool { return d.Key == key })
	if i < 0 {
		return Delivery{}, false
	}
	return m.in.Deliveries[i], true
}

func (m *machine) deliveryRefused(ev DeliveryFinished) {
	d, ok := m.delivery(ev.Key)
	if ok && d.Kind == KindMessage {
		m.forgetMessage(d.Endpoint)
	}
	owed := ok && owes(d, ev.Attempt)
	if owed {
		m.owe(d, ev.Attempt)
	}
	n, t := m.findTry(ev.Key)
	if t == nil {
		if ok && d.Kind == KindReply && !owed && m.in.Open() {
			m.visible = true // its thread is gone: the edit finds out whether the message is, and puts another in its place
		}
		return
	}
	t.Keys = remove(t.Keys, ev.Key)
	m.d.Changed = true
	if ok && d.Kind == KindReply && !owed { // its thread is gone, perhaps deleted: that is no reason to ask nobody
		t.Keys = append(t.Keys, m.askAnew(d))
		return
	}
	if len(t.Keys) == 0 && !t.Reached && !t.Failed {
		m.tryFailed(n, t, refusalText(ev.Attempt))
	}
	m.proceed()
}

// forgetMessage remembers that an endpoint has no message that could be edited or answered.
func (m *machine) forgetMessage(e Endpoint) {
	for i := range m.in.Told {
		if m.in.Told[i].Endpoint == e && !m.in.Told[i].Failed {
			m.in.Told[i].Failed = true
			m.d.Changed = true
		}
	}
}

func refusalText(a Attempt) string {
	switch {
	case strings.HasPrefix(a.Error, "refused"): // senders say it where the far end gave a reason
		return a.Error
	case a.Error != "":
		return "refused: " + a.Error
	case a.Status != 0:
		return fmt.Sprintf("refused with HTTP %d", a.Status)
	}
	return "refused"
}

// tryFailed makes the target's next contact rule run now, if there is one that has not run yet.
func (m *machine) tryFailed(n *Notification, t *Try, why string) {
	t.Failed = true
	what := n.Target.String()
	if n.Target.Kind == TargetUser {
		what += fmt.Sprintf(", contact %d", t.Contact+1)
	}
	if cs := m.contacts(n.Target); nextContact(n, cs) < len(cs) && n.NextNow == "" && &n.Tries[len(n.Tries)-1] == t {
		n.NextNow = fmt.Sprintf("contact %d failed", t.Contact+1)
		why += "; the next contact is tried now"
	}
	m.note(EntryNotDelivered, "", what+": "+why)
	m.visible = true
}

func remove(s []string, v string) []string {
	return slices.DeleteFunc(s, func(x string) bool { return x == v })
}
