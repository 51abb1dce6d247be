package slack

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// How long something lasts, as people type it: a length ("2h", "90 minutes") or an end ("until 9:00", "tomorrow",
// "until monday 10:00"), on the clocks of who types.

// morning is the hour that "until morning" means, and the one of a day that is named without a time.
const morning = 9

// nextMorning is the next 9 o'clock that is at least an hour away: who presses at ten to nine means the next day's.
func nextMorning(now time.Time) time.Time {
	t := time.Date(now.Year(), now.Month(), now.Day(), morning, 0, 0, 0, now.Location())
	if t.Sub(now) < time.Hour {
		t = time.Date(now.Year(), now.Month(), now.Day()+1, morning, 0, 0, 0, now.Location())
	}
	return t
}

// lasting is how long something is to last: exactly one of the two is set.
type lasting struct {
	length time.Duration
	until  time.Time
}

// isZero reports that nothing was said.
func (s lasting) isZero() bool { return s.length <= 0 && s.until.IsZero() }

// from is how long it lasts from now on.
func (s lasting) from(now time.Time) time.Duration {
	if s.length > 0 {
		return s.length
	}
	return s.until.Sub(now)
}

// end is when it ends.
func (s lasting) end(now time.Time) time.Time { return now.Add(s.from(now)) }

// cutSpan reads how long from the beginning of a text, and returns what follows. now is on the clocks of who typed.
// The complaint says what is wrong; without one and without a span, the text begins with neither.
func cutSpan(text string, now time.Time) (s lasting, rest, complaint string) {
	if length, rest, ok := cutLength(text); ok {
		return lasting{length: length}, rest, ""
	}
	word, after := cutWord(text)
	if strings.EqualFold(word, "for") {
		word, after = cutWord(after)
	}
	said := false
	for strings.EqualFold(word, "until") || strings.EqualFold(word, "till") || strings.EqualFold(word, "til") || strings.EqualFold(word, "the") {
		said = said || !strings.EqualFold(word, "the")
		word, after = cutWord(after)
	}
	if word == "" && !said {
		return lasting{}, text, ""
	}
	at, rest, ok := cutInstant(strings.TrimSpace(word+" "+after), now, said)
	switch {
	case !ok && said:
		return lasting{}, text, "Until when? Write " + code("until 9:00", 20) + ", " + code("until tomorrow", 20) + " or " + code("until monday 10:00", 20) + "."
	case !ok:
		return lasting{}, text, ""
	case !at.After(now):
		return lasting{}, text, fmt.Sprintf("That has passed: %s.", at.Format("Mon 2 Jan 2006 15:04 MST"))
	}
	return lasting{until: at}, rest, ""
}

var (
	clockForm = regexp.MustCompile(`(?i)^(\d{1,2})(?::(\d{2}))?\s*(am|pm)?(?:[\s,;:.]+|$)`)
	weekdays  = map[string]time.Weekday{
		"sunday": time.Sunday, "monday": time.Monday, "tuesday": time.Tuesday, "wednesday": time.Wednesday,
		"thursday": time.Thursday, "friday": time.Friday, "saturday": time.Saturday,
		"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "tues": time.Tuesday, "wed": time.Wednesday,
		"thu": time.Thursday, "thur": time.Thursday, "thurs": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
	}
)

// cutInstant reads a day, a time, or both. bare says that a number alone is an hour: "until 9".
func cutInstant(text string, now time.Time, bare bool) (at time.Time, rest string, ok bool) {
	word, after := cutWord(text)
	word = strings.ToLower(strings.TrimRight(word, ",;:."))
	if t, err := time.Parse(time.RFC3339, strings.ToUpper(word)); err == nil {
		return t.In(now.Location()), after, true
	}
	if t, err := time.ParseInLocation("2006-01-02t15:04", word, now.Location()); err == nil {
		return t, after, true
	}
	switch word {
	case "morning":
		return nextMorning(now), after, true
	case "noon", "midnight":
		hour := map[string]int{"noon": 12, "midnight": 0}[word]
		return nextClock(now, hour, 0), after, true
	case "tonight", "evening":
		return nextClock(now, 20, 0), after, true
	}
	if day, ok := dayNamed(word, now); ok {
		if next, later := cutWord(after); strings.EqualFold(strings.TrimRight(next, ",;:."), "morning") {
			after = later
		}
		if next, later := cutWord(after); strings.EqualFold(next, "at") {
			after = later
		}
		if h, m, later, ok := cutClock(after, false); ok {
			return onDay(day, h, m), later, true
		}
		if word == "today" {
			return at, text, false
		}
		return onDay(day, morning, 0), after, true
	}
	if strings.EqualFold(word, "at") {
		text = after
	}
	if h, m, later, ok := cutClock(text, bare); ok {
		return nextClock(now, h, m), later, true
	}
	return at, text, false
}

func dayNamed(word string, now time.Time) (day time.Time, ok bool) {
	if t, err := time.ParseInLocation(time.DateOnly, word, now.Location()); err == nil {
		return t, true
	}
	ahead := 0
	switch word {
	case "today":
	case "tomorrow", "tmrw", "tomorow":
		ahead = 1
	default:
		w, ok := weekdays[word]
		if !ok {
			return day, false
		}
		if ahead = int(w-now.Weekday()+7) % 7; ahead == 0 {
			ahead = 7
		}
	}
	return time.Date(now.Year(), now.Month(), now.Day()+ahead, 0, 0, 0, 0, now.Location()), true
}

func onDay(day time.Time, hour, minute int) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, day.Location())
}

// nextClock is when clocks show a time next.
func nextClock(now time.Time, hour, minute int) time.Time {
	t := onDay(now, hour, minute)
	if !t.After(now) {
		t = time.Date(now.Year(), now.Month(), now.Day()+1, hour, minute, 0, 0, now.Location())
	}
	return t
}

// cutClock reads a time of day: 9:00, 9am, and where bare, 9.
func cutClock(text string, bare bool) (hour, minute int, rest string, ok bool) {
	m := clockForm.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[3] == "" && !bare {
		return 0, 0, text, false
	}
	hour, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, 0, text, false
	}
	if m[2] != "" {
		if minute, err = strconv.Atoi(m[2]); err != nil {
			return 0, 0, text, false
		}
	}
	switch half := strings.ToLower(m[3]); {
	case half == "":
	case hour < 1 || hour > 12:
		return 0, 0, text, false
	default:
		hour %= 12
		if half == "pm" {
			hour += 12
		}
	}
	if hour > 23 || minute > 59 {
		return 0, 0, text, false
	}
	return hour, minute, strings.TrimSpace(text[len(m[0]):]), true
}

// lengthForm is a duration as people type it: "2h", "1h30m", "2 hours", "90 min".
var lengthForm = regexp.MustCompile(`(?i)^(\d+(?:\.\d+)?)\s*(seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w|years?|y)(?:\s+|$|[,:;]|(\d))`)

// cutLength reads the duration that a text begins with, and returns what follows. ok is false where it begins with
// none.
func cutLength(text string) (length time.Duration, rest string, ok bool) {
	rest = strings.TrimSpace(text)
	before := time.Duration(1 << 62)
	if word, after := cutWord(rest); strings.EqualFold(word, "for") {
		rest = after
	}
	for {
		m := lengthForm.FindStringSubmatchIndex(rest)
		if m == nil {
			return length, rest, ok
		}
		n, err := strconv.ParseFloat(rest[m[2]:m[3]], 64)
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 365 * 24 * time.Hour}[rest[m[4]]|0x20]
		if ok && unit >= before { // "2h 3 days of work": that is the reason
			return length, rest, ok
		}
		before = unit
		if err != nil || n*float64(unit) > float64(400*24*time.Hour) {
			n = float64(400 * 24 * time.Hour / unit) // too long in any case
		}
		length, ok = length+time.Duration(n*float64(unit)), true
		end := m[5]
		more := m[6] >= 0 // "1h30m"
		rest = rest[end:]
		if !more {
			rest = strings.TrimLeft(rest, " \t\n\u00a0,:;")
			if len(rest) == 0 || rest[0] < '0' || rest[0] > '9' {
				return length, rest, true
			}
		}
	}
}
