package alertmanagers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the forwarder's own, by Alertmanager.
type metrics struct {
	alerts   *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// outcomes are those of requests.
var outcomes = []string{"sent", "refused", "failed"}

func newMetrics(reg prometheus.Registerer, waiting func() map[string]int) *metrics {
	by := []string{"alertmanager"}
	m := &metrics{
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_alertmanagers_alerts_sent_total", Help: "Alerts that an Alertmanager took, repetitions included."}, by),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_alertmanagers_alerts_dropped_total", Help: "Alerts that an Alertmanager refused, or that found no place in its queue."}, by),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_alertmanagers_requests_total", Help: "Requests to an Alertmanager, by outcome: sent, refused, failed."}, append(by, "outcome")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_alertmanagers_request_duration_seconds", Help: "Time to an answer of an Alertmanager, or to none.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, by),
	}
	if reg != nil {
		reg.MustRegister(m.alerts, m.dropped, m.requests, m.duration, waitingCollector(waiting))
	}
	return m
}

// keep drops the series of Alertmanagers that are gone, and begins those of new ones.
func (m *metrics) keep(old, now []*end) {
	stays := map[string]bool{}
	for _, e := range now {
		stays[e.shown] = true
		m.alerts.WithLabelValues(e.shown)
		m.dropped.WithLabelValues(e.shown)
		for _, o := range outcomes {
			m.requests.WithLabelValues(e.shown, o)
		}
	}
	for _, e := range old {
		if !stays[e.shown] {
			m.alerts.DeleteLabelValues(e.shown)
			m.dropped.DeleteLabelValues(e.shown)
			m.duration.DeleteLabelValues(e.shown)
			for _, o := range outcomes {
				m.requests.DeleteLabelValues(e.shown, o)
			}
		}
	}
}

func (m *metrics) sent(e *end, n int) { m.alerts.WithLabelValues(e.shown).Add(float64(n)) }
func (m *metrics) drop(e *end, n int) { m.dropped.WithLabelValues(e.shown).Add(float64(n)) }

func (m *metrics) request(e *end, outcome string, took time.Duration) {
	m.requests.WithLabelValues(e.shown, outcome).Inc()
	m.duration.WithLabelValues(e.shown).Observe(took.Seconds())
}

var waitingDesc = prometheus.NewDesc("tocsin_alertmanagers_waiting_alerts", "Alerts that an Alertmanager must yet be told of.", []string{"alertmanager"}, nil)

// waitingCollector counts what waits when it is asked.
type waitingCollector func() map[string]int

// Describe names the metric.
func (waitingCollector) Describe(c chan<- *prometheus.Desc) { c <- waitingDesc }

// Collect reads it.
func (waiting waitingCollector) Collect(c chan<- prometheus.Metric) {
	for name, n := range waiting() {
		c <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(n), name)
	}
}
