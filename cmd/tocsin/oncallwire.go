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
	g.policy = g.policy.WithOverrides(d.overrides.Current(), time.Now())
	d.live.Store(&g)
	d.deliveries.ApplyPolicy(g.policy)
	d.incidents.ApplyOverrides(g.policy)
	d.handoffs.Apply(g.policy, g.announcer())
	d.presence.Apply(g.policy, g.presenter())
}

// presenter is who shows who is on call, nil for nobody.
func (g *generation) presenter() notifier.PresenceSender {
	if g.slack == nil {
		return nil
	}
	return g.slack
}

// announcer is who announces handoffs, nil for nobody.
func (g *generation) announcer() notifier.HandoffSender {
	if g.slack == nil {
		return nil
	}
	return g.slack
}

// digester is who posts digests, nil for nobody.
func (g *generation) digester() notifier.DigestSender {
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

// warnPointless says which overrides an edit of the file has made pointless: whoever made one relies on it. It says
// too where the edit rewrites who was on call.
func (d *daemon) warnPointless(p oncall.Policy) {
	now := time.Now()
	for _, x := range p.PointlessOverrides(now) {
		d.log.Warn("An override changes nobody's time on call under this configuration", "id", x.Override.ID, "schedule", x.Override.Schedule,
			"override", x.Override.String(), "from", x.Override.From, "to", x.Override.To, "why", x.Why)
	}
	before := d.policy()
	for _, name := range p.ScheduleNames() {
		was, known := before.Schedules[name]
		edited := p.Schedules[name]
		if !known {
			continue
		}
		if was, is, ok := was.Rewritten(&edited, p.Overrides, now.Add(-historyChecked), now); ok {
			d.log.Warn("The edit of a schedule rewrites who was on call, and may have given the turn to others: what changes belongs below changes, with effective_from",
				"schedule", name, "from", was.From, "to", was.To, "was", was.Who(), "is_said_to_have_been", is.Who())
		}
	}
}

// historyChecked is how far back an edit of a schedule is looked at for what it rewrites.
const historyChecked = oncall.CoverageAhead
