package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/slack/slacktest"
)

// rota is a configuration with a schedule of two people who have been taking turns of a day since 2024.
const rota = `
prometheus: {url: %[1]s}
rule_files: [rules.yml]
users:
- {name: ana, contacts: [{receiver: phone}]}
- {name: bo, time_zone: Asia/Tokyo, contacts: [{receiver: phone}]}
schedules:
- name: primary
  time_zone: UTC
  layers: [{name: daily, users: [ana, bo], start: 2024-01-01, every: 1d}]
receivers:
- name: phone
  page_configs: [{url: %[1]s/page, secret_file: secret}]
escalations:
- name: default
  tiers: [{receiver: phone}]
- {name: by-rota, tiers: [{schedule: primary}], promise: {within: 1m}}
`

// cliRun runs a client command against an instance.
func (i *instance) cli(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	at := 2
	if len(args) > 2 && args[1] == "override" && (args[2] == "list" || args[2] == "end") {
		at = 3
	}
	full := append(append(append([]string{}, args[:at]...), "--url", i.url), args[at:]...)
	code = run(t.Context(), full, streams{&b, &b})
	return code, b.String()
}

func TestOnCallCommands(t *testing.T) {
	noLeaks(t)
	base, _ := backend(t)
	dir := t.TempDir()
	write(t, dir, "tocsin.yml", fmt.Sprintf(rota, base))
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Down"))
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	i := start(t, dir, nil)
	today := time.Now().UTC()
	on := []string{"ana", "bo"}[int(today.Sub(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))/(24*time.Hour))%2]
	off := map[string]string{"ana": "bo", "bo": "ana"}[on]
	day := func(n int) string { return today.AddDate(0, 0, n).Format(time.DateOnly) }

	step := func(code int, want string, args ...string) string {
		t.Helper()
		got, out := i.cli(t, args...)
		if got != code || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, printed\n%s\nwant %d, %q", args, got, out, code, want)
		}
		return out
	}
	step(0, on, "oncall", "show")
	step(0, "primary · ", "oncall", "week")
	step(0, "primary: "+off+" until", "oncall", "who", "--at", day(1)+"T12:00")
	step(1, `there is no schedule "primry" (did you mean "primary"?)`, "oncall", "who", "primry")
	step(1, "on call anyway", "oncall", "override", "primary", on, "1m")
	step(2, "say how long", "oncall", "override", "primary", off)
	made := step(0, off+" is on call instead of "+on, "oncall", "override", "primary", off, "10m", "--replaces", on, "--reason", "dentist", "--user", "dee")
	id := made[strings.LastIndex(made, "(")+1 : strings.LastIndex(made, ")")]
	step(0, "primary: "+off, "oncall", "who")
	step(0, "(by dee: dentist)", "oncall", "who")
	offline := func(code int, want string, args ...string) {
		t.Helper()
		var b bytes.Buffer
		if got := run(t.Context(), append(args, "--config.file", filepath.Join(dir, "tocsin.yml")), streams{&b, &b}); got != code || !strings.Contains(b.String(), want) {
			t.Errorf("%v: exit code %d, printed\n%s\nwant %d, %q", args, got, b.String(), code, want)
		}
	}
	soon := time.Now().Add(2 * time.Minute).UTC().Format(time.RFC3339) // the override goes on
	offline(0, "user "+off+" via", "simulate", "--escalation", "by-rota", "--at", soon, "--against", i.url)
	if time.Now().Add(2*time.Minute).UTC().Day() == today.Day() {
		offline(0, "user "+on+" via", "simulate", "--escalation", "by-rota", "--at", soon)
	}
	offline(1, "--against: nothing listens", "simulate", "--escalation", "by-rota", "--against", "http://127.0.0.1:1")
	offline(0, "1 schedule", "check", "--against", i.url)
	step(0, "Mind: nobody is on call then", "oncall", "override", "primary", off, "--off", "--from", day(3)+"T10:00", "--to", day(3)+"T11:00")
	step(1, "nobody is on call at 1 time", "oncall", "coverage", "--strict", "primary")
	offline(0, "1 schedule", "check")
	offline(1, "--against "+i.url, "check", "--against", i.url) // that override breaks a promise
	step(0, "", "oncall", "coverage", "--days", "2")
	step(0, "is on call instead of", "oncall", "swap", "primary", on+"@"+day(4), off+"@"+day(5))
	step(2, "names no shift", "oncall", "swap", "primary", on, off+"@"+day(5))
	if out := step(0, id, "oncall", "override", "list"); strings.Count(out, "\n") != 5 {
		t.Errorf("four overrides and a headline were expected:\n%s", out)
	}
	url := strings.TrimSpace(step(0, "/calendar/", "oncall", "calendar", "bo"))
	resp, err := http.Get(i.url + url[strings.Index(url, "/calendar/"):])
	if err != nil {
		t.Fatal(err)
	}
	feed, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(feed), "SUMMARY:bo is on call: primary") {
		t.Errorf("%v: %s", err, feed)
	}

	// They are there after a restart; an edit that makes one pointless says so.
	i.end(t)
	i = start(t, dir, nil)
	step(0, "primary: "+off, "oncall", "who")
	edited := strings.Replace(fmt.Sprintf(rota, base), "users: [ana, bo], start: 2024-01-01, every: 1d", "users: ["+off+"]", 1)
	if err := os.WriteFile(filepath.Join(dir, "tocsin.yml"), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	offline(1, "the override "+id+" of primary", "check", "--against", i.url)
	offline(1, "UTC it was "+on+", and would be "+off, "check", "--against", i.url)
	if resp, err = http.Post(i.url+"/-/reload", "", nil); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if log := i.log.String(); !strings.Contains(log, "An override changes nobody's time on call") || !strings.Contains(log, id) {
		t.Errorf("the log does not name the pointless override %s:\n%s", id, log)
	}
	if log := i.log.String(); strings.Count(log, "rewrites who was on call") != 1 || !strings.Contains(log, "is_said_to_have_been="+off) {
		t.Errorf("the log does not say once that the edit rewrites who was on call:\n%s", log)
	}
	step(0, "POINTLESS: "+on+" is not on call then", "oncall", "show")
	step(0, "has ended", "oncall", "override", "end", id)
	step(1, "was ended by", "oncall", "override", "end", id)

	// Without a server, from the file.
	var b bytes.Buffer
	for args, want := range map[string]string{"show": "layer daily", "week": "primary · ", "coverage": "SHIFTS", "who": "primary: " + off} {
		b.Reset()
		if code := run(t.Context(), []string{"oncall", args, "--config.file", filepath.Join(dir, "tocsin.yml")}, streams{&b, &b}); code != 0 || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %d %s", args, code, b.String())
		}
	}
}

// TestOverridePagesAndAnnounces: an override made over HTTP decides who is paged by the next incident, and is announced.
func TestOverridePagesAndAnnounces(t *testing.T) {
	noLeaks(t)
	base, paged := backend(t)
	channel := slacktest.New(slacktest.Options{Token: "xoxb-1", Channels: []string{"#team"}, Users: []slacktest.User{{ID: "U1", Name: "ana"}, {ID: "U2", Name: "bo"}}})
	far := httptest.NewServer(channel)
	t.Cleanup(far.Close)
	dir := t.TempDir()
	text := fmt.Sprintf(rota, base)
	text = strings.Replace(text, "  time_zone: UTC\n", "  time_zone: UTC\n  notify: {slack: '#team'}\n", 1)
	text = strings.Replace(text, "tiers: [{receiver: phone}]", "tiers: [{schedule: primary}]", 1)
	text = strings.NewReplacer("{name: ana, contacts: [{receiver: phone}]}", "{name: ana, slack: U1, contacts: [{receiver: phone}]}",
		"{name: bo, time_zone", "{name: bo, slack: U2, time_zone").Replace(text)
	text += fmt.Sprintf("slack: {bot_token_file: bot, signing_secret_file: signing, api_url: '%s/api/'}\n", far.URL)
	write(t, dir, "tocsin.yml", text)
	write(t, dir, "rules.yml", "groups: [{name: g, rules: []}]")
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	write(t, dir, "bot", "xoxb-1")
	write(t, dir, "signing", "8f742231b10e8888abcd99yyyzzz85a5")
	i := start(t, dir, nil)
	for late := time.After(20 * time.Second); !strings.Contains(i.log.String(), "handoffs are announced from now on"); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("it does not look at the schedule\n%s", i.log)
		}
	}
	changed, cancel := channel.Subscribe()
	defer cancel()
	_, body := i.do(t, "GET", "/api/tocsin/v1/oncall", "")
	on, id := "ana", "U1"
	if strings.Contains(body, `"users":["ana"]`) {
		on, id = "bo", "U2"
	}
	var code int
	if code, body = i.do(t, "POST", "/api/tocsin/v1/overrides", `{"schedule":"primary","who":"`+on+`","for":"2h","user":"dee"}`); code != 201 {
		t.Fatal(code, body)
	}
	late := time.After(20 * time.Second)
	for notice := ""; !strings.Contains(notice, "<@"+id+"> is on call"); {
		select {
		case <-changed:
		case <-late:
			t.Fatalf("no handoff was announced: %q\n%s", notice, i.log)
		}
		for _, m := range channel.Messages("#team") {
			notice = m.Text
		}
	}
	if code, body = i.do(t, "POST", "/api/tocsin/v1/incidents", `{"title":"stuck","escalation":"default","user":"dee"}`); code != 201 {
		t.Fatal(code, body)
	}
	page(t, paged, i)
	i.await(t, "/api/tocsin/v1/incidents/1", `"user":"`+on+`"`)
}
