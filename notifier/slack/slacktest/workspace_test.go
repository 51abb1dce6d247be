package slacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// TestScopesAndTokens: a call without its scope, or with the other kind of token, is refused, and says what it needs.
func TestScopesAndTokens(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"a"}, Users: []User{{ID: "U1", Name: "ana", Email: "ana@shop.example"}}})
	const form = "application/x-www-form-urlencoded"
	for _, x := range []struct{ method, token, want string }{
		{"auth.test", "xapp-test", "not_allowed_token_type"}, {"apps.connections.open", "xoxb-test", "not_allowed_token_type"},
		{"apps.connections.open", "xapp-test", ""}, {"apps.connections.open", "xapp-other", "invalid_auth"},
	} {
		if got, _ := c.post(x.method, form, x.token, "")["error"].(string); got != x.want {
			t.Errorf("%s with %s: %q, want %q", x.method, x.token, got, x.want)
		}
	}
	for method, need := range scopes {
		c.s.SetScopes("commands")
		r := c.call(method)
		if !strings.Contains(strings.Join(need, " "), fmt.Sprint(r["needed"])) || r["error"] != "missing_scope" || r["provided"] != "commands" {
			t.Errorf("%s: %v", method, r)
		}
	}
	c.s.SetScopes("users:read")
	if u := c.call("users.info", "user", "U1")["user"].(map[string]any); u["profile"].(map[string]any)["email"] != nil {
		t.Errorf("the address was shown to who may not read it: %v", u)
	}
}

// TestWorkspaceLimits has one case for each limit of the parts beside messages.
func TestWorkspaceLimits(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"a"}, Users: []User{{ID: "U1", Name: "ana", Email: "ana@shop.example"}, {ID: "U2", Deleted: true, Email: "bo@shop.example"}, {ID: "U3", Bot: true}}})
	c.s.AddChannel(Channel{ID: "C0OLD", Name: "old", Archived: true})
	c.s.AddChannel(Channel{ID: "C0OUT", Name: "out", NotMember: true})
	c.s.AddUserGroup(UserGroup{ID: "S1", Handle: "session-oncall", Users: []string{"U1"}})
	a := c.s.Channels()[0].ID
	for _, ch := range c.s.Channels() {
		if ch.Name == "a" {
			a = ch.ID
		}
	}
	home := func(n int) string {
		return `{"type":"home","blocks":[` + strings.TrimSuffix(strings.Repeat(`{"type":"divider"},`, n), ",") + `]}`
	}
	for _, x := range []struct {
		method string
		args   []string
		want   string
	}{
		{"conversations.info", []string{"channel", a}, ""},
		{"conversations.info", []string{"channel", "#a"}, "channel_not_found"},
		{"conversations.list", []string{"limit", "1001"}, "invalid_limit"},
		{"conversations.list", []string{"limit", "2", "cursor", "nonsense"}, "invalid_cursor"},
		{"conversations.setTopic", []string{"channel", a, "topic", strings.Repeat("x", 250)}, ""},
		{"conversations.setTopic", []string{"channel", a, "topic", strings.Repeat("x", 251)}, "too_long"},
		{"conversations.setTopic", []string{"channel", "C0OLD", "topic", "x"}, "is_archived"},
		{"conversations.setTopic", []string{"channel", "C0OUT", "topic", "x"}, "not_in_channel"},
		{"conversations.setTopic", []string{"channel", "#a", "topic", "x"}, "channel_not_found"},
		{"users.lookupByEmail", []string{"email", "ANA@shop.example"}, ""},
		{"users.lookupByEmail", []string{"email", "bo@shop.example"}, "users_not_found"},
		{"usergroups.users.list", []string{"usergroup", "S1"}, ""},
		{"usergroups.users.list", []string{"usergroup", "S2"}, "no_such_subteam"},
		{"usergroups.users.update", []string{"usergroup", "S1", "users", ""}, "no_users_provided"},
		{"usergroups.users.update", []string{"usergroup", "S1", "users", "U1,U2"}, "invalid_users"},
		{"usergroups.users.update", []string{"usergroup", "S1", "users", "U3"}, "invalid_users"},
		{"usergroups.users.update", []string{"usergroup", "S1", "users", "U9"}, "invalid_users"},
		{"usergroups.users.update", []string{"usergroup", "S1", "users", "U1"}, ""},
		{"usergroups.list", nil, ""},
		{"views.publish", []string{"user_id", "U1", "view", home(100)}, ""},
		{"views.publish", []string{"user_id", "U1", "view", home(101)}, "invalid_arguments"},
		{"views.publish", []string{"user_id", "U9", "view", home(1)}, "invalid_arguments"},
		{"views.publish", []string{"user_id", "U1", "view", `{"type":"modal","blocks":[{"type":"divider"}]}`}, "invalid_arguments"},
	} {
		if got, _ := c.call(x.method, x.args...)["error"].(string); got != x.want {
			t.Errorf("%s %v: %q, want %q", x.method, x.args, got, x.want)
		}
	}
	if c.s.Home("U1") == nil {
		t.Error("no home is shown")
	}
	if g, ok := c.s.UserGroup("S1"); !ok || len(g.Users) != 1 {
		t.Errorf("%+v", g)
	}
	seen, cursor := 0, ""
	for range 3 { // pages of one
		r := c.call("conversations.list", "limit", "1", "cursor", cursor)
		seen += len(r["channels"].([]any))
		cursor = r["response_metadata"].(map[string]any)["next_cursor"].(string)
	}
	if seen != 3 || cursor != "" {
		t.Errorf("%d channels on three pages, then %q", seen, cursor)
	}
}

// TestUpdateKeepsBlocks: an update without blocks leaves those of before.
func TestUpdateKeepsBlocks(t *testing.T) {
	c := newCaller(t, Options{Channels: []string{"a"}})
	r := c.call("chat.postMessage", "channel", "a", "text", "x", "blocks", `[{"type":"divider"}]`)
	channel, ts := r["channel"].(string), r["ts"].(string)
	c.call("chat.update", "channel", channel, "ts", ts, "text", "y")
	if m, _ := c.s.Message(channel, ts); m.Blocks == nil || m.Text != "y" {
		t.Errorf("%+v", m)
	}
	c.call("chat.update", "channel", channel, "ts", ts, "text", "z", "blocks", "[]")
	if m, _ := c.s.Message(channel, ts); m.Blocks != nil {
		t.Errorf("%+v", m)
	}
}

// dialed is one connection to the fake, without a client of ours.
func dialed(t *testing.T, c caller) *websocket.Conn {
	t.Helper()
	r := c.post("apps.connections.open", "application/x-www-form-urlencoded", "xapp-test", "")
	conn, _, err := (&websocket.Dialer{NetDialContext: c.s.Dial}).DialContext(t.Context(), r["url"].(string), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestSocketsAreStrict: what Slack would not take of an acknowledgement, a ticket or one connection more.
func TestSocketsAreStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Options{SocketMode: true})
		u := c.post("apps.connections.open", "application/x-www-form-urlencoded", "xapp-test", "")["url"].(string)
		<-time.After(ticketLifetime + time.Second)
		if _, resp, err := (&websocket.Dialer{NetDialContext: c.s.Dial}).DialContext(t.Context(), u, nil); err == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("an old ticket: %v", err)
		}
		var first *websocket.Conn
		var others []*websocket.Conn
		for i := range maxSockets + 1 {
			conn := dialed(t, c)
			var hello map[string]any
			if err := conn.ReadJSON(&hello); err != nil {
				t.Fatal(err)
			}
			if i < maxSockets && hello["type"] != "hello" || i == maxSockets && hello["reason"] != "too_many_websockets" {
				t.Errorf("connection %d: %v", i, hello)
			}
			if i == 0 {
				first = conn
				continue
			}
			others = append(others, conn)
		}
		for _, conn := range others {
			conn.Close()
		}
		synctest.Wait()
		for ack, says := range map[string]string{
			`{`: "no JSON", `{"envelope_id":"x"}`: "did not come over", `{"envelope_id":"x","ok":true}`: "has the key", `{"envelope_id":"x","payload":null}`: "is null",
			`{"envelope_id":"` + strings.Repeat("x", maxAck) + `"}`: "Slack drops it",
		} {
			before := len(c.s.Complaints())
			if err := first.WriteMessage(websocket.TextMessage, []byte(ack)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if all := c.s.Complaints(); len(all) != before+1 || !strings.Contains(all[before], says) {
				t.Errorf("%.40s: %q", ack, all[before:])
			}
		}
		// One that nobody acknowledges comes again, in another envelope, and then the person sees a timeout.
		go func() {
			for {
				if _, _, err := first.ReadMessage(); err != nil {
					return
				}
			}
		}()
		a, err := c.s.Command(t.Context(), "", "list", "U1")
		if err == nil || !strings.Contains(err.Error(), "operation_timeout") || a.Tries != envelopeTries || a.Took != 9*time.Second {
			t.Errorf("%+v, %v", a, err)
		}
		// Twice is once too often, and a press takes no answer.
		done := make(chan error)
		c.s.Drop()
		synctest.Wait()
		conn := dialed(t, c)
		go func() {
			var hello, e map[string]any
			_ = conn.ReadJSON(&hello)
			_ = conn.ReadJSON(&e)
			b, _ := json.Marshal(map[string]any{"envelope_id": e["envelope_id"], "payload": map[string]any{}})
			_ = conn.WriteMessage(websocket.TextMessage, b)
			b, _ = json.Marshal(map[string]any{"envelope_id": e["envelope_id"]})
			_ = conn.WriteMessage(websocket.TextMessage, b)
			done <- conn.WriteMessage(websocket.TextMessage, b)
		}()
		synctest.Wait()
		before := len(c.s.Complaints())
		if _, err := c.s.hand(context.Background(), "", "/slack/interactions", url.Values{"payload": {`{"type":"block_actions"}`}}, time.Now()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if all := c.s.Complaints()[before:]; len(all) != 2 || !strings.Contains(all[0], "takes no payload") || !strings.Contains(all[1], "twice") {
			t.Errorf("%q", all)
		}
		c.s.Drop()
		synctest.Wait()
	})
}
