package slack

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// posted sends an incident's message and returns it as Slack shows it.
func (w *workspace) posted(t *testing.T, number int64) slacktest.Message {
	t.Helper()
	in, err := w.acts.Incident(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	got := w.Send(t.Context(), message("#session-alerts", in))
	_, ts, _ := strings.Cut(got.Remote, "/")
	m, ok := w.slack.Message("#session-alerts", ts)
	if !ok {
		t.Fatalf("the message was not posted: %+v", got)
	}
	return m
}

// private returns what a user was told in private since the last call for them.
func (w *workspace) private(user string) []string {
	synctest.Wait()
	var out []string
	for _, m := range w.slack.Private(user) {
		out = append(out, m.Text)
	}
	return out
}

func TestPressAcknowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		m := w.posted(t, 42)
		a, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA")
		if err != nil || a.Status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
		done := w.acts.committed()
		if len(done) != 1 || done[0].Kind != oncall.CmdAcknowledge || done[0].Actor != "ana" || done[0].Via != "slack" {
			t.Fatalf("committed: %+v", done)
		}
		if got := w.private("U02ANA"); len(got) != 0 {
			t.Errorf("a press that worked was answered with %q", got)
		}

		// The same request again, also with its signature in other letters: done once, answered 200.
		again := *a.Request
		for i := range 2 {
			w.acts.seenErr = i == 1
			if a, err := w.slack.Send(t.Context(), &again); err != nil || a.Status != http.StatusOK {
				t.Errorf("a replay: %+v, %v", a, err)
			}
			again.Signature = "v0=" + strings.ToUpper(strings.TrimPrefix(again.Signature, "v0="))
		}
		if got := w.private("U02ANA"); len(got) != 0 {
			t.Errorf("a replay was answered with %q", got)
		}
		// Somebody else presses the old message.
		if a, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U03BO"); err != nil || a.Status != http.StatusOK {
			t.Errorf("%+v, %v", a, err)
		}
		if n := len(w.acts.committed()); n != 1 {
			t.Errorf("%d commands were committed", n)
		}
		if got := w.private("U03BO"); len(got) != 1 || got[0] != "#42 is already acknowledged by ana" {
			t.Errorf("bo was told %q", got)
		}
	})
}

func TestPressStrangers(t *testing.T) {
	for _, allow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), func(c *Config, _ *slacktest.Options) { c.AllowUnknown = allow })
			// Eve calls herself ana.
			if a, err := w.slack.Press(t.Context(), tocsinURL, w.posted(t, 42), actionAcknowledge, "U09EVE"); err != nil || a.Status != http.StatusOK {
				t.Fatalf("%+v, %v", a, err)
			}
			told, done := w.private("U09EVE"), w.acts.committed()
			if allow {
				if len(done) != 1 || done[0].Actor != "Slack user U09EVE (ana)" || len(told) != 0 {
					t.Errorf("committed %+v, told %q", done, told)
				}
				return
			}
			if len(done) != 0 || len(told) != 1 || !strings.Contains(told[0], "Nothing was changed") || !strings.Contains(told[0], "slack: U09EVE") {
				t.Errorf("committed %+v, told %q", done, told)
			}
		})
	}
}

func TestPressStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		old := w.posted(t, 42)
		press := func(action, user string) string {
			t.Helper()
			before := len(w.private(user))
			if a, err := w.slack.PressAsSeen(t.Context(), tocsinURL, old, action, user); err != nil || a.Status != http.StatusOK {
				t.Fatalf("%s: %+v, %v", action, a, err)
			}
			return strings.Join(w.private(user)[before:], "\n")
		}
		if s := press(actionAcknowledge, "U02ANA"); s != "" {
			t.Fatalf("told %q", s)
		}
		if s := press(actionResolve, "U03BO"); !strings.Contains(s, "#42 is acknowledged by now, by ana.") {
			t.Errorf("a stale Resolve is answered with %q", s)
		}
		if s := press(actionEscalate, "U03BO"); s == "" {
			t.Error("a stale Escalate is not answered")
		}
		if n := len(w.acts.committed()); n != 1 {
			t.Errorf("%d commands were committed: %+v", n, w.acts.committed())
		}
		// As it is shown now, Resolve works; a second time it says by whom.
		now := w.posted(t, 42)
		if b := now.Buttons(); len(b) != 2 || b[0] != actionUnacknowledge || b[1] != actionResolve {
			t.Errorf("an acknowledged incident has the buttons %q", b)
		}
		old = now
		if s := press(actionResolve, "U03BO"); s != "" {
			t.Errorf("told %q", s)
		}
		if s := press(actionResolve, "U02ANA"); !strings.Contains(s, "already resolved by bo") {
			t.Errorf("told %q", s)
		}
		if b := w.posted(t, 42).Buttons(); len(b) != 0 {
			t.Errorf("a resolved incident has the buttons %q", b)
		}
	})
}

func TestPressNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newWorkspace(t, a, nil)
		m := w.posted(t, 42)
		a.fail = oncall.Errorf(oncall.CodeUnavailable, "disk full at /var/lib")
		if got, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA"); err != nil || got.Status != http.StatusServiceUnavailable {
			t.Errorf("%+v, %v", got, err)
		}
		a.hang = true
		got, err := w.slack.Press(t.Context(), tocsinURL, m, actionAcknowledge, "U02ANA")
		if err != nil || got.Status != http.StatusServiceUnavailable || got.Took != answerTimeout {
			t.Errorf("%+v, %v", got, err)
		}
		told := w.private("U02ANA")
		if len(told) != 2 || !strings.Contains(told[0], "not confirmed") || strings.Contains(told[0], "/var/lib") {
			t.Errorf("told %q", told)
		}
	})
}

func TestCloseStopsPrivateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		w.slack.Fail(slacktest.Fault{Method: "response_url", Stage: slacktest.After})
		if _, err := w.slack.Press(t.Context(), tocsinURL, w.posted(t, 42), actionAcknowledge, "U09EVE"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		w.Close()
		w.Close()
		if time.Since(start) != 0 {
			t.Errorf("closing took %s", time.Since(start))
		}
		if _, err := w.slack.Press(t.Context(), tocsinURL, w.posted(t, 42), actionAcknowledge, "U09EVE"); err != nil {
			t.Error(err)
		}
	})
}

func TestCallbacksTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		body := []byte(url.Values{"command": {"/tocsin"}, "text": {"ack #42"}, "user_id": {"U02ANA"}}.Encode())
		good := func(body []byte, at time.Time) *slacktest.Signed {
			return w.slack.Sign(tocsinURL+"/slack/commands", body, at)
		}
		spoil := func(change func(*slacktest.Signed)) *slacktest.Signed {
			r := good(body, time.Now())
			change(r)
			return r
		}
		for name, c := range map[string]struct {
			r    *slacktest.Signed
			want int
		}{
			"other secret": {func() *slacktest.Signed {
				return slacktest.New(slacktest.Options{SigningSecret: "other"}).Sign(tocsinURL+"/slack/commands", body, time.Now())
			}(), 401},
			"other body":    {spoil(func(r *slacktest.Signed) { r.Body = append(r.Body, '1') }), 401},
			"other time":    {spoil(func(r *slacktest.Signed) { r.Timestamp = "1" + r.Timestamp }), 401},
			"no signature":  {spoil(func(r *slacktest.Signed) { r.Signature = "" }), 401},
			"no time":       {spoil(func(r *slacktest.Signed) { r.Timestamp = "" }), 401},
			"version":       {spoil(func(r *slacktest.Signed) { r.Signature = "v1" + r.Signature[2:] }), 401},
			"short":         {spoil(func(r *slacktest.Signed) { r.Signature = "v0=00" }), 401},
			"old":           {good(body, time.Now().Add(-5*time.Minute-time.Second)), 401},
			"of the future": {good(body, time.Now().Add(5*time.Minute+time.Second)), 401},
			"too large":     {good(make([]byte, 1<<20+1), time.Now()), 413},
			"no form":       {good([]byte("%zz"), time.Now()), 400},
			"other form":    {good([]byte("a=b"), time.Now()), 400},
			"no payload":    {w.slack.Sign(tocsinURL+"/slack/interactions", body, time.Now()), 400},
			"bad payload":   {w.slack.Sign(tocsinURL+"/slack/interactions", []byte("payload=%7B"), time.Now()), 400},
		} {
			a, err := w.slack.Send(t.Context(), c.r)
			if err != nil || a.Status != c.want || !strings.HasPrefix(a.Body, `{"error":`) {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
		resp, err := w.client.Get(tocsinURL + "/slack/commands")
		if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
			t.Fatalf("GET: %v, %v", resp, err)
		}
		resp.Body.Close()
		if done := w.acts.committed(); len(done) != 0 {
			t.Errorf("committed %+v", done)
		}
		// At the edge of the window it is still good.
		if a, err := w.slack.Send(t.Context(), good(body, time.Now().Add(-4*time.Minute))); err != nil || a.Status != http.StatusOK {
			t.Errorf("%+v, %v", a, err)
		}
		if done := w.acts.committed(); len(done) != 1 {
			t.Errorf("committed %+v", done)
		}
	})
}

func TestMayAnswer(t *testing.T) {
	a := New(Config{APIURL: "http://127.0.0.1:4000/api/"}, Options{})
	defer a.Close()
	for u, want := range map[string]bool{
		"https://hooks.slack.com/actions/T0/1/x": true, "https://slack.com/x": true, "https://hooks.slack.com:443/x": true,
		"http://127.0.0.1:4000/response/1": true, "http://127.0.0.1:4001/response/1": false, "https://127.0.0.1:4000/": false,
		"http://hooks.slack.com/x": false, "https://hooks.slack.com:8443/": false, "https://evilslack.com/": false, "https://slack.com.evil.example/": false,
		"https://u:p@hooks.slack.com/": false, "file:///etc/passwd": false, "": false, "https://": false, "::": false,
	} {
		if a.mayAnswer(u) != want {
			t.Errorf("%s: got %v", u, !want)
		}
	}
}

func FuzzInteraction(f *testing.F) {
	f.Add([]byte(`payload={"type":"block_actions","user":{"id":"U1"},"actions":[{"action_id":"tocsin_escalate","value":"{\"n\":1,\"seen\":{}}"}]}`))
	f.Add([]byte("payload=%7B%7D"))
	f.Add([]byte("payload=null"))
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := parseInteraction(body)
		if err != nil || len(in.Actions) == 0 {
			return
		}
		p, c, err := commandOf(in.Actions[0].ActionID, in.Actions[0].Value)
		if err == nil && (p.Number <= 0 || c.Kind == "" || (c.Kind == oncall.CmdEscalate) != (c.Seen != nil)) {
			t.Errorf("nonsense was understood: %+v %+v", p, c)
		}
	})
}
