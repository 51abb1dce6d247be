package oncall

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

// TestEvenUntilGetsAhead asks all zones about the last days of leap years, of which their data lists no changes of
// clocks any more.
func TestEvenUntilGetsAhead(t *testing.T) {
	b, err := os.ReadFile("testdata/schedule/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(b)) {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatalf("zone %s: %v", name, err)
		}
		for year := 1972; year <= 2204; year += 4 {
			for at := time.Date(year, 12, 29, 23, 59, 59, 999_999_999, time.UTC); at.Year() == year; at = at.Add(5 * time.Hour) {
				end, ok := evenUntil(at, loc)
				if ok && !end.After(at) {
					t.Fatalf("%s: from %s clocks run evenly until %s", name, at, end)
				}
				_, offset := at.In(loc).Zone()
				if _, last := end.Add(-1).In(loc).Zone(); ok && last != offset {
					t.Fatalf("%s: from %s clocks do not run evenly until %s", name, at, end)
				}
			}
		}
	}
}

// TestEndOfLeapYear goes over the end of a year that no zone's data lists, day by day.
func TestEndOfLeapYear(t *testing.T) {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	handoff, err := ParseCron("0 9 * * *")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2040, 12, 1, 9, 0, 0, 0, madrid)
	mornings := Restriction{{Times: []timeinterval.TimeRange{{StartMinute: 9 * 60, EndMinute: 12 * 60}}}}
	s := Schedule{Name: "s", TimeZone: madrid, Layers: []Layer{{Name: "l", Rosters: []Roster{{
		From: start, Users: [][]string{{"ana"}, {"bo"}}, Rotation: Rotation{Handoff: handoff}, Restrict: mornings,
	}}}}}
	from, to := time.Date(2040, 12, 30, 0, 0, 0, 0, madrid), time.Date(2041, 1, 3, 0, 0, 0, 0, madrid)
	var got []string
	for _, shift := range s.Shifts(nil, from, to) {
		if len(shift.Users) > 0 {
			got = append(got, shift.Who()+shift.From.Format(" 2 15:04")+shift.To.Format("–15:04"))
		}
	}
	const want = "bo 30 09:00–12:00, ana 31 09:00–12:00, bo 1 09:00–12:00, ana 2 09:00–12:00"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}

	mornings[0].Location = &timeinterval.Location{Location: madrid}
	r := Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{"mornings": mornings}}
	noon := time.Date(2040, 12, 31, 12, 0, 0, 0, madrid)
	if next := r.NextChange(&Route{MuteTimeIntervals: []string{"mornings"}}, noon); !next.Equal(noon.Add(21 * time.Hour)) {
		t.Errorf("muted again at %s", next)
	}
}
