package notifier_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

// delivery returns the incident's delivery of the kind to the endpoint.
func (r *rig) delivery(number int64, e oncall.Endpoint, k oncall.DeliveryKind) oncall.Delivery {
	r.t.Helper()
	for _, d := range r.incident(number).Deliveries {
		if d.Endpoint == e && d.Kind == k {
			return d
		}
	}
	r.t.Fatalf("#%d has no delivery of kind %s to %s", number, k, e)
	return oncall.Delivery{}
}

var ana = oncall.PageEndpoint("ana-phone", 0)

func TestRetriesUntilDelivered(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.far.Fail(pagertest.Busy, pagertest.ErrorAfter, pagertest.ResetAfter)
		began := time.Now()
		r.fire("session")
		r.pass(7 * time.Second)
		d := r.delivery(1, ana, oncall.KindTriggered)
		if d.State != oncall.DeliveryDelivered || d.Attempts != 4 {
			t.Errorf("state %s after %d attempts", d.State, d.Attempts)
		}
		pages := r.far.Pages() // the first attempt was not recorded
		if len(pages) != 3 {
			t.Fatalf("%d pages were recorded", len(pages))
		}
		for i, after := range []time.Duration{1 * time.Second, 3 * time.Second, 7 * time.Second} {
			if got := pages[i].At.Sub(began); got != after || pages[i].Key != d.Key {
				t.Errorf("attempt %d came after %s under %s", i+2, got, pages[i].Key)
			}
		}
		var attempts []oncall.Attempt
		for _, e := range r.incident(1).Timeline {
			if e.Attempt != nil && e.Delivery == d.Key {
				attempts = append(attempts, *e.Attempt)
			}
		}
		if len(attempts) != 4 || attempts[0].Status != 503 || attempts[2].Outcome != oncall.OutcomeUnknown || attempts[3].Number != 4 {
			t.Errorf("the timeline shows the attempts %+v", attempts)
		}
	})
}

func TestRetryAfterHoldsOneEndpointOnly(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
			if p.Path == "/page/ana-phone/0" && p.Number == 1 {
				return pagertest.Limited(20 * time.Second)
			}
			return pagertest.Fault{}
		})
		r.fire("session")
		r.fire("cart") // another page for the same endpoint, which has asked for peace
		r.pass(5*time.Minute - time.Second)
		r.far.FailWith(nil)
		for _, p := range r.far.Pages() {
			if p.Path == "/page/ana-phone/0" && p.Number == 2 && p.At.Sub(p.Timestamp) < 20*time.Second {
				t.Errorf("the endpoint asked to wait 20s and got a page after %s", p.At.Sub(p.Timestamp))
			}
		}
		r.pass(2 * time.Second)
		r.wantKinds("bo-phone/0", "triggered", "triggered")
	})
}

func TestOneSlowEndpointDelaysNobodyElse(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
			if p.Path == "/page/ana-phone/0" {
				return pagertest.HangAfter
			}
			return pagertest.Fault{}
		})
		r.fire("a", "b", "c", "d", "e", "f", "g", "h")
		r.pass(5*time.Minute + time.Second)
		late := 50 * time.Millisecond
		for _, p := range r.far.Pages() {
			if p.Path != "/page/bo-phone/0" {
				continue
			}
			if p.At.Sub(p.Timestamp) > late {
				t.Errorf("bo was told of #%d %s late", p.Number, p.At.Sub(p.Timestamp))
			}
			late = time.Second + 50*time.Millisecond // what follows the first within a second comes together
		}
		if got := r.kinds("bo-phone/0"); len(got) != 8 {
			t.Errorf("bo got %v", got)
		}
	})
}

func TestGoneDisablesUntilTheNextReload(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
			if p.Path == "/page/ana-phone/0" {
				return pagertest.Gone
			}
			return pagertest.Fault{}
		})
		r.fire("session")
		before := r.far.Requests()
		r.fire("cart")
		d := r.delivery(2, ana, oncall.KindTriggered)
		if d.State != oncall.DeliveryRefused || !strings.Contains(d.Error, "410") || !strings.Contains(d.Error, "until the next reload") {
			t.Errorf("state %s, error %q", d.State, d.Error)
		}
		// Tier 0 reached Slack, so bo is not told early; nothing but bo's endpoint is asked meanwhile.
		if n := r.far.Requests(); n != before {
			t.Errorf("%d requests went to an endpoint that is gone", n-before)
		}
		r.apply(r.policy)
		r.far.FailWith(nil)
		r.fire("search")
		r.wantKinds("ana-phone/0", "triggered")
	})
}

func TestAnEndpointWithoutSenderIsRefused(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.del.Apply(r.policy, map[string]notifier.Sender{"page": r.pager})
		r.fire("session")
		d := r.delivery(1, oncall.SlackEndpoint("#session"), oncall.KindMessage)
		if d.State != oncall.DeliveryRefused || !strings.Contains(d.Error, "no longer configured") {
			t.Errorf("state %s, error %q", d.State, d.Error)
		}
		r.wantKinds("ana-phone/0", "triggered")
	})
}

func TestSlackGetsOneMessageASecond(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("a", "b", "c", "d", "e")
		r.pass(30 * time.Second)
		sent := r.slack.all()
		shown := 0
		for _, s := range sent {
			if s.delivery.Kind == oncall.KindMessage {
				shown += max(1, s.delivery.Bundled)
			}
		}
		if shown != 5 {
			t.Fatalf("%d messages show %d incidents", len(sent), shown)
		}
		for i := 1; i < len(sent); i++ {
			if gap := sent[i].at.Sub(sent[i-1].at); gap < time.Second {
				t.Errorf("message %d came %s after the one before", i, gap)
			}
		}
		if got := r.kinds("ana-phone/0"); len(got) != 5 {
			t.Errorf("pages waited for Slack: %v", got)
		}
	})
}

func TestAnEditThatWouldShowNothingNewIsNotSent(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(10 * time.Second)
		shown := int64(0)
		for i, s := range r.slack.all() {
			switch s.delivery.Kind {
			case oncall.KindEdit:
				if s.revision <= shown {
					t.Errorf("message %d shows revision %d after %d", i, s.revision, shown)
				}
				if s.thread == "" {
					t.Errorf("the edit %d does not know its message", i)
				}
				shown = s.revision
			case oncall.KindMessage:
				shown = s.revision
			}
		}
		if in := r.incident(1); shown != in.Revision {
			t.Errorf("revision %d is shown, the incident is at %d", shown, in.Revision)
		}
	})
}

// failing is a store whose calls fail as told: before they reach the store, or after it has committed.
type failing struct {
	notifier.DeliveryStore
	mu            sync.Mutex
	before, after int // FinishDelivery calls that fail
	claims        int // ClaimDeliveries calls that fail after the commit
	lost          bool
}

var errDisk = errors.New("the disk is full")

func (f *failing) FinishDelivery(ctx context.Context, w oncall.Write, key string, a oncall.Attempt, s oncall.DeliveryState, next time.Time,
	decide func(oncall.Incident) (oncall.Decision, error)) error {
	f.mu.Lock()
	before := f.before > 0
	if before {
		f.before--
	}
	after := !before && f.after > 0
	if after {
		f.after--
	}
	lost := f.lost
	f.mu.Unlock()
	switch {
	case lost:
		return oncall.ErrLeaseLost
	case before:
		return errDisk
	}
	err := f.DeliveryStore.FinishDelivery(ctx, w, key, a, s, next, decide)
	if after {
		return errDisk
	}
	return err
}

func (f *failing) ClaimDeliveries(ctx context.Context, w oncall.Write, r oncall.ClaimRequest) (oncall.Claimed, error) {
	got, err := f.DeliveryStore.ClaimDeliveries(ctx, w, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.claims > 0 && len(got.Claims) > 0 {
		f.claims--
		return oncall.Claimed{Next: got.Next}, errDisk
	}
	return got, err
}

func withFailing(f *failing) options {
	return options{deliveries: func(s notifier.DeliveryStore) notifier.DeliveryStore { f.DeliveryStore = s; return f }}
}

func TestAResultThatCannotBeCommittedIsKept(t *testing.T) {
	for name, f := range map[string]*failing{"not committed": {before: 6}, "committed unheard": {after: 6}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, withFailing(f), func(t *testing.T, r *rig) {
				r.fire("session")
				r.pass(20 * time.Second)
				if n := len(r.far.Pages()); n != 1 {
					t.Errorf("%d pages went out for one result", n)
				}
				if d := r.delivery(1, ana, oncall.KindTriggered); d.State != oncall.DeliveryDelivered || d.Attempts != 1 {
					t.Errorf("state %s after %d attempts", d.State, d.Attempts)
				}
			})
		})
	}
}

func TestALostLeaseEndsTheLoop(t *testing.T) {
	f := &failing{}
	bubble(t, withFailing(f), func(t *testing.T, r *rig) {
		f.mu.Lock()
		f.lost = true
		f.mu.Unlock()
		r.fire("session")
		if err := <-r.errs; !errors.Is(err, oncall.ErrLeaseLost) {
			t.Errorf("the loop ended with %v", err)
		}
		r.halt()
		f.lost = false
		r.start() // a new epoch claims again what the old one was sending
		r.pass(time.Second)
		pages := r.far.Pages()
		if len(pages) == 0 { // the first attempt may have been cut short before it reached anybody
			t.Error("the page was lost with the lease")
		}
		for _, p := range pages {
			if p.Key != pages[0].Key {
				t.Errorf("one page went out as %s and as %s", pages[0].Key, p.Key)
			}
		}
	})
}

func TestAClaimOfUnknownOutcomeGivesTheLeaseUp(t *testing.T) {
	f := &failing{claims: 1}
	bubble(t, withFailing(f), func(t *testing.T, r *rig) {
		r.fire("session")
		if n := len(r.far.Pages()); n != 0 {
			t.Fatalf("%d pages", n)
		}
		if err := <-r.errs; !errors.Is(err, oncall.ErrLeaseLost) {
			t.Errorf("the loop ended with %v", err)
		}
		r.halt()
		r.start()
		r.pass(0)
		r.wantKinds("ana-phone/0", "triggered")
	})
}

func TestTheEndIsClean(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.far.Fail(pagertest.HangAfter)
		r.fire("session")
		began := time.Now()
		r.halt()
		if took := time.Since(began); took > grace {
			t.Errorf("the loops took %s to end", took)
		}
		d := r.delivery(1, ana, oncall.KindTriggered)
		if d.State != oncall.DeliveryQueued || d.Error == "" {
			t.Errorf("the attempt that was cut short left state %s, error %q", d.State, d.Error)
		}
		r.start()
		r.pass(2 * time.Second)
		if pages := r.far.Pages(); len(pages) != 2 || pages[0].Key != pages[1].Key {
			t.Errorf("%d pages, not the same one twice", len(pages))
		}
	})
}

const grace = 5 * time.Second

// rude is a sender that panics, and one that answers nonsense.
type rude struct {
	mu    sync.Mutex
	asked int
}

func (s *rude) Send(context.Context, notifier.Message) oncall.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.asked == 1 {
		panic("a far end answered something odd")
	}
	if s.asked == 2 {
		return oncall.Attempt{}
	}
	return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
}

func TestASenderThatPanicsIsAskedAgain(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := &rude{}
		r.del.Apply(r.policy, map[string]notifier.Sender{"page": s, "slack": r.slack})
		r.fire("session")
		r.pass(10 * time.Second)
		if d := r.delivery(1, ana, oncall.KindTriggered); d.State != oncall.DeliveryDelivered || d.Attempts != 3 {
			t.Errorf("state %s after %d attempts", d.State, d.Attempts)
		}
	})
}

// stuck is a sender that ignores its context: the hard bound is the loop's.
type stuck struct{ release chan struct{} }

func (s stuck) Send(context.Context, notifier.Message) oncall.Attempt {
	<-s.release
	return oncall.Attempt{Outcome: oncall.OutcomeUnknown, Error: "at last"}
}

func TestTheEndDoesNotWaitForAStuckSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, options{})
		defer r.close()
		r.start()
		s := stuck{make(chan struct{})}
		r.del.Apply(r.policy, map[string]notifier.Sender{"page": s, "slack": s})
		r.fire("session")
		began := time.Now()
		r.halt()
		if took := time.Since(began); took > 2*grace {
			t.Errorf("the loops took %s to end", took)
		}
		close(s.release)
		synctest.Wait()
	})
}
