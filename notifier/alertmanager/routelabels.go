package alertmanager

import (
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// RouteLabels returns the labels of the route of a group, rendered for its alerts as in a notification of them.
// Nobody writes to what it returns.
func (s *Senders) RouteLabels(g notifier.GroupView) map[string]string {
	if g.Route == nil {
		return nil
	}
	templates := false
	for _, text := range g.Route.Labels {
		templates = templates || strings.Contains(text, "{{")
	}
	if !templates { // a listing asks for each of many thousand groups
		return g.Route.Labels
	}
	members := make([]oncall.GroupAlert, len(g.Alerts))
	for i, v := range g.Alerts {
		a := v.Alert
		members[i] = oncall.GroupAlert{Labels: a.Labels, Annotations: a.Annotations, GeneratorURL: a.GeneratorURL,
			StartsAt: time.UnixMicro(a.StartsAt).UTC(), UpdatedAt: time.UnixMicro(a.UpdatedAt).UTC()}
	}
	rendered := s.routeLabels(g.Receiver, notice{groupLabels: labelSet(g.Labels), labels: g.Route.Labels, alerts: alertsOf(members)})
	out := make(map[string]string, len(rendered))
	for name, value := range rendered {
		out[string(name)] = string(value)
	}
	return out
}
