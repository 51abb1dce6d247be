package oncall

import (
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// Silence mutes the alerts that all its matchers match, from StartsAt (included) until EndsAt (not
// included). One that starts in the future is a maintenance window.
type Silence struct {
	ID          string            `json:"id"` // a UUID
	Matchers    amlabels.Matchers `json:"matchers"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      time.Time         `json:"ends_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	CreatedBy   string            `json:"created_by"`
	Comment     string            `json:"comment"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Incident    int64             `json:"incident,omitempty"`   // the incident it was made from; 0: none
	RemindedAt  time.Time         `json:"reminded_at,omitzero"` // when people were reminded of its end
}

// SilenceState is where a silence stands.
type SilenceState string

// The states of a silence, as in the alert API.
const (
	SilencePending SilenceState = "pending"
	SilenceActive  SilenceState = "active"
	SilenceExpired SilenceState = "expired"
)

// State returns where the silence stands at now.
func (s Silence) State(now time.Time) SilenceState {
	switch {
	case now.Before(s.StartsAt):
		return SilencePending
	case now.Before(s.EndsAt):
		return SilenceActive
	}
	return SilenceExpired
}
