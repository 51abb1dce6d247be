package oncall_test

import (
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/oncall"
)

// slowSchedule is the independent definition that schedules are held to: it walks through time in steps of a
// quarter of an hour, reads the clock on the wall, and moves the line on when the wall says so. It shares no
// code with what it checks, and understands less: entries of one user, each once; everything on quarter hours.
type slowSchedule struct {
	step      time.Duration // slowStep, or more where a coarser look will do
	loc       *time.Location
	layers    []*slowLayer
	overrides []oncall.Override // in the order of creation
}

type slowLayer struct {
	rosters []slowRoster

	current int // index of the roster in effect, -1 before the first
	users   []string
	entry   int
	newest  time.Time   // the latest wall time seen
	shown   []time.Time // quarter hours that the wall has reached or skipped since the step before
}

type slowRoster struct {
	from     time.Time
	users    []string
	handoff  func(wall time.Time) bool // on a quarter hour; nil: none
	every    time.Duration
	anchor   time.Time
	restrict []timeinterval.TimeInterval
}

const slowStep = 15 * time.Minute

func newSlow(loc *time.Location, overrides []oncall.Override, layers ...[]slowRoster) *slowSchedule {
	s := &slowSchedule{step: slowStep, loc: loc, overrides: overrides}
	for _, l := range layers {
		s.layers = append(s.layers, &slowLayer{rosters: l, current: -1})
	}
	return s
}

// digits returns what the wall shows, as a time in UTC.
func digits(t time.Time, loc *time.Location) time.Time {
	l := t.In(loc)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), 0, time.UTC)
}

// walk calls see at each step of [begin, end), from which on it knows who is on call. begin must lie before each
// layer's first roster.
func (s *slowSchedule) walk(begin, end time.Time, see func(t time.Time, users []string)) {
	for t := begin; t.Before(end); t = t.Add(s.step) {
		users := make([]string, 0, 1)
		wall := digits(t, s.loc)
		for _, l := range s.layers {
			l.step(t, wall, s.loc)
			if u := l.on(t, wall); u != "" {
				users = append(users[:0], u)
			}
		}
		see(t, s.overridden(t, users))
	}
}

func (l *slowLayer) step(t, wall time.Time, loc *time.Location) {
	shown := l.shown[:0]
	if l.newest.IsZero() {
		l.newest = wall.Add(-1)
	}
	for q := l.newest.Truncate(slowStep).Add(slowStep); !q.After(wall); q = q.Add(slowStep) {
		shown = append(shown, q)
	}
	l.shown = shown
	if wall.After(l.newest) {
		l.newest = wall
	}
	handoffs := 0
	if l.current >= 0 {
		handoffs = l.rosters[l.current].handoffs(t, shown, loc)
	}
	if next := l.current + 1; next < len(l.rosters) && !t.Before(l.rosters[next].from) {
		r := l.rosters[next]
		if l.current >= 0 {
			handoffs = max(handoffs, r.handoffs(t, shown, loc))
		}
		if l.current < 0 {
			l.users, l.entry = r.users, 0
		} else if len(r.users) > 0 {
			l.change(r.users, handoffs)
		}
		l.current = next
		return
	}
	if l.current >= 0 && len(l.rosters[l.current].users) > 0 {
		l.entry = (l.entry + handoffs) % len(l.users)
	}
}

func (l *slowLayer) change(users []string, handoffs int) {
	if len(l.rosters[l.current].users) == 0 {
		handoffs = 0
	}
	for i := range l.users {
		u := l.users[(l.entry+i)%len(l.users)]
		at := slices.Index(users, u)
		if at < 0 {
			continue
		}
		if i > 0 && handoffs > 0 {
			handoffs--
		}
		l.users, l.entry = users, (at+handoffs)%len(users)
		return
	}
	l.users, l.entry = users, 0
}

func (r slowRoster) handoffs(t time.Time, shown []time.Time, loc *time.Location) int {
	n := 0
	switch {
	case r.handoff != nil:
		for _, q := range shown {
			if r.handoff(q) {
				n++
			}
		}
	case r.every > 0 && r.every%(24*time.Hour) == 0:
		anchor := digits(r.anchor, loc)
		for _, q := range shown {
			if q.After(anchor) && q.Sub(anchor)%r.every == 0 {
				n++
			}
		}
	case r.every > 0:
		if t.After(r.anchor) && t.Sub(r.anchor)%r.every == 0 {
			n++
		}
	}
	return n
}

func (l *slowLayer) on(t, wall time.Time) string {
	if l.current < 0 || len(l.rosters[l.current].users) == 0 {
		return ""
	}
	r := l.rosters[l.current]
	if len(r.restrict) > 0 && !slices.ContainsFunc(r.restrict, func(ti timeinterval.TimeInterval) bool {
		w := wall
		if ti.Location != nil {
			w = digits(t, ti.Location.Location)
		}
		return slowWithin(ti, w)
	}) {
		return ""
	}
	return l.users[l.entry]
}

// slowWithin knows times, weekdays and days of the month.
func slowWithin(ti timeinterval.TimeInterval, wall time.Time) bool {
	minute := wall.Hour()*60 + wall.Minute()
	left := time.Date(wall.Year(), wall.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day() - wall.Day() + 1 // 1 on the last day
	return (ti.Times == nil || slices.ContainsFunc(ti.Times, func(r timeinterval.TimeRange) bool {
		return r.StartMinute <= minute && minute < r.EndMinute
	})) && (ti.Weekdays == nil || slices.ContainsFunc(ti.Weekdays, func(r timeinterval.WeekdayRange) bool {
		return r.Begin <= int(wall.Weekday()) && int(wall.Weekday()) <= r.End
	})) && (ti.DaysOfMonth == nil || slices.ContainsFunc(ti.DaysOfMonth, func(r timeinterval.DayOfMonthRange) bool {
		if r.Begin < 0 {
			return -r.End <= left && left <= -r.Begin
		}
		return r.Begin <= wall.Day() && wall.Day() <= r.End
	}))
}

func (s *slowSchedule) overridden(t time.Time, users []string) []string {
	if len(s.overrides) == 0 {
		return users
	}
	on := map[string]bool{}
	for _, u := range users {
		on[u] = true
	}
	for _, o := range s.overrides {
		if t.Before(o.From) || !t.Before(o.To) {
			continue
		}
		switch {
		case o.Kind == oncall.OverrideAdd:
			on[o.User] = true
		case o.Kind == oncall.OverrideRemove:
			delete(on, o.User)
		case o.Replaces == "":
			on = map[string]bool{o.User: true}
		case on[o.Replaces]:
			delete(on, o.Replaces)
			on[o.User] = true
		}
	}
	users = users[:0:0]
	for u := range on {
		users = append(users, u)
	}
	slices.Sort(users)
	return users
}
