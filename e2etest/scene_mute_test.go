package e2etest

import (
	"net/http"
	"testing"
)

const inhibitJobDown = `
inhibit_rules:
- source_match: {alertname: JobDown}
  target_match: {alertname: InstanceDown}
  equal: [job, zone]
`

// TestScenesOfMuting: silences, inhibition and time intervals.
func TestScenesOfMuting(t *testing.T) {
	playAll(t, []scene{
		{name: "silence", config: route("", "1s", "1s", "1ms"), play: func(s *script) {
			one, two := alert("alertname", "one").from(1), alert("alertname", "two").from(1)
			s.push(1, one, two)
			s.want("a", 2, 2.5, one, two)
			s.silence(2.4, "one", 2.5, 4.5, equals("alertname", "one"))
			s.want("a", 3, 3.5, two)
			s.want("a", 4, 4.5, two)
			s.want("a", 5, 5.5, one, two)
		}},
		{name: "silence-deleted", config: route("", "1s", "1s", "1ms"), play: func(s *script) {
			one, two := alert("alertname", "one").from(1), alert("alertname", "two").from(1)
			s.push(1, one, two)
			s.silence(1.3, "all", 1.5, 100, like("alertname", ".+"))
			s.expire(3.5, "all")
			s.want("a", 4, 4.5, one, two)
		}},
		{name: "silence-before-its-alert", config: route("", "500ms", "1s", "1h"), play: func(s *script) {
			s.silence(0.2, "planned", 1, 3.2, equals("zone", "a"))
			s.push(1.5, alert("alertname", "one", "zone", "a").from(1.5), alert("alertname", "one", "zone", "b").from(1.5))
			s.want("a", 2, 2.5, alert("alertname", "one", "zone", "b").from(1.5))
			s.want("a", 4, 4.5, alert("alertname", "one", "zone", "a").from(1.5), alert("alertname", "one", "zone", "b").from(1.5))
		}},
		{name: "inhibit", config: route("", "1s", "1s", "1s") + inhibitJobDown, play: playInhibit},
		{name: "inhibit-and-resolve-together", config: route("", "1s", "1s", "1s") + inhibitJobDown, play: func(s *script) {
			instance, job := alert("alertname", "InstanceDown", "job", "j", "zone", "a"), alert("alertname", "JobDown", "job", "j", "zone", "a")
			s.push(1, job, instance)
			s.push(2.6, job.from(1, 2.6), instance.from(1, 2.6))
			s.want("a", 2, 2.5, job.from(1))
			s.want("a", 3, 3.5, instance.from(1, 2.6), job.from(1, 2.6))
		}},
		{name: "inhibit-rule-without-content", config: route("", "1s", "1s", "1h") + "inhibit_rules:\n-\n", play: func(s *script) {
			s.until = 1 // it starts
		}},
		{name: "time-interval", config: `
route:
  receiver: a
  group_wait: 1s
  group_interval: 1s
  routes:
  - {matchers: [team=night], receiver: a, mute_time_intervals: [always]}
  - {matchers: [team=day], receiver: b, active_time_intervals: [always]}
  - {matchers: [team=never], receiver: a, active_time_intervals: [past]}
receivers:
- {name: a, webhook_configs: [{url: $HOOK/a}]}
- {name: b, webhook_configs: [{url: $HOOK/b}]}
time_intervals:
- name: always
  time_intervals: [{weekdays: ['sunday:saturday']}]
- name: past
  time_intervals: [{years: ['2000']}]
`, play: func(s *script) {
			s.push(1, alert("team", "night"), alert("team", "day"), alert("team", "never"), alert("team", "else"))
			s.want("a", 2, 2.5, alert("team", "else").from(1))
			s.want("b", 2, 2.5, alert("team", "day").from(1))
			s.until = 4
		}},
	})
}

func playInhibit(s *script) {
	other, a := alert("alertname", "other", "job", "j", "zone", "a"), alert("alertname", "InstanceDown", "job", "j", "zone", "a")
	b, job := alert("alertname", "InstanceDown", "job", "j", "zone", "b"), alert("alertname", "JobDown", "job", "j", "zone", "a")
	s.push(1, other, a, b)
	s.want("a", 2, 2.5, other.from(1), a.from(1), b.from(1))
	s.push(2.3, job.from(2.3))
	s.want("a", 3, 3.5, other.from(1), b.from(1), job.from(2.3))
	s.push(3.6, job.from(2.3, 3.6))
	s.want("a", 4, 4.5, other.from(1), a.from(1), b.from(1), job.from(2.3, 3.6))
}

// TestWebPrefix: everything moves below --web.route-prefix, and nothing else answers.
func TestWebPrefix(t *testing.T) {
	for _, p := range programs(t) {
		t.Run(p.name, func(t *testing.T) {
			h := newHooks(t)
			d := prefixed(t, p, "/foo", h.config(route("", "1s", "1s", "1h")))
			if code, _ := d.call(http.MethodGet, "/api/v2/status", nil); code != http.StatusOK {
				t.Errorf("status below the prefix: HTTP %d", code)
			}
			d.base = ""
			if code, _ := d.call(http.MethodGet, "/api/v2/status", nil); code != http.StatusNotFound {
				t.Errorf("status without the prefix: HTTP %d", code)
			}
		})
	}
}
