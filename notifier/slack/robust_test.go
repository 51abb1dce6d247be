package slack

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// TestLimitsStayApart: a 429 holds up the method in the channel that it was for, and nothing else.
func TestLimitsStayApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), func(_ *Config, o *slacktest.Options) { o.Channels = append(o.Channels, "#other") })
		in := open(42, time.Now(), fire(1, time.Now()))
		first := w.Send(t.Context(), message("#session-alerts", in))
		w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Channel: "#session-alerts", Stage: slacktest.Before, Status: 429, RetryAfter: 30 * time.Second})
		if got := w.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeRetry || got.RetryAfter != 30*time.Second || got.OwnHold {
			t.Fatalf("got %+v", got)
		}
		asked := len(w.slack.Calls(""))
		pass(10 * time.Second)
		if got := w.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeRetry || got.RetryAfter != 20*time.Second || got.Status != 429 {
			t.Errorf("while Slack wants to be left alone: %+v", got)
		}
		if n := len(w.slack.Calls("")); n != asked {
			t.Error("it was not left alone")
		}
		if got := w.Send(t.Context(), message("#other", in)); got.Outcome != oncall.OutcomeDelivered {
			t.Errorf("another channel: %+v", got)
		}
		if got := w.Send(t.Context(), edit(in, first.Remote)); got.Outcome != oncall.OutcomeDelivered {
			t.Errorf("another method: %+v", got)
		}
		pass(20 * time.Second)
		if got := w.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeDelivered {
			t.Errorf("afterwards: %+v", got)
		}
		w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Status: 429, RetryAfter: 30 * time.Second})
		if got := w.Send(t.Context(), edit(in, first.Remote)); got.Outcome != oncall.OutcomeRetry || !got.OwnHold {
			t.Errorf("a limit on edits holds up the channel's messages: %+v", got)
		}
		if got := w.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeDelivered {
			t.Errorf("a message while edits are limited: %+v", got)
		}
	})
}

func pass(d time.Duration) { <-time.After(d) } // the bubble's time

// TestPlainRatherThanLost: where Slack does not take the blocks, the text goes out.
func TestPlainRatherThanLost(t *testing.T) {
	for _, code := range []string{"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorkspace(t, newActs(), nil)
			in := open(42, time.Now(), fire(1, time.Now()))
			w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: slacktest.Before, Error: code})
			got := w.Send(t.Context(), message("#session-alerts", in))
			if got.Outcome != oncall.OutcomeDelivered || !strings.Contains(got.Error, code) || !strings.Contains(got.Error, "plain text") || got.Revision != in.Revision {
				t.Fatalf("got %+v", got)
			}
			ms := w.slack.Messages("#session-alerts")
			if len(ms) != 1 || ms[0].Blocks != nil || !strings.Contains(ms[0].Text, "SessionMemoryHigh") && !strings.Contains(ms[0].Text, "Session memory") {
				t.Fatalf("Slack shows %+v", ms)
			}
			w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Error: code})
			now := step(in, time.Now(), oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "bo"})
			w.Send(t.Context(), edit(in, got.Remote)) // with its blocks
			w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Error: code})
			if got := w.Send(t.Context(), edit(now, got.Remote)); got.Outcome != oncall.OutcomeDelivered {
				t.Fatalf("got %+v", got)
			}
			if m := w.slack.Messages("#session-alerts")[0]; m.Blocks != nil || !strings.Contains(m.Text, "Acknowledged") {
				t.Errorf("an edit that fell back left %s with %q", m.Blocks, m.Text)
			}
			// Twice in vain is in vain.
			w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: slacktest.Before, Error: code, Times: 2})
			if got := w.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeRefused {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestDeletedMessage: a message that somebody deleted, or that cannot be edited, is posted anew, says so, and is the
// incident's message from then on. One that is over is let go.
func TestDeletedMessage(t *testing.T) {
	for code, says := range map[string]string{"message_not_found": "was deleted", "cant_update_message": "cannot be edited", "edit_window_closed": "cannot be edited"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorkspace(t, newActs(), nil)
			in := open(42, time.Now(), fire(1, time.Now()))
			posted := w.Send(t.Context(), message("#session-alerts", in))
			w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Error: code})
			got := w.Send(t.Context(), edit(in, posted.Remote))
			if got.Outcome != oncall.OutcomeDelivered || got.Remote == posted.Remote || got.Remote == "" || !strings.Contains(got.Error, code) || got.Revision != in.Revision {
				t.Fatalf("got %+v", got)
			}
			ms := w.slack.Messages("#session-alerts")
			if len(ms) != 2 || !strings.Contains(string(ms[1].Blocks), says) || len(ms[1].Buttons()) == 0 {
				t.Fatalf("Slack shows %+v", ms)
			}
			now := step(in, time.Now(), oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "bo"})
			if again := w.Send(t.Context(), edit(now, got.Remote)); again.Outcome != oncall.OutcomeDelivered || again.Remote != got.Remote || again.Error != "" {
				t.Errorf("the new message is edited: %+v", again)
			}
			over := step(now, time.Now(), oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"})
			w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Error: code})
			last := w.Send(t.Context(), edit(over, got.Remote))
			if n := len(w.slack.Messages("#session-alerts")); last.Outcome != oncall.OutcomeDelivered || (n == 2) != (code == "message_not_found") {
				t.Errorf("the end: %d messages, %+v", n, last)
			}
			// Where the new message is not taken either, it is tried again as the edit that it is.
			w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.Before, Error: "edit_window_closed"})
			w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: slacktest.Before, Status: 503})
			if got := w.Send(t.Context(), edit(in, posted.Remote)); got.Outcome != oncall.OutcomeRetry || got.Remote != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestTokenTrouble: what Slack answers tells whether anything can be posted at all, whichever call learns it first.
func TestTokenTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		m := message("#session-alerts", open(42, time.Now(), fire(1, time.Now())))
		if w.Unusable() != nil {
			t.Fatal("unusable before anything was asked")
		}
		began := time.Now()
		for _, code := range badTokens {
			w.slack.Fail(slacktest.Fault{Stage: slacktest.Before, Error: code})
			if got := w.Send(t.Context(), m); got.Outcome != oncall.OutcomeRefused {
				t.Errorf("%s: %+v", code, got)
			}
			w.slack.Fail(slacktest.Fault{Stage: slacktest.Before, Error: code})
			if got := w.Send(t.Context(), edit(m.Incident, "C1/1.1")); got.Outcome != oncall.OutcomeRetry || !got.OwnHold {
				t.Errorf("%s: an edit, for which nobody waits: %+v", code, got)
			}
			if tr := w.Unusable(); tr == nil || !tr.Since.Equal(began) || !strings.HasPrefix(tr.Why, code) {
				t.Errorf("%s: %+v", code, tr)
			}
		}
		if err := w.TestToken(t.Context()); err != nil || w.Unusable() != nil {
			t.Errorf("a token that works again: %v, %+v", err, w.Unusable())
		}
		// A missing grant matters where it is for posting, and is not disproved by a call that needs none.
		ask := func() error { return w.call(t.Context(), "users.info", url.Values{"user": {"U02ANA"}}, nil) }
		w.slack.SetScopes("chat:write")
		if err := ask(); err == nil || !strings.Contains(err.Error(), "needs users:read") || w.Unusable() != nil {
			t.Errorf("a scope that posting does not need: %v", err)
		}
		w.slack.SetScopes("users:read")
		if got := w.Send(t.Context(), m); got.Outcome != oncall.OutcomeRefused || !strings.Contains(got.Error, "needs chat:write") {
			t.Errorf("got %+v", got)
		}
		if err := ask(); err != nil || w.Unusable() == nil {
			t.Errorf("a scope that posting needs: %v", err)
		}
		w.slack.SetScopes("users:read", "chat:write")
		w.Send(t.Context(), m)
		if w.Unusable() != nil {
			t.Error("posting works again")
		}
		// A Slack that is ill says nothing about the token.
		w.slack.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "fatal_error"})
		w.Send(t.Context(), m)
		if w.Unusable() != nil {
			t.Error("Slack's own trouble is no trouble of the token")
		}
	})
}

// TestUnknownMethod: what no manifest allows for is not called.
func TestUnknownMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		if err := w.call(t.Context(), "chat.delete", nil, nil); err == nil || !strings.Contains(err.Error(), "manifest") || len(w.slack.Calls("")) != 0 {
			t.Error(err)
		}
	})
}

// TestPace: calls that nobody waits for are spread as Slack's tiers ask, after a short burst.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		start := time.Now()
		for range 24 {
			if err := w.call(t.Context(), "conversations.list", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 50*time.Second || took > time.Minute {
			t.Errorf("24 calls of a method that allows 20 a minute took %s", took)
		}
	})
}
