package oncall

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// WithOverrides returns the policy with overrides as the store has them; the slice is not kept. One that is not over
// and puts somebody on call whom the configuration has lost takes nobody off call: the people of the layers are there,
// and nobody would be told instead of them.
func (p Policy) WithOverrides(overrides []Override, now time.Time) Policy {
	p.Overrides = slices.Clone(overrides)
	for i := range p.Overrides {
		o := &p.Overrides[i]
		_, known := p.Users[o.User]
		o.gone = !known && o.Kind != OverrideRemove && now.Before(o.To)
	}
	return p
}

// OnCall returns who is on call at an instant by a schedule, nobody perhaps, and why; why is never empty. A
// schedule that the file has lost since has nobody on call.
func (p Policy) OnCall(schedule string, at time.Time) (users []string, why string) {
	s, ok := p.Schedules[schedule]
	if !ok {
		return nil, fmt.Sprintf("there is no schedule %q any more", schedule)
	}
	return s.OnCall(p.Overrides, at)
}

// ShiftAt returns the shift that holds at an instant by a schedule: OnCall, and until when, and who shadows. ok is
// false where there is no such schedule. It costs several times what OnCall costs; see Schedule.ShiftAt.
func (p Policy) ShiftAt(schedule string, at time.Time) (shift Shift, ok bool) {
	s, ok := p.Schedules[schedule]
	if !ok {
		return Shift{}, false
	}
	return s.ShiftAt(p.Overrides, at), true
}

// ScheduleNames returns the names of all schedules, sorted.
func (p Policy) ScheduleNames() []string { return slices.Sorted(maps.Keys(p.Schedules)) }

// User returns a user by their name. Code: not_found, with the nearest name.
func (p Policy) User(name string) (User, error) { return p.user(name) }

// Zones returns where users live, of those who say so.
func (p Policy) Zones() map[string]*time.Location {
	zones := map[string]*time.Location{}
	for _, u := range p.Users {
		if u.TimeZone == "" {
			continue
		}
		if loc, err := time.LoadLocation(u.TimeZone); err == nil { // checked when the file was read
			zones[u.Name] = loc
		}
	}
	return zones
}

// PointlessOverrides returns the overrides that hold at an instant or later and change nobody's time on call: because
// their schedule or their user is gone, because of an edit of the file, or because of another override.
func (p Policy) PointlessOverrides(at time.Time) []PointlessOverride {
	var out []PointlessOverride
	for _, o := range p.Overrides {
		if _, ok := p.Schedules[o.Schedule]; !ok && at.Before(o.To) {
			out = append(out, PointlessOverride{o, fmt.Sprintf("there is no schedule %q any more", o.Schedule)})
		}
	}
	known := func(user string) bool { _, ok := p.Users[user]; return ok }
	for _, name := range p.ScheduleNames() {
		s := p.Schedules[name]
		out = append(out, s.Pointless(p.Overrides, at, at.Add(Horizon), known)...)
	}
	return out
}
