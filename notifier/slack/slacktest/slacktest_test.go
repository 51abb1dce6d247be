package slacktest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller calls the API with the right token, as a form.
type caller struct {
	t      *testing.T
	s      *Server
	client *http.Client
}

func newCaller(t *testing.T, o Options) caller {
	s := New(o)
	return caller{t, s, &http.Client{Transport: Transport{"slack.test": s}}}
}

func (c caller) call(method string, pairs ...string) map[string]any {
	c.t.Helper()
	form := url.Values{"token": {c.s.Token()}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return c.post(method, "application/x-www-form-urlencoded", "", form.Encode())
}

func (c caller) post(method, contentType, bearer, body string) map[string]any {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.s.APIURL()+method, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

func TestTokens(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"a"}})
	const form, js = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	for _, x := range []struct{ name, contentType, bearer, body, want string }{
		{"none", form, "", "channel=a&text=x", "not_authed"},
		{"wrong", form, "", "token=xoxb-other&channel=a&text=x", "invalid_auth"},
		{"form", form, "", "token=xoxb-test&channel=a&text=x", ""},
		{"bearer", form, "xoxb-test", "channel=%23a&text=x", ""},
		{"json", js, "xoxb-test", `{"channel":"a","text":"x","blocks":[{"type":"divider"}]}`, ""},
		{"json with the token inside", js, "", `{"token":"xoxb-test","channel":"a","text":"x"}`, "not_authed"},
		{"bad json", js, "xoxb-test", `{`, "invalid_json"},
		{"other type", "text/plain", "xoxb-test", `x`, "invalid_post_type"},
	} {
		if got, _ := c.post("chat.postMessage", x.contentType, x.bearer, x.body)["error"].(string); got != x.want {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
	for _, call := range c.s.Calls("") {
		if _, ok := call.Args["token"]; ok {
			t.Error("a token was recorded")
		}
	}
}

func TestMethods(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"#a", "#b"}, Users: []User{{ID: "U1", Name: "ana"}}})
	c.s.AddChannel(Channel{Name: "old", Archived: true})
	seen := map[any]bool{}
	for range 50 {
		r := c.call("chat.postMessage", "channel", "#a", "text", "x")
		if seen[r["ts"]] {
			t.Fatalf("the ts %v was given twice", r["ts"])
		}
		seen[r["ts"]] = true
	}
	r := c.call("chat.postMessage", "channel", "U1", "text", "x")
	channel, ts := r["channel"].(string), r["ts"].(string)
	if !strings.HasPrefix(channel, "D") {
		t.Errorf("a direct message went to %s", channel)
	}
	for _, x := range []struct {
		method string
		args   []string
		want   string
	}{
		{"chat.update", []string{"channel", channel, "ts", ts, "text", "y"}, ""},
		{"chat.update", []string{"channel", "U1", "ts", ts, "text", "y"}, "channel_not_found"},
		{"chat.update", []string{"channel", "#a", "ts", ts, "text", "y"}, "channel_not_found"},
		{"chat.update", []string{"channel", channel, "ts", "1.000001", "text", "y"}, "message_not_found"},
		{"chat.update", []string{"channel", channel, "ts", ts, "text", strings.Repeat("y", 4001)}, "msg_too_long"},
		{"chat.postMessage", []string{"channel", "#nowhere", "text", "y"}, "channel_not_found"},
		{"chat.postMessage", []string{"channel", "#old", "text", "y"}, "is_archived"},
		{"chat.postMessage", []string{"channel", "#a"}, "no_text"},
		{"chat.postMessage", []string{"channel", "#a", "text", "y", "thread_ts", ts}, "thread_not_found"},
		{"chat.postMessage", []string{"channel", "U1", "text", "y", "thread_ts", ts, "reply_broadcast", "true"}, ""},
		{"chat.postMessage", []string{"channel", "#a", "text", "y", "blocks", `[{"type":"header"}]`}, "invalid_blocks"},
		{"chat.postEphemeral", []string{"channel", "#a", "user", "U1", "text", "psst"}, ""},
		{"chat.postEphemeral", []string{"channel", "#a", "user", "U2", "text", "psst"}, "user_not_in_channel"},
		{"auth.test", nil, ""},
		{"conversations.open", []string{"users", "U1"}, ""},
		{"conversations.open", []string{"users", "U9"}, "user_not_found"},
		{"conversations.list", nil, ""},
		{"users.info", []string{"user", "U1"}, ""},
		{"users.info", []string{"user", "U9"}, "user_not_found"},
		{"views.open", []string{"trigger_id", "1", "view", "{}"}, "invalid_trigger_id"},
		{"views.open", []string{"trigger_id", "trigger.0", "view", "{}"}, "exchanged_trigger_id"},
		{"views.open", []string{"trigger_id", c.s.trigger(), "view", "{}"}, "invalid_arguments"},
		{"views.open", []string{"trigger_id", c.s.trigger(), "view", `{"type":"modal","title":{"type":"plain_text","text":"A title that is far too long"},"blocks":[{"type":"divider"}]}`}, "invalid_arguments"},
		{"views.open", []string{"trigger_id", c.s.trigger(), "view", `{"type":"modal","title":{"type":"plain_text","text":"T"},"blocks":[{"type":"input","block_id":"b","label":{"type":"plain_text","text":"L"},"element":{"type":"plain_text_input","action_id":"a"}}]}`}, "invalid_arguments"},
		{"views.open", []string{"trigger_id", c.s.trigger(), "view", `{"type":"modal","title":{"type":"plain_text","text":"T"},"submit":{"type":"plain_text","text":"S"},"blocks":[{"type":"input","block_id":"b","label":{"type":"plain_text","text":"L"},"element":{"type":"plain_text_input","action_id":"a"}}]}`}, ""},
		{"chat.nonsense", nil, "unknown_method"},
	} {
		r := c.call(x.method, x.args...)
		if got, _ := r["error"].(string); got != x.want || r["ok"] != (x.want == "") {
			t.Errorf("%s %v: got %v, want %q", x.method, x.args, r, x.want)
		}
	}
	if m, _ := c.s.Message(channel, ts); m.Text != "y" || len(m.History) != 1 || m.History[0].Text != "x" {
		t.Errorf("the message is %+v", m)
	}
	if n := len(c.s.Thread("U1", ts)); n != 1 {
		t.Errorf("the thread has %d replies", n)
	}
	if p := c.s.Private("U1"); len(p) != 1 || p[0].Text != "psst" {
		t.Errorf("told in private: %+v", p)
	}
	c.s.Delete(channel, ts)
	if r := c.call("chat.update", "channel", channel, "ts", ts, "text", "y"); r["error"] != "message_not_found" {
		t.Errorf("an update of a deleted message: %v", r)
	}
}

func TestCheckBlocks(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	section := func(n int) string { return `{"type":"section","text":{"type":"mrkdwn","text":"` + long(n) + `"}}` }
	button := func(s string) string {
		return `{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"b"}` + s + `}]}`
	}
	for _, c := range []struct{ name, blocks, want string }{
		{"fine", section(3000), ""},
		{"fine button", button(`,"action_id":"a","value":"v","style":"danger","url":"https://x.example"`), ""},
		{"no JSON", `{`, "invalid_blocks_format"},
		{"null", `null,null`, "invalid_blocks"},
		{"51 blocks", strings.Repeat(`{"type":"divider"},`, 50) + `{"type":"divider"}`, "invalid_blocks"},
		{"50 blocks", strings.Repeat(`{"type":"divider"},`, 49) + `{"type":"divider"}`, ""},
		{"section too long", section(3001), "invalid_blocks"},
		{"section empty", section(0), "invalid_blocks"},
		{"section without text", `{"type":"section"}`, "invalid_blocks"},
		{"all too long", strings.TrimSuffix(strings.Repeat(section(2900)+",", 5), ","), "msg_blocks_too_long"},
		{"header too long", `{"type":"header","text":{"type":"plain_text","text":"` + long(151) + `"}}`, "invalid_blocks"},
		{"header of mrkdwn", `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`, "invalid_blocks"},
		{"emoji in mrkdwn", `{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}`, "invalid_blocks"},
		{"control character", `{"type":"section","text":{"type":"mrkdwn","text":"\u0007"}}`, "invalid_blocks"},
		{"unknown type", `{"type":"poem"}`, "invalid_blocks"},
		{"unknown key", `{"type":"divider","colour":"red"}`, "invalid_blocks"},
		{"null key", `{"type":"divider","block_id":null}`, "invalid_blocks"},
		{"block_id twice", `{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}`, "invalid_blocks"},
		{"context of 11", `{"type":"context","elements":[` + strings.TrimSuffix(strings.Repeat(`{"type":"mrkdwn","text":"x"},`, 11), ",") + `]}`, "invalid_blocks"},
		{"no elements", `{"type":"actions","elements":[]}`, "invalid_blocks"},
		{"value too long", button(`,"value":"` + long(2001) + `"`), "invalid_blocks"},
		{"action_id too long", button(`,"action_id":"` + long(256) + `"`), "invalid_blocks"},
		{"style", button(`,"style":"blue"`), "invalid_blocks"},
		{"confirm incomplete", button(`,"confirm":{"title":{"type":"plain_text","text":"x"}}`), "invalid_blocks"},
		{"eleven fields", `{"type":"section","fields":[` + strings.TrimSuffix(strings.Repeat(`{"type":"mrkdwn","text":"x"},`, 11), ",") + `]}`, "invalid_blocks"},
	} {
		err := CheckBlocks([]byte("[" + c.blocks + "]"))
		got := ""
		if e, ok := err.(*apiError); ok {
			got = e.code
		}
		if got != c.want {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestPings(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"a"}})
	c.call("chat.postMessage", "channel", "a", "text", "a &lt;!channel&gt; @here `<tag>`", "parse", "none")
	if p := c.s.Pings(); len(p) != 0 {
		t.Errorf("harmless text pings %q", p)
	}
	c.call("chat.postMessage", "channel", "a", "text", "<!channel>")
	c.call("chat.postMessage", "channel", "a", "text", "x", "blocks", `[{"type":"context","elements":[{"type":"mrkdwn","text":"<@U1> @everyone"}]}]`)
	c.call("chat.postMessage", "channel", "a", "text", "@here", "link_names", "true")
	if p := strings.Join(c.s.Pings(), " "); p != "<!channel> <@U1> @everyone @here" {
		t.Errorf("got %q", p)
	}
}

// TestFaultsOverTheNetwork shows that a reset and a silence look the same over a real connection.
func TestFaultsOverTheNetwork(t *testing.T) {
	s := New(Options{Channels: []string{"a"}})
	web := httptest.NewServer(s)
	defer web.Close()
	s.SetURL(web.URL)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.APIURL()+"chat.postMessage", strings.NewReader("token=xoxb-test&channel=a&text=x"))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	s.Fail(Fault{Method: "chat.postMessage", Stage: During})
	if err := post(t.Context()); err == nil {
		t.Error("a reset connection gave an answer")
	}
	s.Fail(Fault{Stage: After})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := post(ctx); err == nil {
		t.Error("a hanging server gave an answer")
	}
	if err := post(t.Context()); err != nil {
		t.Errorf("after the faults: %v", err)
	}
	if n := len(s.Messages("a")); n != 3 {
		t.Errorf("%d messages were recorded, not 3", n)
	}
}

func TestSubscribe(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"a"}})
	changes, cancel := c.s.Subscribe()
	before := c.s.Revision()
	for range 3 {
		c.call("chat.postMessage", "channel", "a", "text", "x")
	}
	<-changes
	select {
	case <-changes:
		t.Error("three changes without a look were told twice")
	default:
	}
	if c.s.Revision() != before+3 {
		t.Errorf("the revision went from %d to %d", before, c.s.Revision())
	}
	cancel()
	c.call("chat.postMessage", "channel", "a", "text", "x")
	select {
	case <-changes:
		t.Error("told after cancel")
	default:
	}
}

func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		s := New(Options{Client: &http.Client{Transport: Transport{"tocsin.test": late}}})
		start := time.Now()
		_, err := s.Command(t.Context(), "http://tocsin.test", "list", "U1")
		if err == nil || !strings.Contains(err.Error(), "operation_timeout") || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}

func TestResponseURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Options{})
		answer := func(u, contentType, body string) int {
			resp, err := c.client.Post(u, contentType, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			return resp.StatusCode
		}
		const good = `{"response_type":"ephemeral","text":"hello"}`
		u := c.s.newResponseURL("U1")
		for i, x := range []struct {
			contentType, body string
			want              int
		}{
			{"application/json", good, 200},
			{"text/plain", good, 400},
			{"application/json", `{"response_type":"ephemeral","text":"hello","blocks":null}`, 400},
			{"application/json", `{"text":"hello"}`, 400},
			{"application/json", good, 200},
			{"application/json", good, 404}, // the sixth
		} {
			if got := answer(u, x.contentType, x.body); got != x.want {
				t.Errorf("%d: got %d, want %d", i, got, x.want)
			}
		}
		u = c.s.newResponseURL("U1")
		<-time.After(31 * time.Minute) // the bubble's
		if got := answer(u, "application/json", good); got != 404 {
			t.Errorf("an expired URL: got %d", got)
		}
		if n := len(c.s.Private("U1")); n != 2 {
			t.Errorf("%d private answers were shown", n)
		}
	})
}
