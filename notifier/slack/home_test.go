package slack

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// homeText is all that somebody's home says, in order.
func homeText(t *testing.T, w *workspace, user string) string {
	t.Helper()
	raw := w.slack.Home(user)
	if raw == nil {
		return ""
	}
	var view struct {
		Blocks []struct {
			Type     string
			Text     struct{ Text string }
			Elements []struct {
				Text json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(raw, &view); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, block := range view.Blocks {
		if block.Type == "actions" {
			b.WriteString("[button]\n")
			continue
		}
		b.WriteString(block.Text.Text)
		for _, e := range block.Elements {
			var text string
			if json.Unmarshal(e.Text, &text) == nil {
				b.WriteString(text)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// atHome runs a test with the home served over HTTP or by Socket Mode.
func atHome(t *testing.T, socket bool, test func(*testing.T, *workspace)) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		w := newWorkspace(t, newActs(open(42, now, fire(1, now))), func(c *Config, o *slacktest.Options) {
			if o.SocketMode = socket; socket {
				c.AppToken, c.SigningSecret = "xapp-test", ""
			}
		})
		p := rota(testPolicy())
		p.LinkKey = []byte("0123456789abcdef0123456789abcdef")
		w.policy = func() oncall.Policy { return p }
		if socket {
			w.dial = w.slack.Dial
			w.Start()
			synctest.Wait()
		}
		test(t, w)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHome(t *testing.T) {
	for name, socket := range map[string]bool{"over HTTP": false, "over a socket": true} {
		t.Run(name, func(t *testing.T) {
			atHome(t, socket, func(t *testing.T, w *workspace) {
				if !socket {
					if err := w.slack.VerifyURL(t.Context(), tocsinURL); err != nil {
						t.Error(err)
					}
				}
				if a, err := w.slack.OpenHome(t.Context(), tocsinURL, "U02ANA"); err != nil || a.Status != http.StatusOK {
					t.Fatalf("%+v, %v", a, err)
				}
				synctest.Wait()
				shows := func(parts ...string) {
					t.Helper()
					text, rest := homeText(t, w, "U02ANA"), ""
					rest = text
					for _, part := range parts {
						_, after, ok := strings.Cut(rest, part)
						if !ok {
							t.Errorf("%q is not in the home, or not after what comes before it:\n%s", part, text)
							return
						}
						rest = after
					}
				}
				shows("📟 You are on call\n*session-primary* until <!date^946688400^", ", then bo\n",
					"Your open incidents\n✅ None is yours.", "Waiting for somebody: 1\n🔴 *#42 Triggered* · critical", "<https://tocsin.example/incidents/42|open>\n[button]",
					"Who is on call\n• *empty*: nobody\n• *session-primary*: ana", "Your next shifts\n• *session-primary* <!date^946692000^", "… and ", "/calendar/")
				// A press shows at once, and what was pressed is hers then.
				if a, err := w.slack.PressHome(t.Context(), tocsinURL, "U02ANA", "tocsin_home_42", actionAcknowledge); err != nil || a.Status != http.StatusOK {
					t.Fatalf("%+v, %v", a, err)
				}
				synctest.Wait()
				shows("Your open incidents: 1\n🟡 *#42 Acknowledged* by ana")
				if strings.Contains(homeText(t, w, "U02ANA"), "[button]") {
					t.Error("there is something to press still")
				}
				// It follows what others do, and asks Slack for nothing while nothing changes.
				before := len(w.slack.Calls("views.publish"))
				<-time.After(10 * time.Minute)
				if n := len(w.slack.Calls("views.publish")); n != before {
					t.Errorf("published %d times though nothing changed", n-before)
				}
				w.acts.set(func() {
					in := w.acts.incidents[42]
					w.acts.incidents[42] = step(in, time.Now(), oncall.Command{Kind: oncall.CmdResolve, Actor: "bo", Via: "slack"})
				})
				<-time.After(homeEvery + time.Second)
				shows("✅ None is yours, and none waits for anybody.")
				// Half an hour later it is left alone.
				<-time.After(2 * homeVisit)
				w.homes.mu.Lock()
				defer w.homes.mu.Unlock()
				if w.homes.running || len(w.homes.visitors) != 0 {
					t.Error("somebody who left is still served")
				}
			})
		})
	}
}

func TestHomeOfStrangers(t *testing.T) {
	atHome(t, false, func(t *testing.T, w *workspace) {
		if _, err := w.slack.OpenHome(t.Context(), tocsinURL, "U09EVE"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		text := homeText(t, w, "U09EVE")
		if !strings.HasPrefix(text, "👋 *You are not known to tocsin.* Ask for `slack: U09EVE`") || !strings.Contains(text, "*#42 Triggered*") ||
			strings.Contains(text, "[button]") || strings.Contains(text, "calendar") || strings.Contains(text, "Your") {
			t.Error(text)
		}
	})
}

func TestHomePressOverruled(t *testing.T) {
	atHome(t, false, func(t *testing.T, w *workspace) {
		for _, user := range []string{"U02ANA", "U03BO"} {
			if _, err := w.slack.OpenHome(t.Context(), tocsinURL, user); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		// bo's home is a moment old when he presses: he is told why nothing happens, at the top of it.
		w.acts.set(func() {
			w.acts.incidents[42] = step(w.acts.incidents[42], time.Now(), oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: "slack"})
		})
		if _, err := w.slack.PressHome(t.Context(), tocsinURL, "U03BO", "tocsin_home_42", actionAcknowledge); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if text := homeText(t, w, "U03BO"); !strings.HasPrefix(text, "#42 is already acknowledged by ana\n\n💤 You are not on call\nYour next shift begins <!date^946688400^") ||
			!strings.Contains(text, "Open besides, and in somebody’s hands or paused: 1.") {
			t.Error(text)
		}
	})
}

func TestHomeIsInNobodysWay(t *testing.T) {
	atHome(t, false, func(t *testing.T, w *workspace) {
		w.slack.Fail(slacktest.Fault{Method: "views.publish", Stage: slacktest.After, Times: -1})
		if _, err := w.slack.OpenHome(t.Context(), tocsinURL, "U02ANA"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if a := w.Send(t.Context(), message("#session-alerts", open(43, began, fire(1, began)))); a.Outcome != oncall.OutcomeDelivered || a.Took != 0 {
			t.Errorf("while a home hangs: %+v", a)
		}
		<-time.After(time.Minute)
		w.slack.Heal()
		<-time.After(2 * homeEvery)
		if homeText(t, w, "U02ANA") == "" {
			t.Error("the home was not published when Slack was well again")
		}
	})
}

func TestHomesAreBounded(t *testing.T) {
	atHome(t, false, func(t *testing.T, w *workspace) {
		for i := range 3 * maxVisitors {
			w.visit("U" + strings.Repeat("X", i+1))
			w.homes.mu.Lock()
			if n := len(w.homes.visitors); n > maxVisitors {
				t.Fatalf("%d visitors", n)
			}
			w.homes.mu.Unlock()
		}
	})
}

func TestHomeFitsSlack(t *testing.T) {
	now := time.Now()
	seen := around{now: now, policy: rota(testPolicy()), command: "/tocsin"}
	for n := int64(1); n <= 300; n++ {
		in := open(n, now, fire(1, now))
		in.Title = strings.Repeat("session & <memory> ", 60)
		seen.open = append(seen.open, in)
		seen.onCall = append(seen.onCall, "• *schedule*: "+strings.Repeat("ana ", 60))
	}
	view := homeView(seen, person{name: "ana", user: "ana", id: "U02ANA", may: true}, strings.Repeat("no ", 2000))
	b, err := json.Marshal(view)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		if err := w.call(context.Background(), "views.publish", map[string][]string{"user_id": {"U02ANA"}, "view": {string(b)}}, nil); err != nil {
			t.Error(err)
		}
	})
}
