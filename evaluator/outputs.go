package evaluator

import (
	"context"
	"maps"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// Series is one sample that the evaluator writes: of a recording rule, ALERTS or ALERTS_FOR_STATE.
type Series struct {
	Labels labels.Labels // with the metric name; without external labels, which the writer adds
	T      int64         // evaluation timestamp less query_offset, in milliseconds
	V      float64       // StaleNaN (model/value) marks the end of the series
}

// Recorder writes series where the backend finds them again. Write returns when they are acknowledged by
// the far end or durably queued, in the order of the calls for any one series; an error means that they are
// neither. It is called from many goroutines and honours ctx.
type Recorder interface {
	Write(ctx context.Context, series []Series) error
	// Behind reports that something is queued that the far end does not have yet.
	Behind() bool
}

// Forwarded is an alert as it is sent to an Alertmanager.
type Forwarded struct {
	Labels       labels.Labels // with external labels
	Annotations  map[string]string
	StartsAt     time.Time // when it fired
	EndsAt       time.Time // zero while it fires
	GeneratorURL string
	Interval     time.Duration // of its group: how long it stays alive without being sent again
}

// Forwarder sends alerts on. Forward never blocks; it is called after the commit, with every alert that
// began to fire or resolved. Sending again what still fires (Evaluator.Active) is the forwarder's own task.
type Forwarder interface {
	Forward(alerts []Forwarded)
}

// headersKey is the context's key of a group's headers.
type headersKey struct{}

// WithHeaders returns a context whose queries carry these headers too: the tenant of a group, say. They
// override the backend's own.
func WithHeaders(ctx context.Context, headers map[string]string) context.Context {
	if len(headers) == 0 {
		return ctx
	}
	return context.WithValue(ctx, headersKey{}, maps.Clone(headers))
}

// HeadersFrom returns the headers that a Backend must add to the query of ctx; nil for none.
func HeadersFrom(ctx context.Context) map[string]string {
	h, _ := ctx.Value(headersKey{}).(map[string]string)
	return h
}

// RuleType says what a rule makes of its answer.
type RuleType string

// The types, as Prometheus' API names them.
const (
	Alerting  RuleType = "alerting"
	Recording RuleType = "recording"
)

// The health of a rule, as Prometheus' API names it.
const (
	HealthOK      = "ok"
	HealthErr     = "err"
	HealthUnknown = "unknown" // not evaluated yet
)

// GroupStatus is one rule group as Prometheus' rule API shows it. Do not write to it.
type GroupStatus struct {
	Name           string
	File           string
	Interval       time.Duration
	Limit          int
	LastEvaluation time.Time     // when the last evaluation of the group began; zero: none yet
	EvaluationTime time.Duration // how long it took
	Rules          []RuleStatus
}

// RuleStatus is one rule as Prometheus' rule API shows it.
type RuleStatus struct {
	ID             oncall.RuleID
	Type           RuleType
	Name           string // of the alert, or of the recorded series
	Query          string
	For            time.Duration
	KeepFiringFor  time.Duration
	Labels         labels.Labels
	Annotations    map[string]string // as written; nil for a recording rule
	Health         string            // HealthOK, HealthErr, HealthUnknown
	LastError      string
	EvaluationTime time.Duration
	LastEvaluation time.Time         // zero: none yet
	State          oncall.AlertState // of an alerting rule: that of its foremost alert, else inactive
	Alerts         []AlertStatus
}

// AlertStatus is one active alert as Prometheus' API shows it.
type AlertStatus struct {
	Labels          labels.Labels     // without external labels
	Annotations     map[string]string // expanded
	State           oncall.AlertState // pending or firing
	ActiveAt        time.Time
	FiredAt         time.Time // zero while pending
	KeepFiringSince time.Time // zero: keep_firing_for does not hold it
	UnknownSince    time.Time // zero: its last query worked
	Value           float64   // as of the last evaluation that saw it
}

// Outputs sets where series are written and alerts are sent on; nil for nowhere. Call it before Run, or
// again at a reload before Apply: an evaluation under way ends with the outputs it began with.
func (e *Evaluator) Outputs(r Recorder, f Forwarder) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recorder, e.forwarder = r, f
}
