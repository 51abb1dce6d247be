package storetest

import (
	"errors"
	"testing"

	"tocsin/oncall"
)

func opens(in oncall.Incident) (oncall.Decision, error) {
	in.State = oncall.IncidentTriggered
	return oncall.Decision{Changed: true, Incident: in, Timeline: []oncall.TimelineEntry{{At: start, Kind: oncall.EntryTriggered, Text: "by hand"}}}, nil
}

// testOpening: what is opened by hand is opened once for each request, under the next number, and is found by its
// place also when it has ended.
func testOpening(t *testing.T, e *env) {
	before := e.open("x").Number
	at := oncall.Place{Escalation: "team", GroupKey: "by hand", Why: "ana said so"}
	w := oncall.Write{Now: e.now, Request: "api 1", Urgent: true}
	boom := errors.New("boom")
	_, _, err := e.s.OpenIncident(e.ctx(), w, at, func(oncall.Incident) (oncall.Decision, error) { return oncall.Decision{}, boom })
	e.wantErr(err, boom)
	_, err = e.s.IncidentAt(e.ctx(), at)
	e.wantCode(err, oncall.CodeNotFound)

	n, opened, err := e.s.OpenIncident(e.ctx(), w, at, opens) // the failed one did not count
	e.must(err)
	equal(t, []any{n, opened}, []any{before + 1, true})
	in := e.load(n)
	equal(t, []string{in.Escalation, in.GroupKey, in.Why, texts(in)}, []string{"team", "by hand", "ana said so", "by hand"})

	_, _, err = e.s.OpenIncident(e.ctx(), w, at, opens)
	e.wantErr(err, oncall.ErrRequestSeen)
	n, opened, err = e.s.OpenIncident(e.ctx(), oncall.Write{Now: e.now, Request: "api 2"}, at, opens) // open there
	e.must(err)
	equal(t, []any{n, opened}, []any{before + 1, false})

	e.update(n, func(_ oncall.Incident, d *oncall.Decision) { resolve(&d.Incident, e.now) })
	found, err := e.s.IncidentAt(e.ctx(), at)
	e.must(err)
	equal(t, found, n)
	equal(t, e.open("y").Number, n+1)
}
