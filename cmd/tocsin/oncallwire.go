package main

import (
	"context"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// overridden puts the overrides as they are known now into force, under the configuration that is. It is called
// whenever they changed, by whatever process, and may be called before there is a configuration.
func (d *daemon) overridden() {
	d.enacting.Lock()
	defer d.enacting.Unlock()
	before := d.live.Load()
	if before == nil {
		return
	}
	g := *before // nothing but the policy differs: what the generation has brought to life lives on
	g.policy.Overrides = d.overrides.Current()
	d.live.Store(&g)
	d.deliveries.ApplyPolicy(g.policy)
	d.incidents.ApplyOverrides(g.policy)
	d.handoffs.Apply(g.policy, g.announcer())
}

// announcer is who announces handoffs, nil for nobody.
func (g *generation) announcer() notifier.HandoffSender {
	if g.slack == nil {
		return nil
	}
	return g.slack
}

// followOverrides keeps the overrides as the store has them, also where another process changed one. A failure waits
// for the next second: what was changed through this process is in force already.
func (d *daemon) followOverrides(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := d.overrides.Refresh(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("Overrides of schedules could not be read", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.loops.Load().overridden:
		case <-tick.C:
		}
	}
}

// warnPointless says which overrides an edit of the file has made pointless: whoever made one relies on it.
func (d *daemon) warnPointless(p oncall.Policy) {
	for _, x := range p.PointlessOverrides(time.Now()) {
		d.log.Warn("An override changes nobody's time on call under this configuration", "id", x.Override.ID, "schedule", x.Override.Schedule,
			"override", x.Override.String(), "from", x.Override.From, "to", x.Override.To, "why", x.Why)
	}
}
