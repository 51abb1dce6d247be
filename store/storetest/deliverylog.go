package storetest

import (
	"testing"
	"time"

	"tocsin/oncall"
)

func testDeliveryLog(t *testing.T, e *env) {
	var all []string // newest first
	for _, g := range []string{"x", "y"} {
		in := e.open(g)
		e.busy()
		for _, what := range []string{"1", "2"} {
			e.now = e.now.Add(time.Second)
			d := page(in, "page:log/0", g+what)
			e.add(in.Number, d)
			all = append([]string{d.Key}, all...)
			e.finish(e.claim()[0], map[string]oncall.DeliveryState{"1": oncall.DeliveryDelivered, "2": oncall.DeliveryRefused}[what], time.Time{})
		}
	}
	list := func(f oncall.DeliveryFilter) []string {
		t.Helper()
		if f.Limit == 0 {
			f.Limit = 100
		}
		ds, err := e.s.DeliveryLog(e.ctx(), f)
		e.must(err)
		var got []string
		for _, d := range ds {
			if d.Endpoint == "page:log/0" { // not what opening an incident sends
				got = append(got, d.Key)
			}
			if d.Body != nil {
				t.Error("a list carries bodies")
			}
		}
		return got
	}
	equal(t, list(oncall.DeliveryFilter{}), all)
	equal(t, list(oncall.DeliveryFilter{Endpoint: "page:log/0", Limit: 2}), all[:2])
	equal(t, list(oncall.DeliveryFilter{Endpoint: "page:log/0", Limit: 2, Before: all[1]}), all[2:])
	equal(t, list(oncall.DeliveryFilter{Incident: e.delivery(all[0]).Incident}), all[:2])
	equal(t, list(oncall.DeliveryFilter{States: []oncall.DeliveryState{oncall.DeliveryRefused}}), []string{all[0], all[2]})
	equal(t, list(oncall.DeliveryFilter{States: []oncall.DeliveryState{oncall.DeliveryRefused, oncall.DeliveryDelivered}, Endpoint: "page:log/0"}), all)
	equal(t, list(oncall.DeliveryFilter{Endpoint: "page:other/0"}), []string(nil))
	_, err := e.s.DeliveryLog(e.ctx(), oncall.DeliveryFilter{Before: "msg_none", Limit: 1})
	equal(t, oncall.ErrorCode(err), oncall.CodeNotFound)
}

func testDeliveryAttempts(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	d := page(in, "page:log/0", "1")
	d.Body = []byte(`{"type":"x"}`)
	e.add(in.Number, d, page(in, "page:other/0", "1"))
	sent := &oncall.Sent{Method: "POST", URL: "https://sms.example/…", Headers: map[string]string{"webhook-id": d.Key}}
	for i := range 2 {
		for _, c := range e.claim() {
			state, at := oncall.DeliveryQueued, e.now
			if i == 1 {
				state, at = oncall.DeliveryDelivered, time.Time{}
			}
			a := oncall.Attempt{At: e.now.Truncate(time.Microsecond).UTC(), Took: time.Second, Number: c.Delivery.Attempts, Outcome: oncall.OutcomeRetry, Status: 500 + i, Sent: sent}
			e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, state, at, nil))
		}
	}
	got, attempts, err := e.s.DeliveryAttempts(e.ctx(), d.Key)
	e.must(err)
	equal(t, []any{string(got.Body), got.State, len(attempts)}, []any{string(d.Body), oncall.DeliveryDelivered, 2})
	equal(t, []any{attempts[0].Status, attempts[1].Status, attempts[1].Number, attempts[1].Sent}, []any{500, 501, 2, sent})
	_, _, err = e.s.DeliveryAttempts(e.ctx(), "msg_none")
	equal(t, oncall.ErrorCode(err), oncall.CodeNotFound)
}

func testEndpointQueues(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	e.now = e.now.Add(time.Minute)
	began := e.now.Truncate(time.Microsecond)
	first, second, other := page(in, "page:log/0", "1"), page(in, "page:log/0", "2"), page(in, "page:other/0", "1")
	second.NextAt = e.now.Add(time.Hour)
	e.add(in.Number, first, second, other)
	for _, c := range e.claim() {
		if c.Delivery.Key == other.Key {
			e.finish(c, oncall.DeliveryDelivered, time.Time{})
		}
	}
	queues, err := e.s.EndpointQueues(e.ctx())
	e.must(err)
	equal(t, queues, []oncall.EndpointQueue{{Endpoint: "page:log/0", Waiting: 1, Sending: 1, Oldest: began, NextAt: began.Add(time.Hour)}})
	last, err := e.s.LastDelivered(e.ctx())
	e.must(err)
	equal(t, last["page:other/0"], began)
	equal(t, last["page:log/0"], time.Time{})
}
