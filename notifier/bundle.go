package notifier

import (
	"context"
	"errors"
	"time"

	"tocsin/oncall"
)

// loadBundle puts what a message shows beside its incident into m. It is read as late as the incident itself: a message
// shows the latest state. A reply in the thread of several incidents names its own.
func (f *flight) loadBundle(ctx context.Context, m *Message) error {
	key := f.claim.Posted
	switch kind := m.Delivery.Kind; {
	case kind == oncall.KindMessage && m.Bundle != nil:
		key = m.Bundle.Key
	case kind == oncall.KindReply && key != "" && m.Bundle == nil:
		in, err := f.load(ctx, m.Delivery.Incident)
		m.Bundle = &oncall.Bundle{Count: 1, Members: []oncall.BundleMember{{Delivery: m.Delivery.Key, Incident: in, Body: m.Delivery.Body}}}
		return err
	case kind == oncall.KindEdit:
		m.Bundle = nil // it carries other edits of the same message
		if key == "" {
			return nil
		}
	default:
		return nil
	}
	var b backoff
	for {
		all, err := f.store.Bundle(ctx, key)
		if err == nil {
			m.Bundle = &all
			return nil
		}
		if oncall.ErrorCode(err) == oncall.CodeNotFound { // its carrier was pruned with its incident
			m.Bundle = nil
			return nil
		}
		f.metrics.errors.WithLabelValues("load").Inc()
		f.log.ErrorContext(ctx, "a bundle could not be read for its message; this is tried again", "bundle", key, "err", err)
		if !sleep(ctx, b.next(), nil) {
			return ctx.Err()
		}
	}
}

// settle begins to settle the members of a carrier that has ended, unless that is under way.
func (r *deliveryRun) settle(carrier string) {
	key := "settle " + carrier
	if r.flying[key] || r.settlers >= maxSettlers {
		return
	}
	r.flying[key] = true
	r.settlers++
	go func() { r.results <- result{key: key, settled: true, err: r.settleAll(r.settling, carrier)} }()
}

// settleAll settles until nothing is left, or the run ends. What fails is left to the next claim, which finds it again.
func (r *deliveryRun) settleAll(ctx context.Context, carrier string) error {
	for more := true; more && ctx.Err() == nil; {
		now := time.Now()
		var err error
		// Not urgent: whoever is paged by the carrier is awake.
		more, err = r.store.SettleBundle(ctx, oncall.Write{Now: now, Lease: &r.lease}, carrier, settleBatch,
			func(in oncall.Incident, ev oncall.DeliveryFinished) (oncall.Decision, error) {
				return r.finished(now, in, ev)
			})
		if errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			r.metrics.errors.WithLabelValues("settle").Inc()
			r.log.ErrorContext(ctx, "members of a bundle could not be settled; this is tried again", "bundle", carrier, "err", err)
			sleep(ctx, time.Second, nil)
			return nil
		}
	}
	return nil
}

// finished asks the core what follows from the end of an attempt. The result is kept even where deciding fails.
func (l *Deliveries) finished(now time.Time, in oncall.Incident, ev oncall.DeliveryFinished) (oncall.Decision, error) {
	dec, err := decide(now, in, ev, l.setup.Load().policy) // the policy in force, not that of the claim
	if p, ok := errors.AsType[*panicError](err); ok {
		l.metrics.panics.Inc()
		l.log.Error("deciding about a delivery failed; its result is kept, what follows from it is left to the incident's timers",
			"incident", in.Number, "delivery", ev.Key, "err", p, "stack", p.stack)
		return oncall.Decision{}, nil
	}
	return dec, err
}
