package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tocsin/notifier/slack/slacktest"
)

// TestSlackCheck: 0 where all is there, 1 where something is missing, with what to do, 2 where there is nothing to ask.
func TestSlackCheck(t *testing.T) {
	s := slacktest.New(slacktest.Options{Token: "xoxb-1", AppToken: "xapp-1", Channels: []string{"#team"}, Users: []slacktest.User{{ID: "U1", Name: "ana"}}})
	far := httptest.NewServer(s)
	defer far.Close()
	s.SetURL(far.URL)
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("bot", "xoxb-1")
	write("app", "xapp-1")
	const rest = "users: [{name: ana, slack: U1}]\nheartbeats: [{name: a, every: 1h, escalation: default}]\nescalations: [{name: default, tiers: [{slack: '#team'}]}]\n"
	write("tocsin.yml", "slack: {bot_token_file: bot, app_token_file: app, api_url: "+s.APIURL()+"}\n"+rest)
	check := func(want int, args ...string) string {
		t.Helper()
		var b bytes.Buffer
		if code := run(t.Context(), append([]string{"slack", "check"}, args...), streams{&b, &b}); code != want {
			t.Errorf("exit code %d, not %d:\n%s", code, want, b.String())
		}
		if strings.Contains(b.String(), "xoxb-1") || strings.Contains(b.String(), "xapp-1") {
			t.Errorf("a token was shown:\n%s", b.String())
		}
		return b.String()
	}
	file := "--config.file=" + filepath.Join(dir, "tocsin.yml")
	if out := check(0, file); !strings.Contains(out, "ok    app token") || !strings.Contains(out, "ok    channel #team") || !strings.Contains(out, "Slack has everything") {
		t.Error(out)
	}
	s.AddChannel(slacktest.Channel{Name: "team", NotMember: true})
	if out := check(1, file); !strings.Contains(out, "FAIL  channel #team: the app is not in it\n      → in #team type /invite @tocsin") || !strings.Contains(out, "1 problem.") {
		t.Error(out)
	}
	far.Close()
	if out := check(1, file); !strings.Contains(out, "FAIL  bot token") {
		t.Error(out)
	}
	check(2, "--config.file="+filepath.Join(dir, "none.yml"))
	write("none.yml", "heartbeats: [{name: a, every: 1h, escalation: default}]\nescalations: [{name: default, tiers: [{receiver: a}]}]\nreceivers: [{name: a, page_configs: [{url: 'https://a.example', secret_file: page}]}]\n")
	write("page", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if out := check(2, "--config.file="+filepath.Join(dir, "none.yml")); !strings.Contains(out, "has no section slack") {
		t.Error(out)
	}
}

// TestSlackManifestCommand prints what the examples hold, for any address.
func TestSlackManifestCommand(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--socket", 0, "socket_mode_enabled: true"},
		{"--url https://pages.example/", 0, "url: https://pages.example/slack/commands"},
		{"--url https://pages.example --command /page", 0, "command: /page"},
		{"", 2, "either --socket or --url"}, {"--socket --url https://a.example", 2, "either --socket or --url"},
		{"--url http://pages.example", 2, "https only"}, {"--socket --command page", 2, "expected a slash command"},
	} {
		var b bytes.Buffer
		if code := run(t.Context(), append([]string{"slack", "manifest"}, strings.Fields(c.args)...), streams{&b, &b}); code != c.code || !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: %d\n%s", c.args, code, b.String())
		}
	}
}
