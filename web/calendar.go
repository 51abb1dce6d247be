package web

import (
	"context"
	"errors"
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

// Calendars keeps how often the addresses of a feed were revoked: *store.Store.
type Calendars interface {
	CalendarRevoked(ctx context.Context, c oncall.CalendarOf) (int64, error)
	// RevokeCalendar makes all addresses so far bad. oncall.ErrRequestSeen: this request did so before.
	RevokeCalendar(ctx context.Context, w oncall.Write, c oncall.CalendarOf) (int64, error)
}

// getCalendar tells the address of a user's or a schedule's feed.
func (w *Web) getCalendar(rw http.ResponseWriter, r *http.Request) {
	of, err := w.calendarOf(r)
	var revoked int64
	if err == nil {
		revoked, err = w.o.Calendars.CalendarRevoked(r.Context(), of)
	}
	w.tellCalendar(rw, r, of, revoked, err)
}

// revokeCalendar makes the addresses of a feed bad that were given out so far, and tells a new one.
func (w *Web) revokeCalendar(rw http.ResponseWriter, r *http.Request) {
	of, err := w.calendarOf(r)
	var actor, request string
	if err == nil {
		actor, err = w.actor(r, "", anonymous)
	}
	if err == nil {
		request, err = requestID(r, "revoke calendar "+of.Name(), actor)
	}
	var revoked int64
	if err == nil {
		at := now()
		revoked, err = w.o.Calendars.RevokeCalendar(r.Context(), oncall.Write{Now: at, Request: request, Urgent: true}, of)
		if errors.Is(err, oncall.ErrRequestSeen) {
			revoked, err = w.o.Calendars.CalendarRevoked(r.Context(), of)
		} else if err == nil {
			w.o.Logger.Info("The addresses of a calendar were revoked", "calendar", of.Name(), "by", actor)
		}
	}
	w.tellCalendar(rw, r, of, revoked, err)
}

// calendarOf reads whose calendar a request is about.
func (w *Web) calendarOf(r *http.Request) (oncall.CalendarOf, error) {
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
	return of, err
}

func (w *Web) tellCalendar(rw http.ResponseWriter, r *http.Request, of oncall.CalendarOf, revoked int64, err error) {
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	rw.Header().Set("Cache-Control", "no-store")
	token := oncall.CalendarToken(w.o.Policy().LinkKey, of, revoked)
	w.writeJSON(rw, http.StatusOK, calendarView{strings.TrimSuffix(w.o.ExternalURL.String(), "/") + "/calendar/" + token + ".ics"})
}

// calendar is a feed: a month back, half a year ahead. Its token is its authentication, because no calendar program
// sends a password. Whose user or schedule is gone has an empty calendar, so that old entries vanish.
func (w *Web) calendar(rw http.ResponseWriter, r *http.Request) {
	p, at := w.o.Policy(), now()
	token := strings.TrimSuffix(r.PathValue("token"), ".ics")
	of, ok := oncall.CalendarTokenOf(token)
	if ok {
		revoked, err := w.o.Calendars.CalendarRevoked(r.Context(), of)
		if err != nil {
			w.o.Logger.Error("A calendar could not be read", "err", err)
			http.Error(rw, "The calendar cannot be read just now.", http.StatusServiceUnavailable)
			return
		}
		ok = oncall.CheckCalendar(p.LinkKey, token, revoked)
	}
	if !ok {
		http.Error(rw, "This is not the address of a calendar, or it was revoked. Was it copied whole?", http.StatusNotFound)
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
