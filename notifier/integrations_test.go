package notifier_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// TestTiersTellIntegrations: a receiver with Alertmanager's integrations as a target. One sender serves all of
// them, and is given the incident as it stands.
func TestTiersTellIntegrations(t *testing.T) {
	duty, mail := oncall.IntegrationEndpoint("pagerduty_configs", "duty", 0), oncall.IntegrationEndpoint("email_configs", "duty", 0)
	policy := testPolicy()
	esc := policy.Escalations["oncall"]
	esc.Tiers[0].Targets = append(esc.Tiers[0].Targets, oncall.Target{Kind: oncall.TargetReceiver, Name: "duty"})
	policy.Receivers["duty"] = oncall.Receiver{Name: "duty", Integrations: []oncall.Integration{{Endpoint: duty, SendResolved: true}, {Endpoint: mail}}}
	bubble(t, options{policy: func(p *oncall.Policy) { *p = policy }}, func(t *testing.T, r *rig) {
		far := &slackStub{}
		r.del.Apply(r.policy, map[string]notifier.Sender{"page": r.pager, "slack": r.slack, notifier.Integrations: far})
		r.fire("session")
		r.pass(2 * time.Second)
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(2 * time.Second)
		r.change(oncall.ChangeResolved, "session")
		r.pass(2 * time.Second)
		var got []string
		for _, m := range far.all() {
			if m.revision == 0 {
				t.Errorf("%s to %s came without its incident", m.delivery.Kind, m.delivery.Endpoint)
			}
			if m.delivery.Body != nil {
				t.Errorf("%s to %s has a body of its own", m.delivery.Kind, m.delivery.Endpoint)
			}
			got = append(got, string(m.delivery.Kind)+" "+string(m.delivery.Endpoint))
		}
		want := "triggered pagerduty_configs:duty/0, triggered email_configs:duty/0, resolved pagerduty_configs:duty/0"
		other := "triggered email_configs:duty/0, triggered pagerduty_configs:duty/0, resolved pagerduty_configs:duty/0"
		if s := strings.Join(got, ", "); s != want && s != other {
			t.Errorf("sent %s, want %s", s, want)
		}
	})
}

// TestASilencedIncidentTellsNobody: while all its alerts are muted no timer runs, whoever restarts; then it goes on.
func TestASilencedIncidentTellsNobody(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.pass(time.Minute)
		r.change(oncall.ChangeMuted, "session")
		r.halt()
		r.start()
		r.pass(time.Hour)
		in := r.incident(1)
		if in.PausedSince.IsZero() || !in.NextAt.IsZero() {
			t.Errorf("paused since %v, next at %v", in.PausedSince, in.NextAt)
		}
		r.wantKinds("bo-phone/0")
		r.fire("session")
		synctest.Wait()
		r.wantKinds("bo-phone/0", "triggered")
		if in := r.incident(1); !in.PausedSince.IsZero() || len(r.incident(1).Alerts) != 1 {
			t.Errorf("still paused since %v", in.PausedSince)
		}
		r.wantKinds("ana-phone/0", "triggered")
	})
}
