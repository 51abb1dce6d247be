package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/notifier"
	"tocsin/notifier/sendertest"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

const secretToken = "xoxb-very-secret"

// workspace is an adapter and the Slack that it speaks with, without a network.
type workspace struct {
	*Adapter
	slack  *slacktest.Server
	acts   *acts
	client *http.Client
}

const tocsinURL = "http://tocsin.test"

// newWorkspace must be called in a synctest bubble, or end with the adapter closed.
func newWorkspace(t *testing.T, a *acts, change func(*Config, *slacktest.Options)) *workspace {
	t.Helper()
	transport := slacktest.Transport{}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	o := slacktest.Options{Token: secretToken, Channels: []string{"#session-alerts"}, Client: client,
		Users: []slacktest.User{{ID: "U02ANA", Name: "ana"}, {ID: "U03BO", Name: "bo"}, {ID: "U09EVE", Name: "ana"}}}
	cfg := Config{BotToken: secretToken, SigningSecret: "signing-secret", APIURL: "http://slack.test/api/"}
	if change != nil {
		change(&cfg, &o)
	}
	s := slacktest.New(o)
	adapter := New(cfg, Options{Acts: a, Policy: testPolicy, HTTPClient: client, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewPedanticRegistry()})
	t.Cleanup(func() { adapter.Close() })
	mux := http.NewServeMux()
	mux.Handle("/slack/commands", adapter.CommandHandler())
	mux.Handle("/slack/interactions", adapter.InteractionHandler())
	mux.Handle("/slack/events", adapter.EventHandler())
	transport["slack.test"], transport["tocsin.test"] = s, mux
	return &workspace{Adapter: adapter, slack: s, acts: a, client: client}
}

func message(to string, in oncall.Incident) notifier.Message {
	return notifier.Message{Incident: in, Delivery: oncall.Delivery{
		Key: "msg_1", Incident: in.Number, Endpoint: oncall.SlackEndpoint(to), Kind: oncall.KindMessage, Attempts: 1}}
}

func edit(in oncall.Incident, thread string) notifier.Message {
	m := message("#session-alerts", in)
	m.Delivery.Kind, m.Thread = oncall.KindEdit, thread
	return m
}

func reply(r oncall.Reply, thread string) notifier.Message {
	body, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	m := message("#session-alerts", oncall.Incident{})
	m.Delivery.Kind, m.Delivery.Body, m.Thread = oncall.KindReply, body, thread
	return m
}

func TestSendEditReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		in := open(42, time.Now(), fire(2, time.Now()))
		for _, to := range []string{"#session-alerts", "U02ANA"} {
			posted := w.Send(t.Context(), message(to, in))
			if posted.Outcome != oncall.OutcomeDelivered || posted.Revision != in.Revision || posted.Number != 1 || posted.Status != 200 || posted.Error != "" {
				t.Fatalf("post to %s: %+v", to, posted)
			}
			channel, ts, _ := strings.Cut(posted.Remote, "/")
			if to == "U02ANA" && !strings.HasPrefix(channel, "D") {
				t.Errorf("a direct message is remembered by its own channel, not by %s", channel)
			}
			now := step(in, time.Now(), oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "bo"})
			edited := w.Send(t.Context(), edit(now, posted.Remote))
			if edited.Outcome != oncall.OutcomeDelivered || edited.Remote != posted.Remote || edited.Revision != now.Revision {
				t.Fatalf("edit: %+v", edited)
			}
			replied := w.Send(t.Context(), reply(oncall.Reply{What: "acknowledged", Text: "Acknowledged by <!channel>", Broadcast: true}, posted.Remote))
			if replied.Outcome != oncall.OutcomeDelivered || replied.Revision != 0 {
				t.Fatalf("reply: %+v", replied)
			}
			m, ok := w.slack.Message(to, ts)
			if !ok || len(m.History) != 1 || !strings.Contains(m.Text, "Acknowledged") {
				t.Errorf("the message shows %q after %d edits", m.Text, len(m.History))
			}
			thread := w.slack.Thread(channel, ts)
			if len(thread) != 1 || thread[0].Text != "✋ Acknowledged by &lt;!channel&gt;" || !thread[0].Broadcast {
				t.Errorf("the thread shows %+v", thread)
			}
		}
		if p := w.slack.Pings(); len(p) > 0 {
			t.Errorf("somebody was pinged: %q", p)
		}
		for _, c := range w.slack.Calls("chat.postMessage") {
			if c.Args["parse"] != "none" || c.Args["link_names"] == "true" || c.Args["link_names"] == "1" || c.Args["unfurl_links"] != "false" || c.Args["unfurl_media"] != "false" {
				t.Errorf("the request lets Slack add to the message: %v", c.Args)
			}
		}
	})
}

func post(_ *workspace, in oncall.Incident) notifier.Message { return message("#session-alerts", in) }

func fault(f slacktest.Fault) func(*workspace) { return func(w *workspace) { w.slack.Fail(f) } }

func channel(c slacktest.Channel) func(*workspace) {
	return func(w *workspace) { w.slack.AddChannel(c) }
}

// sendCases are what the far end does, and what that means for the delivery.
var sendCases = map[string]struct {
	arrange  func(*workspace)
	send     func(*workspace, oncall.Incident) notifier.Message
	outcome  oncall.Outcome
	status   int
	err      string // must be in the error
	after    time.Duration
	recorded int // messages that Slack holds in the end
}{
	"server error":        {fault(slacktest.Fault{Stage: slacktest.Before, Body: "<html>" + secretToken}), post, oncall.OutcomeRetry, 500, "500", 0, 0},
	"server error paced":  {fault(slacktest.Fault{Stage: slacktest.Before, Status: 503, RetryAfter: 7 * time.Second}), post, oncall.OutcomeRetry, 503, "503", 7 * time.Second, 0},
	"rate limit":          {fault(slacktest.Fault{Stage: slacktest.Before, Status: 429, RetryAfter: 30 * time.Second}), post, oncall.OutcomeRetry, 429, "rate limit", 30 * time.Second, 0},
	"rate limit unpaced":  {fault(slacktest.Fault{Stage: slacktest.Before, Status: 429}), post, oncall.OutcomeRetry, 429, "rate limit", time.Second, 0},
	"ratelimited code":    {fault(slacktest.Fault{Stage: slacktest.Before, Error: "ratelimited", RetryAfter: 3 * time.Second}), post, oncall.OutcomeRetry, 200, "ratelimited", 3 * time.Second, 0},
	"internal_error":      {fault(slacktest.Fault{Stage: slacktest.Before, Error: "internal_error"}), post, oncall.OutcomeRetry, 200, "internal_error", 0, 0},
	"service_unavailable": {fault(slacktest.Fault{Stage: slacktest.Before, Error: "service_unavailable"}), post, oncall.OutcomeRetry, 200, "", 0, 0},
	"fatal_error":         {fault(slacktest.Fault{Stage: slacktest.Before, Error: "fatal_error"}), post, oncall.OutcomeRetry, 200, "", 0, 0},
	"token revoked":       {fault(slacktest.Fault{Stage: slacktest.Before, Error: "token_revoked"}), post, oncall.OutcomeRefused, 200, "bot_token_file", 0, 0},
	"unknown code":        {fault(slacktest.Fault{Stage: slacktest.Before, Error: "something_new"}), post, oncall.OutcomeRefused, 200, "something_new", 0, 0},
	"redirect":            {fault(slacktest.Fault{Stage: slacktest.Before, Status: 302}), post, oncall.OutcomeRefused, 302, "api_url", 0, 0},
	"not found":           {fault(slacktest.Fault{Stage: slacktest.Before, Status: 404, Body: "no such page"}), post, oncall.OutcomeRefused, 404, "404", 0, 0},
	"nonsense":            {fault(slacktest.Fault{Stage: slacktest.Before, Status: 200, Body: "<html>a page"}), post, oncall.OutcomeUnknown, 200, "understood", 0, 0},
	"truncated":           {fault(slacktest.Fault{Stage: slacktest.Before, Status: 200, Body: `{"ok":true,"chan`}), post, oncall.OutcomeUnknown, 200, "understood", 0, 0},
	"empty object":        {fault(slacktest.Fault{Stage: slacktest.Before, Status: 200, Body: `{}`}), post, oncall.OutcomeUnknown, 200, "understood", 0, 0},
	"reset":               {fault(slacktest.Fault{Stage: slacktest.During}), post, oncall.OutcomeUnknown, 0, "may have been posted", 0, 1},
	"hangs":               {fault(slacktest.Fault{Stage: slacktest.After}), post, oncall.OutcomeUnknown, 0, "no answer in time", 0, 1},
	"slow":                {fault(slacktest.Fault{Stage: slacktest.After, Delay: 5 * time.Second}), post, oncall.OutcomeDelivered, 200, "", 0, 1},
	"refused connection":  {fault(slacktest.Fault{Stage: slacktest.Refuse}), post, oncall.OutcomeRetry, 0, "no connection", 0, 0},
	"unknown channel":     {nil, func(_ *workspace, in oncall.Incident) notifier.Message { return message("#nowhere", in) }, oncall.OutcomeRefused, 200, "channel's name", 0, 0},
	"archived": {channel(slacktest.Channel{Name: "session-alerts", Archived: true}), post,
		oncall.OutcomeRefused, 200, "archived", 0, 0},
	"not invited": {channel(slacktest.Channel{Name: "session-alerts", NotMember: true}), post,
		oncall.OutcomeRefused, 200, "invite", 0, 0},
	"edit of nothing":    {nil, func(_ *workspace, in oncall.Incident) notifier.Message { return edit(in, "") }, oncall.OutcomeRefused, 0, "there is no message to edit", 0, 0},
	"edit of a deletion": {nil, func(_ *workspace, in oncall.Incident) notifier.Message { return edit(in, "C00000001/1.000001") }, oncall.OutcomeDelivered, 200, "message_not_found", 0, 1},
	"reply to nothing":   {nil, func(*workspace, oncall.Incident) notifier.Message { return reply(oncall.Reply{}, "") }, oncall.OutcomeRefused, 0, "there is no message", 0, 0},
	"reply unreadable": {nil, func(*workspace, oncall.Incident) notifier.Message {
		m := reply(oncall.Reply{}, "C1/1.1")
		m.Delivery.Body = []byte("{")
		return m
	}, oncall.OutcomeRefused, 0, "cannot be read", 0, 0},
	"a page": {nil, func(_ *workspace, in oncall.Incident) notifier.Message {
		m := message("#session-alerts", in)
		m.Delivery.Kind = oncall.KindTriggered
		return m
	}, oncall.OutcomeRefused, 0, "cannot be sent to Slack", 0, 0},
}

func TestSendOutcomes(t *testing.T) {
	for name, c := range sendCases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkspace(t, newActs(), nil)
				if c.arrange != nil {
					c.arrange(w)
				}
				got := w.Send(t.Context(), c.send(w, open(42, time.Now(), fire(1, time.Now()))))
				if got.Outcome != c.outcome || got.Status != c.status || got.RetryAfter != c.after || !strings.Contains(got.Error, c.err) {
					t.Errorf("got %+v", got)
				}
				if (got.Outcome == oncall.OutcomeDelivered) != (got.Error == "") && c.err == "" {
					t.Errorf("outcome %s with error %q", got.Outcome, got.Error)
				}
				if n := len(w.slack.All()); n != c.recorded {
					t.Errorf("Slack holds %d messages, not %d", n, c.recorded)
				}
				if strings.Contains(got.Error+got.Excerpt, secretToken) {
					t.Errorf("the token shows in %q, %q", got.Error, got.Excerpt)
				}
			})
		})
	}
}

func TestSendCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		w.slack.Fail(slacktest.Fault{Stage: slacktest.After})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		got := w.Send(ctx, message("#session-alerts", open(42, time.Now(), fire(1, time.Now()))))
		if got.Outcome != oncall.OutcomeUnknown || got.Took != time.Second {
			t.Errorf("got %+v", got)
		}
	})
}

func TestConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		s := slacktest.New(slacktest.Options{Token: secretToken, Channels: []string{"#session-alerts"}})
		arrived := make(chan struct{}, 1)
		far := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case arrived <- struct{}{}:
			default:
			}
			s.ServeHTTP(w, r)
		})
		front := sendertest.NewFront(far)
		a := New(Config{BotToken: secretToken, SigningSecret: "hush-hush", APIURL: s.APIURL()}, Options{
			Policy: testPolicy, HTTPClient: &http.Client{Transport: slacktest.Transport{"slack.test": front}}})
		t.Cleanup(func() { a.Close() })
		faults := map[sendertest.Behaviour]slacktest.Fault{
			sendertest.Refuse:  {Stage: slacktest.Before, Error: "channel_not_found"},
			sendertest.Busy:    {Stage: slacktest.Before, Error: "service_unavailable"},
			sendertest.Limited: {Stage: slacktest.Before, Status: 429, RetryAfter: sendertest.RetryAfter},
			sendertest.Garbage: {Stage: slacktest.Before, Body: "<html>\x00\x07" + secretToken + strings.Repeat("busy ", 1000)},
			sendertest.Reset:   {Stage: slacktest.During},
			sendertest.Hang:    {Stage: slacktest.After},
		}
		return sendertest.Harness{
			Sender: a, Arrived: arrived, Secrets: []string{secretToken, "hush-hush"}, Keyless: true, NoEcho: true, Front: front,
			Behave: func(b sendertest.Behaviour) {
				s.Heal()
				if f, ok := faults[b]; ok {
					f.Times = -1
					s.Fail(f)
				}
			},
			Message: func(string) notifier.Message { return message("#session-alerts", open(42, t0, fire(1, t0))) },
			Recorded: func() []string {
				return make([]string, len(s.All()))
			},
		}
	})
}

func TestRateLimitOfTheFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), func(_ *Config, o *slacktest.Options) { o.RateLimit = true })
		m := message("#session-alerts", open(42, time.Now(), fire(1, time.Now())))
		if got := w.Send(t.Context(), m); got.Outcome != oncall.OutcomeDelivered {
			t.Fatalf("got %+v", got)
		}
		if got := w.Send(t.Context(), m); got.Outcome != oncall.OutcomeRetry || got.RetryAfter != time.Second {
			t.Errorf("got %+v", got)
		}
		<-time.After(time.Second) // the bubble's time
		if got := w.Send(t.Context(), m); got.Outcome != oncall.OutcomeDelivered {
			t.Errorf("got %+v", got)
		}
	})
}

func TestSecretsStayHere(t *testing.T) {
	a := New(Config{BotToken: secretToken, SigningSecret: "hush", APIURL: "http://name:password@slack.test/api"}, Options{
		HTTPClient: &http.Client{Transport: failing{errors.New("proxy says: token=" + secretToken + " hush")}}})
	defer a.Close()
	got := a.Send(t.Context(), message("#x", oncall.Incident{Number: 1, Title: "t"}))
	got.Error += fmt.Sprintf("%v %+v %#v %v", a.cfg, a.cfg, a.cfg, &a.cfg)
	for _, secret := range []string{secretToken, "hush", "password"} {
		if strings.Contains(got.Error+got.Excerpt, secret) {
			t.Errorf("%q shows in %q", secret, got.Error)
		}
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }
