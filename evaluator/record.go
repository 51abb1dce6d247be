package evaluator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"tocsin/oncall"
	"tocsin/rules"
)

// What alerting rules write, as Prometheus does.
const (
	alertsMetric   = "ALERTS"
	forStateMetric = "ALERTS_FOR_STATE"
	stateLabel     = "alertstate"
)

// staleNaN ends a series.
var staleNaN = math.Float64frombits(value.StaleNaN)

// record evaluates a recording rule: its series are written before the next rule of the group runs. s.eval
// is held.
func (g *generation) record(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration) error {
	s := b.state
	s.begun++
	start := time.Now()
	ans, err := g.asked(ctx, b, b.ask.exact, at, it, timeout)
	if err == nil && ans.Partial != "" {
		err = &QueryError{Kind: BackendError, Message: "the answer is partial: " + ans.Partial}
	}
	var series []Series
	if err == nil {
		series, err = recorded(b.rule, ans.Samples, at.Add(-b.group.QueryOffset), b.group.Limit)
	}
	if err == nil {
		err = g.write(ctx, b, at, series, timeout-time.Since(start))
	}
	if ctx.Err() != nil {
		return nil
	}
	g.e.metrics.evaluated(time.Since(start)+it.headStart(), err)
	s.lastAt, s.yielded = at, len(series)
	settle := func() bool {
		return g.settle(ctx, s, func() outcome {
			out := outcome{health: oncall.RuleHealth{Rule: b.rule.ID}}
			if err != nil {
				out.health = failing(b.rule.ID, s.health, at, err.Error())
			}
			out.ev.At = at
			if out.health != s.health && (err != nil || !s.health.FailingSince.IsZero()) {
				out.ev.Health = []oncall.RuleHealth{out.health}
			}
			return out
		})
	}
	if begun := s.begun; !settle() {
		g.wg.Go(func() { g.retry(ctx, s, begun, settle) })
	}
	return err
}

// recorded turns an answer into the series of a recording rule.
func recorded(r *rules.Rule, samples []Sample, at time.Time, limit int) ([]Series, error) {
	out := make([]Series, 0, len(samples))
	seen := make(map[uint64]struct{}, len(samples))
	lb := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range samples {
		if s.Histogram != nil {
			return nil, &QueryError{Kind: RuleError, Message: fmt.Sprintf(
				"%s is a native histogram, which cannot be recorded: record its histogram_quantile, histogram_count, histogram_sum or the like", s.Metric)}
		}
		lb.Reset(s.Metric)
		lb.Set(model.MetricNameLabel, r.Record)
		r.Labels.Range(func(l labels.Label) { lb.Set(l.Name, l.Value) })
		ls := lb.Labels()
		if _, dup := seen[ls.Hash()]; dup {
			return nil, &QueryError{Kind: RuleError, Message: fmt.Sprintf(
				"the answer has two samples that become the same series %s: keep the label that tells them apart", ls)}
		}
		seen[ls.Hash()] = struct{}{}
		out = append(out, Series{Labels: ls, T: at.UnixMilli(), V: s.Value})
	}
	if limit > 0 && len(out) > limit {
		return nil, &QueryError{Kind: RuleError, Message: fmt.Sprintf("exceeded the group's limit of %d with %d series", limit, len(out))}
	}
	return out, nil
}

// alertSeries are ALERTS and ALERTS_FOR_STATE of the alerts of one rule.
func alertSeries(alerts []oncall.Alert, at time.Time) []Series {
	out := make([]Series, 0, 2*len(alerts))
	lb := labels.NewBuilder(labels.EmptyLabels())
	for i := range alerts {
		a := &alerts[i]
		lb.Reset(a.Labels)
		lb.Set(model.MetricNameLabel, forStateMetric)
		forState := Series{Labels: lb.Labels(), T: at.UnixMilli(), V: float64(a.ActiveAt.Unix())}
		lb.Set(model.MetricNameLabel, alertsMetric)
		lb.Set(stateLabel, string(a.State))
		out = append(out, Series{Labels: lb.Labels(), T: at.UnixMilli(), V: 1}, forState)
	}
	return out
}

// writeAlerts writes what one evaluation made of an alerting rule. That it cannot be written is shown, and
// changes nothing else: the alerts are committed.
func (g *generation) writeAlerts(ctx context.Context, b *bound, at time.Time, series []Series, timeout time.Duration) {
	err := g.write(ctx, b, at, series, timeout)
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	s := b.state
	s.mu.Lock()
	was := s.writeError
	s.writeError = text
	s.mu.Unlock()
	if text != "" && was == "" {
		g.e.log.Warn("Cannot write ALERTS of a rule; its alerts are not affected", "rule", b.rule.ID, "err", err)
	}
}

// wrote notes what an earlier process has written, for its end. Nobody else uses s yet.
func (s *ruleState) wrote(series []Series) {
	s.series = make(map[uint64]labels.Labels, len(series))
	for i := range series {
		s.series[series[i].Labels.Hash()] = series[i].Labels
	}
}

// write writes series, and ends those of the rule's last evaluation that are not among them.
func (g *generation) write(ctx context.Context, b *bound, at time.Time, series []Series, timeout time.Duration) error {
	s := b.state
	if g.recorder == nil {
		return &QueryError{Kind: RuleError, Message: "there is nowhere to write it: the configuration has no remote_write"}
	}
	ctx, cancel := context.WithTimeout(ctx, max(timeout, time.Second))
	defer cancel()
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		g.e.metrics.writeFailures.Inc()
		return writeError(ctx.Err())
	}
	if !at.After(s.wroteAt) && time.Until(s.wroteAt) < g.plan.interval(b.group) {
		return nil // this instant is written, or a later one; else the clock was set back
	}
	s.offset = b.group.QueryOffset
	now := make(map[uint64]labels.Labels, len(series))
	for i := range series {
		now[series[i].Labels.Hash()] = series[i].Labels
	}
	for hash, ls := range s.series {
		if _, still := now[hash]; !still {
			series = append(series, Series{Labels: ls, T: at.Add(-s.offset).UnixMilli(), V: staleNaN})
		}
	}
	if len(series) > 0 {
		if err := g.recorder.Write(ctx, series); err != nil {
			g.e.metrics.writeFailures.Inc()
			for hash, ls := range s.series { // nobody knows what arrived: all of it is ended later
				now[hash] = ls
			}
			s.series = now
			return writeError(err)
		}
	}
	s.series, s.wroteAt = now, at
	return nil
}

func writeError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &QueryError{Kind: BackendError, Message: "its series could not be written in time", Cause: err}
	}
	return &QueryError{Kind: BackendError, Message: "its series could not be written: " + err.Error(), Cause: err}
}

// endSeries ends the series of a rule that is gone.
func (g *generation) endSeries(ctx context.Context, s *ruleState, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return writeError(ctx.Err())
	}
	if len(s.series) == 0 || g.recorder == nil {
		return nil
	}
	var ends []Series
	for _, ls := range s.series {
		ends = append(ends, Series{Labels: ls, T: at.Add(-s.offset).UnixMilli(), V: staleNaN})
	}
	if err := g.recorder.Write(ctx, ends); err != nil {
		g.e.metrics.writeFailures.Inc()
		return writeError(err)
	}
	s.series = nil
	return nil
}

// forward sends on what fires or resolved with an evaluation of s that is committed. An alert is its label set
// there: it resolves with the last rule that it fires by.
func (g *generation) forward(s *ruleState, out outcome) {
	if g.forwarder == nil || len(out.ev.Changes) == 0 {
		return
	}
	interval := out.interval
	if interval <= 0 {
		interval = g.plan.interval(&rules.Group{})
	}
	var alerts []Forwarded
	elsewhere := map[string]map[uint64]struct{}{} // by alertname
	for i := range out.ev.Changes {
		c := &out.ev.Changes[i]
		f := Forwarded{Labels: c.Labels, Annotations: c.Annotations, StartsAt: c.StartsAt, GeneratorURL: c.GeneratorURL, Interval: interval}
		switch c.Status {
		case oncall.ChangeFiring:
		case oncall.ChangeResolved:
			name := c.Labels.Get(labels.AlertName)
			if elsewhere[name] == nil {
				elsewhere[name] = g.firing(name, s)
			}
			if _, fires := elsewhere[name][c.Labels.Hash()]; fires {
				continue
			}
			f.EndsAt = out.ev.At
		default:
			continue
		}
		alerts = append(alerts, f)
	}
	if len(alerts) > 0 {
		g.forwarder.Forward(alerts)
	}
}

// firing has the hashes of the alerts of this name that fire by other rules than that of s, as they are sent.
func (g *generation) firing(name string, s *ruleState) map[uint64]struct{} {
	found := map[uint64]struct{}{}
	for _, b := range g.rules {
		if b.rule.Alert != name || b.state == s {
			continue
		}
		set, _, _ := b.state.read()
		for _, a := range set.lean() {
			if a.State == oncall.StateFiring {
				found[withExternal(a.Labels, a.External).Hash()] = struct{}{}
			}
		}
	}
	return found
}
