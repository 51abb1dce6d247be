package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"tocsin/oncall"
)

// pageDays is how much of each schedule the page draws, from a Monday on.
const pageDays = 14

// personColors is how many colours the stylesheet has for people.
const personColors = 6

// schedulesPage is all schedules as calendars.
type schedulesPage struct {
	layout
	Schedules         []scheduleCalendar
	Before, Then      string // first days of the pages before and after
	From, To          time.Time
	Present           bool // today is among the days
	OnlyThis, Unknown string
}

// scheduleCalendar is one schedule as the page draws it.
type scheduleCalendar struct {
	Name, Zone string
	Line       string // who is on call now, until when, and why
	Nobody     bool   // now
	Then       string
	Weeks      [][]calendarDay
	Overrides  []calendarOverride
	Failed     []string // contacts of its users that failed in their last drill
}

// calendarDay is one day of the wall.
type calendarDay struct {
	At     time.Time // noon of it
	Today  bool
	Past   bool
	Pieces []calendarPiece
}

// calendarPiece is what a day has of a shift.
type calendarPiece struct {
	From, To string // on the wall
	Whole    bool   // all day
	Users    []calendarUser
	Why      string
	Changed  bool // by an override
}

// calendarUser is a person with their colour.
type calendarUser struct {
	Name  string
	Color int
}

// calendarOverride is an override that stands.
type calendarOverride struct {
	ID, Text, From, To string
	Pointless          string // why, "" where it is not
}

// showSchedules draws two weeks of all schedules, or of the one that ?schedule names.
func (w *Web) showSchedules(rw http.ResponseWriter, r *http.Request) {
	p, at := w.o.Policy(), now()
	q := r.URL.Query()
	day := at
	if text := q.Get("from"); text != "" {
		var err error
		if day, err = time.Parse(time.DateOnly, text); err != nil || day.Year() < 1970 || day.Year() > 2200 {
			w.fail(rw, r, oncall.Errorf(oncall.CodeInvalid, "from: expected a date such as 2026-01-05, found %q", text))
			return
		}
	}
	day = monday(day)
	page := schedulesPage{layout: w.layout(r, "Schedules"), From: day, To: day.AddDate(0, 0, pageDays-1),
		Before: day.AddDate(0, 0, -pageDays).Format(time.DateOnly), Then: day.AddDate(0, 0, pageDays).Format(time.DateOnly)}
	page.Nav, page.Refresh = true, 60
	pointless := map[string]string{}
	for _, x := range p.PointlessOverrides(at) {
		pointless[x.Override.ID] = x.Why
	}
	for _, name := range p.ScheduleNames() {
		if only := q.Get("schedule"); only == "" || only == name {
			page.OnlyThis = only
			s := p.Schedules[name]
			c := drawSchedule(p, s, day, at, pointless)
			c.Failed = w.failedContacts(r, s.Users())
			page.Schedules = append(page.Schedules, c)
			for _, week := range c.Weeks {
				page.Present = page.Present || slices.ContainsFunc(week, func(d calendarDay) bool { return d.Today })
			}
		}
	}
	if only := q.Get("schedule"); only != "" && len(page.Schedules) == 0 {
		page.Unknown = only
	}
	w.pages.render(rw, http.StatusOK, "schedules.html", page)
}

// monday is noon of the Monday of a day's week.
func monday(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d-(int(t.Weekday())+6)%7, 12, 0, 0, 0, time.UTC)
}

func drawSchedule(p oncall.Policy, s oncall.Schedule, first, at time.Time, pointless map[string]string) scheduleCalendar {
	loc := zoneOf(s)
	shift := s.ShiftAt(p.Overrides, at)
	c := scheduleCalendar{Name: s.Name, Zone: loc.String(), Line: strings.TrimPrefix(s.RenderShift(shift), s.Name+": "), Nobody: len(shift.Users) == 0}
	if next, ok := s.NextChange(p.Overrides, at); ok {
		c.Then = next.Who() + " from " + next.From.In(loc).Format("Mon 2 Jan 15:04 MST")
	}
	days := make([]time.Time, pageDays+1) // midnights, the last of which ends the last day
	for i := range days {
		days[i] = oncall.StartOfDay(first.AddDate(0, 0, i), loc)
	}
	shifts := s.Shifts(p.Overrides, days[0], days[pageDays])
	people := slices.Sorted(maps.Keys(p.Users)) // neighbours here have different colours, on every schedule the same
	for i := range pageDays {
		if i%7 == 0 {
			c.Weeks = append(c.Weeks, nil)
		}
		d := calendarDay{At: first.AddDate(0, 0, i), Today: !at.Before(days[i]) && at.Before(days[i+1]), Past: !at.Before(days[i+1])}
		for _, shift := range shifts {
			if shift.From.Before(days[i+1]) && days[i].Before(shift.To) {
				d.Pieces = append(d.Pieces, pieceOf(shift, people, days[i], days[i+1], loc))
			}
		}
		c.Weeks[len(c.Weeks)-1] = append(c.Weeks[len(c.Weeks)-1], d)
	}
	for _, o := range p.Overrides {
		if o.Schedule == s.Name && at.Before(o.To) && o.From.Before(o.To) {
			c.Overrides = append(c.Overrides, calendarOverride{o.ID, o.String(), o.From.In(loc).Format("Mon 2 Jan 15:04"),
				o.To.In(loc).Format("Mon 2 Jan 15:04 MST"), pointless[o.ID]})
		}
	}
	return c
}

func pieceOf(shift oncall.Shift, people []string, begin, end time.Time, loc *time.Location) calendarPiece {
	piece := calendarPiece{Why: shift.Why(), Changed: len(shift.Overrides) > 0, Whole: !shift.From.After(begin) && !shift.To.Before(end)}
	piece.From, piece.To = "00:00", "24:00"
	if shift.From.After(begin) {
		piece.From = shift.From.In(loc).Format("15:04")
	}
	if shift.To.Before(end) {
		piece.To = shift.To.In(loc).Format("15:04")
	}
	for _, u := range shift.Users {
		piece.Users = append(piece.Users, calendarUser{u, max(0, slices.Index(people, u)) % personColors})
	}
	return piece
}
