package oncall

import "time"

// stretch is a time in which a layer has somebody: all of one turn, or what restrictions leave of it.
type stretch struct {
	span
	turn    int // counts from the first turn seen
	users   []string
	shadows []string
}

// stretches returns when the layer has somebody in [from, to), and whom, in order.
func (l Layer) stretches(loc *time.Location, from, to time.Time) []stretch {
	w := layerWalk{loc: loc, from: from, to: to}
	for k, r := range l.Rosters {
		if !r.From.Before(to) {
			break
		}
		w.takeOver(l.Rosters, k)
		until := to
		if k+1 < len(l.Rosters) && l.Rosters[k+1].From.Before(to) {
			until = l.Rosters[k+1].From
		}
		if len(r.Users) > 0 && from.Before(until) {
			w.roster(r, until)
		}
	}
	return w.out
}

// layerWalk goes through a layer's rosters in order.
type layerWalk struct {
	loc      *time.Location
	from, to time.Time
	line     position // who has the turn when the roster takes effect
	turn     int
	out      []stretch
}

// takeOver puts the k-th roster into effect.
func (w *layerWalk) takeOver(rosters []Roster, k int) {
	r := rosters[k]
	if k == 0 {
		w.line = position{users: r.Users}
		return
	}
	before := rosters[k-1]
	if len(before.Users) == 0 {
		w.line = w.line.carry(r.Users, 0)
		w.turn++
		return
	}
	last := r.From.Add(-1)
	was := w.line.step(before.Rotation.count(before.From, last, w.loc))
	handoffs := max(before.Rotation.count(last, r.From, w.loc), r.Rotation.count(last, r.From, w.loc))
	w.line = was.carry(r.Users, handoffs)
	if handoffs > 0 || !sameUsers(was.entryUsers(), w.line.entryUsers()) {
		w.turn++
	}
}

// roster appends what a roster gives until an instant; w.from lies before it.
func (w *layerWalk) roster(r Roster, until time.Time) {
	at := r.From
	if at.Before(w.from) {
		at = w.from
	}
	line := w.line.step(r.Rotation.count(r.From, at, w.loc))
	for {
		next, ok := r.Rotation.next(at, w.loc)
		end := until
		if ok && next.Before(until) {
			end = next
		}
		for _, s := range r.Restrict.within(w.loc, at, end) {
			w.out = append(w.out, stretch{span: s, turn: w.turn, users: line.entryUsers(), shadows: r.Shadows})
		}
		if !end.Before(until) {
			return
		}
		line = line.step(r.Rotation.count(at, next, w.loc))
		w.turn++
		at = next
	}
}

// entryUsers returns who has the turn.
func (p position) entryUsers() []string {
	if len(p.users) == 0 {
		return nil
	}
	return p.users[p.entry]
}
