package store

import (
	"context"
	"errors"
	"time"

	"tocsin/oncall"
)

// checkLease fails with ErrLeaseLost unless l is held at now, and keeps it held until the commit.
func (t *tx) checkLease(l oncall.Lease, now time.Time) error {
	var owner string
	var epoch, expires int64
	found, err := one(t, "select owner, epoch, expires_at from leases where shard = $1"+t.d.forShare, []any{l.Shard}, &owner, &epoch, &expires)
	if err != nil {
		return err
	}
	expired := t.d.leaseTTL > 0 && expires <= micros(now)
	if !found || owner != l.Owner || epoch != l.Epoch || expired {
		return oncall.ErrLeaseLost
	}
	return nil
}

// Acquire takes the shard for owner until now+ttl, with a new epoch, which voids what earlier epochs
// claimed. aliveAt is when a process last held the shard before, zero for never. On PostgreSQL it fails
// with oncall.CodeConflict while another owner's lease has not expired; on SQLite no other process can be
// there, and it always succeeds.
func (s *Store) Acquire(ctx context.Context, shard, owner string, now time.Time, ttl time.Duration) (lease oncall.Lease, aliveAt time.Time, err error) {
	type got struct {
		epoch, before int64
		holder        string
	}
	free := "" // on SQLite always
	if s.d.leaseTTL > 0 {
		free = " where leases.expires_at <= $4 or leases.owner = excluded.owner"
	}
	g, err := do(ctx, s, oncall.Write{Now: now, Urgent: true}, func(t *tx) (got, error) {
		var g got
		taken, err := one(t, `insert into leases (shard, owner, epoch, expires_at, alive_at, before_at) values ($1, $2, 1, $3, $4, 0)
			on conflict (shard) do update set owner = excluded.owner, epoch = leases.epoch + 1,
				expires_at = excluded.expires_at, alive_at = excluded.alive_at, before_at = leases.alive_at`+free+`
			returning epoch, before_at`,
			[]any{shard, owner, micros(now.Add(ttl)), micros(now)}, &g.epoch, &g.before)
		t.changes++
		if err != nil || taken {
			return g, err
		}
		_, err = one(t, "select owner from leases where shard = $1", []any{shard}, &g.holder)
		return g, err
	})
	if err != nil {
		return oncall.Lease{}, time.Time{}, err
	}
	if g.epoch == 0 {
		return oncall.Lease{}, time.Time{}, oncall.Errorf(oncall.CodeConflict, "the shard %s is held by %s", shard, g.holder)
	}
	return oncall.Lease{Shard: shard, Owner: owner, Epoch: g.epoch}, fromMicros(g.before), nil
}

// Renew extends the lease until now+ttl and notes that its holder is alive. It returns ErrLeaseLost when
// somebody else holds the shard; an expired lease that nobody took is still its holder's to renew.
func (s *Store) Renew(ctx context.Context, l oncall.Lease, now time.Time, ttl time.Duration) error {
	return s.setLease(ctx, l, micros(now), micros(now.Add(ttl)))
}

// Release gives the shard up, so that the next one need not wait for the lease to expire.
func (s *Store) Release(ctx context.Context, l oncall.Lease, now time.Time) error {
	return s.setLease(ctx, l, micros(now), micros(now))
}

func (s *Store) setLease(ctx context.Context, l oncall.Lease, alive, expires int64) error {
	_, err := do(ctx, s, oncall.Write{Urgent: true}, func(t *tx) (struct{}, error) {
		n, err := t.exec("update leases set alive_at = $1, expires_at = $2 where shard = $3 and owner = $4 and epoch = $5",
			alive, expires, l.Shard, l.Owner, l.Epoch)
		if err == nil && n == 0 {
			err = oncall.ErrLeaseLost
		}
		return struct{}{}, err
	})
	return err
}

// Hold runs run while this process holds the shard: it waits until the shard is free, runs run with the
// lease and with when a process last held it, renews the lease meanwhile, and cancels run's context when
// the lease is lost; then it waits for run to return, and for the shard, again. It returns when ctx ends
// (nil, unless run failed with something else) or when run returns by itself (its error).
func (s *Store) Hold(ctx context.Context, shard, owner string, run func(ctx context.Context, l oncall.Lease, aliveAt time.Time) error) error {
	for {
		now := time.Now()
		l, aliveAt, err := s.Acquire(ctx, shard, owner, now, s.d.leaseTTL)
		if err == nil {
			var lost bool
			lost, err = s.holdOnce(ctx, l, aliveAt, now, run)
			if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, oncall.ErrLeaseLost)) {
				return nil
			}
			if !lost {
				return err
			}
			s.log.Warn("A lease was lost", "shard", shard, "owner", owner)
		} else if oncall.ErrorCode(err) != oncall.CodeConflict && ctx.Err() == nil {
			s.log.Error("A lease cannot be acquired", "shard", shard, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// holdOnce runs run under one lease. lost says that run ended because the lease did.
func (s *Store) holdOnce(ctx context.Context, l oncall.Lease, aliveAt, acquired time.Time,
	run func(context.Context, oncall.Lease, time.Time) error) (lost bool, err error) {
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() { ended <- run(runCtx, l, aliveAt) }()
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		if s.renewUntilLost(runCtx, l, acquired) {
			cancel(oncall.ErrLeaseLost)
		}
	}()
	err = <-ended
	lost = ctx.Err() == nil && (errors.Is(context.Cause(runCtx), oncall.ErrLeaseLost) || errors.Is(err, oncall.ErrLeaseLost))
	cancel(nil)
	<-renewing
	if lost {
		return true, err
	}
	// ctx has perhaps ended, and the next holder should not have to wait.
	releaseCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	if rerr := s.Release(releaseCtx, l, time.Now()); rerr != nil && !errors.Is(rerr, oncall.ErrLeaseLost) {
		s.log.Warn("A lease could not be released", "shard", l.Shard, "err", rerr)
	}
	return false, err
}

// renewUntilLost renews the lease until ctx ends (false), or the lease is lost or expires unrenewed (true).
func (s *Store) renewUntilLost(ctx context.Context, l oncall.Lease, acquired time.Time) (lost bool) {
	ttl := s.d.leaseTTL
	expires := acquired.Add(ttl)
	tick := time.NewTicker(s.d.leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		now := time.Now()
		try, stop := context.WithCancel(ctx)
		if ttl > 0 {
			stop()
			try, stop = context.WithDeadline(ctx, expires)
		}
		err := s.Renew(try, l, now, ttl)
		stop()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			expires = now.Add(ttl)
		case errors.Is(err, oncall.ErrLeaseLost):
			return true
		case ttl > 0 && !time.Now().Before(expires):
			s.log.Error("A lease expired because it could not be renewed", "shard", l.Shard, "err", err)
			return true
		default:
			s.log.Error("A lease cannot be renewed", "shard", l.Shard, "err", err)
		}
	}
}
