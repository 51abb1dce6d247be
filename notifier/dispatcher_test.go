package notifier_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

func TestDispatcherTiming(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.until(10 * time.Second)
		k.post(named("b"))
		k.until(29 * time.Second)
		k.want()
		k.until(31 * time.Second)
		k.want("30s team/0 FirstNotification a,b")
		k.until(2 * time.Minute)
		k.post(named("c"))
		k.until(5*time.Minute + 29*time.Second)
		k.want()
		k.until(5*time.Minute + 31*time.Second)
		k.want("5m30s team/0 NewAlertsInGroup a,b,c")
		k.resolve(named("a"))
		k.until(11 * time.Minute)
		k.want("10m30s team/0 NewResolvedAlerts -a,b,c")
		k.resolve(named("b"), named("c"))
		k.until(16 * time.Minute)
		k.want("15m30s team/0 AllAlertsResolved -b,-c")
		k.until(17 * time.Minute)
		if len(k.store.groups)+len(k.d.Groups(time.Now())) != 0 {
			t.Errorf("the group is still there: %v", k.store.groups)
		}
		k.post(named("a"))
		k.until(18 * time.Minute)
		k.want("17m30s team/0 FirstNotification a")
	})
}

func TestDispatcherFlushesOldAlertsAtOnce(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.pass(time.Hour)
		now := time.Now()
		k.receive(oncall.Received{At: now, Posted: []oncall.PostedAlert{
			{Labels: named("old"), StartsAt: now.Add(-time.Minute), EndsAt: now.Add(20 * time.Minute)},
		}})
		k.want("1h0m0s team/0 FirstNotification old")
		k.pass(24 * time.Minute) // it ends by itself after 20, at a tick
		k.want("1h20m0s team/0 AllAlertsResolved -old")
	})
}

// TestDispatcherRepeats: as in Alertmanager a repeat waits for the first tick after repeat_interval has
// passed since the confirmation, which is later than the flush. Between, an idle group costs nothing.
func TestDispatcherRepeats(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.postFor(48*time.Hour, named("a"))
		k.until(31 * time.Second)
		k.want("30s team/0 FirstNotification a")
		commits := k.store.written()
		k.until(4 * time.Hour)
		k.want()
		if n := k.store.written() - commits; n > 1 { // the checkpoint
			t.Errorf("%d commits for a group that is idle", n)
		}
		k.until(9 * time.Hour)
		k.want("4h0m30s team/0 RepeatIntervalElapsed a", "8h0m30s team/0 RepeatIntervalElapsed a")
	})
}

func TestDispatcherSilences(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.silence(7*time.Minute, "a")
		k.post(named("a"), named("b"))
		k.until(6 * time.Minute)
		k.want("30s team/0 FirstNotification b")
		if v := k.d.Alerts(time.Now()); len(v) != 2 || len(v[0].SilencedBy)+len(v[1].SilencedBy) != 1 {
			t.Errorf("the API shows %+v", v)
		}
		k.until(12 * time.Minute) // the silence ends at 7 min
		k.want("10m30s team/0 NewAlertsInGroup a,b")
		id := k.silence(time.Hour, "a")
		k.resolve(named("a")) // somebody was told of it: he hears that it is over, silence or not
		k.until(16 * time.Minute)
		k.want("15m30s team/0 NewResolvedAlerts -a,b")
		k.post(named("a"))
		k.pass(time.Minute)
		k.resolve(named("a")) // nobody was told of it this time
		k.until(30 * time.Minute)
		k.want()
		if _, err := k.silences.Expire(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		k.until(40 * time.Minute)
		k.want()
	})
}

// TestDispatcherToldThenLeftOut: an alert that was told, then silenced, and that a later notification left
// out, is still owed its end.
func TestDispatcherToldThenLeftOut(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.until(time.Minute)
		k.want("30s team/0 FirstNotification a")
		k.silence(time.Hour, "a")
		k.post(named("b"))
		k.until(6 * time.Minute)
		k.want("5m30s team/0 NewAlertsInGroup b")
		k.resolve(named("a"))
		k.until(11 * time.Minute)
		k.want("10m30s team/0 NewResolvedAlerts -a,b")
	})
}

func inhibiting(p *oncall.Policy) {
	p.Routing.InhibitRules = []oncall.InhibitRule{{
		Source: matching("severity", "critical"),
		Target: matching("severity", "warning"),
	}}
}

func TestDispatcherInhibits(t *testing.T) {
	deskTest(t, routed(inhibiting), func(t *testing.T, k *desk) {
		k.pass(time.Hour)
		k.post(named("down", "severity", "critical"), named("slow", "severity", "warning"))
		k.pass(time.Minute)
		k.want("1h0m30s team/0 FirstNotification down")
		k.resolve(named("down", "severity", "critical"))
		k.pass(10 * time.Minute)
		k.want("1h5m30s team/0 NewAlertsInGroup -down,slow")
		k.post(named("down", "severity", "critical"))
		k.resolve(named("slow", "severity", "warning")) // inhibited, and owed
		k.pass(5 * time.Minute)
		k.want("1h15m30s team/0 NewAlertsInGroup down,-slow")
	})
}

func TestDispatcherStartUp(t *testing.T) {
	deskTest(t, routed(inhibiting), func(t *testing.T, k *desk) {
		old := func(name, severity string) {
			now := time.Now()
			k.receive(oncall.Received{At: now, Posted: []oncall.PostedAlert{
				{Labels: named(name, "severity", severity), StartsAt: now.Add(-time.Hour), EndsAt: now.Add(time.Hour)},
			}})
		}
		k.pass(time.Second)
		old("slow", "warning")
		k.pass(500 * time.Millisecond)
		old("down", "critical")
		k.want()
		k.until(10 * time.Second)
		k.want("6s team/0 FirstNotification down")
		k.until(2 * time.Minute)
		k.resolve(named("down", "severity", "critical"))
		k.until(6 * time.Minute)
		k.want("5m6s team/0 NewAlertsInGroup -down,slow")
	})
}

func TestDispatcherStartDelay(t *testing.T) {
	synctestDesk(t, routed(), func(t *testing.T, k *desk) {
		k.options.StartDelay = time.Minute
		k.start()
		k.post(named("a"))
		k.until(59 * time.Second)
		k.want()
		k.until(61 * time.Second)
		k.want("1m0s team/0 FirstNotification a")
		k.halt()
	})
}

func twoReceivers(p *oncall.Policy) {
	r := p.Receivers["team"]
	r.Integrations = append(r.Integrations, oncall.Integration{Endpoint: oncall.IntegrationEndpoint("webhook_configs", "team", 1), SendResolved: true})
	p.Receivers["team"] = r
}

func TestDispatcherDeadEndpoint(t *testing.T) {
	deskTest(t, routed(twoReceivers), func(t *testing.T, k *desk) {
		dead := oncall.IntegrationEndpoint("webhook_configs", "team", 0)
		k.far.answers(func(d oncall.GroupDelivery) oncall.Attempt {
			if d.Endpoint == dead && time.Since(k.began) < 6*time.Minute {
				return oncall.Attempt{Outcome: oncall.OutcomeRetry, Status: 503, Error: "down"}
			}
			return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
		})
		k.post(named("a"))
		k.until(40 * time.Second)
		k.want("30s team/0 FirstNotification a retry", "30s team/1 FirstNotification a", "31s team/0 FirstNotification a retry",
			"33s team/0 FirstNotification a retry", "37s team/0 FirstNotification a retry")
		k.until(4 * time.Minute)
		k.far.lines()
		k.post(named("b"))
		k.until(5*time.Minute + 30*time.Second)
		lines := k.far.lines()
		last := lines[len(lines)-2:]
		if want := []string{"5m30s team/0 FirstNotification a,b retry", "5m30s team/1 NewAlertsInGroup a,b"}; !slices.Equal(last, want) {
			t.Errorf("the second flush sent %q", last)
		}
		k.until(8 * time.Minute)
		lines = k.far.lines()
		if got := lines[len(lines)-1]; got != "6m1s team/0 FirstNotification a,b" {
			t.Errorf("the last of %q", lines)
		}
		overtaken := 0
		for _, d := range k.store.deliveries {
			if d.State == oncall.DeliveryDropped {
				overtaken++
			}
		}
		if overtaken != 1 {
			t.Errorf("%d notifications were overtaken, want 1", overtaken)
		}
	})
}

func TestDispatcherWaitsForAttempt(t *testing.T) {
	deskTest(t, routed(func(p *oncall.Policy) { p.Routing.Root.GroupInterval = 10 * time.Second }), func(t *testing.T, k *desk) {
		gate := make(chan struct{})
		k.far.block[oncall.IntegrationEndpoint("webhook_configs", "team", 0)] = gate
		k.post(named("a"))
		k.until(35 * time.Second)
		k.post(named("b"))
		k.until(42 * time.Second) // the flush at 40 s fell into the attempt
		k.want()
		close(gate)
		k.pass(0)
		k.want("42s team/0 FirstNotification a", "42s team/0 NewAlertsInGroup a,b")
	})
}

func TestDispatcherHonoursRetryAfter(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.far.answers(func(oncall.GroupDelivery) oncall.Attempt {
			if time.Since(k.began) < 31*time.Second {
				return oncall.Attempt{Outcome: oncall.OutcomeRetry, Status: 429, RetryAfter: 20 * time.Second}
			}
			return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
		})
		k.post(named("a"))
		k.until(time.Minute)
		k.want("30s team/0 FirstNotification a retry", "50s team/0 FirstNotification a")
	})
}

// TestDispatcherRefused: what is refused for good is tried again with the next flush, as long as there is
// something to say.
func TestDispatcherRefused(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.far.answers(func(oncall.GroupDelivery) oncall.Attempt {
			if time.Since(k.began) < 6*time.Minute {
				return oncall.Attempt{Outcome: oncall.OutcomeRefused, Status: 400}
			}
			return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
		})
		k.post(named("a"))
		k.until(11 * time.Minute)
		k.want("30s team/0 FirstNotification a refused", "5m30s team/0 FirstNotification a refused", "10m30s team/0 FirstNotification a")
	})
}

func TestDispatcherReload(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"), named("b", "team", "shop"))
		k.until(time.Minute)
		k.want("30s team/0 FirstNotification a,b")
		k.d.Apply(routed(), k.far) // the same again
		k.until(2 * time.Minute)
		k.post(named("c"))
		k.until(6 * time.Minute)
		k.want("5m30s team/0 NewAlertsInGroup a,c,b")
		p := routed(func(p *oncall.Policy) {
			p.Routing.Root.Routes = []*oncall.Route{{
				ID: `{}/{team="shop"}/0`, Key: `{}/{team="shop"}`, Receiver: "shop", GroupWait: time.Second, GroupInterval: time.Minute, RepeatInterval: time.Hour,
				Matchers: matching("team", "shop"),
			}}
			p.Receivers["shop"] = oncall.Receiver{Name: "shop", Integrations: []oncall.Integration{
				{Endpoint: oncall.IntegrationEndpoint("webhook_configs", "shop", 0)},
			}}
		})
		k.d.Apply(p, k.far)
		k.pass(0)
		k.want("6m0s shop/0 FirstNotification b")
		k.until(20 * time.Minute)
		k.want()
		k.d.Apply(routed(), k.far)
		k.until(30 * time.Minute)
		k.want() // a, b and c are what the receiver was last told
		if len(k.store.groups) != 1 {
			t.Errorf("groups on record: %v", k.store.groups)
		}
	})
}

func TestDispatcherGroupsByLabels(t *testing.T) {
	deskTest(t, routed(func(p *oncall.Policy) { p.Routing.Root.GroupBy = []string{"team"} }), func(t *testing.T, k *desk) {
		k.post(named("a", "team", "x"), named("b", "team", "y"), named("c"))
		k.until(time.Minute)
		if got := k.far.lines(); len(got) != 3 {
			t.Errorf("%q", got)
		}
		keys := ""
		for _, g := range k.d.Groups(time.Now()) {
			keys += g.Key + " " + g.Receiver + "\n"
		}
		if want := "{}:{} team\n{}:{team=\"x\"} team\n{}:{team=\"y\"} team\n"; keys != want {
			t.Errorf("groups\n%swant\n%s", keys, want)
		}
	})
}

var errStore = errors.New("the disk is full")

func TestDispatcherStoreFails(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%t", after), func(t *testing.T) {
			deskTest(t, routed(), func(t *testing.T, k *desk) {
				fails := 0
				k.store.fail = func(d oncall.Dispatch) (error, error) {
					if fails++; fails > 3 {
						return nil, nil
					}
					if after {
						return nil, errStore
					}
					return errStore, nil
				}
				k.post(named("a"))
				k.until(2 * time.Minute)
				k.post(named("b"))
				k.until(6 * time.Minute)
				got := k.far.lines()
				if len(got) != 2 || !strings.HasSuffix(got[1], " team/0 NewAlertsInGroup a,b") {
					t.Errorf("%q", got)
				}
				k.resolve(named("a"), named("b"))
				k.pass(6 * time.Minute)
				if got := k.far.lines(); len(got) != 1 {
					t.Errorf("%q", got)
				}
			})
		})
	}
}
