package oncall

import (
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// IncidentView is an incident as other programs see it: the own API's form, and the data of a page.
// Its JSON names are a contract (docs/api, docs/page.schema.json).
type IncidentView struct {
	Number         int64           `json:"number"`
	Key            string          `json:"key"`
	State          IncidentState   `json:"state"`
	Title          string          `json:"title"`
	Severity       string          `json:"severity"`
	Escalation     string          `json:"escalation"`
	Why            string          `json:"why"`          // why this escalation
	Labels         labels.Labels   `json:"labels"`       // common to all its alerts
	GroupLabels    labels.Labels   `json:"group_labels"` // what made them one incident
	URL            string          `json:"url,omitempty"`
	TriggeredAt    time.Time       `json:"triggered_at"`
	AcknowledgedAt time.Time       `json:"acknowledged_at,omitzero"`
	AcknowledgedBy string          `json:"acknowledged_by,omitempty"`
	SnoozedUntil   time.Time       `json:"snoozed_until,omitzero"`
	UntilClear     string          `json:"until_clear,omitempty"` // matchers; the snooze ends earlier when no firing alert matches
	PausedSince    time.Time       `json:"paused_since,omitzero"` // since when all its firing alerts are muted
	ResolvedAt     time.Time       `json:"resolved_at,omitzero"`
	ResolvedBy     string          `json:"resolved_by,omitempty"`
	Assignee       string          `json:"assignee,omitempty"`
	LinkedFrom     int64           `json:"linked_from,omitempty"`
	MergedInto     int64           `json:"merged_into,omitempty"`
	Merged         []int64         `json:"merged,omitempty"` // the incidents that were merged into this one
	Responders     []Responder     `json:"responders,omitempty"`
	Urgency        string          `json:"urgency,omitempty"` // "low": people are told in their daytime
	Round          int             `json:"round"`             // from 0
	Drill          bool            `json:"drill,omitempty"`   // nothing is wrong: somebody tries whether pages arrive
	Tier           int             `json:"tier"`              // told last, from 0; -1 before the first
	NextAt         time.Time       `json:"next_at,omitzero"`
	Next           string          `json:"next,omitempty"` // what happens at next_at, in words
	AlertsFiring   int             `json:"alerts_firing"`
	AlertsMuted    int             `json:"alerts_muted"` // of those firing
	AlertsTotal    int             `json:"alerts_total"` // exact, also where alerts is shortened
	Alerts         []IncidentAlert `json:"alerts"`
	Timeline       []TimelineEntry `json:"timeline"`
	Deliveries     []DeliveryView  `json:"deliveries"`
}

// DeliveryView is a delivery with its attempts.
type DeliveryView struct {
	Delivery
	Attempts []Attempt `json:"attempts"`
}

// View shows an incident with all its rows. externalURL is the base of its link, "" for none.
func View(in Incident, externalURL string) IncidentView {
	v := IncidentView{
		Number: in.Number, Key: in.Key, State: in.State, Title: in.Title, Severity: in.Severity,
		Escalation: in.Escalation, Why: in.Why, Labels: commonLabels(in.Alerts), GroupLabels: in.GroupLabels,
		TriggeredAt: in.TriggeredAt.UTC(), AcknowledgedAt: utc(in.AcknowledgedAt), AcknowledgedBy: in.AcknowledgedBy,
		SnoozedUntil: utc(in.SnoozedUntil), PausedSince: utc(in.PausedSince), ResolvedAt: utc(in.ResolvedAt), ResolvedBy: in.ResolvedBy,
		Assignee: in.Assignee, LinkedFrom: in.LinkedFrom, MergedInto: in.MergedInto, Merged: in.Merged, Responders: in.Responders, Urgency: in.Urgency, Drill: in.Drill != nil, Round: in.Round, Tier: in.NextTier - 1,
		NextAt: utc(in.NextStepAt), Next: in.Next, AlertsTotal: len(in.Alerts),
		Alerts: in.Alerts, Timeline: withoutRequests(in.Timeline), Deliveries: make([]DeliveryView, 0, len(in.Deliveries)),
	}
	if len(in.UntilClear) > 0 {
		v.UntilClear = in.UntilClear.String()
	}
	if externalURL != "" {
		v.URL = externalURL + "/incidents/" + strconv.FormatInt(in.Number, 10)
	}
	for _, a := range in.Alerts {
		if a.State == StateFiring {
			v.AlertsFiring++
			if !a.MutedSince.IsZero() {
				v.AlertsMuted++
			}
		}
	}
	attempts := map[string][]Attempt{}
	for _, e := range v.Timeline {
		if e.Attempt != nil {
			attempts[e.Delivery] = append(attempts[e.Delivery], *e.Attempt)
		}
	}
	for _, d := range in.Deliveries {
		if d.Kind == KindEdit {
			continue
		}
		as := attempts[d.Key]
		if as == nil {
			as = []Attempt{}
		}
		v.Deliveries = append(v.Deliveries, DeliveryView{Delivery: d, Attempts: as})
	}
	if v.Alerts == nil {
		v.Alerts = []IncidentAlert{}
	}
	if v.Timeline == nil {
		v.Timeline = []TimelineEntry{}
	}
	return v
}

// utc leaves the zero time alone, so that omitzero still sees it.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// commonLabels returns the labels that all alerts share.
func commonLabels(alerts []IncidentAlert) labels.Labels {
	if len(alerts) == 0 {
		return labels.EmptyLabels()
	}
	b := labels.NewScratchBuilder(8)
	alerts[0].Labels.Range(func(l labels.Label) {
		for _, a := range alerts[1:] {
			if a.Labels.Get(l.Name) != l.Value {
				return
			}
		}
		b.Add(l.Name, l.Value)
	})
	return b.Labels()
}
