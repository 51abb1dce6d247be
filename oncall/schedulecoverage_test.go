package oncall_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tocsin/oncall"
)

func TestCoverage(t *testing.T) {
	s := decodeText(t, `[{name: s, time_zone: Europe/Madrid, layers: [{name: weekly, users: [ana, bo], start: 2026-01-05, handoff: "0 9 * * MON"}]}]`)
	overrides := []oncall.Override{
		record("1", oncall.OverrideRemove, "ana", "", on(1, 0), on(1, 2)),
		record("2", oncall.OverrideReplace, "eva", "chen", on(2, 0), on(3, 0)),
		record("3", oncall.OverrideAdd, "bo", "", on(8, 0), on(9, 0)),
		record("4", oncall.OverrideRemove, "chen", "", on(2, 0), on(3, 0)),
		record("5", oncall.OverrideReplace, "bo", "", on(8, 0), on(9, 0)),
	}
	tokyo := map[string]*time.Location{"bo": mustZone("Asia/Tokyo")}
	c := s.Coverage(overrides, on(0, 0), on(14, 0), tokyo)
	if diff := cmp.Diff([]oncall.Period{{From: on(1, 0), To: on(1, 2)}}, c.Gaps, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
	want := []oncall.Load{
		{User: "bo", Shifts: 1, Time: 168 * time.Hour, Nights: 63 * time.Hour, Weekends: 48 * time.Hour},
		{User: "ana", Shifts: 2, Time: 166 * time.Hour, Nights: 63 * time.Hour, Weekends: 48 * time.Hour},
	}
	if diff := cmp.Diff(want, c.People); diff != "" {
		t.Error(diff)
	}
	if i := c.Imbalance; i.Nights != 1 || i.Weekends != 1 || i.Time < 1.005 || i.Time > 1.006 {
		t.Errorf("%+v", i)
	}
	why := map[string]string{}
	for _, p := range c.Pointless {
		why[p.Override.ID] = p.Why
	}
	if diff := cmp.Diff(map[string]string{
		"2": "chen is not on call then", "3": "bo is on call anyway", "4": "chen is not on call then", "5": "bo is on call anyway",
	}, why); diff != "" {
		t.Error(diff)
	}
	gone := s.Pointless(overrides[:1], on(0, 0), on(14, 0), func(u string) bool { return u != "ana" })
	if len(gone) != 1 || gone[0].Why != "there is no user ana any more" {
		t.Errorf("%+v", gone)
	}
}

func TestRenderWeek(t *testing.T) {
	s := decodeText(t, `
- name: session-primary
  time_zone: Europe/Madrid
  layers:
  - {name: base, users: [ana, bo, álvaro], start: 2026-03-16T09:00, handoff: "0 9 * * *", shadow: dee}
  - {name: weekend, users: [[chen, ana]], restrict: [{weekdays: [saturday]}]}`)
	at := func(d, h int) time.Time { return time.Date(2026, 3, d, h, 0, 0, 0, s.TimeZone) }
	overrides := []oncall.Override{
		{ID: "1", Schedule: s.Name, Kind: oncall.OverrideRemove, User: "bo", From: at(26, 12), To: at(26, 18), Author: "bo", Reason: "train"},
		{ID: "2", Schedule: s.Name, Kind: oncall.OverrideReplace, User: "eva", From: at(24, 12), To: at(25, 6), Author: "eva"},
	}
	golden(t, "week.golden", s.RenderWeek(overrides, at(23, 15), at(27, 1)))

	apia := decodeText(t, `[{name: apia, time_zone: Pacific/Apia, layers: [{users: [ana, bo], start: 2011-12-01, handoff: "0 9 * * *"}]}]`)
	golden(t, "apia.golden", apia.RenderWeek(nil, time.Date(2011, 12, 27, 0, 0, 0, 0, apia.TimeZone), time.Time{}))
}

func BenchmarkOnCall(b *testing.B) {
	s := benchSchedule()
	for b.Loop() {
		s.OnCall(nil, on(3000, 0))
	}
}

func BenchmarkShiftAt(b *testing.B) {
	s := benchSchedule()
	for b.Loop() {
		s.ShiftAt(nil, on(3000, 0))
	}
}

func BenchmarkShifts90Days(b *testing.B) {
	s := benchSchedule()
	for b.Loop() {
		s.Shifts(nil, on(3000, 0), on(3090, 0))
	}
}

func benchSchedule() *oncall.Schedule {
	c, err := oncall.ParseCron("0 9 * * MON")
	if err != nil {
		panic(err)
	}
	users := [][]string{{"ana"}, {"bo"}, {"chen"}}
	return &oncall.Schedule{Name: "s", TimeZone: mustZone("Europe/Madrid"), Layers: []oncall.Layer{
		{Name: "base", Rosters: []oncall.Roster{{From: day0, Users: users, Rotation: oncall.Rotation{Handoff: c}}}},
		{Name: "office", Rosters: []oncall.Roster{{From: day0, Users: users, Restrict: restrictions[2], Rotation: oncall.Rotation{Every: 24 * time.Hour, Anchor: day0}}}},
	}}
}
