package notifier

import (
	"context"
	"math"
	"time"

	"tocsin/oncall"
)

// recheckPage is how many open incidents are looked at in one turn. What is due waits for that long.
const recheckPage = 100

// open are the states of incidents that are not over.
var open = []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed}

// recheckOpen looks at the open incidents, then at the drills, after Apply, a page of them each turn: a tier that a reload moved to an
// earlier time must not wait for the old one, and the timeline says what an edit changed. Those for which something
// follows are ticked, a few each turn and behind everything else, so that 100,000 of them delay nobody's page.
func (l *Incidents) recheckOpen(ctx context.Context, lease oncall.Lease) (again bool, err error) {
	if len(l.stale) > 0 {
		some := l.stale[:min(tickers, len(l.stale))]
		if _, err := l.tickAll(ctx, lease, some, false); err != nil {
			return false, err // the same ones again
		}
		l.stale = l.stale[len(some):]
		return true, nil
	}
	if l.cursor == 0 && !l.recheck.Swap(false) {
		return false, nil
	}
	ins, err := l.store.Incidents(ctx, oncall.IncidentFilter{States: open, Before: l.cursor, Limit: recheckPage, Drills: l.drills})
	if err != nil {
		l.recheck.Store(true)
		return false, l.failed(ctx, "recheck", err)
	}
	switch {
	case len(ins) == 0 && !l.drills: // they come last, and are few
		l.drills, l.cursor = true, math.MaxInt64
		return true, nil
	case len(ins) == 0:
		l.drills, l.cursor = false, 0
		return l.recheck.Load(), nil
	}
	now := time.Now()
	for i := range ins {
		if _, held := l.heldUntil(ins[i].Number, now); !held && l.moves(now, ins[i]) {
			l.stale = append(l.stale, ins[i].Number)
		}
	}
	l.cursor = ins[len(ins)-1].Number
	return true, nil
}

// moves reports that a tick of the incident may change it under the policy in force. The incident is as it is listed,
// without deliveries and timeline. That errs to one side only: without its deliveries, one that waits for them seems due
// earlier than it is. An incident that cannot be decided about is left to its tick to report.
func (l *Incidents) moves(now time.Time, in oncall.Incident) bool {
	d, err := decide(now, in, oncall.Tick{}, *l.policy.Load())
	return err != nil || d.Changed
}
