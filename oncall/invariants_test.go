package oncall_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"tocsin/oncall"
)

// What users rely on, in the simplest words that hold whatever happens.

func (s *sim) checkAll() {
	open := map[string]int64{}
	for _, in := range s.incidents {
		s.checkStanding(in)
		checkTiers(s, in)
		checkTold(s, in)
		if place := in.Escalation + in.GroupKey; in.Open() {
			if other := open[place]; other != 0 {
				s.fail("#%d and #%d are open for one group", other, in.Number)
			}
			open[place] = in.Number
		}
	}
}

// checkStanding: the document agrees with itself, and an incident that nobody has taken has a next instant or says
// why nobody is left to tell.
func (s *sim) checkStanding(in *oncall.Incident) {
	firing, loud := false, false
	for _, a := range in.Alerts {
		if a.State == oncall.StateFiring {
			firing, loud = true, loud || a.MutedSince.IsZero()
		}
	}
	paused := !in.PausedSince.IsZero()
	if paused != (in.Open() && !loud) {
		s.fail("#%d is %s, paused: %v, an alert fires that is not muted: %v", in.Number, in.State, paused, loud)
	}
	if paused && (!in.NextAt.IsZero() || !strings.HasPrefix(in.Next, "paused: ")) {
		s.fail("#%d is paused, next at %s: %q", in.Number, in.NextAt, in.Next)
	}
	if in.Open() && !firing {
		s.fail("#%d is open and nothing fires", in.Number)
	}
	if in.State == oncall.IncidentTriggered && in.NextAt.IsZero() && !in.Exhausted && !paused {
		s.fail("#%d is triggered and not paused, has no next instant, and nobody is said to be left", in.Number)
	}
	if in.State == oncall.IncidentTriggered && in.Exhausted && !in.NextStepAt.IsZero() && !paused {
		s.fail("#%d has nobody left to tell, and %s", in.Number, in.Next)
	}
	if in.State == oncall.IncidentAcknowledged && in.Policy.AckTimeout > 0 && in.NextAt.IsZero() && !paused {
		s.fail("#%d is acknowledged with a timeout and has no next instant", in.Number)
	}
	if in.State == oncall.IncidentSnoozed && in.NextAt.IsZero() && !paused {
		s.fail("#%d is snoozed for ever", in.Number)
	}
	if firing && loud && !in.Open() && in.NextAt.IsZero() {
		s.fail("#%d has ended, holds an alert that fires, and will not hand it over", in.Number)
	}
	if in.MergedInto != 0 && firing {
		s.fail("#%d was merged and still holds a firing alert", in.Number)
	}
}

// checkTiers: no tier of a round is skipped: all before the next one were told or passed over, and those that were
// told are as many as the timeline says. No target is told twice by one tier.
func checkTiers(s *sim, in *oncall.Incident) {
	if !in.Open() {
		return
	}
	told := slices.Clone(in.ToldTiers)
	for i, t := range in.Policy.Tiers[:min(in.NextTier, len(in.Policy.Tiers))] {
		if slices.Contains(in.Passed, i) {
			continue
		}
		at := slices.Index(told, tierKey(t))
		if at < 0 {
			s.fail("#%d: tier %d was neither told nor passed over in round %d: %q", in.Number, i, in.Round, in.ToldTiers)
			return
		}
		told = slices.Delete(told, at, at+1)
	}
	seen := map[string]bool{}
	for _, n := range in.Notifications {
		key := fmt.Sprint(n.Round, n.Tier < 0, n.Turn, n.Target)
		if seen[key] {
			s.fail("#%d: %s is told twice by one tier", in.Number, n.Target)
		}
		seen[key] = true
	}
	n := 0
	for _, e := range slices.Backward(in.Timeline) {
		if e.Kind == oncall.EntryUnacknowledged || e.Kind == oncall.EntryUnsnoozed || e.Kind == oncall.EntryReopened || strings.Contains(e.Text, " round begins: ") {
			break
		}
		if e.Kind == oncall.EntryEscalated && strings.Contains(e.Text, " tier is told: ") {
			n++
		}
	}
	if n != in.Turns {
		s.fail("#%d: %d tiers were told in round %d, the timeline has %d", in.Number, in.Turns, in.Round, n)
	}
}

func tierKey(t oncall.Tier) string {
	names := make([]string, len(t.Targets))
	for i, x := range t.Targets {
		names[i] = x.String()
	}
	if t.RoundRobin {
		return "one of " + strings.Join(names, ", ")
	}
	return strings.Join(names, ", ")
}

// checkDecision: what one decision may do.
func (s *sim) checkDecision(before oncall.Incident, d oncall.Decision, ev oncall.Event) {
	after := d.Incident
	had := before.State == oncall.IncidentAcknowledged && after.State == oncall.IncidentAcknowledged
	for _, nd := range d.Deliveries {
		valid := len(nd.Body) > 0 && nd.Body[0] == '{'
		if valid && (!s.quiet || s.steps%16 == 0) { // a million times it would take longer than all else that is checked
			valid = json.Valid(nd.Body)
		}
		if nd.Kind.Asks() && valid == nd.Endpoint.Integration() {
			s.fail("#%d: the body of the page to %s: %q", after.Number, nd.Endpoint, nd.Body)
		}
		if nd.Kind == oncall.KindMessage && nd.Priority == oncall.PriorityUpdate {
			continue // it makes up for one that could not be posted, and asks for nothing
		}
		if nd.Target == "" || nd.Kind != oncall.KindTriggered && nd.Kind != oncall.KindMessage && nd.Kind != oncall.KindReply {
			continue
		}
		helper := slices.ContainsFunc(after.Responders, func(r oncall.Responder) bool { return r.User == nd.User })
		if (had || after.State == oncall.IncidentResolved || after.State == oncall.IncidentSnoozed) && !helper {
			s.fail("#%d is %s, and %s is asked for attention by %T", after.Number, after.State, nd.Target, ev)
		}
		if before.Urgency == oncall.UrgencyLow && after.Urgency == oncall.UrgencyLow && !helper && strings.HasPrefix(nd.Target, "user ") {
			s.checkAwake(before, after, nd)
		}
	}
	for _, e := range d.Timeline {
		if e.Text == "" || strings.Contains(e.Text, "%!") {
			s.fail("#%d: the timeline says %q", after.Number, e.Text)
		}
	}
	s.checkOnCall(before, after)
}

// checkAwake: what has a low urgency begins within the daytime of the user, or at the deadline.
func (s *sim) checkAwake(before, after oncall.Incident, nd oncall.Delivery) {
	again := slices.ContainsFunc(before.Deliveries, func(d oncall.Delivery) bool { return d.Target == nd.Target && d.Round == nd.Round })
	deadline := after.Anchor.Add(after.Policy.Urgency.Deadline)
	for _, n := range after.Notifications {
		if n.Target.String() != nd.Target || n.Round != nd.Round || again {
			continue
		}
		if from := s.policy.Users[nd.User].Awake(n.At, deadline); from.After(s.now) {
			s.fail("#%d is of low urgency, and %s is told at %s, not from %s on", after.Number, nd.Target, s.now, from)
		}
	}
}

// checkOnCall: a tier that was told now tells everybody who is on call now.
func (s *sim) checkOnCall(before, after oncall.Incident) {
	if after.Turns == 0 || after.Turns <= before.Turns && after.Round == before.Round {
		return
	}
	tier, tells := -1, map[string]bool{}
	for _, n := range after.Notifications {
		if n.Turn == after.Turns-1 && n.Tier >= 0 && n.Round == after.Round {
			tier = n.Tier
			tells[n.Target.Name] = true
		}
	}
	if tier < 0 {
		return
	}
	for _, t := range after.Policy.Tiers[tier].Targets {
		if t.Kind != oncall.TargetSchedule {
			continue
		}
		users, why := s.policy.OnCall(t.Name, s.now)
		for _, u := range users {
			if !tells[u] {
				s.fail("#%d: tier %d tells %s, and not %s, who is on call (%s)", after.Number, tier, t, u, why)
			}
		}
	}
}

// checkMadeUp: when everything arrives, nothing is owed, and no endpoint has two messages under way.
func (s *sim) checkMadeUp() {
	for _, in := range s.incidents {
		for _, t := range in.Told {
			if paused := !in.PausedSince.IsZero(); (!t.Owed.IsZero() || t.EditWaits) && !paused {
				s.fail("#%d is %s, and still owes %s what it missed: %+v", in.Number, in.State, t.Endpoint, t)
			}
		}
	}
}

// checkTold: each endpoint hears of the resolution at most once, of each acknowledgement at most once, and
// of neither unless it was asked.
func checkTold(s *sim, in *oncall.Incident) {
	asked, resolved, acked := map[oncall.Endpoint]bool{}, map[oncall.Endpoint]int{}, map[oncall.Endpoint]int{}
	for _, d := range in.Deliveries {
		switch d.Kind {
		case oncall.KindTriggered, oncall.KindMessage:
			asked[d.Endpoint] = true
		case oncall.KindResolved:
			resolved[d.Endpoint]++
		case oncall.KindAcknowledged:
			acked[d.Endpoint]++
		}
		if !asked[d.Endpoint] {
			s.fail("#%d: %s to %s, which was never asked", in.Number, d.Kind, d.Endpoint)
		}
		both := d.Endpoint.Address() == "both/0" // hears of snoozes too
		if resolved[d.Endpoint] > 1 || acked[d.Endpoint] > in.Acks && !both {
			s.fail("#%d: %s heard it too often", in.Number, d.Endpoint)
		}
		if d.Endpoint.Integration() && (d.Kind == oncall.KindAcknowledged && !both || d.Kind == oncall.KindResolved && d.Endpoint.Kind() != "pagerduty_configs") {
			s.fail("#%d: %s to %s", in.Number, d.Kind, d.Endpoint)
		}
	}
}
