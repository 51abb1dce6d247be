package oncall

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin/problem"
)

// A round starts the contact rules of everybody over. So a rule that is due later than the next round never runs before
// the last one, unless those before it fail. A later tier takes nothing away from an earlier one: only rounds do.

// CutContact is a contact rule that the rounds of an escalation cut short.
type CutContact struct {
	User, Contact string // the contact rule by what it names
	Place         problem.Place
	After         time.Duration // of the rule, from when the user is told
	Escalation    string
	Tier          int           // the first that tells the user
	TierAfter     time.Duration // of that tier, from when a round begins
	Repeat        Repeat
	Low           bool // of the escalation's incidents, so that a round may wait for somebody's daytime
	Others        int  // escalations beside this one that cut the rule short too
}

// Longest is the longest After with which the rule would run in every round.
func (c CutContact) Longest() time.Duration { return c.Repeat.Every - c.TierAfter }

// Warning says what happens, and what would make the rule run.
func (c CutContact) Warning() problem.Problem {
	first := time.Duration(c.Repeat.Times)*c.Repeat.Every + c.TierAfter + c.After
	when := ""
	if c.Low {
		when = " in their daytime"
	}
	more := ""
	if c.Others > 0 {
		more = fmt.Sprintf("; %s cut it short too", count(c.Others, "other escalation", "other escalations"))
	}
	return c.Place.Warnf("user %q is told by %s%s only %s after the trigger, in the last round of escalation %q: it is due %s after the %s tier tells them, "+
		"and each round starts over %s after that tier did, unless the contacts before it fail%s",
		c.User, c.Contact, when, short(first), c.Escalation, short(c.After), Nth(c.Tier), short(c.Longest()), more).
		WithHint("after: %s or less here, or every: %s or more in the repeat of %q", short(c.Longest()), short(c.TierAfter+c.After), c.Escalation)
}

// CutContacts returns the contact rules that rounds cut short, by user in the order of their rules, each once: for the
// escalation that leaves it the least time.
func (p Policy) CutContacts() []CutContact {
	var cut []CutContact
	for _, name := range slices.Sorted(maps.Keys(p.Users)) {
		u := p.Users[name]
		for i, c := range u.Contacts {
			if x, ok := p.cutContact(name, c); ok && !slices.ContainsFunc(u.Contacts[:i], func(b Contact) bool { return b == c }) {
				cut = append(cut, x)
			}
		}
	}
	return cut
}

func (p Policy) cutContact(user string, c Contact) (cut CutContact, ok bool) {
	others := -1
	for _, name := range slices.Sorted(maps.Keys(p.Escalations)) {
		e := p.Escalations[name]
		tier := slices.IndexFunc(e.Tiers, func(t Tier) bool { return p.mayTell(t, user) })
		if e.Repeat.Times == 0 || tier < 0 || e.Tiers[tier].After+c.After <= e.Repeat.Every {
			continue // who is told by a later tier too is told later
		}
		others++
		x := CutContact{User: user, Contact: contactName(c), Place: c.Place, After: c.After, Escalation: name, Tier: tier,
			TierAfter: e.Tiers[tier].After, Repeat: e.Repeat, Low: e.Urgency.Low}
		if !ok || x.Longest() < cut.Longest() {
			cut, ok = x, true
		}
	}
	cut.Others = others
	return cut, ok
}

// mayTell reports whether a tier tells a user, where one of its schedules has their turn.
func (p Policy) mayTell(t Tier, user string) bool {
	return slices.ContainsFunc(t.Targets, func(x Target) bool {
		switch s, ok := p.Schedules[x.Name]; x.Kind {
		case TargetUser:
			return x.Name == user
		case TargetSchedule:
			return ok && slices.ContainsFunc(s.Layers, func(l Layer) bool { return l.has(user) })
		}
		return false
	})
}

// has reports whether a user has turns by the layer.
func (l Layer) has(user string) bool {
	return slices.ContainsFunc(l.Rosters, func(r Roster) bool {
		return slices.ContainsFunc(r.Users, func(line []string) bool { return slices.Contains(line, user) })
	})
}
