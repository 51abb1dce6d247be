package store

import (
	"context"
	"database/sql"
	"time"

	"tocsin/oncall"
)

// Backlog returns what has waited since cut or longer. read is the last row of the log that the dispatcher has read.
// A page counts where it is the next one of its incident and endpoint, was never attempted, and its endpoint has
// neither begun nor delivered anything since cut: one that waits its turn behind others that are sent does not. A
// notification of a group counts likewise.
func (s *Store) Backlog(ctx context.Context, cut time.Time, read int64) (b oncall.Backlog, err error) {
	err = s.view(ctx, func(q queryer) error {
		b = oncall.Backlog{}
		at := micros(cut)
		var received, timer, page int64
		if _, err := one(q, "select at from received where seq > $1 order by seq limit 1", []any{read}, &received); err != nil {
			return err
		}
		if received <= at {
			b.Received = fromMicros(received)
		}
		var doc string
		found, err := one(q, "select doc from alert_changes order by seq limit 1", nil, &doc)
		if err != nil {
			return err
		}
		if found {
			var c oncall.AlertChange
			if err := decode(doc, &c); err != nil {
				return err
			}
			if !c.At.After(cut) {
				b.Change = c.At
			}
		}
		if _, err := one(q, "select next_at from incidents where next_at > 0 and next_at <= $1 order by next_at limit 1", []any{at}, &timer); err != nil {
			return err
		}
		b.Timer = fromMicros(timer)
		var endpoint string
		_, err = one(q, `select d.next_at, d.endpoint from deliveries d
			where d.state = 'queued' and d.attempts = 0 and d.kind in ('triggered', 'message') and d.next_at <= $1`+oldest+`
				and not exists (select 1 from deliveries e where e.endpoint = d.endpoint and e.state in ('queued', 'sending') and e.first_attempt_at > $1)
				and not exists (select 1 from deliveries e where e.endpoint = d.endpoint and e.state = 'delivered' and e.done_at > $1)
			order by d.next_at limit 1`, []any{at}, &page, &endpoint)
		b.Page, b.Endpoint = fromMicros(page), oncall.Endpoint(endpoint)
		if err != nil {
			return err
		}
		b.Notification, b.Integration, err = waitingNotification(q, at)
		return err
	})
	return b, err
}

// waitingNotification returns since when, before cut, a notification of a group has waited for the end of an attempt,
// and at which integration. Where the integration has come to an end with any notification since cut, be it by a retry
// that is due later, the others wait their turn.
func waitingNotification(q queryer, cut int64) (since time.Time, at oncall.Endpoint, err error) {
	moving := map[string]bool{}
	if err := each(q, `select distinct endpoint from group_deliveries where done_at > $1 and done_at > 0
		union select distinct endpoint from group_deliveries where done_at = 0 and state = 'queued' and next_at > $1`, []any{cut}, func(r *sql.Rows) error {
		var e string
		err := r.Scan(&e)
		moving[e] = true
		return err
	}); err != nil {
		return since, at, err
	}
	var oldest int64
	err = each(q, `select endpoint, min(case when next_at > 0 then next_at else created_at end) from group_deliveries
		where done_at = 0 and next_at <= $1 and created_at <= $1 group by endpoint order by 2, 1`, []any{cut}, func(r *sql.Rows) error {
		var e string
		var waits int64
		err := r.Scan(&e, &waits)
		if oldest == 0 && !moving[e] {
			oldest, at = waits, oncall.Endpoint(e)
		}
		return err
	})
	return fromMicros(oldest), at, err
}

// Writable commits a small write under w's lease: nil says that the store takes writes, and that the lease is held. A
// full disk takes small writes long after it refuses what matters, so a failure not long ago is one too.
func (s *Store) Writable(ctx context.Context, w oncall.Write) error {
	if _, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		return struct{}{}, t.exec1("update counters set value = value where name = 'record'")
	}); err != nil {
		return err
	}
	return s.Healthy(ctx)
}
