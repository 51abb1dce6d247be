package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tocsin/problem"
)

const escalating = `
prometheus: {url: http://127.0.0.1:9090}
rule_files: [rules.yml]
slack: {bot_token_file: t, signing_secret_file: t}
time_intervals:
- name: business-hours
  time_intervals: [{weekdays: ['monday:friday'], times: [{start_time: '09:00', end_time: '18:00'}], location: Europe/Madrid}]
users:
- {name: ana, slack: U02ANA, time_zone: Europe/Madrid, daytime: {times: [{start_time: '08:00', end_time: '20:00'}], weekdays: ['monday:friday']}}
- {name: bo, slack: U03BO}
schedules:
- {name: primary, time_zone: Europe/Madrid, layers: [{users: [ana, bo], start: 2026-01-05, handoff: "0 9 * * MON"}]}
escalations:
- name: default
  reopen_within: 10m
  urgency: {low: {severity: warning}}
  low_deadline: 12h
  not_during: [business-hours]
  tiers:
  - slack: '#alerts'
    schedule: primary
    when: {severity: critical, team: shop}
  - after: 5m
    schedule: [primary]
    user: [ana, bo]
    round_robin: true
    when: ['severity=~"critical|page"', team!="x"]
    during: business-hours
`

// TestEscalations decodes all that an escalation can say.
func TestEscalations(t *testing.T) {
	text := strings.Replace(escalating, "\n", "", 1)
	files := map[string]string{"tocsin.yml": text, "rules.yml": "groups: []\n", "t": "x"}
	read := func(name string) ([]byte, error) { return []byte(files[strings.TrimPrefix(name, "./")]), nil }
	plan, problems := load("tocsin.yml", source{read: read, getenv: func(string) string { return "" },
		glob: func(pattern string) ([]string, error) { return []string{pattern}, nil }})
	if len(problems.Errors()) > 0 {
		t.Fatal(printed(t, problem.List(problems)))
	}
	e := plan.Policy.Escalations["default"]
	got := []string{
		fmt.Sprintf("reopened within %s; low when %s, until %s; told %s", e.ReopenWithin, e.Urgency.LowWhen, e.Urgency.Deadline, e.Condition),
	}
	for _, tier := range e.Tiers {
		got = append(got, fmt.Sprintf("%s: %v, round robin: %v, %s", tier.After, tier.Targets, tier.RoundRobin, tier.Condition))
	}
	want := []string{
		`reopened within 10m0s; low when {severity="warning"}, until 12h0m0s; told not during business-hours`,
		`0s: [slack #alerts schedule primary], round robin: false, severity="critical", team="shop"`,
		`5m0s: [schedule primary user ana user bo], round robin: true, severity=~"critical|page", team!="x", during business-hours`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ana := plan.Policy.Users["ana"]; len(ana.Daytime) != 1 || ana.Location.String() != "Europe/Madrid" {
		t.Errorf("ana: %+v", ana)
	}
}
