package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

// gathering is a claim in which everything has room, and bundles are frozen as what they are.
func gathering() oncall.ClaimRequest {
	return oncall.ClaimRequest{Limit: 1000, Free: every, Freeze: func(d oncall.Delivery, b oncall.Bundle) []byte {
		numbers := []string{}
		for _, m := range b.Members {
			numbers = append(numbers, fmt.Sprint(m.Incident.Number))
		}
		return []byte(fmt.Sprintf("%d: %s, was %s", b.Count, strings.Join(numbers, " "), d.Body))
	}}
}

func (e *env) gather() oncall.Claimed {
	e.t.Helper()
	got, err := e.s.ClaimDeliveries(e.ctx(), e.write(), gathering())
	e.must(err)
	return got
}

// storm opens incidents, each of which pages ana.
func (e *env) storm(groups ...string) (ins []oncall.Incident) {
	e.t.Helper()
	for _, g := range groups {
		ins = append(ins, e.open(g))
	}
	return ins
}

// end commits how a carrier ended.
func (e *env) end(c oncall.Claim, state oncall.DeliveryState, a oncall.Attempt) {
	e.t.Helper()
	a.At, a.Number = e.now, c.Delivery.Attempts
	next := time.Time{}
	if state == oncall.DeliveryQueued {
		next = e.now
	}
	e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, state, next, nil))
}

// settleAll settles a bundle some members at a time, and returns what was decided about.
func (e *env) settleAll(carrier string, limit int) (events []oncall.DeliveryFinished) {
	e.t.Helper()
	for more := true; more; {
		var err error
		more, err = e.s.SettleBundle(e.ctx(), e.write(), carrier, limit, func(_ oncall.Incident, ev oncall.DeliveryFinished) (oncall.Decision, error) {
			events = append(events, ev)
			return oncall.Decision{}, nil
		})
		e.must(err)
	}
	return events
}

func testBundle(t *testing.T, e *env) {
	ins := e.storm("x", "y", "z")
	own := string(ins[0].Deliveries[0].Key)
	body := string(page(ins[0], "page:a/0", "first").Body)
	got := e.gather()
	equal(t, keys(got.Claims), []string{own})
	c := got.Claims[0]
	equal(t, []any{c.Bundle.Key, c.Bundle.Count, c.Bundle.States[oncall.IncidentTriggered], len(c.Bundle.Members)}, []any{own, 3, 3, 3})
	equal(t, c.Bundle.Members[2].Delivery, ins[2].Deliveries[0].Key)
	equal(t, c.Bundle.Members[2].Incident.GroupKey, "z")
	equal(t, string(c.Delivery.Body), "3: 1 2 3, was "+body)
	equal(t, e.delivery(own), c.Delivery)
	for _, in := range ins[1:] {
		d := e.delivery(in.Deliveries[0].Key)
		equal(t, []any{d.State, d.Attempts, d.Bundle, d.Bundled, d.FirstAttemptAt}, []any{oncall.DeliveryQueued, 1, own, 3, c.Delivery.FirstAttemptAt})
	}
	equal(t, len(e.gather().Claims), 0)
	equal(t, len(e.settleAll(own, 1)), 0) // it is under way

	// What comes meanwhile is of another bundle, and a retry is of the same, body included.
	e.storm("later")
	e.end(c, oncall.DeliveryQueued, oncall.Attempt{Outcome: oncall.OutcomeUnknown})
	again := e.gather()
	equal(t, len(again.Claims), 2)
	for _, a := range again.Claims {
		if a.Delivery.Key == own {
			equal(t, []any{a.Delivery.Attempts, a.Bundle.Count, string(a.Delivery.Body)}, []any{2, 3, string(c.Delivery.Body)})
			c = a
		} else {
			equal(t, a.Bundle == nil, true)
		}
	}
	equal(t, len(again.Ended), 0)

	e.end(c, oncall.DeliveryDelivered, oncall.Attempt{Outcome: oncall.OutcomeDelivered, Status: 204})
	equal(t, e.load(2).Deliveries[0].Arrived, true)
	equal(t, e.gather().Ended, []string{own})
	events := e.settleAll(own, 1)
	equal(t, len(events), 2)
	equal(t, []any{events[0].Key, events[0].State, events[0].Attempt.Outcome}, []any{ins[1].Deliveries[0].Key, oncall.DeliveryDelivered, oncall.OutcomeDelivered})
	equal(t, len(e.settleAll(own, 10)), 0)
	equal(t, len(e.gather().Ended), 0)
	for _, in := range ins[1:] {
		in := e.load(in.Number)
		d := in.Deliveries[0]
		equal(t, []any{d.State, d.Attempts, d.Status, d.Bundle, d.DoneAt}, []any{oncall.DeliveryDelivered, 2, 204, own, e.now.Truncate(time.Microsecond)})
		equal(t, in.Timeline[1].Text, "triggered page to user ana (page:a/0), attempt 2: delivered with 2 others in one page ("+own+") (HTTP 204)")
	}
	equal(t, e.load(1).Timeline[2].Text, "triggered page to user ana (page:a/0), attempt 2: delivered with 2 others in one page (HTTP 204)")
	b, err := e.s.Bundle(e.ctx(), own)
	e.must(err)
	equal(t, []any{b.Count, len(b.Members)}, []any{3, 3})
	_, err = e.s.Bundle(e.ctx(), ins[1].Deliveries[0].Key)
	e.wantCode(err, oncall.CodeNotFound)
}

// testBundleRoom: what may be bundled waits for its target's room, everything else for the endpoint's.
func testBundleRoom(t *testing.T, e *env) {
	ins := e.storm("x", "y")
	told := page(ins[0], "page:b/0", "told")
	told.Kind = oncall.KindResolved
	other := page(ins[0], "page:a/0", "other") // behind the first of its incident
	other.Target = "receiver team"
	mine := page(ins[1], "page:c/0", "mine")
	mine.Target = "receiver team"
	hers := page(ins[0], "page:c/0", "hers")
	e.add(ins[0].Number, told, other, hers)
	e.add(ins[1].Number, mine)
	rooms := map[string]int{}
	free := func(p oncall.Endpoint, target string) int {
		rooms[string(p)+" "+target]++
		if target == "" || p == "page:c/0" {
			return 9
		}
		return 0
	}
	got := e.claimUpTo(10, free)
	equal(t, keys(got.Claims), []string{told.Key, hers.Key, mine.Key}) // those of two targets go by themselves
	equal(t, rooms["page:a/0 user ana"] > 0 && rooms["page:a/0 receiver team"] > 0, true)
	for _, c := range got.Claims {
		equal(t, c.Bundle == nil, true)
	}
	// One that is not due, or not the oldest, is not carried.
	late := page(ins[1], "page:a/0", "late")
	late.NextAt = e.now.Add(time.Hour)
	e.add(ins[1].Number, late)
	got = e.gather()
	equal(t, keys(got.Claims), []string{ins[0].Deliveries[0].Key})
	equal(t, got.Claims[0].Bundle.Count, 2)
	equal(t, e.delivery(late.Key).Bundle, "")
	equal(t, e.delivery(other.Key).Bundle, "")
}

// testBundleRefused: what the far end may not have minded by itself goes by itself, unless nobody needs it any more, and
// what nobody would have taken is refused.
func testBundleRefused(t *testing.T, e *env) {
	e.storm("x", "y", "z")
	c := e.gather().Claims[0]
	e.update(2, func(_ oncall.Incident, d *oncall.Decision) { d.Incident.State = oncall.IncidentAcknowledged })
	e.end(c, oncall.DeliveryRefused, oncall.Attempt{Outcome: oncall.OutcomeRefused, Status: 400, Error: "too much"})
	equal(t, len(e.settleAll(c.Delivery.Key, 10)), 2)
	y, z := e.load(2), e.load(3)
	equal(t, []any{y.Deliveries[0].State, z.Deliveries[0].State, z.Deliveries[0].Bundle}, []any{oncall.DeliveryDropped, oncall.DeliveryQueued, ""})
	equal(t, z.Timeline[1].Text, "triggered page to user ana (page:a/0), attempt 1: refused with 2 others in one page ("+c.Delivery.Key+") (HTTP 400, too much), goes by itself now")
	equal(t, y.Timeline[1].Text, "triggered page to user ana (page:a/0), attempt 1: given up, no longer wanted (HTTP 400, too much)")
	e.storm("w")
	got := e.gather()
	equal(t, len(got.Claims), 2) // the released one is not bundled again
	for _, c := range got.Claims {
		equal(t, c.Bundle == nil, true)
	}

	e.storm("u", "v")
	c = e.gather().Claims[0]
	e.end(c, oncall.DeliveryRefused, oncall.Attempt{Outcome: oncall.OutcomeRefused, Status: 401})
	events := e.settleAll(c.Delivery.Key, 10)
	equal(t, []any{len(events), events[0].State}, []any{1, oncall.DeliveryRefused})
}

// testBundleCrash: what is carried stays so, whoever sends it.
func testBundleCrash(t *testing.T, e *env) {
	ins := e.storm("x", "y")
	c := e.gather().Claims[0]
	e.must(e.s.Close())
	e.s = e.db.Open(e.t, store.Options{})
	e.acquire()
	e.storm("z")
	var again oncall.Claim
	for _, a := range e.gather().Claims {
		if a.Delivery.Key == c.Delivery.Key {
			again = a
		}
	}
	equal(t, []any{again.Delivery.Attempts, again.Bundle.Count, string(again.Delivery.Body)}, []any{2, 2, string(c.Delivery.Body)})
	// It was attempted, and cannot be taken back.
	calls := 0
	e.update(2, func(in oncall.Incident, d *oncall.Decision) {
		if calls++; calls == 1 {
			d.Drop = []oncall.Drop{{Key: ins[1].Deliveries[0].Key}}
		}
	})
	equal(t, calls, 2)
	e.end(again, oncall.DeliveryDelivered, oncall.Attempt{Outcome: oncall.OutcomeDelivered})
	old := e.write()
	old.Lease = &oncall.Lease{Shard: "main", Owner: "me", Epoch: e.lease.Epoch - 1}
	_, err := e.s.SettleBundle(e.ctx(), old, c.Delivery.Key, 10, nil)
	e.wantErr(err, oncall.ErrLeaseLost)
	equal(t, len(e.settleAll(c.Delivery.Key, 10)), 1)
}

// testKinds: the schema takes every kind of delivery.
func testKinds(t *testing.T, e *env) {
	in := e.open("x")
	for i, kind := range []oncall.DeliveryKind{oncall.KindTriggered, oncall.KindUpdated, oncall.KindAcknowledged, oncall.KindResolved,
		oncall.KindMessage, oncall.KindEdit, oncall.KindReply, oncall.KindChart} {
		d := page(in, oncall.Endpoint(fmt.Sprintf("kind:%d", i)), "kind")
		d.Kind = kind
		if kind == oncall.KindChart {
			d.Endpoint = oncall.ChartEndpoint("slack:#a")
		}
		e.add(in.Number, d)
		equal(t, e.delivery(d.Key).Kind, kind)
	}
}

// testBundleConfirmed: what the far end says later of a carrier it says of all that it carried.
func testBundleConfirmed(t *testing.T, e *env) {
	for _, c := range []struct {
		state oncall.DeliveryState
		stand string
	}{{oncall.DeliveryDelivered, "delivered confirmed"}, {oncall.DeliveryRefused, "refused failed"}} {
		ins := e.storm("x "+string(c.state), "y "+string(c.state), "z "+string(c.state))
		claim := e.gather().Claims[0]
		key := claim.Delivery.Key
		e.accept(claim)
		equal(t, e.gather().Ended, []string{key})
		events := e.settleAll(key, 1)
		equal(t, []any{len(events), events[1].State}, []any{2, oncall.DeliveryAccepted})
		equal(t, e.standing(ins[2].Deliveries[0].Key), "accepted waiting")
		equal(t, len(e.gather().Ended), 0)
		equal(t, len(e.settleAll(key, 1)), 0)
		e.confirm(key, 1, c.state)
		equal(t, e.gather().Ended, []string{key})
		events = e.settleAll(key, 1)
		equal(t, []any{len(events), events[1].State}, []any{2, c.state})
		equal(t, e.standing(ins[2].Deliveries[0].Key), c.stand)
		equal(t, len(e.gather().Ended), 0)
	}
	// The report may be faster than the settling.
	ins := e.storm("u", "v")
	claim := e.gather().Claims[0]
	e.confirm(claim.Delivery.Key, 1, oncall.DeliveryRefused)
	equal(t, len(e.settleAll(claim.Delivery.Key, 10)), 1)
	equal(t, e.delivery(ins[1].Deliveries[0].Key).State, oncall.DeliveryRefused)
}

// testBundleDrill: nobody may take a page for a drill, nor a drill for a page.
func testBundleDrill(t *testing.T, e *env) {
	ins := e.storm("x")
	number, _, err := e.s.OpenIncident(e.ctx(), oncall.Write{Now: e.now}, oncall.Place{Escalation: "drill ana", GroupKey: "y"},
		func(in oncall.Incident) (oncall.Decision, error) {
			in.State, in.Drill, in.TriggeredAt = oncall.IncidentTriggered, &oncall.Drill{User: "ana"}, e.now
			return oncall.Decision{Changed: true, Incident: in, Deliveries: []oncall.Delivery{page(in, "page:b/0", "drill")}}, nil
		})
	e.must(err)
	first, second := page(ins[0], "page:b/0", "1"), page(ins[0], "page:c/0", "2")
	e.add(1, first, second)
	for _, c := range e.gather().Claims {
		if c.Delivery.Drill != (c.Delivery.Incident == number) {
			t.Errorf("#%d is claimed as of a drill: %v", c.Delivery.Incident, c.Delivery.Drill)
		}
		if c.Delivery.Endpoint == "page:b/0" && (c.Bundle != nil || (c.Lane == "") != (c.Delivery.Incident == number)) {
			t.Errorf("#%d goes in the lane %q with %+v", c.Delivery.Incident, c.Lane, c.Bundle)
		}
	}
	all, err := e.s.DeliveryLog(e.ctx(), oncall.DeliveryFilter{Endpoint: "page:b/0", Limit: 10})
	e.must(err)
	for _, d := range all {
		equal(t, d.Drill, d.Incident == number)
	}
}

// testBundlePosted: a message of several incidents is one thread for all of them; an edit of one carries the edits of the
// others, and a reply their replies. Where it had to be posted anew, that is where it is for all.
func testBundlePosted(t *testing.T, e *env) {
	ins := e.storm("x", "y", "z")
	e.busy()
	of := func(in oncall.Incident, kind oncall.DeliveryKind, what string) oncall.Delivery {
		d := page(in, "slack:#a", what)
		d.Kind, d.Body, d.Priority = kind, nil, oncall.PriorityUpdate
		if kind == oncall.KindReply {
			d.Body = []byte("reply of " + in.GroupKey)
		}
		if kind != oncall.KindMessage {
			d.Target, d.User = "", ""
		}
		return d
	}
	say := func(kind oncall.DeliveryKind, what string) {
		for _, in := range ins {
			e.add(in.Number, of(in, kind, what))
		}
	}
	one := func() oncall.Claim {
		t.Helper()
		got := e.gather()
		equal(t, len(got.Claims), 1)
		return got.Claims[0]
	}
	say(oncall.KindMessage, "message")
	c := one()
	carrier := c.Delivery.Key
	equal(t, []any{c.Bundle.Count, c.Posted}, []any{3, ""})
	say(oncall.KindEdit, "edit 1") // they wait for the message
	equal(t, len(e.gather().Claims), 0)
	e.end(c, oncall.DeliveryDelivered, oncall.Attempt{Outcome: oncall.OutcomeDelivered, Remote: "C1/1.0", Revision: 1})
	equal(t, len(e.settleAll(carrier, 10)), 2)
	equal(t, e.delivery(of(ins[2], oncall.KindMessage, "message").Key).Remote, "C1/1.0")

	c = one()
	equal(t, []any{c.Delivery.Kind, c.Bundle.Count, c.Posted, c.Thread}, []any{oncall.KindEdit, 3, carrier, "C1/1.0"})
	say(oncall.KindReply, "reply")
	say(oncall.KindEdit, "edit 2")
	equal(t, len(e.gather().Claims), 0)
	e.end(c, oncall.DeliveryQueued, oncall.Attempt{Outcome: oncall.OutcomeRetry})
	c = one()
	equal(t, []any{c.Delivery.Attempts, c.Bundle.Count}, []any{2, 3})
	e.end(c, oncall.DeliveryDelivered, oncall.Attempt{Outcome: oncall.OutcomeDelivered, Remote: "C1/2.0", Revision: 2}) // posted anew
	equal(t, e.gather().Ended, []string{c.Delivery.Key})
	equal(t, len(e.settleAll(c.Delivery.Key, 10)), 0) // nothing is to be decided about edits
	equal(t, len(e.gather().Ended), 0)

	// Claimed already by the gathering above: the first incident's reply, alone, as the others still waited for their edits.
	b, err := e.s.Bundle(e.ctx(), carrier)
	e.must(err)
	equal(t, b.Count, 3)
	e.acquire()
	threads := map[string]int{}
	for range 4 {
		for _, c := range e.gather().Claims {
			equal(t, []any{c.Posted, c.Thread}, []any{carrier, "C1/2.0"})
			n := 1
			if c.Bundle != nil {
				n = c.Bundle.Count
				if c.Delivery.Kind == oncall.KindReply {
					equal(t, string(c.Bundle.Members[1].Body), "reply of "+c.Bundle.Members[1].Incident.GroupKey)
				}
			}
			threads[string(c.Delivery.Kind)] += n
			e.end(c, oncall.DeliveryDelivered, oncall.Attempt{Outcome: oncall.OutcomeDelivered, Remote: "C1/2.0"})
		}
		for _, key := range e.gather().Ended {
			e.settleAll(key, 10)
		}
		e.acquire() // what the gathering for Ended took is due again
	}
	equal(t, threads, map[string]int{"reply": 3, "edit": 3})
	for _, in := range ins {
		for _, d := range e.load(in.Number).Deliveries {
			equal(t, d.State, oncall.DeliveryDelivered)
		}
	}
}
