package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

func texts(in oncall.Incident) string {
	var s []string
	for _, e := range in.Timeline {
		s = append(s, e.Text)
	}
	return strings.Join(s, " ")
}

func testOpenAndExtend(t *testing.T, e *env) {
	first := change(oncall.ChangeFiring, "x", "A", "1")
	first.LinkedFrom = 17
	e.hand(first, change(oncall.ChangeFiring, "y", "A", "2"), change(oncall.ChangeFiring, "x", "B", "3"), change(oncall.ChangeResolved, "x", "A", "4"))
	var calls []string
	n, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 100, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
		calls = append(calls, fmt.Sprintf("#%d %s %s %d from %d", in.Number, in.GroupKey, in.GroupLabels, len(cs), in.LinkedFrom))
		return e.decideChanges(in, cs)
	})
	e.must(err)
	equal(t, n, 4)
	equal(t, calls, []string{`#1 x {group="x"} 3 from 17`, `#2 y {group="y"} 1 from 0`})
	x := e.load(1)
	id, err := e.s.InstanceID(e.ctx())
	e.must(err)
	equal(t, []string{x.Key, x.Escalation, x.Why, texts(x)}, []string{"tocsin-" + id + "-1", "team", "by group", "1 3 4"})
	equal(t, len(x.Alerts), 2)
	equal(t, len(x.Deliveries[0].Body), 0)

	e.hand(change(oncall.ChangeFiring, "x", "C", "5"))
	equal(t, e.apply(100), 1)
	equal(t, texts(e.load(1)), "1 3 4 5")
	e.hand(change(oncall.ChangeResolved, "x", "C", "6"), change(oncall.ChangeResolved, "x", "B", "7"))
	e.apply(100)
	equal(t, e.load(1).State, oncall.IncidentResolved)
	e.hand(change(oncall.ChangeFiring, "x", "C", "8"))
	e.apply(100)
	equal(t, texts(e.load(3)), "8")
}

func testAllHolders(t *testing.T, e *env) {
	in := e.open("x")
	e.update(in.Number, func(in oncall.Incident, d *oncall.Decision) { resolve(&d.Incident, e.now) }) // by hand, its alert still fires
	again := change(oncall.ChangeFiring, "x", "A", "again")
	again.LinkedFrom = in.Number
	e.hand(again)
	e.apply(100)
	e.hand(change(oncall.ChangeUnknown, "x", "A", "unknown"), change(oncall.ChangeResolved, "x", "A", "over"), change(oncall.ChangeResolved, "z", "A", "nobody's"))
	equal(t, e.apply(100), 3)
	equal(t, texts(e.load(1)), "opens x unknown over")
	equal(t, texts(e.load(2)), "again unknown over")
	e.hand(change(oncall.ChangeResolved, "x", "A", "late"))
	equal(t, e.apply(100), 1)
	equal(t, texts(e.load(2)), "again unknown over")
}

func testLimit(t *testing.T, e *env) {
	for i := range 5 {
		e.hand(change(oncall.ChangeFiring, "x", fmt.Sprint(i), fmt.Sprint(i)))
	}
	equal(t, []int{e.apply(2), e.apply(2), e.apply(2), e.apply(2)}, []int{2, 2, 1, 0})
	equal(t, texts(e.load(1)), "0 1 2 3 4")
}

func testNothingDecided(t *testing.T, e *env) {
	e.hand(change(oncall.ChangeFiring, "x", "A", "1"))
	nothing := func(in oncall.Incident, _ []oncall.AlertChange) (oncall.Decision, error) {
		return oncall.Decision{Incident: in}, nil
	}
	n, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 10, place, nothing)
	e.must(err)
	equal(t, n, 1)
	equal(t, e.apply(10), 0)
	equal(t, e.open("y").Number, int64(1)) // the number was not used up
}

// testNowhere: a change whose place is nowhere is consumed and opens nothing.
func testNowhere(t *testing.T, e *env) {
	e.hand(change(oncall.ChangeFiring, "x", "A", "1"), change(oncall.ChangeFiring, "y", "A", "2"), change(oncall.ChangeResolved, "x", "A", "3"))
	n, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 10, func(c oncall.AlertChange) oncall.Place {
		if p := place(c); p.GroupKey != "x" {
			return p
		}
		return oncall.Place{Why: "told to nobody"}
	}, e.decideChanges)
	e.must(err)
	equal(t, n, 3)
	equal(t, e.load(1).GroupKey, "y")
	_, err = e.s.Incident(e.ctx(), 2)
	e.wantCode(err, oncall.CodeNotFound)
	equal(t, e.apply(10), 0)
}

func testRequeue(t *testing.T, e *env) {
	in := e.open("x")
	again := change(oncall.ChangeFiring, "x", "A", "linked")
	again.LinkedFrom = in.Number
	e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) {
		resolve(&d.Incident, e.now)
		d.Requeue = []oncall.AlertChange{again}
	})
	equal(t, e.apply(10), 1)
	equal(t, e.load(2).LinkedFrom, in.Number)
}

// testRequeueOrder: an alert that ended while its incident was handed over is over in the new one too. Its
// end waits in the queue already when the decision, which cannot know of it, hands the alert back.
func testRequeueOrder(t *testing.T, e *env) {
	in := e.open("x")
	again := change(oncall.ChangeFiring, "x", "A", "linked")
	again.LinkedFrom = in.Number
	e.hand(change(oncall.ChangeResolved, "x", "A", "over"), change(oncall.ChangeFiring, "y", "B", "other"))
	e.update(in.Number, func(in oncall.Incident, d *oncall.Decision) {
		resolve(&d.Incident, e.now)
		a := in.Alerts[0]
		a.State = oncall.StateResolved
		d.Alerts = []oncall.IncidentAlert{a}
		d.Requeue = []oncall.AlertChange{again, change(oncall.ChangeFiring, "x", "C", "too")}
	})
	equal(t, e.apply(10), 4)
	equal(t, texts(e.load(2)), "linked too over")
	equal(t, e.load(2).Alerts[0].State, oncall.StateResolved)
}

// testClosedByHand: what is said again of an alert that an incident holds which was closed by hand opens nothing.
// Another alert does, and so does the same one once it had ended.
func testClosedByHand(t *testing.T, e *env) {
	in := e.open("x")
	e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) { resolve(&d.Incident, e.now) })
	e.hand(change(oncall.ChangeFiring, "x", "A", "again"))
	equal(t, e.apply(10), 1)
	equal(t, texts(e.load(in.Number)), texts(in)+" again")
	_, err := e.s.Incident(e.ctx(), 2)
	e.wantCode(err, oncall.CodeNotFound)
	e.hand(change(oncall.ChangeResolved, "x", "A", "over"), change(oncall.ChangeFiring, "x", "A", "anew"))
	equal(t, e.apply(10), 2)
	equal(t, texts(e.load(2)), "anew")
	e.update(2, func(_ oncall.Incident, d *oncall.Decision) { resolve(&d.Incident, e.now) })
	e.hand(change(oncall.ChangeFiring, "x", "B", "another"))
	equal(t, e.apply(10), 1)
	equal(t, texts(e.load(3)), "another")
}

func testFailingChanges(t *testing.T, e *env) {
	e.hand(change(oncall.ChangeFiring, "x", "A", "1"), change(oncall.ChangeFiring, "y", "A", "2"))
	boom := errors.New("boom")
	_, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 10, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
		if in.GroupKey == "y" {
			return oncall.Decision{}, boom
		}
		return e.decideChanges(in, cs)
	})
	e.wantErr(err, boom)
	_, err = e.s.ApplyAlertChanges(e.ctx(), e.write(), 10, func(oncall.AlertChange) oncall.Place { panic("no place") }, e.decideChanges)
	e.wantCode(err, oncall.CodeInternal)
	list, err := e.s.Incidents(e.ctx(), oncall.IncidentFilter{})
	e.must(err)
	equal(t, len(list), 0)
	equal(t, e.apply(10), 2)
}

func testLongNames(t *testing.T, e *env) {
	var random strings.Builder // does not compress
	for i := range 4000 {
		fmt.Fprintf(&random, "%x", i*i*7919)
	}
	long := random.String()
	e.hand(change(oncall.ChangeFiring, long, "A", "1"), change(oncall.ChangeFiring, long+"x", "A", "2"), change(oncall.ChangeFiring, long, "B", "3"))
	e.apply(10)
	equal(t, texts(e.load(1)), "1 3")
	equal(t, texts(e.load(2)), "2")
	a := alertNamed("A", 1)
	a.Rule = oncall.RuleID(long)
	e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{Upserts: []oncall.Alert{a}}))
	st, err := e.s.LoadEvaluator(e.ctx())
	e.must(err)
	equal(t, st.Alerts, []oncall.Alert{a})
	w := e.write()
	w.Request = long
	_, err = e.s.UpdateIncident(e.ctx(), w, 1, decision(func(oncall.Incident, *oncall.Decision) {}))
	e.must(err)
}

func testUpdate(t *testing.T, e *env) {
	in := e.open("x")
	d, err := e.s.UpdateIncident(e.ctx(), oncall.Write{Now: e.now, Urgent: true}, in.Number, decision(func(in oncall.Incident, d *oncall.Decision) {
		equal(t, len(in.Alerts)+len(in.Deliveries)+len(in.Timeline), 3)
		d.Incident.State, d.Incident.AcknowledgedBy, d.Reply = oncall.IncidentAcknowledged, "ana", "yours"
		d.Incident.Revision++
	}))
	e.must(err)
	equal(t, d.Reply, "yours")
	equal(t, e.load(in.Number).AcknowledgedBy, "ana")

	_, err = e.s.UpdateIncident(e.ctx(), e.write(), 99, decision(func(oncall.Incident, *oncall.Decision) {}))
	e.wantCode(err, oncall.CodeNotFound)
	_, err = e.s.Incident(e.ctx(), 99)
	e.wantCode(err, oncall.CodeNotFound)

	before := e.load(in.Number)
	d, err = e.s.UpdateIncident(e.ctx(), e.write(), in.Number, func(in oncall.Incident) (oncall.Decision, error) {
		in.Title = "changed"
		return oncall.Decision{Incident: in, Reply: "no", Refused: true}, nil
	})
	e.must(err)
	equal(t, d.Refused, true)
	equal(t, e.load(in.Number), before)
}

func testRollback(t *testing.T, e *env) {
	in := e.open("x")
	before := e.load(in.Number)
	boom := errors.New("boom")
	_, err := e.s.UpdateIncident(e.ctx(), e.write(), in.Number, func(oncall.Incident) (oncall.Decision, error) { return oncall.Decision{}, boom })
	e.wantErr(err, boom)
	_, err = e.s.UpdateIncident(e.ctx(), e.write(), in.Number, func(oncall.Incident) (oncall.Decision, error) { panic("boom") })
	e.wantCode(err, oncall.CodeInternal)
	_, err = e.s.UpdateIncident(e.ctx(), e.write(), in.Number, decision(func(in oncall.Incident, d *oncall.Decision) {
		d.Deliveries = []oncall.Delivery{page(in, "page:b/0", "x")}
		d.Timeline = []oncall.TimelineEntry{{Text: "x"}}
		d.Alerts = []oncall.IncidentAlert{{Fingerprint: "f", State: "burning"}} // breaks a rule of the schema
	}))
	e.wantCode(err, oncall.CodeInternal)
	equal(t, e.load(in.Number), before)
	stale := e.write()
	stale.Lease = &oncall.Lease{Shard: "main", Owner: "me", Epoch: e.lease.Epoch + 1}
	_, err = e.s.UpdateIncident(e.ctx(), stale, in.Number, decision(func(oncall.Incident, *oncall.Decision) {}))
	e.wantErr(err, oncall.ErrLeaseLost)
	equal(t, e.load(in.Number), before)
}

func testRequest(t *testing.T, e *env) {
	in := e.open("x")
	w := oncall.Write{Now: e.now, Request: "signature"}
	note := decision(func(_ oncall.Incident, d *oncall.Decision) {
		d.Timeline = []oncall.TimelineEntry{{At: e.now, Kind: oncall.EntryNote, Text: "note"}}
	})
	boom := errors.New("boom")
	_, err := e.s.UpdateIncident(e.ctx(), w, in.Number, func(oncall.Incident) (oncall.Decision, error) { return oncall.Decision{}, boom })
	e.wantErr(err, boom)
	_, err = e.s.UpdateIncident(e.ctx(), w, in.Number, note) // the failed one did not count
	e.must(err)
	_, err = e.s.UpdateIncident(e.ctx(), w, in.Number, note)
	e.wantErr(err, oncall.ErrRequestSeen)
	equal(t, texts(e.load(in.Number)), "opens x note")

	other := oncall.Write{Now: e.now.Add(25 * time.Hour), Request: "other"}
	_, err = e.s.UpdateIncident(e.ctx(), other, in.Number, note)
	e.must(err)
	w.Now = other.Now
	_, err = e.s.UpdateIncident(e.ctx(), w, in.Number, note) // forgotten after a day
	e.must(err)
}

func testDue(t *testing.T, e *env) {
	for i, g := range []string{"x", "y", "z"} {
		in := e.open(g)
		e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) {
			d.Incident.NextAt = start.Add(time.Duration(3-i) * time.Second)
		})
	}
	due, next, err := e.s.DueIncidents(e.ctx(), start, 10)
	e.must(err)
	equal(t, len(due), 0)
	if next.Before(start.Add(time.Second)) || next.After(start.Add(time.Second+time.Microsecond)) {
		t.Fatalf("next is %v", next)
	}
	due, next, err = e.s.DueIncidents(e.ctx(), next.Add(time.Second), 10)
	e.must(err)
	equal(t, due, []int64{3, 2})
	due, _, err = e.s.DueIncidents(e.ctx(), next, 1)
	e.must(err)
	equal(t, due, []int64{3})
	_, next, err = e.s.DueIncidents(e.ctx(), next, 10)
	e.must(err)
	equal(t, next, time.Time{})
}

func testList(t *testing.T, e *env) {
	for _, g := range []string{"x", "y", "z"} {
		e.open(g)
	}
	e.hand(change(oncall.ChangeResolved, "y", "A", "over"), change(oncall.ChangeFiring, "z", "B", "more"))
	e.apply(10)
	for _, c := range []struct {
		f    oncall.IncidentFilter
		want string
	}{
		{oncall.IncidentFilter{}, "3/2 2/1 1/1"},
		{oncall.IncidentFilter{Before: 3, Limit: 1}, "2/1"},
		{oncall.IncidentFilter{States: []oncall.IncidentState{oncall.IncidentTriggered}}, "3/2 1/1"},
		{oncall.IncidentFilter{States: []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentResolved}, Limit: 2}, "3/2 2/1"},
		{oncall.IncidentFilter{States: []oncall.IncidentState{oncall.IncidentSnoozed}}, ""},
	} {
		list, err := e.s.Incidents(e.ctx(), c.f)
		e.must(err)
		var got []string
		for _, in := range list {
			got = append(got, fmt.Sprintf("%d/%d", in.Number, len(in.Alerts)))
		}
		equal(t, strings.Join(got, " "), c.want)
	}
}

func testTimeline(t *testing.T, e *env) {
	in := e.open("x")
	for i := range 120 {
		e.update(in.Number, func(_ oncall.Incident, d *oncall.Decision) {
			d.Timeline = []oncall.TimelineEntry{{At: e.now, Kind: oncall.EntryNote, Text: fmt.Sprint(i)}}
		})
	}
	equal(t, len(e.load(in.Number).Timeline), 121)
	e.update(in.Number, func(in oncall.Incident, _ *oncall.Decision) {
		equal(t, len(in.Timeline), 50)
		equal(t, in.Timeline[49].Text, "119")
	})
}

func testPrune(t *testing.T, e *env) {
	for _, g := range []string{"x", "y", "z"} {
		e.open(g)
	}
	for _, c := range e.claim() {
		if c.Delivery.Incident != 3 {
			e.finish(c, oncall.DeliveryDelivered, time.Time{})
		}
	}
	for _, n := range []int64{1, 3} {
		e.update(n, func(_ oncall.Incident, d *oncall.Decision) { resolve(&d.Incident, e.now) })
	}
	e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{Transitions: []oncall.Transition{{Rule: "r", Fingerprint: "f", At: start}}}))
	n, err := e.s.Prune(e.ctx(), start, 0)
	e.must(err)
	equal(t, n, 0)
	n, err = e.s.Prune(e.ctx(), start.Add(time.Second), 0)
	e.must(err)
	equal(t, n, 1) // the second is open, the third has a delivery that is not finished
	_, err = e.s.Incident(e.ctx(), 1)
	e.wantCode(err, oncall.CodeNotFound)
	equal(t, len(e.load(3).Deliveries), 1)
	ts, err := e.s.Transitions(e.ctx(), []oncall.Fingerprint{"f"}, time.Time{}, time.Time{}, 0)
	e.must(err)
	equal(t, len(ts), 0)
	equal(t, e.open("new").Number, int64(4))
}

func testCallerLeaves(t *testing.T, e *env) {
	in := e.open("x")
	ctx, cancel := context.WithCancel(e.ctx())
	inside, proceed := make(chan struct{}), make(chan struct{})
	left := make(chan error, 1)
	go func() {
		_, err := e.s.UpdateIncident(ctx, e.write(), in.Number, decision(func(_ oncall.Incident, d *oncall.Decision) {
			close(inside)
			<-proceed
			d.Incident.Title = "committed all the same"
		}))
		left <- err
	}()
	<-inside
	queued := make(chan error, 1)
	go func() {
		_, err := e.s.UpdateIncident(ctx, e.write(), in.Number, decision(func(_ oncall.Incident, d *oncall.Decision) { d.Incident.Title = "too late" }))
		queued <- err
	}()
	cancel()
	for _, c := range []chan error{left, queued} {
		err := <-c
		e.wantErr(err, context.Canceled)
		e.wantCode(err, oncall.CodeUnavailable)
	}
	close(proceed)
	e.update(in.Number, func(oncall.Incident, *oncall.Decision) {}) // behind the other in the queue
	equal(t, e.load(in.Number).Title, "committed all the same")
}
