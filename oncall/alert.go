package oncall

import (
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// RuleID identifies an alerting rule over edits of its file, expression and timing: it is made from its
// group's name, its alertname, its static labels (those whose text is no template) and an ordinal among
// rules that agree in all of these. The package rules makes it.
type RuleID string

// AlertState is where one label set of one alerting rule stands.
type AlertState string

// The states. Inactive alerts are not stored; Resolved appears only in transitions.
const (
	StateInactive AlertState = "inactive"
	StatePending  AlertState = "pending"
	StateFiring   AlertState = "firing"
	StateResolved AlertState = "resolved"
)

// Fingerprint is the identity of a label set as stored and shown: 16 hex digits of its hash.
// Two alerts of different rules with equal labels share it.
type Fingerprint string

// FingerprintOf returns the fingerprint of ls.
func FingerprintOf(ls labels.Labels) Fingerprint {
	s := strconv.FormatUint(ls.Hash(), 16)
	for len(s) < 16 {
		s = "0" + s
	}
	return Fingerprint(s)
}

// Alert is one label set of one alerting rule, as the evaluator keeps it. It is a value: copy it freely,
// but do not write to its Annotations.
type Alert struct {
	Rule        RuleID            `json:"rule"`
	Labels      labels.Labels     `json:"labels"` // after templating, with alertname; without external labels
	Annotations map[string]string `json:"annotations"`
	State       AlertState        `json:"state"` // pending or firing
	Value       float64           `json:"-"`     // as of the last transition (stored separately: JSON has no NaN)
	Latest      float64           `json:"-"`     // as of the last evaluation that saw it; not stored
	// Histogram goes with Latest where that sample was a native histogram, whose number is 0; nil where it was none.
	// Not stored: what a transition saw of it is the text in Evidence.
	Histogram *histogram.FloatHistogram `json:"-"`

	ActiveAt        time.Time `json:"active_at"`                  // first breach
	FiredAt         time.Time `json:"fired_at,omitzero"`          // zero while pending
	KeepFiringSince time.Time `json:"keep_firing_since,omitzero"` // first evaluation without a breach while keep_firing_for holds it
	UnknownSince    time.Time `json:"unknown_since,omitzero"`     // first failed query; zero once a query succeeded
	NoDataSince     time.Time `json:"no_data_since,omitzero"`     // since when its series is gone, while no_data keeps it; zero: it is there
	Evidence        Evidence  `json:"evidence"`                   // of the last transition

	External labels.Labels `json:"external,omitzero"` // external labels it fired with: its changes carry them until it resolves
}

// Evidence is what a transition was decided on: enough for a person to repeat the query later.
type Evidence struct {
	Group    string        `json:"group,omitempty"`     // rule group
	File     string        `json:"file,omitempty"`      // rule file
	Expr     string        `json:"expr,omitempty"`      // expression as asked
	RuleHash string        `json:"rule_hash,omitempty"` // hash of the whole rule at that moment
	Backend  string        `json:"backend,omitempty"`   // which Prometheus was asked
	At       time.Time     `json:"at,omitzero"`         // evaluation timestamp given to the query
	Metric   labels.Labels `json:"metric"`              // the sample's labels as answered
	Value    string        `json:"value,omitempty"`     // the sample's value, formatted as Prometheus does ("NaN", "+Inf" included)
	For      time.Duration `json:"for,omitempty"`       // the rule's for at that moment, nanoseconds
}

// Transition is one step of one alert, with why. Transitions are appended to the record and never changed.
type Transition struct {
	Rule        RuleID        `json:"rule"`
	Fingerprint Fingerprint   `json:"fingerprint"`
	Labels      labels.Labels `json:"labels"`
	At          time.Time     `json:"at"`
	From        AlertState    `json:"from"`
	To          AlertState    `json:"to"`
	Reason      string        `json:"reason"` // a sentence: "above the threshold for 2m", "rule removed from rules.yml"
	Evidence    Evidence      `json:"evidence"`
}

// ChangeStatus says what an AlertChange reports.
type ChangeStatus string

// The statuses of a change.
const (
	ChangeFiring   ChangeStatus = "firing"
	ChangeResolved ChangeStatus = "resolved"
	ChangeUnknown  ChangeStatus = "unknown" // still firing as far as known, but its query fails
	ChangeKnown    ChangeStatus = "known"   // its query works again; still firing
	ChangeMuted    ChangeStatus = "muted"   // Source reports it firing, but silenced or inhibited: nobody is to be told; a ChangeFiring ends it
)

// AlertChange hands an alert from a source (our evaluator; later, a pushing Prometheus) to the incidents.
// It is a row of a table: written in the transaction of the transition, consumed in the transaction of the
// incident that it changes. Downstream an alert is its label set, whichever sources report it.
type AlertChange struct {
	Seq          int64             `json:"-"`      // order of arrival, given by the store
	At           time.Time         `json:"at"`     // when it was decided
	Source       string            `json:"source"` // who reports it: "rule:" + RuleID
	Status       ChangeStatus      `json:"status"`
	Labels       labels.Labels     `json:"labels"` // with external labels
	Annotations  map[string]string `json:"annotations,omitempty"`
	Value        string            `json:"value,omitempty"` // formatted as Prometheus does
	StartsAt     time.Time         `json:"starts_at"`       // when it fired
	GeneratorURL string            `json:"generator_url,omitempty"`
	Escalation   string            `json:"escalation,omitempty"`  // named by the rule; "" leaves it to the routes
	GroupBy      []string          `json:"group_by,omitempty"`    // overrides the escalation's group_by (built-in alerts)
	LinkedFrom   int64             `json:"linked_from,omitempty"` // incident that was closed by hand, or merged, while this fired
	Into         int64             `json:"into,omitempty"`        // goes to this incident while that is open, whatever its place
	Why          string            `json:"why,omitempty"`         // why it goes to Escalation, where a route said so
	Reason       string            `json:"reason"`
	Evidence     Evidence          `json:"evidence"`
}

// RuleHealth is what is known of a rule's queries; it is kept so that a restart does not restart the
// clock of unknown_after.
type RuleHealth struct {
	Rule         RuleID    `json:"rule"`
	FailingSince time.Time `json:"failing_since,omitzero"` // zero: healthy
	LastError    string    `json:"last_error,omitempty"`
}

// Evaluation is everything that one evaluation decided, committed in one transaction.
type Evaluation struct {
	At          time.Time
	Upserts     []Alert       // new state of changed alerts
	Deletes     []AlertKey    // alerts that became inactive
	Transitions []Transition  // appended to the record
	Changes     []AlertChange // handed to the incidents, in this order
	Health      []RuleHealth  // changed health; a zero FailingSince clears it
}

// Empty reports that there is nothing to commit: the common, quiet case.
func (e Evaluation) Empty() bool {
	return len(e.Upserts) == 0 && len(e.Deletes) == 0 && len(e.Transitions) == 0 && len(e.Changes) == 0 && len(e.Health) == 0
}

// Append adds what o decided, in order, to be committed together.
func (e *Evaluation) Append(o Evaluation) {
	e.Upserts = append(e.Upserts, o.Upserts...)
	e.Deletes = append(e.Deletes, o.Deletes...)
	e.Transitions = append(e.Transitions, o.Transitions...)
	e.Changes = append(e.Changes, o.Changes...)
	e.Health = append(e.Health, o.Health...)
}

// AlertKey names one stored alert.
type AlertKey struct {
	Rule        RuleID
	Fingerprint Fingerprint
}

// EvaluatorState is what the evaluator keeps in memory, as the store has it.
type EvaluatorState struct {
	Alerts  []Alert
	Health  []RuleHealth
	AliveAt time.Time // when a process last held the shard before this one; zero: never. Pending time survives a gap of up to 1 h.
}

// Lease is the right to work on a shard. Every transaction that a loop writes checks it.
type Lease struct {
	Shard string
	Owner string
	Epoch int64 // grows with each change of owner, and with each start
}
