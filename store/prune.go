package store

import (
	"context"
	"time"

	"tocsin/oncall"
)

// pruneBatch is how much one transaction deletes, so that pages need not wait for it.
const pruneBatch = 100

// Prune deletes what ended longer ago than retention: resolved incidents with all their rows (unless a
// delivery or a timer of theirs is still waiting), steps of alerts, series that wait for a far end that nobody
// has named for so long, overrides, and remembered requests; and notifications of groups and silences that ended longer
// ago, and more of the former, than oncall says. It returns how many incidents it deleted. It works in small transactions, and may be
// cancelled between them.
func (s *Store) Prune(ctx context.Context, now time.Time, retention time.Duration) (incidents int, err error) {
	before := now.Add(-retention)
	at := micros(before)
	incidents, err = s.deleteAll(ctx, `delete from incidents where number in (
		select number from incidents i where state = 'resolved' and resolved_at < $1 and next_at = 0
			and not exists (select 1 from deliveries d where d.incident = i.number and d.state in ('queued', 'sending'))
		order by resolved_at limit $2)`, at, pruneBatch)
	if err != nil {
		return incidents, err
	}
	if _, err := s.deleteAll(ctx, `delete from alert_transitions where seq in (
		select seq from alert_transitions where at < $1 order by at limit $2)`, at, 10*pruneBatch); err != nil {
		return incidents, err
	}
	if _, err := s.deleteAll(ctx, `delete from remote_writes where seq in (
		select seq from remote_writes where at < $1 order by seq limit $2)`, at, pruneBatch); err != nil {
		return incidents, err
	}
	if err := s.forgetGroupDeliveries(ctx, now.Add(-min(retention, oncall.GroupDeliveriesKept)), oncall.GroupDeliveriesMost); err != nil {
		return incidents, err
	}
	if err := s.forgetSilences(ctx, now.Add(-oncall.SilencesKept)); err != nil {
		return incidents, err
	}
	if err := s.forgetOverrides(ctx, before); err != nil {
		return incidents, err
	}
	_, err = s.deleteAll(ctx, `delete from seen_requests where request in (
		select request from seen_requests where at < $1 order by at limit $2)`, at, 10*pruneBatch)
	return incidents, err
}

// deleteAll runs a deletion of what is older than at, batch rows at a time, until nothing is left.
func (s *Store) deleteAll(ctx context.Context, query string, at int64, batch int) (total int, err error) {
	for {
		n, err := do(ctx, s, oncall.Write{}, func(t *tx) (int, error) { return t.exec(query, at, batch) })
		total += n
		if err != nil || n < batch {
			return total, err
		}
	}
}
