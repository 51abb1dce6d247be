package notifier

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// How the alert API sees what the dispatcher holds. Views are snapshots: everything in them may be read
// for as long as one likes, and nothing may be written to.

// The states of an alert in the alert API.
const (
	AlertActive      = "active"
	AlertSuppressed  = "suppressed"
	AlertUnprocessed = "unprocessed" // not looked at yet
)

// AlertView is a firing alert with what became of it.
type AlertView struct {
	Alert       *oncall.ActiveAlert
	State       string   // AlertActive, AlertSuppressed or AlertUnprocessed
	SilencedBy  []string // IDs of silences, sorted
	InhibitedBy []uint64 // fingerprints of alerts
	MutedBy     []string // names of time intervals that mute the group in which it is shown; only in a GroupView
	Receivers   []string // of the routes that it takes, sorted, each as often as a route leads to it
}

// GroupView is a group of alerts under a route.
type GroupView struct {
	Key      string // Alertmanager's group key
	Route    *oncall.Route
	Labels   labels.Labels
	Receiver string
	MutedBy  []string    // names of the time intervals that mute it, nil: none
	Alerts   []AlertView // sorted as Alertmanager does
}

// DispatchView is what the alert API reads of the dispatcher.
type DispatchView interface {
	// Ready reports that this process dispatches, and has read all that it must know: else the lists are empty.
	Ready() bool
	// Alerts returns the alerts that fire at now, in order of their fingerprints.
	Alerts(now time.Time) []AlertView
	// Groups returns the groups with an alert that fires at now, ordered by labels as Alertmanager orders
	// them, then receiver.
	Groups(now time.Time) []GroupView
}
