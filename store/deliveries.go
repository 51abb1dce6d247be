package store

import (
	"context"
	"database/sql"
	"time"

	"tocsin/oncall"
)

// deliveryColumns are in the order of scanDelivery; a page's body comes only with a claim and with Delivery.
const deliveryColumns = `key, incident, seq, endpoint, kind, round, tier, target, person, priority, state, attempts,
	created_at, next_at, first_attempt_at, done_at, status, error, excerpt, remote, revision, confirm, bundle,
	case when bundle = '' then bundled else coalesce((select c.bundled from deliveries c where c.key = deliveries.bundle), 0) end`

// ofDrill says of each delivery whether its incident is a drill.
const ofDrill = ", coalesce((select i.drill from incidents i where i.number = deliveries.incident), 0)"

func scanDelivery(r *sql.Rows, more ...any) (oncall.Delivery, error) {
	var d oncall.Delivery
	var created, next, first, done int64
	err := r.Scan(append([]any{&d.Key, &d.Incident, &d.Seq, (*string)(&d.Endpoint), (*string)(&d.Kind), &d.Round, &d.Tier,
		&d.Target, &d.User, &d.Priority, (*string)(&d.State), &d.Attempts,
		&created, &next, &first, &done, &d.Status, &d.Error, &d.Excerpt, &d.Remote, &d.Revision,
		(*string)(&d.Confirmation), &d.Bundle, &d.Bundled}, more...)...)
	if d.Confirmation == oncall.ConfirmationWaiting {
		d.State = oncall.DeliveryAccepted // the column knows no such state (migration 9)
	}
	d.Kind = kindOf(d)
	d.CreatedAt, d.NextAt, d.FirstAttemptAt, d.DoneAt = fromMicros(created), fromMicros(next), fromMicros(first), fromMicros(done)
	return d, err
}

// storedKind is how a kind is written. The table's check is older than charts, and SQLite cannot widen it: a chart is
// written as what it is like, a reply, and known again by its endpoint.
func storedKind(k oncall.DeliveryKind) string {
	if k == oncall.KindChart {
		k = oncall.KindReply
	}
	return string(k)
}

// kindOf is the kind of a delivery that was read.
func kindOf(d oncall.Delivery) oncall.DeliveryKind {
	if d.Kind == oncall.KindReply && d.Endpoint.ThreadOf() != d.Endpoint {
		return oncall.KindChart
	}
	return d.Kind
}

// loadDeliveries returns deliveries without their bodies.
func loadDeliveries(q queryer, where string, args ...any) ([]oncall.Delivery, error) {
	var ds []oncall.Delivery
	err := each(q, "select "+deliveryColumns+" from deliveries where "+where, args, func(r *sql.Rows) error {
		d, err := scanDelivery(r)
		ds = append(ds, d)
		return err
	})
	return ds, err
}

// loadDelivery returns one delivery with its body.
func loadDelivery(q queryer, key string) (d oncall.Delivery, epoch int64, err error) {
	found := false
	err = each(q, "select "+deliveryColumns+", body, epoch"+ofDrill+" from deliveries where key = $1", []any{key}, func(r *sql.Rows) error {
		found = true
		var body []byte
		var drill int
		var err error
		d, err = scanDelivery(r, &body, &epoch, &drill)
		d.Body, d.Drill = body, drill != 0
		return err
	})
	if err == nil && !found {
		err = oncall.Errorf(oncall.CodeNotFound, "there is no delivery %s", key)
	}
	return d, epoch, err
}

// Delivery returns one delivery with its body, oncall's not_found for an unknown key.
func (s *Store) Delivery(ctx context.Context, key string) (d oncall.Delivery, err error) {
	err = s.view(ctx, func(q queryer) error {
		d, _, err = loadDelivery(q, key)
		return err
	})
	return d, err
}

// addDeliveries queues the deliveries of a decision, in order. One whose key exists is there already. They may be left in b.
// bundled: those that ask may go together with others, which those of a drill must not.
func (t *tx) addDeliveries(b *inserter, in oncall.Incident, ds []oncall.Delivery, now time.Time, bundled bool) error {
	if len(ds) == 0 {
		return nil
	}
	t.mine.Deliveries = true
	var last int64
	if in.State != "" {
		if _, err := one(t, "select coalesce(max(seq), 0) from deliveries where incident = $1", []any{in.Number}, &last); err != nil {
			return err
		}
	}
	for i, d := range ds {
		if d.State == "" {
			d.State = oncall.DeliveryQueued
		}
		if d.CreatedAt.IsZero() {
			d.CreatedAt = now
		}
		if d.NextAt.IsZero() {
			d.NextAt = d.CreatedAt
		}
		if d.Kind == oncall.KindEdit && in.State != "" {
			if err := b.flush(); err != nil { // the one that it replaces may be of this decision
				return err
			}
			if err := t.replaceEdit(in, &d); err != nil {
				return err
			}
		}
		if err := b.add(d.Key, in.Number, last+1+int64(i), string(d.Endpoint), storedKind(d.Kind), d.Round, d.Tier, d.Target, d.User, d.Priority, d.Body,
			string(d.State), int64(0), d.Attempts, micros(d.CreatedAt), micros(d.NextAt), micros(d.FirstAttemptAt), micros(d.DoneAt),
			d.Status, d.Error, d.Excerpt, d.Remote, d.Revision, queueOf(&d, bundled)); err != nil {
			return err
		}
	}
	return nil
}

// replaceEdit removes the edit that waits for the same message unattempted: d will show the latest state
// too. d becomes due when the removed one was, or edits in a storm would put each other off for ever.
func (t *tx) replaceEdit(in oncall.Incident, d *oncall.Delivery) error {
	var due int64
	replaced, err := one(t, `delete from deliveries where incident = $1 and endpoint = $2 and kind = 'edit'
		and state = 'queued' and attempts = 0 and key <> $3 returning next_at`,
		[]any{in.Number, string(d.Endpoint), d.Key}, &due)
	if err != nil || !replaced {
		return err
	}
	if at := fromMicros(due); at.Before(d.NextAt) {
		d.NextAt = at
	}
	return nil
}

// FinishDelivery commits the result of an attempt: the delivery's new state and next time, a timeline entry
// for the attempt (none for an edit that was delivered or will be retried), and what follows for the
// incident, as decide says (nil: nothing). decide sees the delivery with its new state. Committing the same
// result again changes nothing; a delivery that is not being sent by w's lease is a conflict.
func (s *Store) FinishDelivery(ctx context.Context, w oncall.Write, key string, a oncall.Attempt, state oncall.DeliveryState, nextAt time.Time,
	decide func(oncall.Incident) (oncall.Decision, error)) error {
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		return struct{}{}, t.finishDelivery(w, key, a, state, nextAt, decide)
	})
	return err
}

func (t *tx) finishDelivery(w oncall.Write, key string, a oncall.Attempt, state oncall.DeliveryState, nextAt time.Time,
	decide func(oncall.Incident) (oncall.Decision, error)) error {
	d, epoch, err := loadDelivery(t, key)
	if err != nil {
		return err
	}
	if a.Number == 0 {
		a.Number = d.Attempts
	}
	if d.Attempts == a.Number && (d.State == state || d.Confirmation != "") {
		return nil // committed before, by a call that did not learn of it; or the far end's report was faster
	}
	if d.State != oncall.DeliverySending || w.Lease != nil && epoch != w.Lease.Epoch {
		return oncall.Errorf(oncall.CodeConflict, "delivery %s is not being sent by this process", key)
	}
	// Incidents are locked before their deliveries, here as in UpdateIncident.
	if _, err := one(t, "select number from incidents where number = $1"+t.d.forUpdate, []any{d.Incident}, new(int64)); err != nil {
		return err
	}
	if err := t.putResult(&d, a, state, nextAt, w.Now); err != nil {
		if now, _, lerr := loadDelivery(t, key); lerr == nil && now.Confirmation != "" {
			return nil // the report came while the incident was waited for
		}
		return err
	}
	if state == oncall.DeliveryDelivered {
		if err := t.movePosted(&d, a.Remote); err != nil {
			return err
		}
	}
	t.mine.Deliveries = true // the next one to this endpoint may go
	if d.Kind != oncall.KindEdit || state != oncall.DeliveryDelivered && state != oncall.DeliveryQueued || state == oncall.DeliveryDelivered && a.Error != "" {
		entry := oncall.AttemptEntry(d, a)
		if err := t.noteAttempt(d.Incident, entry, w.Now); err != nil {
			return err
		}
	}
	if decide == nil {
		return nil
	}
	_, err = t.decide(d.Incident, w.Now, decide)
	return err
}

// putResult writes what an attempt made of a delivery, and sets it in d.
func (t *tx) putResult(d *oncall.Delivery, a oncall.Attempt, state oncall.DeliveryState, nextAt, now time.Time) error {
	d.State, d.NextAt, d.DoneAt = state, nextAt, time.Time{}
	if state.Final() {
		d.NextAt, d.DoneAt = time.Time{}, now
	}
	d.Status, d.Error, d.Excerpt = a.Status, a.Error, a.Excerpt
	if a.Remote != "" {
		d.Remote = a.Remote
	}
	d.Revision = max(d.Revision, a.Revision)
	done := micros(d.DoneAt)
	if state.Final() {
		done = max(done, 1)
	}
	column, confirm := deliveryState(d.State)
	n, err := t.exec(`update deliveries set state = $1, next_at = $2, done_at = $3, status = $4, error = $5, excerpt = $6, remote = $7, revision = $8,
			confirm = $9
		where key = $10 and state = 'sending'`,
		column, micros(d.NextAt), done, d.Status, d.Error, d.Excerpt, d.Remote, d.Revision, string(confirm), d.Key)
	d.Confirmation = confirm
	if err == nil && n == 0 {
		err = oncall.Errorf(oncall.CodeConflict, "delivery %s is not being sent any more", d.Key)
	}
	return err
}
