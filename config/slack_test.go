package config

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// slackSource is a machine with Slack's secrets on it.
func slackSource(text string) source {
	files := map[string]string{"tocsin.yml": text, "bot": "xoxb-1", "signing": "s", "app": "xapp-1"}
	return source{read: func(file string) ([]byte, error) {
		if text, ok := files[file]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}, glob: func(string) ([]string, error) { return nil, nil }, getenv: func(string) string { return "" }}
}

const slackRest = "\nheartbeats: [{name: a, every: 1h, escalation: default}]\n"

// TestSlackSection: one workspace or several, over HTTP or by Socket Mode, and what is wrong said at its place.
func TestSlackSection(t *testing.T) {
	const two = "slack: [{name: main, bot_token_file: bot, app_token_file: app}, {name: shop, bot_token_file: bot, app_token_file: app}]\n"
	team := "escalations: [{name: default, tiers: [{slack: %s}]}]" + slackRest
	for _, c := range []struct{ text, want string }{ // "": it is fine
		{"slack: {bot_token_file: bot, app_token_file: app}\n" + fmt.Sprintf(team, "'#a'"), ""},
		{"slack: {bot_token_file: bot, app_token_file: app, signing_secret_file: signing}\n" + fmt.Sprintf(team, "'#a'"), ""},
		{"slack: {bot_token_file: bot}\n" + fmt.Sprintf(team, "'#a'"), "1:8: signing_secret_file is required"},
		{"slack: {bot_token_file: bot, app_token_file: bot}\n" + fmt.Sprintf(team, "'#a'"), "an app-level token is needed (xapp-…)"},
		{"slack: {bot_token_file: bot, app_token: xapp-hunter2}\n" + fmt.Sprintf(team, "'#a'"), `"app_token" would put a secret into the configuration`},
		{"slack: []\n" + fmt.Sprintf(team, "'#a'"), "the list of Slack workspaces is empty"},
		{"slack: [{bot_token_file: bot, app_token_file: app}]\n" + fmt.Sprintf(team, "'#a'"), "1:9: each Slack workspace of a list needs a name"},
		{"slack: [{name: Main Shop, bot_token_file: bot, app_token_file: app}]\n" + fmt.Sprintf(team, "'#a'"), `1:16: expected a name for the Slack workspace such as shop, found "Main Shop"`},
		{strings.Replace(two, "shop", "main", 1) + fmt.Sprintf(team, "'#a'"), `the Slack workspace "main" is defined twice`},
		{two + fmt.Sprintf(team, "['#a', 'shop/#a', 'main/#b', shop/C0123]"), ""},
		{two + fmt.Sprintf(team, "'shpo/#a'"), `unknown Slack workspace "shpo"`},
		{two + fmt.Sprintf(team, "'shop/a'"), "did you mean 'shop/#a'?"},
		{"slack: {bot_token_file: bot, app_token_file: app}\n" + fmt.Sprintf(team, "'shop/#a'"), "the section slack defines them"},
		{two + "users: [{name: ana, slack: {main: U1, shop: U2}}, {name: bo, slack: {shop: U2}}]\n" + fmt.Sprintf(team, "'#a'"), "the Slack ID U2 is user \"ana\"'s already"},
		{two + "users: [{name: ana, slack: {shpo: U1}}]\n" + fmt.Sprintf(team, "'#a'"), `unknown Slack workspace "shpo"`},
		{two + "users: [{name: ana, slack: {shop: ana}}]\n" + fmt.Sprintf(team, "'#a'"), `expected a Slack user ID such as U02ANA, found "ana"`},
		{two + "users: [{name: ana, slack: {}}]\n" + fmt.Sprintf(team, "'#a'"), "or one for each workspace"},
	} {
		plan, problems := load("tocsin.yml", slackSource(c.text))
		var b strings.Builder
		problems.Print(&b)
		if got := b.String(); (plan != nil) != (c.want == "") || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s\n%s\nwant %q", c.text, got, c.want)
		}
	}
}

// TestFirstWorkspace: what is written with the first workspace's name is the same place as what is written without.
func TestFirstWorkspace(t *testing.T) {
	plan, problems := load("tocsin.yml", slackSource(`
slack: [{name: main, bot_token_file: bot, app_token_file: app}, {name: shop, bot_token_file: bot, app_token_file: app}]
users:
- {name: ana, slack: {main: U1, shop: U2}, contacts: [{slack: dm}, {slack: 'main/#ana'}]}
- {name: bo, slack: {shop: U3}}
- {name: chen, slack: U4}
escalations: [{name: default, tiers: [{slack: ['main/#a', 'shop/#a']}]}]`+slackRest))
	if plan == nil {
		t.Fatal(problems)
	}
	targets := plan.Policy.Escalations["default"].Tiers[0].Targets
	ana, bo, chen := plan.Policy.Users["ana"], plan.Policy.Users["bo"], plan.Policy.Users["chen"]
	if targets[0].Name != "#a" || targets[1].Name != "shop/#a" || ana.Contacts[1].Slack != "#ana" {
		t.Errorf("%+v %+v", targets, ana.Contacts)
	}
	for _, c := range []struct{ got, want string }{{ana.Slack, "U1"}, {ana.SlackIn(""), "U1"}, {ana.SlackIn("shop"), "U2"},
		{bo.Slack, "shop/U3"}, {bo.SlackIn(""), ""}, {bo.SlackIn("shop"), "U3"}, {chen.Slack, "U4"}, {chen.SlackIn("shop"), ""}} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
