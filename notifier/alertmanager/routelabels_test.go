package alertmanager

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// TestRouteLabels: the labels of a route are shown as a notification has them. One that fails is left out.
func TestRouteLabels(t *testing.T) {
	s := newSenders(t, oneReceiver, nil)
	g := notifier.GroupView{Receiver: "r", Labels: labels.FromStrings("team", "shop"), Alerts: []notifier.AlertView{
		{Alert: &oncall.ActiveAlert{Labels: labels.FromStrings("alertname", "Down", "team", "shop"), StartsAt: 1, UpdatedAt: 1}}}}
	if got := s.RouteLabels(g); len(got) > 0 {
		t.Error(got)
	}
	g.Route = &oncall.Route{Labels: map[string]string{"tier": "1"}}
	if diff := cmp.Diff(map[string]string{"tier": "1"}, s.RouteLabels(g)); diff != "" {
		t.Error(diff)
	}
	g.Route = &oncall.Route{Labels: map[string]string{"tier": "1", "owner": "{{ .GroupLabels.team }}-{{ len .Alerts.Firing }}-{{ .CommonLabels.alertname }}",
		"note": `{{ routeLabels "owner" }}!`, "bad": "{{ .Nope }}", "to": "{{ .Receiver }}"}}
	want := map[string]string{"tier": "1", "owner": "shop-1-Down", "note": "shop-1-Down!", "to": "r"}
	if diff := cmp.Diff(want, s.RouteLabels(g)); diff != "" {
		t.Error(diff)
	}
}
