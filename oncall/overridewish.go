package oncall

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/problem"
)

// OverrideWish is what somebody asks of a schedule. Zero times are filled in: From is now, To is From + For.
type OverrideWish struct {
	Schedule string
	Kind     OverrideKind // "": replace
	User     string
	Replaces string // "": whoever is on call
	From, To time.Time
	For      time.Duration // instead of To
	Actor    string
	Reason   string
}

// historyGrace is how long ago an override may begin: clocks differ, and people think of now while they type.
const historyGrace = 5 * time.Minute

// PlanOverride makes the override that somebody wishes, without its ID, or says in the caller's terms why it cannot
// be: what it names does not exist or cannot be reached, it would rewrite the past, or it would change nothing.
func (p Policy) PlanOverride(w OverrideWish, now time.Time) (Override, error) {
	s, err := p.schedule(w.Schedule)
	if err != nil {
		return Override{}, err
	}
	o := Override{Schedule: w.Schedule, Kind: cmp.Or(w.Kind, OverrideReplace), User: w.User, Replaces: w.Replaces,
		From: w.From, To: w.To, CreatedAt: now, Author: w.Actor, Reason: strings.TrimSpace(w.Reason)}
	if o.From.IsZero() {
		o.From = now
	}
	switch {
	case o.To.IsZero() && w.For <= 0:
		return o, Errorf(CodeInvalid, "say how long the override lasts, such as 2h, or until when")
	case !o.To.IsZero() && w.For != 0:
		return o, Errorf(CodeInvalid, "say either how long the override lasts or until when, not both")
	case o.To.IsZero():
		o.To = o.From.Add(w.For)
	}
	if err := p.checkOverride(s, &o, now); err != nil {
		return o, err
	}
	return o, s.changes(p.Overrides, o)
}

// checkOverride reports what is wrong with an override, and cuts what of it has just passed.
func (p Policy) checkOverride(s *Schedule, o *Override, now time.Time) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if len(o.Reason) > maxReason {
		return Errorf(CodeInvalid, "the reason is too long: at most %d bytes", maxReason)
	}
	switch {
	case !now.Before(o.To):
		return Errorf(CodeInvalid, "the override would end at %s, which has passed", s.local(o.To))
	case o.From.Before(now.Add(-historyGrace)):
		return Errorf(CodeInvalid, "the override would begin at %s: who was on call is not rewritten, begin it now or later", s.local(o.From))
	case o.From.Before(now):
		o.From = now
	}
	if o.Kind != OverrideRemove {
		u, err := p.user(o.User)
		if err != nil {
			return err
		}
		if len(u.Contacts) == 0 {
			return Errorf(CodeInvalid, "%s cannot be on call: the configuration says no way to reach them", u.Name)
		}
	}
	return p.roomFor(*o, now)
}

// maxReason bounds a reason: it is said beside every name that it concerns.
const maxReason = 500

// changes reports an override that would change nothing.
func (s *Schedule) changes(overrides []Override, o Override) error {
	o.ID = "~" // it has none yet, and comes after those of the same instant
	shifts := s.Shifts(append(slices.Clone(overrides), o), o.From, o.To)
	if slices.ContainsFunc(shifts, func(shift Shift) bool { return slices.ContainsFunc(shift.Overrides, o.same) }) {
		return nil
	}
	return Errorf(CodeConflict, "nothing would change: %s", o.pointless())
}

// SwapWish is that two users take each other's time on call by a schedule.
type SwapWish struct {
	Schedule string
	Mine     Turn
	Theirs   Turn
	Actor    string
	Reason   string
}

// PlanSwap makes the two overrides of a swap, without their IDs, or says why it cannot be. Of a shift under way
// the rest is swapped.
func (p Policy) PlanSwap(w SwapWish, now time.Time) ([]Override, error) {
	s, err := p.schedule(w.Schedule)
	if err != nil {
		return nil, err
	}
	mine, err := p.turn(s, w.Mine, now)
	if err != nil {
		return nil, err
	}
	theirs, err := p.turn(s, w.Theirs, now)
	if err != nil {
		return nil, err
	}
	swap, err := SwapOverrides(s.Name, w.Mine.User, mine, w.Theirs.User, theirs,
		Override{CreatedAt: now, Author: w.Actor, Reason: strings.TrimSpace(w.Reason)})
	if err != nil {
		return nil, err
	}
	for i := range swap {
		if err := p.checkOverride(s, &swap[i], now); err != nil {
			return nil, err
		}
	}
	return swap, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// schedule returns a schedule by its name, or not_found with the nearest one.
func (p Policy) schedule(name string) (*Schedule, error) {
	if s, ok := p.Schedules[name]; ok {
		return &s, nil
	}
	return nil, unknownName("schedule", name, p.ScheduleNames())
}

func (p Policy) user(name string) (User, error) {
	if u, ok := p.Users[name]; ok {
		return u, nil
	}
	return User{}, unknownName("user", name, slices.Collect(maps.Keys(p.Users)))
}

// Schedule returns a schedule by its name. Code: not_found, with the nearest name.
func (p Policy) Schedule(name string) (Schedule, error) {
	s, err := p.schedule(name)
	if err != nil {
		return Schedule{}, err
	}
	return *s, nil
}

func unknownName(what, name string, known []string) error {
	hint := problem.DidYouMean(name, known)
	switch {
	case len(known) == 0:
		hint = "the configuration has none"
	case strings.TrimSpace(name) == "":
		return Errorf(CodeInvalid, "name a %s: %s", what, strings.TrimPrefix(hint, "known here: "))
	}
	if hint != "" {
		hint = " (" + hint + ")"
	}
	return Errorf(CodeNotFound, "there is no %s %q%s", what, name, hint)
}

// local is an instant on the schedule's clocks.
func (s *Schedule) local(t time.Time) string {
	return t.In(s.location()).Format("Mon 2 Jan 2006 15:04 MST")
}

// Said says what an override does to who is on call, as an answer to who asked for it.
func (s *Schedule) Said(o Override) string {
	what := o
	what.Author, what.Reason = "", ""
	text := fmt.Sprintf("%s: %s from %s until %s", s.Name, what, s.local(o.From), s.local(o.To))
	if o.Kind == OverrideReplace {
		text = fmt.Sprintf("%s: %s is on call instead of %s from %s until %s", s.Name, o.User, cmp.Or(o.Replaces, "whoever would be"), s.local(o.From), s.local(o.To))
	}
	return text
}

// Gaps returns when nobody is on call in [from, to), in order.
func (s *Schedule) Gaps(overrides []Override, from, to time.Time) []Period {
	var gaps []Period
	for _, shift := range s.Shifts(overrides, from, to) {
		last := len(gaps) - 1
		switch {
		case len(shift.Users) > 0:
		case last >= 0 && gaps[last].To.Equal(shift.From):
			gaps[last].To = shift.To
		default:
			gaps = append(gaps, shift.Period)
		}
	}
	return gaps
}

// ParseWhen reads an instant as people write it about a schedule: a date, which means all of that day (dayOnly), or a
// time on the schedule's clocks, or an RFC 3339 time.
func (s *Schedule) ParseWhen(text string) (at time.Time, dayOnly bool, err error) {
	dec := scheduleDecoder{loc: s.location()}
	at, ok := dec.parseInstant(strings.TrimSpace(text), Cron{})
	if !ok || at.Year() < 1970 || at.Year() > 2200 {
		return time.Time{}, false, Errorf(CodeInvalid, "expected a date such as 2026-01-05 or a time such as 2026-01-05T09:00, found %q", text)
	}
	_, notDay := time.Parse(time.DateOnly, strings.TrimSpace(text))
	return at, notDay == nil, nil
}
