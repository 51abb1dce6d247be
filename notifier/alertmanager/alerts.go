package alertmanager

import (
	"context"
	"maps"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

func labelSet(ls labels.Labels) model.LabelSet {
	set := make(model.LabelSet, ls.Len())
	ls.Range(func(l labels.Label) { set[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
	return set
}

// alertsOf turns a group's alerts, which are frozen: a zero end means that it fires.
func alertsOf(alerts []oncall.GroupAlert) []*alert.Alert {
	out := make([]*alert.Alert, len(alerts))
	for i, a := range alerts {
		out[i] = &alert.Alert{
			Alert: model.Alert{
				Labels: labelSet(a.Labels), Annotations: labelSet(a.Annotations),
				StartsAt: a.StartsAt, EndsAt: a.EndsAt, GeneratorURL: a.GeneratorURL,
			},
			UpdatedAt: a.UpdatedAt,
		}
	}
	return out
}

func firing(alerts []*alert.Alert) []*alert.Alert {
	var out []*alert.Alert
	for _, a := range alerts {
		if !a.Resolved() {
			out = append(out, a)
		}
	}
	return out
}

// reasons are Alertmanager's, by their names.
var reasons = map[string]notify.NotifyReason{
	oncall.ReasonFirstNotification:     notify.ReasonFirstNotification,
	oncall.ReasonNewAlertsInGroup:      notify.ReasonNewAlertsInGroup,
	oncall.ReasonNewResolvedAlerts:     notify.ReasonNewResolvedAlerts,
	oncall.ReasonAllAlertsResolved:     notify.ReasonAllAlertsResolved,
	oncall.ReasonRepeatIntervalElapsed: notify.ReasonRepeatIntervalElapsed,
}

func reasonOf(name string) notify.NotifyReason {
	if r, ok := reasons[name]; ok {
		return r
	}
	return notify.ReasonUnknown
}

// Send makes one attempt to tell an integration of an incident, as of a group whose key is the incident's: all
// messages about it meet at the far end. m.Incident must be the latest state. There is no way to say that
// somebody has it: that is delivered without a word.
func (s *Senders) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	n, ok := incidentNotice(m)
	if !ok {
		return oncall.Attempt{Outcome: oncall.OutcomeDelivered, Number: m.Delivery.Attempts}
	}
	if s.ackURL != nil && m.Delivery.Kind != oncall.KindResolved {
		link := model.LabelValue(s.ackURL(m.Delivery.Key))
		for _, a := range n.alerts {
			a.Annotations[AckAnnotation] = link
		}
	}
	return s.send(ctx, m.Delivery.Endpoint, n)
}

// AckAnnotation is the annotation by which a message about an incident carries its acknowledge link: Alertmanager's
// own templates list all annotations, mail among them, and a user's template can make a button of it.
const AckAnnotation = "acknowledge_url"

// incidentNotice is what a message tells of its incident. It is not ok where there is nothing to tell.
func incidentNotice(m notifier.Message) (n notice, ok bool) {
	n = notice{groupKey: m.Incident.Key, groupLabels: labelSet(m.Incident.GroupLabels), attempt: m.Delivery.Attempts, remote: m.Thread}
	over := false
	switch m.Delivery.Kind {
	case oncall.KindTriggered:
		n.reason = notify.ReasonFirstNotification
		if m.Delivery.Round > 0 {
			n.reason = notify.ReasonRepeatIntervalElapsed
		}
	case oncall.KindUpdated:
		n.reason = notify.ReasonNewAlertsInGroup
	case oncall.KindResolved:
		n.reason, over = notify.ReasonAllAlertsResolved, true
	default:
		return n, false
	}
	n.alerts = incidentAlerts(m.Incident, over)
	return n, true
}

// incidentAlerts are an incident's alerts. over says that all of them are to be shown as resolved, because the
// incident is.
func incidentAlerts(in oncall.Incident, over bool) []*alert.Alert {
	out := make([]*alert.Alert, 0, len(in.Alerts))
	for _, a := range in.Alerts {
		set := model.LabelSet{}
		for name, value := range maps.All(a.Annotations) {
			set[model.LabelName(name)] = model.LabelValue(value)
		}
		one := &alert.Alert{Alert: model.Alert{Labels: labelSet(a.Labels), Annotations: set, StartsAt: a.StartsAt, GeneratorURL: a.GeneratorURL}}
		switch {
		case a.State == oncall.StateResolved:
			one.EndsAt = a.ResolvedAt
		case over:
			one.EndsAt = in.ResolvedAt
		}
		one.UpdatedAt = one.EndsAt
		out = append(out, one)
	}
	return out
}
