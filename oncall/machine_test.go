package oncall_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// TestMachineInvariants drives the machine with random events, deliveries, downtimes and presses, and
// holds it to what users rely on, whatever happens.
func TestMachineInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(testPolicy(), "")
		s.escName = rapid.SampledFrom([]string{"session", "plain", "nobody", "with-integrations"}).Draw(rt, "escalation")
		instances := []string{"session-1", "session-2", "db-1"}
		users := []string{"ana", "bo", "zoe"}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			randomStep(rt, s, instances, users)
			checkInvariants(rt, s)
		}
		// Whatever happened: once nobody acts and every delivery arrives, the story ends or says why not.
		for range 40 {
			s.advance(10 * time.Minute)
			s.finish(func(oncall.Delivery) bool { return true }, oncall.OutcomeDelivered, 200)
		}
		checkInvariants(rt, s)
	})
}

func randomStep(rt *rapid.T, s *sim, instances, users []string) {
	user := rapid.SampledFrom(users).Draw(rt, "user")
	if in := s.last(); in == nil || rapid.IntRange(0, 9).Draw(rt, "alerts") < 3 {
		status := rapid.SampledFrom([]oncall.ChangeStatus{oncall.ChangeFiring, oncall.ChangeFiring, oncall.ChangeResolved, oncall.ChangeUnknown, oncall.ChangeKnown, oncall.ChangeMuted, oncall.ChangeMuted}).Draw(rt, "status")
		s.change(alert(status, s.escName, rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "name"),
			rapid.SampledFrom(instances).Draw(rt, "instance"), rapid.SampledFrom([]string{"warning", "critical", ""}).Draw(rt, "severity")))
		return
	}
	switch rapid.IntRange(0, 4).Draw(rt, "what") {
	case 0:
		s.untold(func() { s.advance(time.Duration(rapid.IntRange(0, 3600).Draw(rt, "seconds")) * time.Second) })
	case 1: // downtime
		s.untold(func() {
			s.now = s.now.Add(time.Duration(rapid.IntRange(0, 7200).Draw(rt, "down")) * time.Second)
			s.tick()
		})
	case 2:
		o := rapid.SampledFrom([]oncall.Outcome{oncall.OutcomeDelivered, oncall.OutcomeRetry, oncall.OutcomeRefused, oncall.OutcomeUnknown}).Draw(rt, "outcome")
		kind := rapid.SampledFrom([]string{"slack", "page", "pagerduty_configs", "email_configs"}).Draw(rt, "to")
		s.finish(func(d oncall.Delivery) bool { return d.Endpoint.Kind() == kind }, o, 0)
	default:
		c := oncall.Command{Actor: user, User: user, Text: "note", Until: s.now.Add(20 * time.Minute)}
		c.Kind = rapid.SampledFrom([]oncall.CommandKind{oncall.CmdAcknowledge, oncall.CmdAcknowledge, oncall.CmdUnacknowledge, oncall.CmdResolve,
			oncall.CmdEscalate, oncall.CmdSnooze, oncall.CmdAssign, oncall.CmdNote}).Draw(rt, "command")
		if rapid.Bool().Draw(rt, "seen") {
			c.Seen = &oncall.Seen{Round: rapid.IntRange(0, 1).Draw(rt, "round"), Tier: rapid.IntRange(0, 2).Draw(rt, "tier")}
		}
		before := len(s.last().Deliveries)
		wasAcked := s.last().State == oncall.IncidentAcknowledged
		s.apply(s.last(), c)
		if c.Kind == oncall.CmdAcknowledge && wasAcked && len(s.last().Deliveries) != before {
			s.fail("a second acknowledgement sent something")
		}
	}
}

func checkInvariants(rt *rapid.T, s *sim) {
	open := 0
	for _, in := range s.incidents {
		if in.Open() {
			open++
		}
		firing := slices.ContainsFunc(in.Alerts, func(a oncall.IncidentAlert) bool { return a.State == oncall.StateFiring })
		loud := slices.ContainsFunc(in.Alerts, func(a oncall.IncidentAlert) bool {
			return a.State == oncall.StateFiring && a.MutedSince.IsZero()
		})
		paused := !in.PausedSince.IsZero()
		if paused != (in.Open() && !loud) {
			s.fail("#%d is %s, paused: %v, an alert fires that is not muted: %v", in.Number, in.State, paused, loud)
		}
		if paused && (!in.NextAt.IsZero() || !strings.HasPrefix(in.Next, "paused: ")) {
			s.fail("#%d is paused, next at %s: %q", in.Number, in.NextAt, in.Next)
		}
		if in.Open() && !firing {
			s.fail("#%d is open and nothing fires", in.Number)
		}
		if in.State == oncall.IncidentTriggered && in.NextAt.IsZero() && !in.Exhausted && !paused {
			s.fail("#%d is triggered and not paused, has no next instant, and nobody is said to be left", in.Number)
		}
		if in.State == oncall.IncidentAcknowledged && in.Policy.AckTimeout > 0 && in.NextAt.IsZero() && !paused {
			s.fail("#%d is acknowledged with a timeout and has no next instant", in.Number)
		}
		checkTiers(s, in)
		checkTold(s, in)
	}
	if open > 1 {
		s.fail("%d incidents are open for one group", open)
	}
	if s.problem != "" {
		rt.Fatalf("%s\n%s", s.problem, s.out.String())
	}
}

// untold lets time pass, and fails if it tells anybody of an incident that is paused all along: one that was closed
// by hand may hand an alert over to it.
func (s *sim) untold(pass func()) {
	before := map[int64]int{}
	for _, in := range s.incidents {
		if !in.PausedSince.IsZero() {
			before[in.Number] = len(in.Deliveries)
		}
	}
	pass()
	for _, in := range s.incidents {
		if n, ok := before[in.Number]; ok && n != len(in.Deliveries) && !in.PausedSince.IsZero() {
			s.fail("#%d is paused, and time alone made %d deliveries", in.Number, len(in.Deliveries)-n)
		}
	}
}

// checkTiers: no tier of a round is skipped or told twice.
func checkTiers(s *sim, in *oncall.Incident) {
	want := 0
	for _, e := range in.Timeline {
		switch {
		case e.Kind == oncall.EntryUnacknowledged, e.Kind == oncall.EntryUnsnoozed, strings.HasPrefix(e.Text, "round "):
			want = 0
		case e.Kind == oncall.EntryEscalated && strings.HasPrefix(e.Text, "tier "):
			if !strings.HasPrefix(e.Text, fmt.Sprintf("tier %d ", want)) {
				s.fail("#%d: expected tier %d, timeline says %q", in.Number, want, e.Text)
			}
			want++
		}
	}
}

// checkTold: each endpoint hears of the resolution at most once, of each acknowledgement at most once, and
// of neither unless it was asked.
func checkTold(s *sim, in *oncall.Incident) {
	asked, resolved, acked := map[oncall.Endpoint]bool{}, map[oncall.Endpoint]int{}, map[oncall.Endpoint]int{}
	for _, d := range in.Deliveries {
		switch d.Kind {
		case oncall.KindTriggered, oncall.KindMessage:
			asked[d.Endpoint] = true
		case oncall.KindResolved:
			resolved[d.Endpoint]++
		case oncall.KindAcknowledged:
			acked[d.Endpoint]++
		}
		if !asked[d.Endpoint] {
			s.fail("#%d: %s to %s, which was never asked", in.Number, d.Kind, d.Endpoint)
		}
		if resolved[d.Endpoint] > 1 || acked[d.Endpoint] > in.Acks {
			s.fail("#%d: %s heard it too often", in.Number, d.Endpoint)
		}
		if d.Kind.Asks() && json.Valid(d.Body) == d.Endpoint.Integration() {
			s.fail("#%d: the body of the page to %s: %q", in.Number, d.Endpoint, d.Body)
		}
		if d.Endpoint.Integration() && (d.Kind == oncall.KindAcknowledged || d.Kind == oncall.KindResolved && d.Endpoint.Kind() != "pagerduty_configs") {
			s.fail("#%d: %s to %s", in.Number, d.Kind, d.Endpoint)
		}
	}
}

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
	if x := oncall.PlaceAlert(a, p); x.Escalation != "nobody" {
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
