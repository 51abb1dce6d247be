package oncall

import (
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
	ResolvedAt     time.Time       `json:"resolved_at,omitzero"`
	ResolvedBy     string          `json:"resolved_by,omitempty"`
	Assignee       string          `json:"assignee,omitempty"`
	LinkedFrom     int64           `json:"linked_from,omitempty"`
	Round          int             `json:"round"` // from 0
	Tier           int             `json:"tier"`  // told last, from 0; -1 before the first
	NextAt         time.Time       `json:"next_at,omitzero"`
	Next           string          `json:"next,omitempty"` // what happens at next_at, in words
	AlertsFiring   int             `json:"alerts_firing"`
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
