package oncall

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

// Coverage is what a schedule asks of people in [From, To), and where it leaves nobody on call.
type Coverage struct {
	Period
	Gaps      []Period            `json:"gaps,omitempty"`      // in order, none touching another
	People    []Load              `json:"people"`              // most time first; whoever is in line, even if never on call
	Imbalance Imbalance           `json:"imbalance"`           // among People
	Pointless []PointlessOverride `json:"pointless,omitempty"` // see Pointless
}

// Load is what one person carries.
type Load struct {
	User     string        `json:"user"`
	Shifts   int           `json:"shifts"`   // times that they come on call
	Time     time.Duration `json:"time"`     // on call
	Nights   time.Duration `json:"nights"`   // of it between 22:00 and 07:00 where they live
	Weekends time.Duration `json:"weekends"` // of it on a Saturday or Sunday where they live
}

// Imbalance compares whoever carries most with the average: 1 is even, 2 is twice the average, 0 where there is
// nothing to carry.
type Imbalance struct {
	Time     float64 `json:"time"`
	Nights   float64 `json:"nights"`
	Weekends float64 `json:"weekends"`
}

var (
	nights = Restriction{{Times: []timeinterval.TimeRange{{StartMinute: 0, EndMinute: 7 * 60}, {StartMinute: 22 * 60, EndMinute: 24 * 60}}}}

	weekends = Restriction{{Weekdays: []timeinterval.WeekdayRange{
		{InclusiveRange: timeinterval.InclusiveRange{Begin: int(time.Sunday), End: int(time.Sunday)}},
		{InclusiveRange: timeinterval.InclusiveRange{Begin: int(time.Saturday), End: int(time.Saturday)}},
	}}}
)

// CoverageAhead is how far ahead coverage is shown and checked.
const CoverageAhead = 90 * day

// Coverage adds up who is on call in [from, to). zones says where users live; who is not in it lives in the
// schedule's zone.
func (s *Schedule) Coverage(overrides []Override, from, to time.Time, zones map[string]*time.Location) Coverage {
	c := Coverage{Period: Period{from, to}, Gaps: s.Gaps(overrides, from, to)}
	on := map[string][]span{}
	for _, u := range s.inLine(from, to) {
		on[u] = nil
	}
	for _, shift := range s.Shifts(overrides, from, to) {
		for _, u := range shift.Users {
			spans := on[u]
			if last := len(spans) - 1; last >= 0 && spans[last].to.Equal(shift.From) {
				spans[last].to = shift.To
			} else {
				spans = append(spans, span{shift.From, shift.To})
			}
			on[u] = spans
		}
	}
	for _, u := range slices.Sorted(maps.Keys(on)) {
		loc := zones[u]
		if loc == nil {
			loc = s.location()
		}
		c.People = append(c.People, loadOf(u, on[u], loc))
	}
	slices.SortStableFunc(c.People, func(a, b Load) int { return cmp.Compare(b.Time, a.Time) })
	c.Imbalance = Imbalance{
		Time:     imbalance(c.People, func(l Load) time.Duration { return l.Time }),
		Nights:   imbalance(c.People, func(l Load) time.Duration { return l.Nights }),
		Weekends: imbalance(c.People, func(l Load) time.Duration { return l.Weekends }),
	}
	c.Pointless = s.Pointless(overrides, from, to, nil)
	return c
}

func loadOf(user string, spans []span, loc *time.Location) Load {
	l := Load{User: user, Shifts: len(spans)}
	for _, s := range spans {
		l.Time += s.to.Sub(s.from)
		l.Nights += total(nights.within(loc, s.from, s.to))
		l.Weekends += total(weekends.within(loc, s.from, s.to))
	}
	return l
}

func total(spans []span) (d time.Duration) {
	for _, s := range spans {
		d += s.to.Sub(s.from)
	}
	return d
}

func imbalance(people []Load, of func(Load) time.Duration) float64 {
	var sum, most time.Duration
	for _, l := range people {
		sum, most = sum+of(l), max(most, of(l))
	}
	if sum == 0 {
		return 0
	}
	return float64(most) * float64(len(people)) / float64(sum)
}

// inLine returns the users of all rosters in effect at some time of [from, to).
func (s *Schedule) inLine(from, to time.Time) []string {
	var users []string
	for _, l := range s.Layers {
		for i, r := range l.Rosters {
			over := i+1 < len(l.Rosters) && !from.Before(l.Rosters[i+1].From)
			if over || !r.From.Before(to) {
				continue
			}
			for _, e := range r.Users {
				users = append(users, e...)
			}
		}
	}
	return users
}

// Users returns everybody whom the schedule names, shadows too, sorted.
func (s *Schedule) Users() []string {
	var users []string
	for _, l := range s.Layers {
		for _, r := range l.Rosters {
			for _, e := range r.Users {
				users = append(users, e...)
			}
			users = append(users, r.Shadows...)
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// PointlessOverride is an override that changes nothing, and why.
type PointlessOverride struct {
	Override Override `json:"override"`
	Why      string   `json:"why"`
}

// Pointless returns the schedule's overrides that touch [from, to) and change nobody's time on call, over
// their whole length: because of an edit of the file, or of another override. known says which users there are;
// nil: all.
func (s *Schedule) Pointless(overrides []Override, from, to time.Time, known func(user string) bool) []PointlessOverride {
	var out []PointlessOverride
	for _, o := range overrides {
		if o.gone && o.touches(s.Name, from, to) {
			out = append(out, PointlessOverride{o, o.pointless()})
		}
	}
	for _, o := range overridesOf(s.Name, overrides, from, to) {
		if known != nil && !known(o.User) {
			out = append(out, PointlessOverride{o, "there is no user " + o.User + " any more"})
			continue
		}
		shifts := s.Shifts(overrides, o.From, o.To)
		if slices.ContainsFunc(shifts, func(shift Shift) bool { return slices.ContainsFunc(shift.Overrides, o.same) }) {
			continue
		}
		out = append(out, PointlessOverride{o, o.pointless()})
	}
	return out
}

// pointless says why an override that changes nothing does so.
func (o Override) pointless() string {
	switch {
	case o.gone:
		return "there is no user " + o.User + " any more"
	case o.Kind == OverrideAdd || o.Kind == OverrideReplace && o.Replaces == "":
		return o.User + " is on call anyway"
	case o.Kind == OverrideRemove:
		return o.User + " is not on call then"
	}
	return o.Replaces + " is not on call then"
}

// same reports whether both are one record.
func (o Override) same(other Override) bool {
	return o.ID == other.ID && o.CreatedAt.Equal(other.CreatedAt)
}
