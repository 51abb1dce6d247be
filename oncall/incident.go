package oncall

import (
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
)

// IncidentState is where an incident stands.
type IncidentState string

// The states of an incident.
const (
	IncidentTriggered    IncidentState = "triggered"
	IncidentAcknowledged IncidentState = "acknowledged"
	IncidentSnoozed      IncidentState = "snoozed"
	IncidentResolved     IncidentState = "resolved"
)

// Incident is what people work on. The store keeps the exported fields up to the rule as one document and
// the slices below it as rows of their own; it loads all of them before it calls a decision.
type Incident struct {
	Number      int64         `json:"number"`
	Key         string        `json:"key"`      // globally unique, constant: dedup_key and alias at far ends. The store gives it with Number.
	Revision    int64         `json:"revision"` // grows with each decision that changes what people see
	Escalation  string        `json:"escalation"`
	Policy      Escalation    `json:"policy"`    // as last seen; still followed when it is gone from the configuration
	GroupKey    string        `json:"group_key"` // canonical text of GroupLabels; unique among open incidents of an escalation
	GroupLabels labels.Labels `json:"group_labels"`
	Why         string        `json:"why"` // why it went to this escalation
	State       IncidentState `json:"state"`
	Title       string        `json:"title"`
	Severity    string        `json:"severity"` // worst ever of its alerts, "" if none has one

	TriggeredAt    time.Time `json:"triggered_at"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	// AcknowledgedVia is the way in by which whoever has it said so last, "" where an earlier version took it;
	// AcknowledgedFrom the endpoint whose far end reported that, if one did.
	AcknowledgedVia  string    `json:"acknowledged_via,omitempty"`
	AcknowledgedFrom Endpoint  `json:"acknowledged_from,omitempty"`
	SnoozedUntil     time.Time `json:"snoozed_until,omitzero"`
	// UntilClear ends the snooze earlier: when no firing alert matches any more. nil: only SnoozedUntil does.
	UntilClear  amlabels.Matchers `json:"until_clear,omitempty"`
	PausedSince time.Time         `json:"paused_since,omitzero"` // since when all its firing alerts are muted; zero: it goes on
	ResolvedAt  time.Time         `json:"resolved_at,omitzero"`
	ResolvedBy  string            `json:"resolved_by,omitempty"` // "" when its alerts resolved it
	Assignee    string            `json:"assignee,omitempty"`
	LinkedFrom  int64             `json:"linked_from,omitempty"`
	MergedInto  int64             `json:"merged_into,omitempty"` // where its alerts went when a person merged it
	Merged      []int64           `json:"merged,omitempty"`      // the incidents that were merged into this one
	Responders  []Responder       `json:"responders,omitempty"`  // who was asked to help
	Urgency     string            `json:"urgency,omitempty"`     // UrgencyLow, or "" for high
	Raised      bool              `json:"raised,omitempty"`      // the urgency was low and is not any more: it stays high
	Reopens     int               `json:"reopens,omitempty"`     // how often it went on after its alerts had resolved it; part of keys

	Round         int            `json:"round"`                   // from 0; grows with each repeat and each un-acknowledgement; part of delivery keys
	RoundAt       time.Time      `json:"round_at"`                // the tiers' after counts from here
	Anchor        time.Time      `json:"anchor"`                  // the repeats count from here: the trigger, or the last un-acknowledgement
	Repeats       int            `json:"repeats"`                 // repeats begun since Anchor
	NextTier      int            `json:"next_tier"`               // index of the tier to be told next; len(Tiers): all were told in this round
	TierNow       string         `json:"tier_now,omitempty"`      // why the next tier is to be told at once, not at its after
	Exhausted     bool           `json:"exhausted,omitempty"`     // nobody is left to tell, and the timeline says so
	Turns         int            `json:"turns,omitempty"`         // tiers told in this round so far
	Passed        []int          `json:"passed,omitempty"`        // tiers of this round that were due while their condition did not hold
	ToldBefore    []int          `json:"told_before,omitempty"`   // tiers still ahead that were told in this round, before an edit moved them
	ToldTiers     []string       `json:"told_tiers,omitempty"`    // tiers told in this round, by what they tell: finds them again after an edit
	Missing       []string       `json:"missing,omitempty"`       // what the configuration does not hold any more of what this incident names, as its timeline says
	Notifications []Notification `json:"notifications,omitempty"` // of the current round
	Acks          int            `json:"acks"`                    // acknowledgements so far; part of the keys of what tells them
	Told          []Told         `json:"told,omitempty"`          // every endpoint that was asked for attention, once
	Seen          []string       `json:"seen,omitempty"`          // alertnames that joined, in order: a new one is worth an update
	Drill         *Drill         `json:"drill,omitempty"`         // nil: a real incident

	NextAt     time.Time `json:"next_at,omitzero"`      // when Tick has something to do; zero: never
	Next       string    `json:"next,omitempty"`        // what people are to expect next, in words; "" for nothing
	NextStepAt time.Time `json:"next_step_at,omitzero"` // when Next happens; later than NextAt where only a delivery is being watched

	// The rule: rows of their own.

	Alerts     []IncidentAlert `json:"-"` // in order of joining
	Deliveries []Delivery      `json:"-"` // in order of Seq, without edits; Body is not loaded
	Timeline   []TimelineEntry `json:"-"` // the most recent 50 for a decision, all of them for a reader
}

// Open reports that the incident still takes alerts.
func (i *Incident) Open() bool { return i.State != IncidentResolved && i.State != "" }

// Severity order and titles are derived in title.go.

// IncidentAlert is an alert as an incident knows it: a label set with the sources that report it.
type IncidentAlert struct {
	Fingerprint  Fingerprint       `json:"fingerprint"`
	Labels       labels.Labels     `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	State        AlertState        `json:"state"`   // firing or resolved
	Sources      []string          `json:"sources"` // those that report it firing; it resolves when all have
	Value        string            `json:"value,omitempty"`
	StartsAt     time.Time         `json:"starts_at"`
	ResolvedAt   time.Time         `json:"resolved_at,omitzero"`
	UnknownSince time.Time         `json:"unknown_since,omitzero"`
	MutedSince   time.Time         `json:"muted_since,omitzero"` // silenced, inhibited or outside its route's times; zero: not muted
	MutedWhy     string            `json:"muted_why,omitempty"`  // a sentence, while MutedSince is set
	GeneratorURL string            `json:"generator_url,omitempty"`
	Reason       string            `json:"reason,omitempty"` // of the last change
	Evidence     Evidence          `json:"evidence"`
}

// Notification is one target being told in one tier of one round: for a user, a walk along the contact
// rules until somebody acknowledges.
type Notification struct {
	Round   int       `json:"round"`
	Tier    int       `json:"tier"`             // -1: a responder
	Turn    int       `json:"turn,omitempty"`   // the how-manieth tier of the round that was told, from 0; part of keys
	Via     string    `json:"via,omitempty"`    // how a user came to be told: "schedule primary until Mon 2 Jan 09:00 CET"
	Behind  bool      `json:"behind,omitempty"` // in a round robin: told only if the one before it could not be reached
	Target  Target    `json:"target"`
	At      time.Time `json:"at"`
	Tries   []Try     `json:"tries"`
	NextNow string    `json:"next_now,omitempty"` // why the next contact rule is to run at once
	Failed  bool      `json:"failed,omitempty"`   // every contact failed, or there was none
}

// Try is one contact rule that ran: one delivery to each endpoint behind it.
type Try struct {
	Contact int       `json:"contact"`
	By      string    `json:"by,omitempty"` // the contact rule, by what it names: survives an edit of the user's list
	At      time.Time `json:"at"`
	Keys    []string  `json:"keys"`              // deliveries still without an outcome
	Failed  bool      `json:"failed,omitempty"`  // refused, or unconfirmed for deliver_within; a late success clears it
	Reached bool      `json:"reached,omitempty"` // at least one delivery arrived
}

// Told is an endpoint that was asked for attention.
type Told struct {
	Endpoint Endpoint `json:"endpoint"`
	Target   string   `json:"target"`
	User     string   `json:"user,omitempty"`
	Failed   bool     `json:"failed,omitempty"` // Slack: the message was refused, so there is nothing to edit

	// Slack only: what the endpoint is owed, because it takes nothing until a person mends that (owed.go).
	Owed      time.Time `json:"owed,omitzero"`        // since when it has missed things; zero: nothing is owed
	OwedTill  time.Time `json:"owed_till,omitzero"`   // up to when the reply about what was missed goes that was sent last
	OwedAt    time.Time `json:"owed_at,omitzero"`     // when it is tried again
	OwedTries int       `json:"owed_tries,omitempty"` // refusals since
	OwedWhy   string    `json:"owed_why,omitempty"`   // the last of them, for people
	EditWaits bool      `json:"edit_waits,omitempty"` // an edit is tried again and again until the endpoint takes it; nothing else goes before it
	MadeUp    int       `json:"made_up,omitempty"`    // deliveries that made up for something; part of keys
}

// Responder is somebody who was asked to help with an incident, beside its escalation.
type Responder struct {
	User  string    `json:"user"`
	By    string    `json:"by"` // who asked for them
	At    time.Time `json:"at"`
	Round int       `json:"round"`
}
