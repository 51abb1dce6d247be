package slack

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// newSocketWorkspace is a workspace whose presses come over Socket Mode alone. It must be called in a bubble.
func newSocketWorkspace(t *testing.T, a *acts, change func(*Config, *slacktest.Options)) *workspace {
	t.Helper()
	w := newWorkspace(t, a, func(c *Config, o *slacktest.Options) {
		o.SocketMode, c.AppToken, c.SigningSecret = true, "xapp-test", ""
		if change != nil {
			change(c, o)
		}
	})
	w.dial = w.slack.Dial
	w.Start()
	w.Start() // does nothing
	synctest.Wait()
	return w
}

// flawless fails where an acknowledgement was not as Slack wants it.
func (w *workspace) flawless(t *testing.T) {
	t.Helper()
	for _, c := range w.slack.Complaints() {
		t.Error(c)
	}
}

func TestSocketCarriesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSocketWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		if open, _ := w.slack.Sockets(); open != socketLinks || w.Socket() != (SocketState{Used: true, Open: socketLinks}) {
			t.Fatalf("%d connections, %+v", open, w.Socket())
		}
		m := w.posted(t, 42)
		got, err := w.slack.Command(t.Context(), tocsinURL, "list", "U02ANA")
		if err != nil || !strings.Contains(got.Text, "#42") {
			t.Errorf("a command: %+v, %v", got, err)
		}
		if got, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA"); err != nil || got.Tries != 1 || got.Took > time.Second {
			t.Errorf("a press: %+v, %v", got, err)
		}
		if done := w.acts.committed(); len(done) != 1 || done[0].Kind != oncall.CmdAcknowledge || done[0].Actor != "ana" {
			t.Errorf("committed %+v", done)
		}
		// An hour without a word but pings.
		pass(time.Hour)
		if _, err := w.slack.Command(t.Context(), tocsinURL, "list", "U02ANA"); err != nil || len(w.slack.Calls("apps.connections.open")) != socketLinks {
			t.Errorf("after a quiet hour: %v, %d connections were opened", err, len(w.slack.Calls("apps.connections.open")))
		}
		w.flawless(t)
	})
}

// TestSocketNotCommitted: what was not committed is not acknowledged, comes again, and acts once.
func TestSocketNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newSocketWorkspace(t, a, nil)
		m := w.posted(t, 42)
		a.set(func() { a.fail = oncall.Errorf(oncall.CodeUnavailable, "disk full") })
		time.AfterFunc(4*time.Second, func() { a.set(func() { a.fail = nil }) })
		got, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA")
		if err != nil || got.Tries != 3 {
			t.Errorf("%+v, %v", got, err)
		}
		if n := len(a.committed()); n != 1 {
			t.Errorf("%d were committed", n)
		}
		w.flawless(t)
	})
}

// TestSocketSlowPress: presses that hang stop neither others nor the reading.
func TestSocketSlowPress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newSocketWorkspace(t, a, nil)
		m := w.posted(t, 42)
		a.set(func() { a.hang = true })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _, _ = w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA") })
		}
		synctest.Wait()
		start := time.Now()
		if got, err := w.slack.Command(t.Context(), tocsinURL, "list", "U02ANA"); err != nil || time.Since(start) > time.Second {
			t.Errorf("beside twenty presses that hang: %+v, %v, after %s", got, err, time.Since(start))
		}
		a.set(func() { a.hang = false })
		wg.Wait()
		if n := len(a.committed()); n != 1 {
			t.Errorf("%d were committed", n)
		}
		w.flawless(t)
	})
}

// TestSocketReconnects: Slack asks for other connections, or cuts them, while people press; no press is lost and each
// acts once.
func TestSocketReconnects(t *testing.T) {
	for _, how := range []string{"warning", "refresh_requested", "too_many_websockets", "drop", "something_new"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ins []oncall.Incident
				for n := range 60 {
					ins = append(ins, open(int64(n+1), time.Now(), fire(1, time.Now())))
				}
				a := newActs(ins...)
				w := newSocketWorkspace(t, a, nil)
				var ms []slacktest.Message
				for n := range ins {
					ms = append(ms, w.posted(t, int64(n+1)))
				}
				a.set(func() { a.slow = 700 * time.Millisecond })
				pass(15 * time.Second)
				var wg sync.WaitGroup
				for _, m := range ms {
					wg.Go(func() {
						if got, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA"); err != nil {
							t.Errorf("%+v, %v", got, err)
						}
					})
					pass(100 * time.Millisecond)
					if m.TS == ms[20].TS {
						cut(w, how)
					}
				}
				wg.Wait()
				if n := len(a.committed()); n != len(ins) {
					t.Errorf("%d of %d presses were committed", n, len(ins))
				}
				pass(2 * time.Minute)
				if open, leaving := w.slack.Sockets(); open != socketLinks || leaving != 0 || w.Socket().Open != socketLinks {
					t.Errorf("%d connections, %d leaving, %+v", open, leaving, w.Socket())
				}
				w.flawless(t)
			})
		})
	}
}

func cut(w *workspace, how string) {
	if how == "drop" {
		w.slack.Drop()
	} else if how == "too_many_websockets" {
		w.slack.DisconnectOne(how)
	} else {
		w.slack.Disconnect(how)
	}
}

// TestSocketRefused: where a connection cannot be had, it is tried without haste, the state says why, and it comes back
// soon after it can.
func TestSocketRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(*slacktest.Server)
		says        string
		back        time.Duration
		most        int // times asked within ten minutes
	}{
		"switched off":   {func(s *slacktest.Server) { s.Disconnect("link_disabled") }, (*slacktest.Server).Link, "switch it on", 2 * time.Minute, 25},
		"token":          {fails(slacktest.Fault{Error: "invalid_auth"}), (*slacktest.Server).Heal, "invalid_auth", 2 * time.Minute, 25},
		"rate limit":     {fails(slacktest.Fault{Status: 429, RetryAfter: time.Minute}), (*slacktest.Server).Heal, "rate limit", 2 * time.Minute, 50},
		"Slack is away":  {fails(slacktest.Fault{Stage: slacktest.Refuse}), (*slacktest.Server).Heal, "no connection", 40 * time.Second, 60},
		"Slack is ill":   {fails(slacktest.Fault{Status: 503}), (*slacktest.Server).Heal, "503", 40 * time.Second, 60},
		"Slack says no":  {fails(slacktest.Fault{Body: "<html>", Status: 200}), (*slacktest.Server).Heal, "understood", 40 * time.Second, 60},
		"the link fails": {fails(slacktest.Fault{Method: "link", Stage: slacktest.Refuse}), (*slacktest.Server).Heal, "no connection", 40 * time.Second, 60},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSocketWorkspace(t, newActs(), nil)
				pass(time.Minute)
				c.spoil(w.slack)
				w.slack.Drop()
				down, before := time.Now(), len(w.slack.Calls(""))
				pass(10 * time.Minute)
				s := w.Socket()
				if s.Open != 0 || s.DownSince.Sub(down) > time.Second || !strings.Contains(s.Why, c.says) {
					t.Errorf("the state is %+v", s)
				}
				if n := len(w.slack.Calls("")) - before; n > c.most {
					t.Errorf("asked %d times within ten minutes", n)
				}
				c.mend(w.slack)
				pass(c.back)
				if s := w.Socket(); s.Open != socketLinks || s.Why != "" || !s.DownSince.IsZero() {
					t.Errorf("afterwards: %+v", s)
				}
				if w.Unusable() != nil {
					t.Error("the app token says nothing about the bot token")
				}
			})
		})
	}
}

func fails(f slacktest.Fault) func(*slacktest.Server) {
	f.Times = -1
	if f.Stage == "" {
		f.Stage = slacktest.Before
	}
	return func(s *slacktest.Server) { s.Fail(f) }
}

// TestSocketClose: what is under way is committed and acknowledged before the connection ends.
func TestSocketClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newSocketWorkspace(t, a, nil)
		m := w.posted(t, 42)
		a.set(func() { a.slow = 2 * time.Second })
		done := make(chan error)
		go func() {
			got, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA")
			if err == nil && got.Tries != 1 {
				err = fmt.Errorf("%+v", got)
			}
			done <- err
		}()
		pass(time.Second)
		start := time.Now()
		w.Close()
		if took := time.Since(start); took > 1500*time.Millisecond {
			t.Errorf("closing took %s", took)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := len(a.committed()); n != 1 {
			t.Errorf("%d were committed", n)
		}
		synctest.Wait()
		if open, _ := w.slack.Sockets(); open != 0 {
			t.Errorf("%d connections are open", open)
		}
		w.Start() // too late: nothing happens
		w.flawless(t)
	})
}

func TestMayDial(t *testing.T) {
	a := New(Config{APIURL: "https://slack-gov.com/api/"}, Options{})
	defer a.Close()
	for u, want := range map[string]bool{
		"wss://wss-primary.slack.com/link/?ticket=1": true, "wss://slack.com/x": true, "wss://wss-primary.slack-gov.com/link": true, "wss://slack-gov.com/x": true,
		"ws://wss-primary.slack.com/": false, "wss://evilslack.com/": false, "wss://slack.com.evil.example/": false, "wss://slack.com:8443/": false,
		"https://slack.com/": false, "wss://u:p@slack.com/": false, "": false, "wss://": false,
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if a.mayDial(parsed) != want {
			t.Errorf("%s: got %v", u, !want)
		}
	}
}

// TestSocketIdentity: a request is known again by its trigger, whatever the envelope.
func TestSocketIdentity(t *testing.T) {
	one := identityOf("interactive", "13345224609.738474920.8088930838d88f008e0", []byte("{}"))
	if identityOf("interactive", "13345224609.738474920.8088930838d88f008e0", []byte(`{"again":1}`)) != one ||
		identityOf("slash_commands", "13345224609.738474920.8088930838d88f008e0", nil) == one || identityOf("interactive", "", []byte("{}")) == identityOf("interactive", "", []byte("{1}")) {
		t.Error("requests are mistaken for each other")
	}
}

func FuzzSocketCommand(f *testing.F) {
	f.Add([]byte(`{"command":"/tocsin","text":"ack #42","user_id":"U1","is_enterprise_install":false}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if form, err := formOfCommand(payload); err == nil && !form.Has("text") && !form.Has("command") {
			t.Errorf("no command: %v", form)
		}
	})
}

// TestSocketOverTheNetwork: the same over a real connection.
func TestSocketOverTheNetwork(t *testing.T) {
	s := slacktest.New(slacktest.Options{SocketMode: true, Users: []slacktest.User{{ID: "U02ANA", Name: "ana"}}})
	far := httptest.NewServer(s)
	defer far.Close()
	s.SetURL(far.URL)
	a := New(Config{BotToken: s.Token(), AppToken: "xapp-test", APIURL: s.APIURL()}, Options{Acts: newActs(open(42, time.Now(), fire(1, time.Now()))), Policy: testPolicy, Logger: slog.New(slog.DiscardHandler)})
	defer a.Close()
	a.Start()
	got, err := s.Command(t.Context(), "", "list", "U02ANA") // it waits for a connection
	if err != nil || !strings.Contains(got.Text, "#42") {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range s.Complaints() {
		t.Error(c)
	}
}
