package store

import (
	"context"

	"tocsin/oncall"
)

// deliveryState is how a state is written: the column's check is older than oncall.DeliveryAccepted.
func deliveryState(s oncall.DeliveryState) (column string, c oncall.Confirmation) {
	if s == oncall.DeliveryAccepted {
		return string(oncall.DeliveryDelivered), oncall.ConfirmationWaiting
	}
	return string(s), ""
}

// ConfirmDelivery commits what a far end reports of a delivery that it accepted: state is delivered or refused. a is the
// evidence; its Number says which attempt the report is about. It needs no lease, as any replica may be told. The report may be
// faster than the result of the attempt, which then changes nothing any more. A failure counts for the last attempt only; an
// arrival counts for any and over a failure that was reported before it, and a delivery that waits for a retry is not sent again. decide says what follows for the incident and sees
// the delivery with its new state. Reports that say nothing new change nothing. Code: not_found for an unknown key.
func (s *Store) ConfirmDelivery(ctx context.Context, w oncall.Write, key string, a oncall.Attempt, state oncall.DeliveryState,
	decide func(oncall.Incident) (oncall.Decision, error)) error {
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		return struct{}{}, t.confirmDelivery(w, key, a, state, decide)
	})
	return err
}

func (t *tx) confirmDelivery(w oncall.Write, key string, a oncall.Attempt, state oncall.DeliveryState,
	decide func(oncall.Incident) (oncall.Decision, error)) error {
	if state != oncall.DeliveryDelivered && state != oncall.DeliveryRefused {
		return oncall.Errorf(oncall.CodeInvalid, "a report says delivered or refused, not %s", state)
	}
	d, _, err := loadDelivery(t, key)
	if err != nil {
		return err
	}
	if _, err := one(t, "select number from incidents where number = $1"+t.d.forUpdate, []any{d.Incident}, new(int64)); err != nil {
		return err
	}
	if d, _, err = loadDelivery(t, key); err != nil { // as it is now that nobody else decides about its incident
		return err
	}
	if a.Number == 0 {
		a.Number = d.Attempts
	}
	if !confirms(d, a, state) {
		return nil
	}
	d.State, d.Confirmation, d.DoneAt, d.Error = state, oncall.Confirmed, w.Now, ""
	if state == oncall.DeliveryRefused {
		d.Confirmation, d.Error = oncall.ConfirmationFailed, a.Error
	}
	if a.Remote != "" {
		d.Remote = a.Remote
	}
	if err := t.exec1(`update deliveries set state = $1, confirm = $2, next_at = 0, done_at = $3, error = $4, remote = $5 where key = $6`,
		string(d.State), string(d.Confirmation), max(micros(d.DoneAt), 1), d.Error, d.Remote, d.Key); err != nil {
		return err
	}
	t.mine.Deliveries = true
	entry := oncall.AttemptEntry(d, a)
	if err := t.noteAttempt(d.Incident, entry, w.Now); err != nil {
		return err
	}
	if decide == nil {
		return nil
	}
	_, err = t.decide(d.Incident, w.Now, decide)
	return err
}

// confirms reports whether a report says something new of a delivery.
func confirms(d oncall.Delivery, a oncall.Attempt, state oncall.DeliveryState) bool {
	switch d.State {
	case oncall.DeliveryAccepted, oncall.DeliverySending:
		return state == oncall.DeliveryDelivered || a.Number >= d.Attempts
	case oncall.DeliveryQueued, oncall.DeliveryRefused: // "voicemail answered" may be a mistake, a key that is pressed is none
		return state == oncall.DeliveryDelivered && d.Attempts > 0
	}
	return false
}
