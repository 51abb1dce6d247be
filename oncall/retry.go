package oncall

import (
	"fmt"
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
	case OutcomeRefused, OutcomeGone:
		return DeliveryRefused, time.Time{}
	}
	if now.Sub(d.CreatedAt) > maxRetryFor {
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

// AttemptEntry is the timeline's line for an attempt.
func AttemptEntry(d Delivery, a Attempt, state DeliveryState, nextAt time.Time) TimelineEntry {
	what := "page"
	switch d.Kind {
	case KindMessage:
		what = "message"
	case KindEdit:
		what = "edit of the message"
	case KindReply:
		what = "thread reply"
	default:
		what = string(d.Kind) + " page"
	}
	text := what + " to " + string(d.Endpoint)
	if d.Target != "" && d.Target != "slack "+d.Endpoint.Address() {
		text += " (" + d.Target + ")"
	}
	if a.Number > 1 {
		text += fmt.Sprintf(", attempt %d", a.Number)
	}
	text += ": " + attemptOutcome(a, state, nextAt)
	at := a.At.Add(a.Took)
	return TimelineEntry{At: at, Kind: EntryAttempt, Text: text, Delivery: d.Key, Attempt: &a}
}

func attemptOutcome(a Attempt, state DeliveryState, nextAt time.Time) string {
	why := a.Error
	if why == "" && a.Status != 0 {
		why = fmt.Sprintf("HTTP %d", a.Status)
	}
	switch state {
	case DeliveryDelivered:
		if a.Status != 0 {
			return fmt.Sprintf("delivered (HTTP %d, %s)", a.Status, a.Took.Round(time.Millisecond))
		}
		return "delivered"
	case DeliveryRefused:
		if a.Outcome == OutcomeRetry || a.Outcome == OutcomeUnknown {
			return "given up after a day of retries: " + why
		}
		return "refused: " + why
	case DeliveryDropped:
		return "dropped: " + why
	}
	return fmt.Sprintf("not confirmed: %s; next attempt at %s", why, nextAt.UTC().Format("15:04:05 MST"))
}
