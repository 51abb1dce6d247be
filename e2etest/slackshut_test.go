package e2etest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/slack/slacktest"
)

const slackShutConfig = `
route: {receiver: team}
slack: {bot_token_file: slack-bot, signing_secret_file: slack-signing, api_url: $SLACK}
users: [{name: ana, slack: U02ANA}]
escalations:
- {name: team, group_by: [alertname, instance], tiers: [{slack: '#alerts'}, {after: 1h, receiver: phone}]}
receivers:
- {name: team, escalation: team}
- {name: phone, page_configs: [{url: $PAGER/phone, secret_file: page}]}
`

// TestSlackComesBack: whatever Slack refused, and whatever happened to incidents meanwhile, in the end it shows each of them
// as it is, once, and pages went out by the other way at once.
func TestSlackComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", slackShutConfig, "groups: []\n")
	w.start()
	w.ready()
	w.post("before-1", true)
	w.post("before-2", true)
	w.post("before-3", true)
	w.eventually(patience, "Slack shows what was there before", func() bool { return w.slackIsTrue(3) == "" })

	for i, shut := range []func(bool){
		func(on bool) { // the token is revoked
			if on {
				w.slack.Fail(slacktest.Fault{Stage: slacktest.Before, Error: "token_revoked", Times: -1})
				return
			}
			w.slack.Heal()
		},
		func(on bool) { w.slack.AddChannel(slacktest.Channel{Name: "alerts", Archived: on}) },
	} {
		shut(true)
		name := func(s string) string { return fmt.Sprintf("%s-%d", s, i) }
		for _, s := range []string{"opened", "acked", "over"} {
			w.post(name(s), true)
		}
		pages := 0
		w.eventually(patience, "the three are paged by the other way", func() bool {
			pages = 0
			for _, p := range w.pager.Pages() {
				if strings.Contains(string(p.Body), fmt.Sprintf("-%d", i)) {
					pages += p.Count
				}
			}
			return pages >= 3
		})
		w.acknowledge(name("acked"))
		w.acknowledge("before-2")
		w.post(name("over"), false)
		w.post(fmt.Sprintf("before-%d", 1+2*i), false)
		w.eventually(patience, "what was resolved is over", func() bool { return w.stateOf(name("over")) == "resolved" })
		shut(false)
		w.eventually(patience, "Slack shows everything as it is", func() bool { return w.slackIsTrue(0) == "" })
	}

	root := w.slack.Messages("#alerts")[1] // before-2
	w.slack.Delete(root.Channel, root.TS)
	w.slack.Fail(slacktest.Fault{Stage: slacktest.Before, Status: 429, RetryAfter: time.Second, Times: 4})
	w.slack.Fail(slacktest.Fault{Method: "chat.update", Stage: slacktest.During, Times: 2})
	w.post("late", true)
	if code := w.do(http.MethodPost, fmt.Sprintf("/api/tocsin/v1/incidents/%d/note", w.numberOfInstance("before-2")), map[string]string{"user": "ana", "text": "still here"}, nil); code/100 != 2 {
		t.Errorf("a note: HTTP %d", code)
	}
	w.acknowledge("late")
	if !until(patience, func() bool { return w.slackIsTrue(0) == "" }) {
		t.Errorf("in the end: %s", w.slackIsTrue(0))
	}
}

// post reports an alert of an instance, or its end.
func (w *world) post(instance string, fires bool) {
	w.t.Helper()
	ends := time.Now().Add(time.Hour)
	if !fires {
		ends = time.Now()
	}
	body := []map[string]any{{"labels": map[string]string{"alertname": "Shut", "instance": instance, "severity": "critical"}, "endsAt": ends.Format(time.RFC3339Nano)}}
	if code := w.do(http.MethodPost, "/api/v2/alerts", body, nil); code != http.StatusOK {
		w.t.Errorf("posting %s: HTTP %d", instance, code)
	}
	want := map[bool]string{true: "triggered", false: "resolved"}[fires]
	w.eventually(patience, instance+" is "+want, func() bool { return w.stateOf(instance) == want })
}

func (w *world) ofInstance(instance string) (found incident) {
	for _, in := range w.incidents() {
		if in.GroupLabels["instance"] == instance {
			found = in
		}
	}
	return found
}

func (w *world) stateOf(instance string) string         { return w.ofInstance(instance).State }
func (w *world) numberOfInstance(instance string) int64 { return w.ofInstance(instance).Number }

func (w *world) acknowledge(instance string) {
	w.t.Helper()
	if code := w.do(http.MethodPost, fmt.Sprintf("/api/tocsin/v1/incidents/%d/acknowledge", w.numberOfInstance(instance)), map[string]string{"user": "ana"}, nil); code/100 != 2 {
		w.t.Errorf("acknowledging %s: HTTP %d", instance, code)
	}
}

var numbered = regexp.MustCompile(`#(\d+)\b`)

// shownInSlack are the states that #alerts shows, by the number of the incident, and how often it shows each incident.
func (w *world) shownInSlack() (states map[string]string, times map[string]int) {
	states, times = map[string]string{}, map[string]int{}
	show := func(text string) {
		m := numbered.FindStringSubmatch(text)
		if m == nil {
			return
		}
		times[m[1]]++
		for _, word := range []string{"triggered", "acknowledged", "snoozed", "resolved"} {
			if strings.Contains(text, strings.ToUpper(word[:1])+word[1:]) {
				states[m[1]] = word
			}
		}
	}
	for _, m := range w.slack.Messages("#alerts") {
		if m.ThreadTS != "" {
			continue
		}
		var blocks []struct {
			ID   string `json:"block_id"`
			Type string
			Text struct{ Text string }
		}
		_ = json.Unmarshal(m.Blocks, &blocks) // one that is not shown is found missing
		for _, b := range blocks {
			if strings.HasPrefix(b.ID, "tocsin_bundled_") || b.Type == "header" && !strings.Contains(b.Text.Text, " incidents, first") {
				show(b.Text.Text)
			}
		}
	}
	return states, times
}

// slackIsTrue says what Slack does not show as it is, "" for nothing. least is how many incidents there must be.
func (w *world) slackIsTrue(least int) string {
	states, times := w.shownInSlack()
	all := w.incidents()
	if len(all) < least {
		return fmt.Sprintf("%d incidents", len(all))
	}
	for _, in := range all {
		n := fmt.Sprint(in.Number)
		switch {
		case times[n] == 0 && in.State == "resolved":
		case times[n] != 1 || states[n] != in.State:
			return fmt.Sprintf("#%s (%s) is %s, and is shown %d times, as %q", n, in.Title, in.State, times[n], states[n])
		}
	}
	return ""
}
