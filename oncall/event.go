package oncall

import (
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
)

// Event is something that happens to an incident: AlertsChanged, Tick, Command, DeliveryFinished, Noted, Resend or Mended.
type Event interface{ event() }

// AlertsChanged carries changes of alerts that belong to the incident, in order. On an empty incident
// (State "") it opens it; the shell fills Number, Key, Escalation, GroupKey, GroupLabels and Why first.
type AlertsChanged struct{ Changes []AlertChange }

// Tick says that NextAt may have come. One tick runs at most one tier, so that tiers which came due while
// nobody was running go out one after the other.
type Tick struct{}

// CommandKind names what a person wants.
type CommandKind string

// The commands.
const (
	CmdAcknowledge   CommandKind = "acknowledge"
	CmdUnacknowledge CommandKind = "unacknowledge"
	CmdResolve       CommandKind = "resolve"
	CmdEscalate      CommandKind = "escalate"
	CmdSnooze        CommandKind = "snooze"
	CmdAssign        CommandKind = "assign"
	CmdNote          CommandKind = "note"
	CmdAddResponder  CommandKind = "add"
	CmdMerge         CommandKind = "merge"
)

// Command is what a person asked for, from wherever: Slack, the API, a link.
type Command struct {
	Kind  CommandKind
	Actor string // as shown on the timeline: a configured user's name where there is one
	Via   string // "slack", "api", "link"
	// From is the endpoint whose far end reports what a person did there, "" for none: it is not told of it again.
	From Endpoint
	// ByItself says that nobody did it in person: a timer of the far end's.
	ByItself bool
	// At is when it was done, by the clock of the far end that reports it; zero: now.
	At time.Time
	// Delivery is the key of the page that was answered, "" where that is not known. A drill wants to know.
	Delivery string
	Until    time.Time // snooze; zero with UntilClear: ClearWithin from now
	// UntilClear ends a snooze when no firing alert of the incident matches any more.
	UntilClear amlabels.Matchers
	User       string // assign, add
	Into       int64  // merge: the number of the incident that takes the alerts, which the caller has seen open
	Text       string // note
	Seen       *Seen  // escalate: what the presser saw; nil acts on the present
}

// Seen is the round and tier that a button was drawn for. Tier is the index of the tier that was told last.
type Seen struct {
	Round int `json:"round"`
	Tier  int `json:"tier"`
}

// DeliveryFinished reports an attempt of a delivery.
type DeliveryFinished struct {
	Key     string
	Attempt Attempt
	State   DeliveryState // what became of the delivery: queued (will be retried), accepted, delivered, refused
	Edit    Endpoint      // where it is an edit, which incidents are not loaded with: the endpoint whose message it is; "" for others
}

// Noted puts on record what was done elsewhere and concerns the incident, such as a silence of its alerts.
// It changes nothing about who is told when.
type Noted struct {
	Kind  TimelineKind
	Actor string // "" for tocsin itself
	Text  string // a sentence, for the timeline
	Reply string // the sentence for the threads of its messages; "" for none
}

func (Noted) event()            {}
func (AlertsChanged) event()    {}
func (Tick) event()             {}
func (Command) event()          {}
func (DeliveryFinished) event() {}

// Decision is what follows from an event. The store commits all of it in one transaction, in the order of
// the fields, and only then is anything sent.
type Decision struct {
	Changed    bool            // false: nothing is written at all (a refusal, a repeat)
	Incident   Incident        // the new document; its row slices are ignored
	Alerts     []IncidentAlert // added or changed ones only
	Drop       []Drop          // queued deliveries that were never attempted and are pointless now
	Deliveries []Delivery      // new ones, in order; a KindEdit replaces one that waits for the same endpoint
	Timeline   []TimelineEntry // appended, in order
	Requeue    []AlertChange   // handed back to be placed anew (a linked incident)
	Checks     []ContactCheck  // what a drill found out, in place of what was known of the same user and endpoint

	Reply   string // one sentence for who asked (Command)
	Refused bool   // the command was understood and not done; Reply says why
}

// Drop takes back a delivery. The store takes back only one that is queued with no attempt; if the
// delivery was claimed in between, it runs the decision again.
type Drop struct {
	Key    string
	Reason string
}

// Place is the incident that an alert belongs to.
type Place struct {
	Escalation  string
	GroupKey    string
	GroupLabels labels.Labels
	Why         string
	// ReopenWithin is for how long an incident that its alerts resolved goes on there with the next of them.
	ReopenWithin time.Duration
}
