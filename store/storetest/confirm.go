package storetest

import (
	"testing"
	"time"

	"tocsin/oncall"
)

// confirm reports something of a delivery, and returns how often that was decided about.
func (e *env) confirm(key string, number int, state oncall.DeliveryState) int {
	e.t.Helper()
	calls := 0
	a := oncall.Attempt{At: e.now, Number: number, Outcome: oncall.Outcome(state), Error: "answered", Remote: "CA1"}
	w := oncall.Write{Now: e.now, Urgent: true} // without a lease: any replica is told
	e.must(e.s.ConfirmDelivery(e.ctx(), w, key, a, state, func(in oncall.Incident) (oncall.Decision, error) {
		calls++
		for _, d := range in.Deliveries {
			if d.Key == key {
				equal(e.t, d.State, state)
			}
		}
		return oncall.Decision{}, nil
	}))
	return calls
}

// accept commits that the far end took a claimed delivery and will say later whether it arrived.
func (e *env) accept(c oncall.Claim) {
	e.t.Helper()
	a := oncall.Attempt{At: e.now, Number: c.Delivery.Attempts, Outcome: oncall.OutcomeAccepted, Status: 201, Remote: "CA1"}
	e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, oncall.DeliveryAccepted, time.Time{}, nil))
}

// standing is a delivery's state with its confirmation, as Delivery and the incident have it.
func (e *env) standing(key string) string {
	e.t.Helper()
	d := e.delivery(key)
	for _, x := range e.load(d.Incident).Deliveries {
		if x.Key == key {
			equal(e.t, []any{x.State, x.Confirmation}, []any{d.State, d.Confirmation})
		}
	}
	return string(d.State) + " " + string(d.Confirmation)
}

// testConfirm: what was accepted holds up nothing, is sent to nobody again, and is delivered once that is reported.
func testConfirm(t *testing.T, e *env) {
	in := e.open("x")
	second := page(in, "page:a/0", "2")
	e.add(in.Number, second)
	c := e.claim()[0]
	key := c.Delivery.Key
	e.accept(c)
	e.accept(c) // once more does no harm
	equal(t, e.standing(key), "accepted waiting")
	last, err := e.s.LastDelivered(e.ctx())
	e.must(err)
	equal(t, len(last), 0)
	list := func(s oncall.DeliveryState) int {
		ds, err := e.s.DeliveryLog(e.ctx(), oncall.DeliveryFilter{States: []oncall.DeliveryState{s}, Limit: 10})
		e.must(err)
		return len(ds)
	}
	equal(t, []int{list(oncall.DeliveryAccepted), list(oncall.DeliveryDelivered)}, []int{1, 0})
	equal(t, keys(e.claim()), []string{second.Key}) // the next one to the same endpoint goes
	e.acquire()
	for _, c := range e.claim() {
		equal(t, c.Delivery.Key, second.Key) // a new epoch sends what was being sent, and nothing that was accepted
	}

	e.now = e.now.Add(time.Minute)
	equal(t, e.confirm(key, 1, oncall.DeliveryDelivered), 1)
	equal(t, e.standing(key), "delivered confirmed")
	before := len(e.load(in.Number).Timeline)
	equal(t, e.confirm(key, 1, oncall.DeliveryDelivered)+e.confirm(key, 1, oncall.DeliveryRefused), 0) // the first word counts
	equal(t, e.standing(key), "delivered confirmed")
	equal(t, len(e.load(in.Number).Timeline), before)
	equal(t, []int{list(oncall.DeliveryAccepted), list(oncall.DeliveryDelivered)}, []int{0, 1})
	e.wantCode(e.s.ConfirmDelivery(e.ctx(), e.write(), "msg_none", oncall.Attempt{}, oncall.DeliveryDelivered, nil), oncall.CodeNotFound)
	e.wantCode(e.s.ConfirmDelivery(e.ctx(), e.write(), key, oncall.Attempt{}, oncall.DeliveryQueued, nil), oncall.CodeInvalid)
}

// testConfirmEarly: a report may be faster than the result of the attempt that it is about, whatever that result is.
func testConfirmEarly(t *testing.T, e *env) {
	e.open("x")
	c := e.claim()[0]
	equal(t, e.confirm(c.Delivery.Key, 1, oncall.DeliveryDelivered), 1)
	equal(t, e.standing(c.Delivery.Key), "delivered confirmed")
	e.accept(c)
	e.finish(c, oncall.DeliveryQueued, e.now.Add(time.Second))
	equal(t, e.standing(c.Delivery.Key), "delivered confirmed")
	e.now = e.now.Add(time.Minute)
	equal(t, len(e.claim()), 0)

	e.open("y")
	c = e.claim()[0]
	e.finish(c, oncall.DeliveryQueued, e.now.Add(time.Second)) // no answer came, and yet it arrived
	equal(t, e.confirm(c.Delivery.Key, 1, oncall.DeliveryRefused), 0)
	equal(t, e.confirm(c.Delivery.Key, 1, oncall.DeliveryDelivered), 1)
	e.now = e.now.Add(time.Minute)
	equal(t, len(e.claim()), 0)
}

// testConfirmFailed: a failure counts for the attempt under way, not for one that was made again since.
func testConfirmFailed(t *testing.T, e *env) {
	e.open("x")
	c := e.claim()[0]
	e.finish(c, oncall.DeliveryQueued, e.now.Add(time.Second))
	e.now = e.now.Add(time.Minute)
	c = e.claim()[0]
	equal(t, e.confirm(c.Delivery.Key, 1, oncall.DeliveryRefused), 0) // the first call's end, while the second rings
	e.accept(c)
	equal(t, e.confirm(c.Delivery.Key, 1, oncall.DeliveryRefused), 0)
	equal(t, e.confirm(c.Delivery.Key, 2, oncall.DeliveryRefused), 1)
	equal(t, e.standing(c.Delivery.Key), "refused failed")
	equal(t, e.confirm(c.Delivery.Key, 2, oncall.DeliveryRefused), 0)
	equal(t, e.delivery(c.Delivery.Key).Error, "answered")

	// Whoever presses a key after what was taken for voicemail did get the call.
	equal(t, e.confirm(c.Delivery.Key, 2, oncall.DeliveryDelivered), 1)
	equal(t, e.standing(c.Delivery.Key), "delivered confirmed")
	equal(t, e.delivery(c.Delivery.Key).Error, "")
	equal(t, e.confirm(c.Delivery.Key, 2, oncall.DeliveryRefused), 0) // the end of the call
	equal(t, e.standing(c.Delivery.Key), "delivered confirmed")
}
