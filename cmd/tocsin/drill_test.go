package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A drill tells all contacts of a user, says what each did, and is shown where its user is on call.
func TestDrillCommand(t *testing.T) {
	noLeaks(t)
	base, _ := backend(t)
	links := make(chan string, 10)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if _, after, ok := strings.Cut(string(b), `/hooks/ack/`); ok && strings.Contains(string(b), `"incident.triggered"`) {
			link, _, _ := strings.Cut(after, `"`)
			links <- link
		}
	}))
	t.Cleanup(far.Close)
	dir := t.TempDir()
	write(t, dir, "tocsin.yml", fmt.Sprintf(`
prometheus: {url: %s}
heartbeats: [{name: backup, every: 24h, escalation: default}]
receivers:
- name: phone
  page_configs: [{url: %s/phone, secret_file: secret}]
- name: broken
  page_configs: [{url: %s/broken, secret_file: secret}]
users:
- name: ana
  contacts: [{receiver: phone}, {after: 5m, receiver: broken}]
- name: bo
  contacts: [{receiver: phone}]
schedules:
- name: primary
  time_zone: UTC
  layers: [{users: [ana]}]
escalations:
- name: default
  tiers: [{schedule: primary}]
jobs:
- {name: monthly, cron: "0 10 1 * *", time_zone: Europe/Madrid, drill: {on_call_next: primary}}
`, base, far.URL, far.URL))
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	i := start(t, dir, nil)
	answered := make(chan error, 1)
	go func() {
		r, err := http.Post(i.url+"/hooks/ack/"+<-links, "", nil)
		if err == nil {
			r.Body.Close()
		}
		answered <- err
	}()
	step := func(code int, want string, args ...string) {
		t.Helper()
		if got, out := i.cli(t, args...); got != code || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, printed\n%s\nwant %d, %q", args, got, out, code, want)
		}
	}
	step(1, "1 of 2 contacts failed", "drill", "--user=ana", "--as", "bo")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	step(1, "less than a minute ago", "drill", "--user=ana", "--as", "bo", "--wait", "0s")
	step(1, `there is no user "anna"`, "drill", "--user=anna")
	step(0, `"drilled": "bo"`, "drill", "--user=bo", "--wait", "0s", "--json")
	step(1, "a drill of bo is under way", "drill", "--user=bo", "--wait", "0s")
	step(0, "! ana: receiver broken (page:broken/0) failed in the drill #1", "oncall", "who")
	step(0, "! ana: receiver broken (page:broken/0) failed in the drill #1", "oncall", "show")
	step(0, "! ana: receiver broken (page:broken/0) failed in the drill #1", "oncall", "week")
	if code, out := checkAgainst(t, i, dir); code != 0 || !strings.Contains(out, "mend the contact, then: tocsin drill --user ana") {
		t.Errorf("check: %d\n%s", code, out)
	}
	i.await(t, "/metrics", `tocsin_contact_last_drill_success{contact="page:broken/0",user="ana"} 0`)
	i.await(t, "/metrics", `tocsin_contact_last_drill_success{contact="page:phone/0",user="ana"} 1`)
	i.await(t, "/drills", "refused")
	if code, body := i.do(t, "GET", "/api/tocsin/v1/incidents", ""); code != 200 || strings.TrimSpace(body) != "[]" {
		t.Errorf("drills are listed as incidents: %s", body)
	}
	if code, body := i.do(t, "GET", "/api/tocsin/v1/incidents?drill=true", ""); code != 200 || !strings.Contains(body, `"title":"DRILL: `) {
		t.Errorf("%d %s", code, body)
	}
	i.end(t)
}

// checkAgainst holds the configuration against the instance, which takes its address by a flag of its own.
func checkAgainst(t *testing.T, i *instance, dir string) (int, string) {
	t.Helper()
	var b bytes.Buffer
	code := run(t.Context(), []string{"check", "--config.file", dir + "/tocsin.yml", "--against", i.url}, streams{&b, &b})
	return code, b.String()
}
