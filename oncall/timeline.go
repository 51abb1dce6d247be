package oncall

import "time"

// TimelineKind names what happened to an incident.
type TimelineKind string

// The kinds of timeline entries.
const (
	EntryTriggered      TimelineKind = "triggered"
	EntryAlertFiring    TimelineKind = "alert_firing"
	EntryAlertResolved  TimelineKind = "alert_resolved"
	EntryAlertUnknown   TimelineKind = "alert_unknown"
	EntryAlertKnown     TimelineKind = "alert_known"
	EntryEscalated      TimelineKind = "escalated"     // a tier was told
	EntryNotified       TimelineKind = "notified"      // a contact rule ran
	EntryAttempt        TimelineKind = "delivery"      // one attempt of one delivery
	EntryNotDelivered   TimelineKind = "not_delivered" // deliver_within passed, a target could not be reached
	EntryDropped        TimelineKind = "delivery_dropped"
	EntryResent         TimelineKind = "delivery_resent" // somebody had a delivery sent again
	EntryAcknowledged   TimelineKind = "acknowledged"
	EntryUnacknowledged TimelineKind = "unacknowledged"
	EntrySnoozed        TimelineKind = "snoozed"
	EntryUnsnoozed      TimelineKind = "unsnoozed"
	EntryAssigned       TimelineKind = "assigned"
	EntryNote           TimelineKind = "note"
	EntryResolved       TimelineKind = "resolved"
	EntrySeverity       TimelineKind = "severity"
	EntryLinked         TimelineKind = "linked"
	EntryExhausted      TimelineKind = "exhausted"   // nobody is left to tell, and why
	EntryPolicy         TimelineKind = "policy"      // the configuration changed something for this incident
	EntryPassedOver     TimelineKind = "passed_over" // a tier was due while its condition did not hold
	EntryUrgency        TimelineKind = "urgency"     // how urgent it is, or now is
	EntryResponder      TimelineKind = "responder"   // somebody was asked to help
	EntryMerged         TimelineKind = "merged"
	EntryReopened       TimelineKind = "reopened"
	EntryAlertMuted     TimelineKind = "alert_muted"
	EntryAlertUnmuted   TimelineKind = "alert_unmuted"
	EntryPaused         TimelineKind = "paused"         // all its alerts are muted
	EntryResumed        TimelineKind = "resumed"        // one of them is not any more
	EntrySilenced       TimelineKind = "silenced"       // somebody silenced its alerts
	EntrySilenceEnding  TimelineKind = "silence_ending" // a silence ends soon, and its alerts still fire
)

// TimelineEntry is one line of an incident's append-only record.
type TimelineEntry struct {
	At       time.Time    `json:"at"`
	Kind     TimelineKind `json:"kind"`
	Actor    string       `json:"actor,omitempty"`    // a user, "ana by link", "" for tocsin itself
	Text     string       `json:"text"`               // a sentence
	Delivery string       `json:"delivery,omitempty"` // key, for delivery entries
	Attempt  *Attempt     `json:"attempt,omitempty"`
}
