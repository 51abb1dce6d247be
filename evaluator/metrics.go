package evaluator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// metrics are the evaluator's own. Groups are labelled "file;name", as in Prometheus.
type metrics struct {
	evaluations    prometheus.Counter
	failures       *prometheus.CounterVec
	duration       prometheus.Histogram
	missedTotal    *prometheus.CounterVec
	last           *prometheus.GaugeVec
	commitFailures prometheus.Counter
	writeFailures  prometheus.Counter

	group groupMetrics

	groups map[string]bool // with series; changed between generations only
}

func newMetrics(reg prometheus.Registerer, count func() (pending, firing, unknown int)) *metrics {
	m := &metrics{
		evaluations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_evaluator_evaluations_total", Help: "Evaluations of single rules."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluator_evaluation_failures_total", Help: "Evaluations without a usable answer, by whose fault it was: rule or backend."}, []string{"kind"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_evaluator_evaluation_duration_seconds", Help: "Time to ask for one rule, its label templates included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
		missedTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluator_group_iterations_missed_total", Help: "Slots that passed while the group was still busy."}, []string{"rule_group"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_evaluator_group_last_evaluation_timestamp_seconds", Help: "Evaluation timestamp of the group's last complete evaluation."}, []string{"rule_group"}),
		commitFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_evaluator_commit_failures_total", Help: "Evaluations that the store did not take; each is tried again."}),
		writeFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_evaluator_write_failures_total", Help: "Evaluations whose series (recording rules, ALERTS) could be neither delivered nor queued."}),
		groups: map[string]bool{},
	}
	m.group = newGroupMetrics(reg)
	m.failures.WithLabelValues(string(RuleError))
	m.failures.WithLabelValues(string(BackendError))
	if reg != nil {
		reg.MustRegister(m.evaluations, m.failures, m.duration, m.missedTotal, m.last, m.commitFailures, m.writeFailures, alertCollector(count))
	}
	return m
}

func (m *metrics) evaluated(took time.Duration, err error) {
	m.evaluations.Inc()
	m.duration.Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues(string(kindOf(err))).Inc()
	}
}

// missed counts slots that passed: as iterations too, as Prometheus does.
func (m *metrics) missed(group string, n int) {
	m.missedTotal.WithLabelValues(group).Add(float64(n))
	m.group.iterations.WithLabelValues(group).Add(float64(n))
}

func (m *metrics) lastEvaluation(group string, at time.Time) {
	m.last.WithLabelValues(group).Set(float64(at.UnixMilli()) / 1000)
}

// keepGroups drops the series of groups that are gone, and begins those of new ones.
func (m *metrics) keepGroups(groups []*groupRun) {
	keep := map[string]bool{}
	for _, g := range groups {
		keep[g.key] = true
		m.missedTotal.WithLabelValues(g.key)
		m.group.keep(g)
	}
	for key := range m.groups {
		if !keep[key] {
			m.missedTotal.DeleteLabelValues(key)
			m.last.DeleteLabelValues(key)
			m.group.drop(key)
		}
	}
	m.groups = keep
}

var alertsDesc = prometheus.NewDesc("tocsin_evaluator_alerts", "Alerts of evaluated rules, by state; unknown counts those of the others whose query fails.", []string{"state"}, nil)

// alertCollector counts alerts when asked.
type alertCollector func() (pending, firing, unknown int)

func (alertCollector) Describe(c chan<- *prometheus.Desc) { c <- alertsDesc }

func (count alertCollector) Collect(c chan<- prometheus.Metric) {
	pending, firing, unknown := count()
	for state, n := range map[string]int{"pending": pending, "firing": firing, "unknown": unknown} {
		c <- prometheus.MustNewConstMetric(alertsDesc, prometheus.GaugeValue, float64(n), state)
	}
}

func (e *Evaluator) countAlerts() (pending, firing, unknown int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.states {
		set, _, _ := s.read()
		for i := range set.list {
			if set.list[i].common.state == oncall.StatePending {
				pending++
			} else {
				firing++
			}
			if set.list[i].unknown != 0 {
				unknown++
			}
		}
	}
	return pending, firing, unknown
}
