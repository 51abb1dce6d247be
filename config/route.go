package config

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"tocsin/notifier/alertmanager"
	"tocsin/notifier/pager"
	"tocsin/oncall"
	"tocsin/problem"
)

// alertmanager decodes the sections that Alertmanager defines, and what is ours in its receivers.
func (l *loading) alertmanager(b *block) {
	if b.Receivers != nil {
		receivers, pages, refs, p := oncall.DecodeReceivers(l.doc, b.Receivers)
		l.receivers, l.refs, l.problems = receivers, append(l.refs, refs...), append(l.problems, p...)
		for endpoint, node := range pages {
			l.problems = append(l.problems, l.page(endpoint, node)...)
		}
	}
	l.routed = b.Route != nil
	c, p := alertmanager.Decode(l.doc, !l.ownSections())
	l.plan.Alertmanager, l.problems = c, append(l.problems, p...)
	l.unread = len(p.Errors()) > 0
	if c != nil {
		l.plan.Policy.Routing = c.Routing()
	}
	l.accounts(c)
	if b.Receivers != nil {
		l.hooks(b.Receivers)
	}
}

// page decodes what one endpoint of ours is.
func (l *loading) page(e oncall.Endpoint, node *yaml.Node) (p problem.List) {
	switch e.Kind() {
	case "call", "sms":
		l.plan.Twilio[e], p = pager.DecodeTwilio(l.doc, node)
	case "ntfy":
		l.plan.Ntfy[e], p = pager.DecodeNtfy(l.doc, node)
	default:
		l.plan.Pages[e], p = pager.DecodeConfig(l.doc, node)
	}
	return p
}

// ownSections reports that the file holds more than an alertmanager.yml does.
func (l *loading) ownSections() bool {
	top := l.doc.Root.Content
	for i := 0; i+1 < len(top); i += 2 {
		if !slices.Contains(alertmanager.Sections, top[i].Value) {
			return true
		}
	}
	return false
}

// joinReceivers puts together what both parsers know of the receivers.
func (l *loading) joinReceivers() {
	p := &l.plan.Policy
	for _, r := range l.receivers {
		p.Receivers[r.Value.Name] = r.Value
	}
	if l.plan.Alertmanager == nil {
		return
	}
	for _, theirs := range l.plan.Alertmanager.Receivers() {
		r := p.Receivers[theirs.Name]
		r.Name, r.Integrations, r.Labels = theirs.Name, theirs.Integrations, theirs.Labels
		p.Receivers[r.Name] = r
	}
}

// routeAt is the place of the root route's receiver.
func (l *loading) routeAt() problem.Place {
	var b struct {
		Receiver problem.At[string] `yaml:"receiver"`
	}
	top := l.doc.Root.Content
	for i := 0; i+1 < len(top); i += 2 {
		if top[i].Value != "route" {
			continue
		}
		l.doc.Decode(top[i+1], &b) // only for the place: the other parser has looked at the rest
		if b.Receiver.IsSet() {
			return b.Receiver.Place
		}
		return l.doc.At(top[i+1])
	}
	return l.doc.At(nil)
}

// checkRoute warns of a root route that tells nobody.
func (l *loading) checkRoute() {
	root := l.plan.Policy.Routing.Root
	if root == nil {
		return
	}
	r := l.plan.Policy.Receivers[root.Receiver]
	if len(r.Endpoints)+len(r.Integrations) == 0 && r.Escalation == "" {
		l.add(l.routeAt().Warnf("alerts that name no escalation and match no other route are told to nobody: the receiver %q has no integrations", root.Receiver))
	}
}

// pagesByRoute gives each receiver with page_configs to which a route leads an escalation of its own, because
// a page belongs to an incident: only that can be acknowledged.
func (l *loading) pagesByRoute() {
	root := l.plan.Policy.Routing.Root
	if root == nil {
		return
	}
	p := &l.plan.Policy
	groupBy := map[string][]string{} // by receiver: of the first route that leads there
	var walk func(*oncall.Route)
	walk = func(r *oncall.Route) {
		if _, ok := groupBy[r.Receiver]; !ok {
			groupBy[r.Receiver] = r.GroupBy
		}
		for _, c := range r.Routes {
			walk(c)
		}
	}
	walk(root)
	for _, at := range l.receivers {
		name := at.Value.Name
		by, led := groupBy[name]
		r := p.Receivers[name]
		switch {
		case !led || len(r.Endpoints) == 0:
			continue
		case r.Escalation != "":
			if !l.names(oncall.TargetReceiver, name) {
				l.add(at.Place.Warnf("the page_configs of %q page nobody: alerts routed here are told by the escalation %q, and no tier or contact names this receiver", name, r.Escalation))
			}
			continue
		}
		if len(by) == 0 {
			by = []string{"alertname"}
		}
		pages := name
		if len(r.Integrations) > 0 {
			// Its integrations are notified by the route already.
			pages = name + " (pages)"
			p.Receivers[pages] = oncall.Receiver{Name: pages, Of: name, Endpoints: r.Endpoints}
		}
		r.Escalation = "receiver " + name
		p.Receivers[name] = r
		p.Escalations[r.Escalation] = oncall.Escalation{
			Name: r.Escalation, GroupBy: by, DeliverWithin: oncall.DefaultDeliverWithin,
			Tiers: []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: pages}}}},
		}
	}
}
