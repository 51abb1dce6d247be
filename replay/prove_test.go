package replay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/replay"
)

// TestProveAgreesWithSimulation holds the proof against what the machine does, at random instants and around those at
// which the proof says that the answer changes.
func TestProveAgreesWithSimulation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := randomPolicy(rt)
		e := p.Escalations["e"]
		from := time.Date(2025, 3, 28, 0, 0, 0, 0, time.UTC) // clocks change in Madrid on the 30th
		to := from.Add(4 * 24 * time.Hour)
		breaches := oncall.Prove(p, from, to)
		var at []time.Time
		for _, b := range breaches[:min(len(breaches), 4)] {
			at = append(at, b.From, b.To.Add(-1), b.To, b.From.Add(-1))
		}
		for range 6 {
			at = append(at, from.Add(time.Duration(rapid.Int64Range(0, int64(4*24*60-1)).Draw(rt, "minute"))*time.Minute))
		}
		for _, t := range at {
			if t.Before(from) || !t.Before(to) {
				continue
			}
			broken := slices.ContainsFunc(breaches, func(b oncall.Breach) bool { return !t.Before(b.From) && t.Before(b.To) })
			reached, run := reaches(rt, p, e, t)
			if reached && broken && (e.Urgency.Low || len(e.Urgency.LowWhen) > 0) && e.Repeat.Times > 0 {
				continue // a round that waits for somebody's daytime lets contact rules of the one before go on: the proof does not count on that
			}
			if reached == broken {
				rt.Fatalf("triggered at %s: the proof says broken: %v, the machine reached a person in time: %v\n%+v\n%+v\n%v", t, broken, reached, e, breaches, run.Timeline)
			}
		}
	})
}

// reaches plays the incident through, for every turn of a round robin and every team that a condition may name.
func reaches(rt *rapid.T, p oncall.Policy, e oncall.Escalation, at time.Time) (bool, replay.Run) {
	var run replay.Run
	numbers := int64(1)
	if slices.ContainsFunc(e.Tiers, func(t oncall.Tier) bool { return t.RoundRobin }) {
		numbers = 12 // every start in a line of up to four
	}
	for i := range numbers * 3 {
		s := replay.Scenario{Policy: p, Escalation: "e", At: at, For: e.Promise.Within, Number: i/3 + 1, UntilReached: true,
			Labels: labels.FromStrings("alertname", "A", "severity", e.Promise.Severity, "team", []string{"", "x", "y"}[i%3])}
		var err error
		if run, err = replay.Simulate(s); err != nil {
			rt.Fatal(err)
		}
		if run.Reached == nil {
			return false, run
		}
	}
	return true, run
}

func randomPolicy(rt *rapid.T) oncall.Policy {
	madrid, _ := time.LoadLocation("Europe/Madrid")
	interval := func(name string) []timeinterval.TimeInterval {
		begin := rapid.IntRange(0, 20).Draw(rt, name) * 60
		return []timeinterval.TimeInterval{{
			Times:    []timeinterval.TimeRange{{StartMinute: begin, EndMinute: begin + 180}},
			Location: &timeinterval.Location{Location: madrid},
		}}
	}
	page := func(name string) oncall.Receiver {
		return oncall.Receiver{Name: name, Endpoints: []oncall.Endpoint{oncall.PageEndpoint(name, 0)}}
	}
	p := oncall.Policy{
		Users: map[string]oncall.User{
			"ana":  {Name: "ana", Slack: "U1", Location: madrid, Contacts: []oncall.Contact{{Slack: "dm"}, {After: 2 * time.Minute, Receiver: "phone"}}},
			"bo":   {Name: "bo", Daytime: interval("bo's day"), Contacts: []oncall.Contact{{Slack: "#bo"}, {After: 7 * time.Minute, Receiver: "phone"}}},
			"chan": {Name: "chan", Contacts: []oncall.Contact{{Slack: "#chan"}}},
			"gone": {Name: "gone"},
		},
		Receivers: map[string]oncall.Receiver{"phone": page("phone"), "pager": page("pager"),
			"mail": {Name: "mail", Integrations: []oncall.Integration{{Endpoint: oncall.IntegrationEndpoint("email_configs", "mail", 0)}}}},
		Routing:   oncall.Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{"one": interval("one"), "two": interval("two")}},
		Schedules: map[string]oncall.Schedule{},
	}
	for _, name := range []string{"s", "t"} {
		users := rapid.SampledFrom([][][]string{{{"ana"}, {"bo"}}, {{"ana", "bo"}}, {{"gone"}, {"ana"}}, {{"chan"}, {}}}).Draw(rt, "users")
		p.Schedules[name] = oncall.Schedule{Name: name, TimeZone: madrid, Layers: []oncall.Layer{{Name: "l", Rosters: []oncall.Roster{{
			Users: users, Rotation: oncall.Rotation{Every: 11 * time.Hour, Anchor: time.Date(2025, 3, 1, 5, 0, 0, 0, time.UTC)},
			Restrict: oncall.Restriction(interval("restriction of " + name)),
		}}}}}
	}
	p.Escalations = map[string]oncall.Escalation{"e": randomEscalation(rt)}
	return p
}

func randomEscalation(rt *rapid.T) oncall.Escalation {
	minutes := func(name string, from, to int) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(rt, name)) * time.Minute
	}
	e := oncall.Escalation{Name: "e", GroupBy: []string{"alertname"}, DeliverWithin: 30 * time.Second,
		Promise: oncall.Promise{Within: minutes("within", 1, 90), Severity: rapid.SampledFrom([]string{"critical", "warning"}).Draw(rt, "severity")}}
	condition := func(name string) (c oncall.Condition) {
		switch rapid.IntRange(0, 9).Draw(rt, name) {
		case 8:
			c.When = amlabels.Matchers{{Type: amlabels.MatchEqual, Name: "team", Value: "x"}}
		case 9:
			c.When = amlabels.Matchers{{Type: amlabels.MatchNotEqual, Name: "team", Value: "y"}}
		case 0:
			c.When = amlabels.Matchers{{Type: amlabels.MatchEqual, Name: "severity", Value: "critical"}}
		case 1:
			c.During = []string{"one"}
		case 2:
			c.NotDuring = []string{"one", "two"}
		case 3:
			c.During, c.NotDuring = []string{"one"}, []string{"two"}
		}
		return c
	}
	all := []oncall.Target{{Kind: oncall.TargetSlack, Name: "#a"}, {Kind: oncall.TargetSchedule, Name: "s"}, {Kind: oncall.TargetSchedule, Name: "t"}, {Kind: oncall.TargetUser, Name: "ana"},
		{Kind: oncall.TargetUser, Name: "bo"}, {Kind: oncall.TargetUser, Name: "gone"}, {Kind: oncall.TargetReceiver, Name: "mail"}, {Kind: oncall.TargetReceiver, Name: "pager"}}
	after := time.Duration(0)
	for i := range rapid.IntRange(1, 4).Draw(rt, "tiers") {
		if i > 0 {
			after += minutes("after", 0, 20)
		}
		tier := oncall.Tier{After: after, Condition: condition(fmt.Sprint("condition ", i)),
			Targets: rapid.SliceOfNDistinct(rapid.SampledFrom(all[:7+rapid.IntRange(0, 1).Draw(rt, "pager")]), 1, 2, rapid.ID[oncall.Target]).Draw(rt, "targets")}
		tier.RoundRobin = rapid.IntRange(0, 3).Draw(rt, "robin") == 0
		e.Tiers = append(e.Tiers, tier)
	}
	if rapid.Bool().Draw(rt, "repeats") {
		e.Repeat = oncall.Repeat{Every: after + minutes("every", 1, 30), Times: 2}
	}
	e.Condition = condition("condition of all")
	switch rapid.IntRange(0, 5).Draw(rt, "low") {
	case 0, 1:
		e.Urgency = oncall.Urgency{Low: true, Deadline: minutes("deadline", 0, 60)}
	case 2:
		e.Urgency = oncall.Urgency{LowWhen: amlabels.Matchers{{Type: amlabels.MatchEqual, Name: "team", Value: "x"}}, Deadline: minutes("deadline", 0, 60)}
	}
	return e
}

// TestProveKnowsNoOtherLabels: that a tier is told may break a promise, too: the channel that only one team has calls off
// that ana is told at once where nobody is on call.
func TestProveKnowsNoOtherLabels(t *testing.T) {
	team := amlabels.Matchers{{Type: amlabels.MatchEqual, Name: "team", Value: "x"}}
	p := oncall.Policy{
		Users:     map[string]oncall.User{"ana": {Name: "ana", Slack: "U1", Contacts: []oncall.Contact{{Slack: "dm"}}}},
		Schedules: map[string]oncall.Schedule{},
		Escalations: map[string]oncall.Escalation{"e": {Name: "e", GroupBy: []string{"alertname"}, Promise: oncall.Promise{Within: 10 * time.Minute, Severity: "critical"},
			Tiers: []oncall.Tier{
				{Targets: []oncall.Target{{Kind: oncall.TargetSchedule, Name: "empty"}}},
				{After: 5 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#x"}}, Condition: oncall.Condition{When: team}},
				{After: time.Hour, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}},
			}}},
	}
	at := time.Date(2025, 3, 28, 3, 0, 0, 0, time.UTC)
	breaches := oncall.Prove(p, at, at.Add(time.Hour))
	if len(breaches) != 1 || !breaches[0].To.Equal(at.Add(time.Hour)) || breaches[0].Labels["team"] != "x" || !strings.HasPrefix(breaches[0].Why, `where team="x": `) {
		t.Errorf("%+v", breaches)
	}
	e := p.Escalations["e"] // whoever has that team or not, one of the two is told
	e.Tiers = []oncall.Tier{
		{Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}, Condition: oncall.Condition{When: team}},
		{Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}, Condition: oncall.Condition{When: amlabels.Matchers{{Type: amlabels.MatchNotEqual, Name: "team", Value: "x"}}}},
	}
	p.Escalations["e"] = e
	if breaches := oncall.Prove(p, at, at.Add(time.Hour)); len(breaches) != 0 {
		t.Errorf("%+v", breaches)
	}
}

// TestNobodyWaitsForWhomNothingReaches: a user without contacts keeps no later tier waiting for their daytime.
func TestNobodyWaitsForWhomNothingReaches(t *testing.T) {
	p := oncall.Policy{
		Users:     map[string]oncall.User{"gone": {Name: "gone"}},
		Receivers: map[string]oncall.Receiver{"pager": {Name: "pager", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("pager", 0)}}},
		Escalations: map[string]oncall.Escalation{"e": {
			Name: "e", GroupBy: []string{"alertname"}, Urgency: oncall.Urgency{Low: true, Deadline: time.Hour}, Promise: oncall.Promise{Within: 2 * time.Minute},
			Tiers: []oncall.Tier{
				{Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "gone"}, {Kind: oncall.TargetSlack, Name: "#a"}}},
				{After: 2 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: "pager"}}},
			}}},
	}
	night := time.Date(2025, 3, 28, 4, 57, 59, 999_999_999, time.UTC)
	run, err := replay.Simulate(replay.Scenario{Policy: p, Escalation: "e", At: night, For: 3 * time.Hour, Labels: labels.FromStrings("alertname", "A")})
	if err != nil {
		t.Fatal(err)
	}
	if run.Reached == nil || !run.Reached.At.Equal(night.Add(2*time.Minute)) {
		t.Errorf("reached: %+v", run.Reached)
	}
	for _, e := range run.Timeline {
		if e.Kind == oncall.EntryUrgency && e.Text == "user gone is told from Fri 28 Mar 05:57 UTC on: the urgency is low" {
			t.Errorf("the timeline says that they are told: %s", e.Text)
		}
	}
	if breaches := oncall.Prove(p, night, night.Add(24*time.Hour)); len(breaches) > 0 {
		t.Errorf("%+v", breaches)
	}
}

// TestProveGoesThroughRoundRobins: of two users in line one waits for their daytime, and what is told next waits for
// them; the other is a channel, after which it is told at once. More orders than can be gone through are not promised.
func TestProveGoesThroughRoundRobins(t *testing.T) {
	user := func(i int) oncall.Target { return oncall.Target{Kind: oncall.TargetUser, Name: fmt.Sprint("u", i)} }
	phone := oncall.Target{Kind: oncall.TargetReceiver, Name: "pager"}
	p := oncall.Policy{
		Users:     map[string]oncall.User{},
		Receivers: map[string]oncall.Receiver{"pager": {Name: "pager", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("pager", 0)}}},
	}
	for i := range 59 {
		p.Users[user(i).Name] = oncall.User{Name: user(i).Name, Contacts: []oncall.Contact{{Receiver: "pager"}}}
	}
	at := time.Date(2025, 3, 28, 3, 0, 0, 0, time.UTC)
	prove := func(low bool, tiers ...oncall.Tier) string {
		p.Escalations = map[string]oncall.Escalation{"e": {Name: "e", GroupBy: []string{"alertname"}, Tiers: tiers,
			Urgency: oncall.Urgency{Low: low, Deadline: time.Hour}, Promise: oncall.Promise{Within: time.Minute}}}
		for _, b := range oncall.Prove(p, at, at.Add(time.Minute)) {
			return b.Why
		}
		return ""
	}
	line := func(n int, target func(int) oncall.Target) oncall.Tier {
		tier := oncall.Tier{RoundRobin: true}
		for i := range n {
			tier.Targets = append(tier.Targets, target(i))
		}
		return tier
	}
	channel := func(i int) oncall.Target { return oncall.Target{Kind: oncall.TargetSlack, Name: fmt.Sprint("#", i)} }
	if why := prove(true, oncall.Tier{RoundRobin: true, Targets: []oncall.Target{channel(0), user(0)}}, oncall.Tier{Targets: []oncall.Target{phone}}); why == "" {
		t.Error("it is promised, though whoever begins may wait for their daytime")
	}
	tiers := []oncall.Tier{line(59, channel), line(53, channel), line(47, user)}
	if why := prove(false, tiers[2]); why != "" {
		t.Errorf("one line: %s", why)
	}
	const want = "more than 5000 ways"
	if why := prove(false, tiers...); !strings.Contains(why, want) {
		t.Errorf("three lines: %q, want %q", why, want)
	}
}
