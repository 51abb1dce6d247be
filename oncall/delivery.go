package oncall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// DeliveryKind says what a delivery carries.
type DeliveryKind string

// The kinds. The first four are pages (and the payload's type after "incident."), the others are Slack's.
const (
	KindTriggered    DeliveryKind = "triggered"    // asks for attention, any tier or round
	KindUpdated      DeliveryKind = "updated"      // something new about an incident the far end was paged for
	KindAcknowledged DeliveryKind = "acknowledged" // somebody has it
	KindResolved     DeliveryKind = "resolved"     // over

	KindMessage DeliveryKind = "message" // the incident's one message in a channel or DM, rendered when sent
	KindEdit    DeliveryKind = "edit"    // redraws that message with the latest state; one waits at a time
	KindReply   DeliveryKind = "reply"   // a reply in its thread; Body is a Reply, frozen
)

// Asks reports whether the kind asks for somebody's attention, so that it is pointless once the incident
// has been acknowledged.
func (k DeliveryKind) Asks() bool { return k == KindTriggered }

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states. Queued covers waiting for a retry; the last four are final.
const (
	DeliveryQueued    DeliveryState = "queued"
	DeliverySending   DeliveryState = "sending"   // claimed by a process, attempt counted
	DeliveryAccepted  DeliveryState = "accepted"  // taken by a far end that says later whether it arrived
	DeliveryDelivered DeliveryState = "delivered" // confirmed, or accepted by a far end that confirms nothing
	DeliveryRefused   DeliveryState = "refused"   // the far end said no for good
	DeliveryDropped   DeliveryState = "dropped"   // no longer wanted
)

// Confirmation is what is known from a far end that says later whether a delivery arrived.
type Confirmation string

// The confirmations. "" is for far ends that say all at once.
const (
	ConfirmationWaiting Confirmation = "waiting"   // accepted, and nothing was heard of it yet
	Confirmed           Confirmation = "confirmed" // it arrived at a person
	ConfirmationFailed  Confirmation = "failed"    // it did not: busy, nobody answered, voicemail
)

// ConfirmWithin is how long people are told to wait for a confirmation; afterwards it is shown as one that never came.
// One that comes later counts all the same.
const ConfirmWithin = 15 * time.Minute

// NeverConfirmed reports whether the far end took the delivery and has said nothing of it since.
func (d Delivery) NeverConfirmed(now time.Time) bool {
	return d.State == DeliveryAccepted && now.Sub(d.DoneAt) > ConfirmWithin
}

// Final reports that nothing more will be sent. What was accepted may still turn out to have been delivered or not.
func (s DeliveryState) Final() bool {
	return s == DeliveryAccepted || s == DeliveryDelivered || s == DeliveryRefused || s == DeliveryDropped
}

// Priorities of deliveries: lower goes first.
const (
	PriorityFirst  = 0 // first pages
	PriorityRepeat = 1 // repeats, acknowledgements, resolutions
	PriorityUpdate = 2 // edits, thread replies
)

// Delivery is one message to one endpoint. Key is stable over all attempts and is what the far end sees
// (webhook-id). Per incident and endpoint deliveries are sent one at a time, in the order of Seq.
type Delivery struct {
	Key      string       `json:"key"`
	Incident int64        `json:"incident"`
	Seq      int64        `json:"-"` // order, given by the store
	Endpoint Endpoint     `json:"endpoint"`
	Kind     DeliveryKind `json:"kind"`
	Round    int          `json:"round"`            // from 0
	Tier     int          `json:"tier"`             // from 0
	Target   string       `json:"target,omitempty"` // Target.String()
	User     string       `json:"user,omitempty"`   // who is reached by it, "" for channels and receivers
	Priority int          `json:"priority"`
	Body     []byte       `json:"-"` // frozen when decided: a page's payload, a Reply; nil for message and edit

	State          DeliveryState `json:"state"`
	Attempts       int           `json:"attempts_made"`
	CreatedAt      time.Time     `json:"created_at"`
	NextAt         time.Time     `json:"next_at,omitzero"`          // when it may be sent (again)
	FirstAttemptAt time.Time     `json:"first_attempt_at,omitzero"` // zero: never attempted
	DoneAt         time.Time     `json:"done_at,omitzero"`
	Status         int           `json:"status,omitempty"`   // last HTTP status
	Error          string        `json:"error,omitempty"`    // last failure, without secrets
	Excerpt        string        `json:"excerpt,omitempty"`  // start of the far end's last answer
	Remote         string        `json:"remote,omitempty"`   // the far end's reference: Slack "C024BE91L/1699999999.000100"
	Revision       int64         `json:"revision,omitempty"` // incident revision that was rendered (message, edit)
	Confirmation   Confirmation  `json:"confirmation,omitempty"`
	Bundle         string        `json:"bundle,omitempty"`  // key of the delivery that carries or carried this one, "" for none
	Bundled        int           `json:"bundled,omitempty"` // for how many incidents the one that is sent goes, this one's included; 0: for this one alone

	Drill bool `json:"drill,omitempty"` // of a drill: nothing is wrong; loaded with claims, with the log, and with a delivery by itself

	Arrived      bool      `json:"-"` // what carried it was delivered, and it only waits to be settled; loaded for unfinished deliveries
	EndpointLast time.Time `json:"-"` // when the same endpoint last delivered anything, for any incident; loaded for unfinished deliveries
}

// DeliveryKey derives the stable key of a delivery from what makes it unique. The parts must not contain
// anything random or any time.
func DeliveryKey(incidentKey string, parts ...any) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", incidentKey)
	for _, p := range parts {
		fmt.Fprintf(h, "|%q", fmt.Sprint(p))
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:14])
}

// Outcome says what a far end made of an attempt.
type Outcome string

// The outcomes. Unknown is for requests that may have been acted on: a timeout, a reset.
const (
	OutcomeDelivered Outcome = "delivered"
	OutcomeAccepted  Outcome = "accepted" // taken; whether it arrived is reported later (ConfirmDelivery): not sent again
	OutcomeRetry     Outcome = "retry"    // not accepted now: 5xx, 429, 408, connection refused
	OutcomeUnknown   Outcome = "unknown"  // unconfirmed: timeout or reset after the request was sent; retried too
	OutcomeRefused   Outcome = "refused"  // other 4xx, redirects: never retried
	OutcomeGone      Outcome = "gone"     // 410: refused, and the endpoint is disabled until the next reload
)

// Attempt is the result of one try, with evidence for the timeline.
type Attempt struct {
	At         time.Time     `json:"at"`     // start
	Took       time.Duration `json:"took"`   // nanoseconds
	Number     int           `json:"number"` // from 1
	Outcome    Outcome       `json:"outcome"`
	Status     int           `json:"status,omitempty"`
	Error      string        `json:"error,omitempty"`   // for people; no secrets, no URL with credentials
	Excerpt    string        `json:"excerpt,omitempty"` // start of the answer's body
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	Sent       *Sent         `json:"request,omitempty"` // what was asked, nil where nothing is known of it
	// OwnHold says that RetryAfter is about what this attempt did, not about its endpoint, which takes other things
	// meanwhile: a limit on edits must not hold up the next incident's first message.
	OwnHold  bool   `json:"-"`
	Closed   bool   `json:"closed,omitempty"`   // refused: the endpoint takes nothing at all, whatever is sent
	Mendable bool   `json:"mendable,omitempty"` // not taken for a reason that a person can remove; it is wanted after that
	Remote   string `json:"-"`
	Revision int64  `json:"-"`
}

// Reply is the frozen body of a KindReply delivery: what a thread reply says.
type Reply struct {
	What      string    `json:"what"`                // a TimelineKind: escalated, acknowledged, resolved, …
	Text      string    `json:"text"`                // plain text, unescaped
	Broadcast bool      `json:"broadcast,omitempty"` // also shown in the channel
	At        time.Time `json:"at"`
}
