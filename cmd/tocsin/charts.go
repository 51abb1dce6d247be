package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/evaluator"
	promquery "tocsin/evaluator/prometheus"
	"tocsin/notifier/chart"
	"tocsin/oncall"
)

// chartSource asks for the data of charts where the rule behind an alert is asked: at its backend, with its tenant's
// headers. It follows the configuration in force.
type chartSource struct{ d *daemon }

// Series implements slack.Series.
func (s chartSource) Series(ctx context.Context, of oncall.Evidence, expr string, from, to time.Time, step time.Duration) ([]chart.Series, error) {
	g := s.d.live.Load()
	if g == nil {
		return nil, errors.New("no configuration is in force")
	}
	for _, group := range g.plan.Rules.Groups {
		if group.Name != of.Group || group.File != of.File {
			continue
		}
		name := group.Prometheus
		if name == "" {
			name = g.plan.Prometheus.Name
		}
		client := g.backends[name]
		if client == nil {
			break
		}
		all, err := client.QueryRange(evaluator.WithHeaders(ctx, group.Headers), promquery.Range{Expr: expr, From: from, To: to, Step: step})
		if errors.Is(err, promquery.ErrTooManySeries) {
			err = fmt.Errorf("%w: %w", chart.ErrTooMany, err)
		}
		return seriesOf(all), err
	}
	return nil, fmt.Errorf("the rule group %s of %s is not configured any more", of.Group, of.File)
}

func seriesOf(all []promquery.RangeSeries) []chart.Series {
	out := make([]chart.Series, len(all))
	for i, s := range all {
		out[i] = chart.Series{Labels: s.Labels, Points: make([]chart.Point, len(s.Times))}
		for j, at := range s.Times {
			out[i].Points[j] = chart.Point{At: at, Value: s.Values[j]}
		}
	}
	return out
}
