package config

import (
	"go.yaml.in/yaml/v3"

	"tocsin/oncall"
	"tocsin/problem"
)

// routeBlock is as much of a route as this build can follow: a root that leads to a receiver without
// integrations, as in a tocsin that only sends its alerts on. Everything else is refused, because a route
// that is ignored loses pages.
type routeBlock struct {
	Receiver problem.At[string] `yaml:"receiver"`
}

// ExplainKey refuses what makes a tree of the route.
func (*routeBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "routes", "matchers", "match", "match_re", "continue", "group_by", "group_wait", "group_interval", "repeat_interval",
		"mute_time_intervals", "active_time_intervals", "labels":
		return "routes are not supported by this build yet", "an ignored route loses pages: name an escalation in each rule, and one called default"
	}
	return "", ""
}

func (l *loading) decodeRoute(n *yaml.Node) {
	var b routeBlock
	l.problems = append(l.problems, l.doc.Decode(n, &b)...)
	if n.Kind != yaml.MappingNode {
		return
	}
	if b.Receiver.Value == "" {
		l.add(l.doc.At(n).Errorf("the route needs a receiver"))
		return
	}
	l.plan.Policy.RootReceiver = b.Receiver.Value
	l.route = b.Receiver
}

// checkRoute holds the root route to the one thing that it may do yet.
func (l *loading) checkRoute() {
	if !l.route.IsSet() {
		return
	}
	r, ok := l.plan.Policy.Receivers[l.route.Value]
	if !ok {
		ref := oncall.Ref{Kind: string(oncall.TargetReceiver), Name: l.route.Value, At: l.route.Place}
		l.add(unknown(ref, l.receivers, func(r oncall.Receiver) string { return r.Name }))
		return
	}
	if len(r.Endpoints) > 0 {
		l.add(l.route.Place.Errorf("routing alerts to the integrations of %q is not supported by this build yet", l.route.Value).
			WithHint("an ignored route loses pages: name an escalation in each rule, and one called default; a root route may lead to a receiver without integrations"))
		return
	}
	l.add(l.route.Place.Warnf("alerts that name no escalation are told to nobody: the receiver %q has no integrations", l.route.Value))
}
