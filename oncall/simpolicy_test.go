package oncall_test

import (
	"slices"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/oncall"
)

func testPolicy() oncall.Policy {
	page := func(r string) oncall.Receiver {
		return oncall.Receiver{Name: r, Endpoints: []oncall.Endpoint{oncall.PageEndpoint(r, 0)}}
	}
	classic := oncall.Receiver{Name: "classic", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("classic", 0)}, Integrations: []oncall.Integration{
		{Endpoint: oncall.IntegrationEndpoint("pagerduty_configs", "classic", 0), SendResolved: true},
		{Endpoint: oncall.IntegrationEndpoint("webhook_configs", "classic", 0)}}}
	mail := oncall.Receiver{Name: "cho-mail", Integrations: []oncall.Integration{{Endpoint: oncall.IntegrationEndpoint("email_configs", "cho-mail", 0)}}}
	both := oncall.Receiver{Name: "both", Integrations: []oncall.Integration{ // far ends that keep incidents of their own
		{Endpoint: oncall.IntegrationEndpoint("pagerduty_configs", "both", 0), SendResolved: true, Acks: true},
		{Endpoint: oncall.IntegrationEndpoint("opsgenie_configs", "both", 0), Acks: true}}}
	slack := oncall.Target{Kind: oncall.TargetSlack, Name: "#session-alerts"}
	user := func(n string) oncall.Target { return oncall.Target{Kind: oncall.TargetUser, Name: n} }
	sched := func(n string) oncall.Target { return oncall.Target{Kind: oncall.TargetSchedule, Name: n} }
	recv := func(n string) oncall.Target { return oncall.Target{Kind: oncall.TargetReceiver, Name: n} }
	return oncall.Policy{
		ExternalURL: "http://tocsin.test", LinkKey: []byte("0123456789abcdef"),
		Users: map[string]oncall.User{
			"ana":   {Name: "ana", Slack: "U02ANA", Contacts: []oncall.Contact{{Slack: "dm"}, {After: 2 * time.Minute, Receiver: "ana-phone"}}},
			"bo":    {Name: "bo", Slack: "U03BO", Contacts: []oncall.Contact{{Receiver: "bo-phone"}}},
			"cho":   {Name: "cho", Contacts: []oncall.Contact{{Receiver: "cho-mail"}, {After: time.Minute, Receiver: "bo-phone"}}},
			"dee":   {Name: "dee", Slack: "U05DEE"},
			"ghost": {Name: "ghost"},
		},
		Receivers: map[string]oncall.Receiver{"classic": classic, "both": both, "cho-mail": mail, "ana-phone": page("ana-phone"), "bo-phone": page("bo-phone"), "pagerduty": page("pagerduty")},
		Schedules: map[string]oncall.Schedule{"primary": primary(), "team": team(), "night": night()},
		Routing:   oncall.Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{"business-hours": {hours(14*60, 18*60)}}},
		Escalations: map[string]oncall.Escalation{
			"on-call": {Name: "on-call", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute, Repeat: oncall.Repeat{Every: time.Hour, Times: 1}, Tiers: []oncall.Tier{
				{Targets: []oncall.Target{sched("primary"), user("bo")}}, {After: 10 * time.Minute, Targets: []oncall.Target{sched("night"), slack}},
				{After: 20 * time.Minute, Targets: []oncall.Target{sched("team")}}}},
			"choosy": {Name: "choosy", GroupBy: []string{"service"}, Tiers: []oncall.Tier{
				{Targets: []oncall.Target{slack}},
				{After: 5 * time.Minute, Targets: []oncall.Target{user("ana")}, Condition: oncall.Condition{When: equal("severity", "critical")}},
				{After: 10 * time.Minute, Targets: []oncall.Target{recv("pagerduty")}, Condition: oncall.Condition{During: []string{"business-hours"}}},
				{After: 15 * time.Minute, Targets: []oncall.Target{user("bo")}, Condition: oncall.Condition{NotDuring: []string{"business-hours"}}}}},
			"robin": {Name: "robin", GroupBy: []string{"service"}, Repeat: oncall.Repeat{Every: 30 * time.Minute, Times: 1}, Tiers: []oncall.Tier{
				{RoundRobin: true, Targets: []oncall.Target{user("bo"), sched("team")}}, {After: 20 * time.Minute, Targets: []oncall.Target{recv("pagerduty")}}}},
			"low": {Name: "low", GroupBy: []string{"service"}, Repeat: oncall.Repeat{Every: 30 * time.Minute, Times: 1},
				Urgency: oncall.Urgency{LowWhen: equal("severity", "warning"), Deadline: 12 * time.Hour}, Tiers: []oncall.Tier{
					{Targets: []oncall.Target{slack, user("ana")}}, {After: 10 * time.Minute, Targets: []oncall.Target{user("bo")}}}},
			"again": {Name: "again", GroupBy: []string{"service"}, ReopenWithin: 10 * time.Minute, Tiers: []oncall.Tier{
				{Targets: []oncall.Target{slack}}, {After: 5 * time.Minute, Targets: []oncall.Target{user("bo")}}}},
			"session": {Name: "session", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute, Repeat: oncall.Repeat{Every: 30 * time.Minute, Times: 1},
				Tiers: []oncall.Tier{{Targets: []oncall.Target{slack}}, {After: 5 * time.Minute, Targets: []oncall.Target{user("ana")}}, {After: 10 * time.Minute, Targets: []oncall.Target{user("bo"), recv("pagerduty")}}}},
			"with-integrations": {Name: "with-integrations", GroupBy: []string{"service"}, Tiers: []oncall.Tier{{Targets: []oncall.Target{slack, recv("classic")}},
				{After: 5 * time.Minute, Targets: []oncall.Target{user("cho")}}}},
			"both-ways": {Name: "both-ways", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute, Tiers: []oncall.Tier{{Targets: []oncall.Target{recv("both")}},
				{After: 5 * time.Minute, Targets: []oncall.Target{user("bo")}}}},
			"plain": {Name: "plain", GroupBy: []string{"alertname"}, Tiers: []oncall.Tier{{Targets: []oncall.Target{recv("pagerduty")}}}},
			"nobody": {Name: "nobody", GroupBy: []string{"alertname"}, Tiers: []oncall.Tier{
				{Targets: []oncall.Target{user("ghost")}}, {After: 5 * time.Minute, Targets: []oncall.Target{user("bo")}}}},
		},
	}
}

func equal(name, value string) amlabels.Matchers {
	return amlabels.Matchers{{Type: amlabels.MatchEqual, Name: name, Value: value}}
}

// hours is an interval within each day, in minutes since midnight UTC.
func hours(from, to int) timeinterval.TimeInterval {
	return timeinterval.TimeInterval{Times: []timeinterval.TimeRange{{StartMinute: from, EndMinute: to}}}
}

// primary hands over each day at 13:20 UTC, cho to ana on the first; bo learns.
func primary() oncall.Schedule {
	handoff, err := oncall.ParseCron("20 13 * * *")
	if err != nil {
		panic(err)
	}
	return oncall.Schedule{Name: "primary", Layers: []oncall.Layer{{Name: "daily", Rosters: []oncall.Roster{{
		From:  time.Date(2024, 9, 22, 13, 20, 0, 0, time.UTC),
		Users: [][]string{{"cho"}, {"ana"}}, Shadows: []string{"dee"}, Rotation: oncall.Rotation{Handoff: handoff},
	}}}}}
}

// team has ana and cho on call together, but for the hour from 15:00 UTC on, when nobody is.
func team() oncall.Schedule {
	return oncall.Schedule{Name: "team", Layers: []oncall.Layer{{Name: "all", Rosters: []oncall.Roster{{
		From:  time.Date(2024, 9, 1, 0, 0, 0, 0, time.UTC),
		Users: [][]string{{"ana", "cho"}}, Restrict: oncall.Restriction{hours(0, 15*60), hours(16*60, 24*60)},
	}}}}}
}

// edits are what is done to the configuration while incidents run.
var edits = map[string]func(*oncall.Policy){
	"no-first-tier": session(func(e *oncall.Escalation) { e.Tiers = e.Tiers[min(1, len(e.Tiers)-1):] }),
	"one-more-tier": session(func(e *oncall.Escalation) {
		e.Tiers = append(e.Tiers, oncall.Tier{After: 12 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "cho"}}})
	}),
	"new-second-tier": session(func(e *oncall.Escalation) {
		e.Tiers = slices.Insert(e.Tiers, 1, oncall.Tier{After: time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "cho"}}})
	}),
	"sooner":        session(func(e *oncall.Escalation) { e.AckTimeout, e.Tiers[len(e.Tiers)-1].After = time.Hour, 6*time.Minute }),
	"no-escalation": func(p *oncall.Policy) { delete(p.Escalations, "session"); delete(p.Escalations, "on-call") },
	"no-bo":         func(p *oncall.Policy) { delete(p.Users, "bo") },
	"no-schedules":  func(p *oncall.Policy) { p.Schedules = nil },
	"no-hours":      func(p *oncall.Policy) { p.Routing.TimeIntervals = nil },
	"ana-by-phone": func(p *oncall.Policy) { // no direct message any more
		u := p.Users["ana"]
		u.Contacts = []oncall.Contact{{Receiver: "ana-phone"}}
		p.Users["ana"] = u
	},
	"ana-off": func(p *oncall.Policy) {
		at := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
		p.Overrides = append(p.Overrides, oncall.Override{ID: "1", Schedule: "primary", Kind: oncall.OverrideReplace, User: "bo", Replaces: "ana",
			From: at, To: at.Add(24 * time.Hour), CreatedAt: at, Author: "dee", Reason: "dentist"})
	},
	"as-before": func(p *oncall.Policy) { *p = testPolicy() },
}

// night is covered from 20 to 24 o'clock only.
func night() oncall.Schedule {
	return oncall.Schedule{Name: "night", Layers: []oncall.Layer{{Name: "bo", Rosters: []oncall.Roster{{
		Users: [][]string{{"bo"}}, Restrict: oncall.Restriction{hours(20*60, 24*60)},
	}}}}}
}

// session edits the escalation session, which is there again if it was removed.
func session(edit func(*oncall.Escalation)) func(*oncall.Policy) {
	return func(p *oncall.Policy) {
		e, ok := p.Escalations["session"]
		if !ok {
			e = testPolicy().Escalations["session"]
		}
		edit(&e)
		p.Escalations["session"] = e
	}
}
