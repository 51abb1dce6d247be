package config

import (
	"slices"

	"tocsin/oncall"
)

// takeSchedules puts the schedules into the policy, and warns of those that lead nowhere.
func (l *loading) takeSchedules() {
	p := &l.plan.Policy
	p.Schedules = map[string]oncall.Schedule{}
	for _, s := range l.schedules {
		name := s.Value.Name
		p.Schedules[name] = s.Value
		if !l.names(oncall.TargetSchedule, name) && !s.Value.Announced() && s.Value.SlackUserGroup == "" && s.Value.SlackTopic == "" {
			l.add(s.Place.Warnf("the schedule %q pages nobody: no tier names it", name).WithHint("such as: tiers: [{schedule: %s}]", name))
		}
		if s.Value.NotifyPeople && s.Value.NotifySlack == "" && l.plan.Slack == nil {
			l.add(s.Place.Errorf("notify of the schedule %q tells people by Slack, and there is no section slack", name).WithHint("add slack, or remove notify"))
		}
	}
}

// names reports that a tier, a contact or the like names a target.
func (l *loading) names(kind oncall.TargetKind, name string) bool {
	return slices.ContainsFunc(l.refs, func(r oncall.Ref) bool { return r.Kind == string(kind) && r.Name == name })
}

func (l *loading) checkSchedule(ref oncall.Ref) {
	if _, ok := l.plan.Policy.Schedules[ref.Name]; !ok {
		l.add(unknown(ref, l.schedules, func(s oncall.Schedule) string { return s.Name }))
	}
}
