package notifier

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"tocsin/oncall"
	"tocsin/problem"
)

const (
	testAttempts = 3                // at each endpoint, unless the outcome is clear before
	testWithin   = 45 * time.Second // for all of a test
)

// Tested is what a test page came to at one endpoint.
type Tested struct {
	Endpoint oncall.Endpoint  `json:"endpoint"`
	Key      string           `json:"key"`
	State    string           `json:"state"` // of the last attempt: an outcome
	Attempts []oncall.Attempt `json:"attempts"`
}

// Test sends a test page to all endpoints of a receiver, side by side, through their own senders, and returns what each
// answered. It asks again, up to three times, as for a real page. It needs no lease, and the limits and pauses of the endpoints do
// not hold it up: a person waits for it. Codes: not_found (no such receiver), invalid.
func (s *Endpoints) Test(ctx context.Context, t oncall.TestPage) ([]Tested, error) {
	setup := s.o.Deliveries.setup.Load()
	policy := s.o.Policy()
	r, ok := policy.Receivers[t.Receiver]
	switch {
	case !ok || r.Of != "" || setup == nil:
		return nil, oncall.Errorf(oncall.CodeNotFound, "there is no receiver %q%s", t.Receiver, s.nearest(t.Receiver, policy))
	case len(r.All()) == 0:
		return nil, oncall.Errorf(oncall.CodeInvalid, "the receiver %q has nothing in it that could be told", t.Receiver)
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	t.At = time.Now()
	all := make([]Tested, len(r.All()))
	var wg sync.WaitGroup
	for i, e := range r.All() {
		wg.Go(func() { all[i] = s.test(ctx, setup, t, e, policy) })
	}
	wg.Wait()
	for _, x := range all {
		s.log.InfoContext(ctx, "a test page was sent", "endpoint", x.Endpoint, "delivery", x.Key, "actor", t.Actor, "outcome", x.State, "attempts", len(x.Attempts))
	}
	return all, nil
}

func (s *Endpoints) nearest(name string, p oncall.Policy) string {
	names := slices.Sorted(maps.Keys(p.Receivers))
	names = slices.DeleteFunc(names, func(n string) bool { return p.Receivers[n].Of != "" })
	if len(names) == 0 {
		return ": none is configured"
	}
	return ": " + problem.DidYouMean(name, names)
}

func (s *Endpoints) test(ctx context.Context, setup *setup, t oncall.TestPage, e oncall.Endpoint, p oncall.Policy) Tested {
	d, in := t.Make(e, p)
	out := Tested{Endpoint: e, Key: d.Key}
	sender := setup.sender(e)
	for {
		var a oncall.Attempt
		if sender == nil {
			a = oncall.Attempt{At: time.Now(), Outcome: oncall.OutcomeRefused, Error: fmt.Sprintf("no longer configured: nothing here sends to %s", e)}
		} else {
			a = s.attempt(ctx, sender, Message{Delivery: d, Incident: in})
		}
		a.Number = d.Attempts
		out.Attempts, out.State = append(out.Attempts, a), string(a.Outcome)
		state, next := oncall.AfterAttempt(time.Now(), d, a)
		if by, ok := ctx.Deadline(); ok && next.After(by) {
			return out // a pause that nobody waits for
		}
		if state != oncall.DeliveryQueued || d.Attempts == testAttempts || !sleep(ctx, time.Until(next), nil) {
			return out
		}
		d.Attempts++
	}
}

// attempt asks a sender, and puts right what a sender must not do.
func (s *Endpoints) attempt(ctx context.Context, sender Sender, m Message) (a oncall.Attempt) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, hardTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a sender panicked", "endpoint", m.Delivery.Endpoint, "err", v, "stack", string(debug.Stack()))
			a = oncall.Attempt{At: start, Took: time.Since(start), Outcome: oncall.OutcomeUnknown, Error: "tocsin failed while sending (a defect: see its log)"}
		}
	}()
	return sender.Send(ctx, m)
}
