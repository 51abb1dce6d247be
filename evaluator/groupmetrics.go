package evaluator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// groupMetrics are those of whole groups, as Prometheus' rule manager has them. rule_group is "file;name".
type groupMetrics struct {
	iterations  *prometheus.CounterVec
	evaluations *prometheus.CounterVec
	failures    *prometheus.CounterVec
	duration    prometheus.Histogram
	interval    *prometheus.GaugeVec
	rules       *prometheus.GaugeVec
	lastTook    *prometheus.GaugeVec
	lastRules   *prometheus.GaugeVec
	lastSamples *prometheus.GaugeVec
}

func newGroupMetrics(reg prometheus.Registerer) groupMetrics {
	by := []string{"rule_group"}
	m := groupMetrics{
		iterations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluator_group_iterations_total", Help: "Slots of the group, evaluated or missed."}, by),
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluator_group_evaluations_total", Help: "Evaluations of the group's rules on its grid."}, by),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluator_group_evaluation_failures_total", Help: "Evaluations of the group's rules on its grid that failed."}, by),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_evaluator_group_duration_seconds", Help: "Time to evaluate a whole group.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)}),
		interval: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_evaluator_group_interval_seconds", Help: "Interval of the group."}, by),
		rules: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_evaluator_group_rules", Help: "Rules of the group."}, by),
		lastTook: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_evaluator_group_last_duration_seconds", Help: "Time that the group's last evaluation took."}, by),
		lastRules: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_evaluator_group_last_rule_duration_sum_seconds", Help: "Sum of what the rules took in the group's last evaluation."}, by),
		lastSamples: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_evaluator_group_last_evaluation_samples", Help: "Samples that the group's rules yielded in its last evaluation."}, by),
	}
	if reg != nil {
		reg.MustRegister(m.iterations, m.evaluations, m.failures, m.duration, m.interval, m.rules, m.lastTook, m.lastRules, m.lastSamples)
	}
	return m
}

// iterated notes that a group was evaluated completely, and how many of its rules failed.
func (m *groupMetrics) iterated(gr *groupRun, took time.Duration, failed int) {
	var rules time.Duration
	samples := 0
	for _, b := range gr.rules {
		b.state.mu.Lock()
		rules, samples = rules+b.state.took, samples+b.state.samples
		b.state.mu.Unlock()
	}
	m.iterations.WithLabelValues(gr.key).Inc()
	m.evaluations.WithLabelValues(gr.key).Add(float64(len(gr.rules)))
	m.failures.WithLabelValues(gr.key).Add(float64(failed))
	m.duration.Observe(took.Seconds())
	m.lastTook.WithLabelValues(gr.key).Set(took.Seconds())
	m.lastRules.WithLabelValues(gr.key).Set(rules.Seconds())
	m.lastSamples.WithLabelValues(gr.key).Set(float64(samples))
}

// keep begins the series of a group, and shows what a reload has changed.
func (m *groupMetrics) keep(gr *groupRun) {
	m.iterations.WithLabelValues(gr.key)
	m.evaluations.WithLabelValues(gr.key)
	m.failures.WithLabelValues(gr.key)
	m.interval.WithLabelValues(gr.key).Set(gr.clock.interval.Seconds())
	m.rules.WithLabelValues(gr.key).Set(float64(len(gr.rules)))
}

// drop ends the series of a group that is gone.
func (m *groupMetrics) drop(key string) {
	for _, v := range []interface{ DeleteLabelValues(...string) bool }{m.iterations, m.evaluations, m.failures, m.interval, m.rules,
		m.lastTook, m.lastRules, m.lastSamples} {
		v.DeleteLabelValues(key)
	}
}
