package e2etest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What Alertmanager is known to forget or to fail at. Nothing here is played against it.

// TestKilledAtAnyMoment: what was taken, silenced or sent is known after SIGKILL.
func TestKilledAtAnyMoment(t *testing.T) {
	disk := alert("alertname", "disk")
	kill := func(r *run) { r.d.kill(); r.d.start() }
	scenes := []scene{
		{name: "after-an-alert", config: route("alertname", "2s", "1m", "1h"), play: func(s *script) {
			s.push(0.5, disk.from(0.5))
			s.do(0.6, kill)
			s.want("a", 2.5, 4, disk.from(0.5))
		}},
		{name: "after-a-notification", config: route("alertname", "500ms", "2s", "1h"), play: func(s *script) {
			s.push(0.5, disk.from(0.5))
			s.want("a", 1, 1.5, disk.from(0.5))
			s.do(2, kill)
			s.push(3.5, disk.from(0.5)) // as Prometheus does again and again
			s.until = 6
		}},
		{name: "between-a-notification-and-its-end", config: route("alertname", "500ms", "2s", "1h"), play: func(s *script) {
			s.push(0.5, disk.from(0.5))
			s.want("a", 1, 1.5, disk.from(0.5))
			s.do(1.8, kill)
			s.push(3.2, disk.from(0.5, 3.2))
			s.want("a", 5, 6.5, disk.from(0.5, 3.2))
		}},
		{name: "while-it-ends", config: route("alertname", "500ms", "2s", "1h"), play: func(s *script) {
			s.push(0.5, disk.from(0.5, 3))
			s.want("a", 1, 1.5, disk.from(0.5))
			s.do(2, func(r *run) { r.d.kill() })
			s.do(4.2, func(r *run) { r.d.start() })
			s.want("a", 4.2, 9.5, disk.from(0.5, somewhen)) // the alert is given the time for which nobody could post it again
		}},
		{name: "after-a-silence", config: route("alertname", "1s", "1s", "1h"), play: func(s *script) {
			s.silence(0.2, "disk", 0.2, 100, equals("alertname", "disk"))
			s.do(0.5, kill)
			s.push(2, disk.from(2), alert("alertname", "cpu").from(2))
			s.want("a", 3, 3.5, alert("alertname", "cpu").from(2))
			s.until = 5
		}},
		{name: "after-the-end-of-a-silence", config: route("alertname", "500ms", "1s", "1h"), play: func(s *script) {
			s.silence(0.2, "disk", 0.2, 100, equals("alertname", "disk"))
			s.push(0.5, disk.from(0.5))
			s.expire(2.2, "disk")
			s.do(2.25, kill)
			s.want("a", 2.25, 4, disk.from(0.5))
		}},
	}
	playOurs(t, scenes)
}

// playOurs plays scenes against tocsin alone.
func playOurs(t *testing.T, scenes []scene) { play(t, []program{ours()}, scenes) }

// TestResolvedWhileSilenced: who was told that an alert fires is told that it is over, also when it ended
// while it was muted.
func TestResolvedWhileSilenced(t *testing.T) {
	disk, cpu := alert("alertname", "disk"), alert("alertname", "cpu")
	playOurs(t, []scene{
		{name: "silenced", config: route("alertname", "500ms", "1s", "1h"), play: func(s *script) {
			s.push(0.5, disk.from(0.5), cpu.from(0.5))
			s.want("a", 1, 1.5, disk.from(0.5))
			s.want("a", 1, 1.5, cpu.from(0.5))
			s.silence(1.6, "disk", 1.6, 100, equals("alertname", "disk"))
			s.push(2.3, disk.from(0.5, 2.3))
			s.want("a", 3, 3.5, disk.from(0.5, 2.3))
			s.expire(4.3, "disk")
			s.until = 6
		}},
		{name: "inhibited", config: route("alertname", "500ms", "1s", "1h") + "inhibit_rules: [{source_matchers: [alertname=cpu], target_matchers: [alertname=disk]}]\n", play: func(s *script) {
			s.push(0.5, disk.from(-10))
			s.push(6, cpu.from(6)) // after the time for which alerts that may be inhibited are held back at a start
			s.want("a", 5, 6.5, disk.from(-10))
			s.want("a", 6.5, 7, cpu.from(6))
			s.push(7.2, disk.from(-10, 7.2))
			s.want("a", 7.3, 9, disk.from(-10, 7.2))
			s.until = 9
		}},
	})
}

// TestTargetBeforeItsSource: at a start Prometheus' groups come one after the other; what inhibits an alert may
// come after it.
func TestTargetBeforeItsSource(t *testing.T) {
	target, source, free := alert("alertname", "InstanceDown", "job", "j", "zone", "a"), alert("alertname", "JobDown", "job", "j", "zone", "a"), alert("alertname", "other")
	playOurs(t, []scene{{name: "half-a-second", config: route("alertname", "1s", "1s", "1h") + inhibitJobDown, play: func(s *script) {
		s.push(0.2, target.from(-600), free.from(-600))
		s.push(0.7, source.from(-600))
		s.want("a", 0.2, 0.7, free.from(-600)) // nothing inhibits it: it does not wait
		s.want("a", 0.7, 1.2, source.from(-600))
		s.until = 8
	}}})
}

// TestReceiversDoNotWaitForEachOther: one that is dead, one that is busy, and one that is well.
func TestReceiversDoNotWaitForEachOther(t *testing.T) {
	const config = `
route: {receiver: all, group_by: [alertname], group_wait: 500ms, group_interval: 1s, repeat_interval: 1h}
receivers:
- name: all
  webhook_configs: [{url: $HOOK/dead}, {url: $HOOK/busy}, {url: $HOOK/well}]
`
	playOurs(t, []scene{{name: "webhooks", config: config, play: func(s *script) {
		busy := 0.0
		s.faults = func(hook string, at float64) fault {
			switch {
			case hook == "dead":
				return fault{wait: time.Hour}
			case hook == "busy" && busy == 0:
				busy = at
				return fault{status: http.StatusTooManyRequests, after: 2 * time.Second}
			}
			return fault{}
		}
		disk, cpu := alert("alertname", "disk"), alert("alertname", "cpu")
		s.push(0.5, disk.from(0.5))
		s.want("well", 1, 1.5, disk.from(0.5))
		s.want("busy", 3, 3.8, disk.from(0.5)) // as told: 2 s later, and before that never
		s.push(4.2, cpu.from(4.2))
		s.want("well", 4.7, 5.2, cpu.from(4.2))
		s.want("busy", 4.7, 5.2, cpu.from(4.2))
		s.push(5.4, disk.from(0.5, 5.4))
		s.want("well", 6, 6.5, disk.from(0.5, 5.4))
		s.want("busy", 6, 6.5, disk.from(0.5, 5.4))
	}}})
}

// TestReloadSaysNothingTwice: whatever else changes in the configuration, what a receiver was told is known.
func TestReloadSaysNothingTwice(t *testing.T) {
	h := newHooks(t)
	d := newDaemon(t, ours(), h.config(route("alertname", "0s", "1s", "1h")))
	d.post(map[string]string{"alertname": "disk"})
	if !until(patience, func() bool { return len(h.all("a")) == 1 }) {
		t.Fatal("no notification")
	}
	d.configure(h.config(`
route:
  receiver: hook
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
  routes: [{receiver: another, matchers: [team=web]}]
receivers:
- {name: another, webhook_configs: [{url: $HOOK/b}]}
- {name: hook, webhook_configs: [{url: $HOOK/a}]}
inhibit_rules: [{source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [alertname]}]
`))
	d.reload()
	d.post(map[string]string{"alertname": "disk"}, map[string]string{"alertname": "cpu"})
	if !until(patience, func() bool { return len(h.all("a")) == 2 }) {
		t.Fatal("no notification of the second group")
	}
	<-time.After(2500 * time.Millisecond) // two flushes of the first group
	if all := h.all("a"); len(all) != 2 || all[1].Alerts[0].Labels["alertname"] != "cpu" {
		t.Errorf("notified again: %d notifications, the second is %s", len(all), all[1].body)
	}
}

// TestFiveThousandAlertsInSlack: Slack refuses long messages; a user's template that lists every alert must
// not keep the message from going out.
func TestFiveThousandAlertsInSlack(t *testing.T) {
	const config = `
route: {receiver: slack, group_by: [], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers:
- name: slack
  slack_configs:
  - api_url: $HOOK/slack
    channel: '#alerts'
    title: '{{ .Alerts | len }} alerts'
    text: '{{ range .Alerts }}{{ .Annotations.summary }} on {{ .Labels.instance }}{{ "\n" }}{{ end }}'
    fields: [{title: more, value: '{{ range .Alerts }}{{ .Labels.instance }} {{ end }}'}]
`
	h := newHooks(t)
	h.failWith(func(_ string, _ int, body []byte) fault {
		if len(body) > 100_000 { // Slack: msg_too_long, invalid_attachments
			return fault{status: http.StatusBadRequest}
		}
		return fault{}
	})
	d := newDaemon(t, ours(), h.config(config))
	var body []map[string]any
	for i := range 5000 {
		body = append(body, map[string]any{
			"labels":      map[string]string{"alertname": "disk", "instance": fmt.Sprintf("host-%d.shop.example:9100", i)},
			"annotations": map[string]string{"summary": "The disk is full, and has been for quite a while"},
		})
	}
	if code, b := d.call(http.MethodPost, "/api/v2/alerts", body); code != http.StatusOK {
		t.Fatalf("HTTP %d %s", code, b)
	}
	if !until(patience, func() bool { return len(h.all("slack")) > 0 }) {
		t.Fatalf("Slack has no message; %d were refused", h.requests("slack"))
	}
	var message struct {
		Attachments []struct{ Title, Text string }
	}
	if err := json.Unmarshal(h.all("slack")[0].body, &message); err != nil || len(message.Attachments) != 1 {
		t.Fatalf("%v: %s", err, h.all("slack")[0].body)
	}
	if m := message.Attachments[0]; m.Title != "5000 alerts" || !strings.Contains(m.Text, "host-") {
		t.Errorf("title %q, text of %d bytes", m.Title, len(m.Text))
	}
}
