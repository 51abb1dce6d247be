package slack

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// twoPlaces is a configuration with two workspaces, main and shop.
type twoPlaces struct {
	*Workspaces
	main, shop *slacktest.Server
	acts       *acts
}

func newTwo(t *testing.T, shopSecret string, change func(map[string]http.Handler)) *twoPlaces {
	t.Helper()
	transport := slacktest.Transport{}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	people := []slacktest.User{{ID: "U02ANA", Name: "ana"}, {ID: "U0SHOP", Name: "ana"}, {ID: "U09EVE", Name: "eve"}}
	x := &twoPlaces{acts: newActs(open(42, time.Now(), fire(1, time.Now())))}
	x.main = slacktest.New(slacktest.Options{URL: "http://main.test", Token: "xoxb-main", SigningSecret: "secret-main", Team: "T0MAIN", Client: client, Channels: []string{"#session-alerts"}, Users: people})
	x.shop = slacktest.New(slacktest.Options{URL: "http://shop.test", Token: "xoxb-shop", SigningSecret: shopSecret, Team: "T0SHOP", Client: client, Channels: []string{"#session-alerts"}, Users: people})
	policy := testPolicy()
	ana := policy.Users["ana"]
	ana.SlackElsewhere = map[string]string{"shop": "U0SHOP"}
	policy.Users["ana"] = ana
	x.Workspaces = NewWorkspaces([]Config{
		{Name: "main", BotToken: "xoxb-main", SigningSecret: "secret-main", APIURL: "http://main.test/api/"},
		{Name: "shop", BotToken: "xoxb-shop", SigningSecret: shopSecret, APIURL: "http://shop.test/api/"},
	}, Options{Acts: x.acts, Policy: func() oncall.Policy { return policy }, Logger: slog.New(slog.DiscardHandler)},
		func(Config) (*http.Client, Dialer) { return client, nil })
	t.Cleanup(func() { x.Close() })
	mux := http.NewServeMux()
	mux.Handle("/slack/commands", x.CommandHandler())
	mux.Handle("/slack/interactions", x.InteractionHandler())
	transport["main.test"], transport["shop.test"], transport["tocsin.test"] = x.main, x.shop, mux
	if change != nil {
		change(transport)
	}
	return x
}

// TestWorkspacesSend: an address says which workspace; nothing of one workspace reaches the other.
func TestWorkspacesSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTwo(t, "secret-shop", nil)
		in := open(42, time.Now(), fire(1, time.Now()))
		for to, where := range map[string]*slacktest.Server{"#session-alerts": x.main, "shop/#session-alerts": x.shop, "shop/U0SHOP": x.shop, "main/#session-alerts": x.main} {
			before := len(where.All())
			if got := x.Send(t.Context(), message(to, in)); got.Outcome != oncall.OutcomeDelivered || len(where.All()) != before+1 {
				t.Errorf("%s: %+v", to, got)
			}
		}
		if got := x.Send(t.Context(), message("gone/#x", in)); got.Outcome != oncall.OutcomeRefused || !strings.Contains(got.Error, `no Slack workspace "gone"`) {
			t.Errorf("got %+v", got)
		}
		if err := x.TestToken(t.Context()); err != nil {
			t.Error(err)
		}
		x.shop.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "token_revoked", Times: -1})
		if err := x.TestToken(t.Context()); oncall.ErrorCode(err) != oncall.CodeForbidden || !strings.Contains(err.Error(), "workspace shop: token_revoked") {
			t.Error(err)
		}
		f := x.Findings()
		if len(f) != 1 || f[0].Labels.Get("workspace") != "shop" || !strings.Contains(f[0].Annotations.Get("summary"), "in the workspace shop: token_revoked") {
			t.Errorf("%+v", f)
		}
		if got := x.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeDelivered {
			t.Errorf("the other workspace: %+v", got)
		}
		if s := x.String(); strings.Contains(s, "secret") || !strings.Contains(s, "shop.test") {
			t.Error(s)
		}
	})
}

// TestWorkspacesRequests: a request is verified by the secret of the workspace that it comes from, and by no other; people
// are who they are there. Also where both workspaces have installed one app, which has one secret.
func TestWorkspacesRequests(t *testing.T) {
	for name, secret := range map[string]string{"two apps": "secret-shop", "one app": "secret-main"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTwo(t, secret, nil)
				x.Start()
				synctest.Wait()
				for _, c := range []struct {
					s    *slacktest.Server
					user string
					acts bool
				}{{x.shop, "U02ANA", false}, {x.main, "U0SHOP", false}, {x.shop, "U0SHOP", true}, {x.main, "U02ANA", true}} {
					before := len(x.acts.committed())
					kind := "ack #42"
					if before == 1 {
						kind = "unack #42"
					}
					a, err := c.s.Command(t.Context(), tocsinURL, kind, c.user)
					if err != nil || a.Status != http.StatusOK || (len(x.acts.committed()) == before+1) != c.acts {
						t.Errorf("%s in %s: %+v, %v", c.user, c.s.APIURL(), a, err)
					}
				}
				in := x.acts.incidents[42]
				in.Told = []oncall.Told{{Target: "slack shop/#session-alerts"}, {Target: "slack #session-alerts"}}
				posted := x.Send(t.Context(), message("shop/#session-alerts", in))
				_, ts, _ := strings.Cut(posted.Remote, "/")
				m, _ := x.shop.Message("#session-alerts", ts)
				if !strings.Contains(string(m.Blocks), "Told: shop/#session-alerts, #session-alerts") {
					t.Errorf("it does not say who was told: %s", m.Blocks)
				}
				if a, err := x.shop.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U0SHOP"); err != nil || a.Status != http.StatusOK || len(x.acts.committed()) != 3 {
					t.Errorf("a press: %+v, %v", a, err)
				}
				strangers := slacktest.New(slacktest.Options{Team: "T0SHOP", SigningSecret: "other"})
				forged, err := x.main.Send(t.Context(), strangers.Sign(tocsinURL+"/slack/commands", []byte("command=%2Ftocsin&text=ack&team_id=T0SHOP&user_id=U0SHOP"), time.Now()))
				if err != nil || forged.Status != http.StatusUnauthorized {
					t.Errorf("signed by nobody: %+v, %v", forged, err)
				}
				large, err := x.main.Send(t.Context(), x.main.Sign(tocsinURL+"/slack/commands", make([]byte, maxBody+1), time.Now()))
				if err != nil || large.Status != http.StatusRequestEntityTooLarge {
					t.Errorf("too large: %+v, %v", large, err)
				}
			})
		})
	}
}

// TestWorkspacesUnknown: while Slack has not said which workspaces these are, the signature tells two apps apart.
func TestWorkspacesUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTwo(t, "secret-shop", nil)
		for _, s := range []*slacktest.Server{x.main, x.shop} {
			s.Fail(slacktest.Fault{Method: "auth.test", Stage: slacktest.Before, Status: 503, Times: -1})
		}
		a, err := x.shop.Command(t.Context(), tocsinURL, "ack #42", "U0SHOP")
		if err != nil || len(x.acts.committed()) != 1 {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// TestSocketDown is silent for a while, then says where presses do not arrive.
func TestSocketDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkspaces([]Config{{Name: "main", BotToken: "x", APIURL: "http://main.test/api/"}, {Name: "shop", BotToken: "x", AppToken: "xapp-1", APIURL: "http://shop.test/api/"}},
			Options{Logger: slog.New(slog.DiscardHandler), HTTPClient: &http.Client{Transport: slacktest.Transport{}}},
			func(Config) (*http.Client, Dialer) { return &http.Client{Transport: slacktest.Transport{}}, nil })
		defer w.Close()
		w.Start()
		pass(4 * time.Minute)
		if err := w.SocketDown(time.Now(), 5*time.Minute); err != nil {
			t.Error(err)
		}
		pass(2 * time.Minute)
		err := w.SocketDown(time.Now(), 5*time.Minute)
		if err == nil || !strings.Contains(err.Error(), "workspace shop: no connection of Socket Mode since") || strings.Contains(err.Error(), "main") {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() { w.Probe(ctx); done <- true }()
		pass(time.Minute)
		cancel()
		<-done
	})
}
