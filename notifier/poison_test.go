package notifier_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// breakCore makes the core panic for events that broken accepts, as long as on is set.
func breakCore(t *testing.T, on *atomic.Bool, broken func(oncall.Incident, oncall.Event) bool) {
	notifier.ReplaceCore(t, func(now time.Time, in oncall.Incident, ev oncall.Event, p oncall.Policy) oncall.Decision {
		if on.Load() && broken(in, ev) {
			panic("a defect of the test's making")
		}
		return oncall.Decide(now, in, ev, p)
	})
}

func concerns(ev oncall.Event, service string) bool {
	c, ok := ev.(oncall.AlertsChanged)
	if !ok {
		return false
	}
	for _, c := range c.Changes {
		if c.Labels.Get("service") == service {
			return true
		}
	}
	return false
}

func TestAnIncidentThatTheCoreCannotOpenIsOpenedAllTheSame(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	breakCore(t, &on, func(in oncall.Incident, ev oncall.Event) bool { return in.State == "" && concerns(ev, "poison") })
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("a", "poison", "b")
		r.pass(2 * time.Second)
		told := map[string]bool{}
		for _, p := range r.far.Pages() {
			told[p.Title] = true
		}
		if got := r.kinds("ana-phone/0"); len(got) != 3 {
			t.Errorf("ana got %v about %v", got, told)
		}
		on.Store(false)
		r.change(oncall.ChangeResolved, "poison", "a", "b")
		r.pass(2 * time.Second)
		open, err := r.acts.Incidents(t.Context(), oncall.IncidentFilter{States: []oncall.IncidentState{oncall.IncidentTriggered}})
		if err != nil || len(open) != 0 {
			t.Errorf("%d incidents are still open, error %v", len(open), err)
		}
	})
}

func TestAChangeThatBreaksAnIncidentBlocksNoOther(t *testing.T) {
	var on atomic.Bool
	breakCore(t, &on, func(in oncall.Incident, ev oncall.Event) bool { return concerns(ev, "poison") })
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("poison")
		on.Store(true)
		r.change(oncall.ChangeResolved, "poison")
		r.fire("a", "b")
		r.pass(3 * time.Second)
		if got := r.kinds("ana-phone/0"); len(got) != 3 {
			t.Errorf("ana got %v", got)
		}
		if in := r.incident(1); in.State != oncall.IncidentTriggered {
			t.Errorf("state %s", in.State)
		}
		on.Store(false)
		r.pass(3 * time.Second)
		if in := r.incident(1); in.State != oncall.IncidentResolved {
			t.Errorf("the change that was set aside is lost: state %s", in.State)
		}
	})
}

func TestATimerThatBreaksIsTriedAgain(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	breakCore(t, &on, func(in oncall.Incident, ev oncall.Event) bool {
		_, tick := ev.(oncall.Tick)
		return tick && in.Number == 1
	})
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("a")
		r.fire("b")
		r.pass(5*time.Minute + time.Second)
		r.wantKinds("bo-phone/0", "triggered") // of #2
		on.Store(false)
		r.pass(time.Minute)
		r.wantKinds("bo-phone/0", "triggered", "triggered")
	})
}

func TestAResultThatBreaksTheCoreIsKept(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	breakCore(t, &on, func(_ oncall.Incident, ev oncall.Event) bool {
		_, finished := ev.(oncall.DeliveryFinished)
		return finished
	})
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("a")
		r.pass(10 * time.Second)
		if d := r.delivery(1, ana, oncall.KindTriggered); d.State != oncall.DeliveryDelivered || d.Attempts != 1 {
			t.Errorf("state %s after %d attempts", d.State, d.Attempts)
		}
	})
}

func TestAnActThatBreaksTheCoreSaysSo(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	breakCore(t, &on, func(_ oncall.Incident, ev oncall.Event) bool {
		_, command := ev.(oncall.Command)
		return command
	})
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("a")
		_, err := r.acts.Act(t.Context(), 1, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana"}, "press")
		if oncall.ErrorCode(err) != oncall.CodeInternal || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("error %v", err)
		}
		on.Store(false)
		if d := r.act(1, oncall.CmdAcknowledge, "press"); !d.Changed {
			t.Errorf("the same press did not act once it could: %q", d.Reply)
		}
	})
}

// down is a store of incidents that fails as long as on is set.
type down struct {
	notifier.IncidentStore
	on    atomic.Bool
	calls atomic.Int64
}

func (d *down) fail() error {
	if d.on.Load() {
		d.calls.Add(1)
		return errDisk
	}
	return nil
}

func (d *down) ApplyAlertChanges(ctx context.Context, w oncall.Write, limit int, place func(oncall.AlertChange) oncall.Place,
	decide func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error)) (int, error) {
	if err := d.fail(); err != nil {
		return 0, err
	}
	return d.IncidentStore.ApplyAlertChanges(ctx, w, limit, place, decide)
}

func (d *down) DueIncidents(ctx context.Context, now time.Time, limit int) ([]int64, time.Time, error) {
	if err := d.fail(); err != nil {
		return nil, time.Time{}, err
	}
	return d.IncidentStore.DueIncidents(ctx, now, limit)
}

func (d *down) UpdateIncident(ctx context.Context, w oncall.Write, number int64,
	decide func(oncall.Incident) (oncall.Decision, error)) (oncall.Decision, error) {
	if err := d.fail(); err != nil {
		return oncall.Decision{}, err
	}
	return d.IncidentStore.UpdateIncident(ctx, w, number, decide)
}

func TestWorkGoesOnWhenTheStoreReturns(t *testing.T) {
	d := &down{}
	o := options{incidents: func(s notifier.IncidentStore) notifier.IncidentStore { d.IncidentStore = s; return d }}
	bubble(t, o, func(t *testing.T, r *rig) {
		d.on.Store(true)
		r.fire("a")
		r.pass(time.Minute)
		if n := d.calls.Load(); n < 50 || n > 500 {
			t.Errorf("the store was asked %d times in a minute of failing", n)
		}
		d.on.Store(false)
		r.pass(time.Second)
		r.wantKinds("ana-phone/0", "triggered")
	})
}

func TestTheIncidentLoopEndsWithItsLease(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		old := r.lease
		if _, _, err := r.store.Acquire(t.Context(), old.Shard, "somebody else", time.Now(), time.Minute); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Second)
		for range 2 {
			if err := <-r.errs; !errors.Is(err, oncall.ErrLeaseLost) {
				t.Errorf("a loop ended with %v", err)
			}
		}
	})
}
