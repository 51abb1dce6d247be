package e2etest

import (
	"fmt"
	"testing"
	"time"
)

// route is a configuration with one webhook receiver.
func route(groupBy, wait, interval, repeat string) string {
	return fmt.Sprintf(`
route: {receiver: hook, group_by: [%s], group_wait: %s, group_interval: %s, repeat_interval: %s}
receivers: [{name: hook, webhook_configs: [{url: $HOOK/a}]}]
`, groupBy, wait, interval, repeat)
}

// twoHooks adds a second integration to the receiver.
func twoHooks(config, second string) string {
	return config[:len(config)-len("}]}]\n")] + "}, {url: $HOOK/b" + second + "}]}]\n"
}

// TestScenesOfSending: when what is posted is sent, what goes together, and what is said again.
func TestScenesOfSending(t *testing.T) {
	playAll(t, []scene{
		{name: "merge", config: route("alertname", "1s", "1s", "1ms"), play: func(s *script) { playMerge(s, 0) }},
		{name: "merge-with-ends", config: route("alertname", "1s", "1s", "1ms"), play: func(s *script) { playMerge(s, 3) }},
		{name: "repeat", config: route("alertname", "1s", "1s", "1ms"), play: func(s *script) {
			s.push(1, alert("alertname", "disk").from(1))
			s.want("a", 2, 2.5, alert("alertname", "disk").from(1))
			s.want("a", 3, 3.5, alert("alertname", "disk").from(1))
			s.push(3.5, alert("alertname", "disk").from(1, 3))
			s.want("a", 4, 4.5, alert("alertname", "disk").from(1, 3))
			s.until = 5.6
		}},
		{name: "repeat-rounds-up-to-the-grid", config: twoHooks(route("alertname", "1s", "2s", "3s"), ""), play: func(s *script) {
			s.push(1, alert("alertname", "disk"))
			for _, hook := range []string{"a", "b"} {
				s.want(hook, 2, 2.5, alert("alertname", "disk").from(1))
				s.want(hook, 6, 6.5, alert("alertname", "disk").from(1))
			}
		}},
		{name: "batch", config: route("", "1s", "1s", "4900ms"), play: playBatch},
		{name: "resolve-timeout", config: "global: {resolve_timeout: 5s}\n" + route("alertname", "1s", "3s", "1h"), play: func(s *script) {
			s.push(1, alert("alertname", "disk", "n", "1"), alert("alertname", "disk", "n", "2"))
			s.want("a", 2, 2.5, alert("alertname", "disk", "n", "1").from(1), alert("alertname", "disk", "n", "2").from(1))
			s.want("a", 8, 8.5, alert("alertname", "disk", "n", "1").from(1, 6), alert("alertname", "disk", "n", "2").from(1, 6))
		}},
		{name: "send-resolved-or-not", config: "global: {resolve_timeout: 10s}\n" + twoHooks(route("alertname", "1s", "5s", "1h"), ", send_resolved: false"), play: playSendResolved},
		{name: "start-delay", config: route("", "1s", "6s", "10m"), flags: []string{"--dispatch.start-delay", "5s"}, play: playStartDelay},
		{name: "reload", config: route("", "1s", "6s", "10m"), play: playReload},
		{name: "webhook-timeout", config: `
route: {receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1m, repeat_interval: 1m}
receivers: [{name: hook, webhook_configs: [{url: $HOOK/a, timeout: 500ms}]}]
`, play: func(s *script) {
			s.faults = func(_ string, at float64) fault {
				if at < 3 {
					return fault{wait: time.Second}
				}
				return fault{}
			}
			s.push(1, alert("alertname", "disk"))
			s.want("a", 3, 4.5, alert("alertname", "disk").from(1))
		}},
		{name: "old-alerts-do-not-wait", config: route("alertname", "3s", "1m", "1h"), play: func(s *script) {
			s.push(1, alert("alertname", "old").from(-100))
			s.push(1, alert("alertname", "new").from(1))
			s.want("a", 1, 1.5, alert("alertname", "old").from(-100))
			s.want("a", 4, 4.5, alert("alertname", "new").from(1))
		}},
		{name: "continue-and-deepest", config: `
route:
  receiver: top
  group_wait: 1s
  routes:
  - {matchers: [team=shop], receiver: a, continue: true}
  - matchers: [team=~"shop|pay"]
    receiver: b
    routes: [{matchers: [severity=page], receiver: c}]
receivers:
- {name: top, webhook_configs: [{url: $HOOK/top}]}
- {name: a, webhook_configs: [{url: $HOOK/a}]}
- {name: b, webhook_configs: [{url: $HOOK/b}]}
- {name: c, webhook_configs: [{url: $HOOK/c}]}
`, play: func(s *script) {
			shop, pay, none := alert("team", "shop", "severity", "page"), alert("team", "pay"), alert("team", "web")
			s.push(1, shop, pay, none)
			s.want("a", 2, 2.5, shop.from(1))
			s.want("b", 2, 2.5, pay.from(1))
			s.want("c", 2, 2.5, shop.from(1))
			s.want("top", 2, 2.5, none.from(1))
		}},
		{name: "group-by-all", config: route("'...'", "1s", "1m", "1h"), play: func(s *script) {
			s.push(1, alert("alertname", "disk", "n", "1"), alert("alertname", "disk", "n", "2"))
			s.want("a", 2, 2.5, alert("alertname", "disk", "n", "1").from(1))
			s.want("a", 2, 2.5, alert("alertname", "disk", "n", "2").from(1))
		}},
	})
}

// playMerge: the same alert from several who do not agree on when it began, what is said of it, and when it ended.
func playMerge(s *script, lasts float64) {
	active := func(p posted, from float64) posted {
		if lasts == 0 {
			return p.from(from)
		}
		return p.from(from, from+lasts)
	}
	disk := alert("alertname", "disk")
	s.push(1, active(disk, 1.1))
	s.push(1.2, disk.from(1))
	s.want("a", 2, 2.5, disk.from(1))
	s.push(2.1, active(disk.annotated("note", "one"), 2))
	s.want("a", 3, 3.5, disk.annotated("note", "one").from(1))
	s.push(3.5, active(disk.annotated("note", "two"), 1.5))
	s.want("a", 4, 4.5, disk.annotated("note", "two").from(1))
	s.push(4.5, disk.annotated("note", "two").from(3, 4.4))
	s.push(4.75, disk.annotated("note", "three").from(2.9, 4.75))
	s.push(4.76, disk.annotated("note", "three").from(2.9, 4.1))
	s.want("a", 5, 5.5, disk.annotated("note", "three").from(1, 4.75))
	s.push(5.3, active(disk, 5.2))
	s.want("a", 6, 6.5, disk.from(5.2))
}

func playBatch(s *script) {
	two := []posted{alert("alertname", "one").from(1), alert("alertname", "five").from(1)}
	all := append(two[:2:2], alert("alertname", "two").from(1.5), alert("alertname", "three").from(1.5), alert("alertname", "four").from(1.6))
	s.push(1.1, two[0])
	s.push(1.6, two[1])
	s.want("a", 2, 2.5, two...)
	s.push(3.4, all[2:]...)
	s.want("a", 4, 4.5, all...)
	s.want("a", 9, 9.5, all...)
}

func playSendResolved(s *script) {
	one, two, three := alert("n", "1"), alert("n", "2"), alert("n", "3")
	s.push(1, one, two)
	s.push(3, one.from(1, 4), three)
	s.push(8, three.from(3))
	s.want("a", 2, 2.5, one.from(1), two.from(1))
	s.want("a", 7, 7.5, one.from(1, 4), two.from(1), three.from(3))
	s.want("a", 12, 12.5, two.from(1, 11), three.from(3))
	s.want("b", 2, 2.5, one.from(1), two.from(1))
	s.want("b", 7, 7.5, two.from(1), three.from(3))
}

// playStartDelay: nothing is sent before the delay has passed, and group_interval counts from then.
func playStartDelay(s *script) {
	s.push(1, alert("alertname", "one").from(-100))
	s.push(2, alert("alertname", "two"))
	s.want("a", 4, 5.5, alert("alertname", "one").from(-100), alert("alertname", "two").from(2))
	s.reload(6)
	s.push(6.5, alert("alertname", "three").from(-100))
	s.push(7, alert("alertname", "four"))
	from, to := 10.0, 11.5 // a reload keeps the group's timer
	if s.program != "tocsin" {
		from, to = 12, 12.5 // and starts it anew there
	}
	s.want("a", from, to, alert("alertname", "one").from(-100), alert("alertname", "two").from(2),
		alert("alertname", "three").from(-100), alert("alertname", "four").from(7))
}

// playReload: a reload says nothing again, and keeps the group's timer.
func playReload(s *script) {
	s.push(1, alert("alertname", "one"))
	s.want("a", 2, 2.5, alert("alertname", "one").from(1))
	s.reload(3)
	s.push(4, alert("alertname", "two"))
	from := 8.0
	if s.program != "tocsin" {
		from = 9 // a reload starts timers anew there
	}
	s.want("a", from, from+0.5, alert("alertname", "one").from(1), alert("alertname", "two").from(4))
}
