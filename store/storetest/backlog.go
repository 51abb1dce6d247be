package storetest

import (
	"testing"
	"time"

	"tocsin/oncall"
)

// testBacklog: what waits for too long is found, what is on its way is not.
func testBacklog(t *testing.T, e *env) {
	e.must(e.s.Writable(e.ctx(), e.write()))
	lost := e.lease
	lost.Epoch++
	e.wantErr(e.s.Writable(e.ctx(), oncall.Write{Now: e.now, Lease: &lost}), oncall.ErrLeaseLost)

	find := func(cut time.Time, read int64) oncall.Backlog {
		t.Helper()
		b, err := e.s.Backlog(e.ctx(), cut, read)
		e.must(err)
		return b
	}
	later := start.Add(2 * time.Minute)
	equal(t, find(later, 0), oncall.Backlog{})

	e.must(e.s.Receive(e.ctx(), oncall.Write{Now: start}, []oncall.PostedAlert{{Labels: change(oncall.ChangeFiring, "x", "A", "").Labels, StartsAt: start, EndsAt: later}}))
	equal(t, find(later, 0).Received.IsZero(), false)
	equal(t, find(later, 1).Received.IsZero(), true)
	equal(t, find(start.Add(-time.Second), 0).Received.IsZero(), true)

	c := change(oncall.ChangeFiring, "x", "A", "waits")
	c.At = start
	e.hand(c)
	equal(t, find(later, 1).Change.IsZero(), false)
	e.apply(10)
	equal(t, find(later, 1).Change.IsZero(), true)

	e.update(1, func(_ oncall.Incident, d *oncall.Decision) { d.Incident.NextAt = start.Add(time.Minute) })
	equal(t, find(later, 1).Timer.IsZero(), false)
	equal(t, find(start, 1).Timer.IsZero(), true)
	e.update(1, func(_ oncall.Incident, d *oncall.Decision) { d.Incident.NextAt = time.Time{} })

	page := find(later, 1)
	equal(t, page.Page.IsZero(), false) // that of e.apply's incident
	got, err := e.s.ClaimDeliveries(e.ctx(), oncall.Write{Now: later, Lease: &e.lease}, oncall.ClaimRequest{Limit: 10, Free: every})
	e.must(err)
	equal(t, len(got.Claims) > 0, true)
	equal(t, find(later, 1), oncall.Backlog{})

	// Of groups: what waits where nothing comes to an end, not what waits its turn.
	a, b := notification("a", "team", "g"), notification("b", "team", "h")
	e.dispatch(oncall.Dispatch{Deliveries: []oncall.GroupDelivery{a, b}})
	equal(t, find(start.Add(-time.Second), 1).Notification.IsZero(), true)
	waits := find(later, 1)
	equal(t, waits.Notification, start.Truncate(time.Microsecond).UTC())
	equal(t, waits.Integration, a.Endpoint)
	retried := finished(a, oncall.DeliveryQueued, later.Add(time.Second))
	e.dispatch(oncall.Dispatch{Results: []oncall.GroupDelivery{retried}})
	equal(t, find(later, 1).Notification.IsZero(), true)                   // another attempt there ended
	equal(t, find(later.Add(time.Minute), 1).Notification.IsZero(), false) // long ago, by now
	e.dispatch(oncall.Dispatch{Results: []oncall.GroupDelivery{finished(a, oncall.DeliveryDelivered, later.Add(time.Minute))}})
	equal(t, find(later, 1).Notification.IsZero(), true)
	e.dispatch(oncall.Dispatch{Results: []oncall.GroupDelivery{finished(b, oncall.DeliveryRefused, later.Add(time.Minute))}})
	equal(t, find(later.Add(time.Hour), 1).Notification.IsZero(), true)
}
