package notifier_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/oncall"
)

func answering(outcome oncall.Outcome) func(oncall.GroupDelivery) oncall.Attempt {
	return func(oncall.GroupDelivery) oncall.Attempt { return oncall.Attempt{Outcome: outcome, Error: "no"} }
}

// TestDispatcherForgetsEndedGroups: the row of a group goes with it, also where it was written in the same
// transaction.
func TestDispatcherForgetsEndedGroups(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.until(time.Minute)
		k.resolve(named("a"))
		k.until(6 * time.Minute)
		k.want("30s team/0 FirstNotification a", "5m30s team/0 AllAlertsResolved -a")
		if len(k.store.groups) != 0 {
			t.Errorf("groups that have ended are on disk: %v", k.store.groups)
		}
	})
}

// TestDispatcherTwinRoutes: two routes for the same matchers have one key in Alertmanager, and so do their groups here.
func TestDispatcherTwinRoutes(t *testing.T) {
	policy := routed(func(p *oncall.Policy) {
		root := p.Routing.Root
		for _, name := range []string{"one", "two"} {
			p.Receivers[name] = oncall.Receiver{Name: name, Integrations: []oncall.Integration{
				{Endpoint: oncall.IntegrationEndpoint("webhook_configs", name, 0), SendResolved: true},
			}}
			root.Routes = append(root.Routes, &oncall.Route{
				ID: "{}/{}/" + name, Key: "{}/{}", Receiver: name, Continue: true,
				GroupWait: 30 * time.Second, GroupInterval: 5 * time.Minute, RepeatInterval: 4 * time.Hour,
			})
		}
	})
	synctestDesk(t, policy, func(t *testing.T, k *desk) {
		k.start()
		k.far.answers(answering(oncall.OutcomeUnknown))
		k.post(named("a"))
		k.until(30*time.Second + 500*time.Millisecond)
		for _, n := range k.far.got {
			if n.d.GroupKey != "{}/{}:{}" {
				t.Errorf("the group of %s is known as %s", n.d.Endpoint, n.d.GroupKey)
			}
		}
		if len(k.far.got) != 2 {
			t.Errorf("%d notifications", len(k.far.got))
		}
		keys := []string{k.far.got[0].d.Key, k.far.got[1].d.Key}
		k.far.lines()
		k.halt()
		k.far.answers(nil)
		k.start()
		k.pass(5 * time.Minute)
		for _, n := range k.far.got {
			if !slices.Contains(keys, n.d.Key) {
				t.Errorf("%s was told under another key after a restart: %s", n.d.Endpoint, n.d.Reason)
			}
		}
		if len(k.far.got) != 2 {
			t.Errorf("%d notifications after the restart", len(k.far.got))
		}
		k.halt()
	})
}

// TestDispatcherRestartTellsNothingOfWhatIsOver: an alert that ended by itself, and whose row of the log is still there, is
// not told to an incident again.
func TestDispatcherRestartTellsNothingOfWhatIsOver(t *testing.T) {
	synctestDesk(t, paging(), func(t *testing.T, k *desk) {
		k.start()
		k.postFor(5*time.Second, named("a"))
		k.pass(7 * time.Second)
		k.wantTold("api firing a team", "api resolved a")
		k.halt()
		k.pass(time.Minute)
		k.start()
		k.pass(time.Minute)
		k.wantTold()
		k.halt()
	})
}

func paging() oncall.Policy {
	return routed(func(p *oncall.Policy) {
		p.Receivers["team"] = oncall.Receiver{Name: "team", Escalation: "team"}
		p.Routing.Root.GroupWait, p.Routing.Root.GroupInterval = 0, time.Second
	})
}

// TestDispatcherRetriesNothingThatIsMuted: what could not be delivered is not delivered any more once a silence covers it.
func TestDispatcherRetriesNothingThatIsMuted(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.far.answers(answering(oncall.OutcomeRetry))
		k.postFor(2*time.Hour, named("a"))
		k.until(2 * time.Minute)
		k.far.lines()
		k.silence(time.Hour, "a")
		k.until(6 * time.Minute)
		k.far.lines()
		k.far.answers(nil)
		k.until(50 * time.Minute)
		k.want()
		k.until(70 * time.Minute)
		k.want("1h5m30s team/0 FirstNotification a")
	})
}

// TestDispatcherRetriesNothingInMutedTimes is the same for time intervals.
func TestDispatcherRetriesNothingInMutedTimes(t *testing.T) {
	policy := routed(func(p *oncall.Policy) {
		p.Routing.Root.MuteTimeIntervals = []string{"night"}
		p.Routing.TimeIntervals = map[string][]timeinterval.TimeInterval{
			"night": {{Times: []timeinterval.TimeRange{{StartMinute: 3, EndMinute: 60}}}},
		}
	})
	deskTest(t, policy, func(t *testing.T, k *desk) {
		k.far.answers(answering(oncall.OutcomeRetry))
		k.post(named("a"))
		k.until(2 * time.Minute)
		k.far.lines()
		k.until(9 * time.Minute)
		k.far.lines()
		k.far.answers(nil)
		k.until(59 * time.Minute)
		k.want()
		k.postFor(2*time.Hour, named("a"))
		k.until(70 * time.Minute)
		k.want("1h0m30s team/0 FirstNotification a")
	})
}

// TestDispatcherTrimsLast: the log is forgotten only with the last of what a turn commits.
func TestDispatcherTrimsLast(t *testing.T) {
	deskTest(t, routed(func(p *oncall.Policy) { p.Routing.Root.GroupWait = 0 }), func(t *testing.T, k *desk) {
		var all []oncall.PostedAlert
		for i := range 4500 {
			all = append(all, oncall.PostedAlert{Labels: named("a", "n", fmt.Sprint(i)), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour)})
		}
		post := func() {
			for chunk := range slices.Chunk(all, 1000) {
				k.receive(oncall.Received{At: time.Now(), Posted: chunk})
			}
		}
		post()
		k.pass(4 * time.Minute)
		for i := range all {
			all[i].EndsAt = time.Now()
		}
		k.store.fail = func(d oncall.Dispatch) (error, error) {
			if d.Trim > max(d.Cursor, k.store.cursor) {
				t.Errorf("trims to %d, the cursor is at %d (%d)", d.Trim, k.store.cursor, d.Cursor)
			}
			return nil, nil
		}
		post()
		k.pass(10 * time.Minute)
		if len(k.store.alerts) != 0 {
			t.Errorf("%d alerts are on disk", len(k.store.alerts))
		}
	})
}

// TestDispatcherClockSetBack: a process that starts with a clock that is behind the one before it still tells what comes.
func TestDispatcherClockSetBack(t *testing.T) {
	synctestDesk(t, routed(), func(t *testing.T, k *desk) {
		k.start()
		k.pass(6 * time.Hour)
		k.postFor(48*time.Hour, named("a"))
		k.pass(time.Minute)
		k.far.lines()
		k.halt()
		for key, g := range k.store.groups {
			g.Anchor, g.Flushed = g.Anchor.Add(3*time.Hour), g.Flushed.Add(3*time.Hour)
			k.store.groups[key] = g
		}
		k.start()
		k.post(named("b"))
		k.pass(11 * time.Minute)
		if got := k.far.lines(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
		k.halt()
	})
}

// TestDispatcherLooksBetweenSweeps: that an attempt ended just when a silence did does not hide from the group that it must speak.
func TestDispatcherLooksBetweenSweeps(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"), named("b"))
		k.until(time.Minute)
		k.resolve(named("b"))
		k.silence(4*time.Minute+31*time.Second, "c") // ends at 5m31s
		k.post(named("c"))
		gate := make(chan struct{})
		k.far.mu.Lock()
		k.far.block[oncall.IntegrationEndpoint("webhook_configs", "team", 0)] = gate
		k.far.mu.Unlock()
		time.AfterFunc(time.Until(k.began.Add(5*time.Minute+31*time.Second)), func() { close(gate) })
		k.until(12 * time.Minute)
		k.want("30s team/0 FirstNotification a,b", "5m31s team/0 NewResolvedAlerts a,-b", "10m30s team/0 NewAlertsInGroup a,c")
	})
}

// TestDispatcherReloadWhileWaiting: what waits for an integration when the configuration changes goes the new way, or not
// at all.
func TestDispatcherReloadWhileWaiting(t *testing.T) {
	policy := routed(func(p *oncall.Policy) {
		p.Routing.Root.GroupBy, p.Routing.Root.GroupWait = []string{"alertname"}, 0
	})
	for name, after := range map[string]oncall.Policy{"kept": policy, "gone": routed(func(p *oncall.Policy) {
		p.Routing.Root.Key, p.Routing.Root.Receiver = "{}/other", "other"
	})} {
		t.Run(name, func(t *testing.T) {
			deskTest(t, policy, func(t *testing.T, k *desk) {
				k.far.answers(func(oncall.GroupDelivery) oncall.Attempt {
					return oncall.Attempt{Outcome: oncall.OutcomeRetry, RetryAfter: 2 * time.Minute}
				})
				k.post(named("a"))
				k.until(5 * time.Second)
				k.post(named("b"))
				k.want("0s team/0 FirstNotification a retry")
				k.until(time.Minute)
				before := k.far
				k.far = &farEnd{began: k.began}
				k.d.Apply(after, k.far)
				k.until(4 * time.Minute)
				var want []string
				if name == "kept" {
					want = []string{"2m0s team/0 FirstNotification a", "2m0s team/0 FirstNotification b"}
				}
				if got := k.far.lines(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
					t.Errorf("got %v, want %v", got, want)
				}
				k.far = before
				k.want()
			})
		})
	}
}

// An integration that answered 410 is asked no more, until a reload may have mended it.
func TestDispatcherHeeds410(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		asked := 0
		k.far.answer = func(oncall.GroupDelivery) oncall.Attempt {
			asked++
			return oncall.Attempt{Outcome: oncall.OutcomeGone, Status: 410, Error: "answered 410 Gone"}
		}
		k.post(named("a"))
		k.until(31 * time.Second)
		k.post(named("b"))
		k.until(11 * time.Minute)
		if asked != 1 {
			t.Errorf("it was asked %d times", asked)
		}
		k.far.answer = nil
		_ = k.far.lines()
		k.d.Apply(k.policy, k.far)
		k.until(20 * time.Minute)
		k.want("15m30s team/0 FirstNotification a,b")
	})
}

// TestDispatcherFlushesBesideACommit: a store that takes its time delays what is sent, since that must be on disk first,
// but not what is decided: a group says what is true when it is due.
func TestDispatcherFlushesBesideACommit(t *testing.T) {
	policy := routed(func(p *oncall.Policy) { p.Routing.Root.GroupBy = []string{"alertname"} })
	deskTest(t, policy, func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.until(2 * time.Second)
		k.post(named("b"))
		k.until(10 * time.Second)
		k.store.slow(5 * time.Second)
		k.until(34 * time.Second)
		k.want()
		k.post(named("b", "instance", "late")) // b is due at 32 s: this is for its next flush
		k.until(4 * time.Minute)
		k.want("35s team/0 FirstNotification a", "40s team/0 FirstNotification b")
	})
}

// TestDispatcherFailsBesideADecision: what was decided while a commit failed is decided again, and sent once.
func TestDispatcherFailsBesideADecision(t *testing.T) {
	policy := routed(func(p *oncall.Policy) { p.Routing.Root.GroupBy = []string{"alertname"} })
	deskTest(t, policy, func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.until(2 * time.Second)
		k.post(named("b"))
		k.until(10 * time.Second)
		failed := false
		k.store.fail = func(oncall.Dispatch) (error, error) {
			if failed {
				return nil, nil
			}
			failed = true
			return errKilled, nil
		}
		k.store.slow(5 * time.Second)
		k.until(4 * time.Minute)
		got := k.far.lines() // both are due by then: their order is open
		all := strings.Join(got, "\n") + "\n"
		if len(got) != 2 || !strings.Contains(all, "FirstNotification a\n") || !strings.Contains(all, "FirstNotification b\n") {
			t.Errorf("got %v, want a and b once each", got)
		}
	})
}
