package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"tocsin/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startWorld starts a world without tocsin.
func startWorld(t *testing.T, o Options) *World {
	t.Helper()
	w, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(w.ConfigFile); !os.IsNotExist(err) {
			t.Errorf("%s is still there", w.ConfigFile)
		}
	})
	return w
}

// browse is a client that keeps no connection, and follows no redirect.
func browse(t *testing.T, method, target string, form url.Values, header ...string) (*http.Response, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestTheConfigurationIsValid(t *testing.T) {
	for _, speed := range []float64{10, DefaultSpeed, 45, 60} {
		w := startWorld(t, Options{Speed: speed})
		plan, problems := config.Load(w.ConfigFile)
		if len(problems) > 0 || plan == nil {
			t.Fatalf("at %g times: %v", speed, problems)
		}
		if n := len(plan.Rules.Groups); n != 2 {
			t.Errorf("%d groups", n)
		}
		if e := plan.Policy.Escalations[escalationMain]; len(e.Tiers) != 3 || e.Tiers[1].After != shrink(5*time.Minute, speed) {
			t.Errorf("at %g times the escalation is %+v", speed, e)
		}
	}
}

func TestOnlyLoopbackAndSensibleSpeeds(t *testing.T) {
	for _, o := range []Options{{ListenAddress: "0.0.0.0:0"}, {ListenAddress: ":0"}, {ListenAddress: "nonsense"}, {Speed: 1}, {Speed: 1000}, {Speed: -1}} {
		if w, err := Start(context.Background(), o); err == nil {
			t.Errorf("%+v was accepted", o)
			_ = w.Close()
		}
	}
}

// TestThePageKeepsItsPolicy reads all that the page is made of: nothing may be inline, and nothing may
// come from elsewhere.
func TestThePageKeepsItsPolicy(t *testing.T) {
	w := startWorld(t, Options{})
	w.phones.take(call{id: "msg_1", user: "ana", at: time.Now(), payload: decodePage(t)})
	postMessage(t, w, "ana's <b>message</b>")
	for _, path := range []string{"", "state", "runbook", "prometheus/graph?g0.expr=session_service_up", "prometheus/graph?g0.expr=<script>("} {
		res, body := browse(t, http.MethodGet, w.PageURL+path, nil)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Security-Policy") != contentPolicy {
			t.Fatalf("/%s: %s %s", path, res.Status, res.Header)
		}
		if path == "state" {
			var s struct{ Regions map[string]string }
			if err := json.Unmarshal([]byte(body), &s); err != nil || len(s.Regions) != len(regions) {
				t.Fatalf("%v: %.300s", err, body)
			}
			body = ""
			for _, html := range s.Regions {
				body += html
			}
		}
		policed(t, "/"+path, body)
	}
	for _, file := range []string{"static/style.css", "static/page.js", "static/bell.svg"} {
		if res, body := browse(t, http.MethodGet, w.PageURL+file, nil); res.StatusCode != http.StatusOK || strings.Contains(body, "url(") {
			t.Errorf("/%s: %s", file, res.Status)
		}
	}
}

func policed(t *testing.T, path, body string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(body))
	for z.Next() != html.ErrorToken {
		tok := z.Token()
		attr := map[string]string{}
		for _, a := range tok.Attr {
			attr[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("%s: <%s %s=%q> is inline", path, tok.Data, a.Key, a.Val)
			}
		}
		switch {
		case tok.Type != html.StartTagToken && tok.Type != html.SelfClosingTagToken:
		case tok.Data == "style" || tok.Data == "b" || tok.Data == "script" && attr["src"] == "":
			t.Errorf("%s: <%s> is inline", path, tok.Data)
		case tok.Data == "script" || tok.Data == "img" || tok.Data == "link":
			if src := attr["src"] + attr["href"]; !strings.HasPrefix(src, "/static/") {
				t.Errorf("%s: <%s> loads %q", path, tok.Data, src)
			}
		}
	}
}

func decodePage(t *testing.T) (p pagePayload) {
	t.Helper()
	if err := json.Unmarshal([]byte(samplePage), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// postMessage posts to the team's channel as tocsin would, through Slack's API.
func postMessage(t *testing.T, w *World, text string) {
	t.Helper()
	blocks := `[{"type":"header","text":{"type":"plain_text","text":"🔴 Triggered · #2 <b>x</b>"}},{"type":"section","text":{"type":"mrkdwn","text":"*critical* &lt;b&gt;"}},
		{"type":"actions","block_id":"a","elements":[{"type":"button","action_id":"tocsin_acknowledge","value":"{}","style":"primary","text":{"type":"plain_text","text":"Acknowledge"}}]}]`
	res, body := browse(t, http.MethodPost, w.PageURL+"slack/api/chat.postMessage", url.Values{"channel": {"#" + channelName}, "text": {text}, "blocks": {blocks}},
		"Authorization", "Bearer "+w.slack.Token())
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `"ok":true`) {
		t.Fatalf("%s %s", res.Status, body)
	}
}

// standIn is as much of tocsin as the world sees.
type standIn struct {
	mu       sync.Mutex
	pressed  []string
	incident string
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/api/tocsin/v1/incidents":
		_, _ = io.WriteString(w, "["+s.incident+"]")
	case "/slack/interactions", "/slack/commands":
		body, _ := io.ReadAll(r.Body)
		s.pressed = append(s.pressed, r.URL.Path)
		if r.URL.Path == "/slack/commands" {
			w.Header().Set("Content-Type", "application/json")
			form, _ := url.ParseQuery(string(body))
			_, _ = io.WriteString(w, `{"response_type":"ephemeral","text":"you typed `+form.Get("text")+`"}`)
		}
	default:
		http.NotFound(w, r)
	}
}

// withStandIn connects a world to a stand-in for tocsin.
func withStandIn(t *testing.T, w *World) *standIn {
	t.Helper()
	s := &standIn{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(w.client.CloseIdleConnections)
	w.SetTocsin(server.URL + "/")
	return s
}

func TestTheVisitorActsThroughSlack(t *testing.T) {
	w := startWorld(t, Options{})
	if res, _ := browse(t, http.MethodPost, w.PageURL+"command", url.Values{"user": {"ana"}, "text": {"help"}}); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before tocsin serves: %s", res.Status)
	}
	s := withStandIn(t, w)
	postMessage(t, w, "fallback")
	m := w.slack.Messages(channelName)[0]
	press := url.Values{"user": {"ana"}, "channel": {m.Channel}, "ts": {m.TS}, "action": {"tocsin_acknowledge"}}
	if res, body := browse(t, http.MethodPost, w.PageURL+"press", press, "X-Requested-With", "page"); res.StatusCode != http.StatusNoContent {
		t.Errorf("press: %s %s", res.Status, body)
	}
	if res, _ := browse(t, http.MethodPost, w.PageURL+"command", url.Values{"user": {"bo"}, "text": {"/tocsin list"}}); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a form without scripts is answered with the page, not %s", res.Status)
	}
	for what, form := range map[string]url.Values{"nobody": {"user": {"zoe"}}, "no message": {"user": {"ana"}, "channel": {"C1"}, "ts": {"1.2"}}} {
		if res, _ := browse(t, http.MethodPost, w.PageURL+"press", form); res.StatusCode < 400 {
			t.Errorf("%s: %s", what, res.Status)
		}
	}
	if res, _ := browse(t, http.MethodPost, w.PageURL+"restart", url.Values{}, "Origin", "https://elsewhere.example"); res.StatusCode != http.StatusForbidden {
		t.Errorf("another site pressed a button: %s", res.Status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.pressed, " "); got != "/slack/interactions /slack/commands" {
		t.Errorf("tocsin got %q", got)
	}
	_, page := browse(t, http.MethodGet, w.PageURL, nil)
	for _, want := range []string{"you typed list", "/tocsin list", "only visible to bo"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}

func TestRestartAndStartAgain(t *testing.T) {
	w := startWorld(t, Options{})
	for _, button := range []string{"restart", "patch", "engineer", "again"} {
		if res, body := browse(t, http.MethodPost, w.PageURL+button, url.Values{}, "X-Requested-With", "page"); res.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: %s %s", button, res.Status, body)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.runs) != 2 || w.now.restart != (time.Time{}) || !w.now.patched.IsZero() || !w.now.sleeps {
		t.Errorf("started again: %d runs, %+v", len(w.runs), w.now.restart)
	}
	if first := w.runs[0]; first.restart.IsZero() || first.patched.IsZero() {
		t.Error("the buttons did nothing to the first run")
	}
}

func TestTheTerminalTellsTheStory(t *testing.T) {
	var out bytes.Buffer
	w := startWorld(t, Options{Out: &out})
	s := withStandIn(t, w)
	began := func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now.clock.began }()
	at := func(m time.Duration) string { return began.Add(shrink(m, DefaultSpeed)).UTC().Format(time.RFC3339Nano) }
	s.mu.Lock()
	s.incident = `{"number":2,"state":"resolved","escalation":"session-oncall","triggered_at":"` + at(20*time.Minute) + `","acknowledged_at":"` +
		at(32*time.Minute) + `","acknowledged_by":"bo","resolved_at":"` + at(38*time.Minute) + `"}`
	s.mu.Unlock()
	w.look(context.Background())
	w.look(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	got := out.String()
	if !strings.HasPrefix(got, "Watch the outage at http://127.0.0.1:") {
		t.Errorf("the page's address does not come first: %q", got)
	}
	for _, want := range []string{"13:00  #2 in #session-alerts", "13:12  Bo has #2", "13:18  #2 is resolved by the rules, after 18 minutes.", "With tocsin: 18 minutes"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is said %d times in\n%s", want, strings.Count(got, want), got)
		}
	}
}
