package notifier

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// What the alert API reads. The loop is never held up for long: its lock is taken for the copying of a few
// thousand pointers at a time, and what is costly happens between.

const viewChunk = 2000

// Ready reports that this process dispatches, and has read all that it must know.
func (d *Dispatcher) Ready() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.state != nil
}

// Alerts returns the alerts that fire at now, in order of their fingerprints.
func (d *Dispatcher) Alerts(now time.Time) []AlertView {
	d.mu.RLock()
	s := d.state
	if s == nil {
		d.mu.RUnlock()
		return nil
	}
	all := make([]*dispatched, 0, len(s.alerts))
	for _, e := range s.alerts {
		all = append(all, e)
	}
	d.mu.RUnlock()
	v := viewer{d: d, s: s, now: now, receivers: map[*oncall.Route][]string{}}
	v.silences, _ = d.o.Silences.Current()
	views := v.alerts(all)
	slices.SortFunc(views, func(a, b AlertView) int { return cmp.Compare(a.Alert.Fingerprint, b.Alert.Fingerprint) })
	return views
}

// viewer makes views of one moment.
type viewer struct {
	d         *Dispatcher
	s         *dispatchState
	now       time.Time
	silences  *oncall.SilenceSet
	receivers map[*oncall.Route][]string // shared by all alerts that take one route only
}

// alerts returns the views of those that fire.
func (v *viewer) alerts(all []*dispatched) []AlertView {
	views := make([]AlertView, 0, len(all))
	for chunk := range slices.Chunk(all, viewChunk) {
		from := len(views)
		v.d.mu.RLock()
		for _, e := range chunk {
			if e.gone || !e.a.Firing(v.now) {
				continue
			}
			view := AlertView{Alert: e.a, Receivers: v.receiversOf(e)}
			view.InhibitedBy, _ = v.s.inhibitor.Inhibited(e.a.Fingerprint, e.a.Labels)
			views = append(views, view)
		}
		v.d.mu.RUnlock()
		for i := from; i < len(views); i++ {
			view := &views[i]
			view.SilencedBy = v.silences.Muting(view.Alert.Labels, v.now)
			view.State = AlertActive
			if len(view.SilencedBy)+len(view.InhibitedBy) > 0 {
				view.State = AlertSuppressed
			}
		}
	}
	return views
}

func (v *viewer) receiversOf(e *dispatched) []string {
	if len(e.groups) == 1 {
		route := e.groups[0].route
		names, ok := v.receivers[route]
		if !ok {
			names = []string{route.Receiver}
			v.receivers[route] = names
		}
		return names
	}
	// In the order in which the tree is walked, as Alertmanager lists them: that of the routes' numbers.
	groups := slices.SortedFunc(slices.Values(e.groups), func(a, b *group) int { return a.route.Index - b.route.Index })
	names := make([]string, 0, len(groups))
	for _, g := range groups {
		names = append(names, g.route.Receiver)
	}
	return names
}

// Groups returns the groups with an alert that fires at now, ordered by labels as Alertmanager orders them,
// then receiver.
func (d *Dispatcher) Groups(now time.Time) []GroupView {
	type seen struct {
		view    GroupView
		members []*dispatched
	}
	d.mu.RLock()
	s := d.state
	if s == nil {
		d.mu.RUnlock()
		return nil
	}
	routing := s.routing
	all := make([]seen, 0, len(s.groups))
	for _, g := range s.groups {
		one := seen{view: GroupView{Key: g.key, Route: g.route, Labels: g.labels, Receiver: g.route.Receiver}}
		one.members = make([]*dispatched, 0, len(g.members))
		for _, e := range g.members {
			one.members = append(one.members, e)
		}
		all = append(all, one)
	}
	d.mu.RUnlock()
	v := viewer{d: d, s: s, now: now, receivers: map[*oncall.Route][]string{}}
	v.silences, _ = d.o.Silences.Current()
	muted := map[*oncall.Route][]string{}
	views := make([]GroupView, 0, len(all))
	for i := range all {
		view := all[i].view
		if view.Alerts = v.alerts(all[i].members); len(view.Alerts) == 0 {
			continue
		}
		names, known := muted[view.Route]
		if !known {
			names, _ = routing.MutedAt(view.Route, now)
			muted[view.Route] = names
		}
		if view.MutedBy = names; len(names) > 0 {
			for j := range view.Alerts {
				view.Alerts[j].MutedBy, view.Alerts[j].State = names, AlertSuppressed
			}
		}
		oncall.SortAlerts(view.Alerts, func(a AlertView) labels.Labels { return a.Alert.Labels })
		views = append(views, view)
	}
	slices.SortStableFunc(views, func(a, b GroupView) int {
		return cmp.Or(oncall.CompareLabelSets(a.Labels, b.Labels), strings.Compare(a.Receiver, b.Receiver))
	})
	return views
}
