package oncall

import (
	"slices"
	"time"
)

// Turn names one turn of one user: by an instant in it, or by a day. On a day of handoff one turn ends and another
// begins, and people say the day on which a turn begins. So a day means the turn that begins on it, else the one that
// goes on all day. One that only ends on it is not guessed at.
type Turn struct {
	User string
	At   time.Time
	Day  bool // At is midnight: the day in the schedule's zone that begins then is meant
}

// turn finds what is left of the turn that is meant. Codes: not_found for an unknown user, conflict where the user has
// no such turn, or none that could be meant.
func (p Policy) turn(s *Schedule, t Turn, now time.Time) (Period, error) {
	if _, err := p.user(t.User); err != nil {
		return Period{}, err
	}
	var found Period
	var when string
	if t.Day {
		w := wallOf(t.At, s.location()).Truncate(day)
		of := Period{instantOf(w, s.location()), instantOf(w.Add(day), s.location())}
		when = "on " + w.Format("Mon 2 Jan 2006")
		turns := s.userTurns(p.Overrides, t.User, of, now)
		i := slices.IndexFunc(turns, func(turn Period) bool { return !turn.From.Before(of.From) })
		if i < 0 {
			i = slices.IndexFunc(turns, func(turn Period) bool { return turn.To.IsZero() || !turn.To.Before(of.To) })
		}
		if i < 0 && len(turns) > 0 {
			return Period{}, Errorf(CodeConflict, "%s's turn ends %s at %s, and a day means the turn that begins on it: for the one that ends, say a time in it, such as %s",
				t.User, when, turns[0].To.Format("15:04"), turns[0].To.Add(-time.Minute).Format("2006-01-02T15:04"))
		}
		if i >= 0 {
			found = turns[i]
		}
	} else {
		at := later(t.At, now)
		when = s.local(t.At)
		if turns := s.userTurns(p.Overrides, t.User, Period{at, at.Add(1)}, now); len(turns) > 0 {
			found = turns[0]
		}
	}
	switch {
	case found == Period{}:
		return found, Errorf(CodeConflict, "%s is not on call %s by %s", t.User, when, s.Name)
	case found.To.IsZero():
		return found, Errorf(CodeConflict, "%s's turn %s does not end: it cannot be swapped", t.User, when)
	}
	return Period{later(found.From, now), found.To}, nil
}

// userTurns returns the turns of a user that touch a time and are not over, uncut, in order.
func (s *Schedule) userTurns(overrides []Override, user string, in Period, now time.Time) (turns []Period) {
	for _, shift := range s.Shifts(overrides, in.From, in.To) {
		if last := len(turns) - 1; !slices.Contains(shift.Users, user) || last >= 0 && (turns[last].To.IsZero() || shift.From.Before(turns[last].To)) {
			continue
		}
		if turn := s.turnAt(overrides, user, shift.From); turn.To.IsZero() || now.Before(turn.To) {
			turns = append(turns, turn)
		}
	}
	return turns
}

// maxParts bounds the shifts of which one turn is made.
const maxParts = 100

// turnAt returns the turn of a user who is on call at an instant: the shift, and those beside it in which somebody else
// is on call too for a while, up to a handoff. As in ShiftAt, what lies beyond the Horizon is the zero time.
func (s *Schedule) turnAt(overrides []Override, user string, at time.Time) Period {
	turn := s.ShiftAt(overrides, at).Period
	for range maxParts {
		if turn.From.IsZero() || s.handoffAt(turn.From) {
			break
		}
		before := s.ShiftAt(overrides, turn.From.Add(-1))
		if !slices.Contains(before.Users, user) {
			break
		}
		turn.From = before.From
	}
	for range maxParts {
		if turn.To.IsZero() || s.handoffAt(turn.To) {
			break
		}
		after := s.ShiftAt(overrides, turn.To)
		if !slices.Contains(after.Users, user) {
			break
		}
		turn.To = after.To
	}
	return turn
}

// handoffAt reports whether a shift begins at an instant by the layers alone.
func (s *Schedule) handoffAt(at time.Time) bool {
	return len(s.Shifts(nil, at.Add(-1), at.Add(1))) > 1
}
