package oncall_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tocsin/oncall"
)

func TestICal(t *testing.T) {
	s := weekly(t)
	overrides := []oncall.Override{record("1", oncall.OverrideReplace, "dee", "ana", on(2, 0), on(3, 0))}
	stamp := on(1, 0)
	// A day into her week ana's entry still begins with the week.
	golden(t, "ana.ics.golden", strings.ReplaceAll(string(oncall.ICal("ana, on call", s.CalendarEntries(overrides, stamp, on(14, 0), "ana"), stamp)), "\r\n", "\n"))
	golden(t, "all.ics.golden", strings.ReplaceAll(string(oncall.ICal("s", s.CalendarEntries(overrides, stamp, on(9, 0), ""), stamp)), "\r\n", "\n"))
}

// TestICalEndless: who is always on call has one entry, the same one tomorrow.
func TestICalEndless(t *testing.T) {
	s := &oncall.Schedule{Name: "s", Layers: []oncall.Layer{{Name: "l", Rosters: []oncall.Roster{{Users: [][]string{{"bo"}}}}}}}
	for d := range 3 {
		text := string(oncall.ICal("s", s.CalendarEntries(nil, on(d, 0), on(d+9, 0), ""), on(d, 0)))
		if strings.Count(text, "\r\nUID:") != 1 || !strings.Contains(text, "\r\nUID:s/always/bo@tocsin\r\n") {
			t.Error(text)
		}
	}
}

// TestICalLines: whatever names and reasons hold, lines are short, whole, and say what was meant once put together.
func TestICalLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		why := rapid.String().Draw(t, "why")
		text := string(oncall.ICal("t", []oncall.CalendarEntry{{Schedule: "s", User: rapid.String().Draw(t, "user"), Why: why}}, time.Unix(0, 0)))
		if !strings.HasSuffix(text, "END:VCALENDAR\r\n") {
			t.Fatalf("ends with %q", text)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
			if len(line) > 75 || !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) {
				t.Fatalf("line %q", line)
			}
		}
		_, after, _ := strings.Cut(strings.ReplaceAll(text, "\r\n ", ""), "\r\nDESCRIPTION:")
		got, _, _ := strings.Cut(after, "\r\n")
		got = strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, "\n").Replace(got)
		want := strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\n' {
				return -1
			}
			return r
		}, strings.ReplaceAll(why, "\r\n", "\n"))
		if got != want {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
