package notifier_test

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// escalated is a policy whose receiver opens incidents.
func escalated(change ...func(*oncall.Policy)) oncall.Policy {
	return routed(append([]func(*oncall.Policy){func(p *oncall.Policy) {
		p.Receivers["team"] = oncall.Receiver{Name: "team", Escalation: "oncall"}
	}}, change...)...)
}

func unrouted(p *oncall.Policy) { p.Routing.Root = nil }

// report has a rule of ours report alerts.
func (k *desk) report(status oncall.ChangeStatus, source, escalation string, alerts ...labels.Labels) {
	now := time.Now()
	r := oncall.Received{At: now}
	for _, ls := range alerts {
		r.Changes = append(r.Changes, oncall.AlertChange{
			At: now, Source: "rule:" + source, Status: status, Labels: ls, StartsAt: now, Escalation: escalation, Reason: "above the threshold",
		})
	}
	k.receive(r)
}

func TestDispatcherOpensIncidents(t *testing.T) {
	deskTest(t, escalated(), func(t *testing.T, k *desk) {
		k.post(named("a")) // at once, without group_wait
		k.wantTold("api firing a oncall")
		if why := "the route {} leads to the receiver team, whose escalation is oncall"; k.lastWhy() != why {
			t.Errorf("why: %q, want %q", k.lastWhy(), why)
		}
		k.pass(time.Minute)
		k.post(named("a"))
		k.wantTold() // a refresh
		now := time.Now()
		k.receive(oncall.Received{At: now, Posted: []oncall.PostedAlert{
			{Labels: named("a"), Annotations: labels.FromStrings("summary", "worse"), StartsAt: now, EndsAt: now.Add(5 * time.Minute)},
		}})
		k.wantTold("api firing a oncall")
		k.resolve(named("a"))
		k.wantTold("api resolved a")
		k.pass(10 * time.Minute)
		k.wantTold()
		k.postFor(5*time.Minute, named("a"))
		k.wantTold("api firing a oncall")
		k.pass(5*time.Minute - time.Millisecond)
		k.wantTold()
		k.pass(time.Millisecond)
		k.wantTold("api resolved a")
	})
}

func TestDispatcherWhoIsTold(t *testing.T) {
	nobody := func(p *oncall.Policy) { p.Receivers["team"] = oncall.Receiver{Name: "team"} }
	for _, tc := range []struct {
		name   string
		policy oncall.Policy
		do     func(*desk)
		want   []string
	}{
		{"posted, no route", routed(unrouted), func(k *desk) { k.post(named("a")) }, []string{"api firing a"}},
		{"rule without escalation, no route", routed(unrouted), func(k *desk) { k.report("firing", "r", "", named("a")) }, []string{"rule:r firing a"}},
		{"posted, the route leads to integrations", routed(), func(k *desk) { k.post(named("a")) }, nil},
		{"posted, the route leads to nobody", routed(nobody), func(k *desk) { k.post(named("a")) }, nil},
		{"rule with escalation, routed elsewhere", routed(), func(k *desk) { k.report("firing", "r", "night", named("a")) }, []string{"rule:r firing a night"}},
		{"rule and route name the same", escalated(), func(k *desk) { k.report("firing", "r", "oncall", named("a")) }, []string{"rule:r firing a oncall"}},
		{"rule and route name two", escalated(), func(k *desk) { k.report("firing", "r", "night", named("a")) },
			[]string{"rule:r firing a night", "rule:r firing a oncall"}},
		{"two rules, one names an escalation", routed(unrouted), func(k *desk) {
			k.report("firing", "r", "night", named("a"))
			k.report("firing", "s", "", named("a"))
		}, []string{"rule:r firing a night", "rule:s firing a"}},
		{"evaluated and posted", escalated(), func(k *desk) {
			k.report("firing", "r", "oncall", named("a"))
			k.post(named("a"))
			k.report("resolved", "r", "oncall", named("a"))
			k.resolve(named("a"))
		}, []string{"rule:r firing a oncall", "api firing a oncall", "rule:r resolved a oncall", "api resolved a"}},
		{"its query fails and works again", escalated(), func(k *desk) {
			k.report("firing", "r", "oncall", named("a"))
			k.report("unknown", "r", "oncall", named("a"))
			k.report("known", "r", "oncall", named("a"))
		}, []string{"rule:r firing a oncall", "rule:r unknown a oncall", "rule:r known a oncall"}},
		{"resolved and nobody knew of it", escalated(), func(k *desk) {
			k.resolve(named("a"))
			k.report("resolved", "r", "oncall", named("b"))
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			deskTest(t, tc.policy, func(t *testing.T, k *desk) {
				k.pass(2 * time.Minute)
				tc.do(k)
				k.wantTold(tc.want...)
			})
		})
	}
}

func TestDispatcherMutesIncidents(t *testing.T) {
	deskTest(t, escalated(inhibiting), func(t *testing.T, k *desk) {
		k.pass(2 * time.Minute)
		k.silence(10*time.Minute, "a")
		k.post(named("a"), named("b"))
		k.wantTold("api firing b oncall")
		k.silence(5*time.Minute, "b")
		k.wantTold("muted b oncall")
		k.report("firing", "r", "", named("b")) // one more source, which the incident must know of
		k.wantTold("rule:r muted b oncall")
		k.pass(5 * time.Minute)
		k.wantTold("rule:r firing b oncall", "api firing b oncall")
		k.pass(5 * time.Minute)
		k.wantTold("api firing a oncall")
		if at := k.lastChange().At; !at.Equal(time.Now()) {
			t.Errorf("the trigger is at %s, when the silence ended at %s", at, time.Now())
		}
		k.post(named("slow", "severity", "warning"))
		k.wantTold("api firing slow oncall")
		k.post(named("down", "severity", "critical"))
		if got := k.told(); len(got) != 2 {
			t.Errorf("%q", got)
		}
		k.resolve(named("slow", "severity", "warning"))
		k.wantTold("api resolved slow")
		k.silence(5*time.Minute, "a")
		k.wantTold("muted a oncall")
		k.resolve(named("a"))
		k.wantTold("api resolved a")
		k.pass(10 * time.Minute)
		k.wantTold()
	})
}

func TestDispatcherStartUpHoldsIncidents(t *testing.T) {
	deskTest(t, escalated(inhibiting), func(t *testing.T, k *desk) {
		k.pass(time.Second)
		k.post(named("slow", "severity", "warning"), named("hot", "severity", "page"))
		k.wantTold("api firing hot oncall")
		k.pass(500 * time.Millisecond)
		k.post(named("down", "severity", "critical"))
		k.wantTold("api firing down oncall")
		k.pass(time.Minute)
		k.wantTold()
		k.resolve(named("down", "severity", "critical"))
		if got := k.told(); len(got) != 2 {
			t.Errorf("%q", got)
		}
	})
	deskTest(t, escalated(inhibiting), func(t *testing.T, k *desk) {
		k.pass(time.Second)
		k.post(named("slow", "severity", "warning"))
		k.until(5 * time.Second)
		k.wantTold()
		k.until(6 * time.Second)
		k.wantTold("api firing slow oncall")
	})
}

func TestDispatcherMutesByTime(t *testing.T) {
	night := timeinterval.TimeInterval{Times: []timeinterval.TimeRange{{StartMinute: 60, EndMinute: 120}}}
	timed := func(p *oncall.Policy) {
		p.Routing.TimeIntervals = map[string][]timeinterval.TimeInterval{"night": {night}}
		p.Routing.Root.MuteTimeIntervals = []string{"night"}
	}
	// The bubble's clock begins at midnight.
	deskTest(t, escalated(timed), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.wantTold("api firing a oncall")
		k.until(time.Hour - time.Second)
		k.postFor(4*time.Hour, named("a"))
		k.wantTold()
		k.until(time.Hour)
		k.wantTold("muted a oncall")
		k.postFor(3*time.Hour, named("b"))
		k.wantTold()
		k.until(2*time.Hour - time.Second)
		k.wantTold()
		k.until(2 * time.Hour)
		if got := slices.Sorted(slices.Values(k.told())); !slices.Equal(got, []string{"api firing a oncall", "api firing b oncall"}) {
			t.Errorf("%q", got)
		}
	})
	deskTest(t, routed(timed), func(t *testing.T, k *desk) {
		k.postFor(4*time.Hour, named("a"), named("b"))
		k.until(time.Hour + time.Minute)
		k.want("30s team/0 FirstNotification a,b")
		k.resolve(named("b")) // told when the interval ends
		k.post(named("c"))
		k.until(time.Hour + 10*time.Minute)
		if g := k.d.Groups(time.Now()); len(g) != 1 || len(g[0].MutedBy) != 1 {
			t.Errorf("the API shows %+v", g)
		}
		k.until(2*time.Hour - time.Minute)
		k.want()
		k.until(2*time.Hour + 5*time.Minute)
		k.want("2h0m30s team/0 NewAlertsInGroup a,-b,c")
	})
}
