package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"tocsin/oncall"
)

const (
	calendarBack  = 31 * 24 * time.Hour
	calendarAhead = 180 * 24 * time.Hour
)

// calendarView is the secret address of a feed.
type calendarView struct {
	URL string `json:"url"`
}

// getCalendar tells the address of a user's or a schedule's feed.
func (w *Web) getCalendar(rw http.ResponseWriter, r *http.Request) {
	p, q := w.o.Policy(), r.URL.Query()
	of := oncall.CalendarOf{User: q.Get("user"), Schedule: q.Get("schedule")}
	err := known(q, "user", "schedule")
	switch {
	case err != nil:
	case (of.User == "") == (of.Schedule == ""):
		err = oncall.Errorf(oncall.CodeInvalid, "say whose calendar: either user or schedule")
	case of.User != "":
		_, err = p.User(of.User)
	default:
		_, err = p.Schedule(of.Schedule)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	rw.Header().Set("Cache-Control", "no-store")
	w.writeJSON(rw, http.StatusOK, calendarView{strings.TrimSuffix(w.o.ExternalURL.String(), "/") + "/calendar/" + oncall.CalendarToken(p.LinkKey, of) + ".ics"})
}

// calendar is a feed: a month back, half a year ahead. Its token is its authentication, because no calendar program
// sends a password. Whose user or schedule is gone has an empty calendar, so that old entries vanish.
func (w *Web) calendar(rw http.ResponseWriter, r *http.Request) {
	p, at := w.o.Policy(), now()
	of, ok := oncall.CheckCalendar(p.LinkKey, strings.TrimSuffix(r.PathValue("token"), ".ics"))
	if !ok {
		http.Error(rw, "This is not the address of a calendar. Was it copied whole?", http.StatusNotFound)
		return
	}
	var entries []oncall.CalendarEntry
	title := "On call: " + of.User + of.Schedule
	for _, name := range p.ScheduleNames() {
		if of.Schedule == "" || of.Schedule == name {
			s := p.Schedules[name]
			entries = append(entries, s.CalendarEntries(p.Overrides, at.Add(-calendarBack), at.Add(calendarAhead), of.User)...)
		}
	}
	slices.SortStableFunc(entries, func(a, b oncall.CalendarEntry) int { return a.From.Compare(b.From) })
	h := rw.Header()
	h.Set("Content-Type", "text/calendar; charset=utf-8")
	h.Set("Content-Disposition", `inline; filename="on-call.ics"`)
	h.Set("Cache-Control", "private, max-age=300")
	_, _ = rw.Write(oncall.ICal(title, entries, at)) // the caller has gone: nobody is left to tell
}
