package slack

import (
	"fmt"
	"maps"
	"slices"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// turn is a time for which somebody is on call by a schedule, as far as homes look ahead.
type turn struct {
	schedule string
	shift    oncall.Shift
	shadow   bool
	then     []string // who is on call after it
}

// turnsOf are somebody's turns: those that go on, and those that come, first ones first.
func turnsOf(seen around, who person) (now, next []turn) {
	var turns []turn
	for _, name := range slices.Sorted(maps.Keys(seen.shifts)) {
		for _, s := range seen.shifts[name] {
			n := len(turns) - 1
			follows := n >= 0 && turns[n].schedule == name && turns[n].shift.To.Equal(s.From)
			if follows {
				turns[n].then = s.Users
			}
			on, shadow := slices.Contains(s.Users, who.user), slices.Contains(s.Shadows, who.user)
			switch {
			case !on && !shadow || !s.To.After(seen.now):
			case follows && turns[n].shadow == !on: // one turn may be several shifts, where those beside somebody change
				turns[n].shift.To = s.To
			default:
				turns = append(turns, turn{schedule: name, shift: s, shadow: !on})
			}
		}
	}
	slices.SortStableFunc(turns, func(x, y turn) int { return x.shift.From.Compare(y.shift.From) })
	for _, t := range turns {
		if t.shift.From.After(seen.now) {
			next = append(next, t)
		} else {
			now = append(now, t)
		}
	}
	return now, next
}

// ahead is up to when homes know who is on call.
func (seen around) ahead() time.Time { return seen.now.Truncate(time.Hour).Add(homeAhead) }

// homeStatus says first whether somebody is on call, by what and until when; else when they are next.
func homeStatus(seen around, who person) []goslack.Block {
	now, next := turnsOf(seen, who)
	if len(now) == 0 {
		text := "No shift of yours begins in the next two weeks."
		if len(next) > 0 {
			text = "Your next shift begins " + when(next[0].shift.From, true) + ", by *" + prose(next[0].schedule, 80) + "*"
			if next[0].shadow {
				text += " (as a shadow)"
			}
		}
		return []goslack.Block{homeTitle("💤 You are not on call"), section(text)}
	}
	title := "👀 You shadow who is on call"
	var lines []string
	for _, t := range now {
		line := "*" + prose(t.schedule, 80) + "*"
		if t.shadow {
			line += " (as a shadow)"
		} else {
			title = "📟 You are on call"
		}
		switch {
		case !t.shift.To.Before(seen.ahead()):
			line += " for longer than two weeks"
		case t.shadow:
			line += " until " + when(t.shift.To, true)
		default:
			line += " until " + when(t.shift.To, true) + ", then " + crowd(t.then)
		}
		lines = append(lines, line)
	}
	return []goslack.Block{homeTitle(title), section(homeLines(lines, ""))}
}

// nextShifts lists turns that come.
func nextShifts(seen around, next []turn) string {
	var lines []string
	for i, t := range next {
		if i == maxHomeShifts {
			lines = append(lines, fmt.Sprintf("… and %d more", len(next)-i))
			break
		}
		line := "• *" + prose(t.schedule, 80) + "*"
		if t.shadow {
			line += " (shadow)"
		}
		if t.shift.To.Before(seen.ahead()) {
			line += " " + when(t.shift.From, true) + " to " + when(t.shift.To, true)
		} else {
			line += " from " + when(t.shift.From, true)
		}
		lines = append(lines, line)
	}
	return homeLines(lines, "None begins in the next two weeks.")
}

// calendarOf links somebody's calendar, "" where there are none. The address is a secret of theirs: nobody else sees
// their home.
func calendarOf(p oncall.Policy, user string, revoked int64) string {
	if revoked < 0 || p.ExternalURL == "" || len(p.LinkKey) == 0 || len(p.Schedules) == 0 {
		return ""
	}
	return "<" + p.ExternalURL + "/calendar/" + oncall.CalendarToken(p.LinkKey, oncall.CalendarOf{User: user}, revoked) + ".ics|Your shifts as a calendar> (keep the address to yourself)"
}
