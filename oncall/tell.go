package oncall

import (
	"encoding/json"
	"fmt"
	"slices"
)

// runContact runs the notification's next contact rule: one delivery to each endpoint behind it.
func (m *machine) runContact(n *Notification) {
	cs := m.contacts(n.Target)
	i := nextContact(n, cs)
	c := cs[i]
	n.NextNow = ""
	t := Try{Contact: i, By: contactName(c), At: m.now}
	user := ""
	if n.Target.Kind == TargetUser {
		user = n.Target.Name
	}
	why := "nothing is configured behind it"
	for _, e := range m.endpoints(c, user) {
		if m.shut(e) {
			why = "it takes nothing at present" + because(m.in.Told[m.toldAt(e)].OwedWhy)
			continue // it hears of it later, in one reply (owed.go)
		}
		t.Keys = append(t.Keys, m.ask(e, n, user))
	}
	n.Tries = append(n.Tries, t)
	if len(t.Keys) == 0 {
		m.tryFailed(n, &n.Tries[len(n.Tries)-1], why)
		return
	}
	if user != "" {
		m.note(EntryNotified, "", fmt.Sprintf("user %s, contact %d: %s%s", user, i+1, contactName(c), via(n.Via)))
	}
	m.visible = true
}

func contactName(c Contact) string {
	switch {
	case c.Receiver != "":
		return "receiver " + c.Receiver
	case c.Slack == "dm":
		return "Slack direct message"
	}
	return "Slack " + c.Slack
}

func (m *machine) endpoints(c Contact, user string) []Endpoint {
	switch {
	case c.Receiver != "":
		return m.p.Receivers[c.Receiver].all()
	case c.Slack == "dm":
		if id := m.p.Users[user].Slack; id != "" {
			return []Endpoint{SlackEndpoint(id)}
		}
		return nil
	case c.Slack != "":
		return []Endpoint{SlackEndpoint(c.Slack)}
	}
	return nil
}

// ask makes the delivery that asks for attention at one endpoint, and returns its key.
func (m *machine) ask(e Endpoint, n *Notification, user string) string {
	turn := n.Turn
	if n.Tier == responderTier {
		turn = responderTier
	}
	d := Delivery{
		Key:      DeliveryKey(m.in.Key, "ask", n.Round, turn, n.Target.String(), len(n.Tries), e),
		Endpoint: e, Kind: KindTriggered, Round: n.Round, Tier: n.Tier, Target: n.Target.String(), User: user, Priority: PriorityFirst,
	}
	if n.Tier == responderTier { // what is shown is how far the incident had come
		d.Tier = max(m.in.NextTier-1, 0)
	}
	if n.Via != "" {
		m.vias[d.Key] = n.Via
	}
	if n.Round > 0 && n.Tier != responderTier || m.in.Drill != nil { // a drill goes after what is wrong
		d.Priority = PriorityRepeat
	}
	told := slices.IndexFunc(m.in.Told, func(t Told) bool { return t.Endpoint == e })
	if e.Kind() == "slack" {
		d.Kind = KindMessage
		if told >= 0 && !m.in.Told[told].Failed {
			// The message is there and shows the latest state, but an edit wakes nobody: ask in its thread.
			d.Kind = KindReply
			d.Body = marshalReply(Reply{What: string(EntryTriggered), Text: m.in.Title + " is still not acknowledged", Broadcast: user == "", At: m.now})
		}
	}
	switch {
	case told < 0:
		m.in.Told = append(m.in.Told, Told{Endpoint: e, Target: n.Target.String(), User: user})
	case d.Kind == KindMessage:
		m.in.Told[told].Failed = false
	}
	m.send(d)
	return d.Key
}

// askAnew asks by a message of its own where a reply to the old one was refused, and returns its key.
func (m *machine) askAnew(reply Delivery) string {
	d := Delivery{
		Key:      DeliveryKey(m.in.Key, "ask anew", reply.Key),
		Endpoint: reply.Endpoint, Kind: KindMessage, Round: reply.Round, Tier: reply.Tier, Target: reply.Target, User: reply.User, Priority: reply.Priority,
	}
	m.send(d)
	return d.Key
}

// send adds a delivery to the decision. Pages get their body when the decision is complete.
func (m *machine) send(d Delivery) {
	d.Incident, d.State, d.CreatedAt, d.NextAt = m.in.Number, DeliveryQueued, m.now, m.now
	switch d.Kind {
	case KindTriggered, KindUpdated, KindAcknowledged, KindResolved:
		if d.Endpoint.Integration() {
			break // its sender writes it from the incident as it then is
		}
		m.pages = append(m.pages, len(m.d.Deliveries))
	}
	m.d.Deliveries = append(m.d.Deliveries, d)
}

// live reports whether an endpoint was asked in a way that may have arrived, or still may: at least one
// asking delivery to it was neither dropped nor refused.
func (m *machine) live(e Endpoint) bool {
	for _, d := range m.in.Deliveries {
		if d.Endpoint != e || !asks(d) || d.State == DeliveryDropped || d.State == DeliveryRefused || m.dropped(d.Key) {
			continue
		}
		return true
	}
	return slices.ContainsFunc(m.d.Deliveries, func(d Delivery) bool { return d.Endpoint == e && asks(d) })
}

// asks reports whether a delivery asks for attention: a page, the first message, a reply to a target.
func asks(d Delivery) bool {
	return d.Kind == KindTriggered || d.Kind == KindMessage || d.Kind == KindReply && d.Target != ""
}

func (m *machine) dropped(key string) bool {
	return slices.ContainsFunc(m.d.Drop, func(d Drop) bool { return d.Key == key })
}

// tellPages tells every paged endpoint once, but for the one that reported it. what makes the keys: one per
// acknowledgement, one for the resolution, one per update. Most of Alertmanager's integrations know no
// acknowledgement, and hear of the resolution only with send_resolved.
func (m *machine) tellPages(kind DeliveryKind, what string) {
	for _, t := range m.in.Told {
		if t.Endpoint.Kind() == "slack" || t.Endpoint == m.from || !m.live(t.Endpoint) || !m.takes(t.Endpoint, kind) {
			continue
		}
		m.send(Delivery{
			Key: DeliveryKey(m.in.Key, what, t.Endpoint), Endpoint: t.Endpoint, Kind: kind, Priority: PriorityRepeat,
			Round: m.in.Round, Tier: max(m.in.NextTier-1, 0), Target: t.Target, User: t.User,
		})
	}
}

// takes reports whether an endpoint can be told something that asks for no attention.
func (m *machine) takes(e Endpoint, kind DeliveryKind) bool {
	if !e.Integration() {
		return e.Kind() != "call" // it rings to ask, and for nothing else
	}
	i, ok := m.p.integration(e)
	switch kind {
	case KindAcknowledged:
		return i.Acks
	case KindResolved:
		return !ok || i.SendResolved
	}
	return true
}

// tellSnoozed tells the far ends that escalate by themselves that nobody is to be woken for a while. The others
// were asked once, and are quiet.
func (m *machine) tellSnoozed() {
	for _, t := range m.in.Told {
		if i, _ := m.p.integration(t.Endpoint); !i.Acks || t.Endpoint == m.from || !m.live(t.Endpoint) {
			continue
		}
		m.send(Delivery{
			Key: DeliveryKey(m.in.Key, "snooze", m.in.Revision, t.Endpoint), Endpoint: t.Endpoint, Kind: KindAcknowledged, Priority: PriorityRepeat,
			Round: m.in.Round, Tier: max(m.in.NextTier-1, 0), Target: t.Target, User: t.User,
		})
	}
}

// replyAll adds a reply to the thread of every message.
func (m *machine) replyAll(r Reply) { m.reply(m.in.Told, r) }

// reply adds a reply to the threads of some messages.
func (m *machine) reply(to []Told, r Reply) {
	for _, t := range to {
		if t.Endpoint.Kind() != "slack" || t.Failed || !t.Owed.IsZero() || !m.live(t.Endpoint) {
			continue // what is owed is told in one reply, later
		}
		r := r
		r.Broadcast = r.Broadcast && t.User == "" // a conversation of two has no channel beside the thread
		m.send(Delivery{
			Key:      DeliveryKey(m.in.Key, "reply", m.in.Revision, len(m.in.Timeline), len(m.d.Timeline), r.What, r.Text, t.Endpoint),
			Endpoint: t.Endpoint, Kind: KindReply, Round: m.in.Round, Tier: max(m.in.NextTier-1, 0), Priority: PriorityUpdate, Body: marshalReply(r),
		})
	}
}

func marshalReply(r Reply) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and times always marshal
	}
	return b
}

// redraw asks for an edit of every message that was attempted; one that was not will be drawn from the
// latest state anyway.
func (m *machine) redraw() {
	for _, t := range m.in.Told {
		if t.Endpoint.Kind() != "slack" || t.Failed || !m.attemptedMessage(t.Endpoint) {
			continue
		}
		m.send(Delivery{
			Key:      DeliveryKey(m.in.Key, "edit", m.in.Revision, t.Endpoint),
			Endpoint: t.Endpoint, Kind: KindEdit, Round: m.in.Round, Tier: max(m.in.NextTier-1, 0), Priority: PriorityUpdate,
		})
	}
}

func (m *machine) attemptedMessage(e Endpoint) bool {
	return slices.ContainsFunc(m.in.Deliveries, func(d Delivery) bool {
		return d.Endpoint == e && d.Kind == KindMessage && d.Attempts > 0 && d.State != DeliveryRefused && d.State != DeliveryDropped
	})
}

// dropAsks takes back what asks for attention and was never attempted. An acknowledged incident keeps its
// message to a channel, which informs more than one person; an ended one takes it back too.
func (m *machine) dropAsks(reason string, ended bool) {
	gone := map[Endpoint]bool{}
	for _, d := range m.in.Deliveries {
		if d.State != DeliveryQueued || d.Attempts > 0 {
			continue
		}
		if _, waits := m.findTry(d.Key); waits != nil {
			continue // of a responder, who is to be told all the same
		}
		channelMessage := d.Kind == KindMessage && d.User == ""
		switch {
		case gone[d.Endpoint] && d.Kind == KindReply: // nothing left to reply to
		case asks(d) && (!channelMessage || ended):
		default:
			continue
		}
		m.d.Drop = append(m.d.Drop, Drop{Key: d.Key, Reason: reason})
		if d.Target != "" {
			m.note(EntryDropped, "", fmt.Sprintf("not sent to %s: %s", d.Target, reason))
		}
		if d.Kind == KindMessage {
			gone[d.Endpoint] = true
			m.forgetMessage(d.Endpoint)
		}
	}
}
