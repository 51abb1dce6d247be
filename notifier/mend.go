package notifier

import (
	"context"
	"errors"
	"slices"
	"time"

	"tocsin/oncall"
)

// Mended has the edits tried at once that wait for an endpoint, and the open incidents looked at that it is owed something
// of (oncall's owed.go). It may be called at
// any time, from any goroutine, and does not wait. What is told while nobody runs is forgotten: the endpoint's own time to be
// tried again is in the store.
func (l *Incidents) Mended(ev oncall.Mended) {
	l.mu.Lock()
	if !slices.Contains(l.mend, ev) {
		l.mend = append(l.mend, ev)
	}
	l.mu.Unlock()
	l.Wake()
}

// makeUp looks at a page of the open incidents each turn, behind everything else. again: there are more.
func (l *Incidents) makeUp(ctx context.Context, lease oncall.Lease) (again bool, err error) {
	if l.mended == 0 {
		l.mu.Lock()
		l.mending, l.mend = l.mend, nil
		l.mu.Unlock()
		for _, ev := range l.mending {
			if _, err := l.store.HastenEdits(ctx, oncall.Write{Now: time.Now(), Lease: &lease}, ev.Covers); err != nil {
				return false, l.failed(ctx, "mend", err)
			}
		}
	}
	if len(l.mending) == 0 {
		return false, nil
	}
	ins, err := l.store.Incidents(ctx, oncall.IncidentFilter{States: open, Before: l.mended, Limit: recheckPage})
	if err != nil {
		return false, l.failed(ctx, "mend", err)
	}
	if len(ins) == 0 {
		l.mended, l.mending = 0, nil
		return true, nil
	}
	now := time.Now()
	for _, in := range ins {
		for _, ev := range l.mending {
			if d, err := decide(now, in, ev, *l.policy.Load()); err != nil || !d.Changed {
				continue
			}
			_, err := l.store.UpdateIncident(ctx, oncall.Write{Now: now, Lease: &lease}, in.Number, func(in oncall.Incident) (oncall.Decision, error) {
				return decide(now, in, ev, *l.policy.Load())
			})
			if p, ok := errors.AsType[*panicError](err); ok {
				l.metrics.panics.Inc()
				l.log.ErrorContext(ctx, "making up for what Slack missed failed; it is left to the incident's timers", "incident", in.Number, "err", p, "stack", p.stack)
				continue
			}
			if err != nil && oncall.ErrorCode(err) != oncall.CodeNotFound {
				return false, l.failed(ctx, "mend", err)
			}
		}
	}
	l.mended = ins[len(ins)-1].Number
	return true, nil
}
