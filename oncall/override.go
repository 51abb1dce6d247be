package oncall

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// OverrideKind says what an Override does.
type OverrideKind string

// The kinds of override.
const (
	OverrideAdd     OverrideKind = "add"     // User is on call too
	OverrideRemove  OverrideKind = "remove"  // User is not on call
	OverrideReplace OverrideKind = "replace" // User is on call instead of Replaces, or of everybody
)

// Override is what a person decided about a schedule for a while, from From (included) until To (not
// included). It is anchored to instants: no edit of the file moves it. Of overrides at the same time the later
// created sees what the earlier one has made: who covers for somebody can be covered for in turn.
type Override struct {
	ID       string       `json:"id"`
	Schedule string       `json:"schedule"`
	Kind     OverrideKind `json:"kind"`
	User     string       `json:"user"`
	// Replaces is for OverrideReplace: nothing changes while that user is not on call. "": User is on call
	// instead of whoever is, and of nobody.
	Replaces  string    `json:"replaces,omitempty"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	CreatedAt time.Time `json:"created_at"`
	Author    string    `json:"author"`
	Reason    string    `json:"reason,omitempty"`
	// EndedAt and EndedBy are there once somebody ended it by hand; To says when it ended, which is From where it
	// had not begun.
	EndedAt time.Time `json:"ended_at,omitzero"`
	EndedBy string    `json:"ended_by,omitempty"`

	gone bool // User is not in the configuration any more: it takes nobody off call. Policy.WithOverrides says so.
}

// OverrideNotFound is the error about an override that does not exist.
func OverrideNotFound(id string) error {
	return Errorf(CodeNotFound, "there is no override %q", id)
}

// End ends the override now, or cancels it where it has not begun. What it did before stays true. One that is over
// is a conflict.
func (o Override) End(by string, now time.Time) (Override, error) {
	switch {
	case !o.EndedAt.IsZero():
		return o, Errorf(CodeConflict, "the override %s was ended by %s already", o.ID, o.EndedBy)
	case !now.Before(o.To):
		return o, Errorf(CodeConflict, "the override %s ended at %s by itself", o.ID, o.To.Format(time.RFC3339))
	}
	o.To = now
	if now.Before(o.From) {
		o.To = o.From
	}
	o.EndedAt, o.EndedBy = now, by
	return o, nil
}

// MaxOverride is the longest time that one override may last: what is longer belongs into the file.
const MaxOverride = 366 * day

// maxOverrides and maxOverridesAtOnce bound the overrides of one schedule that have not ended, and how many of them
// hold at one instant: each is looked at wherever the schedule is.
const (
	maxOverrides       = 1000
	maxOverridesAtOnce = 50
)

// roomFor reports, to who asked for it, that a schedule has too many overrides for another one.
func (p Policy) roomFor(o Override, now time.Time) error {
	var standing []Override
	for _, x := range p.Overrides {
		if x.Schedule == o.Schedule && x.From.Before(x.To) && now.Before(x.To) {
			standing = append(standing, x)
		}
	}
	if len(standing) >= maxOverrides {
		return Errorf(CodeConflict, "%s has %d overrides that have not ended: end some of them, or change the schedule instead", o.Schedule, len(standing))
	}
	begins := []time.Time{o.From}
	for _, x := range standing {
		if o.at(x.From) {
			begins = append(begins, x.From)
		}
	}
	for _, at := range begins {
		n := 0
		for _, x := range standing {
			if x.at(at) {
				n++
			}
		}
		if n >= maxOverridesAtOnce {
			return Errorf(CodeConflict, "%s has %d overrides at %s: end some of them, or change the schedule instead", o.Schedule, n, at.Format(time.RFC3339))
		}
	}
	return nil
}

// Validate reports what makes the override impossible to follow, to who asked for it. Whether its users and
// its schedule exist is for the caller to say.
func (o Override) Validate() error {
	switch o.Kind {
	case OverrideAdd, OverrideRemove, OverrideReplace:
	default:
		return Errorf(CodeInvalid, "unknown kind of override %q: expected add, remove or replace", o.Kind)
	}
	switch {
	case strings.TrimSpace(o.User) == "":
		return Errorf(CodeInvalid, "an override needs a user")
	case o.Replaces != "" && o.Kind != OverrideReplace:
		return Errorf(CodeInvalid, "an override that does not replace cannot name whom it replaces (%q)", o.Replaces)
	case o.Replaces == o.User:
		return Errorf(CodeInvalid, "%s cannot replace %s", o.User, o.Replaces)
	case !o.From.Before(o.To):
		return Errorf(CodeInvalid, "the override must end after it begins: it begins at %s and ends at %s",
			o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	case o.To.Sub(o.From) > MaxOverride:
		return Errorf(CodeInvalid, "an override lasts at most a year: change the schedule instead")
	}
	return nil
}

// SwapOverrides returns the two overrides by which two users take each other's time on call: other takes the
// user's between From and To of mine, and the user takes other's between From and To of theirs. The caller
// fills in IDs. The two periods may not overlap, because nobody could say whose time that is.
func SwapOverrides(schedule, user string, mine Period, other string, theirs Period, by Override) ([]Override, error) {
	if mine.From.Before(theirs.To) && theirs.From.Before(mine.To) {
		return nil, Errorf(CodeInvalid, "the two periods of a swap must not overlap")
	}
	swap := make([]Override, 0, 2)
	for _, half := range []struct {
		user, replaces string
		period         Period
	}{{other, user, mine}, {user, other, theirs}} {
		o := Override{
			Schedule: schedule, Kind: OverrideReplace, User: half.user, Replaces: half.replaces,
			From: half.period.From, To: half.period.To, CreatedAt: by.CreatedAt, Author: by.Author, Reason: by.Reason,
		}
		if err := o.Validate(); err != nil {
			return nil, err
		}
		swap = append(swap, o)
	}
	return swap, nil
}

// at reports whether the override holds at an instant.
func (o Override) at(t time.Time) bool { return !t.Before(o.From) && t.Before(o.To) }

// apply returns who is on call under the override, and whether that differs.
func (o Override) apply(users []string) ([]string, bool) {
	switch at := slices.Index(users, o.User); o.Kind {
	case OverrideAdd:
		if at >= 0 {
			return users, false
		}
		return append(slices.Clone(users), o.User), true
	case OverrideRemove:
		if at < 0 {
			return users, false
		}
		return slices.Delete(slices.Clone(users), at, at+1), true
	case OverrideReplace:
		if o.Replaces == "" {
			return []string{o.User}, at < 0 || len(users) > 1
		}
		gone := slices.Index(users, o.Replaces)
		if gone < 0 {
			return users, false
		}
		users = slices.Clone(users)
		if at >= 0 {
			return slices.Delete(users, gone, gone+1), true
		}
		users[gone] = o.User
		return users, true
	}
	return users, false
}

// String says what the override does and who decided it: "bo instead of ana (by dee: dentist)".
func (o Override) String() string {
	var what string
	switch o.Kind {
	case OverrideAdd:
		what = o.User + " too"
	case OverrideRemove:
		what = "without " + o.User
	case OverrideReplace:
		what = o.User + " instead of " + cmp.Or(o.Replaces, "whoever is on call")
	}
	if o.Author != "" {
		what += " (by " + o.Author
		if o.Reason != "" {
			what += ": " + o.Reason
		}
		what += ")"
	}
	return what
}

// touches reports whether the override is of a schedule and holds at some time of [from, to).
func (o Override) touches(schedule string, from, to time.Time) bool {
	return o.Schedule == schedule && o.From.Before(o.To) && o.From.Before(to) && from.Before(o.To)
}

// overridesOf returns the overrides of one schedule that touch [from, to), in the order in which they apply.
func overridesOf(schedule string, overrides []Override, from, to time.Time) []Override {
	var of []Override
	for _, o := range overrides {
		if o.touches(schedule, from, to) && !o.gone {
			of = append(of, o)
		}
	}
	slices.SortStableFunc(of, func(a, b Override) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return of
}
