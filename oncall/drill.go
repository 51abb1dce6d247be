package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// A drill is a marked incident that tells one user through every contact at once, to find out which of them work. It
// takes the way of a real page in everything else: rows, retries, links, buttons, confirmations. It escalates to nobody.

const (
	// DrillAlert is the alertname of a drill.
	DrillAlert = "TocsinDrill"
	// DrillLasts is how long a drill waits for contacts that neither fail nor are answered.
	DrillLasts = 10 * time.Minute

	drillLabel = "user"
	drillText  = "This is a drill: nothing is wrong. Acknowledge it wherever it reaches you, so that it is known which of your contacts work."
)

// Drill is what an incident keeps that is a drill.
type Drill struct {
	User     string         `json:"user"`
	By       string         `json:"by"`
	Job      string         `json:"job,omitempty"` // that began it, "" for a person
	Contacts []ContactCheck `json:"contacts"`
	Answered int            `json:"answered,omitempty"` // acknowledgements so far
}

// CheckResult is what a drill found out about a contact.
type CheckResult string

// The results. "" while the drill goes on.
const (
	CheckOK      CheckResult = "ok"
	CheckFailed  CheckResult = "failed"
	CheckUnknown CheckResult = "unknown" // the drill was ended before it was clear
)

// ContactCheck is one endpoint behind a contact of a user, as a drill found it. The latest of each user and endpoint is
// kept.
type ContactCheck struct {
	User     string      `json:"user"`
	Contact  string      `json:"contact"` // the contact rule, by what it names
	Endpoint Endpoint    `json:"endpoint"`
	Address  string      `json:"address,omitempty"` // Policy.Addresses then: what stands behind the endpoint, as a mark
	Drill    int64       `json:"drill"`             // the number of the incident
	Key      string      `json:"key,omitempty"`     // of the delivery
	At       time.Time   `json:"at"`                // when it was asked
	Result   CheckResult `json:"result"`
	Failure  string      `json:"failure,omitempty"` // why it failed, or what went wrong last; no secrets

	AcceptedAt  time.Time `json:"accepted_at,omitzero"`  // the far end took it
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"` // a far end that says so later says that it arrived
	AnsweredAt  time.Time `json:"answered_at,omitzero"`  // somebody acknowledged by it
	Refused     bool      `json:"refused,omitempty"`     // for good
	Taken       bool      `json:"taken,omitempty"`       // all that the far end says of arriving, it has said
}

// settled reports that nothing is to be waited for.
func (c ContactCheck) settled() bool { return c.Refused || !c.AnsweredAt.IsZero() }

// DrillOpening is the wish for a drill of one user.
type DrillOpening struct {
	User  string
	Actor string
	Via   string // "api", "slack", "job"
	Job   string // the job that asks, "" for a person
}

// DrillEscalation is the name of the implicit escalation of a user's drills.
func DrillEscalation(user string) string { return "drill " + user }

// drilled returns the escalation of a user's drills.
func (p Policy) drilled(name string) (Escalation, bool) {
	user, ok := strings.CutPrefix(name, DrillEscalation(""))
	if u, known := p.Users[user]; !ok || !known || !u.reachable() {
		return Escalation{}, false
	}
	return Escalation{
		Name: name, GroupBy: []string{model.AlertNameLabel, drillLabel}, DeliverWithin: DrillLasts,
		Tiers: []Tier{{Targets: []Target{{Kind: TargetUser, Name: user}}}},
	}, true
}

// Open returns the alert that a drill stands for, its place, which is the same for all drills of a user, and what its
// incident keeps. Codes: not_found for an unknown user, invalid for one who cannot be reached.
func (o DrillOpening) Open(now time.Time, p Policy) (AlertChange, Place, *Drill, error) {
	u, ok := p.Users[o.User]
	if !ok {
		return AlertChange{}, Place{}, nil, Errorf(CodeNotFound, "there is no user named %q%s", o.User, suggestion(o.User, p.Users))
	}
	if !u.reachable() {
		return AlertChange{}, Place{}, nil, Errorf(CodeInvalid, "%s cannot be reached: the configuration gives them no contacts and no Slack ID", o.User)
	}
	group := labels.FromStrings(model.AlertNameLabel, DrillAlert, drillLabel, o.User)
	name, why := DrillEscalation(o.User), o.Actor+" drills "+o.User
	reason := o.Actor + " asked for it" + via(o.Via)
	if o.Job != "" {
		why, reason = "the job "+o.Job+" drills "+o.User, "the job "+o.Job+" was due"
	}
	c := AlertChange{
		At: now, Source: ManualSource + o.Actor, Status: ChangeFiring, StartsAt: now, Labels: group,
		Annotations: map[string]string{"summary": "DRILL: a test of how " + o.User + " is reached, nothing is wrong", "description": drillText},
		Escalation:  name, GroupBy: []string{model.AlertNameLabel, drillLabel}, Why: why, Reason: reason,
	}
	place := Place{Escalation: name, GroupKey: group.String(), GroupLabels: group, Why: why}
	return c, place, &Drill{User: o.User, By: o.Actor, Job: o.Job}, nil
}

// ContactEndpoint is one endpoint behind a contact of a user.
type ContactEndpoint struct {
	Contact  string
	Endpoint Endpoint
}

// ContactEndpoints returns everything behind a user's contacts, each endpoint once, in order of the contacts.
func (p Policy) ContactEndpoints(user string) (all []ContactEndpoint) {
	m := &machine{p: p}
	add := func(c string, e Endpoint) {
		if !slices.ContainsFunc(all, func(x ContactEndpoint) bool { return x.Endpoint == e }) {
			all = append(all, ContactEndpoint{c, e})
		}
	}
	for _, c := range m.contacts(Target{TargetUser, user}) {
		es := m.endpoints(c, user)
		for _, e := range es {
			add(contactName(c), e)
		}
		if len(es) == 0 {
			add(contactName(c), nothingBehind+Endpoint(contactName(c)))
		}
	}
	return all
}

// nothingBehind begins the endpoint of a contact that leads nowhere.
const nothingBehind = "none:"

// Holds reports whether what a check found out is still about what is configured: the user has the contact, and it
// leads to the same address.
func (p Policy) Holds(c ContactCheck) bool {
	return p.Addresses[c.Endpoint] == c.Address &&
		slices.ContainsFunc(p.ContactEndpoints(c.User), func(x ContactEndpoint) bool { return x.Endpoint == c.Endpoint })
}

// FailedChecks returns the checks that failed and still hold, of some users, or of all where none is named.
func (p Policy) FailedChecks(all []ContactCheck, users ...string) (failed []ContactCheck) {
	for _, c := range all {
		if c.Result == CheckFailed && (len(users) == 0 || slices.Contains(users, c.User)) && p.Holds(c) {
			failed = append(failed, c)
		}
	}
	return failed
}

// String says what failed and when, for a footnote.
func (c ContactCheck) String() string {
	text := fmt.Sprintf("%s: %s (%s)", c.User, c.Contact, c.Endpoint)
	switch c.Result {
	case CheckFailed:
		return text + fmt.Sprintf(" failed in the drill #%d of %s: %s", c.Drill, c.At.UTC().Format("2 Jan 2006 15:04 UTC"), c.Failure)
	case CheckOK:
		return text + fmt.Sprintf(" worked in the drill #%d of %s", c.Drill, c.At.UTC().Format("2 Jan 2006 15:04 UTC"))
	}
	return text
}
