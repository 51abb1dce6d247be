package storetest

import (
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

// add queues deliveries of an incident.
func (e *env) add(number int64, ds ...oncall.Delivery) {
	e.t.Helper()
	e.update(number, func(_ oncall.Incident, d *oncall.Decision) { d.Deliveries = ds })
}

func (e *env) delivery(key string) oncall.Delivery {
	e.t.Helper()
	d, err := e.s.Delivery(e.ctx(), key)
	e.must(err)
	return d
}

// busy claims and delivers what an opened incident queued.
func (e *env) busy() {
	e.t.Helper()
	for _, c := range e.claim() {
		e.finish(c, oncall.DeliveryDelivered, time.Time{})
	}
	for _, key := range e.claimUpTo(0, every).Ended {
		e.settleAll(key, 100)
	}
}

func testClaimOrder(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	at := func(what string, priority int, after time.Duration) oncall.Delivery {
		d := page(in, oncall.Endpoint("page:"+what+"/0"), what)
		d.Priority, d.NextAt = priority, e.now.Add(after)
		return d
	}
	a, b, c, d := at("a2", 2, -time.Second), at("b", 0, 0), at("c", 0, -time.Minute), at("d", 0, time.Hour)
	e.add(in.Number, a, b, c, d)
	cs := e.claim()
	equal(t, keys(cs), []string{c.Key, b.Key, a.Key})
	got := cs[0].Delivery
	equal(t, string(got.Body), string(c.Body))
	equal(t, []any{got.State, got.Attempts, got.Endpoint, got.Kind, got.Target, got.User, got.Incident},
		[]any{oncall.DeliverySending, 1, c.Endpoint, c.Kind, c.Target, c.User, in.Number})
	equal(t, got.FirstAttemptAt, e.now.Truncate(time.Microsecond))
	equal(t, len(e.claim()), 0)
	stored := e.delivery(c.Key)
	equal(t, stored, got)
}

func testOneInFlight(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	first, second, third := page(in, "page:a/0", "1"), page(in, "page:a/0", "2"), page(in, "page:a/0", "3")
	first.Priority = 2 // order goes before priority
	other := page(in, "page:b/0", "1")
	e.add(in.Number, first, second, third, other)
	cs := e.claim()
	equal(t, keys(cs), []string{other.Key, first.Key})
	retry := e.now.Add(time.Minute)
	e.finish(cs[1], oncall.DeliveryQueued, retry)
	equal(t, len(e.claim()), 0)
	next := e.claimUpTo(10, every).Next
	equal(t, next, retry.Truncate(time.Microsecond))
	e.now = next
	cs = e.claim()
	equal(t, keys(cs), []string{first.Key})
	equal(t, cs[0].Delivery.Attempts, 2)
	e.finish(cs[0], oncall.DeliveryRefused, time.Time{})
	equal(t, keys(e.claim()), []string{second.Key})
}

func testFree(t *testing.T, e *env) {
	var all []oncall.Delivery
	var ins []oncall.Incident
	for _, g := range []string{"x", "y", "z"} {
		ins = append(ins, e.open(g))
		e.busy()
	}
	for _, in := range ins {
		a, b := page(in, "page:a/0", "told"), page(in, "page:b/0", "told")
		a.Kind, b.Kind = oncall.KindUpdated, oncall.KindUpdated // which is never bundled
		all = append(all, a)
		e.add(in.Number, a, b)
	}
	asked := map[oncall.Endpoint]int{}
	got := e.claimUpTo(10, func(p oncall.Endpoint, target string) int {
		equal(t, target, "")
		if p == "page:a/0" {
			return 2
		}
		asked[p]++
		return 0
	})
	equal(t, keys(got.Claims), []string{all[0].Key, all[1].Key})
	equal(t, got.Next, time.Time{})
	equal(t, asked, map[oncall.Endpoint]int{"page:b/0": 1})
	equal(t, len(e.claimUpTo(3, every).Claims), 3)
	equal(t, len(e.claim()), 1)
}

func testNext(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	late, later := page(in, "page:a/0", "late"), page(in, "page:b/0", "later")
	late.NextAt, later.NextAt = e.now.Add(time.Minute), e.now.Add(time.Hour)
	behind := page(in, "page:b/0", "behind")
	behind.NextAt = e.now.Add(time.Second) // waits for the one before it, not for its time
	e.add(in.Number, late, later, behind)
	got := e.claimUpTo(10, every)
	next := got.Next
	equal(t, len(got.Claims), 0)
	equal(t, next, late.NextAt.Truncate(time.Microsecond))
	e.now = next
	equal(t, keys(e.claim()), []string{late.Key})
}

func testOlderEpoch(t *testing.T, e *env) {
	e.open("x")
	first := e.claim()
	old := e.write()
	old.Lease = &oncall.Lease{Shard: "main", Owner: "me", Epoch: e.lease.Epoch}
	e.acquire()
	a := oncall.Attempt{At: e.now, Number: 1, Outcome: oncall.OutcomeDelivered}
	e.wantErr(e.s.FinishDelivery(e.ctx(), old, first[0].Delivery.Key, a, oncall.DeliveryDelivered, time.Time{}, nil), oncall.ErrLeaseLost)
	_, err := e.s.ClaimDeliveries(e.ctx(), old, oncall.ClaimRequest{Limit: 10, Free: every})
	e.wantErr(err, oncall.ErrLeaseLost)
	e.wantCode(e.s.FinishDelivery(e.ctx(), e.write(), first[0].Delivery.Key, a, oncall.DeliveryDelivered, time.Time{}, nil), oncall.CodeConflict)
	again := e.claim()
	equal(t, keys(again), keys(first))
	equal(t, again[0].Delivery.Attempts, 2)
	equal(t, len(e.claim()), 0)
	e.finish(again[0], oncall.DeliveryDelivered, time.Time{})
}

func testFinish(t *testing.T, e *env) {
	in := e.open("x")
	c := e.claim()[0]
	fail := oncall.Attempt{At: e.now, Took: time.Second, Number: 1, Outcome: oncall.OutcomeRetry, Status: 503, Error: "busy", Excerpt: "<html>"}
	e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, fail, oncall.DeliveryQueued, e.now.Add(time.Second), decision(
		func(in oncall.Incident, d *oncall.Decision) {
			equal(t, in.Deliveries[0].State, oncall.DeliveryQueued)
			equal(t, in.Deliveries[0].Error, "busy")
			d.Incident.Title = "decided"
			d.Timeline = []oncall.TimelineEntry{{At: e.now, Kind: oncall.EntryNotDelivered, Text: "after it"}}
		})))
	in = e.load(in.Number)
	equal(t, in.Title, "decided")
	entry := in.Timeline[1]
	equal(t, []any{entry.Kind, entry.Delivery, *entry.Attempt}, []any{oncall.EntryAttempt, c.Delivery.Key, fail})
	equal(t, entry.Text, "triggered page to user ana (page:a/0), attempt 1: not accepted (HTTP 503, busy), will be tried again")
	equal(t, in.Timeline[2].Text, "after it")

	e.now = e.now.Add(2 * time.Second)
	c = e.claim()[0]
	e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, oncall.Attempt{At: e.now, Number: 2, Outcome: oncall.OutcomeDelivered, Status: 200, Remote: "r", Revision: 3},
		oncall.DeliveryDelivered, time.Time{}, func(in oncall.Incident) (oncall.Decision, error) { return oncall.Decision{}, nil }))
	d := e.delivery(c.Delivery.Key)
	equal(t, []any{d.State, d.Status, d.Error, d.Excerpt, d.Remote, d.Revision, d.DoneAt, d.NextAt},
		[]any{oncall.DeliveryDelivered, 200, "", "", "r", int64(3), e.now.Truncate(time.Microsecond), time.Time{}})
	equal(t, len(e.load(in.Number).Timeline), 4)
	e.wantCode(e.s.FinishDelivery(e.ctx(), e.write(), "msg_none", fail, oncall.DeliveryQueued, e.now, nil), oncall.CodeNotFound)
}

func testFinishTwice(t *testing.T, e *env) {
	in := e.open("x")
	c := e.claim()[0]
	e.finish(c, oncall.DeliveryQueued, e.now.Add(time.Second))
	e.finish(c, oncall.DeliveryQueued, e.now.Add(time.Second))
	equal(t, len(e.load(in.Number).Timeline), 2)
	a := oncall.Attempt{At: e.now, Number: 1}
	e.wantCode(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, oncall.DeliveryDelivered, time.Time{}, nil), oncall.CodeConflict)
}

func testHostileText(t *testing.T, e *env) {
	in := e.open("x")
	c := e.claim()[0]
	a := oncall.Attempt{At: e.now, Number: 1, Status: 400, Error: "nul \x00 bad \xff", Excerpt: "\x00\xfe' \"; drop table incidents", Remote: "\xc3("}
	e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, oncall.DeliveryRefused, time.Time{}, nil))
	d := e.delivery(c.Delivery.Key)
	equal(t, []string{d.Error, d.Excerpt, d.Remote}, []string{"nul  bad \uFFFD", "\uFFFD' \"; drop table incidents", "\uFFFD("})
	e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) {
		d.Incident.Title = "\x00\xff"
		d.Timeline = []oncall.TimelineEntry{{At: e.now, Kind: oncall.EntryNote, Text: "\x00 <!channel> \xff"}}
	})
	if got := e.load(in.Number).Timeline[2].Text; !strings.Contains(got, "<!channel>") {
		t.Fatalf("got %q", got)
	}
}

func testDrop(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	first, second := page(in, "page:a/0", "1"), page(in, "page:a/0", "2")
	e.add(in.Number, first, second)
	drop := func(key string) {
		e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) {
			d.Drop = []oncall.Drop{{Key: key, Reason: "acknowledged"}}
		})
	}
	drop(first.Key)
	drop(first.Key) // once more does no harm
	d := e.delivery(first.Key)
	equal(t, []any{d.State, d.Error, d.DoneAt}, []any{oncall.DeliveryDropped, "acknowledged", e.now.Truncate(time.Microsecond)})
	equal(t, keys(e.claim()), []string{second.Key})
}

func testDropAgain(t *testing.T, e *env) {
	in := e.open("x")
	c := e.claim()[0] // being sent: it cannot be taken back
	calls := 0
	e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) {
		calls++
		d.Timeline = []oncall.TimelineEntry{{At: e.now, Kind: oncall.EntryNote, Text: "decided"}}
		if calls == 1 {
			d.Drop = []oncall.Drop{{Key: c.Delivery.Key}}
		}
	})
	equal(t, calls, 2)
	equal(t, texts(e.load(in.Number)), "opens x decided")
	_, err := e.s.UpdateIncident(e.ctx(), e.write(), in.Number, decision(func(_ oncall.Incident, d *oncall.Decision) {
		d.Drop = []oncall.Drop{{Key: c.Delivery.Key}}
		d.Incident.Title = "never"
	}))
	e.wantCode(err, oncall.CodeConflict)
	equal(t, e.load(in.Number).Title, "")
}

func edit(in oncall.Incident, what string) oncall.Delivery {
	d := page(in, "slack:#a", "edit "+what)
	d.Kind, d.Body, d.Priority = oncall.KindEdit, nil, oncall.PriorityUpdate
	return d
}

func testEdits(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	one, two := edit(in, "1"), edit(in, "2")
	one.NextAt, two.NextAt = e.now.Add(time.Second), e.now.Add(time.Minute)
	e.add(in.Number, one)
	e.add(in.Number, two)
	_, err := e.s.Delivery(e.ctx(), one.Key)
	e.wantCode(err, oncall.CodeNotFound)
	equal(t, len(e.load(in.Number).Deliveries), 1) // edits are not shown
	e.now = e.now.Add(2 * time.Second)
	cs := e.claim() // due when the replaced one was
	equal(t, keys(cs), []string{two.Key})
	three, four := edit(in, "3"), edit(in, "4")
	e.add(in.Number, three) // the second is being sent
	e.finish(cs[0], oncall.DeliveryQueued, e.now)
	e.add(in.Number, four) // the second was attempted: it stays
	cs = e.claim()
	equal(t, keys(cs), []string{two.Key})
	e.finish(cs[0], oncall.DeliveryDelivered, time.Time{})
	equal(t, keys(e.claim()), []string{four.Key})
	equal(t, len(e.load(in.Number).Timeline), 2) // no attempt of an edit that went well, or will go on
}

func testThreads(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	message := edit(in, "message")
	message.Kind = oncall.KindMessage
	e.add(in.Number, message, edit(in, "1"))
	finish := func(c oncall.Claim, remote string, revision int64) {
		a := oncall.Attempt{At: e.now, Number: 1, Outcome: oncall.OutcomeDelivered, Remote: remote, Revision: revision}
		e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, oncall.DeliveryDelivered, time.Time{}, nil))
	}
	c := e.claim()[0]
	equal(t, []any{c.Thread, c.Shown}, []any{"", int64(0)})
	finish(c, "C1/1.0", 4)
	c = e.claim()[0]
	equal(t, []any{c.Thread, c.Shown}, []any{"C1/1.0", int64(4)})
	finish(c, "", 6)
	reply := edit(in, "reply")
	reply.Kind, reply.Body = oncall.KindReply, []byte("{}")
	e.add(in.Number, reply)
	c = e.claim()[0]
	equal(t, []any{c.Thread, c.Shown}, []any{"C1/1.0", int64(6)})
	finish(c, "C1/2.0", 0) // where a reply is, nothing follows it
	e.add(in.Number, edit(in, "2"))
	c = e.claim()[0]
	equal(t, c.Thread, "C1/1.0")
	finish(c, "C1/3.0", 7) // somebody deleted the message: another took its place
	e.add(in.Number, edit(in, "3"))
	equal(t, e.claim()[0].Thread, "C1/3.0")
	// A chart goes into that thread too, by a queue of its own: an edit is being sent.
	chart := page(in, "chart:#a", "chart")
	chart.Kind, chart.Body, chart.Priority = oncall.KindChart, []byte("{}"), oncall.PriorityUpdate
	e.add(in.Number, chart)
	c = e.claim()[0]
	equal(t, []any{c.Thread, c.Delivery.Kind, c.Delivery.Endpoint}, []any{"C1/3.0", oncall.KindChart, oncall.ChartEndpoint("slack:#a")})
	finish(c, "C1/3.0", 0)
	for _, d := range e.load(in.Number).Deliveries {
		equal(t, d.Kind == oncall.KindChart, d.Key == chart.Key)
	}
}

func testSameKey(t *testing.T, e *env) {
	in := e.open("x")
	again := page(in, "page:a/0", "first")
	again.Body = []byte("other")
	e.add(in.Number, again, page(in, "page:c/0", "c"), page(in, "page:c/0", "c"))
	equal(t, len(e.load(in.Number).Deliveries), 2)
	equal(t, string(e.delivery(again.Key).Body), string(page(in, "page:a/0", "first").Body))
}
