package notifier_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

func TestFromAlertToAcknowledgedPage(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		began := time.Now()
		r.fire("session")
		r.wantKinds("ana-phone/0", "triggered")
		pages := r.far.Pages()
		if len(pages) == 0 {
			t.Fatal("no page went out")
		}
		if took := pages[0].At.Sub(began); took > 10*time.Millisecond {
			t.Errorf("the page took %s", took)
		}
		r.pass(4 * time.Minute)
		r.wantKinds("bo-phone/0")
		r.pass(time.Minute)
		r.wantKinds("bo-phone/0", "triggered")
		if at := r.far.Pages()[1].At.Sub(began); at != 5*time.Minute {
			t.Errorf("tier 1 was told %s after the trigger", at)
		}
		if d := r.act(1, oncall.CmdAcknowledge, ""); !d.Changed || d.Incident.State != oncall.IncidentAcknowledged {
			t.Errorf("acknowledge: %+v", d)
		}
		r.wantKinds("ana-phone/0", "triggered", "acknowledged")
		r.wantKinds("bo-phone/0", "triggered", "acknowledged")
		r.pass(time.Minute)
		r.change(oncall.ChangeResolved, "session")
		r.wantKinds("ana-phone/0", "triggered", "acknowledged", "resolved")
		r.wantKinds("bo-phone/0", "triggered", "acknowledged", "resolved")
		if in := r.incident(1); in.State != oncall.IncidentResolved {
			t.Errorf("state %s", in.State)
		}
	})
}

func TestARepeatedRequestActsOnce(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.act(1, oncall.CmdAcknowledge, "press-1")
		r.act(1, oncall.CmdUnacknowledge, "")
		d := r.act(1, oncall.CmdAcknowledge, "press-1")
		if d.Reply != notifier.AlreadyDone || d.Changed || d.Incident.State != oncall.IncidentTriggered {
			t.Errorf("the repeat answered %q, changed %v, state %s", d.Reply, d.Changed, d.Incident.State)
		}
		_, err := r.acts.Act(t.Context(), 99, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana"}, "press-2")
		if oncall.ErrorCode(err) != oncall.CodeNotFound || err.Error() != "there is no incident #99" {
			t.Errorf("error %v", err)
		}
	})
}

func TestARefusedRequestIsNotTakenForDone(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.act(1, oncall.CmdAcknowledge, "")
		for range 2 {
			if d := r.act(1, oncall.CmdEscalate, "press-3"); !d.Refused || d.Reply == notifier.AlreadyDone {
				t.Errorf("escalating what somebody has: %q, refused %v", d.Reply, d.Refused)
			}
		}
		r.act(1, oncall.CmdUnacknowledge, "")
		if d := r.act(1, oncall.CmdEscalate, "press-3"); d.Refused || d.Reply == notifier.AlreadyDone {
			t.Errorf("escalating it later: %q, refused %v", d.Reply, d.Refused)
		}
		if d := r.act(1, oncall.CmdEscalate, "press-3"); d.Refused || d.Reply != notifier.AlreadyDone {
			t.Errorf("once more: %q, refused %v", d.Reply, d.Refused)
		}
	})
}

func TestATierThatCameDueDuringADowntimeIsToldAtOnce(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.halt()
		r.pass(20 * time.Minute)
		r.start()
		r.pass(0)
		r.wantKinds("bo-phone/0", "triggered")
	})
}

func TestAReloadMovesATier(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.pass(time.Minute)
		p := testPolicy()
		esc := p.Escalations["oncall"]
		esc.Tiers[1].After = 90 * time.Second
		p.Escalations["oncall"] = esc
		r.apply(p)
		r.pass(29 * time.Second)
		r.wantKinds("bo-phone/0")
		r.pass(time.Second)
		r.wantKinds("bo-phone/0", "triggered")
	})
}

func TestAThousandAlertsAtOnce(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		e := oncall.Evaluation{At: time.Now()}
		for i := range 1100 {
			c := alertOf("session")
			c.Status, c.At, c.StartsAt = oncall.ChangeFiring, e.At, e.At
			b := labels.NewBuilder(c.Labels)
			c.Labels = b.Set("instance", string(rune('a'+i%26))+time.Duration(i).String()).Labels()
			e.Changes = append(e.Changes, c)
		}
		r.evaluate(e)
		r.pass(2 * time.Second)
		if in := r.incident(1); len(in.Alerts) != 1100 {
			t.Errorf("the incident has %d alerts", len(in.Alerts))
		}
		ins, err := r.acts.Incidents(t.Context(), oncall.IncidentFilter{})
		if err != nil || len(ins) != 1 {
			t.Errorf("%d incidents, error %v", len(ins), err)
		}
	})
}
