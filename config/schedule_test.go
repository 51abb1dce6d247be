package config

import (
	"strings"
	"testing"
)

// scheduled is a configuration with a schedule that pages nobody but is announced.
const scheduled = `
prometheus: {url: http://127.0.0.1:9090/}
rule_files: [r.yml]
slack: {bot_token_file: bot, signing_secret_file: bare}
users: [{name: ana, slack: U02ANA}, {name: bo, contacts: [{receiver: p}]}, {name: cy}]
schedules:
- name: primary
  time_zone: Europe/Madrid
  notify: {slack: '#team'}
  layers: [{users: [ana, bo], start: 2026-01-05, handoff: "0 9 * * MON", shadow: bo}]
escalations: [{name: default, tiers: [{receiver: p}]}]
receivers: [{name: p, page_configs: [{url: https://p.example/x, secret_env: PAGE}]}]
`

func TestSchedules(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{"  notify: {slack: '#team'}\n", "", `warning: the schedule "primary" pages nobody: no tier names it`},
		{"{slack: '#team'}", "{people: true}", ""},
		{"{slack: '#team'}", "{slack: '#team', people: false}", ""},
		{"{slack: '#team'}", "{slack: '#team', before: 90m}", ""},
		{"{slack: '#team'}", "{people: false}", "9:20: notify tells nobody"},
		{"{slack: '#team'}", "{before: 90m}", "notify names nowhere to announce handoffs"},
		{"{slack: '#team'}", "{people: true, before: 8d}", "9:34: before must be from 0, which is not at all, to 7d"},
		{"{slack: '#team'}", "{slack: '#team', people: false, before: 8h}", "before is when people are told of their shift"},
		{"slack: {bot_token_file: bot, signing_secret_file: bare}\nusers: [{name: ana, slack: U02ANA}, {name: bo, contacts: [{receiver: p}]}, {name: cy}]\nschedules:\n- name: primary\n  time_zone: Europe/Madrid\n  notify: {slack: '#team'}",
			"users: [{name: ana, contacts: [{receiver: p}]}, {name: bo, contacts: [{receiver: p}]}, {name: cy}]\nschedules:\n- name: primary\n  time_zone: Europe/Madrid\n  notify: {people: true}",
			`notify of the schedule "primary" tells people by Slack, and there is no section slack`},
		{"slack: {bot_token_file: bot, signing_secret_file: bare}\n", "", `8:19: there is no section slack to reach "#team" with`},
		{"[ana, bo]", "[ana, boo]", `10:26: unknown user "boo"`},
		{"shadow: bo", "shadow: dee", `unknown user "dee"`},
		{"[ana, bo]", "[ana, cy]", `10:26: user "cy" cannot be reached`},
		{"- name: primary", "- name: primary\n  layers: [{users: [ana]}]\n  time_zone: UTC\n- name: primary", `schedule "primary" is defined twice`},
	} {
		f := smallFiles()
		f["bot"] = "xoxb-1"
		f["tocsin.conf"] = strings.Replace(scheduled, c.old, c.new, 1)
		plan, problems := load("tocsin.conf", f.source())
		got := printed(t, problems)
		switch {
		case c.want == "" && got != "", !strings.Contains(oneLine(got), c.want):
			t.Errorf("%s\n got %s\nwant %s", c.new, got, c.want)
		case (plan == nil) != (len(problems.Errors()) > 0):
			t.Error("a plan goes with the absence of errors")
		case plan != nil && (len(plan.Policy.Schedules) != 1 || !strings.Contains(plan.Counts().String(), "1 escalation, 1 schedule, 3 users")):
			t.Errorf("%s: %v", plan.Counts(), plan.Policy.Schedules)
		}
	}
}

// oneLine joins a message to its hint.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
