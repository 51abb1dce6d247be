package oncall

import (
	"slices"
	"strings"
)

// pagingLists are the integrations whose far ends wake a person. What else Alertmanager knows leads to channels,
// mailboxes and programs.
var pagingLists = []string{"page", "call", "sms", "ntfy", "pagerduty_configs", "opsgenie_configs", "victorops_configs", "pushover_configs", "incidentio_configs"}

// ReachesPerson reports whether a delivery, once it arrives, has asked a person: a user by one of their own contacts,
// or somebody behind a receiver that pages. A channel is no person, and a shadow is not relied upon.
func (p Policy) ReachesPerson(d Delivery) bool {
	kind, name, _ := strings.Cut(d.Target, " ")
	switch {
	case !asks(d):
		return false
	case TargetKind(kind) == TargetUser:
		return p.ownEndpoint(name, d.Endpoint)
	case TargetKind(kind) == TargetReceiver:
		return wakes(d.Endpoint)
	}
	return false
}

// ownEndpoint reports that an endpoint behind a contact of the user reaches the user: all but channels do.
func (p Policy) ownEndpoint(user string, e Endpoint) bool {
	return e.Kind() != "slack" || e.Address() == p.Users[user].Slack
}

// wakes reports whether an endpoint that no user names leads to a person.
func wakes(e Endpoint) bool { return slices.Contains(pagingLists, e.Kind()) }
