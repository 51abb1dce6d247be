package notifier_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/slack"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// withSlack gives a rig a workspace that speaks with a strict Slack.
func withSlack(t *testing.T, r *rig, o slacktest.Options) *slacktest.Server {
	o.Channels = append(o.Channels, "#session", "#other")
	s := slacktest.New(o)
	w := slack.NewWorkspaces([]slack.Config{{BotToken: s.Token(), SigningSecret: s.SigningSecret(), APIURL: s.APIURL()}},
		slack.Options{Acts: r.acts, Policy: func() oncall.Policy { return r.policy }, Logger: slog.New(slog.DiscardHandler),
			HTTPClient: &http.Client{Transport: slacktest.Transport{"slack.test": s}, Timeout: 10 * time.Second}}, nil)
	t.Cleanup(func() { w.Close() })
	r.more = map[string]notifier.Sender{"slack": w, "chart": w}
	r.apply(r.policy)
	return s
}

// roots are a channel's messages without the replies that it shows too.
func roots(s *slacktest.Server, channel string) (all []slacktest.Message) {
	for _, m := range s.Messages(channel) {
		if m.ThreadTS == "" {
			all = append(all, m)
		}
	}
	return all
}

// TestSlackOutage: whatever Slack does, pages go out at their time; and when it works again each message shows how
// things stand, once.
func TestSlackOutage(t *testing.T) {
	for name, f := range map[string]slacktest.Fault{
		"refuses connections": {Stage: slacktest.Refuse},
		"is overloaded":       {Method: "chat.postMessage", Stage: slacktest.Before, Status: 503, RetryAfter: 5 * time.Second},
		"is limited":          {Stage: slacktest.Before, Status: 429, RetryAfter: 20 * time.Second},
		"answers HTML":        {Stage: slacktest.Before, Status: 502, Body: "<html>bad gateway"},
		"has internal errors": {Stage: slacktest.Before, Error: "internal_error"},
		"says fatal_error":    {Stage: slacktest.Before, Error: "fatal_error"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, options{}, func(t *testing.T, r *rig) {
				s := withSlack(t, r, slacktest.Options{})
				f.Times = -1
				s.Fail(f)
				r.fire("session")
				r.wantKinds("ana-phone/0", "triggered")
				r.pass(5 * time.Minute)
				r.wantKinds("bo-phone/0", "triggered")
				r.act(1, oncall.CmdAcknowledge, "")
				r.wantKinds("ana-phone/0", "triggered", "acknowledged")
				r.pass(20 * time.Minute)
				if n := len(s.All()); n != 0 {
					t.Fatalf("Slack took %d messages", n)
				}
				s.Heal()
				r.pass(3 * time.Minute)
				ms := roots(s, "#session")
				if len(ms) != 1 || !strings.Contains(string(ms[0].Blocks), "cknowledged") || strings.Contains(ms[0].Text, "Triggered") {
					t.Fatalf("Slack shows %d messages", len(ms))
				}
				r.change(oncall.ChangeResolved, "session")
				r.pass(10 * time.Second)
				if m := s.Messages("#session")[0]; !strings.Contains(m.Text, "esolved") {
					t.Errorf("in the end it shows %q", m.Text)
				}
			})
		})
	}
}

// TestSlackHangs: a Slack that takes requests and never answers holds up no page either. What it took without a word may
// be there twice, and all of it shows the end.
func TestSlackHangs(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{})
		s.Fail(slacktest.Fault{Stage: slacktest.After, Times: -1})
		r.fire("session")
		r.wantKinds("ana-phone/0", "triggered")
		r.pass(5 * time.Minute)
		r.wantKinds("bo-phone/0", "triggered")
		s.Heal()
		r.pass(2 * time.Minute)
		r.change(oncall.ChangeResolved, "session")
		r.pass(10 * time.Second)
		ms := roots(s, "#session")
		if len(ms) == 0 || !strings.Contains(ms[len(ms)-1].Text, "esolved") {
			t.Errorf("Slack shows %d messages", len(ms))
		}
		r.wantKinds("bo-phone/0", "triggered", "resolved")
	})
}

// TestSlackRefusesTheToken: a token that will not work again is refused at once; whoever is told through Slack alone is
// passed over without waiting.
func TestSlackRefusesTheToken(t *testing.T) {
	bubble(t, options{policy: func(p *oncall.Policy) {
		p.Escalations["oncall"] = oncall.Escalation{Name: "oncall", GroupBy: []string{"service"}, Tiers: []oncall.Tier{
			{Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#session"}}},
			{After: 30 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}},
		}}
	}}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{})
		s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "token_revoked", Times: -1})
		r.fire("session")
		r.pass(time.Second)
		r.wantKinds("ana-phone/0", "triggered")
		if f := r.more["slack"].(*slack.Workspaces).Findings(); len(f) != 1 || f[0].Labels.Get("alertname") != slack.UnusableAlert ||
			!strings.Contains(f[0].Annotations.Get("summary"), "token_revoked: install the app again") {
			t.Errorf("findings: %+v", f)
		}
		s.Heal()
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(time.Minute)
		if err := r.more["slack"].(*slack.Workspaces).TestToken(t.Context()); err != nil {
			t.Error(err)
		}
		if f := r.more["slack"].(*slack.Workspaces).Findings(); len(f) != 0 {
			t.Errorf("findings: %+v", f)
		}
	})
}

// TestEditsOutliveTheToken: what happens while Slack refuses the token shows in the messages from before, once a person
// has mended it: a message that says "triggered" of what somebody has would be wrong for good.
func TestEditsOutliveTheToken(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{})
		r.fire("session")
		r.pass(time.Minute)
		s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "token_revoked", Times: -1})
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(20 * time.Minute)
		if m := roots(s, "#session")[0]; !strings.Contains(m.Text, "riggered") {
			t.Fatalf("edited without a token: %q", m.Text)
		}
		s.Heal()
		r.pass(2 * time.Minute)
		if ms := roots(s, "#session"); len(ms) != 1 || !strings.Contains(ms[0].Text, "cknowledged") {
			t.Errorf("with a token that works again Slack shows %d messages: %q", len(ms), ms[0].Text)
		}
	})
}

// TestDeletedInSlack: a message that somebody deleted is posted anew with the next change, once, and is edited and
// replied to from then on.
func TestDeletedInSlack(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{})
		r.fire("session")
		r.pass(time.Minute)
		first := s.Messages("#session")[0]
		s.Delete(first.Channel, first.TS)
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(time.Minute)
		ms := roots(s, "#session")
		if len(ms) != 1 || !strings.Contains(string(ms[0].Blocks), "was deleted") || !strings.Contains(string(ms[0].Blocks), "cknowledged") {
			t.Fatalf("Slack shows %d messages", len(ms))
		}
		r.change(oncall.ChangeResolved, "session")
		r.pass(time.Minute)
		if ms = roots(s, "#session"); !strings.Contains(ms[0].Text, "esolved") || len(s.Thread("#session", ms[0].TS)) == 0 {
			t.Errorf("Slack shows %q, with %d replies", ms[0].Text, len(s.Thread("#session", ms[0].TS)))
		}
		said := false
		for _, e := range r.incident(1).Timeline {
			said = said || strings.Contains(e.Text, "took the place of the one before")
		}
		if !said {
			t.Error("the timeline does not say so")
		}
	})
}

// TestEditLimitHoldsUpNoMessage: Slack's limit on edits in a channel does not make the next incident's first message late.
func TestEditLimitHoldsUpNoMessage(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := withSlack(t, r, slacktest.Options{})
		r.fire("session")
		r.pass(10 * time.Second)
		s.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Status: 429, RetryAfter: 5 * time.Minute})
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(5 * time.Second)
		r.fire("checkout")
		r.pass(5 * time.Second)
		if n := len(roots(s, "#session")); n != 2 {
			t.Errorf("Slack shows %d messages ten seconds after the second incident", n)
		}
		r.pass(6 * time.Minute)
		if m := s.Messages("#session")[0]; !strings.Contains(string(m.Blocks), "cknowledged") {
			t.Errorf("after the limit it shows %q", m.Text)
		}
	})
}
