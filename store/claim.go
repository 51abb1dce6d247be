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

// ClaimDeliveries marks up to limit due deliveries as sending under w's epoch, counts their attempt, and
// returns them by Priority, then NextAt. Of one incident and endpoint only the oldest unfinished delivery
// is claimed, and only when none is being sent. free says how many more an endpoint can take now. What an
// earlier epoch was sending is due at once. next is the earliest NextAt of those that could be claimed but
// for their time (zero: none).
func (s *Store) ClaimDeliveries(ctx context.Context, w oncall.Write, limit int,
	free func(oncall.Endpoint) int) (claims []oncall.Claim, next time.Time, err error) {
	type result struct {
		claims []oncall.Claim
		next   time.Time
	}
	r, err := do(ctx, s, w, func(t *tx) (r result, err error) {
		r.claims, err = t.claim(w, limit, free)
		if err != nil {
			return r, err
		}
		var at int64
		_, err = one(t, "select d.next_at from deliveries d where d.state = 'queued' and d.next_at > $1"+oldest+" order by d.next_at limit 1",
			[]any{micros(w.Now)}, &at)
		r.next = fromMicros(at)
		return r, err
	})
	return r.claims, r.next, err
}

// candidate is a delivery that may be claimed.
type candidate struct {
	key      string
	incident int64
	seq      int64
	endpoint oncall.Endpoint
	priority int
	nextAt   int64
}

func (t *tx) claim(w oncall.Write, limit int, free func(oncall.Endpoint) int) ([]oncall.Claim, error) {
	epoch := int64(0)
	if w.Lease != nil {
		epoch = w.Lease.Epoch
	}
	endpoints, err := t.waitingEndpoints()
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, e := range endpoints {
		n := min(free(e), limit)
		if n <= 0 {
			continue
		}
		if all, err = t.candidates(all, e, epoch, w.Now, n); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.nextAt, b.nextAt), cmp.Compare(a.incident, b.incident), cmp.Compare(a.seq, b.seq),
			strings.Compare(a.key, b.key))
	})
	var claims []oncall.Claim
	for _, c := range all {
		if len(claims) == limit {
			break
		}
		// The state is asked again: somebody may have taken the delivery back.
		n, err := t.exec(`update deliveries set state = 'sending', attempts = attempts + 1, epoch = $1,
				first_attempt_at = case when first_attempt_at > 0 then first_attempt_at else $2 end
			where key = $3 and (state = 'queued' or state = 'sending' and epoch < $1)`,
			epoch, max(micros(w.Now), 1), c.key)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		claim, err := t.loadClaim(c)
		if err != nil {
			return nil, err
		}
		claims = append(claims, claim)
	}
	return claims, nil
}

// waitingEndpoints returns the endpoints that have unfinished deliveries. It leaps through the index from
// one endpoint to the next, so that a long queue costs no more than a short one.
func (t *tx) waitingEndpoints() ([]oncall.Endpoint, error) {
	const unfinished = "from deliveries where state in ('queued', 'sending')"
	var es []oncall.Endpoint
	err := each(t, `with recursive e (endpoint) as (
			select (select min(endpoint) `+unfinished+`)
			union all
			select (select min(endpoint) `+unfinished+` and endpoint > e.endpoint) from e where e.endpoint is not null)
		select endpoint from e where endpoint is not null`, nil, func(r *sql.Rows) error {
		var e string
		err := r.Scan(&e)
		es = append(es, oncall.Endpoint(e))
		return err
	})
	return es, err
}

// candidates appends up to n deliveries of one endpoint that may be claimed, the most pressing first.
func (t *tx) candidates(all []candidate, e oncall.Endpoint, epoch int64, now time.Time, n int) ([]candidate, error) {
	err := each(t, `select d.key, d.incident, d.seq, d.priority, d.next_at from deliveries d
		where d.endpoint = $1 and d.state in ('queued', 'sending')
			and (d.state = 'queued' and d.next_at <= $2 or d.state = 'sending' and d.epoch < $3)`+oldest+`
		order by d.priority, d.next_at, d.incident, d.seq limit $4`,
		[]any{string(e), micros(now), epoch, n}, func(r *sql.Rows) error {
			c := candidate{endpoint: e}
			err := r.Scan(&c.key, &c.incident, &c.seq, &c.priority, &c.nextAt)
			all = append(all, c)
			return err
		})
	return all, err
}

// loadClaim returns a claimed delivery with what its sender must know.
func (t *tx) loadClaim(c candidate) (oncall.Claim, error) {
	d, _, err := loadDelivery(t, c.key)
	if err != nil {
		return oncall.Claim{}, err
	}
	claim := oncall.Claim{Delivery: d}
	if _, err := one(t, `select remote from deliveries where incident = $1 and endpoint = $2 and kind in ('message', 'edit') and state = 'delivered'
		and remote <> '' order by seq desc limit 1`, []any{d.Incident, string(d.Endpoint.ThreadOf())}, &claim.Thread); err != nil {
		return oncall.Claim{}, err
	}
	_, err = one(t, `select coalesce(max(revision), 0) from deliveries where incident = $1 and endpoint = $2
		and kind in ('message', 'edit') and state = 'delivered'`, []any{d.Incident, string(d.Endpoint)}, &claim.Shown)
	return claim, err
}
