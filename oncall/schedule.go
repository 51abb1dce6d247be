package oncall

import (
	"slices"
	"strings"
	"time"
)

// Schedule says who is on call when: the last of its layers that has somebody, and then what overrides make
// of that. Immutable; as configured.
type Schedule struct {
	Name     string
	TimeZone *time.Location // whose wall clock handoffs and restrictions follow; nil: UTC
	Layers   []Layer        // a later one takes precedence where it has somebody
	// NotifySlack is the channel where it is announced when other people come on call; "": nowhere.
	NotifySlack string
	// NotifyPeople tells those who come on call and those who go, each by themselves; NotifyBefore (0: not at all) is how
	// long before their shift those who come are told of it.
	NotifyPeople bool
	NotifyBefore time.Duration
	// SlackUserGroup is the user group of Slack that is kept to whoever is on call, "@session-oncall" or its ID; "": none.
	SlackUserGroup string
	SlackTopic     string // the channel whose topic says who is on call; "": none
}

// Layer is one rotation of a schedule. Its rosters are in the order of From: an edit that names the instant
// from which it holds leaves all before it as it was.
type Layer struct {
	Name    string
	Rosters []Roster
}

// Period is a stretch of time: From is within, To is not.
type Period struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// Shift is a time in which the same people are on call for the same reason. Where one ends the next begins;
// where nobody is on call there is a Shift without users. A handoff ends a shift even if the same user goes on.
type Shift struct {
	Period
	Users     []string   `json:"users"`
	Shadows   []string   `json:"shadows,omitempty"`   // shown beside Users; an incident is shown to them in Slack, and they are relied upon for nothing
	Layer     string     `json:"layer,omitempty"`     // whose turn it is; "": no layer has anybody
	Overrides []Override `json:"overrides,omitempty"` // those that changed who is on call, in the order in which they applied
}

// Why says for what reason these people are on call: "layer weekly; bo instead of ana (by dee: dentist)".
func (s Shift) Why() string {
	why := "no layer has anybody"
	if s.Layer != "" {
		why = "layer " + s.Layer
	}
	for _, o := range s.Overrides {
		why += "; " + o.String()
	}
	return why
}

// Who names the people on call as text: "ana, bo", or "nobody".
func (s Shift) Who() string {
	if len(s.Users) == 0 {
		return "nobody"
	}
	return strings.Join(s.Users, ", ")
}

// samePeople reports whether the same people are on call, in whatever order.
func (s Shift) samePeople(other Shift) bool {
	return sameUsers(s.Users, other.Users) && sameUsers(s.Shadows, other.Shadows)
}

func (s *Schedule) location() *time.Location {
	if s.TimeZone == nil {
		return time.UTC
	}
	return s.TimeZone
}

// Shifts returns who is on call in [from, to): in order, each shift beginning where the one before it ends,
// the first and the last cut at from and to. Overrides of other schedules are ignored.
func (s *Schedule) Shifts(overrides []Override, from, to time.Time) []Shift {
	if !from.Before(to) {
		return nil
	}
	loc := s.location()
	overrides = overridesOf(s.Name, overrides, from, to)
	layers := make([][]stretch, len(s.Layers))
	edges := []time.Time{from}
	for i, l := range s.Layers {
		layers[i] = l.stretches(loc, from, to)
		for _, st := range layers[i] {
			edges = append(edges, st.from, st.to)
		}
	}
	for _, o := range overrides {
		edges = append(edges, o.From, o.To)
	}
	edges = slices.DeleteFunc(sortedInstants(edges), func(t time.Time) bool { return t.Before(from) || !t.Before(to) })

	sweep := sweep{layers: layers}
	var shifts []Shift
	lastTurn := turnID{}
	for i, at := range edges {
		next := to
		if i+1 < len(edges) {
			next = edges[i+1]
		}
		shift, turn := s.shiftAt(&sweep, overrides, at)
		shift.From, shift.To = at.In(loc), next.In(loc)
		last := len(shifts) - 1
		if last >= 0 && turn == lastTurn && shifts[last].goesOn(shift) {
			shifts[last].To = shift.To
			continue
		}
		shifts, lastTurn = append(shifts, shift), turn
	}
	return shifts
}

// turnID tells turns of a schedule apart: layer counts from 1, 0 is nobody's turn.
type turnID struct{ layer, turn int }

// sweep walks the layers' stretches in the order of time.
type sweep struct {
	layers [][]stretch // what is not over yet, of each layer
}

// shiftAt returns who is on call at an instant, not before that of the call before.
func (s *Schedule) shiftAt(sw *sweep, overrides []Override, at time.Time) (Shift, turnID) {
	var shift Shift
	var turn turnID
	for i := range sw.layers {
		for len(sw.layers[i]) > 0 && !at.Before(sw.layers[i][0].to) {
			sw.layers[i] = sw.layers[i][1:]
		}
		if len(sw.layers[i]) == 0 || at.Before(sw.layers[i][0].from) {
			continue
		}
		st := sw.layers[i][0]
		shift.Users, shift.Shadows, shift.Layer = st.users, st.shadows, s.Layers[i].Name
		turn = turnID{i + 1, st.turn}
	}
	for _, o := range overrides {
		if !o.at(at) {
			continue
		}
		if users, changed := o.apply(shift.Users); changed {
			shift.Users, shift.Overrides = users, append(shift.Overrides, o)
		}
	}
	shift.Shadows = slices.DeleteFunc(slices.Clone(shift.Shadows), func(u string) bool { return slices.Contains(shift.Users, u) })
	return shift, turn
}

// goesOn reports whether other, in the same turn, is more of the same.
func (s Shift) goesOn(other Shift) bool {
	return slices.Equal(s.Users, other.Users) && slices.Equal(s.Shadows, other.Shadows) && s.Layer == other.Layer &&
		slices.EqualFunc(s.Overrides, other.Overrides, Override.same)
}

// OnCall returns who is on call at an instant, nobody perhaps, and why.
func (s *Schedule) OnCall(overrides []Override, at time.Time) (users []string, why string) {
	now := s.Shifts(overrides, at, at.Add(1))[0]
	return now.Users, now.Why()
}

// Horizon is how far from an instant ShiftAt and NextChange look for the end of a shift.
const Horizon = 400 * day

// ShiftAt returns the shift that holds at an instant, uncut: when it began and when it will end. What lies more
// than Horizon away is the zero time. It costs several times what OnCall costs.
func (s *Schedule) ShiftAt(overrides []Override, at time.Time) Shift {
	var shift Shift
	for _, ahead := range looks {
		shifts := s.Shifts(overrides, at, at.Add(ahead))
		if shift = shifts[0]; len(shifts) > 1 {
			break
		}
		shift.To = time.Time{}
	}
	for _, back := range looks {
		shifts := s.Shifts(overrides, at.Add(-back), at.Add(1))
		if len(shifts) > 1 {
			shift.From = shifts[len(shifts)-1].From
			break
		}
		shift.From = time.Time{}
	}
	return shift
}

// looks are how far to look, in steps: most shifts end within days.
var looks = []time.Duration{2 * day, 16 * day, 100 * day, Horizon}

// NextChange returns the shift with which other people come on call after an instant, as far as it is known (To
// may be cut); ok is false where nobody does within Horizon.
func (s *Schedule) NextChange(overrides []Override, after time.Time) (next Shift, ok bool) {
	for _, ahead := range looks {
		shifts := s.Shifts(overrides, after, after.Add(ahead))
		for _, shift := range shifts[1:] {
			if !shift.samePeople(shifts[0]) {
				return shift, true
			}
		}
	}
	return Shift{}, false
}

// Rewritten returns the first time of [from, to) in which an edit changes who was on call: as it was, and as it is
// said to have been. An edit should change nothing before the instant at which it is made.
func (s *Schedule) Rewritten(edited *Schedule, overrides []Override, from, to time.Time) (was, is Shift, ok bool) {
	return FirstDifference(s.Shifts(overrides, from, to), edited.Shifts(overrides, from, to))
}

// FirstDifference returns the first time in which shifts of one span of time have other people on call than others of
// the same span, according to both.
func FirstDifference(shifts, others []Shift) (one, other Shift, ok bool) {
	for i, j := 0, 0; i < len(shifts) && j < len(others); {
		one, other = shifts[i], others[j]
		last := one.To.Compare(other.To)
		if !sameUsers(one.Users, other.Users) { // a shadow has no turn
			one.From, other.From = later(one.From, other.From), later(one.From, other.From)
			if last > 0 {
				one.To = other.To
			}
			other.To = one.To
			return one, other, true
		}
		if last <= 0 {
			i++
		}
		if last >= 0 {
			j++
		}
	}
	return Shift{}, Shift{}, false
}
