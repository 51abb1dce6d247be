package store

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the store's own. They exist also where nobody collects them.
type metrics struct {
	commits  prometheus.Counter
	failures prometheus.Counter
	changes  prometheus.Histogram
	duration prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_store_commits_total", Help: "Transactions committed; concurrent use cases share one.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_store_failures_total", Help: "Transactions and statements that the database failed.",
		}),
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_store_commit_changes", Help: "Rows written per commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_store_commit_duration_seconds", Help: "Time from the start of a transaction to its end.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
	}
}

// observe notes one transaction that ended. One without changes is no commit worth counting.
func (m *metrics) observe(changes int, took time.Duration, failed bool) {
	m.duration.Observe(took.Seconds())
	if failed || changes == 0 {
		return
	}
	m.commits.Inc()
	m.changes.Observe(float64(changes))
}

// register makes the metrics known, with gauges of what the store holds. undo takes all of them back.
func (m *metrics) register(r prometheus.Registerer, s *Store) (undo func() error, err error) {
	all := []prometheus.Collector{m.commits, m.failures, m.changes, m.duration, &sizes{s}}
	undo = func() error {
		for _, c := range all {
			r.Unregister(c)
		}
		return nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, errors.Join(err, undo())
		}
	}
	return undo, nil
}

// sizes counts what waits, when it is asked.
type sizes struct{ s *Store }

var sizeGauges = []struct {
	desc  *prometheus.Desc
	count string
}{
	{prometheus.NewDesc("tocsin_store_open_incidents", "Incidents that are not resolved, without drills.", nil, nil),
		"select count(*) from incidents where state <> 'resolved' and drill = 0"},
	{prometheus.NewDesc("tocsin_store_unfinished_deliveries", "Deliveries that are queued or being sent.", nil, nil),
		"select count(*) from deliveries where state in ('queued', 'sending')"},
	{prometheus.NewDesc("tocsin_store_waiting_alert_changes", "Alert changes that no incident has taken in yet.", nil, nil),
		"select count(*) from alert_changes"},
	{prometheus.NewDesc("tocsin_store_waiting_received", "Rows of the log of received alerts that the dispatcher has not taken in yet.", nil, nil),
		"select max(case name when 'received' then value else 0 end) - max(case name when 'dispatched' then value else 0 end) from counters"},
	{prometheus.NewDesc("tocsin_store_unfinished_group_deliveries", "Notifications of groups that are queued or being sent.", nil, nil),
		"select count(*) from group_deliveries where done_at = 0"},
	{prometheus.NewDesc("tocsin_store_alerts", "Alerts that are pending or firing.", nil, nil),
		"select count(*) from alerts"},
}

func (c *sizes) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range sizeGauges {
		ch <- g.desc
	}
}

func (c *sizes) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := c.s.view(ctx, func(q queryer) error {
		for _, g := range sizeGauges {
			var n int64
			if _, err := one(q, g.count, nil, &n); err != nil {
				return err
			}
			ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(n))
		}
		return nil
	})
	if err != nil {
		c.s.log.Warn("The store's sizes are unknown", "err", err)
	}
}
