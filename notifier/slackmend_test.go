package notifier_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// mendable are refusals that a person takes back, after which all that was missed is wanted.
var mendable = []string{"token_revoked", "account_inactive", "missing_scope", "is_archived", "not_in_channel", "channel_not_found", "restricted_action"}

// thread is all that was replied to a message.
func thread(s *slacktest.Server, m slacktest.Message) string {
	var b strings.Builder
	for _, r := range s.Thread(m.Channel, m.TS) {
		b.WriteString(r.Text + "\n")
	}
	return b.String()
}

// someMendable are all of them, and one in a short run: each case lives through an hour of polls.
func someMendable() []string {
	if testing.Short() {
		return mendable[:1]
	}
	return mendable
}

// TestOpenedWhileSlackIsShut: an incident that opened while Slack took nothing has its message once that is mended, one,
// true at that moment, with what was missed in its thread; pages went out at their time.
func TestOpenedWhileSlackIsShut(t *testing.T) {
	for _, code := range someMendable() {
		t.Run(code, func(t *testing.T) {
			bubble(t, options{}, func(t *testing.T, r *rig) {
				s := withSlack(t, r, slacktest.Options{})
				s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: code, Times: -1})
				r.fire("session")
				r.wantKinds("ana-phone/0", "triggered")
				r.pass(5 * time.Minute)
				r.wantKinds("bo-phone/0", "triggered")
				r.act(1, oncall.CmdAcknowledge, "")
				r.pass(30 * time.Minute)
				s.Heal()
				r.pass(16 * time.Minute)
				ms := roots(s, "#session")
				if len(ms) != 1 || !strings.Contains(ms[0].Text, "cknowledged") {
					t.Fatalf("Slack shows %d messages", len(ms))
				}
				if said := thread(s, ms[0]); strings.Count(said, "took nothing") != 1 || !strings.Contains(said, "acknowledged") || !strings.Contains(said, "second tier is told") {
					t.Errorf("its thread says %q", said)
				}
				r.change(oncall.ChangeResolved, "session")
				r.pass(time.Minute)
				if ms = roots(s, "#session"); len(ms) != 1 || !strings.Contains(ms[0].Text, "esolved") || !strings.Contains(thread(s, ms[0]), "Resolved") {
					t.Errorf("in the end Slack shows %d messages: %q", len(ms), ms[0].Text)
				}
			})
		})
	}
}

// TestChangedWhileSlackIsShut: a message from before shows in the end how things stand, open or over, and its thread has
// what was missed, in one reply and not in a flood.
func TestChangedWhileSlackIsShut(t *testing.T) {
	for _, code := range someMendable() {
		for _, over := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/over=%t", code, over), func(t *testing.T) {
				bubble(t, options{}, func(t *testing.T, r *rig) {
					s := withSlack(t, r, slacktest.Options{})
					r.fire("session")
					r.pass(time.Minute)
					s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: code, Times: -1})
					r.pass(5 * time.Minute)
					r.act(1, oncall.CmdAcknowledge, "")
					r.pass(time.Minute)
					want := "cknowledged"
					if over {
						want = "esolved"
						r.change(oncall.ChangeResolved, "session")
					}
					r.pass(20 * time.Minute)
					s.Heal()
					r.pass(16 * time.Minute)
					ms := roots(s, "#session")
					if len(ms) != 1 || !strings.Contains(ms[0].Text, want) {
						t.Fatalf("Slack shows %d messages: %q", len(ms), ms[0].Text)
					}
					said := thread(s, ms[0])
					if strings.Count(said, "took nothing") != 1 || !strings.Contains(said, "acknowledged") {
						t.Errorf("its thread says %q", said)
					}
				})
			})
		}
	}
}

// TestOverWhileSlackWasShut: what came and went meanwhile needs no message, and its record says so.
func TestOverWhileSlackWasShut(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{})
		s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "is_archived", Times: -1})
		r.fire("session")
		r.pass(5 * time.Minute)
		r.change(oncall.ChangeResolved, "session")
		r.pass(5 * time.Minute)
		s.Heal()
		r.pass(time.Hour)
		if n := len(s.All()); n != 0 {
			t.Errorf("Slack shows %d messages", n)
		}
		said := false
		for _, e := range r.incident(1).Timeline {
			said = said || strings.Contains(e.Text, "#session never showed this incident")
		}
		if !said {
			t.Error("the timeline does not say so")
		}
	})
}

// TestMendedTogether: many incidents that owe a channel their message have it in few messages, and soon after the first
// thing that Slack takes there.
func TestMendedTogether(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{RateLimit: true})
		s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "not_in_channel", Times: -1})
		for i := range 60 {
			r.fire(fmt.Sprintf("s%d", i))
			r.pass(20 * time.Second)
		}
		r.pass(time.Hour)
		asked := len(s.Calls("chat.postMessage"))
		s.Heal()
		r.fire("new")
		r.pass(time.Minute)
		if n := len(roots(s, "#session")); n > 4 {
			t.Errorf("60 incidents that were owed made %d messages", n)
		}
		for i := range 61 {
			if d := r.incident(int64(i + 1)).Deliveries; !delivered(d, oncall.SlackEndpoint("#session")) {
				t.Errorf("#%d has no message a minute after Slack takes them again", i+1)
			}
		}
		if asked > 900 {
			t.Errorf("Slack was asked %d times while it took nothing", asked)
		}
		t.Logf("asked %d times in vain; then %d messages", asked, len(roots(s, "#session")))
	})
}

// TestEditsAreHastened: messages from before a long outage are true again as soon as Slack takes anything, and not when
// each would have been tried again.
func TestEditsAreHastened(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{RateLimit: true})
		for i := range 20 {
			r.fire(fmt.Sprintf("s%d", i))
			r.pass(5 * time.Second)
		}
		s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "is_archived", Times: -1})
		for i := range 20 {
			r.act(int64(i+1), oncall.CmdAcknowledge, "")
			r.pass(20 * time.Second)
		}
		r.pass(70 * time.Minute) // from an hour on an edit is tried each five minutes
		s.Heal()
		r.fire("new")
		r.pass(90 * time.Second)
		for _, m := range roots(s, "#session") {
			if strings.Contains(m.Text, "Triggered") && !strings.Contains(m.Text, "#21") {
				t.Errorf("90 s after Slack takes things again it shows %q", m.Text)
			}
		}
	})
}

func delivered(all []oncall.Delivery, e oncall.Endpoint) bool {
	for _, d := range all {
		if d.Endpoint == e && d.Kind == oncall.KindMessage && d.State == oncall.DeliveryDelivered {
			return true
		}
	}
	return false
}
