package config

import "tocsin/problem"

// promises remembers where each escalation stands that promises something: whether it holds depends on the day, so
// that a load does not say.
func (l *loading) promises() {
	l.plan.EscalationAt = map[string]problem.Place{}
	for _, e := range l.escalations {
		l.plan.EscalationAt[e.Value.Name] = e.Place
	}
}
