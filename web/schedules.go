package web

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"tocsin/oncall"
)

// maxSpan bounds what one answer draws of a schedule.
const maxSpan = oncall.Horizon

// scheduleView is a schedule as the API shows it.
type scheduleView struct {
	Name     string       `json:"name"`
	TimeZone string       `json:"time_zone"`
	Users    []string     `json:"users"` // everybody whom it names
	OnCall   oncall.Shift `json:"on_call"`
	Why      string       `json:"why"`
	Next     *nextView    `json:"next,omitempty"` // absent where nobody else comes on call
}

// nextView is who comes on call next, and when.
type nextView struct {
	At    time.Time `json:"at"`
	Users []string  `json:"users"`
}

// scheduleShifts is a schedule with what it gives in a span.
type scheduleShifts struct {
	scheduleView
	Shifts    []oncall.Shift             `json:"shifts"`
	Pointless []oncall.PointlessOverride `json:"pointless"`
}

// onCallView is who is on call by one schedule at an instant.
type onCallView struct {
	Schedule string `json:"schedule"`
	TimeZone string `json:"time_zone"`
	oncall.Shift
	Why string `json:"why"`
}

func (w *Web) listSchedules(rw http.ResponseWriter, r *http.Request) {
	p := w.o.Policy()
	views := []scheduleView{}
	for _, name := range p.ScheduleNames() {
		views = append(views, viewSchedule(p, p.Schedules[name], now()))
	}
	w.writeJSON(rw, http.StatusOK, views)
}

func viewSchedule(p oncall.Policy, s oncall.Schedule, at time.Time) scheduleView {
	v := scheduleView{Name: s.Name, TimeZone: zoneOf(s).String(), Users: named(s.Users()), OnCall: shiftView(s.ShiftAt(p.Overrides, at))}
	v.Why = v.OnCall.Why()
	if next, ok := s.NextChange(p.Overrides, at); ok {
		v.Next = &nextView{next.From, named(next.Users)}
	}
	return v
}

func zoneOf(s oncall.Schedule) *time.Location {
	if s.TimeZone == nil {
		return time.UTC
	}
	return s.TimeZone
}

// named is a list that is empty and not null where there is nobody.
func named(users []string) []string {
	if users == nil {
		return []string{}
	}
	return users
}

func shiftView(s oncall.Shift) oncall.Shift {
	s.Users = named(s.Users)
	return s
}

func (w *Web) getSchedule(rw http.ResponseWriter, r *http.Request) {
	p := w.o.Policy()
	s, from, to, err := spanOf(p, r, 14*24*time.Hour)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	v := scheduleShifts{scheduleView: viewSchedule(p, s, now()), Pointless: s.Pointless(p.Overrides, from, to, knownTo(p))}
	for _, shift := range s.Shifts(p.Overrides, from, to) {
		v.Shifts = append(v.Shifts, shiftView(shift))
	}
	if v.Pointless == nil {
		v.Pointless = []oncall.PointlessOverride{}
	}
	w.writeJSON(rw, http.StatusOK, v)
}

func knownTo(p oncall.Policy) func(string) bool {
	return func(user string) bool { _, ok := p.Users[user]; return ok }
}

func (w *Web) getCoverage(rw http.ResponseWriter, r *http.Request) {
	p := w.o.Policy()
	s, from, to, err := spanOf(p, r, oncall.CoverageAhead)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, s.Coverage(p.Overrides, from, to, p.Zones()))
}

// spanOf reads which schedule, and from when to when; ahead is how far it goes where nothing is said.
func spanOf(p oncall.Policy, r *http.Request, ahead time.Duration) (s oncall.Schedule, from, to time.Time, err error) {
	if s, err = p.Schedule(r.PathValue("name")); err != nil {
		return s, from, to, err
	}
	q := r.URL.Query()
	if err = known(q, "from", "to"); err != nil {
		return s, from, to, err
	}
	from = now()
	if text := q.Get("from"); text != "" {
		if from, _, err = s.ParseWhen(text); err != nil {
			return s, from, to, err
		}
	}
	to = from.Add(ahead)
	if text := q.Get("to"); text != "" {
		if to, _, err = s.ParseWhen(text); err != nil {
			return s, from, to, err
		}
	}
	if !from.Before(to) || to.Sub(from) > maxSpan {
		err = oncall.Errorf(oncall.CodeInvalid, "to must come after from, and not more than 400 days")
	}
	return s, from, to, err
}

// known refuses parameters that would be ignored.
func known(q url.Values, names ...string) error {
	for key := range q {
		if !slices.Contains(names, key) {
			return oncall.Errorf(oncall.CodeInvalid, "unknown parameter %q; known: %s", key, commas(names))
		}
	}
	return nil
}

func commas(names []string) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ", "
		}
		out += n
	}
	return out
}

// getOnCall answers who is on call at an instant, by one schedule or by all.
func (w *Web) getOnCall(rw http.ResponseWriter, r *http.Request) {
	p, q := w.o.Policy(), r.URL.Query()
	if err := known(q, "at", "schedule"); err != nil {
		w.fail(rw, r, err)
		return
	}
	names := p.ScheduleNames()
	if name := q.Get("schedule"); name != "" {
		if _, err := p.Schedule(name); err != nil {
			w.fail(rw, r, err)
			return
		}
		names = []string{name}
	}
	views := []onCallView{}
	for _, name := range names {
		s, at := p.Schedules[name], now()
		if text := q.Get("at"); text != "" {
			var err error
			if at, _, err = s.ParseWhen(text); err != nil {
				w.fail(rw, r, err)
				return
			}
		}
		shift := shiftView(s.ShiftAt(p.Overrides, at))
		views = append(views, onCallView{name, zoneOf(s).String(), shift, shift.Why()})
	}
	w.writeJSON(rw, http.StatusOK, views)
}
