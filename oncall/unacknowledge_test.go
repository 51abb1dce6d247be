package oncall_test

import (
	"testing"

	"tocsin/oncall"
)

// TestUnacknowledgedByATimer: a timer of a far end's takes back what was said there, and nothing else. A person takes back
// whatever it is.
func TestUnacknowledgedByATimer(t *testing.T) {
	const one, two = oncall.Endpoint("pagerduty_configs:both/0"), oncall.Endpoint("pagerduty_configs:other/0")
	for name, test := range map[string]struct {
		via     string
		from    oncall.Endpoint // what was acknowledged
		timer   oncall.Endpoint // where it is taken back
		rescind bool
	}{
		"there":                         {"PagerDuty", one, one, true},
		"in Slack":                      {"slack", "", one, false},
		"at another vendor's":           {"Opsgenie", "opsgenie_configs:both/0", one, false},
		"in another account there":      {"PagerDuty", two, one, false},
		"in one account of several":     {"PagerDuty", "", one, true},
		"by a timer of one of several":  {"PagerDuty", one, "", true},
		"before it was put on record":   {"", "", one, true},
		"by link, as the link's target": {"link", "", one, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, byItself := range []bool{true, false} {
				s := newSim(testPolicy(), "session")
				s.escName = "both-ways"
				s.change(alert(oncall.ChangeFiring, s.escName, "SessionMemoryHigh", "session-1", "critical"))
				in := s.subject()
				s.apply(in, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: test.via, From: test.from})
				round := in.Round
				s.apply(in, oncall.Command{Kind: oncall.CmdUnacknowledge, Actor: "PagerDuty", Via: "PagerDuty", From: test.timer, ByItself: byItself})
				want := oncall.IncidentAcknowledged
				if test.rescind || !byItself {
					want = oncall.IncidentTriggered
				}
				if in.State != want || (in.Round > round) != (want == oncall.IncidentTriggered) || (in.AcknowledgedBy == "ana") != (want == oncall.IncidentAcknowledged) {
					t.Errorf("by itself %t: %s by %q in round %d", byItself, in.State, in.AcknowledgedBy, in.Round)
				}
				if in.State == oncall.IncidentTriggered && in.AcknowledgedVia+string(in.AcknowledgedFrom) != "" {
					t.Errorf("it is still acknowledged via %q from %q", in.AcknowledgedVia, in.AcknowledgedFrom)
				}
			}
		})
	}
}
