package storetest

import (
	"fmt"
	"testing"
	"time"

	"tocsin/oncall"
)

// placeFor is place with a window in which an incident goes on.
func placeFor(within time.Duration) func(oncall.AlertChange) oncall.Place {
	return func(c oncall.AlertChange) oncall.Place {
		p := place(c)
		p.ReopenWithin = within
		return p
	}
}

// told applies what waits, and says which incidents were decided about, in which state.
func (e *env) told(within time.Duration) []string {
	e.t.Helper()
	var calls []string
	_, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 100, placeFor(within), func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
		calls = append(calls, fmt.Sprintf("#%d %s", in.Number, in.State))
		if in.State == oncall.IncidentResolved {
			in.State, in.ResolvedAt = oncall.IncidentTriggered, time.Time{}
		}
		return e.decideChanges(in, cs)
	})
	e.must(err)
	return calls
}

// testGoesOn: an incident that its alerts resolved goes on within the window, and one closed by hand never does.
func testGoesOn(t *testing.T, e *env) {
	e.open("x")
	over := change(oncall.ChangeResolved, "x", "A", "over")
	e.hand(over)
	e.apply(10)
	again := change(oncall.ChangeFiring, "x", "B", "again")
	again.At = e.now.Add(10 * time.Minute)
	e.hand(again)
	equal(t, e.told(10*time.Minute), []string{"#1 resolved"})
	equal(t, e.load(1).State, oncall.IncidentTriggered)

	e.hand(change(oncall.ChangeResolved, "x", "B", "over"))
	e.apply(10)
	again.At = e.now.Add(10*time.Minute + 1)
	e.hand(again)
	equal(t, e.told(10*time.Minute), []string{"#2 "})
	e.hand(change(oncall.ChangeResolved, "x", "B", "over"))
	e.apply(10)
	e.hand(change(oncall.ChangeFiring, "x", "B", "no window"))
	equal(t, e.told(0), []string{"#3 "})
	e.update(3, func(_ oncall.Incident, d *oncall.Decision) {
		resolve(&d.Incident, e.now)
		d.Incident.ResolvedBy = "ana"
	})
	e.hand(change(oncall.ChangeFiring, "x", "C", "closed by hand"))
	equal(t, e.told(time.Hour), []string{"#4 "})
}

// testMerged: what comes to the place of a merged incident goes where that went, over further merges, while one is
// open there; and a change that names an incident goes to that one while it is open.
func testMerged(t *testing.T, e *env) {
	merge := func(from, into int64) {
		e.update(from, func(_ oncall.Incident, d *oncall.Decision) {
			resolve(&d.Incident, e.now)
			d.Incident.ResolvedBy, d.Incident.MergedInto = "ana", into
			a := change(oncall.ChangeFiring, d.Incident.GroupKey, "A", "moved")
			a.Into, a.LinkedFrom = into, from
			d.Requeue = []oncall.AlertChange{a}
			for _, held := range e.load(from).Alerts {
				held.State = oncall.StateResolved
				d.Alerts = append(d.Alerts, held)
			}
		})
	}
	e.open("x")
	e.open("y")
	e.open("z")
	merge(1, 2)
	equal(t, e.told(0), []string{"#2 triggered"})
	equal(t, len(e.load(2).Alerts), 2)
	e.hand(change(oncall.ChangeFiring, "x", "B", "late"))
	equal(t, e.told(0), []string{"#2 triggered"})
	merge(2, 3)
	equal(t, e.told(0), []string{"#3 triggered"})
	e.hand(change(oncall.ChangeFiring, "x", "C", "later"))
	equal(t, e.told(0), []string{"#3 triggered"})
	e.update(3, func(_ oncall.Incident, d *oncall.Decision) { resolve(&d.Incident, e.now) })
	late := change(oncall.ChangeFiring, "x", "D", "too late")
	late.Into = 3
	e.hand(late)
	equal(t, e.told(time.Hour), []string{"#4 "})
	e.hand(change(oncall.ChangeFiring, "x", "E", "there"))
	equal(t, e.told(time.Hour), []string{"#4 triggered"})
}
