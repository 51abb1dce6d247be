package oncall_test

import (
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

func TestResend(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	policy := oncall.Policy{Escalations: map[string]oncall.Escalation{"e": {Name: "e"}}}
	page := func(state oncall.DeliveryState, kind oncall.DeliveryKind) oncall.Delivery {
		return oncall.Delivery{Key: "msg_old", Incident: 42, Endpoint: "page:ana-phone/0", Kind: kind, Target: "user ana", User: "ana",
			State: state, NextAt: now.Add(time.Minute), Error: "acknowledged by bo before it was sent"}
	}
	for name, c := range map[string]struct {
		d        oncall.Delivery
		incident oncall.IncidentState
		refuse   string // "": it is sent
	}{
		"a refused page":             {page(oncall.DeliveryRefused, oncall.KindTriggered), oncall.IncidentTriggered, ""},
		"a page that arrived":        {page(oncall.DeliveryDelivered, oncall.KindTriggered), oncall.IncidentTriggered, ""},
		"a page to nobody's use":     {page(oncall.DeliveryRefused, oncall.KindTriggered), oncall.IncidentAcknowledged, "would wake somebody for nothing"},
		"a page after the end":       {page(oncall.DeliveryDelivered, oncall.KindTriggered), oncall.IncidentResolved, "#42 is resolved"},
		"the end after the end":      {page(oncall.DeliveryRefused, oncall.KindResolved), oncall.IncidentResolved, ""},
		"queued":                     {page(oncall.DeliveryQueued, oncall.KindTriggered), oncall.IncidentTriggered, "tried again at 10:01:00 UTC"},
		"being sent":                 {page(oncall.DeliverySending, oncall.KindTriggered), oncall.IncidentTriggered, "being sent just now"},
		"dropped":                    {page(oncall.DeliveryDropped, oncall.KindTriggered), oncall.IncidentTriggered, "never sent: acknowledged by bo"},
		"a message that is there":    {page(oncall.DeliveryDelivered, oncall.KindMessage), oncall.IncidentTriggered, "is there"},
		"a message that was refused": {page(oncall.DeliveryRefused, oncall.KindMessage), oncall.IncidentResolved, ""},
		"another incident's":         {oncall.Delivery{Key: "msg_other", State: oncall.DeliveryRefused}, oncall.IncidentTriggered, "no delivery msg_old"},
	} {
		t.Run(name, func(t *testing.T) {
			in := oncall.Incident{Number: 42, Key: "inc-42", State: c.incident, Escalation: "e", Deliveries: []oncall.Delivery{c.d},
				Told: []oncall.Told{{Endpoint: c.d.Endpoint, Failed: true}}}
			again := func() oncall.Decision {
				return oncall.Decide(now, in, oncall.Resend{Key: "msg_old", Body: []byte("frozen"), Actor: "chen", Via: "api"}, policy)
			}
			dec := again()
			if c.refuse != "" {
				if !dec.Refused || !strings.Contains(dec.Reply, c.refuse) || dec.Changed {
					t.Fatalf("%+v, want a refusal saying %q", dec, c.refuse)
				}
				return
			}
			if dec.Refused || len(dec.Deliveries) != 1 || len(dec.Timeline) == 0 {
				t.Fatalf("%+v", dec)
			}
			d, e := dec.Deliveries[0], dec.Timeline[len(dec.Timeline)-1]
			if string(d.Body) != "frozen" || d.Key == "msg_old" || d.Endpoint != c.d.Endpoint || d.User != "ana" || d.State != oncall.DeliveryQueued || !d.NextAt.Equal(now) {
				t.Errorf("%+v", d)
			}
			if e.Actor != "chen" || e.Delivery != d.Key || !strings.Contains(e.Text, "to page:ana-phone/0 again") {
				t.Errorf("%+v", e)
			}
			if failed := dec.Incident.Told[0].Failed; failed == (c.d.Kind == oncall.KindMessage) {
				t.Errorf("the endpoint counts as without a message: %v", failed)
			}
			if same := again().Deliveries[0]; same.Key != d.Key {
				t.Error("the key is not stable")
			}
			in.Deliveries = append(in.Deliveries, d)
			if dec := again(); !dec.Refused || !strings.Contains(dec.Reply, "already, as "+d.Key) {
				t.Errorf("twice at once: %+v", dec)
			}
			in.Deliveries[1].State = oncall.DeliveryRefused
			if third := again(); len(third.Deliveries) != 1 || third.Deliveries[0].Key == d.Key {
				t.Errorf("after it was refused again: %+v", third)
			}
		})
	}
}
