package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestServeBySocketMode runs the daemon where Slack cannot reach it: commands come over connections that it opened, a
// reload keeps them, and a token that is revoked becomes an incident that is paged by another way.
func TestServeBySocketMode(t *testing.T) {
	noLeaks(t)
	base, _ := backend(t)
	s := slacktest.New(slacktest.Options{Token: "xoxb-1", AppToken: "xapp-1", SocketMode: true, Channels: []string{"#team"}, Users: []slacktest.User{{ID: "U1", Name: "ana"}}})
	far := httptest.NewServer(s)
	defer far.Close()
	s.SetURL(far.URL)
	dir := t.TempDir()
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Down"))
	write(t, dir, "bot", "xoxb-1")
	write(t, dir, "app", "xapp-1")
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	write(t, dir, "tocsin.yml", fmt.Sprintf(`
prometheus: {url: %[1]s}
rule_files: [rules.yml]
slack: {bot_token_file: bot, app_token_file: app, api_url: %[2]s}
users: [{name: ana, slack: U1}]
receivers: [{name: phone, page_configs: [{url: %[1]s/page, secret_file: secret}]}]
escalations: [{name: default, tiers: [{receiver: phone}]}]
`, base, s.APIURL()))
	i := start(t, dir, nil)
	if a, err := s.Command(t.Context(), "", "list", "U1"); err != nil || !strings.Contains(a.Text, "open") {
		t.Errorf("%+v, %v", a, err)
	}
	resp, err := http.Post(i.url+"/-/reload", "", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if a, err := s.Command(t.Context(), "", "list", "U1"); err != nil || len(s.Calls("apps.connections.open")) != 2 {
		t.Errorf("after a reload: %+v, %v, %d connections were opened", a, err, len(s.Calls("apps.connections.open")))
	}
	s.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "token_revoked", Times: -1})
	write(t, dir, "app", "xapp-1\n")
	write(t, dir, "tocsin.yml", fmt.Sprintf(`
prometheus: {url: %[1]s}
rule_files: [rules.yml]
slack: {bot_token_file: bot, app_token_file: app, api_url: %[2]s, allow_unknown: true}
receivers: [{name: phone, page_configs: [{url: %[1]s/page, secret_file: secret}]}]
escalations: [{name: default, tiers: [{receiver: phone}]}]
`, base, s.APIURL()))
	if resp, err = http.Post(i.url+"/-/reload", "", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	deadline := time.After(20 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if _, out := i.cli(t, "incident", "list"); strings.Contains(out, "Nothing can be posted to Slack: token_revoked") {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no incident was opened:\n%s", i.log.String())
		}
	}
	i.end(t)
}
