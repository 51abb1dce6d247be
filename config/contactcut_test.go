package config

import (
	"strings"
	"testing"
)

// rounds is a configuration in which every contact rule runs in every round.
const rounds = `
prometheus: {url: http://127.0.0.1:9090/}
rule_files: [r.yml]
users:
- name: ana
  contacts:
  - receiver: p
  - {after: 3m, receiver: q}
schedules: [{name: primary, time_zone: UTC, layers: [{users: [ana], start: 2026-01-05}]}]
escalations:
- {name: default, tiers: [{receiver: p}, {after: 2m, schedule: primary}], repeat: {every: 5m, times: 2}}
receivers:
- {name: p, page_configs: [{url: https://p.example/x, secret_env: PAGE}]}
- {name: q, page_configs: [{url: https://p.example/q, secret_env: PAGE}]}
`

// TestCutContactsAreWarnedOf: at the place that says when, with what would make it run.
func TestCutContactsAreWarnedOf(t *testing.T) {
	const late = `tocsin.conf:8:13: warning: user "ana" is told by receiver q only 16m after the trigger, in the last round of escalation "default": ` +
		`it is due 4m after the second tier tells them, and each round starts over 3m after that tier did, unless the contacts before it fail`
	for _, c := range []struct{ name, old, new, want string }{
		{"in time", "", "", ""},
		{"just late", "after: 3m", "after: 4m", late + ` - {after: 4m, receiver: q} ^ after: 3m or less here, or every: 6m or more in the repeat of "default"`},
		{"hours", "after: 3m, receiver: q}", "after: 3h, receiver: q}", "only 3h12m after the trigger"},
		{"an earlier tier", "- {name: default, tiers: [{receiver: p}", "- {name: default, tiers: [{user: ana}", ""},
		{"only a shadow", "users: [ana], start", "users: [bo], shadow: [ana], start", ""},
		{"no rounds", ", repeat: {every: 5m, times: 2}", "", ""},
		{"several", "- {name: default,", "- {name: other, tiers: [{user: ana}], repeat: {every: 2m, times: 1}}\n- {name: default,", "1 other escalation"},
	} {
		f := smallFiles()
		text := strings.Replace(rounds, c.old, c.new, 1)
		if c.name == "only a shadow" {
			text = strings.Replace(strings.Replace(text, "schedules:", "- {name: bo, contacts: [{receiver: p}]}\nschedules:", 1), "after: 3m", "after: 9m", 1)
		}
		if c.name == "several" {
			text = strings.Replace(text, "after: 3m", "after: 4m", 1)
		}
		f["tocsin.conf"] = text
		plan, problems := load("tocsin.conf", f.source())
		got := oneLine(printed(t, problems))
		if plan == nil || (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
