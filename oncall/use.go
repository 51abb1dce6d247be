package oncall

import "time"

// The types in this file are the arguments and results of the store's use cases. They live here because
// the store and its consumers know oncall, and not each other.

// Write says under which right a use case writes.
type Write struct {
	Now     time.Time
	Lease   *Lease // checked in the transaction; nil for what a person asked for, which needs no shard
	Request string // identity of a signed request that must act only once, kept for 24 h; "" for none
	Urgent  bool   // acknowledgements and first pages: goes before bulk in a shared commit
}

// ErrRequestSeen is returned by a write whose Request was committed before; nothing was written.
var ErrRequestSeen = &Error{Code: CodeConflict, Message: "this request was handled before"}

// Claim is a delivery that this process must now send, and nobody else will until its lease is lost.
type Claim struct {
	Delivery Delivery // with Body; its attempt is already counted
	Thread   string   // Remote of the delivered KindMessage of the same incident and endpoint, "" if there is none
	Shown    int64    // highest incident revision shown there
	Lane     string   // the target for which what asks meanwhile gathers (Delivery.Lane), "" for one that goes by itself
	Bundle   *Bundle  // what it carries; nil: nothing but itself
	Posted   string   // carrier of the bundle whose message Thread is, "" where the message is the incident's own
}

// IncidentFilter selects incidents for a list. The zero value selects all, newest first.
type IncidentFilter struct {
	States []IncidentState // empty: all
	Before int64           // only numbers below this one; 0: no bound
	Limit  int             // 0: 100
	Drills bool            // drills alone; false: no drills
}

// GroupDeliveryFilter selects notifications of groups for a list. The zero value selects all, newest first.
type GroupDeliveryFilter struct {
	Receiver string // "": of any
	GroupKey string // "": of any
	Before   int64  // only a Seq below this one; 0: no bound
	Limit    int    // 0: 100
}

// How long what has ended is kept, where that is not the user's to say.
const (
	GroupDeliveriesKept = 7 * 24 * time.Hour
	GroupDeliveriesMost = 500_000         // so that a storm does not fill the disk
	SilencesKept        = 120 * time.Hour // Alertmanager's data.retention
)
