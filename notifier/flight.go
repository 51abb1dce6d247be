package notifier

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"tocsin/oncall"
)

// flight is one delivery from its claim to the commit of its result, on a goroutine of its own.
type flight struct {
	*Deliveries
	*setup
	lease oncall.Lease
	claim oncall.Claim
	off   string // why the endpoint is switched off, "" if it is not
}

// run makes the attempt and commits what came of it. It returns when that is done, or when committing
// ends; until then the result is kept here and nothing is sent again.
func (f *flight) run(sending, committing context.Context) result {
	d := f.claim.Delivery
	res := result{key: d.Key, endpoint: d.Endpoint, drill: d.Drill}
	start := time.Now()
	res.attempt, res.sent = f.attempt(sending)
	a := &res.attempt
	a.Number = d.Attempts
	if a.At.IsZero() {
		a.At, a.Took = start, time.Since(start)
	}
	f.metrics.attempted(d, *a, res.sent)
	state, nextAt := oncall.AfterAttempt(time.Now(), d, *a)
	f.report(*a, state, nextAt)
	res.err = f.commit(committing, *a, state, nextAt)
	return res
}

// attempt asks the sender, unless the outcome is clear without it. sent says whether it was asked.
func (f *flight) attempt(ctx context.Context) (a oncall.Attempt, sent bool) {
	d := f.claim.Delivery
	sender := f.sender(d.Endpoint)
	switch {
	case f.off != "":
		return oncall.Attempt{Outcome: oncall.OutcomeRefused, Error: f.off, Closed: true}, false
	case sender == nil:
		return oncall.Attempt{
			Outcome: oncall.OutcomeRefused, Closed: true,
			Error: fmt.Sprintf("no longer configured: nothing here sends to %s", d.Endpoint),
		}, false
	}
	ctx, cancel := context.WithTimeout(ctx, hardTimeout)
	defer cancel()
	m := Message{Delivery: d, Thread: f.claim.Thread, Bundle: f.claim.Bundle}
	if d.Kind == oncall.KindMessage || d.Kind == oncall.KindEdit || d.Kind == oncall.KindChart || d.Endpoint.Integration() {
		in, err := f.load(ctx, d.Incident)
		if err != nil {
			return oncall.Attempt{Outcome: oncall.OutcomeRetry, Error: "not sent: tocsin could not read the incident from its store"}, false
		}
		if d.Kind == oncall.KindEdit && in.Revision <= f.claim.Shown && f.claim.Bundle == nil {
			return oncall.Attempt{Outcome: oncall.OutcomeDelivered, Revision: f.claim.Shown}, false
		}
		m.Incident = in
	}
	if err := f.loadBundle(ctx, &m); err != nil {
		return oncall.Attempt{Outcome: oncall.OutcomeRetry, Error: "not sent: tocsin could not read the incidents of its message from its store"}, false
	}
	return f.send(ctx, sender, m), true
}

// send calls the sender and puts right what a sender must not do.
func (f *flight) send(ctx context.Context, s Sender, m Message) (a oncall.Attempt) {
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			f.metrics.panics.Inc()
			f.log.Error("a sender panicked", "endpoint", m.Delivery.Endpoint, "err", v, "stack", string(debug.Stack()))
			a = oncall.Attempt{
				At: start, Took: time.Since(start), Outcome: oncall.OutcomeUnknown,
				Error: "tocsin failed while sending (a defect: see its log)",
			}
		}
	}()
	a = s.Send(ctx, m)
	switch a.Outcome {
	case oncall.OutcomeDelivered, oncall.OutcomeAccepted, oncall.OutcomeRetry, oncall.OutcomeUnknown, oncall.OutcomeRefused, oncall.OutcomeGone:
	default:
		a.Outcome = oncall.OutcomeUnknown
	}
	return a
}

// load reads the incident, patiently: a message that is claimed is worth waiting for the store.
func (f *flight) load(ctx context.Context, number int64) (oncall.Incident, error) {
	var b backoff
	for {
		in, err := f.store.Incident(ctx, number)
		if err == nil || oncall.ErrorCode(err) == oncall.CodeNotFound {
			return in, err
		}
		f.metrics.errors.WithLabelValues("load").Inc()
		f.log.ErrorContext(ctx, "an incident could not be read for its message; this is tried again", "incident", number, "err", err)
		if !sleep(ctx, b.next(), nil) {
			return in, ctx.Err()
		}
	}
}

// commit writes the result, again and again until the store has taken it, the lease is lost, or ctx ends.
func (f *flight) commit(ctx context.Context, a oncall.Attempt, state oncall.DeliveryState, nextAt time.Time) error {
	d := f.claim.Delivery
	var b backoff
	for {
		now := time.Now()
		err := f.store.FinishDelivery(ctx, oncall.Write{Now: now, Lease: &f.lease, Urgent: true}, d.Key, a, state, nextAt,
			func(in oncall.Incident) (oncall.Decision, error) {
				ev := oncall.DeliveryFinished{Key: d.Key, Attempt: a, State: state}
				if d.Kind == oncall.KindEdit {
					ev.Edit = d.Endpoint
				}
				return f.finished(now, in, ev)
			})
		if err == nil {
			return nil
		}
		if errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
			return err
		}
		f.metrics.errors.WithLabelValues("finish").Inc()
		switch oncall.ErrorCode(err) {
		case oncall.CodeNotFound, oncall.CodeConflict, oncall.CodeInvalid:
			f.log.ErrorContext(ctx, "the result of a delivery has no place any more", "incident", d.Incident, "delivery", d.Key,
				"outcome", a.Outcome, "err", err)
			return nil
		}
		f.log.ErrorContext(ctx, "the result of a delivery could not be committed; this is tried again and nothing is sent meanwhile",
			"incident", d.Incident, "delivery", d.Key, "outcome", a.Outcome, "err", err)
		if !sleep(ctx, b.next(), nil) {
			return err
		}
	}
}

// report logs an attempt: quietly if it arrived, loudly if nobody will get it.
func (f *flight) report(a oncall.Attempt, state oncall.DeliveryState, nextAt time.Time) {
	d := f.claim.Delivery
	args := []any{
		"incident", d.Incident, "delivery", d.Key, "endpoint", d.Endpoint, "kind", d.Kind, "attempt", a.Number,
		"outcome", a.Outcome, "status", a.Status, "took", a.Took,
	}
	switch {
	case state == oncall.DeliveryDelivered:
		f.log.Info("delivered", args...)
	case state == oncall.DeliveryAccepted:
		f.log.Info("accepted; the far end says later whether it arrived", args...)
	case state == oncall.DeliveryRefused && d.Kind == oncall.KindChart: // nobody relies on it
		f.log.Info("a chart was given up", append(args, "err", a.Error)...)
	case state == oncall.DeliveryRefused:
		f.log.Error("a delivery failed for good", append(args, "err", a.Error)...)
	default:
		f.log.Warn("a delivery is not confirmed; it is tried again", append(args, "err", a.Error, "next", nextAt)...)
	}
}
