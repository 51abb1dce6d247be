package oncall

import (
	"fmt"
	"slices"
)

// Resend asks to send a delivery again that has come to an end, as a new one. It is not told as a page that asks: the
// contacts and tiers go on as if it had not been sent.
type Resend struct {
	Key   string // of the delivery
	Body  []byte // of that delivery, which decisions do not load
	Actor string
	Via   string // "api", "console"
}

func (Resend) event() {}

// resend queues a copy under a key of its own, which the key of the first and a count make.
func (m *machine) resend(r Resend) {
	d, ok := m.delivery(r.Key)
	if !ok {
		m.refuse(fmt.Sprintf("%s has no delivery %s that could be sent again", m.number(), r.Key))
		return
	}
	if why := m.cannotResend(d); why != "" {
		m.refuse(why)
		return
	}
	n := 1
	for ; ; n++ {
		again, sent := m.delivery(resendKey(m.in.Key, r.Key, n))
		if !sent {
			break
		}
		if !again.State.Final() {
			m.refuse(fmt.Sprintf("%s is being sent again already, as %s", r.Key, again.Key))
			return
		}
	}
	again := Delivery{
		Key: resendKey(m.in.Key, r.Key, n), Incident: m.in.Number, Endpoint: d.Endpoint, Kind: d.Kind, Round: d.Round, Tier: d.Tier,
		Target: d.Target, User: d.User, Priority: d.Priority, Body: r.Body, State: DeliveryQueued, CreatedAt: m.now, NextAt: m.now,
	}
	m.d.Deliveries = append(m.d.Deliveries, again)
	if i := slices.IndexFunc(m.in.Told, func(t Told) bool { return t.Endpoint == d.Endpoint }); i >= 0 && d.Kind == KindMessage {
		m.in.Told[i].Failed = false // it will have a message after all
	}
	m.d.Timeline = append(m.d.Timeline, TimelineEntry{At: m.now, Kind: EntryResent, Actor: r.Actor, Delivery: again.Key,
		Text: fmt.Sprintf("sends the %s to %s again, as %s%s", deliveryName(d), d.Endpoint, again.Key, via(r.Via))})
	m.d.Reply = fmt.Sprintf("%s is sent again, as %s", r.Key, again.Key)
}

func resendKey(incident, key string, n int) string { return DeliveryKey(incident, "resend", key, n) }

// cannotResend says why a delivery is not to be sent again, "" where it may be.
func (m *machine) cannotResend(d Delivery) string {
	switch {
	case d.State == DeliveryDropped:
		return fmt.Sprintf("%s was taken back and never sent: %s", d.Key, d.Error)
	case d.State == DeliverySending:
		return fmt.Sprintf("%s is being sent just now", d.Key)
	case !d.State.Final():
		return fmt.Sprintf("%s is still on its way: it is tried again at %s, until it arrives or nobody wants it any more",
			d.Key, d.NextAt.UTC().Format("15:04:05 UTC"))
	case d.Kind == KindMessage && d.State != DeliveryRefused:
		return fmt.Sprintf("the message of %s is there, and shows the latest state with each change", d.Key)
	case asks(d) && d.Kind != KindMessage && m.in.State != IncidentTriggered:
		return fmt.Sprintf("%s asks for attention, and %s is %s: it would wake somebody for nothing (tocsin receiver test tries an endpoint)",
			d.Key, m.number(), m.in.State)
	}
	return ""
}

// deliveryName is what a delivery is, in words.
func deliveryName(d Delivery) string {
	switch d.Kind {
	case KindMessage, KindEdit, KindReply, KindChart:
		return string(d.Kind)
	}
	if d.Endpoint.Integration() {
		return string(d.Kind) + " notification"
	}
	return string(d.Kind) + " page"
}
