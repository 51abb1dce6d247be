package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"tocsin/oncall"
)

// oldest restricts a select of deliveries d to the oldest unfinished one of each incident and endpoint.
const oldest = ` and not exists (select 1 from deliveries o where o.incident = d.incident and o.endpoint = d.endpoint
	and o.state in ('queued', 'sending') and o.seq < d.seq)`

// ClaimDeliveries marks due deliveries as sending under w's epoch, counts their attempt, and returns them by Priority,
// then NextAt. Of one incident and endpoint only the oldest unfinished delivery is claimed, and only when none is being
// sent. Of those that were never attempted and ask the same target at the same endpoint the most pressing one is claimed
// as the carrier of all (bundle.go). What an earlier epoch was sending is due at once.
func (s *Store) ClaimDeliveries(ctx context.Context, w oncall.Write, r oncall.ClaimRequest) (oncall.Claimed, error) {
	return do(ctx, s, w, func(t *tx) (c oncall.Claimed, err error) {
		if c.Ended, err = t.endedBundles(); err != nil {
			return c, err
		}
		if c.Claims, err = t.claim(w, r); err != nil {
			return c, err
		}
		var at int64
		_, err = one(t, "select d.next_at from deliveries d where d.state = 'queued' and d.next_at > $1 and d.bundle = ''"+oldest+" order by d.next_at limit 1",
			[]any{micros(w.Now)}, &at)
		c.Next = fromMicros(at)
		return c, err
	})
}

// candidate is a delivery that may be claimed.
type candidate struct {
	key      string
	incident int64
	seq      int64
	endpoint oncall.Endpoint
	queue    string
	priority int
	nextAt   int64
}

func (t *tx) claim(w oncall.Write, r oncall.ClaimRequest) ([]oncall.Claim, error) {
	epoch := int64(0)
	if w.Lease != nil {
		epoch = w.Lease.Epoch
	}
	queues, err := t.waitingQueues()
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, q := range queues {
		e, target := splitQueue(q)
		n := min(r.Free(e, target), r.Limit)
		if n <= 0 {
			continue
		}
		if target != "" {
			n = 1 // it carries the others
		}
		if all, err = t.candidates(all, q, epoch, w.Now, n); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.nextAt, b.nextAt), cmp.Compare(a.incident, b.incident), cmp.Compare(a.seq, b.seq),
			strings.Compare(a.key, b.key))
	})
	var claims []oncall.Claim
	taken := map[oncall.Endpoint]int{}
	for _, c := range all {
		if len(claims) == r.Limit {
			break
		}
		e, target := splitQueue(c.queue)
		if taken[e] > 0 && taken[e] >= r.Free(e, target) {
			continue
		}
		claim, ok, err := t.claimOne(c, epoch, w.Now, r)
		if err != nil {
			return nil, err
		}
		if ok {
			taken[e]++
			claims = append(claims, claim)
		}
	}
	return claims, nil
}

// claimOne claims a candidate, with what it carries from now on. ok: nobody has taken it back meanwhile, nor does
// another one carry it.
func (t *tx) claimOne(c candidate, epoch int64, now time.Time, r oncall.ClaimRequest) (claim oncall.Claim, ok bool, err error) {
	n, err := t.exec(`update deliveries set state = 'sending', attempts = attempts + 1, epoch = $1, queue = endpoint,
			first_attempt_at = case when first_attempt_at > 0 then first_attempt_at else $2 end
		where key = $3 and bundle = '' and (state = 'queued' or state = 'sending' and epoch < $1)`,
		epoch, max(micros(now), 1), c.key)
	if err != nil || n == 0 {
		return claim, false, err
	}
	if claim, err = t.loadClaim(c); err != nil {
		return claim, false, err
	}
	_, claim.Lane = splitQueue(c.queue)
	return claim, true, t.bundle(&claim, c, now, r)
}

// queueSeparator stands between an endpoint and a target in the name of a queue.
const queueSeparator = "\x1f"

// queueOf is what a delivery waits in: its endpoint, and its target too while it may be bundled.
func queueOf(d *oncall.Delivery, bundled bool) string {
	if lane := d.Lane(); bundled && lane != "" && d.Attempts == 0 {
		return string(d.Endpoint) + queueSeparator + lane
	}
	return string(d.Endpoint)
}

func splitQueue(q string) (e oncall.Endpoint, target string) {
	endpoint, target, _ := strings.Cut(q, queueSeparator)
	return oncall.Endpoint(endpoint), target
}

// waitingQueues returns the queues that have unfinished deliveries, but for those that another one carries. It leaps
// through the index from one to the next, so that a long queue costs no more than a short one.
func (t *tx) waitingQueues() ([]string, error) {
	const unfinished = "from deliveries where state in ('queued', 'sending') and bundle = ''"
	var qs []string
	err := each(t, `with recursive q (queue) as (
			select (select min(queue) `+unfinished+`)
			union all
			select (select min(queue) `+unfinished+` and queue > q.queue) from q where q.queue is not null)
		select queue from q where queue is not null`, nil, func(r *sql.Rows) error {
		var q string
		err := r.Scan(&q)
		qs = append(qs, q)
		return err
	})
	return qs, err
}

// candidates appends up to n deliveries of one queue that may be claimed, the most pressing first. The sum in the limit
// keeps SQLite from planning the statement anew each time that one is bound.
func (t *tx) candidates(all []candidate, queue string, epoch int64, now time.Time, n int) ([]candidate, error) {
	err := each(t, `select d.key, d.incident, d.seq, d.endpoint, d.priority, d.next_at from deliveries d
		where d.queue = $1 and d.state in ('queued', 'sending') and d.bundle = ''
			and (d.state = 'queued' and d.next_at <= $2 or d.state = 'sending' and d.epoch < $3)`+oldest+`
		order by d.priority, d.next_at, d.incident, d.seq limit $4 + 0`,
		[]any{queue, micros(now), epoch, n}, func(r *sql.Rows) error {
			c := candidate{queue: queue}
			err := r.Scan(&c.key, &c.incident, &c.seq, (*string)(&c.endpoint), &c.priority, &c.nextAt)
			all = append(all, c)
			return err
		})
	return all, err
}

// ofIncident restricts a select of deliveries to those of the incident $1 at the endpoint $2. SQLite must find them by
// their incident, which has a few, and not in the index of what an endpoint took, which has its whole history.
const ofIncident = "incident = $1 and endpoint || '' = $2"

// loadClaim returns a claimed delivery with what its sender must know.
func (t *tx) loadClaim(c candidate) (oncall.Claim, error) {
	d, _, err := loadDelivery(t, c.key)
	claim := oncall.Claim{Delivery: d}
	if err != nil || d.Kind.Asks() && !d.Endpoint.Integration() {
		return claim, err // a page stands by itself
	}
	if _, err := one(t, "select remote from deliveries where "+ofIncident+` and kind in ('message', 'edit') and state = 'delivered'
		and remote <> '' order by seq desc limit 1`, []any{d.Incident, string(d.Endpoint.ThreadOf())}, &claim.Thread); err != nil {
		return claim, err
	}
	if _, err := one(t, "select coalesce(max(revision), 0) from deliveries where "+ofIncident+`
		and kind in ('message', 'edit') and state = 'delivered'`, []any{d.Incident, string(d.Endpoint)}, &claim.Shown); err != nil {
		return claim, err
	}
	return claim, t.loadPosted(&claim)
}
