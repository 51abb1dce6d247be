package oncall_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// handoffs are cron expressions and what they mean on the wall, told apart from any parser.
var handoffs = []struct {
	cron string
	at   func(w time.Time) bool
}{
	{"0 9 * * MON", func(w time.Time) bool { return clock(w, 9, 0) && w.Weekday() == time.Monday }},
	{"0 0 * * *", func(w time.Time) bool { return clock(w, 0, 0) }},
	{"30 2 * * SUN", func(w time.Time) bool { return clock(w, 2, 30) && w.Weekday() == time.Sunday }},
	{"15 0,1,2,3 * * *", func(w time.Time) bool { return w.Minute() == 15 && w.Hour() <= 3 }},
	{"0 8,20 * * *", func(w time.Time) bool { return clock(w, 8, 0) || clock(w, 20, 0) }},
	{"0 12 29 * *", func(w time.Time) bool { return clock(w, 12, 0) && w.Day() == 29 }},
	{"45 23 31 * *", func(w time.Time) bool { return clock(w, 23, 45) && w.Day() == 31 }},
	{"0 6 1 * FRI", func(w time.Time) bool { return clock(w, 6, 0) && (w.Day() == 1 || w.Weekday() == time.Friday) }},
	{"0 * * * *", func(w time.Time) bool { return w.Minute() == 0 }},
}

func clock(w time.Time, h, m int) bool { return w.Hour() == h && w.Minute() == m }

// twin is a layer as configured and as the slow definition has it.
type twin struct {
	layer oncall.Layer
	slow  []slowRoster
}

func (tw *twin) add(r slowRoster, cron string) {
	roster := oncall.Roster{From: r.from, Restrict: r.restrict, Rotation: oncall.Rotation{Every: r.every, Anchor: r.anchor}}
	for _, u := range r.users {
		roster.Users = append(roster.Users, []string{u})
	}
	if cron != "" {
		c, err := oncall.ParseCron(cron)
		if err != nil {
			panic(err)
		}
		roster.Rotation.Handoff = c
	}
	tw.layer.Rosters, tw.slow = append(tw.layer.Rosters, roster), append(tw.slow, r)
}

var restrictions = [][]timeinterval.TimeInterval{
	nil, nil,
	{{Times: []timeinterval.TimeRange{{StartMinute: 9 * 60, EndMinute: 17 * 60}}, Weekdays: onWeekdays(1, 5)}},
	{{Times: []timeinterval.TimeRange{{StartMinute: 0, EndMinute: 150}, {StartMinute: 22 * 60, EndMinute: 24 * 60}}}},
	{{Weekdays: onWeekdays(0, 0)}, {Weekdays: onWeekdays(6, 6)}},
	{{DaysOfMonth: onMonthDays(-1, -1)}, {DaysOfMonth: onMonthDays(1, 3), Times: []timeinterval.TimeRange{{StartMinute: 15, EndMinute: 120}}}},
	{{Times: []timeinterval.TimeRange{{StartMinute: 60, EndMinute: 180}}, Location: &timeinterval.Location{Location: mustZone("America/New_York")}}},
}

func onWeekdays(from, to int) []timeinterval.WeekdayRange {
	return []timeinterval.WeekdayRange{{InclusiveRange: timeinterval.InclusiveRange{Begin: from, End: to}}}
}

func onMonthDays(from, to int) []timeinterval.DayOfMonthRange {
	return []timeinterval.DayOfMonthRange{{InclusiveRange: timeinterval.InclusiveRange{Begin: from, End: to}}}
}

func mustZone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

var people = []string{"ana", "bo", "chen", "dee", "eva"}

// drawRoster draws a roster that takes effect at an instant.
func drawRoster(t *rapid.T, from time.Time, mayBeEmpty bool) (slowRoster, string) {
	n := rapid.IntRange(1, len(people)).Draw(t, "users")
	if mayBeEmpty && rapid.IntRange(0, 5).Draw(t, "empty") == 0 {
		n = 0
	}
	r := slowRoster{from: from, users: rapid.Permutation(people).Draw(t, "line")[:n], restrict: rapid.SampledFrom(restrictions).Draw(t, "restrict")}
	switch rapid.IntRange(0, 3).Draw(t, "rotation") {
	case 0:
		r.every, r.anchor = rapid.SampledFrom([]time.Duration{8 * time.Hour, 12 * time.Hour, 36 * time.Hour}).Draw(t, "hours"), from
	case 1:
		r.every, r.anchor = time.Duration(rapid.IntRange(1, 14).Draw(t, "days"))*24*time.Hour, from
	case 2:
		h := rapid.SampledFrom(handoffs).Draw(t, "cron")
		r.handoff = h.at
		return r, h.cron
	}
	return r, ""
}

func quarter(t time.Time) time.Time { return t.Truncate(slowStep) }

func drawLayer(t *rapid.T, begin time.Time, days int, name string) twin {
	tw := twin{layer: oncall.Layer{Name: name}}
	at := begin
	for i := range rapid.IntRange(1, 4).Draw(t, "rosters") {
		at = at.Add(time.Duration(rapid.IntRange(1, days*48).Draw(t, "from")) * slowStep)
		tw.add(drawRoster(t, at, i > 0))
	}
	return tw
}

func drawOverrides(t *rapid.T, begin time.Time, days int) []oncall.Override {
	var out []oncall.Override
	for i := range rapid.IntRange(0, 4).Draw(t, "overrides") {
		from := begin.Add(time.Duration(rapid.IntRange(0, days*96).Draw(t, "from")) * slowStep)
		o := oncall.Override{
			ID: fmt.Sprint(i), Schedule: "s", CreatedAt: begin.Add(time.Duration(i)), From: from,
			To:   from.Add(time.Duration(rapid.IntRange(1, 5*96).Draw(t, "long")) * slowStep),
			Kind: rapid.SampledFrom([]oncall.OverrideKind{oncall.OverrideAdd, oncall.OverrideRemove, oncall.OverrideReplace}).Draw(t, "kind"),
			User: rapid.SampledFrom(people).Draw(t, "user"),
		}
		if o.Kind == oncall.OverrideReplace {
			o.Replaces = rapid.SampledFrom(append([]string{""}, people...)).Draw(t, "replaces")
		}
		if o.Validate() == nil {
			out = append(out, o)
		}
	}
	return out
}

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkShape holds shifts to what is true of any: they cover [from, to) without a gap, none is empty, and no two
// neighbours are the same.
func checkShape(t failer, shifts []oncall.Shift, from, to time.Time) {
	t.Helper()
	at := from
	for _, s := range shifts {
		if !s.From.Equal(at) || !s.To.After(s.From) {
			t.Fatalf("the shift %s – %s does not begin at %s", s.From, s.To, at)
		}
		at = s.To
	}
	if !at.Equal(to) {
		t.Fatalf("the last shift ends at %s, want %s", at, to)
	}
}

// checkSlow holds shifts to the slow definition at every step.
func checkSlow(t failer, slow *slowSchedule, begin time.Time, shifts []oncall.Shift) {
	t.Helper()
	from, to := shifts[0].From, shifts[len(shifts)-1].To
	slow.walk(begin, to, func(at time.Time, users []string) {
		if at.Before(from) {
			return
		}
		for !at.Before(shifts[0].To) {
			shifts = shifts[1:]
		}
		got := shifts[0].Users
		if len(got) > 1 {
			got = slices.Sorted(slices.Values(got))
		}
		if !slices.Equal(got, users) {
			t.Fatalf("at %s (%s): on call %v (%s), want %v", at.In(slow.loc), at.UTC().Format(time.RFC3339), got, shifts[0].Why(), users)
		}
	})
}

// TestSchedulesMeanWhatTheSlowDefinitionSays draws schedules in any zone around any of 30 years.
func TestSchedulesMeanWhatTheSlowDefinitionSays(t *testing.T) {
	all := zones(t)
	rapid.Check(t, func(t *rapid.T) {
		loc := rapid.SampledFrom(all).Draw(t, "zone")
		begin := quarter(time.Unix(rapid.Int64Range(1_000_000_000, 2_000_000_000).Draw(t, "begin"), 0))
		days := rapid.IntRange(3, 40).Draw(t, "days")
		s := &oncall.Schedule{Name: "s", TimeZone: loc}
		var layers [][]slowRoster
		for i := range rapid.IntRange(1, 3).Draw(t, "layers") {
			tw := drawLayer(t, begin, days, fmt.Sprint("layer ", i))
			s.Layers, layers = append(s.Layers, tw.layer), append(layers, tw.slow)
		}
		overrides := drawOverrides(t, begin, days)
		to := begin.Add(time.Duration(days) * 24 * time.Hour)
		from := begin.Add(time.Duration(rapid.IntRange(0, days*48).Draw(t, "from")) * slowStep)
		if oddTransition(loc, begin, to) {
			t.Skip("the slow definition steps over a change of clocks that is on no quarter hour")
		}
		shifts := s.Shifts(overrides, from, to)
		checkShape(t, shifts, from, to)
		checkSlow(t, newSlow(loc, overrides, layers...), begin, shifts)
		for _, shift := range shifts {
			if !shift.From.Equal(quarter(shift.From)) {
				t.Fatalf("a shift begins at %s", shift.From)
			}
		}

		at := from.Add(time.Duration(rapid.IntRange(0, int(to.Sub(from)/time.Second)-1).Draw(t, "at")) * time.Second)
		i := slices.IndexFunc(shifts, func(s oncall.Shift) bool { return at.Before(s.To) })
		who, why := s.OnCall(overrides, at)
		if !slices.Equal(who, shifts[i].Users) || why != shifts[i].Why() {
			t.Fatalf("on call at %s: %v (%s), want %+v", at, who, why, shifts[i])
		}
		now := s.ShiftAt(overrides, at)
		if !slices.Equal(now.Users, shifts[i].Users) || i > 0 && !now.From.Equal(shifts[i].From) || i < len(shifts)-1 && !now.To.Equal(shifts[i].To) {
			t.Fatalf("on call at %s: %+v, want %+v", at, now, shifts[i])
		}
		next, ok := s.NextChange(overrides, at)
		if j := slices.IndexFunc(shifts[i:], func(s oncall.Shift) bool { return !sameSet(s.Users, shifts[i].Users) }); j >= 0 && (!ok || !next.From.Equal(shifts[i+j].From)) {
			t.Fatalf("next change after %s: %+v, want %+v", at, next, shifts[i+j])
		}
	})
}

// TestHistoryStays: whatever roster is appended from an instant on, nothing before it changes.
func TestHistoryStays(t *testing.T) {
	all := zones(t)
	rapid.Check(t, func(t *rapid.T) {
		loc := rapid.SampledFrom(all).Draw(t, "zone")
		begin := quarter(time.Unix(rapid.Int64Range(1_000_000_000, 2_000_000_000).Draw(t, "begin"), 0))
		const days = 30
		s := &oncall.Schedule{Name: "s", TimeZone: loc}
		for i := range 2 {
			s.Layers = append(s.Layers, drawLayer(t, begin, 3, fmt.Sprint("layer ", i)).layer)
		}
		overrides := drawOverrides(t, begin, days)
		edit := begin.Add(time.Duration(rapid.IntRange(13, days).Draw(t, "edit")) * 24 * time.Hour)
		edited := &oncall.Schedule{Name: "s", TimeZone: loc, Layers: slices.Clone(s.Layers)}
		r, cron := drawRoster(t, edit, true)
		var tw twin
		tw.add(r, cron)
		last := &edited.Layers[1]
		last.Rosters = append(slices.Clone(last.Rosters), tw.layer.Rosters...)

		was, is := s.Shifts(overrides, begin, edit), edited.Shifts(overrides, begin, edit)
		if fmt.Sprint(was) != fmt.Sprint(is) {
			t.Fatalf("an edit from %s on changes what was before:\n%v\n%v", edit, was, is)
		}
		if shift, _, ok := s.Rewritten(edited, overrides, begin, edit); ok {
			t.Fatalf("said to be rewritten: %+v", shift)
		}
	})
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
