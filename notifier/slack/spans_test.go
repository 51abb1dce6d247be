package slack

import (
	"strings"
	"testing"
	"time"
)

func TestSpans(t *testing.T) {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	night := time.Date(2024, 9, 23, 3, 12, 0, 0, madrid) // a Monday
	for text, want := range map[string]string{
		"30m":                          "30m0s|",
		"2h restart":                   "2h0m0s|restart",
		"1d":                           "24h0m0s|",
		"for 90 minutes: deploy":       "1h30m0s|deploy",
		"until 9:00":                   "Mon 09:00|",
		"until 9:00 deploy":            "Mon 09:00|deploy",
		"until 3:00":                   "Tue 03:00|",
		"until 9":                      "Mon 09:00|",
		"until 9, deploying":           "Mon 09:00|deploying",
		"till 2pm lunch":               "Mon 14:00|lunch",
		"until 12 am":                  "Tue 00:00|",
		"9:30 meeting":                 "Mon 09:30|meeting",
		"9 restarts":                   "|9 restarts",
		"until 9 pm":                   "Mon 21:00|",
		"tomorrow":                     "Tue 09:00|",
		"Tomorrow morning why not":     "Tue 09:00|why not",
		"until tomorrow 14:30 x":       "Tue 14:30|x",
		"until tomorrow at 8am":        "Tue 08:00|",
		"tomorrow 3 nodes come":        "Tue 09:00|3 nodes come",
		"until morning":                "Mon 09:00|",
		"until the morning, quiet":     "Mon 09:00|quiet",
		"until noon":                   "Mon 12:00|",
		"until midnight":               "Tue 00:00|",
		"until monday":                 "Mon 09:00|", // a week ahead
		"until fri 18:00: sale":        "Fri 18:00|sale",
		"until 2024-09-25":             "Wed 09:00|",
		"until 2024-09-25 12:00 x":     "Wed 12:00|x",
		"until 2024-09-25T12:00 x":     "Wed 12:00|x",
		"until 2024-09-25T12:00:00Z x": "Wed 14:00|x",
		"until today 18:00":            "Mon 18:00|",
		"until":                        "Until when?",
		"until it works":               "Until when?",
		"until 25:00":                  "Until when?",
		"until 13pm":                   "Until when?",
		"until today":                  "Until when?",
		"until 2024-09-22":             "That has passed",
		"until today 2:00":             "That has passed",
		"because":                      "|because",
		"":                             "|",
	} {
		s, rest, complaint := cutSpan(text, night)
		got := complaint
		switch {
		case complaint != "":
		case s.length > 0:
			got = s.length.String() + "|" + rest
		case !s.until.IsZero():
			got = s.until.Format("Mon 15:04") + "|" + rest
		default:
			got = "|" + rest
		}
		if got != want && !(complaint != "" && strings.HasPrefix(complaint, want)) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestNextMorning(t *testing.T) {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"2024-09-23T03:00:00+02:00": "2024-09-23T09:00:00+02:00",
		"2024-09-23T08:00:00+02:00": "2024-09-23T09:00:00+02:00",
		"2024-09-23T08:10:00+02:00": "2024-09-24T09:00:00+02:00",
		"2024-09-23T22:00:00+02:00": "2024-09-24T09:00:00+02:00",
		"2024-10-26T22:00:00+02:00": "2024-10-27T09:00:00+01:00", // clocks go back in that night
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := nextMorning(now.In(madrid)).Format(time.RFC3339); got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	}
}

func FuzzCutSpan(f *testing.F) {
	for _, s := range []string{"2h x", "until 9:00", "tomorrow 8am x", "until 2024-09-25T12:00:00Z", "until monday", "the the until", "until 9999-12-31", "until 99"} {
		f.Add(s)
	}
	now := time.Date(2024, 9, 23, 3, 12, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s, _, complaint := cutSpan(text, now)
		if complaint != "" && !s.isZero() || !s.isZero() && s.from(now) <= 0 && s.length != 0 || s.length > 0 && !s.until.IsZero() {
			t.Errorf("%q: %+v, %q", text, s, complaint)
		}
		if strings.Contains(complaint, "<!") || strings.Contains(complaint, "<@") {
			t.Errorf("the complaint pings: %q", complaint)
		}
	})
}
