package notifier

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/oncall"
)

// lagBuckets are seconds: from what nobody notices to what somebody must explain.
var lagBuckets = []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}

type incidentMetrics struct {
	consumed  prometheus.Counter
	decisions *prometheus.CounterVec // by event
	errors    *prometheus.CounterVec // by step
	panics    prometheus.Counter
	lag       *prometheus.HistogramVec // by what
}

func newIncidentMetrics(r prometheus.Registerer) *incidentMetrics {
	f := promauto.With(r)
	m := &incidentMetrics{
		consumed: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_alert_changes_consumed_total", Help: "Alert changes handed to incidents.",
		}),
		decisions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_incident_decisions_total", Help: "Decisions about incidents, by what they were asked for.",
		}, []string{"event"}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_incident_store_errors_total", Help: "Times that the incident loop could not use the store, by step.",
		}, []string{"step"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_incident_decision_panics_total", Help: "Decisions that failed by a defect of tocsin; each is in the log.",
		}),
		lag: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_incident_lag_seconds", Help: "How long after its time a timer ran, or an alert change was handed on.", Buckets: lagBuckets,
		}, []string{"what"}),
	}
	for _, step := range []string{"changes", "due", "tick", "recheck"} {
		m.errors.WithLabelValues(step)
	}
	return m
}

// deliveryMetrics count what was sent. Drills are counted apart: what they find out is no page that was lost.
type deliveryMetrics struct {
	attempts *prometheus.CounterVec // by kind of endpoint, outcome
	drills   *prometheus.CounterVec // the same of drills
	seconds  *prometheus.HistogramVec
	lag      *prometheus.HistogramVec
	inFlight prometheus.Gauge
	bundles  *prometheus.CounterVec // by kind of endpoint
	bundled  *prometheus.CounterVec // incidents in them
	errors   *prometheus.CounterVec // by step
	panics   prometheus.Counter
}

func newDeliveryMetrics(r prometheus.Registerer) *deliveryMetrics {
	f := promauto.With(r)
	m := &deliveryMetrics{
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_delivery_attempts_total", Help: "Attempts to deliver, but for drills, by kind of endpoint and what the far end made of them.",
		}, []string{"endpoint", "outcome"}),
		drills: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_drill_attempts_total", Help: "Attempts to deliver in drills, by kind of endpoint and what the far end made of them.",
		}, []string{"endpoint", "outcome"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_delivery_attempt_seconds", Help: "How long attempts took, but for drills.", Buckets: lagBuckets,
		}, []string{"endpoint"}),
		lag: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_delivery_lag_seconds", Help: "How long after they were due deliveries were sent, but for drills, waiting for limits included.", Buckets: lagBuckets,
		}, []string{"endpoint"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_deliveries_in_flight", Help: "Deliveries being sent, or sent and not yet committed.",
		}),
		bundles: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_delivery_bundles_total", Help: "Deliveries that went for several incidents, by kind of endpoint.",
		}, []string{"endpoint"}),
		bundled: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_delivery_bundled_incidents_total", Help: "Incidents that deliveries for several went for, by kind of endpoint.",
		}, []string{"endpoint"}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_delivery_store_errors_total", Help: "Times that the delivery loop could not use the store, by step.",
		}, []string{"step"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_delivery_panics_total", Help: "Deliveries that met a defect of tocsin; each is in the log.",
		}),
	}
	for _, step := range []string{"claim", "load", "finish", "settle"} {
		m.errors.WithLabelValues(step)
	}
	return m
}

// attempted counts an attempt. sent: a sender was asked.
func (m *deliveryMetrics) attempted(d oncall.Delivery, a oncall.Attempt, sent bool) {
	kind := d.Endpoint.Kind()
	if d.Drill {
		m.drills.WithLabelValues(kind, string(a.Outcome)).Inc()
		return
	}
	m.attempts.WithLabelValues(kind, string(a.Outcome)).Inc()
	if sent {
		m.seconds.WithLabelValues(kind).Observe(a.Took.Seconds())
	}
}
