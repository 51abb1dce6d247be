package oncall

import (
	"slices"
	"time"
)

// Rotation says when the next in line takes over. At most one of Handoff and Every is set; with neither
// nobody ever does.
type Rotation struct {
	Handoff Cron // in the wall time of the schedule's zone
	// Every is the length of a turn, counted from Anchor. Whole days are days on the wall: the handoff keeps
	// its time of day when clocks change. Anything else is time that elapses.
	Every  time.Duration
	Anchor time.Time // for Every
}

// Roster is who takes turns in a layer from an instant on, until the layer's next roster.
type Roster struct {
	From     time.Time  // of the layer's first roster: when its first turn begins; zero: always
	Users    [][]string // in line; an entry of several users is on call together. Empty: nobody
	Shadows  []string   // are shown beside whoever is on call, and relied upon for nothing
	Rotation Rotation
	Restrict Restriction
}

const day = 24 * time.Hour

// onWall reports whether turns are counted in wall time.
func (r Rotation) onWall() bool { return !r.Handoff.IsZero() || r.Every%day == 0 }

// IsZero reports whether nobody ever takes over.
func (r Rotation) IsZero() bool { return r.Handoff.IsZero() && r.Every <= 0 }

// next returns the first handoff after an instant; ok is false where there is none.
func (r Rotation) next(after time.Time, loc *time.Location) (at time.Time, ok bool) {
	switch {
	case r.IsZero():
		return time.Time{}, false
	case !r.Handoff.IsZero():
		w, ok := r.Handoff.next(passedAt(after, loc))
		if !ok {
			return time.Time{}, false
		}
		return instantOf(w, loc), true
	case r.onWall():
		anchor := wallOf(r.Anchor, loc)
		n := turnsOf(r.Every, anchor, passedAt(after, loc))
		return instantOf(anchor.Add(time.Duration(n+1)*r.Every), loc), true
	}
	n := turnsOf(r.Every, r.Anchor, after)
	return r.Anchor.Add(time.Duration(n+1) * r.Every).In(loc), true
}

// count returns how many handoffs there are after one instant and not after another. Of those that a change
// of clocks brings to the same instant each counts: whose turn was all in the hour that does not exist has none.
func (r Rotation) count(after, upTo time.Time, loc *time.Location) int {
	switch {
	case r.IsZero():
		return 0
	case !r.Handoff.IsZero():
		return r.Handoff.count(passedAt(after, loc), passedAt(upTo, loc))
	case r.onWall():
		anchor := wallOf(r.Anchor, loc)
		return turnsOf(r.Every, anchor, passedAt(upTo, loc)) - turnsOf(r.Every, anchor, passedAt(after, loc))
	}
	return turnsOf(r.Every, r.Anchor, upTo) - turnsOf(r.Every, r.Anchor, after)
}

// turnsOf returns how many whole turns lie between the anchor and t. The anchor itself is no handoff.
func turnsOf(every time.Duration, anchor, t time.Time) int {
	return max(0, int(t.Sub(anchor)/every))
}

// position is a place in line: Users[entry] has the turn.
type position struct {
	users [][]string
	entry int
}

// carry returns who has the turn when a roster takes effect. Whoever had it keeps it if the new roster has
// them, else it goes to the next in the old line whom it has: an edit does not start the line anew. handoffs
// is how many handoffs fall on that very instant; the next in line is found in the new roster.
func (p position) carry(users [][]string, handoffs int) position {
	if len(users) == 0 {
		return p // nobody for a while, and then the line goes on
	}
	next := position{users: users}
	for i := range p.users {
		at, ok := p.step(i).in(users)
		if !ok {
			continue
		}
		next.entry = at
		if i > 0 && handoffs > 0 {
			handoffs-- // whose turn ends is gone, and the turn has gone to the next already
		}
		return next.step(handoffs)
	}
	return next
}

// step returns the position n handoffs later.
func (p position) step(n int) position {
	if len(p.users) > 0 {
		p.entry = (p.entry + n) % len(p.users)
	}
	return p
}

// in returns where the entry at p stands in another line: the same users, at the same repetition where a
// line names them more than once; else an entry with at least one of them.
func (p position) in(users [][]string) (int, bool) {
	entry := p.users[p.entry]
	repetition := 0
	for _, e := range p.users[:p.entry] {
		if sameUsers(e, entry) {
			repetition++
		}
	}
	found := -1
	for i, e := range users {
		if sameUsers(e, entry) {
			found = i
			if repetition--; repetition < 0 {
				break
			}
		}
	}
	if found >= 0 {
		return found, true
	}
	found = slices.IndexFunc(users, func(e []string) bool {
		return slices.ContainsFunc(e, func(u string) bool { return slices.Contains(entry, u) })
	})
	return found, found >= 0
}

func sameUsers(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for _, u := range a {
		if !slices.Contains(b, u) {
			return false
		}
	}
	return true
}
