package alertmanager

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	plain     *prometheus.CounterVec
	abandoned *prometheus.CounterVec
}

// newMetrics makes the metrics, or takes those of the generation before: they count on over a reload.
func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		plain: counter(r, prometheus.CounterOpts{Name: "tocsin_alertmanager_template_failures_total",
			Help: "Messages that went out as plain text because a template failed."}),
		abandoned: counter(r, prometheus.CounterOpts{Name: "tocsin_alertmanager_abandoned_attempts_total",
			Help: "Attempts that did not come back when they were told to, and were left behind."}),
	}
}

func counter(r prometheus.Registerer, o prometheus.CounterOpts) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(o, []string{"integration"})
	if r == nil {
		return c
	}
	if err := r.Register(c); err != nil {
		if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			return there.ExistingCollector.(*prometheus.CounterVec)
		}
	}
	return c
}
