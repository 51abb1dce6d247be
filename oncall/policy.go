package oncall

import (
	"fmt"
	"slices"
	"time"

	"tocsin/problem"
)

// Policy is everything configured that incidents follow: immutable, replaced whole at reload.
type Policy struct {
	ExternalURL string // base of links in pages and messages, without a trailing slash
	Charts      bool   // messages in Slack get a chart into their thread
	LinkKey     []byte // signs acknowledge links (HMAC-SHA256); from the store, never shown
	Escalations map[string]Escalation
	Users       map[string]User
	Receivers   map[string]Receiver
	Routing     Routing
	Schedules   map[string]Schedule
	// Addresses marks what stands behind endpoints whose names do not say it, so that a change is noticed. A mark is a
	// keyed hash: nothing can be learnt from it.
	Addresses map[Endpoint]string
	// Overrides are those of all schedules that can still matter, as the store had them: whoever builds a policy
	// hands over a slice of its own, and builds a new one when the store's version of them moves.
	Overrides []Override
}

// DefaultEscalation takes the alerts that name no escalation and match no route.
const DefaultEscalation = "default"

// DefaultDeliverWithin bounds an unconfirmed delivery where the escalation sets nothing.
const DefaultDeliverWithin = 30 * time.Second

// ReopenAfter is how long an incident closed by hand may keep firing alerts where its escalation has no
// ack_timeout (DESIGN section 7, "By hand").
const ReopenAfter = 30 * time.Minute

// Escalation is a named list of tiers. Durations of zero mean "not set".
type Escalation struct {
	Name          string        `json:"name"`
	GroupBy       []string      `json:"group_by"` // label names; [alertname] by default
	AckTimeout    time.Duration `json:"ack_timeout,omitempty"`
	DeliverWithin time.Duration `json:"deliver_within,omitempty"` // DefaultDeliverWithin by default
	Repeat        Repeat        `json:"repeat,omitzero"`
	ReopenWithin  time.Duration `json:"reopen_within,omitempty"` // after its alerts resolved it, an incident goes on with the next of its alerts; 0: a new one opens
	Urgency       Urgency       `json:"urgency,omitzero"`
	Condition     Condition     `json:"condition,omitzero"` // of all tiers, beside their own
	Tiers         []Tier        `json:"tiers"`
	Promise       Promise       `json:"promise,omitzero"`
}

// Repeat tells all tiers again: round k begins at trigger + k·Every, for k = 1 … Times.
type Repeat struct {
	Every time.Duration `json:"every"`
	Times int           `json:"times"`
}

// Tier is who is told, and when after the trigger.
type Tier struct {
	After     time.Duration `json:"after"`
	Targets   []Target      `json:"targets"`
	Condition Condition     `json:"condition,omitzero"` // it is passed over while this does not hold
	// RoundRobin tells one target, the next in line with each incident and round, and another only where that one
	// could not be reached. Everybody who is on call by a schedule is in the line by themselves.
	RoundRobin bool `json:"round_robin,omitempty"`
}

// TargetKind says what a Target names.
type TargetKind string

// The kinds of target.
const (
	TargetSlack    TargetKind = "slack"    // a channel: "#session-alerts" or an ID
	TargetUser     TargetKind = "user"     // a person with contact rules
	TargetReceiver TargetKind = "receiver" // a named list of integrations
	TargetSchedule TargetKind = "schedule" // whoever is on call
	TargetAction   TargetKind = "action"   // a guarded remediation (not supported yet)
)

// Target is one party told by a tier.
type Target struct {
	Kind TargetKind `json:"kind"`
	Name string     `json:"name"`
}

// String is the form shown to people and in page payloads: "user ana", "slack #session-alerts".
func (t Target) String() string { return string(t.Kind) + " " + t.Name }

// User is a person: how to recognise and how to reach them.
type User struct {
	Name     string
	Slack    string // where they get direct messages: a Slack user ID, "" if none; name/ID where it is not in the first workspace
	Email    string // by which Slack's members are recognised where Slack says that it is verified; "" if none
	TimeZone string // IANA name, "" for UTC
	Contacts []Contact
	// Daytime is when they are told of what has a low urgency, in Location where an interval names no place of its
	// own; empty: from 9 to 18 o'clock on every day.
	Daytime  Restriction
	Location *time.Location // of TimeZone; nil: UTC
	// SlackElsewhere are their IDs in further Slack workspaces, by the workspace's name ("" for the first one).
	SlackElsewhere map[string]string
}

// Contact is one contact rule: After counts from the user's notification. Exactly one of Slack and
// Receiver is set.
type Contact struct {
	After    time.Duration
	Slack    string // "dm", or a channel
	Receiver string
	Place    problem.Place // where the file says when; zero where no file does
}

// Receiver is a named list of endpoints.
type Receiver struct {
	Name         string
	Endpoints    []Endpoint    // what it pages; may be empty for receivers that do not page
	Integrations []Integration // Alertmanager's, in the order of its own list
	Escalation   string        // alerts routed here open incidents there; "" for none
	Labels       map[string]string
	// Of names the configured receiver whose page_configs this one is: for the escalation that pages them
	// where a route leads to a receiver that has other integrations too. "": it is configured itself.
	Of string
}

// all returns everything behind the receiver: what it pages, then Alertmanager's integrations.
func (r Receiver) all() []Endpoint {
	if len(r.Integrations) == 0 {
		return r.Endpoints
	}
	es := slices.Clone(r.Endpoints)
	for _, i := range r.Integrations {
		es = append(es, i.Endpoint)
	}
	return es
}

// Endpoint is where a delivery goes and the queue it waits in, as text: "slack:#alerts", "slack:U02ANA",
// "page:ana-phone/0" (receiver ana-phone, first of its page_configs).
type Endpoint string

// SlackEndpoint returns the endpoint of a channel name, channel ID or user ID.
func SlackEndpoint(to string) Endpoint { return Endpoint("slack:" + to) }

// PageEndpoint returns the endpoint of the i-th (from 0) page_configs entry of a receiver.
func PageEndpoint(receiver string, i int) Endpoint {
	return Endpoint(fmt.Sprintf("page:%s/%d", receiver, i))
}

// Kind returns the part before the colon, which names the sender: "slack", "page".
func (e Endpoint) Kind() string {
	for i := range len(e) {
		if e[i] == ':' {
			return string(e[:i])
		}
	}
	return string(e)
}

// Address returns the part after the colon.
func (e Endpoint) Address() string {
	if k := len(e.Kind()); k < len(e) {
		return string(e[k+1:])
	}
	return ""
}
