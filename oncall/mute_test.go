package oncall_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/prometheus/alertmanager/timeinterval"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

func location(t testing.TB, name string) *timeinterval.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return &timeinterval.Location{Location: loc}
}

func weekdays(from, to time.Weekday) []timeinterval.WeekdayRange {
	return []timeinterval.WeekdayRange{{InclusiveRange: timeinterval.InclusiveRange{Begin: int(from), End: int(to)}}}
}

// TestMutedAt: which names mute, and from when on it is otherwise. 2026-03-02 is a Monday; Madrid's clocks go
// forward on 29 March at 02:00 and back on 25 October at 03:00.
func TestMutedAt(t *testing.T) {
	madrid := location(t, "Europe/Madrid")
	r := &oncall.Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{
		"weekends": {{Weekdays: weekdays(time.Saturday, time.Saturday)}, {Weekdays: weekdays(time.Sunday, time.Sunday)}},
		"office":   {{Weekdays: weekdays(time.Monday, time.Friday), Times: []timeinterval.TimeRange{{StartMinute: 9 * 60, EndMinute: 17 * 60}}, Location: madrid}},
		"noon":     {{Times: []timeinterval.TimeRange{{StartMinute: 12 * 60, EndMinute: 13 * 60}, {StartMinute: 12 * 60, EndMinute: 14 * 60}}}, {Times: []timeinterval.TimeRange{{StartMinute: 12*60 + 30, EndMinute: 24 * 60}}}},
		"gap":      {{Times: []timeinterval.TimeRange{{StartMinute: 2*60 + 15, EndMinute: 2*60 + 45}}, Location: madrid}},
		"always":   {{}},
		"may":      {{Months: []timeinterval.MonthRange{{InclusiveRange: timeinterval.InclusiveRange{Begin: 5, End: 5}}}}},
	}}
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		mute, active []string
		at           string
		want         []string
		next         string // "" never
	}{
		{nil, nil, "2026-03-02 10:00:00", nil, ""},
		{[]string{"weekends"}, nil, "2026-03-02 10:00:00", nil, "2026-03-07 00:00:00"},
		{[]string{"weekends"}, nil, "2026-03-07 00:00:00", []string{"weekends"}, "2026-03-09 00:00:00"},
		{nil, []string{"office"}, "2026-03-02 07:59:59", []string{"office"}, "2026-03-02 08:00:00"},
		{nil, []string{"office"}, "2026-03-02 08:00:00", nil, "2026-03-02 16:00:00"},
		{nil, []string{"office"}, "2026-03-27 16:00:00", []string{"office"}, "2026-03-30 07:00:00"}, // the clocks go forward between
		{nil, []string{"office", "weekends"}, "2026-03-02 05:00:00", []string{"office", "weekends"}, "2026-03-02 08:00:00"},
		{nil, []string{"office", "weekends"}, "2026-03-07 05:00:00", nil, "2026-03-09 00:00:00"},
		{[]string{"noon"}, []string{"office"}, "2026-03-02 12:45:00", []string{"noon"}, "2026-03-02 16:00:00"}, // the reason changes
		{[]string{"noon", "always"}, nil, "2026-03-02 12:00:00", []string{"noon", "always"}, "2026-03-03 00:00:00"},
		{[]string{"always"}, nil, "2026-03-02 12:00:00", []string{"always"}, "2026-03-10 12:00:00"}, // the horizon
		{[]string{"may"}, nil, "2026-04-01 12:00:00", nil, "2026-04-09 12:00:00"},
		{[]string{"may"}, nil, "2026-04-24 12:00:00", nil, "2026-05-01 00:00:00"},
		{[]string{"gone"}, nil, "2026-04-24 12:00:00", nil, "2026-05-02 12:00:00"},
		{[]string{"gap"}, nil, "2026-03-28 02:00:00", nil, "2026-03-30 00:15:00"}, // on the 29th there is no 02:15
		{[]string{"gap"}, nil, "2026-10-25 00:00:00", nil, "2026-10-25 00:15:00"}, // and here there are two
		{[]string{"gap"}, nil, "2026-10-25 00:20:00", []string{"gap"}, "2026-10-25 00:45:00"},
		{[]string{"gap"}, nil, "2026-10-25 00:45:00", nil, "2026-10-25 01:15:00"},
	} {
		route := &oncall.Route{MuteTimeIntervals: tc.mute, ActiveTimeIntervals: tc.active}
		names, muted := r.MutedAt(route, at(tc.at))
		if !slices.Equal(names, tc.want) || muted != (len(tc.want) > 0) {
			t.Errorf("%v %v at %s: muted by %v", tc.mute, tc.active, tc.at, names)
		}
		next := r.NextChange(route, at(tc.at))
		if tc.next == "" != next.IsZero() || tc.next != "" && !next.Equal(at(tc.next)) {
			t.Errorf("%v %v after %s: next change %v, expected %s", tc.mute, tc.active, tc.at, next.UTC(), tc.next)
		}
	}
}

func drawRange(t *rapid.T, name string, from, to int) timeinterval.InclusiveRange {
	begin := rapid.IntRange(from, to).Draw(t, name)
	return timeinterval.InclusiveRange{Begin: begin, End: rapid.IntRange(begin, to).Draw(t, name+" to")}
}

func drawInterval(t *rapid.T, zones []*timeinterval.Location) timeinterval.TimeInterval {
	ti := timeinterval.TimeInterval{Location: rapid.SampledFrom(zones).Draw(t, "zone")}
	for range rapid.IntRange(0, 2).Draw(t, "times") {
		r := drawRange(t, "minute", 0, 24*12)
		ti.Times = append(ti.Times, timeinterval.TimeRange{StartMinute: r.Begin * 5, EndMinute: r.End * 5})
	}
	if rapid.Bool().Draw(t, "by weekday") {
		ti.Weekdays = []timeinterval.WeekdayRange{{InclusiveRange: drawRange(t, "weekday", 0, 6)}}
	}
	if rapid.Bool().Draw(t, "by day") {
		ti.DaysOfMonth = []timeinterval.DayOfMonthRange{{InclusiveRange: drawRange(t, "day", -3, -1)}, {InclusiveRange: drawRange(t, "day", 20, 31)}}
	}
	return ti
}

// TestNextChangeIsTheScan: no minute is found at which the answer changes before NextChange says so; and there it does.
func TestNextChangeIsTheScan(t *testing.T) {
	var zones []*timeinterval.Location
	for _, z := range []string{"UTC", "Europe/Madrid", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo", "America/St_Johns"} {
		zones = append(zones, location(t, z))
	}
	zones = append(zones, nil)
	rapid.Check(t, func(t *rapid.T) {
		r := &oncall.Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{}}
		for i := range 3 {
			for range rapid.IntRange(0, 2).Draw(t, "intervals") {
				r.TimeIntervals[fmt.Sprint(i)] = append(r.TimeIntervals[fmt.Sprint(i)], drawInterval(t, zones))
			}
		}
		route := &oncall.Route{MuteTimeIntervals: []string{"0", "1"}}
		if rapid.Bool().Draw(t, "active") {
			route.ActiveTimeIntervals = []string{"2"}
		}
		month := rapid.SampledFrom([]time.Month{1, 3, 4, 10}).Draw(t, "month")
		at := time.Date(2026, month, rapid.IntRange(20, 31).Draw(t, "date"), 0, rapid.IntRange(0, 1440).Draw(t, "minute"), rapid.IntRange(0, 59).Draw(t, "second"), 0, time.UTC)
		next, limit := r.NextChange(route, at), at.Add(30*time.Hour)
		was, _ := r.MutedAt(route, at)
		for scan := at.Truncate(time.Minute).Add(time.Minute); scan.Before(limit); scan = scan.Add(time.Minute) {
			names, _ := r.MutedAt(route, scan)
			if same := slices.Equal(names, was); !same || scan.Equal(next) {
				if same || !scan.Equal(next) {
					t.Fatalf("%v after %v: next change %v, at %v it is %v", was, at, next, scan, names)
				}
				return
			}
		}
		if next.Before(limit) {
			t.Fatalf("after %v: %v is no change", at, next)
		}
	})
}

func BenchmarkNextChange(b *testing.B) {
	r := &oncall.Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{
		"office": {{Weekdays: weekdays(time.Monday, time.Friday), Times: []timeinterval.TimeRange{{StartMinute: 9 * 60, EndMinute: 17 * 60}}, Location: location(b, "Europe/Madrid")}},
	}}
	route := &oncall.Route{ActiveTimeIntervals: []string{"office"}}
	friday := time.Date(2026, 3, 6, 20, 0, 0, 0, time.UTC)
	b.Run("MutedAt", func(b *testing.B) {
		for b.Loop() {
			r.MutedAt(route, friday)
		}
	})
	b.Run("NextChange", func(b *testing.B) {
		for b.Loop() {
			r.NextChange(route, friday)
		}
	})
}
