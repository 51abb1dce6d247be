package storetest

import (
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

// testDrills: drills are incidents that no list of incidents shows, and what they find out is kept with what caused it.
func testDrills(t *testing.T, e *env) {
	at := start.Truncate(time.Microsecond)
	place := oncall.Place{Escalation: "drill ana", GroupKey: `{alertname="TocsinDrill"}`}
	check := oncall.ContactCheck{User: "ana", Contact: "receiver phone", Endpoint: "page:phone/0", Drill: 1, At: at, Result: oncall.CheckFailed, Failure: "\"404\" ü"}
	other := oncall.ContactCheck{User: strings.Repeat("ü", 3000), Endpoint: "page:phone/0", At: at.Add(-time.Hour), Result: oncall.CheckOK}
	open := func(checks ...oncall.ContactCheck) func(oncall.Incident) (oncall.Decision, error) {
		return func(in oncall.Incident) (oncall.Decision, error) {
			in.State, in.Drill, in.TriggeredAt = oncall.IncidentTriggered, &oncall.Drill{User: "ana"}, at
			return oncall.Decision{Changed: true, Incident: in, Checks: checks}, nil
		}
	}
	number, opened, err := e.s.OpenIncident(e.ctx(), oncall.Write{Now: e.now}, place, open(check, other))
	e.must(err)
	equal(t, opened, true)
	_, again, err := e.s.OpenIncident(e.ctx(), oncall.Write{Now: e.now}, place, open())
	e.must(err)
	equal(t, again, false)
	list := func(drills bool) (numbers []int64) {
		all, err := e.s.Incidents(e.ctx(), oncall.IncidentFilter{Drills: drills})
		e.must(err)
		for _, in := range all {
			numbers = append(numbers, in.Number)
		}
		return numbers
	}
	equal(t, list(false), []int64(nil))
	equal(t, list(true), []int64{number})

	e.reopen(store.Options{})
	all, err := e.s.ContactChecks(e.ctx())
	e.must(err)
	equal(t, all, []oncall.ContactCheck{other, check})

	// The latest counts, also where an older one is said again.
	later, earlier := check, check
	later.At, later.Result, later.Failure = at.Add(time.Minute), oncall.CheckOK, ""
	earlier.At = at.Add(-time.Minute)
	_, err = e.s.UpdateIncident(e.ctx(), oncall.Write{Now: e.now}, number, open(later, earlier))
	e.must(err)
	all, err = e.s.ContactChecks(e.ctx())
	e.must(err)
	equal(t, all, []oncall.ContactCheck{other, later})
}

func testJobs(t *testing.T, e *env) {
	none, err := e.s.Jobs(e.ctx())
	e.must(err)
	equal(t, len(none), 0)
	at := start.Truncate(time.Microsecond)
	long := oncall.JobState{Name: strings.Repeat("ü", 3000), Spec: "30 2 * * * UTC", Done: at}
	job := oncall.JobState{Name: "monthly", Done: at, Due: at, Waiting: []oncall.JobWait{{User: "ana", Why: "\"busy\""}}}
	e.must(e.s.CommitJob(e.ctx(), e.write(), long))
	e.must(e.s.CommitJob(e.ctx(), e.write(), job))
	job.Waiting = nil
	e.must(e.s.CommitJob(e.ctx(), e.write(), job))
	e.reopen(store.Options{})
	all, err := e.s.Jobs(e.ctx())
	e.must(err)
	equal(t, all, map[string]oncall.JobState{long.Name: long, job.Name: job})
	lost := e.lease
	e.acquire()
	e.wantErr(e.s.CommitJob(e.ctx(), oncall.Write{Now: e.now, Lease: &lost}, job), oncall.ErrLeaseLost)
}
