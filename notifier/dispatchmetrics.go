package notifier

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type dispatcherMetrics struct {
	alerts         *prometheus.GaugeVec // by state
	groups         prometheus.Gauge
	received       prometheus.Counter
	changes        *prometheus.CounterVec // by status
	logLag         prometheus.Histogram
	lateness       prometheus.Histogram
	notifications  *prometheus.CounterVec   // by integration, outcome
	attemptSeconds *prometheus.HistogramVec // by integration
	suppressed     *prometheus.CounterVec   // by reason
	inFlight       prometheus.Gauge
	commitSeconds  prometheus.Histogram
	errors         *prometheus.CounterVec // by step
	panics         prometheus.Counter
}

func newDispatcherMetrics(r prometheus.Registerer) *dispatcherMetrics {
	f := promauto.With(r)
	m := &dispatcherMetrics{
		alerts: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_dispatcher_alerts", Help: "Alerts that the dispatcher holds, by state: firing, or resolved and not told of everywhere.",
		}, []string{"state"}),
		groups: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_dispatcher_groups", Help: "Groups of alerts under routes.",
		}),
		received: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_dispatcher_received_total", Help: "Alerts taken in from the log, repetitions included.",
		}),
		changes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_dispatcher_changes_total", Help: "Changes of alerts handed to incidents, by what changed.",
		}, []string{"status"}),
		logLag: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_dispatcher_log_lag_seconds", Help: "How long after it was received a row of the log was taken in.", Buckets: lagBuckets,
		}),
		lateness: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_dispatcher_flush_lateness_seconds", Help: "How long after its time a group was flushed.", Buckets: lagBuckets,
		}),
		notifications: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_dispatcher_notifications_total", Help: "Attempts to notify integrations of groups, by kind of integration and outcome; overtaken: given up for a newer one.",
		}, []string{"integration", "outcome"}),
		attemptSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_dispatcher_attempt_seconds", Help: "How long attempts to notify integrations took.", Buckets: lagBuckets,
		}, []string{"integration"}),
		suppressed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_dispatcher_suppressed_total", Help: "Alerts that a flush of their group left out, by reason.",
		}, []string{"reason"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_dispatcher_notifications_in_flight", Help: "Attempts to notify integrations under way.",
		}),
		commitSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_dispatcher_commit_seconds", Help: "How long commits of the dispatcher took.", Buckets: lagBuckets,
		}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_dispatcher_store_errors_total", Help: "Times that the dispatcher could not use the store, by step.",
		}, []string{"step"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_dispatcher_panics_total", Help: "Notifications that met a defect of tocsin; each is in the log.",
		}),
	}
	for _, step := range []string{"load", "read", "commit"} {
		m.errors.WithLabelValues(step)
	}
	for _, reason := range []string{"silence", "inhibition", "time_interval"} {
		m.suppressed.WithLabelValues(reason)
	}
	return m
}

// observe shows how much the dispatcher holds, once a second at most: it counts.
func (r *dispatchRun) observe(now time.Time) {
	if now.Sub(r.observedAt) < time.Second {
		return
	}
	r.observedAt = now
	firing := 0
	for _, e := range r.s.alerts {
		if e.firing {
			firing++
		}
	}
	r.metrics.alerts.WithLabelValues("firing").Set(float64(firing))
	r.metrics.alerts.WithLabelValues("resolved").Set(float64(len(r.s.alerts) - firing))
	r.metrics.groups.Set(float64(len(r.s.groups)))
}
