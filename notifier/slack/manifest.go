package slack

import (
	"fmt"
	"strings"
)

// why says what each scope is for, in the manifest's comment.
var why = map[string]string{
	"channels:read":        "tocsin slack check finds the channels",
	"channels:write.topic": "say in a channel's topic who is on call",
	"groups:write.topic":   "the same in private channels",
	"chat:write":           "post and edit messages in channels that the app was invited to, and direct messages",
	"commands":             "the slash command",
	"files:write":          "the chart in a message's thread",
	"groups:read":          "tocsin slack check finds private channels that the app was invited to",
	"usergroups:read":      "find the user groups that schedules name",
	"usergroups:write":     "keep them to who is on call",
	"users:read":           "recognise people by address, and in enterprises",
	"users:read.email":     "recognise people by the e-mail address that Slack has verified",
}

// Manifest is a Slack app with exactly the scopes in use, for api.slack.com/apps, Create New App, From a manifest. base is the
// address under which Slack reaches tocsin, without a slash at its end; "" for Socket Mode, which needs none.
func Manifest(base, command string) string {
	var b strings.Builder
	b.WriteString("# A Slack app for tocsin: api.slack.com/apps, Create New App, From a manifest.\n# The scopes are those in use, and no others:\n")
	for _, s := range BotScopes() {
		fmt.Fprintf(&b, "#   %-20s  %s\n", s, why[s])
	}
	commandURL, interactivity, events := "", "", ""
	if base != "" {
		commandURL = "\n    url: " + base + "/slack/commands"
		interactivity = "\n    request_url: " + base + "/slack/interactions"
		events = "\n    request_url: " + base + "/slack/events"
	} else {
		b.WriteString("# Socket Mode needs an app-level token besides, with the scope connections:write: Basic Information, App-Level Tokens.\n")
	}
	fmt.Fprintf(&b, `display_information:
  name: tocsin
  description: Pages until somebody has it
  background_color: '#7a1f1f'
features:
  app_home:
    home_tab_enabled: true
    messages_tab_enabled: true
    messages_tab_read_only_enabled: true
  bot_user:
    display_name: tocsin
    always_online: true
  slash_commands:
  - command: %s%s
    description: Incidents, from list to resolve
    usage_hint: 'help | list | ack [#n] | resolve #n | why #n | silence #n 2h why | who | page @user what'
    should_escape: true
oauth_config:
  scopes:
    bot:
`, command, commandURL)
	for _, s := range BotScopes() {
		fmt.Fprintf(&b, "    - %s\n", s)
	}
	fmt.Fprintf(&b, `settings:
  interactivity:
    is_enabled: true%s
  event_subscriptions:%s
    bot_events:
    - app_home_opened
  org_deploy_enabled: false
  socket_mode_enabled: %v
  token_rotation_enabled: false
`, interactivity, events, base == "")
	return b.String()
}

// ValidCommand reports whether Slack takes a slash command.
func ValidCommand(command string) bool { return commandForm.MatchString(command) }
