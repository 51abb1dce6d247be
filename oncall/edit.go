package oncall

import (
	"fmt"
	"slices"
	"strings"
)

// follow takes the escalation as it is configured now, and puts on record what an edit changed for an open incident:
// that survives every edit, of its escalation, of schedules, of the list of users, and of their removal.
func (m *machine) follow() {
	m.takeOver()
	old := m.in.Policy
	esc, ok := m.p.Escalation(m.in.Escalation)
	if ok {
		m.in.Policy = esc
	}
	m.esc = m.in.Policy // one that is gone is followed as it was seen last
	if !m.in.Open() {
		return
	}
	if ok {
		for _, text := range escalationEdits(old, esc) {
			m.note(EntryPolicy, "", text)
		}
		if !slices.EqualFunc(old.Tiers, esc.Tiers, sameTargets) {
			m.moveTiers(old.Tiers)
		}
	}
	m.noteMissing(ok)
}

// takeOver reads what an older version wrote: it had no turns, and tiers were told in the order of the list.
func (m *machine) takeOver() {
	if m.in.Turns > 0 || m.in.NextTier == 0 {
		return
	}
	m.in.Turns = m.in.NextTier
	for i := range m.in.Notifications {
		if n := &m.in.Notifications[i]; n.Turn == 0 && n.Tier > 0 {
			n.Turn = n.Tier
		}
	}
}

func sameTargets(a, b Tier) bool {
	return a.RoundRobin == b.RoundRobin && slices.Equal(a.Targets, b.Targets)
}

// escalationEdits says in sentences what differs for an incident under way. group_by is none of it: it decides where
// alerts go.
func escalationEdits(old, now Escalation) []string {
	var notes []string
	say := func(format string, args ...any) {
		notes = append(notes, "the configuration changed: "+fmt.Sprintf(format, args...))
	}
	for i := range max(len(old.Tiers), len(now.Tiers)) {
		switch {
		case i >= len(old.Tiers):
			say("tier %d is new, %s after the trigger: %s", i, short(now.Tiers[i].After), targetList(now.Tiers[i]))
		case i >= len(now.Tiers):
			say("there is no tier %d any more (%s)", i, targetList(old.Tiers[i]))
		default:
			for _, text := range tierEdits(old.Tiers[i], now.Tiers[i]) {
				say("tier %d %s", i, text)
			}
		}
	}
	if old.Condition.String() != now.Condition.String() {
		say("tiers are told %s (before: %s)", whenText(now.Condition), whenText(old.Condition))
	}
	if old.AckTimeout != now.AckTimeout {
		say("ack_timeout is %s (before: %s)", durationText(now.AckTimeout), durationText(old.AckTimeout))
	}
	if old.Repeat != now.Repeat {
		say("repeat is %s (before: %s)", repeatText(now.Repeat), repeatText(old.Repeat))
	}
	return notes
}

func tierEdits(old, now Tier) []string {
	var texts []string
	if !sameTargets(old, now) {
		texts = append(texts, fmt.Sprintf("tells %s (before: %s)", targetList(now), targetList(old)))
	}
	if old.After != now.After {
		texts = append(texts, fmt.Sprintf("is told after %s (before: %s)", short(now.After), short(old.After)))
	}
	if old.Condition.String() != now.Condition.String() {
		texts = append(texts, fmt.Sprintf("is told %s (before: %s)", whenText(now.Condition), whenText(old.Condition)))
	}
	return texts
}

func whenText(c Condition) string {
	if c.IsZero() {
		return "always"
	}
	return "when " + c.String()
}

func durationText(d interface{ Seconds() float64 }) string {
	if d.Seconds() == 0 {
		return "not set"
	}
	return strings.TrimSuffix(fmt.Sprint(d), "m0s")
}

func repeatText(r Repeat) string {
	if r.Times == 0 {
		return "not set"
	}
	return fmt.Sprintf("%s, each %s", count(r.Times, "time", "times"), short(r.Every))
}

// moveTiers finds the tiers again that were told in this round, after an edit moved them: none that is new is
// skipped, and none is told twice. A tier is known by what it tells; one that stayed in its place in a list as long as before,
// and still tells one of those it told, is the same tier.
func (m *machine) moveTiers(old []Tier) {
	told := make([]bool, len(old))
	left := map[string]int{}
	for i := range old {
		told[i] = slices.Contains(m.in.ToldBefore, i) || i < m.in.NextTier && !slices.Contains(m.in.Passed, i)
		if told[i] {
			left[tierKey(old[i])]++
		}
	}
	done := make([]bool, len(m.esc.Tiers))
	if len(old) == len(m.esc.Tiers) {
		for i, t := range m.esc.Tiers {
			if told[i] && slices.ContainsFunc(t.Targets, func(x Target) bool { return slices.Contains(old[i].Targets, x) }) {
				done[i] = true
				left[tierKey(old[i])]--
			}
		}
	}
	for i, t := range m.esc.Tiers {
		if key := tierKey(t); !done[i] && left[key] > 0 {
			done[i] = true
			left[key]--
		}
	}
	m.in.NextTier, m.in.Passed, m.in.ToldBefore = len(done), nil, nil
	for i, is := range done {
		switch {
		case !is:
			m.in.NextTier = min(m.in.NextTier, i)
		case i > m.in.NextTier:
			m.in.ToldBefore = append(m.in.ToldBefore, i)
		}
	}
	m.in.Exhausted = false // somebody may be left to tell again
	m.d.Changed = true
}

func tierKey(t Tier) string { return targetList(t) }

// toldBefore reports that a tier ahead was told in this round before an edit moved it.
func (m *machine) toldBefore(tier int) bool { return slices.Contains(m.in.ToldBefore, tier) }

// noteMissing says once of each name that this incident needs that the configuration has lost it, or has it again.
func (m *machine) noteMissing(configured bool) {
	var missing []string
	miss := func(name string) {
		if !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	if !configured {
		miss("the escalation " + m.in.Escalation)
	}
	target := func(t Target) {
		if !m.known(t) {
			miss("the " + t.String())
		}
	}
	interval := func(c Condition) {
		for _, name := range slices.Concat(c.During, c.NotDuring) {
			if !m.p.hasInterval(name) {
				miss("the time interval " + name)
			}
		}
	}
	interval(m.esc.Condition)
	for _, tier := range m.esc.Tiers {
		interval(tier.Condition)
		for _, t := range tier.Targets {
			target(t)
		}
	}
	for _, n := range m.in.Notifications {
		target(n.Target)
	}
	if slices.Equal(missing, m.in.Missing) {
		return
	}
	for _, name := range missing {
		if !slices.Contains(m.in.Missing, name) {
			m.note(EntryPolicy, "", "the configuration changed: "+name+" is not there any more"+m.withoutIt(name))
		}
	}
	for _, name := range m.in.Missing {
		if !slices.Contains(missing, name) {
			m.note(EntryPolicy, "", "the configuration changed: "+name+" is not missing any more")
		}
	}
	m.in.Missing = missing
	m.d.Changed = true
}

// withoutIt says how the incident goes on without a name.
func (m *machine) withoutIt(name string) string {
	switch {
	case strings.HasPrefix(name, "the escalation "):
		return "; this incident follows it as it was"
	case strings.HasPrefix(name, "the time interval "):
		return "; tiers do not wait for it"
	}
	return "; nobody is told by it any more"
}

func (m *machine) known(t Target) (ok bool) {
	switch t.Kind {
	case TargetUser:
		_, ok = m.p.Users[t.Name]
	case TargetReceiver:
		_, ok = m.p.Receivers[t.Name]
	case TargetSchedule:
		_, ok = m.p.Schedules[t.Name]
	default:
		ok = true
	}
	return ok
}
