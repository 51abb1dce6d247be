package oncall

import "time"

// Backlog is what has waited for too long inside tocsin. A zero instant: nothing has.
type Backlog struct {
	Received time.Time // since when the oldest row of the log waits that the dispatcher has not read
	Change   time.Time // since when the oldest change of an alert waits for its incident
	Timer    time.Time // when the most overdue timer of an incident was due
	Page     time.Time // since when the oldest first page waits that was never attempted, at an endpoint that sends nothing
	Endpoint Endpoint  // where
	// Notification is since when the oldest notification of a group waits for an attempt, at an integration at which
	// none comes to an end; Integration is where.
	Notification time.Time
	Integration  Endpoint
}
