// Package notifier brings alerts to people: it runs incidents through the core and sends what the core
// decides. It is a thin shell: every rule about who is told and when is in package oncall.
//
// Two loops work on tables. The incident loop consumes alert changes and runs due timers; the delivery
// loop claims due deliveries, hands them to a Sender, and commits what the far end answered. Each loop owns
// one timer, at the earliest instant the store knows; channels only wake it early. Acts is the way in for
// people: Slack, the API, acknowledge links.
//
// Start reading at Incidents.Run (incidents.go) and Deliveries.Run (deliveries.go). How one kind of message
// is written and sent is in the sub-packages slack and pager.
package notifier

import (
	"context"
	"time"

	"tocsin/oncall"
)

// IncidentStore is what the incident loop and Acts need of the store. All closures are pure and may be run
// more than once; each call is one transaction.
type IncidentStore interface {
	// ApplyAlertChanges consumes up to limit alert changes, oldest first. Changes that fire go to the open
	// incident of their place, or to a new one (State "", with Number, Key, Escalation, GroupKey,
	// GroupLabels, Why and LinkedFrom filled in); all others go to every incident that holds the alert
	// firing. decide is called once per incident, with its changes in order. consumed < limit means that
	// none is left.
	ApplyAlertChanges(ctx context.Context, w oncall.Write, limit int,
		place func(oncall.AlertChange) oncall.Place,
		decide func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error)) (consumed int, err error)
	// UpdateIncident loads one incident with its rows, calls decide, and commits the decision. It returns
	// oncall's not_found for an unknown number, ErrRequestSeen for a repeated Request.
	UpdateIncident(ctx context.Context, w oncall.Write, number int64,
		decide func(oncall.Incident) (oncall.Decision, error)) (oncall.Decision, error)
	// DueIncidents returns the incidents whose NextAt is not after now, longest due first, and the earliest
	// NextAt of all others (zero: none).
	DueIncidents(ctx context.Context, now time.Time, limit int) (due []int64, next time.Time, err error)
	// Incident returns one incident with all its rows.
	Incident(ctx context.Context, number int64) (oncall.Incident, error)
	// Incidents lists incidents with their alerts, without timeline and deliveries, newest first.
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
	// HastenEdits has edits that wait to be tried again at the endpoints that covers names tried at once; n is how many.
	HastenEdits(ctx context.Context, w oncall.Write, covers func(oncall.Endpoint) bool) (n int, err error)
	// ConfirmDelivery commits what a far end reports of a delivery that it accepted: state is delivered or refused. It
	// needs no lease, and a report that says nothing new changes nothing.
	ConfirmDelivery(ctx context.Context, w oncall.Write, key string, evidence oncall.Attempt, state oncall.DeliveryState,
		decide func(oncall.Incident) (oncall.Decision, error)) error
}

// DeliveryStore is what the delivery loop needs of the store.
type DeliveryStore interface {
	// ClaimDeliveries marks due deliveries as sending, counts their attempt, and returns them, by Priority,
	// then NextAt. Of one incident and endpoint only the oldest unfinished delivery is ever claimed, and only
	// when none is being sent; of those that ask one target at one endpoint for the first time, one that
	// carries all others. What an earlier epoch was sending is claimed again.
	ClaimDeliveries(ctx context.Context, w oncall.Write, r oncall.ClaimRequest) (oncall.Claimed, error)
	// SettleBundle commits what became of up to limit members of a carrier that has ended, each on its
	// incident's timeline, and what follows for the incident, as decide says. more: others wait still.
	SettleBundle(ctx context.Context, w oncall.Write, carrier string, limit int,
		decide func(oncall.Incident, oncall.DeliveryFinished) (oncall.Decision, error)) (more bool, err error)
	// Bundle returns what a delivery carries, with its incidents as they stand.
	Bundle(ctx context.Context, carrier string) (oncall.Bundle, error)
	// FinishDelivery commits the result of an attempt: the delivery's new state and next time, a timeline
	// entry for the attempt (none for a delivered or queued edit), and what follows for the incident, as decide says. decide sees the
	// delivery with its new state.
	FinishDelivery(ctx context.Context, w oncall.Write, key string, a oncall.Attempt, state oncall.DeliveryState, nextAt time.Time,
		decide func(oncall.Incident) (oncall.Decision, error)) error
	// Incident returns one incident with all its rows: a message is drawn from the latest state.
	Incident(ctx context.Context, number int64) (oncall.Incident, error)
}

// Message is one thing to send, with all that a sender may need to write it.
type Message struct {
	Delivery oncall.Delivery
	Incident oncall.Incident // for messages, edits and integrations: the latest state; zero for pages and replies, whose Body is frozen
	Thread   string          // the far end's reference of the incident's message there, "" if there is none
	// Bundle is what a message or an edit shows instead of Incident alone, as it stands; what a page goes for, as its
	// Body says; and for a reply to a message of several that message's. nil: nothing but the one incident.
	Bundle *oncall.Bundle
}

// Sender sends messages to one kind of endpoint. Send makes one attempt, honours ctx, and always returns
// an outcome: it never retries by itself and never panics over what a far end answers. Error and Excerpt
// hold no secrets. It is called from many goroutines.
type Sender interface {
	Send(ctx context.Context, m Message) oncall.Attempt
}
