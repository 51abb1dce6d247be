package oncall

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// ActiveAlert is an alert downstream of its sources: a label set, who reports it, and what was made of it.
// It is immutable once others can see it: the dispatcher replaces it whole. Instants are microseconds since
// 1970 (0: none), because there may be a hundred thousand of them in memory.
type ActiveAlert struct {
	Fingerprint  uint64        // model.LabelSet's, as Alertmanager shows it
	Labels       labels.Labels // as received
	Annotations  labels.Labels
	GeneratorURL string
	StartsAt     int64
	EndsAt       int64 // of what was posted; 0: nobody posted it
	UpdatedAt    int64
	ReceivedAt   int64 // first seen since it last was gone
	Timeout      bool

	Rules     []AlertChange  // the last change of each rule of ours that reports it firing
	Incidents []IncidentTold // the escalations that were told of it
	Seq       int64          // of the last Received that it contains: replaying that or an older one changes nothing
}

// IncidentTold says what an escalation's incident was last told of an alert.
type IncidentTold struct {
	Escalation string `json:"escalation"`
	Muted      bool   `json:"muted,omitempty"`
}

// Firing reports whether somebody reports the alert firing at now.
func (a *ActiveAlert) Firing(now time.Time) bool {
	return len(a.Rules) > 0 || a.EndsAt > now.UnixMicro()
}

// GroupRecord is what is remembered of a group of alerts under a route once it was flushed: its timer and
// what each integration was last told. A group without a record has not been flushed yet.
type GroupRecord struct {
	Key      string              `json:"key"` // Alertmanager's group key: Route.Key + ":" + the labels
	Route    string              `json:"route"`
	Labels   labels.Labels       `json:"labels"`
	Anchor   time.Time           `json:"anchor"` // the first flush; later ones are at Anchor + n·group_interval
	Flushed  time.Time           `json:"flushed"`
	Notified map[Endpoint]Notice `json:"notified,omitempty"`
	// Muted are the names of the time intervals that muted the last flush.
	Muted []string `json:"muted,omitempty"`
}

// Notice is what an integration was last told of a group: Alertmanager's notification log entry.
type Notice struct {
	At       time.Time `json:"at"`
	Firing   []uint64  `json:"firing,omitempty"` // fingerprints, sorted
	Resolved []uint64  `json:"resolved,omitempty"`
	// Told are the alerts beyond Firing that it was, or may have been, told fire and of which nobody has said
	// yet that they resolved: muted when later notifications went out, or in one that was never confirmed.
	Told []uint64 `json:"told,omitempty"`
	// Remote is what the far end gave to refer to the message later (Slack's thread), as a JSON object of strings.
	Remote string `json:"remote,omitempty"`
}

// GroupDelivery is one notification of a group to one integration. Its alerts are frozen when it is decided;
// it is retried until delivered, refused, or overtaken by the next flush of its group.
type GroupDelivery struct {
	Key         string        `json:"key"`
	Seq         int64         `json:"-"` // order, given by the store
	Endpoint    Endpoint      `json:"endpoint"`
	Receiver    string        `json:"receiver"`
	GroupKey    string        `json:"group_key"`
	Route       string        `json:"route"`
	GroupLabels labels.Labels `json:"group_labels"`
	Reason      string        `json:"reason"` // Alertmanager's notification reason: "FirstNotification", "NewAlertsInGroup", …
	Firing      int           `json:"firing"`
	Resolved    int           `json:"resolved"`
	Alerts      []GroupAlert  `json:"-"` // sorted as Alertmanager does; gone once State is final
	Notice      Notice        `json:"-"` // becomes the group's when it is delivered

	State          DeliveryState `json:"state"`
	Attempts       int           `json:"attempts_made"`
	CreatedAt      time.Time     `json:"created_at"`
	NextAt         time.Time     `json:"next_at,omitzero"`
	FirstAttemptAt time.Time     `json:"first_attempt_at,omitzero"`
	DoneAt         time.Time     `json:"done_at,omitzero"`
	Status         int           `json:"status,omitempty"`
	Error          string        `json:"error,omitempty"`
	Excerpt        string        `json:"excerpt,omitempty"`
}

// GroupAlert is an alert in a notification. A zero EndsAt means that it fires.
type GroupAlert struct {
	Labels       labels.Labels
	Annotations  labels.Labels
	StartsAt     time.Time
	EndsAt       time.Time
	UpdatedAt    time.Time
	GeneratorURL string
}

// Dispatch is what the dispatcher commits in one transaction.
type Dispatch struct {
	// Cursor: the consequences of the log up to this Received.Seq are committed with this one or before. 0: unchanged.
	Cursor     int64
	Changes    []AlertChange   // for the incidents, in order
	Groups     []GroupRecord   // new state
	GroupsGone []string        // keys
	Deliveries []GroupDelivery // new ones
	Results    []GroupDelivery // new state of earlier ones; the alerts are forgotten where State is final
	Silences   []Silence       // reminders sent, and the like

	// The checkpoint: alerts as in memory, so that the log before Trim is not needed any more.
	Alerts     []*ActiveAlert
	AlertsGone []uint64
	Trim       int64 // the log up to this Received.Seq is forgotten; 0: nothing is
}

// Size is the number of rows that the commit writes, for bounding it.
func (d *Dispatch) Size() int {
	return len(d.Changes) + len(d.Groups) + len(d.GroupsGone) + len(d.Deliveries) + len(d.Results) + len(d.Silences) + len(d.Alerts) + len(d.AlertsGone)
}

// DispatchState is what the dispatcher keeps in memory, as the store has it: without the log, which it reads after.
type DispatchState struct {
	Cursor     int64
	Trimmed    int64 // the log up to here is in Alerts
	Alerts     []*ActiveAlert
	Groups     []GroupRecord
	Deliveries []GroupDelivery // unfinished ones, with their alerts
}
