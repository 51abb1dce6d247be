package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"
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
	if m.in.Turns > 0 || m.in.NextTier == 0 || len(m.in.Passed) > 0 {
		return
	}
	m.in.Turns = m.in.NextTier
	for _, t := range m.in.Policy.Tiers[:min(m.in.NextTier, len(m.in.Policy.Tiers))] {
		m.in.ToldTiers = append(m.in.ToldTiers, tierKey(t))
	}
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
	if !slices.EqualFunc(old.Tiers, now.Tiers, sameTargets) {
		say("its tiers are now %s (before: %s)", tiersText(now.Tiers), tiersText(old.Tiers))
	} else {
		for i := range now.Tiers {
			for _, text := range tierEdits(old.Tiers[i], now.Tiers[i]) {
				say("the %s tier %s", Nth(i), text)
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

func tiersText(tiers []Tier) string {
	if len(tiers) == 0 {
		return "none"
	}
	texts := make([]string, len(tiers))
	for i, t := range tiers {
		texts[i] = fmt.Sprintf("%d: %s after %s", i, targetList(t), short(t.After))
	}
	return strings.Join(texts, "; ")
}

// tierEdits says what differs of a tier that tells the same as before.
func tierEdits(old, now Tier) []string {
	var texts []string
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

func durationText(d time.Duration) string {
	if d == 0 {
		return "not set"
	}
	return short(d)
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
	done := make([]bool, len(m.esc.Tiers))
	keys := slices.Clone(m.in.ToldTiers)
	for i, t := range m.esc.Tiers {
		if len(old) != len(m.esc.Tiers) || !m.wasTold(i) || !slices.ContainsFunc(t.Targets, func(x Target) bool { return slices.Contains(old[i].Targets, x) }) {
			continue
		}
		if at := slices.Index(keys, tierKey(old[i])); at >= 0 {
			done[i], keys[at] = true, tierKey(t)
		}
	}
	left := slices.Clone(keys)
	take := func(key string) bool {
		at := slices.Index(left, key)
		if at >= 0 {
			left = slices.Delete(left, at, at+1)
		}
		return at >= 0
	}
	for i, t := range m.esc.Tiers {
		if done[i] {
			take(tierKey(t))
		}
	}
	for i, t := range m.esc.Tiers {
		done[i] = done[i] || take(tierKey(t))
	}
	m.in.NextTier, m.in.Passed, m.in.ToldBefore, m.in.ToldTiers = len(done), nil, nil, keys
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

// wasTold reports that the tier at an index was told in this round.
func (m *machine) wasTold(tier int) bool {
	return m.toldBefore(tier) || tier < m.in.NextTier && !slices.Contains(m.in.Passed, tier)
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
	switch {
	case strings.HasPrefix(name, "the user "):
		return "; they are told no further"
	case strings.HasPrefix(name, "the schedule "):
		return "; nobody is on call by it"
	}
	return "; nothing is sent to it"
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
