package config

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"tocsin/notifier/alertmanager"
	"tocsin/notifier/pager"
	"tocsin/oncall"
	"tocsin/problem"
)

// accounts takes the entries of Alertmanager's lists that tocsin's own senders serve for incidents.
func (l *loading) accounts(c *alertmanager.Config) {
	of := func(list string) map[oncall.Endpoint]pager.Account {
		all := map[oncall.Endpoint]pager.Account{}
		for e, d := range c.Direct(list) {
			all[e] = pager.Account{
				URL: d.URL, Key: d.Key, HTTP: d.HTTP, Timeout: d.Timeout, UpdateAlerts: d.UpdateAlerts,
				AllowPrivate: d.Named, // Alertmanager's http_config has no key for it, and its own notifiers go there too
			}
		}
		return all
	}
	l.plan.PagerDuty, l.plan.Opsgenie = of("pagerduty_configs"), of("opsgenie_configs")
}

// hookKey is the key of a receiver that lets a vendor report back.
func hookKey(vendor string) string { return vendor + "_webhook" }

// hooks decodes the ways in for what people do at PagerDuty and Opsgenie.
func (l *loading) hooks(receivers *yaml.Node) {
	l.plan.Hooks = map[pager.HookName]pager.Hook{}
	if receivers.Kind != yaml.SequenceNode {
		return // that is said by the other parser
	}
	for _, node := range receivers.Content {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if node.Kind != yaml.MappingNode {
			continue
		}
		name, found := "", map[string]*yaml.Node{}
		keys := map[string]*yaml.Node{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if key.Value == "name" {
				name = value.Value
			}
			found[key.Value], keys[key.Value] = value, key
		}
		for _, vendor := range pager.Vendors {
			if value := found[hookKey(vendor)]; value != nil {
				l.hook(pager.HookName{Vendor: vendor, Receiver: name}, keys[hookKey(vendor)], value)
			}
		}
	}
}

// hook decodes one of them.
func (l *loading) hook(name pager.HookName, key, value *yaml.Node) {
	h, p := pager.DecodeHook(l.doc, value)
	l.problems = append(l.problems, p...)
	var names []string
	for _, u := range l.users {
		names = append(names, u.Value.Name)
	}
	for _, user := range h.Users {
		if l.userNamed(user.Value) {
			continue
		}
		p := user.Place.Errorf("unknown user %q", user.Value)
		if len(names) == 0 {
			l.add(p.WithHint("the section users defines them"))
			continue
		}
		l.add(p.WithHint("%s", problem.DidYouMean(user.Value, names)))
	}
	if !l.unread && !l.reports(name) {
		l.add(l.doc.KeyAt(key).Errorf("receiver %q has no %s that could report back", name.Receiver, name.List()).
			WithHint("%s", map[string]string{
				"pagerduty": "add pagerduty_configs with a routing_key or routing_key_file: integrations of the Events API v1 know no acknowledgements",
				"opsgenie":  "add opsgenie_configs",
			}[name.Vendor]))
	}
	l.plan.Hooks[name] = h
}

func (l *loading) userNamed(name string) bool {
	for _, u := range l.users {
		if u.Value.Name == name {
			return true
		}
	}
	return false
}

// reports says whether the receiver has an entry whose far end is told of incidents by the sender of its vendor.
func (l *loading) reports(name pager.HookName) bool {
	accounts := l.plan.PagerDuty
	if name.Vendor == "opsgenie" {
		accounts = l.plan.Opsgenie
	}
	for e := range accounts {
		if address := e.Address(); address[:strings.LastIndexByte(address, '/')] == name.Receiver {
			return true
		}
	}
	return false
}
