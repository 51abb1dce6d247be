package notifier_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// byTurns hands over from ana to bo each half hour from the start of a bubble on.
func byTurns(p *oncall.Policy) {
	from := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Schedules = map[string]oncall.Schedule{"primary": {Name: "primary", Layers: []oncall.Layer{{Name: "turns", Rosters: []oncall.Roster{{
		From: from, Users: [][]string{{"ana"}, {"bo"}}, Rotation: oncall.Rotation{Every: 30 * time.Minute, Anchor: from},
	}}}}}}
	p.Users["bo"] = oncall.User{Name: "bo", Contacts: []oncall.Contact{{Receiver: "bo-phone"}}}
	p.Escalations["oncall"] = oncall.Escalation{Name: "oncall", GroupBy: []string{"service"}, ReopenWithin: 10 * time.Minute,
		Repeat: oncall.Repeat{Every: 20 * time.Minute, Times: 1}, Tiers: []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetSchedule, Name: "primary"}}}}}
}

// TestWhoIsOnCallIsPaged over the store and a restart: the next round asks who is on call then, and the page says
// how they came to be told.
func TestWhoIsOnCallIsPaged(t *testing.T) {
	bubble(t, options{policy: byTurns}, func(t *testing.T, r *rig) {
		r.pass(15 * time.Minute)
		r.fire("session")
		r.wantKinds("ana-phone/0", "triggered")
		if body := string(r.far.Pages()[0].Body); !strings.Contains(body, `"via":"schedule primary until Sat 1 Jan 00:30 UTC"`) {
			t.Errorf("the page says %s", body)
		}
		r.pass(10 * time.Minute)
		r.halt()
		r.start()
		r.pass(10 * time.Minute)
		r.wantKinds("ana-phone/0", "triggered")
		r.wantKinds("bo-phone/0", "triggered")
	})
}

// TestAnIncidentGoesOn: the same incident with its next alert, within the window.
func TestAnIncidentGoesOn(t *testing.T) {
	bubble(t, options{policy: byTurns}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.change(oncall.ChangeResolved, "session")
		r.wantKinds("ana-phone/0", "triggered", "resolved")
		r.pass(9 * time.Minute)
		r.fire("session")
		r.wantKinds("ana-phone/0", "triggered", "resolved", "triggered")
		if in := r.incident(1); in.State != oncall.IncidentTriggered || in.Round != 1 || in.Reopens != 1 {
			t.Errorf("it is %s, round %d", in.State, in.Round)
		}
		r.change(oncall.ChangeResolved, "session")
		r.wantKinds("ana-phone/0", "triggered", "resolved", "triggered", "resolved")
		r.pass(11 * time.Minute)
		r.fire("session")
		if in := r.incident(2); in.State != oncall.IncidentTriggered {
			t.Errorf("#2 is %s", in.State)
		}
	})
}

// TestMergedIncidents over the store: alerts move, what comes later follows, and none is lost when the other ends.
func TestMergedIncidents(t *testing.T) {
	bubble(t, options{policy: byTurns}, func(t *testing.T, r *rig) {
		r.fire("session", "checkout")
		merge := func(number, into int64) oncall.Decision {
			d, err := r.acts.Act(t.Context(), number, oncall.Command{Kind: oncall.CmdMerge, Actor: "ana", Via: "api", Into: into}, "")
			if err != nil {
				t.Fatal(err)
			}
			r.pass(0)
			return d
		}
		if d := merge(2, 1); d.Refused || d.Reply != "#2 is merged into #1" {
			t.Fatalf("%+v", d)
		}
		if d := merge(2, 1); d.Refused || d.Changed {
			t.Errorf("a second time: %+v", d)
		}
		if d := merge(1, 2); !d.Refused || !strings.Contains(d.Reply, "#2 is resolved") {
			t.Errorf("into one that ended: %+v", d)
		}
		one := r.incident(1)
		if len(one.Alerts) != 2 || len(one.Merged) != 1 || one.Merged[0] != 2 {
			t.Errorf("#1 has %d alerts, merged %v", len(one.Alerts), one.Merged)
		}
		late := alertOf("checkout")
		late.Status, late.At, late.Labels = oncall.ChangeFiring, time.Now(), labels.NewBuilder(late.Labels).Set("instance", "late").Labels()
		r.evaluate(oncall.Evaluation{At: time.Now(), Changes: []oncall.AlertChange{late}})
		if n := len(r.incident(1).Alerts); n != 3 {
			t.Errorf("#1 has %d alerts", n)
		}
		r.act(1, oncall.CmdResolve, "")
		late.Labels = labels.NewBuilder(late.Labels).Set("instance", "later").Labels()
		r.evaluate(oncall.Evaluation{At: time.Now(), Changes: []oncall.AlertChange{late}})
		if in := r.incident(3); in.State != oncall.IncidentTriggered || in.GroupLabels.Get("service") != "checkout" {
			t.Errorf("#3 is %s of %s", in.State, in.GroupLabels)
		}
	})
}

// TestAskedToHelp: a responder is told while somebody else has it, and a reload in between stops nothing.
func TestAskedToHelp(t *testing.T) {
	bubble(t, options{policy: byTurns}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.act(1, oncall.CmdAcknowledge, "")
		p := r.policy
		p.Schedules = nil
		r.apply(p)
		r.pass(time.Second)
		if _, err := r.acts.Act(t.Context(), 1, oncall.Command{Kind: oncall.CmdAddResponder, Actor: "ana", User: "bo"}, ""); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.wantKinds("bo-phone/0", "triggered")
		said := ""
		for _, e := range r.incident(1).Timeline {
			said += string(e.Kind) + ": " + e.Text + "\n"
		}
		if strings.Count(said, "policy: the configuration changed: the schedule primary is not there any more") != 1 {
			t.Errorf("the timeline says\n%s", said)
		}
	})
}
