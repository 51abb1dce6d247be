package store

import (
	"context"
	"database/sql"
	"time"

	"tocsin/oncall"
)

// bundle has a claimed delivery carry what waits for the same endpoint and target, if it may, and freezes its body. What
// it carries is settled with its first attempt. An edit carries the edits of all that its message shows, and a reply the
// replies to it.
func (t *tx) bundle(c *oncall.Claim, from candidate, now time.Time, r oncall.ClaimRequest) error {
	d := &c.Delivery
	if d.Attempts == 1 {
		n, err := t.carry(c, from, now)
		if err != nil {
			return err
		}
		if n > 0 {
			d.Bundled = n + 1
			if err := t.exec1("update deliveries set bundled = $1 where key = $2", d.Bundled, d.Key); err != nil {
				return err
			}
		}
	}
	if d.Bundled == 0 {
		return nil
	}
	b := oncall.Bundle{Key: d.Key, Count: d.Bundled}
	if d.Kind != oncall.KindEdit {
		var err error
		if b, err = loadBundle(t, d.Key); err != nil {
			return err
		}
	}
	c.Bundle = &b
	if d.Attempts > 1 || d.Kind != oncall.KindTriggered || len(d.Body) == 0 || r.Freeze == nil {
		return nil
	}
	body := r.Freeze(*d, b)
	if len(body) == 0 {
		return nil
	}
	d.Body = body
	return t.exec1("update deliveries set body = $1 where key = $2", body, d.Key)
}

// carry makes members of a claimed delivery and returns how many.
func (t *tx) carry(c *oncall.Claim, from candidate, now time.Time) (int, error) {
	const become = `update deliveries as d set bundle = $1, attempts = 1, first_attempt_at = $2
		where d.queue = $3 and d.state in ('queued', 'sending') and d.bundle = ''
			and d.state = 'queued' and d.attempts = 0 and d.next_at <= $4 and d.key <> $5`
	d := &c.Delivery
	at := max(micros(now), 1)
	switch {
	case c.Lane != "":
		return t.exec(become+oldest, d.Key, at, from.queue, micros(now), d.Key)
	case (d.Kind == oncall.KindEdit || d.Kind == oncall.KindReply) && c.Posted != "":
		// The message is found by its incident, and not by its endpoint or bundle: those have thousands.
		return t.exec(become+` and d.kind = $7 and exists (select 1 from deliveries m where m.incident = d.incident
				and m.endpoint || '' = d.endpoint and m.kind = 'message' and m.state = 'delivered'
				and case when m.bundle <> '' then m.bundle else m.key end = $6)`+oldest,
			d.Key, at, from.queue, micros(now), d.Key, c.Posted, string(d.Kind))
	}
	return 0, nil
}

// loadPosted finds out whether an incident's message at an endpoint is one of several: the thread is then where the
// carrier's is.
func (t *tx) loadPosted(c *oncall.Claim) error {
	if c.Thread == "" {
		return nil
	}
	d := &c.Delivery
	var carrier string
	_, err := one(t, `select case when bundle <> '' then bundle when bundled > 0 then key else '' end from deliveries
		where `+ofIncident+` and kind = 'message' and state = 'delivered' order by seq desc limit 1`,
		[]any{d.Incident, string(d.Endpoint.ThreadOf())}, &carrier)
	if err != nil || carrier == "" {
		return err
	}
	var thread string
	if _, err := one(t, "select remote from deliveries where key = $1", []any{carrier}, &thread); err != nil || thread == "" {
		return err
	}
	c.Posted, c.Thread = carrier, thread
	return nil
}

// movePosted notes where the message of several incidents is now, after one of their edits had to post it anew.
func (t *tx) movePosted(d *oncall.Delivery, remote string) error {
	if d.Kind != oncall.KindEdit || remote == "" {
		return nil
	}
	return t.exec1(`update deliveries set remote = $3 where remote <> $3 and key = (
		select case when bundle <> '' then bundle when bundled > 0 then key else '' end from deliveries
		where `+ofIncident+` and kind = 'message' and state = 'delivered' order by seq desc limit 1)`,
		d.Incident, string(d.Endpoint), remote)
}

// Bundle returns what a delivery carries or carried, as it stands, oncall's not_found where it carries nothing.
func (s *Store) Bundle(ctx context.Context, carrier string) (b oncall.Bundle, err error) {
	err = s.view(ctx, func(q queryer) error {
		b, err = loadBundle(q, carrier)
		return err
	})
	if err == nil && b.Count == 0 {
		err = oncall.Errorf(oncall.CodeNotFound, "no delivery goes for others under the key %s", carrier)
	}
	return b, err
}

// carriedBy restricts deliveries d to a carrier and its members.
const carriedBy = " (d.key = $1 and d.bundled > 0 or d.bundle = $1 and d.bundle <> '')"

func loadBundle(q queryer, carrier string) (oncall.Bundle, error) {
	b := oncall.Bundle{Key: carrier, States: map[oncall.IncidentState]int{}}
	if err := each(q, "select i.state, count(*) from deliveries d join incidents i on i.number = d.incident where"+carriedBy+" group by i.state",
		[]any{carrier}, func(r *sql.Rows) error {
			var state string
			var n int
			err := r.Scan(&state, &n)
			b.States[oncall.IncidentState(state)] = n
			b.Count += n
			return err
		}); err != nil {
		return b, err
	}
	err := each(q, "select d.key, d.round, d.tier, i.doc, case when d.kind = 'reply' then d.body end from deliveries d join incidents i on i.number = d.incident where"+carriedBy+
		" order by d.bundle, d.incident limit $2", []any{carrier, oncall.MaxListed}, func(r *sql.Rows) error {
		var m oncall.BundleMember
		var doc string
		if err := r.Scan(&m.Delivery, &m.Round, &m.Tier, &doc, &m.Body); err != nil {
			return err
		}
		err := decode(doc, &m.Incident)
		b.Members = append(b.Members, m)
		return err
	})
	return b, err
}

// endedBundles returns the keys of carriers that have ended, and some of whose members wait to be settled: because they
// were sent, or because the far end has said since whether they arrived. It leaps from one bundle to the next.
func (t *tx) endedBundles() ([]string, error) {
	keys, err := t.bundlesWith("state = 'queued'", "c.state in ('queued', 'sending')")
	if err != nil {
		return nil, err
	}
	told, err := t.bundlesWith("confirm = 'waiting'", "c.confirm = 'waiting'")
	return append(keys, told...), err
}

// bundlesWith returns the carriers of such members that are not under way themselves.
func (t *tx) bundlesWith(members, underWay string) (keys []string, err error) {
	carried := "from deliveries where bundle <> '' and " + members
	err = each(t, `with recursive b (bundle) as (
			select (select min(bundle) `+carried+`)
			union all
			select (select min(bundle) `+carried+` and bundle > b.bundle) from b where b.bundle is not null)
		select b.bundle from b where b.bundle is not null
			and not exists (select 1 from deliveries c where c.key = b.bundle and `+underWay+`)`, nil, func(r *sql.Rows) error {
		var key string
		err := r.Scan(&key)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// SettleBundle commits, for up to limit members of a carrier that has ended, what became of them (oncall.AfterBundle),
// each on its incident's timeline and with what follows, as decide says. more: others wait still. While the carrier is
// under way there is nothing to settle.
func (s *Store) SettleBundle(ctx context.Context, w oncall.Write, carrier string, limit int,
	decide func(oncall.Incident, oncall.DeliveryFinished) (oncall.Decision, error)) (more bool, err error) {
	return do(ctx, s, w, func(t *tx) (bool, error) {
		c, _, err := loadDelivery(t, carrier)
		switch {
		case oncall.ErrorCode(err) == oncall.CodeNotFound: // it was pruned: what it carried goes on
			c = oncall.Delivery{Key: carrier, State: oncall.DeliveryDropped, Attempts: 1}
		case err != nil:
			return false, err
		case !c.State.Final():
			return false, nil
		}
		if c.Kind == oncall.KindEdit {
			return t.settleEdits(c, limit, w.Now)
		}
		a, err := t.lastAttempt(c)
		if err != nil {
			return false, err
		}
		keys, err := t.carried(carrier, "state = 'queued'", limit)
		if err != nil {
			return false, err
		}
		for _, key := range keys {
			if err := t.settle(key, c, a, w.Now, decide); err != nil {
				return false, err
			}
		}
		n := len(keys)
		if c.State != oncall.DeliveryAccepted && n < limit {
			if keys, err = t.carried(carrier, "confirm = 'waiting'", limit-n); err != nil {
				return false, err
			}
			for _, key := range keys {
				if err := t.confirmMember(w, key, c, a, decide); err != nil {
					return false, err
				}
			}
			n += len(keys)
		}
		t.mine.Deliveries = t.mine.Deliveries || n > 0
		return n == limit, nil
	})
}

// carried returns the keys of some members of a bundle.
func (t *tx) carried(carrier, which string, limit int) (keys []string, err error) {
	err = each(t, "select key from deliveries where bundle = $1 and bundle <> '' and "+which+" order by incident limit $2 + 0",
		[]any{carrier, limit}, func(r *sql.Rows) error {
			var key string
			err := r.Scan(&key)
			keys = append(keys, key)
			return err
		})
	return keys, err
}

// confirmMember commits for a member what the far end has said of its carrier.
func (t *tx) confirmMember(w oncall.Write, key string, carrier oncall.Delivery, a oncall.Attempt,
	decide func(oncall.Incident, oncall.DeliveryFinished) (oncall.Decision, error)) error {
	state := oncall.DeliveryRefused
	if carrier.State == oncall.DeliveryDelivered {
		state = oncall.DeliveryDelivered
	}
	a.Number, a.Sent = 0, nil // of the member's own attempt
	return t.confirmDelivery(w, key, a, state, func(in oncall.Incident) (oncall.Decision, error) {
		if decide == nil {
			return oncall.Decision{}, nil
		}
		return decide(in, oncall.DeliveryFinished{Key: key, Attempt: a, State: state})
	})
}

// settleEdits ends edits as the one that carried them: what was drawn showed what they were for.
func (t *tx) settleEdits(c oncall.Delivery, limit int, now time.Time) (more bool, err error) {
	state, done := oncall.DeliveryDelivered, max(micros(now), 1)
	if c.State != oncall.DeliveryDelivered {
		state = oncall.DeliveryRefused
	}
	n, err := t.exec(`update deliveries set state = $1, next_at = 0, done_at = $2, status = $3, error = $4 where key in (
			select key from deliveries where bundle = $5 and bundle <> '' and state = 'queued' limit $6)`,
		string(state), done, c.Status, c.Error, c.Key, 20*limit)
	t.mine.Deliveries = n > 0
	return n == 20*limit, err
}

// lastAttempt returns the last attempt of a delivery, as its incident's timeline has it.
func (t *tx) lastAttempt(d oncall.Delivery) (oncall.Attempt, error) {
	a := oncall.Attempt{At: d.DoneAt, Number: d.Attempts, Status: d.Status, Error: d.Error, Excerpt: d.Excerpt}
	err := each(t, "select doc from timeline where incident = $1 and kind = 'delivery' order by seq desc limit 200", []any{d.Incident}, func(r *sql.Rows) error {
		e, err := scanDoc[oncall.TimelineEntry](r)
		if e.Delivery == d.Key && e.Attempt != nil && e.Attempt.Number == d.Attempts && a.Outcome == "" {
			a = *e.Attempt
		}
		return err
	})
	if a.Outcome == "" {
		a.Outcome = oncall.OutcomeRefused
		if d.State == oncall.DeliveryDelivered {
			a.Outcome = oncall.OutcomeDelivered
		}
	}
	a.Remote = d.Remote
	return a, err
}

// settle commits what became of one member.
func (t *tx) settle(key string, carrier oncall.Delivery, a oncall.Attempt, now time.Time,
	decide func(oncall.Incident, oncall.DeliveryFinished) (oncall.Decision, error)) error {
	d, _, err := loadDelivery(t, key)
	if err != nil {
		return err
	}
	var doc string // locked before its deliveries, here as in UpdateIncident
	if _, err := one(t, "select doc from incidents where number = $1"+t.d.forUpdate, []any{d.Incident}, &doc); err != nil {
		return err
	}
	var in oncall.Incident
	if carrier.State != oncall.DeliveryDelivered {
		if err := decode(doc, &in); err != nil {
			return err
		}
	}
	state, nextAt, a := oncall.AfterBundle(now, in, d, carrier, a)
	d.State, d.NextAt, d.DoneAt = state, nextAt, time.Time{}
	bundle, done := d.Bundle, int64(0)
	if state.Final() {
		d.NextAt, d.DoneAt = time.Time{}, now
		done = max(micros(now), 1)
	} else {
		bundle = "" // it goes by itself
	}
	column, confirm := deliveryState(state)
	n, err := t.exec(`update deliveries set state = $1, confirm = $2, next_at = $3, done_at = $4, status = $5, error = $6, excerpt = $7, remote = $8,
			attempts = $9, bundle = $10, queue = endpoint where key = $11 and state = 'queued' and bundle = $12`,
		column, string(confirm), micros(d.NextAt), done, a.Status, a.Error, a.Excerpt, a.Remote, a.Number, bundle, key, carrier.Key)
	if err != nil || n == 0 {
		return err
	}
	d.Status, d.Error, d.Excerpt, d.Remote, d.Attempts = a.Status, a.Error, a.Excerpt, a.Remote, a.Number
	entry := oncall.AttemptEntry(d, a)
	if err := t.noteAttempt(d.Incident, entry, now); err != nil {
		return err
	}
	if decide == nil {
		return nil
	}
	_, err = t.decide(d.Incident, now, func(in oncall.Incident) (oncall.Decision, error) {
		return decide(in, oncall.DeliveryFinished{Key: key, Attempt: a, State: state})
	})
	return err
}

// BundleAsking returns the incidents of a bundle that nobody has acknowledged yet, by number.
func (s *Store) BundleAsking(ctx context.Context, carrier string) (numbers []int64, err error) {
	err = s.view(ctx, func(q queryer) error {
		numbers = nil
		return each(q, "select i.number from deliveries d join incidents i on i.number = d.incident where"+carriedBy+
			" and i.state = 'triggered' order by i.number", []any{carrier}, func(r *sql.Rows) error {
			var n int64
			err := r.Scan(&n)
			numbers = append(numbers, n)
			return err
		})
	})
	return numbers, err
}
