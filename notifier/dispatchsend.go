package notifier

import (
	"context"
	"runtime/debug"
	"time"

	"tocsin/oncall"
)

// How notifications are sent: each integration takes a few at a time, in the order in which they were
// decided, so that a slow or dead one delays no other. A first attempt needs no second commit: its delivery is
// committed as being sent.

// groupLane is what is sent to one integration.
type groupLane struct {
	flying  int
	waiting []*sending
	held    time.Time // Retry-After: nothing is sent before
}

// groupAttempt is an attempt under way.
type groupAttempt struct{ endpoint oncall.Endpoint }

// groupResult is what came of an attempt.
type groupResult struct {
	key      string
	endpoint oncall.Endpoint
	attempt  oncall.Attempt
}

func (r *dispatchRun) lane(e oncall.Endpoint) *groupLane {
	l := r.lanes[e]
	if l == nil {
		l = &groupLane{}
		r.lanes[e] = l
	}
	return l
}

// admit reports whether a notification can be sent right away. Else it waits for its turn.
func (r *dispatchRun) admit(t *sending) bool {
	l := r.lane(t.d.Endpoint)
	now := time.Now()
	if l.held.After(now) {
		r.s.retryAt(t, l.held)
		return false
	}
	if l.flying >= groupsPerTarget || len(r.flying)+len(r.launches) >= groupAttempts {
		if !t.waiting {
			t.waiting = true
			l.waiting = append(l.waiting, t)
		}
		return false
	}
	l.flying++
	return true
}

// begin has the notification sent once this turn is committed.
func (r *dispatchRun) begin(t *sending, now time.Time) {
	t.inFlight, t.waiting = true, false
	t.d.State = oncall.DeliverySending
	t.d.Attempts++
	if t.d.FirstAttemptAt.IsZero() {
		t.d.FirstAttemptAt = now
	}
	r.launches = append(r.launches, t)
}

// retryAt has the notification tried again at an instant.
func (s *dispatchState) retryAt(t *sending, at time.Time) {
	t.queued = 0
	if !at.IsZero() {
		t.queued = ceilMicro(at)
	}
	s.retries.push(t.queued, t)
}

// retryDue tries again what is due, and what had to wait and need not any more.
func (r *dispatchRun) retryDue(now time.Time) {
	s := r.s
	for {
		at, t, ok := s.retries.pop(now.UnixMicro())
		if !ok {
			break
		}
		if t.gone || t.inFlight || t.waiting || at != t.queued {
			continue
		}
		if r.admit(t) {
			r.begin(t, now)
		}
	}
	for _, l := range r.lanes {
		for len(l.waiting) > 0 && l.flying < groupsPerTarget && len(r.flying)+len(r.launches) < groupAttempts {
			t := l.waiting[0]
			l.waiting[0] = nil
			l.waiting = l.waiting[1:]
			t.waiting = false
			if !t.gone && !t.inFlight && r.admit(t) {
				r.begin(t, now)
			}
		}
	}
}

// launch sends what was committed.
func (r *dispatchRun) launch() {
	for _, t := range r.launches {
		last := oncall.Notice{}
		if t.d.Reason != oncall.ReasonFirstNotification {
			last = t.group.record.Notified[t.d.Endpoint]
		}
		d, route, sender := t.d, t.group.route, r.s.setup.sender
		r.flying[d.Key] = &groupAttempt{d.Endpoint}
		r.metrics.inFlight.Inc()
		go func() {
			res := groupResult{key: d.Key, endpoint: d.Endpoint, attempt: r.attempt(sender, d, route, last)}
			r.metrics.inFlight.Dec()
			r.results <- res
		}()
	}
	r.launches = r.launches[:0]
}

// attempt makes one attempt, and puts right what a sender must not do.
func (r *dispatchRun) attempt(sender GroupSender, d oncall.GroupDelivery, route *oncall.Route, last oncall.Notice) (a oncall.Attempt) {
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			r.metrics.panics.Inc()
			r.log.Error("a sender panicked", "endpoint", d.Endpoint, "group", d.GroupKey, "err", v, "stack", string(debug.Stack()))
			a = oncall.Attempt{Outcome: oncall.OutcomeUnknown, Error: "tocsin failed while sending (a defect: see its log)"}
		}
		if a.At.IsZero() {
			a.At, a.Took = start, time.Since(start)
		}
		a.Number = d.Attempts
	}()
	if sender == nil {
		return oncall.Attempt{Outcome: oncall.OutcomeRefused, Error: "no longer configured: nothing here sends to " + string(d.Endpoint)}
	}
	ctx, cancel := context.WithTimeout(r.sending, hardTimeout)
	defer cancel()
	a = sender.SendGroup(ctx, d, route, last)
	switch a.Outcome {
	case oncall.OutcomeDelivered, oncall.OutcomeRetry, oncall.OutcomeUnknown, oncall.OutcomeRefused, oncall.OutcomeGone:
	default:
		a.Outcome = oncall.OutcomeUnknown
	}
	return a
}

// collect takes in the results that are there.
func (r *dispatchRun) collect() {
	for {
		select {
		case res := <-r.results:
			r.landed(res)
		default:
			return
		}
	}
}

func (r *dispatchRun) landed(res groupResult) {
	delete(r.flying, res.key)
	l := r.lane(res.endpoint)
	l.flying--
	if a := res.attempt; a.RetryAfter > 0 {
		if until := a.At.Add(a.Took).Add(min(a.RetryAfter, time.Hour)); until.After(l.held) {
			l.held = until
		}
	}
	r.metrics.notifications.WithLabelValues(res.endpoint.Kind(), string(res.attempt.Outcome)).Inc()
	r.metrics.attemptSeconds.WithLabelValues(res.endpoint.Kind()).Observe(res.attempt.Took.Seconds())
	r.unsettled = append(r.unsettled, res)
}

// report logs an attempt: quietly if it arrived, loudly if it was refused.
func (r *dispatchRun) report(t *sending, a oncall.Attempt) {
	d := &t.d
	if d.State == oncall.DeliveryDelivered {
		r.log.Debug("notified", "group", d.GroupKey, "endpoint", d.Endpoint, "reason", d.Reason, "attempt", a.Number, "took", a.Took)
		return
	}
	args := []any{
		"group", d.GroupKey, "endpoint", d.Endpoint, "reason", d.Reason, "notification", d.Key, "attempt", a.Number,
		"outcome", a.Outcome, "status", a.Status, "took", a.Took, "err", a.Error,
	}
	if d.State == oncall.DeliveryRefused {
		r.log.Error("a notification was refused; the group tries again at its next flush", args...)
		return
	}
	r.log.Warn("a notification is not confirmed; it is tried again", append(args, "next", d.NextAt)...)
}
