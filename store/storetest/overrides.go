package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

func overrideOf(id string, from time.Time, length time.Duration) oncall.Override {
	return oncall.Override{ID: id, Schedule: "session ü", Kind: oncall.OverrideReplace, User: "bo", Replaces: "ana", From: from, To: from.Add(length),
		CreatedAt: start, Author: "dee", Reason: "\"dentist\" <b>"}
}

// overrides are all overrides as text, after a look at the version.
func (e *env) overrides() (out string, version int64) {
	e.t.Helper()
	all, version, err := e.s.Overrides(e.ctx())
	e.must(err)
	alone, err := e.s.OverridesVersion(e.ctx())
	e.must(err)
	equal(e.t, alone, version)
	for _, o := range all {
		out += fmt.Sprintf("%s %s-%s; ", o.ID, o.From.Format("15:04"), o.To.Format("15:04"))
	}
	return out, version
}

func testOverrides(t *testing.T, e *env) {
	none, v0 := e.overrides()
	equal(t, none, "")
	one, two := overrideOf("one", start, time.Hour), overrideOf("two", start.Add(time.Hour), 2*time.Hour)
	e.must(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now, Request: "r1"}, []oncall.Override{one, two}))
	got, v1 := e.overrides()
	equal(t, got, "one 12:00-13:00; two 13:00-15:00; ")
	if v1 <= v0 {
		t.Fatal("the version did not grow")
	}

	// Once per request, and all or none.
	e.wantErr(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now, Request: "r1"}, []oncall.Override{overrideOf("three", start, time.Hour)}), oncall.ErrRequestSeen)
	e.wantCode(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now}, []oncall.Override{overrideOf("three", start, time.Hour), one}), oncall.CodeConflict)
	e.wantCode(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now}, []oncall.Override{overrideOf("three", start, time.Hour), {}}), oncall.CodeInternal)
	same, v := e.overrides()
	equal(t, []any{same, v}, []any{got, v1})

	e.reopen(store.Options{})
	all, _, err := e.s.Overrides(e.ctx())
	e.must(err)
	equal(t, all, []oncall.Override{one, two})
}

func testEndOverride(t *testing.T, e *env) {
	one := overrideOf("one", start, 2*time.Hour)
	e.must(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now}, []oncall.Override{one}))
	_, v := e.overrides()
	end := func(o oncall.Override) (oncall.Override, error) { return o.End("ana", start.Add(time.Hour)) }
	ended, err := e.s.EndOverride(e.ctx(), oncall.Write{Now: e.now, Request: "r"}, "one", end)
	e.must(err)
	equal(t, ended.EndedBy, "ana")
	got, after := e.overrides()
	equal(t, got, "one 12:00-13:00; ")
	if after <= v {
		t.Error("the version did not grow")
	}
	_, err = e.s.EndOverride(e.ctx(), oncall.Write{Now: e.now, Request: "r"}, "one", end)
	e.wantErr(err, oncall.ErrRequestSeen)
	_, err = e.s.EndOverride(e.ctx(), oncall.Write{Now: e.now}, "one", end)
	e.wantCode(err, oncall.CodeConflict)
	_, err = e.s.EndOverride(e.ctx(), oncall.Write{Now: e.now}, "none", end)
	e.wantCode(err, oncall.CodeNotFound)
	_, same := e.overrides()
	equal(t, same, after)
}

func testPruneOverrides(t *testing.T, e *env) {
	e.must(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now}, []oncall.Override{overrideOf("old", start, time.Hour), overrideOf("new", start, 100*time.Hour)}))
	_, v := e.overrides()
	_, err := e.s.Prune(e.ctx(), start.Add(10*time.Hour), 10*time.Hour)
	e.must(err)
	_, same := e.overrides()
	equal(t, same, v)
	_, err = e.s.Prune(e.ctx(), start.Add(12*time.Hour), 10*time.Hour)
	e.must(err)
	got, after := e.overrides()
	equal(t, got, "new 12:00-16:00; ")
	if after == v {
		t.Error("the version stayed the same")
	}
}

func testHandoffs(t *testing.T, e *env) {
	none, err := e.s.Handoffs(e.ctx())
	e.must(err)
	equal(t, none, []oncall.Handoff(nil))
	long := strings.Repeat("ü", 3000)
	at := start.Truncate(time.Microsecond)
	first := oncall.Handoff{Key: "a", Schedule: "primary", At: at, On: []string{"ana"}, State: oncall.DeliveryQueued, NextAt: at,
		Notices: []oncall.ShiftNotice{{Key: "n", Kind: oncall.NoticeAhead, User: "bo", From: at.Add(time.Hour), Since: at, With: []string{"ana"}, State: oncall.DeliveryQueued, NextAt: at}}}
	other := oncall.Handoff{Key: "b", Schedule: long, At: at, State: oncall.DeliveryDropped, DoneAt: at}
	e.must(e.s.CommitHandoffs(e.ctx(), e.write(), []oncall.Handoff{first, other}))
	first.State, first.Attempts, first.DoneAt, first.NextAt = oncall.DeliveryDelivered, 1, at, time.Time{}
	e.must(e.s.CommitHandoffs(e.ctx(), e.write(), []oncall.Handoff{first}))
	e.reopen(store.Options{})
	all, err := e.s.Handoffs(e.ctx())
	e.must(err)
	equal(t, all, []oncall.Handoff{first, other})
	lost := e.lease
	e.acquire()
	e.wantErr(e.s.CommitHandoffs(e.ctx(), oncall.Write{Now: e.now, Lease: &lost}, []oncall.Handoff{other}), oncall.ErrLeaseLost)
}

func testCalendars(t *testing.T, e *env) {
	ana, long := oncall.CalendarOf{User: "ana"}, oncall.CalendarOf{Schedule: strings.Repeat("long", 200)}
	times := func(c oncall.CalendarOf) int64 {
		t.Helper()
		n, err := e.s.CalendarRevoked(e.ctx(), c)
		e.must(err)
		return n
	}
	equal(t, times(ana), int64(0))
	for i, c := range []oncall.CalendarOf{ana, ana, long} {
		n, err := e.s.RevokeCalendar(e.ctx(), oncall.Write{Now: e.now, Request: fmt.Sprint(i)}, c)
		e.must(err)
		equal(t, n, times(c))
	}
	_, err := e.s.RevokeCalendar(e.ctx(), oncall.Write{Now: e.now, Request: "1"}, ana)
	e.wantErr(err, oncall.ErrRequestSeen)
	equal(t, times(ana), int64(2))
	equal(t, times(long), int64(1))
	equal(t, times(oncall.CalendarOf{Schedule: "ana"}), int64(0))
}
