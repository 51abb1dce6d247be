package oncall_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

// TestHardDays lists what shifts begin around the days that are known to be hard, in UTC. Users are a, b, c, …
func TestHardDays(t *testing.T) {
	for _, c := range []struct {
		about, zone, handoff, start, from, to string
		want                                  string
	}{
		{"New York skips 02:00–03:00: the handoff is at its end", "America/New_York", "30 2 * * *", "2026-03-07T02:30",
			"2026-03-07T12:00Z", "2026-03-09T12:00Z", "a 03-08T07:00 b 03-09T06:30 c"},
		{"New York shows 01:30 twice: the handoff is at the first", "America/New_York", "30 1 * * *", "2026-10-31T01:30",
			"2026-10-31T12:00Z", "2026-11-02T12:00Z", "a 11-01T05:30 b 11-02T06:30 c"},
		{"hourly turns: whose hour does not exist has none", "America/New_York", "0 * * * *", "2026-03-08T00:00",
			"2026-03-08T05:00Z", "2026-03-08T08:00Z", "a 03-08T06:00 b 03-08T07:00 d"},
		{"hourly turns: whose hour is twice has two", "America/New_York", "0 * * * *", "2026-11-01T00:00",
			"2026-11-01T04:00Z", "2026-11-01T08:00Z", "a 11-01T05:00 b 11-01T07:00 c"},
		{"Cairo's day begins at 01:00", "Africa/Cairo", "0 0 * * *", "2024-04-24",
			"2024-04-24T12:00Z", "2024-04-27T12:00Z", "a 04-24T22:00 b 04-25T22:00 c 04-26T21:00 d"},
		{"Cairo's 31 October ends twice", "Africa/Cairo", "0 0 * * *", "2024-10-30",
			"2024-10-30T12:00Z", "2024-11-02T12:00Z", "a 10-30T21:00 b 10-31T22:00 c 11-01T22:00 d"},
		{"São Paulo skipped midnight until 2018", "America/Sao_Paulo", "0 0 * * *", "2018-11-02",
			"2018-11-02T12:00Z", "2018-11-05T12:00Z", "a 11-03T03:00 b 11-04T03:00 c 11-05T02:00 d"},
		{"São Paulo had 23:00 twice", "America/Sao_Paulo", "30 23 * * *", "2018-02-16T23:30",
			"2018-02-17T12:00Z", "2018-02-19T12:00Z", "a 02-18T01:30 b 02-19T02:30 c"},
		{"Lord Howe moves by half an hour, forward", "Australia/Lord_Howe", "15 2 * * *", "2026-10-02T02:15",
			"2026-10-03T00:00Z", "2026-10-05T00:00Z", "b 10-03T15:30 c 10-04T15:15 d"},
		{"Lord Howe moves by half an hour, back", "Australia/Lord_Howe", "45 1 * * *", "2026-04-03T01:45",
			"2026-04-04T00:00Z", "2026-04-06T00:00Z", "b 04-04T14:45 c 04-05T15:15 d"},
		{"Apia had no 30 December 2011: that day's turn is the hours until the next", "Pacific/Apia", "0 9 * * *", "2011-12-28T09:00",
			"2011-12-29T00:00Z", "2012-01-01T00:00Z", "a 12-29T19:00 b 12-30T10:00 c 12-30T19:00 d 12-31T19:00 e"},
		{"month ends: the 31st is not in every month", "Europe/Madrid", "0 9 31 * *", "2026-01-31",
			"2026-02-01T00:00Z", "2026-06-30T00:00Z", "a 03-31T07:00 b 05-31T07:00 c"},
		{"leap day", "UTC", "0 0 29 2 *", "2024-02-29",
			"2027-01-01T00:00Z", "2029-01-01T00:00Z", "a 02-29T00:00 b"},
		{"no leap day in 2100", "UTC", "0 0 29 2 *", "2096-02-29",
			"2096-03-01T00:00Z", "2105-01-01T00:00Z", "a 02-29T00:00 b"},
		{"every two days keeps its time of day", "Europe/Madrid", "every 48h", "2026-03-27T09:00",
			"2026-03-28T00:00Z", "2026-04-01T00:00Z", "a 03-29T07:00 b 03-31T07:00 c"},
		{"every 12h is time that elapses", "Europe/Madrid", "every 12h", "2026-03-28T09:00",
			"2026-03-28T12:00Z", "2026-03-29T21:00Z", "a 03-28T20:00 b 03-29T08:00 c 03-29T20:00 d"},
	} {
		loc := mustZone(c.zone)
		s := decodeOne(t, c.zone, c.handoff, c.start)
		var got strings.Builder
		for i, shift := range s.Shifts(nil, instant(t, c.from), instant(t, c.to)) {
			if i > 0 {
				fmt.Fprintf(&got, " %s ", shift.From.UTC().Format("01-02T15:04"))
			}
			got.WriteString(shift.Who())
		}
		if got.String() != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", loc, c.about, got.String(), c.want)
		}
	}
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04Z07:00", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// decodeOne makes a schedule of one layer of the users a to f.
func decodeOne(t *testing.T, zone, handoff, start string) *oncall.Schedule {
	t.Helper()
	rotation := fmt.Sprintf("handoff: %q", handoff)
	if every, ok := strings.CutPrefix(handoff, "every "); ok {
		rotation = "every: " + every
	}
	return decodeText(t, fmt.Sprintf(`[{name: s, time_zone: %s, layers: [{name: l, users: [a, b, c, d, e, f], start: '%s', %s}]}]`, zone, start, rotation))
}

// TestRestrictionsAtChangesOfClocks: what the wall shows twice is within twice, what it skips never.
func TestRestrictionsAtChangesOfClocks(t *testing.T) {
	s := decodeText(t, `
- name: s
  time_zone: Europe/Madrid
  layers:
  - users: [a]
    restrict: [{times: [{start_time: '02:00', end_time: '03:00'}]}, {days_of_month: ['-1'], months: [march], times: [{start_time: '12:00', end_time: '24:00'}]}]`)
	for _, c := range []struct{ from, to, want string }{
		{"2026-03-28T00:00Z", "2026-03-31T00:00Z", "01:00–02:00 00:00–01:00"}, // none on the 29th
		{"2026-10-24T12:00Z", "2026-10-26T00:00Z", "00:00–02:00"},             // two hours on the 25th
		{"2026-03-31T06:00Z", "2026-04-01T12:00Z", "10:00–22:00 00:00–01:00"}, // the 31st, though March was an hour short
	} {
		var got []string
		for _, shift := range s.Shifts(nil, instant(t, c.from), instant(t, c.to)) {
			if len(shift.Users) > 0 {
				got = append(got, shift.From.UTC().Format("15:04")+"–"+shift.To.UTC().Format("15:04"))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("from %s: %v, want %s", c.from, got, c.want)
		}
	}
}
