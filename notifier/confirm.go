package notifier

import (
	"context"
	"errors"
	"time"

	"tocsin/oncall"
)

// Confirm commits what a far end reports of a delivery later: that it arrived (delivered), or that it did not (refused), and then
// the next contact runs at once. evidence says what was reported, in Error for people; its Number is the attempt that the report
// is about. A report that comes twice counts once. Code: not_found for a delivery that is not kept (any more); after
// unavailable the far end may report again.
func (a *Acts) Confirm(ctx context.Context, key string, evidence oncall.Attempt, state oncall.DeliveryState) error {
	now := time.Now()
	if evidence.At.IsZero() {
		evidence.At = now
	}
	err := a.o.Store.ConfirmDelivery(ctx, oncall.Write{Now: now, Urgent: true}, key, evidence, state,
		func(in oncall.Incident) (oncall.Decision, error) {
			d, err := decide(now, in, oncall.DeliveryFinished{Key: key, Attempt: evidence, State: state}, a.o.Policy())
			if p, ok := errors.AsType[*panicError](err); ok {
				a.log.ErrorContext(ctx, "deciding about a confirmation failed; it is kept, what follows from it is left to the incident's timers",
					"incident", in.Number, "delivery", key, "err", p, "stack", p.stack)
				return oncall.Decision{}, nil
			}
			return d, err
		})
	if err != nil && oncall.ErrorCode(err) != oncall.CodeNotFound {
		a.log.ErrorContext(ctx, "a confirmation could not be committed", "delivery", key, "state", state, "err", err)
	}
	return err
}
