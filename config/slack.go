package config

import (
	"go.yaml.in/yaml/v3"

	"tocsin/notifier/slack"
	"tocsin/oncall"
	"tocsin/problem"
)

// slack decodes the slack section.
func (l *loading) slack(n *yaml.Node) {
	all, problems := slack.DecodeConfigs(l.doc, n)
	l.problems = append(l.problems, problems...)
	if l.plan.Workspaces = all; len(all) > 0 {
		l.plan.Slack = &all[0]
	}
}

// checkChannel reports a channel that no workspace has.
func (l *loading) checkChannel(ref oncall.Ref) {
	if l.plan.Slack == nil {
		l.add(ref.At.Errorf("there is no section slack to reach %q with", ref.Name).
			WithHint("add slack: {bot_token_file: …, signing_secret_file: …}"))
		return
	}
	if name, _, named := oncall.CutWorkspace(ref.Name); named {
		l.checkWorkspace(ref, name)
	}
}

// checkWorkspace reports a Slack workspace that is not configured.
func (l *loading) checkWorkspace(ref oncall.Ref, name string) {
	var names []string
	for _, w := range l.plan.Workspaces {
		if w.Name == name {
			return
		}
		if w.Name != "" {
			names = append(names, w.Name)
		}
	}
	p := ref.At.Errorf("unknown Slack workspace %q", name)
	if len(names) == 0 {
		l.add(p.WithHint("the section slack defines them: a list, each with a name"))
		return
	}
	l.add(p.WithHint("%s", problem.DidYouMean(name, names)))
}

// inFirstWorkspace takes the name of the first workspace out of everything that was written with it, so that what is
// the same place is the same endpoint.
func (l *loading) inFirstWorkspace() {
	if len(l.plan.Workspaces) == 0 || l.plan.Workspaces[0].Name == "" {
		return
	}
	first := l.plan.Workspaces[0].Name
	short := func(address *string) {
		if name, rest, named := oncall.CutWorkspace(*address); named && name == first {
			*address = rest
		}
	}
	for i := range l.users {
		u := &l.users[i].Value
		*u = u.InFirstWorkspace(first)
		for j := range u.Contacts {
			short(&u.Contacts[j].Slack)
		}
	}
	for i := range l.escalations {
		for j := range l.escalations[i].Value.Tiers {
			for k := range l.escalations[i].Value.Tiers[j].Targets {
				if t := &l.escalations[i].Value.Tiers[j].Targets[k]; t.Kind == oncall.TargetSlack {
					short(&t.Name)
				}
			}
		}
	}
	for i := range l.schedules {
		short(&l.schedules[i].Value.NotifySlack)
		short(&l.schedules[i].Value.SlackUserGroup)
		short(&l.schedules[i].Value.SlackTopic)
	}
}
