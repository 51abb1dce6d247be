package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"tocsin/oncall"
)

// work is everything that runs by itself. It returns when ctx has ended, or on a failure that only a new
// start can mend.
func (d *daemon) work(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.store.Hold(ctx, shard, owner(), d.hold) })
	g.Go(func() error { return d.prune(ctx) })
	g.Go(func() error { return d.hangups(ctx) })
	g.Go(func() error { d.followSilences(ctx); return nil })
	g.Go(func() error { d.endpoints.Run(ctx); return nil })
	g.Go(func() error { d.followOverrides(ctx); return nil })
	g.Go(func() error { tendHeap(ctx); return nil })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// hold runs the loops while the lease is ours.
func (d *daemon) hold(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
	d.onWatch()
	d.watching.Store(true)
	defer d.watching.Store(false)
	d.log.Info("This process has the watch", "epoch", lease.Epoch, "previous_process_alive_at", aliveAt)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.outputs.send(ctx, lease) })
	g.Go(func() error { return d.evaluator.Run(ctx, lease, aliveAt) })
	g.Go(func() error { return d.dispatcher.Run(ctx, lease, aliveAt) })
	g.Go(func() error { return d.incidents.Run(ctx, lease) })
	g.Go(func() error { return d.deliveries.Run(ctx, lease) })
	g.Go(func() error { return d.handoffs.Run(ctx, lease) })
	g.Go(func() error { return d.drills.Run(ctx, lease) })
	g.Go(func() error { d.presence.Run(ctx); return nil })
	g.Go(func() error { return d.heartbeats.Run(ctx, lease, aliveAt) })
	g.Go(func() error { return d.builtins.Run(ctx, lease) })
	g.Go(func() error { d.probeSlack(ctx); return nil })
	g.Go(func() error { d.watchdog.Run(ctx, lease); return nil })
	return g.Wait()
}

// owner names this process among all that may hold a lease.
func owner() string { return fmt.Sprintf("%s-%d-%s", hostname(), os.Getpid(), rand.Text()[:8]) }

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

// followSilences keeps the silences that the API shows as the store has them, also where another process
// dispatches. A failure waits for the next second: who sets one finds out.
func (d *daemon) followSilences(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := d.silences.Refresh(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("Silences could not be read", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// prune forgets what has ended long ago. A failure waits for the next hour.
func (d *daemon) prune(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		n, err := d.store.Prune(ctx, time.Now(), time.Duration(d.flags.Retention))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.log.Error("Old incidents could not be removed", "err", err)
		case n > 0:
			d.log.Info("Removed ended incidents older than --storage.retention", "incidents", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// hangups reloads on SIGHUP. The outcome is logged by reload.
func (d *daemon) hangups(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.hup:
			_ = d.reload()
		}
	}
}
