package storetest

import (
	"fmt"
	"slices"
	"testing"

	"tocsin/oncall"
)

// testManyNew opens many incidents in one run, whose rows share statements: with several alerts, with the same alert
// twice, with a delivery that is there twice, between them one that existed and one that hands changes back. Each has
// exactly what was decided about it.
func testManyNew(t *testing.T, e *env) {
	const n = 150
	old := e.open("old")
	decided := map[int64]oncall.Decision{}
	var cs []oncall.AlertChange
	for i := range n {
		group := fmt.Sprint("new-", i)
		if i == n/2 {
			cs = append(cs, change(oncall.ChangeFiring, "old", "B", "joins"))
		}
		cs = append(cs, change(oncall.ChangeFiring, group, "A", "first of "+group))
		for a := range i % 4 {
			cs = append(cs, change(oncall.ChangeFiring, group, fmt.Sprint("A", a), "again"))
		}
		if i%5 == 0 {
			cs = append(cs, change(oncall.ChangeFiring, group, "A", "said twice")) // the same row twice
		}
	}
	e.hand(cs...)
	back := change(oncall.ChangeFiring, "new-30", "A", "handed back")
	applied, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 10_000, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
		d, err := e.decideChanges(in, cs)
		if in.Number%7 == 0 && len(d.Deliveries) > 0 {
			d.Deliveries = append(d.Deliveries, page(d.Incident, "page:b/0", "second"), d.Deliveries[0])
		}
		if in.GroupKey == "new-30" {
			d.Requeue = []oncall.AlertChange{back}
		}
		decided[in.Number] = d
		return d, err
	})
	e.must(err)
	if applied != len(cs) || len(decided) != n+1 {
		t.Fatalf("%d of %d changes were applied to %d incidents", applied, len(cs), len(decided))
	}
	for number, d := range decided {
		e.wantDecided(number, d, number == old.Number)
	}
	if applied := e.apply(10); applied != 1 {
		t.Errorf("%d changes were handed back", applied)
	}
	if in := e.open("later"); in.Number != old.Number+n+1 {
		t.Errorf("the next incident has the number %d", in.Number)
	}
}

// wantDecided checks that an incident has the rows of a decision, and no others unless it existed before.
func (e *env) wantDecided(number int64, d oncall.Decision, existed bool) {
	e.t.Helper()
	in := e.load(number)
	texts := func(es []oncall.TimelineEntry) (all []string) {
		for _, x := range es {
			all = append(all, x.Text)
		}
		return all
	}
	got, want := texts(in.Timeline), texts(d.Timeline)
	if existed {
		got = got[len(got)-len(want):]
	}
	if !slices.Equal(got, want) {
		e.t.Errorf("#%d: the timeline is %q, want %q", number, got, want)
	}
	last := map[oncall.Fingerprint]string{}
	for _, a := range d.Alerts {
		last[a.Fingerprint] = a.Reason
	}
	for _, a := range in.Alerts {
		if reason, ok := last[a.Fingerprint]; ok && a.Reason != reason || !ok && !existed {
			e.t.Errorf("#%d: the alert %s says %q, want %q", number, a.Labels, a.Reason, reason)
		}
		delete(last, a.Fingerprint)
	}
	keys := map[string]bool{}
	for _, x := range d.Deliveries {
		keys[x.Key] = true
	}
	if !existed && len(in.Deliveries) != len(keys) || len(last) > 0 || in.GroupKey != d.Incident.GroupKey || in.Revision != d.Incident.Revision {
		e.t.Errorf("#%d: %d deliveries of %d, %d alerts are missing, %q in revision %d", number, len(in.Deliveries), len(keys), len(last), in.GroupKey, in.Revision)
	}
}

// testManyNewFail has a decision fail, or speak of another incident, after others were decided whose rows wait: nothing
// of the run is there, and the next run finds all changes.
func testManyNewFail(t *testing.T, e *env) {
	var cs []oncall.AlertChange
	for i := range 10 {
		cs = append(cs, change(oncall.ChangeFiring, fmt.Sprint("g", i), "A", "fires"))
	}
	e.hand(cs...)
	for name, spoil := range map[string]func(*oncall.Decision){
		"another number": func(d *oncall.Decision) { d.Incident.Number++ },
		"another key":    func(d *oncall.Decision) { d.Incident.Key += "x" },
	} {
		_, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), 100, place, func(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
			d, err := e.decideChanges(in, cs)
			if in.GroupKey == "g8" {
				spoil(&d)
			}
			return d, err
		})
		if oncall.ErrorCode(err) != oncall.CodeInternal {
			t.Errorf("%s: %v", name, err)
		}
		if list, err := e.s.Incidents(e.ctx(), oncall.IncidentFilter{}); err != nil || len(list) > 0 {
			t.Errorf("%s: %d incidents are there, %v", name, len(list), err)
		}
	}
	if n := e.apply(100); n != len(cs) {
		t.Errorf("%d changes were left", n)
	}
}
