package oncall

import (
	"fmt"
	"strings"
	"time"
)

// Bounds of retrying. A page that nobody could take for a day is given up, and says so.
const (
	firstRetry  = time.Second
	maxRetry    = time.Minute
	maxRetryFor = 24 * time.Hour
	maxHold     = time.Hour // the longest Retry-After that is honoured
)

// AfterAttempt says what becomes of a delivery after an attempt, and when it is tried again: after 1, 2,
// 4 … 60 seconds, never sooner than the far end's Retry-After.
func AfterAttempt(now time.Time, d Delivery, a Attempt) (DeliveryState, time.Time) {
	switch a.Outcome {
	case OutcomeDelivered:
		return DeliveryDelivered, time.Time{}
	case OutcomeAccepted:
		return DeliveryAccepted, time.Time{}
	case OutcomeRefused, OutcomeGone:
		return DeliveryRefused, time.Time{}
	}
	if a.Mendable && d.Kind == KindEdit {
		return patientEdit(now, d, a)
	}
	if now.Sub(d.CreatedAt) > maxRetryFor || d.Kind == KindChart && chartIsLost(now, d, a) {
		return DeliveryRefused, time.Time{}
	}
	wait := maxRetry
	if a.Number < 7 {
		wait = min(maxRetry, firstRetry<<max(a.Number-1, 0))
	}
	if hold := min(a.RetryAfter, maxHold); hold > wait {
		wait = hold
	}
	return DeliveryQueued, now.Add(wait)
}

// patientEdit is for an edit that waits until a person has mended what Slack minds: nobody waits for it, and the message
// shows something that is not true any more for as long as it takes.
func patientEdit(now time.Time, d Delivery, a Attempt) (DeliveryState, time.Time) {
	age := now.Sub(d.CreatedAt)
	if age > maxOwedFor {
		return DeliveryRefused, time.Time{}
	}
	wait := min(maxRetry, firstRetry<<min(max(a.Number-1, 0), 16))
	if age > time.Hour {
		wait = 5 * time.Minute
	}
	return DeliveryQueued, now.Add(max(wait, min(a.RetryAfter, maxHold)))
}

// AttemptEntry is the timeline's line for an attempt. d has its new state.
func AttemptEntry(d Delivery, a Attempt) TimelineEntry {
	return TimelineEntry{At: a.At, Kind: EntryAttempt, Text: attemptText(d, a), Delivery: d.Key, Attempt: &a}
}

func attemptText(d Delivery, a Attempt) string {
	what := string(d.Kind)
	switch d.Kind {
	case KindTriggered, KindUpdated, KindAcknowledged, KindResolved:
		what += " page"
		if d.Endpoint.Integration() {
			what = string(d.Kind) + " notification"
		}
	}
	to := string(d.Endpoint)
	if d.Target != "" {
		to = d.Target + " (" + to + ")"
	}
	if d.Kind == KindChart {
		to = "the thread in " + d.Endpoint.Address()
	}
	answer := a.Error
	if a.Status != 0 {
		answer = strings.TrimSuffix(fmt.Sprintf("HTTP %d, %s", a.Status, a.Error), ", ")
	}
	if answer != "" {
		answer = " (" + answer + ")"
	}
	text := fmt.Sprintf("%s to %s, attempt %d: ", what, to, a.Number)
	switch d.State {
	case DeliveryAccepted:
		return text + "accepted" + inBundle(d) + answer + ", to be confirmed"
	case DeliveryDelivered:
		if d.Confirmation == Confirmed {
			return text + "confirmed" + inBundle(d) + answer
		}
		return text + "delivered" + inBundle(d) + answer
	case DeliveryRefused:
		switch {
		case d.Confirmation == ConfirmationFailed:
			return text + "accepted, but it did not arrive" + inBundle(d) + answer
		case d.Kind == KindChart:
			return text + "given up, it is only a picture" + answer
		case a.Outcome == OutcomeRetry || a.Outcome == OutcomeUnknown:
			return text + "given up after a day of retries" + answer
		}
		return text + "refused" + inBundle(d) + answer
	case DeliveryDropped:
		return text + "given up, no longer wanted" + answer
	}
	if a.Outcome == OutcomeRefused { // of a bundle
		return text + "refused" + inBundle(d) + answer + ", goes by itself now"
	}
	if a.Outcome == OutcomeUnknown {
		return text + "unconfirmed" + inBundle(d) + answer + ", will be tried again"
	}
	return text + "not accepted" + inBundle(d) + answer + ", will be tried again"
}
