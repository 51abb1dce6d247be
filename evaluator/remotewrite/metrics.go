package remotewrite

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// Why samples were dropped, as the metric's label says.
const (
	dropRefused  = "refused"  // the far end will never take them
	dropArrived  = "arrived"  // refused when sent again, most likely because the first attempt had arrived
	dropOverflow = "overflow" // the queue was full
	dropExpired  = "expired"  // they waited too long
	dropStore    = "store"    // the queue could not take them
)

// metrics are the writer's own.
type metrics struct {
	samples  prometheus.Counter
	queued   prometheus.Counter
	dropped  *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, size func() oncall.QueueSize) *metrics {
	m := &metrics{
		samples: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_remote_write_samples_total", Help: "Samples that the far end acknowledged."}),
		queued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_remote_write_samples_queued_total", Help: "Samples that were put into the queue because the far end could not take them at once."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_remote_write_samples_dropped_total", Help: "Samples that are lost, by reason: refused, overflow, expired, store; arrived: refused when sent again, most likely not lost."}, []string{"reason"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_remote_write_requests_total", Help: "Requests to the far end, by outcome: sent, refused, failed."}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_remote_write_request_duration_seconds", Help: "Time to an answer of the far end, or to none.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
	}
	for _, r := range []string{dropRefused, dropArrived, dropOverflow, dropExpired, dropStore} {
		m.dropped.WithLabelValues(r)
	}
	for _, v := range []verdict{sent, refused, failed} {
		m.requests.WithLabelValues(string(v))
	}
	if reg != nil {
		reg.MustRegister(m.samples, m.queued, m.dropped, m.requests, m.duration, queueCollector(size))
	}
	return m
}

func (m *metrics) request(r request, took time.Duration, v verdict) {
	m.duration.Observe(took.Seconds())
	m.requests.WithLabelValues(string(v)).Inc()
	if v == sent {
		m.samples.Add(float64(r.samples))
	}
}

func (m *metrics) drop(reason string, samples int) {
	m.dropped.WithLabelValues(reason).Add(float64(samples))
}

var (
	batchesDesc = prometheus.NewDesc("tocsin_remote_write_queue_batches", "Batches that wait for the far end.", nil, nil)
	samplesDesc = prometheus.NewDesc("tocsin_remote_write_queue_samples", "Samples that wait for the far end.", nil, nil)
	bytesDesc   = prometheus.NewDesc("tocsin_remote_write_queue_bytes", "Size of what waits for the far end, compressed.", nil, nil)
	oldestDesc  = prometheus.NewDesc("tocsin_remote_write_queue_oldest_timestamp_seconds", "When the oldest batch was queued; 0: none waits.", nil, nil)
)

// queueCollector tells how much waits when it is asked.
type queueCollector func() oncall.QueueSize

// Describe names the metrics.
func (queueCollector) Describe(c chan<- *prometheus.Desc) {
	c <- batchesDesc
	c <- samplesDesc
	c <- bytesDesc
	c <- oldestDesc
}

// Collect reads them.
func (size queueCollector) Collect(c chan<- prometheus.Metric) {
	s := size()
	oldest := 0.0
	if !s.Oldest.IsZero() {
		oldest = float64(s.Oldest.UnixMilli()) / 1000
	}
	for desc, v := range map[*prometheus.Desc]float64{batchesDesc: float64(s.Batches), samplesDesc: float64(s.Samples), bytesDesc: float64(s.Bytes), oldestDesc: oldest} {
		c <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v)
	}
}
