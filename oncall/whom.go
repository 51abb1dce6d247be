package oncall

import (
	"fmt"
	"slices"
	"strings"
)

// responderTier is the Tier of notifications that no tier made.
const responderTier = -1

// whom works out who is told by a tier now: each user once, whichever targets lead to them. shadows are told of it
// without being relied upon.
func (m *machine) whom(i int) (told []Notification, shadows []string) {
	tier := m.esc.Tiers[i]
	add := func(t Target, via string) {
		if !slices.ContainsFunc(told, func(n Notification) bool { return n.Target == t }) {
			told = append(told, Notification{Round: m.in.Round, Tier: i, Turn: m.in.Turns, Target: t, Via: via, At: m.now})
		}
	}
	for _, t := range tier.Targets {
		if t.Kind != TargetSchedule {
			add(t, "")
			continue
		}
		shift, ok := m.p.ShiftAt(t.Name, m.now)
		if !ok || len(shift.Users) == 0 {
			add(t, "") // fails at once, and says why
			continue
		}
		via := t.String()
		if !shift.To.IsZero() {
			via += " until " + shift.To.Format("Mon 2 Jan 15:04 MST")
		}
		for _, user := range shift.Users {
			add(Target{TargetUser, user}, via)
		}
		shadows = append(shadows, shift.Shadows...)
	}
	shadows = slices.DeleteFunc(shadows, func(u string) bool {
		return slices.ContainsFunc(told, func(n Notification) bool { return n.Target == Target{TargetUser, u} })
	})
	if tier.RoundRobin {
		told = m.lineUp(told)
	}
	return told, shadows
}

// lineUp puts a round robin in order: the incident's number and round say who begins, so that no counter is needed
// and a decision made twice is the same. Schedules with nobody on call are in no line.
func (m *machine) lineUp(told []Notification) []Notification {
	var line, nobody []Notification
	for _, n := range told {
		if n.Target.Kind == TargetSchedule {
			nobody = append(nobody, n)
		} else {
			line = append(line, n)
		}
	}
	if len(line) > 1 {
		k := int((m.in.Number + int64(m.in.Round)) % int64(len(line)))
		line = slices.Concat(line[k:], line[:k])
		for i := range line[1:] {
			line[1+i].Behind = true
		}
	}
	return append(nobody, line...)
}

// toldList says who is told by a tier.
func toldList(told []Notification) string {
	var names, behind []string
	for _, n := range told {
		name := n.Target.String()
		if n.Via != "" {
			name += " via " + n.Via
		}
		if n.Behind {
			behind = append(behind, n.Target.String())
		} else {
			names = append(names, name)
		}
	}
	s := strings.Join(names, ", ")
	if len(behind) > 0 {
		s += "; round robin, if not reached: " + strings.Join(behind, ", ")
	}
	return s
}

// takeTurn tells a target of a round robin when all before it in the line could not be reached.
func (m *machine) takeTurn(i int) {
	n := &m.in.Notifications[i]
	if !n.Behind {
		return
	}
	for _, o := range m.in.Notifications[:i] {
		if o.Round == n.Round && o.Turn == n.Turn && o.Tier == n.Tier && !o.Failed {
			return
		}
	}
	n.Behind, n.At = false, m.now
	m.d.Changed, m.visible = true, true
	m.note(EntryEscalated, "", fmt.Sprintf("round robin: %s is told, because nobody before in the line was reached", n.Target))
}

// tellShadow shows the incident to somebody who learns: a message, once, for which nobody waits.
func (m *machine) tellShadow(user string, tier int) {
	id := m.p.Users[user].Slack
	if id == "" {
		return
	}
	e := SlackEndpoint(id)
	if slices.ContainsFunc(m.in.Told, func(t Told) bool { return t.Endpoint == e }) {
		return
	}
	target := "shadow " + user
	m.in.Told = append(m.in.Told, Told{Endpoint: e, Target: target, User: user})
	m.send(Delivery{
		Key: DeliveryKey(m.in.Key, target, e), Endpoint: e, Kind: KindMessage,
		Round: m.in.Round, Tier: tier, Target: target, User: user, Priority: PriorityUpdate,
	})
	m.note(EntryNotified, "", fmt.Sprintf("shadow %s: Slack direct message, for information", user))
}
