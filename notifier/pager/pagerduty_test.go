package pager_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares JSON with a file in testdata.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("%s (-update rewrites it):\n%s", name, diff)
	}
}

// events are what one sending after the other came to there.
func events(t *testing.T, far *pagertest.PagerDuty) (all []json.RawMessage) {
	t.Helper()
	for _, e := range far.Events() {
		all = append(all, e.Body)
	}
	for _, p := range far.Problems() {
		t.Error(p)
	}
	return all
}

func TestPagerDutyEvents(t *testing.T) {
	far := pagertest.NewPagerDuty(routingKey)
	words := map[string]any{}
	p := newPagerDuty(t, account(t, "https://events.pagerduty.com/v2/enqueue", routingKey), pager.AccountOptions{Transport: far,
		Words: func(_ context.Context, m notifier.Message) (map[string]any, error) {
			if m.Incident.Key != "inc-worded" {
				return nil, nil
			}
			return words, errors.New("a template failed: details.x")
		}})
	words["description"], words["severity"], words["source"], words["class"], words["client"] = "memory!", "WARN", "shop", "mem", "us"
	words["details"] = map[string]any{"num_firing": "one", "team": "shop"}
	words["links"] = []any{map[string]any{"href": "https://dash.example/", "text": "dash"}, map[string]any{"href": "javascript:alert(1)"}}
	words["images"] = []any{map[string]any{"src": "https://dash.example/i.png", "alt": "i"}, map[string]any{"src": "nowhere"}}
	many := told(pdEndpoint, "inc", oncall.KindTriggered)
	many.Incident = incident("inc", 3)
	many.Incident.Alerts[2].State, many.Incident.Alerts[2].ResolvedAt = oncall.StateResolved, many.Incident.TriggeredAt.Add(time.Minute)
	many.Delivery.Round, many.Incident.Round = 1, 1
	for _, m := range []notifier.Message{many, told(pdEndpoint, "inc-worded", oncall.KindUpdated), told(pdEndpoint, "inc", oncall.KindAcknowledged), told(pdEndpoint, "inc", oncall.KindResolved)} {
		if a := p.Send(t.Context(), m); a.Outcome != oncall.OutcomeDelivered || a.Status != 202 {
			t.Errorf("%s: %+v", m.Delivery.Kind, a)
		}
	}
	golden(t, "pagerduty-events.json", events(t, far))
	if got := far.Status("inc"); got != "resolved" {
		t.Errorf("there it is %q", got)
	}
}

// TestTestPages: a page that tests a receiver is about no incident that anybody could look at.
func TestTestPages(t *testing.T) {
	test := oncall.TestPage{Receiver: "duty", Actor: "ana", At: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}
	far := pagertest.NewPagerDuty(routingKey)
	d, in := test.Make(pdEndpoint, oncall.Policy{})
	a := newPagerDuty(t, account(t, "https://events.pagerduty.com/v2/enqueue", routingKey), pager.AccountOptions{Transport: far}).Send(t.Context(), notifier.Message{Delivery: d, Incident: in})
	if a.Outcome != oncall.OutcomeDelivered {
		t.Fatalf("%+v", a)
	}
	if e := far.Events()[0]; e.Payload.Summary != "TEST: page to receiver duty" || len(e.Links) > 0 {
		t.Errorf("%q with links %v", e.Payload.Summary, e.Links)
	}
}

// TestPagerDutySays: what a refusal says comes back, without the key.
func TestPagerDutySays(t *testing.T) {
	far := pagertest.NewPagerDuty(routingKey)
	p := newPagerDuty(t, account(t, "https://events.pagerduty.com/v2/enqueue", "short-key"), pager.AccountOptions{Transport: far})
	a := p.Send(t.Context(), told(pdEndpoint, "inc", oncall.KindTriggered))
	if a.Outcome != oncall.OutcomeRefused || a.Status != 400 || !strings.Contains(a.Error, "Event object is invalid: Length of 'routing_key' is incorrect") {
		t.Errorf("%+v", a)
	}
	far.Fail(pagertest.Redirect, pagertest.Gone)
	if a := p.Send(t.Context(), told(pdEndpoint, "inc", oncall.KindTriggered)); a.Outcome != oncall.OutcomeRefused || a.Status != 302 {
		t.Errorf("a redirect: %+v", a)
	}
	if a := p.Send(t.Context(), told(pdEndpoint, "inc", oncall.KindTriggered)); a.Outcome != oncall.OutcomeGone {
		t.Errorf("gone: %+v", a)
	}
}

// TestPagerDutyPace: 120 events a minute by one key, of which updates leave some for first pages.
func TestPagerDutyPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := pagertest.NewPagerDuty(routingKey)
		p := newPagerDuty(t, account(t, "https://events.pagerduty.com/v2/enqueue", routingKey), pager.AccountOptions{Transport: far})
		send := func(priority int) oncall.Attempt {
			m := told(pdEndpoint, "inc", oncall.KindUpdated)
			m.Delivery.Priority = priority
			return p.Send(t.Context(), m)
		}
		for i := range 90 {
			if a := send(oncall.PriorityRepeat); a.Outcome != oncall.OutcomeDelivered {
				t.Fatalf("event %d: %+v", i, a)
			}
		}
		if a := send(oncall.PriorityRepeat); a.Outcome != oncall.OutcomeRetry || !a.OwnHold || a.RetryAfter != time.Minute || a.Sent != nil {
			t.Errorf("an update too many: %+v", a)
		}
		time.Sleep(10 * time.Second)
		for i := range 30 {
			if a := send(oncall.PriorityFirst); a.Outcome != oncall.OutcomeDelivered {
				t.Fatalf("first page %d: %+v", i, a)
			}
		}
		if a := send(oncall.PriorityFirst); a.Outcome != oncall.OutcomeRetry || a.OwnHold || a.RetryAfter != 50*time.Second {
			t.Errorf("a first page too many: %+v", a)
		}
		time.Sleep(50 * time.Second)
		if a := send(oncall.PriorityRepeat); a.Outcome != oncall.OutcomeDelivered {
			t.Errorf("a minute later: %+v", a)
		}
		if far.Requests() != 121 {
			t.Errorf("%d requests", far.Requests())
		}
	})
}

// TestPagerDutyTakesAnything: whatever an incident and the user's words hold, the event is one that PagerDuty takes.
func TestPagerDutyTakesAnything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		far := pagertest.NewPagerDuty(routingKey)
		far.Fail() // none
		text := rapid.StringN(0, 3000, -1)
		m := told(pdEndpoint, "inc", oncall.KindTriggered)
		m.Incident = incident("inc", rapid.SampledFrom([]int{0, 1, 2, 5000}).Draw(r, "alerts"))
		m.Incident.Title, m.Incident.Severity = text.Draw(r, "title"), text.Draw(r, "severity")
		if len(m.Incident.Alerts) > 0 {
			m.Incident.Alerts[0].Labels = labels.FromStrings("alertname", text.Draw(r, "alertname"), "instance", text.Draw(r, "instance"))
			m.Incident.Alerts[0].Annotations = map[string]string{text.Draw(r, "annotation"): strings.Repeat(text.Draw(r, "value"), rapid.SampledFrom([]int{1, 300}).Draw(r, "times"))}
		}
		words := map[string]any{"description": text.Draw(r, "description"), "severity": text.Draw(r, "own severity"), "source": text.Draw(r, "source"),
			"details": map[string]any{"small": 1, "large": strings.Repeat(text.Draw(r, "detail"), rapid.SampledFrom([]int{0, 1, 2000}).Draw(r, "times"))}}
		p, err := pager.NewPagerDuty(map[oncall.Endpoint]pager.Account{pdEndpoint: account(t, "https://events.pagerduty.com/v2/enqueue", routingKey)},
			pager.AccountOptions{Transport: far, Words: func(context.Context, notifier.Message) (map[string]any, error) { return words, nil }})
		if err != nil {
			r.Fatal(err)
		}
		if a := p.Send(t.Context(), m); a.Outcome != oncall.OutcomeDelivered {
			r.Fatalf("%+v: %v", a, far.Problems())
		}
		details := far.Events()[0].Payload.CustomDetails
		if want := fmt.Sprint(len(m.Incident.Alerts)); details["num_firing"] != want {
			r.Errorf("it counts %v alerts, there are %s", details["num_firing"], want)
		}
	})
}
