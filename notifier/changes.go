package notifier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"tocsin/oncall"
)

// How alert changes reach incidents, and what happens to one that cannot.
//
// Changes are applied in batches. If a batch fails, its changes are applied one by one, so that the one at
// fault shows; that one goes back to the end of the queue and is tried again a second later, so that nothing
// waits behind it for longer and it is never lost. If it was to open an incident, the incident is opened without the
// core's help: somebody must know.

// consume applies one batch. more says that there are changes left.
func (l *Incidents) consume(ctx context.Context, lease oncall.Lease) (more bool, err error) {
	if l.resting.After(time.Now()) {
		return false, nil
	}
	n, err := l.apply(ctx, lease, changeBatch, l.decideChanges)
	if err == nil {
		return n == changeBatch, nil
	}
	if errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
		return false, err
	}
	l.logChanges(ctx, "a batch of alert changes failed; they are applied one by one", err)
	l.setOff = l.setOff[:0]
	for range changeBatch {
		n, err := l.apply(ctx, lease, 1, l.decideChanges)
		if err == nil {
			if n == 0 {
				return false, nil
			}
			continue
		}
		if errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
			return false, err
		}
		if again, err := l.setAside(ctx, lease, err); !again || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (l *Incidents) apply(ctx context.Context, lease oncall.Lease, limit int,
	decide func(now time.Time) func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error),
) (int, error) {
	now := time.Now()
	n, err := l.store.ApplyAlertChanges(ctx, oncall.Write{Now: now, Lease: &lease, Urgent: true}, limit, l.place, decide(now))
	if err == nil && n > 0 {
		l.metrics.consumed.Add(float64(n))
	}
	return n, err
}

// place says where a change belongs. It cannot fail: a change that breaks the core goes where its rule
// says, in an incident of its own.
func (l *Incidents) place(c oncall.AlertChange) (p oncall.Place) {
	defer func() {
		if v := recover(); v != nil {
			l.metrics.panics.Inc()
			l.log.Error("placing an alert failed; it gets an incident of its own", "labels", c.Labels.String(), "err", v)
			p = oncall.Place{
				Escalation: c.Escalation, GroupKey: c.Labels.String(), GroupLabels: c.Labels,
				Why: "its place could not be worked out (a defect of tocsin: see the log)",
			}
			if p.Escalation == "" {
				p.Escalation = oncall.DefaultEscalation
			}
		}
	}()
	return oncall.PlaceAlert(c, *l.policy.Load())
}

func (l *Incidents) decideChanges(now time.Time) func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error) {
	return func(in oncall.Incident, changes []oncall.AlertChange) (oncall.Decision, error) {
		d, err := decide(now, in, oncall.AlertsChanged{Changes: changes}, *l.policy.Load())
		if err == nil {
			for _, c := range changes {
				l.metrics.lag.WithLabelValues("change").Observe(now.Sub(c.At).Seconds())
			}
			l.metrics.decisions.WithLabelValues("alerts").Inc()
		}
		return d, err
	}
}

// setAside moves the change at the head of the queue to its end. again is false if the head was set aside
// in this turn before: then all others have had their turn. An error means that it is the store that fails
// and not the change.
func (l *Incidents) setAside(ctx context.Context, lease oncall.Lease, cause error) (again bool, err error) {
	var head []string
	setOff := slices.Clone(l.setOff) // the closure may outlive this call
	switch oncall.ErrorCode(cause) {
	case oncall.CodeUnavailable, oncall.CodeConflict: // it is not the change's fault, and will pass
		return false, l.failed(ctx, "changes", cause)
	}
	_, err = l.apply(ctx, lease, 1, func(now time.Time) func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error) {
		return func(in oncall.Incident, changes []oncall.AlertChange) (oncall.Decision, error) {
			head = head[:0]
			for _, c := range changes {
				id := fmt.Sprintf("%s %s %d", c.Source, c.Labels, c.At.UnixMicro())
				if slices.Contains(setOff, id) {
					return oncall.Decision{}, errMetBefore
				}
				head = append(head, id)
			}
			if in.State == "" || in.State == oncall.IncidentResolved && in.ResolvedBy == "" { // a new one, or one that was to go on
				return l.openBare(now, in, changes), nil
			}
			return oncall.Decision{Changed: true, Incident: in, Requeue: changes}, nil
		}
	})
	if ctx.Err() != nil {
		return false, err // the closure may still be running
	}
	if errors.Is(err, errMetBefore) {
		return false, nil
	}
	if err != nil {
		return false, l.failed(ctx, "changes", errors.Join(cause, err))
	}
	if p, ok := errors.AsType[*panicError](cause); ok {
		l.metrics.panics.Inc()
		l.log.ErrorContext(ctx, "deciding about an alert change failed; it is set aside and tried again", "change", head, "err", p, "stack", p.stack)
	} else {
		l.logChanges(ctx, "an alert change could not be applied; it is set aside and tried again", cause)
	}
	l.setOff = append(l.setOff, head...)
	l.resting = time.Now().Add(poll) // or a change that keeps failing would go round as fast as the store can
	return true, nil
}

// openBare opens an incident that the core could not open, with the least that its timers need. It is due
// at once, so that its first tier is told by the next tick.
func (l *Incidents) openBare(now time.Time, in oncall.Incident, changes []oncall.AlertChange) oncall.Decision {
	if in.State != "" {
		in.Round, in.Reopens, in.ResolvedAt, in.NextTier, in.Turns, in.ToldTiers = in.Round+1, in.Reopens+1, time.Time{}, 0, 0, nil
	}
	in.State, in.TriggeredAt, in.RoundAt, in.Anchor, in.NextAt = oncall.IncidentTriggered, now, now, now, now
	in.Policy, _ = l.policy.Load().Escalation(in.Escalation)
	in.Revision, in.Next = in.Revision+1, "the first tier is told"
	d := oncall.Decision{Changed: true}
	for _, c := range changes {
		name, severity := c.Labels.Get(model.AlertNameLabel), c.Labels.Get("severity")
		if in.Title == "" {
			in.Title, in.Severity = firstOf(name, "An alert")+" fires", severity
		}
		d.Alerts = append(d.Alerts, oncall.IncidentAlert{
			Fingerprint: oncall.FingerprintOf(c.Labels), Labels: c.Labels, Annotations: c.Annotations, State: oncall.StateFiring,
			Sources: []string{c.Source}, Value: c.Value, StartsAt: c.StartsAt, GeneratorURL: c.GeneratorURL,
			Reason: c.Reason, Evidence: c.Evidence,
		})
		in.Seen = append(in.Seen, name)
	}
	d.Timeline = []oncall.TimelineEntry{{
		At: now, Kind: oncall.EntryTriggered,
		Text: in.Title + "; tocsin failed to work out more than that (a defect: see its log), and tells you all the same",
	}}
	d.Incident = in
	return d
}

// errMetBefore leaves the head of the queue where it is.
var errMetBefore = errors.New("set aside before")

func (l *Incidents) logChanges(ctx context.Context, what string, err error) {
	l.metrics.errors.WithLabelValues("changes").Inc()
	l.log.ErrorContext(ctx, what, "err", err)
}
