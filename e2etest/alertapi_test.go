package e2etest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// stateOf is what the alert API says of an alert.
type stateOf struct {
	Labels      map[string]string
	Fingerprint string
	Status      struct {
		State                            string
		SilencedBy, InhibitedBy, MutedBy []string
	}
}

func (s stateOf) String() string {
	return fmt.Sprintf("%s is %s by %d silences, %d alerts", strings.TrimSpace(text(s.Labels)), s.Status.State, len(s.Status.SilencedBy), len(s.Status.InhibitedBy))
}

// everyProgram runs a test against tocsin and, where there is one, Alertmanager.
func everyProgram(t *testing.T, config string, flags []string, f func(t *testing.T, d *daemon)) {
	for _, p := range programs(t) {
		t.Run(p.name, func(t *testing.T) {
			f(t, newDaemon(t, p, newHooks(t).config(config), flags...))
		})
	}
}

// post posts alerts with these label sets, which fire for five minutes.
func (d *daemon) post(sets ...map[string]string) (int, string) {
	var body []map[string]any
	for _, ls := range sets {
		body = append(body, map[string]any{"labels": ls, "startsAt": time.Now(), "endsAt": time.Now().Add(5 * time.Minute)})
	}
	code, b := d.call(http.MethodPost, "/api/v2/alerts", body)
	return code, string(b)
}

// setSilence sets one for an hour and returns its ID.
func (d *daemon) setSilence(ms ...matcher) string {
	d.t.Helper()
	var out struct{ SilenceID string }
	code, b := d.call(http.MethodPost, "/api/v2/silences", silenceFor(time.Hour, ms...))
	if code != http.StatusOK {
		d.t.Fatalf("silence: HTTP %d %s", code, b)
	}
	decode(d.t, b, &out)
	return out.SilenceID
}

func silenceFor(d time.Duration, ms ...matcher) map[string]any {
	return map[string]any{"matchers": ms, "startsAt": time.Now(), "endsAt": time.Now().Add(d), "createdBy": "ana", "comment": "for a test"}
}

// alerts lists them as the API does, by the value of a label.
func (d *daemon) alerts(query string) []stateOf {
	d.t.Helper()
	var list []stateOf
	if code := d.status(http.MethodGet, "/api/v2/alerts"+query, nil, &list); code != http.StatusOK {
		d.t.Errorf("alerts%s: HTTP %d", query, code)
	}
	slices.SortFunc(list, func(a, b stateOf) int { return strings.Compare(text(a.Labels), text(b.Labels)) })
	return list
}

const inhibitConfig = `
route: {receiver: hook, group_wait: 1s, group_interval: 10m, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: $HOOK/a}]}]
inhibit_rules:
- source_match: {severity: critical}
  target_match: {severity: warning}
  equal: [alertname]
`

// TestAlertsShowTheirStateAtOnce: a silence or an inhibiting alert shows in the API as soon as it is taken, not
// at the next flush.
func TestAlertsShowTheirStateAtOnce(t *testing.T) {
	everyProgram(t, inhibitConfig, nil, func(t *testing.T, d *daemon) {
		states := func(want ...string) {
			t.Helper()
			// What is posted may take a moment to be seen; it may not take a group's interval.
			var got string
			if !until(3*time.Second, func() bool { got = fmt.Sprint(d.alerts("")); return got == fmt.Sprint(want) }) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		if code, b := d.post(map[string]string{"alertname": "disk", "severity": "warning"}); code != http.StatusOK {
			t.Fatalf("HTTP %d %s", code, b)
		}
		states("alertname=disk severity=warning is active by 0 silences, 0 alerts")
		id := d.setSilence(equals("alertname", "disk"))
		states("alertname=disk severity=warning is suppressed by 1 silences, 0 alerts")
		if list := d.alerts(""); len(list) != 1 || !slices.Equal(list[0].Status.SilencedBy, []string{id}) {
			t.Errorf("silenced by something else than %s: %+v", id, list)
		}
		d.post(map[string]string{"alertname": "disk", "severity": "critical"})
		states("alertname=disk severity=critical is suppressed by 1 silences, 0 alerts", "alertname=disk severity=warning is suppressed by 1 silences, 1 alerts")
		if list := d.alerts(""); len(list) == 2 && !slices.Equal(list[1].Status.InhibitedBy, []string{list[0].Fingerprint}) {
			t.Errorf("inhibited by something else than %s: %+v", list[0].Fingerprint, list)
		}
		if code, b := d.call(http.MethodDelete, "/api/v2/silence/"+id, nil); code != http.StatusOK {
			t.Errorf("expire: HTTP %d %s", code, b)
		}
		states("alertname=disk severity=critical is active by 0 silences, 0 alerts", "alertname=disk severity=warning is suppressed by 0 silences, 1 alerts")
	})
}

// TestAlertsAreFiltered: by matchers, by what mutes them, by receiver.
func TestAlertsAreFiltered(t *testing.T) {
	everyProgram(t, inhibitConfig, nil, func(t *testing.T, d *daemon) {
		d.post(map[string]string{"alertname": "disk", "severity": "warning"}, map[string]string{"system": "foo", "severity": "critical"})
		d.setSilence(equals("system", "foo"))
		if !until(3*time.Second, func() bool { return len(d.alerts("?silenced=false")) == 1 }) {
			t.Fatalf("%v", d.alerts(""))
		}
		for query, want := range map[string]int{
			"": 2, "?filter=alertname%3Ddisk&filter=severity%3Dwarning": 1, "?filter=severity%3D~%22warn.*%7Ccritical%22": 2,
			"?filter=severity!%3Dwarning": 1, "?active=false": 1, "?active=false&silenced=false": 0, "?receiver=hook": 2, "?receiver=ho": 0, "?receiver=ho.*": 2,
		} {
			if got := d.alerts(query); len(got) != want {
				t.Errorf("%s: %v, want %d", query, got, want)
			}
		}
		for _, path := range []string{"/api/v2/alerts?filter=x", "/api/v2/alerts?receiver=(", "/api/v2/silences?filter=x", "/api/v2/silence/nonsense", "/api/v2/alerts/groups?filter=%7B"} {
			if code, b := d.call(http.MethodGet, path, nil); code/100 != 4 || len(b) == 0 {
				t.Errorf("%s: HTTP %d %s", path, code, b)
			}
		}
	})
}

var odd = map[string]string{"a": "a", "00": "b", "Σ": "c", "\U0001F642": "dΘ"}

// TestNamesInUTF8: labels and matchers of any characters.
func TestNamesInUTF8(t *testing.T) {
	everyProgram(t, route("", "1s", "10m", "1h"), nil, func(t *testing.T, d *daemon) {
		if code, b := d.post(odd); code != http.StatusOK {
			t.Fatalf("HTTP %d %s", code, b)
		}
		filter := "?" + url.Values{"filter": {"00=b", "Σ=c", `"\xf0\x9f\x99\x82"=dΘ`}}.Encode()
		until(3*time.Second, func() bool { return len(d.alerts("")) == 1 })
		if list := d.alerts(filter); len(list) != 1 || text(list[0].Labels) != text(odd) {
			t.Errorf("alerts: %v", list)
		}
		var groups []struct{ Alerts []stateOf }
		if d.status(http.MethodGet, "/api/v2/alerts/groups"+filter, nil, &groups); len(groups) != 1 || len(groups[0].Alerts) != 1 || text(groups[0].Alerts[0].Labels) != text(odd) {
			t.Errorf("groups: %v", groups)
		}
		id := d.setSilence(equals("fooΣ", "bar\U0001F642"))
		var silences []struct {
			ID       string
			Matchers []matcher
		}
		d.status(http.MethodGet, "/api/v2/silences?"+url.Values{"filter": {"fooΣ=bar\U0001F642"}}.Encode(), nil, &silences)
		if len(silences) != 1 || silences[0].ID != id || !slices.Equal(silences[0].Matchers, []matcher{equals("fooΣ", "bar\U0001F642")}) {
			t.Errorf("silences: %v", silences)
		}
	})
}

// TestClassicMode: with --enable-feature classic-mode, names are Prometheus' old ones, and nothing else is taken.
func TestClassicMode(t *testing.T) {
	everyProgram(t, route("", "1s", "10m", "1h"), []string{"--enable-feature", "classic-mode"}, func(t *testing.T, d *daemon) {
		if code, b := d.post(odd); code != http.StatusBadRequest || !strings.Contains(b, "invalid name") {
			t.Errorf("names in UTF-8: HTTP %d %s", code, b)
		}
		if code, b := d.post(map[string]string{"a": "b", "b": "Σ", "c": "\U0001F642", "d": "eΘ"}); code != http.StatusOK {
			t.Errorf("values in UTF-8: HTTP %d %s", code, b)
		}
		code, b := d.call(http.MethodPost, "/api/v2/silences", silenceFor(time.Hour, equals("fooΣ", "bar")))
		if code != http.StatusBadRequest || !strings.Contains(string(b), "invalid label matcher") {
			t.Errorf("a silence in UTF-8: HTTP %d %s", code, b)
		}
		if id := d.setSilence(equals("foo", "bar\U0001F642")); id == "" {
			t.Error("a silence has no ID")
		}
	})
}

// TestRouteInUTF8: a route's matcher and grouping by such a name.
func TestRouteInUTF8(t *testing.T) {
	const config = `
route:
  receiver: default
  routes:
  - {receiver: hook, matchers: ["foo🙂=bar"], group_by: ["foo🙂"], group_wait: 1s}
receivers:
- name: default
- {name: hook, webhook_configs: [{url: $HOOK/a}]}
`
	for _, flags := range [][]string{nil, {"--enable-feature", "utf8-strict-mode"}} {
		t.Run(strings.Join(flags, "="), func(t *testing.T) {
			playAll(t, []scene{{name: "utf8-route", config: config, flags: flags, play: func(s *script) {
				s.push(1, alert("foo🙂", "bar").from(1))
				s.want("a", 2, 2.5, alert("foo🙂", "bar").from(1))
			}}})
		})
	}
}
