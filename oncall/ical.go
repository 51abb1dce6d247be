package oncall

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// CalendarEntry is one person's time on call, for a calendar.
type CalendarEntry struct {
	Period
	Schedule string
	User     string
	Shadow   bool // is shown beside who is on call
	Why      string
	// Began says that it began longer ago than anybody looks: From is only where the calendar begins.
	Began bool
}

// CalendarEntries returns the times of a user in [from, to), as shadow too; of everybody where user is "". The first
// shift is whole, so that an entry stays the same entry while the feed moves on.
func (s *Schedule) CalendarEntries(overrides []Override, from, to time.Time, user string) []CalendarEntry {
	var entries []CalendarEntry
	for i, shift := range s.Shifts(overrides, from, to) {
		began := false
		if i == 0 {
			if whole := s.ShiftAt(overrides, from); whole.From.IsZero() {
				began = true
			} else {
				shift.From = whole.From
			}
		}
		for j, u := range slices.Concat(shift.Users, shift.Shadows) {
			if user == "" || u == user {
				entries = append(entries, CalendarEntry{shift.Period, s.Name, u, j >= len(shift.Users), shift.Why(), began})
			}
		}
	}
	return entries
}

// ICal writes entries as an iCalendar feed (RFC 5545) with a title. stamp says as of when it is true.
func ICal(title string, entries []CalendarEntry, stamp time.Time) []byte {
	var b []byte
	line := func(name, value string) { b = appendFolded(b, name+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//tocsin//on call//EN")
	line("METHOD", "PUBLISH")
	line("NAME", icalText(title))
	line("X-WR-CALNAME", icalText(title)) // what most programs read instead of NAME
	line("REFRESH-INTERVAL;VALUE=DURATION", "PT15M")
	for _, e := range entries {
		summary := e.User + " is on call: " + e.Schedule
		if e.Shadow {
			summary = e.User + " shadows: " + e.Schedule
		}
		line("BEGIN", "VEVENT")
		begins := icalTime(e.From)
		if e.Began {
			begins = "always" // the entry stays the same while the calendar moves on
		}
		line("UID", icalText(e.Schedule+"/"+begins+"/"+e.User+"@tocsin"))
		line("DTSTAMP", icalTime(stamp))
		line("DTSTART", icalTime(e.From))
		line("DTEND", icalTime(e.To))
		line("SUMMARY", icalText(summary))
		line("DESCRIPTION", icalText(e.Why))
		line("TRANSP", "TRANSPARENT") // who is on call is not busy
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
	return b
}

func icalTime(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

var icalEscapes = strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`)

// icalText escapes text; what else controls a terminal has no place in a calendar.
func icalText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, icalEscapes.Replace(strings.ToValidUTF8(s, "\uFFFD")))
}

// appendFolded appends a line, in pieces of at most 75 bytes without their ends, no character cut in two.
func appendFolded(b []byte, line string) []byte {
	room := 75
	for len(line) > room {
		cut := room
		for !utf8.RuneStart(line[cut]) {
			cut--
		}
		b = append(append(b, line[:cut]...), "\r\n "...)
		line, room = line[cut:], 74 // a blank begins what continues
	}
	return append(append(b, line...), "\r\n"...)
}
