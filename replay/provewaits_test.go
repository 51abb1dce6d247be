package replay_test

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// waiting is a policy in which round waits for round: chan, who has no way of their own to be reached, is on call until
// ana takes over. An incident of the night waits for chan's day, and from then on each round comes every after the one
// before, whenever it was triggered.
func waiting(begins, handoff, every, within time.Duration, times int, tiers []oncall.Tier) oncall.Policy {
	daytime := []timeinterval.TimeInterval{{Times: []timeinterval.TimeRange{{StartMinute: int(begins / time.Minute), EndMinute: 18 * 60}}}}
	return oncall.Policy{
		Users: map[string]oncall.User{
			"chan": {Name: "chan", Daytime: daytime, Contacts: []oncall.Contact{{Slack: "#chan"}}},
			"gone": {Name: "gone"},
			"ana":  {Name: "ana", Slack: "U1", Daytime: daytime, Contacts: []oncall.Contact{{Slack: "dm"}}},
		},
		Schedules: map[string]oncall.Schedule{"s": {Name: "s", Layers: []oncall.Layer{{Name: "l", Rosters: []oncall.Roster{{
			Users: [][]string{{"chan"}, {"ana"}}, Rotation: oncall.Rotation{Every: 24 * time.Hour, Anchor: night.Add(handoff - 24*time.Hour)}}}}}}},
		Escalations: map[string]oncall.Escalation{"e": {Name: "e", GroupBy: []string{"alertname"}, DeliverWithin: 30 * time.Second,
			Tiers: tiers, Repeat: oncall.Repeat{Every: every, Times: times}, Urgency: oncall.Urgency{Low: true, Deadline: 24 * time.Hour},
			Promise: oncall.Promise{Within: within}}},
	}
}

var night = time.Date(2025, 3, 28, 0, 0, 0, 0, time.UTC)

// TestProveFollowsManyWaits: whatever the number of waits in a row, the proof says what the machine does.
func TestProveFollowsManyWaits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		minutes := func(name string, from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(rt, name)) * time.Minute
		}
		on := func(after time.Duration, kind oncall.TargetKind, name string) oncall.Tier {
			return oncall.Tier{After: after, Targets: []oncall.Target{{Kind: kind, Name: name}}}
		}
		tiers := []oncall.Tier{on(0, oncall.TargetSchedule, "s")}
		for range rapid.IntRange(0, 3).Draw(rt, "pairs") { // a tier that fails lets the next one run early, which is waited for in turn
			last := tiers[len(tiers)-1].After
			tiers = append(tiers, on(last+minutes("gone", 1, 7), oncall.TargetUser, "gone"), on(last+minutes("next", 8, 13), oncall.TargetSchedule, "s"))
		}
		every := tiers[len(tiers)-1].After + minutes("every", 1, 15)
		begins := 9 * time.Hour
		p := waiting(begins, begins+minutes("handoff", 0, 150), every, minutes("within", 30, 200), rapid.IntRange(1, 10).Draw(rt, "times"), tiers)
		from, to := night.Add(begins-4*time.Hour), night.Add(begins+10*time.Minute)
		breaches := oncall.Prove(p, from, to)
		var at []time.Time
		for _, b := range breaches[:min(len(breaches), 4)] {
			at = append(at, b.From, b.To.Add(-1), b.To, b.From.Add(-1))
		}
		for range 8 {
			at = append(at, from.Add(minutes("minute", 0, 249)))
		}
		for _, t := range at {
			if t.Before(from) || !t.Before(to) {
				continue
			}
			broken := slices.ContainsFunc(breaches, func(b oncall.Breach) bool { return !t.Before(b.From) && t.Before(b.To) })
			if reached, run := reaches(rt, p, p.Escalations["e"], t); reached == broken {
				rt.Fatalf("triggered at %s: the proof says broken: %v, the machine reached a person in time: %v\n%+v\n%v", t, broken, reached, breaches, run.Timeline)
			}
		}
	})
}

// TestProveFollowsFiveRounds: chan's day begins at nine, ana takes over at 9:45, and the round of 9:50 reaches her: 57
// minutes after 8:53. Nothing else in the policy meets at that minute.
func TestProveFollowsFiveRounds(t *testing.T) {
	schedule := []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetSchedule, Name: "s"}}}}
	p := waiting(9*time.Hour, 9*time.Hour+45*time.Minute, 10*time.Minute, 57*time.Minute, 9, schedule)
	breaches := oncall.Prove(p, night.Add(6*time.Hour), night.Add(9*time.Hour))
	if last := len(breaches) - 1; last < 0 || !breaches[last].To.Equal(night.Add(8*time.Hour+53*time.Minute)) {
		t.Errorf("%+v", breaches)
	}
}
