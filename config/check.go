package config

import (
	"fmt"
	"maps"
	"slices"

	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/rules"
)

// check looks at names across blocks and files, and fills in the policy.
func (l *loading) check() {
	p := &l.plan.Policy
	p.Users, p.Escalations, p.Receivers = map[string]oncall.User{}, map[string]oncall.Escalation{}, map[string]oncall.Receiver{}
	l.inFirstWorkspace()
	usersAt := map[string]problem.Place{}
	for _, u := range l.users {
		if len(u.Value.Contacts) == 0 && u.Value.Slack != "" && l.plan.Slack != nil {
			u.Value.Contacts = []oncall.Contact{{Slack: "dm"}}
		}
		p.Users[u.Value.Name], usersAt[u.Value.Name] = u.Value, u.Place
	}
	l.joinReceivers()
	l.problems = append(l.problems, oncall.Unique("escalation", l.escalations, func(e oncall.Escalation) string { return e.Name })...)
	for _, e := range l.escalations {
		p.Escalations[e.Value.Name] = e.Value
	}
	l.checkRoute()
	l.pagesByRoute()
	l.takeSchedules()
	withoutDefault := false // one such alert is enough to say
	for _, ref := range l.refs {
		switch ref.Kind {
		case rules.RefBackend:
			l.checkBackend(ref)
		case rules.RefRecord:
			l.checkRecord(ref)
		case oncall.RefEscalation:
			if ref.Name == "" && withoutDefault {
				continue
			}
			withoutDefault = withoutDefault || ref.Name == ""
			l.checkEscalation(ref)
		case string(oncall.TargetSlack):
			l.checkChannel(ref)
		case oncall.RefWorkspace:
			l.checkWorkspace(ref, ref.Name)
		case string(oncall.TargetReceiver):
			l.checkReceiver(ref)
		case string(oncall.TargetUser):
			l.checkUser(ref, usersAt)
		case string(oncall.TargetSchedule):
			l.checkSchedule(ref)
		case oncall.RefInterval:
			l.checkInterval(ref)
		}
	}
	for _, c := range p.CutContacts() {
		l.add(c.Warning())
	}
}

func (l *loading) checkEscalation(ref oncall.Ref) {
	if ref.Name == "" {
		if _, ok := l.plan.Policy.Escalations[oncall.DefaultEscalation]; !ok && !l.routed {
			l.add(ref.At.Errorf("this alert names no escalation, and none is called %q: it would page nobody", oncall.DefaultEscalation).
				WithHint("add escalation: … to the rule, or define an escalation named %s", oncall.DefaultEscalation))
		}
		return
	}
	if _, ok := l.plan.Policy.Escalations[ref.Name]; !ok {
		l.add(unknown(ref, l.escalations, func(e oncall.Escalation) string { return e.Name }))
	}
}

func (l *loading) checkReceiver(ref oncall.Ref) {
	r, ok := l.plan.Policy.Receivers[ref.Name]
	if !ok {
		l.add(unknown(ref, l.receivers, func(r oncall.Receiver) string { return r.Name }))
	} else if len(r.Endpoints)+len(r.Integrations) == 0 && !l.unread {
		l.add(ref.At.Errorf("receiver %q has no integrations: it would tell nobody", ref.Name).WithHint("add page_configs, or another list such as webhook_configs, to the receiver"))
	}
}

// checkInterval reports an unknown time interval.
func (l *loading) checkInterval(ref oncall.Ref) {
	intervals := l.plan.Policy.Routing.TimeIntervals
	if _, ok := intervals[ref.Name]; ok || l.unread {
		return
	}
	p := ref.At.Errorf("unknown %s %q", ref.Kind, ref.Name)
	if len(intervals) == 0 {
		l.add(p.WithHint("the section time_intervals defines them"))
		return
	}
	l.add(p.WithHint("%s", problem.DidYouMean(ref.Name, slices.Collect(maps.Keys(intervals)))))
}

// checkUser reports a target who does not exist, or who cannot be reached.
func (l *loading) checkUser(ref oncall.Ref, at map[string]problem.Place) {
	u, ok := l.plan.Policy.Users[ref.Name]
	if !ok {
		l.add(unknown(ref, l.users, func(u oncall.User) string { return u.Name }))
		return
	}
	if len(u.Contacts) > 0 {
		return
	}
	where := fmt.Sprintf("the user on line %d", at[ref.Name].Line)
	p := ref.At.Errorf("user %q cannot be reached: no contacts, and no Slack ID for a direct message", ref.Name).
		WithHint("add contacts, or slack: U…, to %s", where)
	if u.Slack != "" {
		p = ref.At.Errorf("user %q cannot be reached: no contacts, and no section slack for a direct message", ref.Name).
			WithHint("add a section slack, or contacts to %s", where)
	}
	l.add(p)
}

func unknown[T any](ref oncall.Ref, defined []problem.At[T], name func(T) string) problem.Problem {
	names := make([]string, 0, len(defined))
	for _, d := range defined {
		if n := name(d.Value); n != "" {
			names = append(names, n)
		}
	}
	return ref.At.Errorf("unknown %s %q", ref.Kind, ref.Name).WithHint("%s", problem.DidYouMean(ref.Name, names))
}
