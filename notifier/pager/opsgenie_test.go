package pager_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

// opsgenieBubble runs a test with a sender and its far end, in a bubble of time.
func opsgenieBubble(t *testing.T, words map[string]any, change func(*pager.Account), test func(*testing.T, *pager.Opsgenie, *pagertest.Opsgenie)) {
	synctest.Test(t, func(t *testing.T) {
		far := pagertest.NewOpsgenie(genieKey, "")
		a := account(t, "https://api.eu.opsgenie.com/", genieKey)
		if change != nil {
			change(&a)
		}
		test(t, newOpsgenie(t, a, pager.AccountOptions{Transport: far,
			Words: func(context.Context, notifier.Message) (map[string]any, error) { return words, nil }}), far)
		for _, p := range far.Problems() {
			t.Error(p)
		}
	})
}

func TestOpsgenieCalls(t *testing.T) {
	words := map[string]any{"tags": "a, b,", "priority": "p2", "details": map[string]any{"team": "shop", "incident": "mine"},
		"responders": []any{map[string]any{"name": "x, y", "type": "teams"}, map[string]any{"type": "user"}, map[string]any{"username": "ana@shop.example", "type": "User"}}}
	opsgenieBubble(t, words, func(a *pager.Account) { a.UpdateAlerts = true }, func(t *testing.T, s *pager.Opsgenie, far *pagertest.Opsgenie) {
		again := told(ogEndpoint, "inc", oncall.KindTriggered)
		again.Delivery.Round = 1
		ack := told(ogEndpoint, "inc", oncall.KindAcknowledged)
		ack.Incident.State, ack.Incident.AcknowledgedBy = oncall.IncidentAcknowledged, "ana"
		over := told(ogEndpoint, "inc", oncall.KindResolved)
		over.Incident.State = oncall.IncidentResolved
		for _, m := range []notifier.Message{told(ogEndpoint, "inc", oncall.KindTriggered), told(ogEndpoint, "inc", oncall.KindUpdated), ack, again, over} {
			if a := s.Send(t.Context(), m); a.Outcome != oncall.OutcomeDelivered || a.Error != "" || a.Status != http.StatusAccepted {
				t.Errorf("%s: %+v", m.Delivery.Kind, a)
			}
		}
		golden(t, "opsgenie-calls.json", far.Calls())
	})
}

// TestOpsgenieConfirms: delivered is what Opsgenie confirms.
func TestOpsgenieConfirms(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*pagertest.Opsgenie)
		want    oncall.Outcome
		says    string
		within  time.Duration
	}{
		{"at once", func(*pagertest.Opsgenie) {}, oncall.OutcomeDelivered, "", time.Second},
		{"after some polls", func(o *pagertest.Opsgenie) { o.Slow(3) }, oncall.OutcomeDelivered, "", 5 * time.Second},
		{"never", func(o *pagertest.Opsgenie) { o.Slow(-1) }, oncall.OutcomeUnknown, "did not confirm it within 8s", 9 * time.Second},
		{"it fails later", func(o *pagertest.Opsgenie) { o.FailLater("Alert could not be created: team is unknown") }, oncall.OutcomeRefused, "refused: Alert could not be created: team is unknown", time.Second},
		{"another answer", func(o *pagertest.Opsgenie) { o.Fail(pagertest.Fault{Status: 200, Body: "<html>"}) }, oncall.OutcomeUnknown, "is api_url right?", time.Second},
		{"501", func(o *pagertest.Opsgenie) { o.Fail(pagertest.Fault{Status: 501}) }, oncall.OutcomeRefused, "501", time.Second},
		{"422", func(o *pagertest.Opsgenie) {
			o.Fail(pagertest.Fault{Status: 422, Body: `{"message":"Request body is not processable"}`})
		}, oncall.OutcomeRefused, "refused: Request body is not processable", time.Second},
		{"429", func(o *pagertest.Opsgenie) { o.Fail(pagertest.Limited(9 * time.Second)) }, oncall.OutcomeRetry, "429", time.Second},
		{"reset", func(o *pagertest.Opsgenie) { o.Fail(pagertest.ResetAfter) }, oncall.OutcomeUnknown, "no answer", time.Second},
		{"hang", func(o *pagertest.Opsgenie) { o.Fail(pagertest.HangAfter) }, oncall.OutcomeUnknown, "no answer", 11 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			opsgenieBubble(t, nil, nil, func(t *testing.T, s *pager.Opsgenie, far *pagertest.Opsgenie) {
				c.prepare(far)
				a := s.Send(t.Context(), told(ogEndpoint, "inc", oncall.KindTriggered))
				if a.Outcome != c.want || !strings.Contains(a.Error, c.says) || a.Took > c.within {
					t.Errorf("%+v", a)
				}
				if strings.Contains(a.Error+a.Excerpt, genieKey) {
					t.Errorf("the key shows: %+v", a)
				}
			})
		})
	}
}

// TestOpsgenieAsksAgain: a page of a later round takes an acknowledgement there back, or finds that there is none.
func TestOpsgenieAsksAgain(t *testing.T) {
	opsgenieBubble(t, nil, nil, func(t *testing.T, s *pager.Opsgenie, far *pagertest.Opsgenie) {
		first := told(ogEndpoint, "inc", oncall.KindTriggered)
		s.Send(t.Context(), first)
		far.Do("inc", "Acknowledge", "ana@shop.example", "")
		again := first
		again.Delivery.Round = 1
		far.Fail(pagertest.Fault{}, pagertest.Busy) // the second step
		if a := s.Send(t.Context(), again); a.Outcome != oncall.OutcomeRetry {
			t.Errorf("half of it failed: %+v", a)
		}
		for range 2 {
			if a := s.Send(t.Context(), again); a.Outcome != oncall.OutcomeDelivered || a.Error != "" {
				t.Errorf("asked again: %+v", a)
			}
		}
		if got := far.Status("inc"); got != "open" {
			t.Errorf("there it is %q", got)
		}
		want := []string{"create", "create", "create", "unacknowledge", "create", "unacknowledge"}
		if got := far.Verbs("inc"); !slices.Equal(got, want) {
			t.Errorf("calls %q, want %q", got, want)
		}
	})
}

// TestOpsgenieTakesAnything: whatever an incident and the user's words hold, the alert is one that Opsgenie takes.
func TestOpsgenieTakesAnything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		far := pagertest.NewOpsgenie(genieKey, "")
		text := rapid.StringN(0, 20000, -1)
		m := told(ogEndpoint, "inc", oncall.KindResolved)
		m.Incident = incident("inc", rapid.SampledFrom([]int{0, 1, 2, 500}).Draw(r, "alerts"))
		m.Incident.Title, m.Incident.ResolvedBy = text.Draw(r, "title"), text.Draw(r, "who")
		if len(m.Incident.Alerts) > 0 {
			m.Incident.Alerts[0].Labels = labels.FromStrings("alertname", text.Draw(r, "alertname"), "instance", text.Draw(r, "instance"))
		}
		words := map[string]any{"message": text.Draw(r, "message"), "description": text.Draw(r, "description"), "source": text.Draw(r, "source"),
			"entity": text.Draw(r, "entity"), "priority": text.Draw(r, "priority"), "note": text.Draw(r, "note"), "tags": text.Draw(r, "tags"), "actions": text.Draw(r, "actions"),
			"details": map[string]any{"small": 1, "large": text.Draw(r, "detail")}}
		s, err := pager.NewOpsgenie(map[oncall.Endpoint]pager.Account{ogEndpoint: account(t, "https://api.opsgenie.com/", genieKey)},
			pager.AccountOptions{Transport: far, Words: func(context.Context, notifier.Message) (map[string]any, error) { return words, nil }})
		if err != nil {
			r.Fatal(err)
		}
		m.Delivery.Kind = oncall.KindTriggered
		far.FailLater("stop") // what is to be looked at is whether it was taken
		var a oncall.Attempt
		synctest.Test(t, func(t *testing.T) { a = s.Send(t.Context(), m) })
		if a.Error != "refused: stop" {
			r.Fatalf("%+v: %v", a, far.Problems())
		}
	})
}
