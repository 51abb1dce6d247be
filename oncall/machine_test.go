package oncall_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// TestStorm: 5,000 alerts of one group are one incident, one message, and exact counts.
func TestStorm(t *testing.T) {
	p := testPolicy()
	now := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	var changes []oncall.AlertChange
	for i := range 5000 {
		c := alert(oncall.ChangeFiring, "session", "SessionMemoryHigh", fmt.Sprintf("session-%d", i), "critical")
		c.At = now
		changes = append(changes, c)
	}
	in := oncall.Incident{Number: 1, Key: "k", Escalation: "session"}
	d := oncall.Decide(now, in, oncall.AlertsChanged{Changes: changes}, p)
	if len(d.Alerts) != 5000 || len(d.Deliveries) != 1 || d.Deliveries[0].Kind != oncall.KindMessage {
		t.Fatalf("%d alerts, deliveries %+v", len(d.Alerts), d.Deliveries)
	}
	if len(d.Timeline) > 5 || !strings.Contains(d.Timeline[1].Text, "5000 alerts firing") {
		t.Errorf("timeline: %+v", d.Timeline)
	}
}

// TestPageFits: the payload stays under the bound whatever the labels hold, and the counts stay exact.
func TestPageFits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 25).Draw(rt, "alerts")
		size := rapid.SampledFrom([]int{1, 100, 5_000}).Draw(rt, "size")
		text := strings.Repeat(rapid.SampledFrom([]string{"x", "é", "<!channel>", "\x00", "\""}).Draw(rt, "text"), size)
		now := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
		var changes []oncall.AlertChange
		for i := range n {
			c := alert(oncall.ChangeFiring, "plain", "DiskFull", fmt.Sprint(i), "critical")
			c.At = now
			c.Labels = labels.FromMap(map[string]string{"alertname": "DiskFull", "i": fmt.Sprint(i), "note": text, "service": text})
			c.Annotations = map[string]string{"summary": text, "description": text}
			c.Evidence.Expr, c.GeneratorURL = text, "http://p/"+text
			changes = append(changes, c)
		}
		d := oncall.Decide(now, oncall.Incident{Number: 1, Key: "k", Escalation: "plain", GroupLabels: changes[0].Labels}, oncall.AlertsChanged{Changes: changes}, testPolicy())
		if len(d.Deliveries) != 1 {
			rt.Fatalf("%d deliveries", len(d.Deliveries))
		}
		body := d.Deliveries[0].Body
		if len(body) >= oncall.MaxPage {
			rt.Fatalf("the page has %d bytes", len(body))
		}
		var page struct {
			Type string
			Data struct {
				AlertsTotal int `json:"alerts_total"`
				Page        struct {
					AckURL string `json:"ack_url"`
				}
			}
		}
		if err := json.Unmarshal(body, &page); err != nil {
			rt.Fatalf("%v: %s", err, body)
		}
		if page.Type != "incident.triggered" || page.Data.AlertsTotal != n || page.Data.Page.AckURL == "" {
			rt.Fatalf("page: %+v", page)
		}
	})
}

func TestLinks(t *testing.T) {
	key := []byte("a key of the store")
	token := oncall.LinkToken(key, "msg_00112233")
	if got, ok := oncall.CheckLink(key, token); !ok || got != "msg_00112233" {
		t.Fatalf("own token: %q %v", got, ok)
	}
	for _, bad := range []string{"", ".", "00112233", token + "x", "1" + token, strings.ToUpper(token), "00112233."} {
		if _, ok := oncall.CheckLink(key, bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, ok := oncall.CheckLink([]byte("another key"), token); ok {
		t.Error("a token of another key was taken")
	}
	if _, ok := oncall.CheckLink(nil, oncall.LinkToken(nil, "msg_1")); ok {
		t.Error("a token without a key was taken")
	}
}

func TestAfterAttempt(t *testing.T) {
	now := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name  string
		a     oncall.Attempt
		age   time.Duration
		state oncall.DeliveryState
		wait  time.Duration
	}{
		{"delivered", oncall.Attempt{Outcome: oncall.OutcomeDelivered, Number: 1}, 0, oncall.DeliveryDelivered, 0},
		{"refused", oncall.Attempt{Outcome: oncall.OutcomeRefused, Number: 1}, 0, oncall.DeliveryRefused, 0},
		{"gone", oncall.Attempt{Outcome: oncall.OutcomeGone, Number: 1}, 0, oncall.DeliveryRefused, 0},
		{"first retry", oncall.Attempt{Outcome: oncall.OutcomeRetry, Number: 1}, 0, oncall.DeliveryQueued, time.Second},
		{"unknown retries too", oncall.Attempt{Outcome: oncall.OutcomeUnknown, Number: 3}, 0, oncall.DeliveryQueued, 4 * time.Second},
		{"bounded", oncall.Attempt{Outcome: oncall.OutcomeRetry, Number: 1000}, 0, oncall.DeliveryQueued, time.Minute},
		{"Retry-After", oncall.Attempt{Outcome: oncall.OutcomeRetry, Number: 1, RetryAfter: 20 * time.Second}, 0, oncall.DeliveryQueued, 20 * time.Second},
		{"absurd Retry-After", oncall.Attempt{Outcome: oncall.OutcomeRetry, Number: 1, RetryAfter: 1000 * time.Hour}, 0, oncall.DeliveryQueued, time.Hour},
		{"given up", oncall.Attempt{Outcome: oncall.OutcomeRetry, Number: 1500}, 25 * time.Hour, oncall.DeliveryRefused, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state, at := oncall.AfterAttempt(now, oncall.Delivery{CreatedAt: now.Add(-tc.age)}, tc.a)
			if state != tc.state {
				t.Errorf("state %s, want %s", state, tc.state)
			}
			if state == oncall.DeliveryQueued && at.Sub(now) != tc.wait {
				t.Errorf("waits %s, want %s", at.Sub(now), tc.wait)
			}
		})
	}
}

func TestPlaceAlert(t *testing.T) {
	p := testPolicy()
	p.Escalations[oncall.DefaultEscalation] = oncall.Escalation{Name: oncall.DefaultEscalation}
	a := alert(oncall.ChangeFiring, "session", "SessionMemoryHigh", "session-1", "critical")
	b := alert(oncall.ChangeFiring, "session", "CheckoutErrorRateHigh", "shop", "warning")
	if x, y := oncall.PlaceAlert(a, p), oncall.PlaceAlert(b, p); x.GroupKey != y.GroupKey || x.Escalation != "session" {
		t.Errorf("%+v and %+v are not one group", x, y)
	}
	a.Escalation = "removed"
	if x := oncall.PlaceAlert(a, p); x.Escalation != oncall.DefaultEscalation || !strings.Contains(x.Why, "not configured any more") {
		t.Errorf("removed escalation: %+v", x)
	}
	a.Escalation = ""
	if x := oncall.PlaceAlert(a, p); x.Escalation != oncall.DefaultEscalation || x.GroupKey != `{alertname="SessionMemoryHigh"}` {
		t.Errorf("no escalation: %+v", x)
	}
	delete(p.Escalations, oncall.DefaultEscalation)
	if x := oncall.PlaceAlert(a, p); x.Escalation != "again" {
		t.Errorf("no default: %+v", x)
	}
	a.Escalation, a.Why = "session", "the route {team=\"shop\"} leads to the receiver shop"
	if x := oncall.PlaceAlert(a, p); x.Escalation != "session" || x.Why != a.Why {
		t.Errorf("by route: %+v", x)
	}
	a.Escalation, a.Why = "", ""
	a.GroupBy = []string{"instance"}
	if x := oncall.PlaceAlert(a, p); x.GroupKey != `{instance="session-1"}` {
		t.Errorf("own group_by: %+v", x)
	}
}
