package oncall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/problem"
)

// Incidents that a person opens by hand: no rule fires and no series breaches, and all the same somebody must
// know. Their one alert fires until a person resolves the incident.

const (
	// ManualAlert is the alertname of an incident that a person opened.
	ManualAlert = "ManualIncident"
	// OpeningLabel tells one opening from another: each is an incident of its own.
	OpeningLabel = "opening"
	// ManualSource begins the Source of what a person reports.
	ManualSource = "manual:"
	// DefaultOpeningSeverity is that of an opening that names none: whoever pages by hand means it.
	DefaultOpeningSeverity = "critical"

	maxOpeningTitle   = 250  // characters
	maxOpeningDetails = 3000 // characters
)

// A user who is paged by name is told again until somebody acknowledges.
const (
	directEvery = 10 * time.Minute
	directTimes = 3
)

// Opening is what a person asks for. Either Escalation or User is set.
type Opening struct {
	Escalation string // whom to tell: by the name of an escalation
	User       string // or this user alone
	Title      string // one line: what is wrong
	Details    string // more of it; may be empty
	Severity   string // "" for DefaultOpeningSeverity
	Actor      string // a configured user's name where there is one
	Via        string // "slack", "api"
}

// DirectEscalation is the name of the implicit escalation that tells one user.
func DirectEscalation(user string) string { return string(TargetUser) + " " + user }

// Escalation returns the escalation of that name: a configured one, or the implicit one of a user who can be
// reached ("user ana"), which tells that user alone, and again until somebody acknowledges.
func (p Policy) Escalation(name string) (Escalation, bool) {
	if e, ok := p.Escalations[name]; ok {
		return e, true
	}
	if e, ok := p.drilled(name); ok {
		return e, true
	}
	user, ok := strings.CutPrefix(name, DirectEscalation(""))
	if !ok {
		return Escalation{}, false
	}
	u, ok := p.Users[user]
	if !ok || !u.reachable() {
		return Escalation{}, false
	}
	return Escalation{
		Name: name, GroupBy: []string{model.AlertNameLabel, OpeningLabel}, DeliverWithin: DefaultDeliverWithin,
		Repeat: Repeat{Every: directEvery, Times: directTimes},
		Tiers:  []Tier{{Targets: []Target{{Kind: TargetUser, Name: user}}}},
	}, true
}

func (u User) reachable() bool { return len(u.Contacts) > 0 || u.Slack != "" }

// Open returns the alert that an opening stands for, and its place. request is the identity of the request: the
// same one leads to the same place, so that asking twice opens one incident. Code: invalid, or not_found for an
// unknown name.
func (o Opening) Open(now time.Time, request string, p Policy) (AlertChange, Place, error) {
	o.Title, o.Details, o.Severity = oneLine(o.Title), strings.TrimSpace(o.Details), strings.TrimSpace(o.Severity)
	if err := o.check(); err != nil {
		return AlertChange{}, Place{}, err
	}
	name, why, err := o.whom(p)
	if err != nil {
		return AlertChange{}, Place{}, err
	}
	if o.Severity == "" {
		o.Severity = DefaultOpeningSeverity
	}
	sum := sha256.Sum256([]byte(request))
	group := labels.FromStrings(model.AlertNameLabel, ManualAlert, OpeningLabel, hex.EncodeToString(sum[:8]))
	annotations := map[string]string{"summary": o.Title}
	if o.Details != "" {
		annotations["description"] = o.Details
	}
	c := AlertChange{
		At: now, Source: ManualSource + o.Actor, Status: ChangeFiring, StartsAt: now, Annotations: annotations,
		Labels:     labels.NewBuilder(group).Set("severity", o.Severity).Labels(),
		Escalation: name, GroupBy: []string{model.AlertNameLabel, OpeningLabel}, Why: why,
		Reason: o.Actor + " asked for it" + via(o.Via),
	}
	return c, Place{Escalation: name, GroupKey: group.String(), GroupLabels: group, Why: why}, nil
}

func (o Opening) check() error {
	switch {
	case o.Title == "":
		return Errorf(CodeInvalid, "an incident needs a title: say in one line what is wrong")
	case utf8.RuneCountInString(o.Title) > maxOpeningTitle:
		return Errorf(CodeInvalid, "the title is too long: at most %d characters; the rest belongs into the details", maxOpeningTitle)
	case utf8.RuneCountInString(o.Details) > maxOpeningDetails:
		return Errorf(CodeInvalid, "the details are too long: at most %d characters", maxOpeningDetails)
	case !utf8.ValidString(o.Title + o.Details):
		return Errorf(CodeInvalid, "the title and the details must be text in UTF-8")
	case utf8.RuneCountInString(o.Severity) > 40 || !utf8.ValidString(o.Severity) || strings.ContainsFunc(o.Severity, unicode.IsControl):
		return Errorf(CodeInvalid, "%q is no severity such as critical or warning", truncate(o.Severity, 60))
	}
	return nil
}

// whom finds who is told, and says why.
func (o Opening) whom(p Policy) (escalation, why string, err error) {
	switch {
	case o.Escalation != "" && o.User != "":
		return "", "", Errorf(CodeInvalid, "name an escalation or a user, not both")
	case o.User != "":
		u, ok := p.Users[o.User]
		if !ok {
			return "", "", Errorf(CodeNotFound, "there is no user named %q%s", o.User, suggestion(o.User, p.Users))
		}
		if !u.reachable() {
			return "", "", Errorf(CodeInvalid, "%s cannot be reached: the configuration gives them no contacts and no Slack ID", o.User)
		}
		return DirectEscalation(o.User), fmt.Sprintf("%s pages %s by name", o.Actor, o.User), nil
	case o.Escalation == "":
		return "", "", Errorf(CodeInvalid, "name an escalation or a user: who is to be told?")
	}
	if _, ok := p.Escalations[o.Escalation]; !ok {
		return "", "", Errorf(CodeNotFound, "there is no escalation named %q%s", o.Escalation, suggestion(o.Escalation, p.Escalations))
	}
	return o.Escalation, fmt.Sprintf("%s named the escalation %s", o.Actor, o.Escalation), nil
}

func suggestion[T any](name string, known map[string]T) string {
	names := make([]string, 0, len(known))
	for n := range known {
		names = append(names, n)
	}
	if hint := problem.DidYouMean(name, names); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// manual reports that nobody but people say that the alert fires: it ends when they end the incident.
func (a IncidentAlert) manual() bool {
	return len(a.Sources) > 0 && !slices.ContainsFunc(a.Sources, func(s string) bool { return !strings.HasPrefix(s, ManualSource) })
}

// endManual ends the alerts that only a person's word keeps firing.
func (m *machine) endManual(actor string) {
	for i := range m.in.Alerts {
		a := &m.in.Alerts[i]
		if a.State != StateFiring || !a.manual() {
			continue
		}
		a.Sources = nil
		a.State, a.ResolvedAt, a.UnknownSince, a.Reason = StateResolved, m.now, time.Time{}, "the incident was resolved"+by(actor)
		a.MutedSince, a.MutedWhy = time.Time{}, ""
		m.touch(i)
	}
}
