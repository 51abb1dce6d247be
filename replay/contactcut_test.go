package replay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/replay"
)

// TestCutContacts holds what check warns of against what the machine does: a contact rule that rounds cut short runs
// for the first time when the warning says, and one that is not warned of runs in the first round.
func TestCutContacts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		minutes := func(name string, from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(rt, name)) * time.Minute
		}
		contact := oncall.Contact{After: minutes("contact", 0, 30), Receiver: "phone"}
		e := oncall.Escalation{Name: "e", GroupBy: []string{"alertname"}, DeliverWithin: 30 * time.Second}
		to := rapid.SampledFrom([]oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}, {Kind: oncall.TargetSchedule, Name: "s"}})
		e.Tiers = []oncall.Tier{{After: minutes("first", 0, 5), Targets: []oncall.Target{to.Draw(rt, "who")}}}
		if rapid.Bool().Draw(rt, "two tiers") {
			e.Tiers = append(e.Tiers, oncall.Tier{After: e.Tiers[0].After + minutes("second", 0, 5), Targets: []oncall.Target{to.Draw(rt, "who")}})
		}
		e.Repeat = oncall.Repeat{Every: e.Tiers[len(e.Tiers)-1].After + minutes("every", 1, 15), Times: rapid.IntRange(0, 3).Draw(rt, "times")}
		p := oncall.Policy{
			Users:     map[string]oncall.User{"ana": {Name: "ana", Slack: "U1", Contacts: []oncall.Contact{{Slack: "dm"}, contact}}},
			Receivers: map[string]oncall.Receiver{"phone": {Name: "phone", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("phone", 0)}}},
			Schedules: map[string]oncall.Schedule{"s": {Name: "s", Layers: []oncall.Layer{{Rosters: []oncall.Roster{{
				Users: [][]string{{"ana"}}, Rotation: oncall.Rotation{Every: 24 * time.Hour, Anchor: time.Date(2025, 3, 1, 5, 0, 0, 0, time.UTC)}}}}}}},
			Escalations: map[string]oncall.Escalation{"e": e},
		}
		at := time.Date(2025, 3, 28, 0, 0, 0, 0, time.UTC)
		run, err := replay.Simulate(replay.Scenario{Policy: p, Escalation: "e", At: at, For: 5 * time.Hour,
			Labels: labels.FromStrings("alertname", "A", "severity", "critical")})
		if err != nil {
			rt.Fatal(err)
		}
		want := e.Tiers[0].After + contact.After
		cut := p.CutContacts()
		if len(cut) > 0 {
			want += time.Duration(e.Repeat.Times) * e.Repeat.Every
		}
		for _, entry := range run.Timeline {
			if !strings.Contains(entry.Text, "receiver phone") || entry.Kind != oncall.EntryNotified {
				continue
			}
			if got := entry.At.Sub(at); got != want {
				rt.Fatalf("the contact runs first after %s, want %s: %+v\n%+v", got, want, cut, e)
			}
			return
		}
		rt.Fatalf("the contact never runs: %+v", run.Timeline)
	})
}
