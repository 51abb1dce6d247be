package evaluator

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/rules"
)

const (
	// noDataWindow is for how long a series that is gone counts as breaching (no_data: alert).
	noDataWindow = time.Hour
	// lookBackStep is how closely the last hour is looked at after a start.
	lookBackStep = time.Minute
	// noDataAnnotation says of an alert that its series is gone.
	noDataAnnotation = "no_data"
)

// memory is what a rule with no_data: alert remembers of its vector.
type memory struct {
	vector string // what it is about; another expression begins anew
	series map[uint64]remembered
}

type remembered struct {
	Sample
	at time.Time // evaluation that saw it last
}

// seriesKey identifies a series of a vector. The name does not count: it is not an alert's either.
func seriesKey(ls labels.Labels, buf []byte) (uint64, []byte) {
	return ls.HashWithoutLabels(buf)
}

// mute reports a sample that says nothing of its threshold: NaN, and a native histogram, fail every comparison.
func mute(s *Sample) bool { return s.Histogram != nil || math.IsNaN(s.Value) }

// remember notes what the vector returned at the instant at, and returns what is gone.
func (m *memory) remember(samples []Sample, at time.Time) (gone []remembered) {
	var buf []byte
	var key uint64
	for _, s := range samples {
		key, buf = seriesKey(s.Metric, buf)
		switch r, known := m.series[key]; {
		case known && mute(&s):
			s = r.Sample // it is there, but its value says nothing
		case s.Histogram != nil:
			continue // it was never compared, and nobody misses it
		}
		m.series[key] = remembered{s, at}
	}
	for key, r := range m.series {
		switch age := at.Sub(r.at); {
		case age >= noDataWindow || age < 0:
			delete(m.series, key)
		case age > 0:
			gone = append(gone, r)
		}
	}
	return gone
}

// recall remembers what the alerts of an earlier process say is gone, where the backend does not know it.
func (m *memory) recall(alerts []oncall.Alert, expr string) {
	var buf []byte
	var key uint64
	for i := range alerts {
		a := &alerts[i]
		if a.NoDataSince.IsZero() || a.Evidence.Expr != expr {
			continue
		}
		key, buf = seriesKey(a.Evidence.Metric, buf)
		if _, known := m.series[key]; !known {
			m.series[key] = remembered{Sample{Metric: a.Evidence.Metric, Value: a.Value}, a.NoDataSince}
		}
	}
}

// lookBack asks what the vector returned in the last hour, so that a series that vanished while nobody
// looked is known to be gone. It is asked once, at the first evaluation after a start or a new expression.
func (g *generation) lookBack(ctx context.Context, b *bound, at time.Time, t terms) (*memory, error) {
	m := &memory{vector: b.ask.vector, series: map[uint64]remembered{}}
	step := max(g.plan.interval(b.group), lookBackStep)
	window := fmt.Sprintf("[%s:%s]", model.Duration(noDataWindow), model.Duration(step))
	asked := at.Add(-b.group.QueryOffset)
	times, err := g.ask(ctx, b, fmt.Sprintf("max_over_time(timestamp(%s)%s)", b.ask.vector, window), asked, t)
	if err != nil {
		return m, err
	}
	values, err := g.ask(ctx, b, fmt.Sprintf("last_over_time(%s%s)", b.ask.vector, window), asked, t)
	if err != nil {
		return m, err
	}
	var buf []byte
	var key uint64
	last := map[uint64]float64{}
	histograms := map[uint64]bool{} // remember passes them over too
	for _, s := range values.Samples {
		key, buf = seriesKey(s.Metric, buf)
		last[key] = s.Value
		if s.Histogram != nil {
			histograms[key] = true
		}
	}
	for _, s := range times.Samples {
		key, buf = seriesKey(s.Metric, buf)
		if histograms[key] {
			continue
		}
		seen := time.UnixMilli(int64(s.Value * 1000)).UTC().Add(b.group.QueryOffset)
		m.series[key] = remembered{Sample{Metric: s.Metric, Value: last[key]}, seen}
	}
	return m, nil
}

// missing reports whether some alert that no_data: hold protects is not in the observation.
func missing(alerts []oncall.Alert, obs *oncall.Observation) bool {
	if len(alerts) == 0 {
		return false
	}
	seen := make(map[uint64]struct{}, len(obs.Samples))
	for i := range obs.Samples {
		seen[obs.Samples[i].Labels.Hash()] = struct{}{}
	}
	for i := range alerts {
		if _, ok := seen[alerts[i].Labels.Hash()]; !ok && alerts[i].KeepFiringSince.IsZero() {
			return true
		}
	}
	return false
}

// anyGone reports whether some alert is held already: then the vector is asked at once.
func (s alertSet) anyGone() bool {
	for i := range s.list {
		if s.list[i].noData != 0 {
			return true
		}
	}
	return false
}

// present has the hashes of the alerts whose series the vector returned. NaN and histograms say nothing of recovery.
func present(alerts []oncall.Alert, vector []Sample) map[uint64]struct{} {
	var buf []byte
	var key uint64
	there := make(map[uint64]struct{}, len(vector))
	for _, s := range vector {
		if !mute(&s) {
			key, buf = seriesKey(s.Metric, buf)
			there[key] = struct{}{}
		}
	}
	healthy := map[uint64]struct{}{}
	for i := range alerts {
		key, buf = seriesKey(alerts[i].Evidence.Metric, buf)
		if _, ok := there[key]; ok {
			healthy[alerts[i].Labels.Hash()] = struct{}{}
		}
	}
	return healthy
}

// noDataFor is how long the core is to hold alerts of a rule.
func noDataFor(r *rules.Rule) time.Duration {
	switch {
	case r.NoData != rules.NoDataHold:
		return 0
	case r.NoDataFor > 0:
		return r.NoDataFor
	}
	return rules.DefaultNoDataFor
}

// sayGone adds to an alert's annotations that it is about a series that is gone.
func sayGone(a oncall.Alert, annotations map[string]string) map[string]string {
	if a.NoDataSince.IsZero() {
		return annotations
	}
	out := make(map[string]string, len(annotations)+1)
	for name, text := range annotations {
		out[name] = text
	}
	if _, written := out[noDataAnnotation]; !written {
		out[noDataAnnotation] = fmt.Sprintf("no sample since %s; the last value was %s",
			a.NoDataSince.UTC().Format(time.RFC3339), oncall.FormatValue(a.Value))
	}
	return out
}

// observe makes an observation of an answer: the alerts of its samples, those that recover keeps, those that
// no_data keeps.
func (x *expander) observe(obs *oncall.Observation, p picked, gone []remembered) (err error) {
	obs.Partial = p.partial
	if obs.Samples, err = x.samples(Answer{Samples: p.breach}); err != nil {
		return err
	}
	alerts := x.b.state.alerts
	if p.whole && x.b.rule.NoData == rules.NoDataHold {
		obs.Healthy = present(alerts.lean(), p.all)
	}
	if len(p.band) == 0 && len(gone) == 0 {
		return nil
	}
	if len(gone) == 0 && alerts.len() == 0 {
		return nil // nobody fires whom the band could keep
	}
	seen := make(map[uint64]struct{}, len(obs.Samples))
	for i := range obs.Samples {
		seen[obs.Samples[i].Labels.Hash()] = struct{}{}
	}
	// Two samples that become one alert are an error where both breach, as in Prometheus, and nowhere else.
	lb, templated := labels.NewBuilder(labels.EmptyLabels()), x.templated()
	add := func(s Sample, mark oncall.Sample) {
		ls := x.labels(lb, s, templated)
		if _, dup := seen[ls.Hash()]; dup {
			return
		}
		seen[ls.Hash()] = struct{}{}
		mark.Labels, mark.Metric, mark.Value = ls, s.Metric, s.Value // never a histogram
		obs.Samples = append(obs.Samples, mark)
	}
	for _, s := range p.band {
		add(s, oncall.Sample{Band: true})
	}
	for _, r := range gone {
		add(r.Sample, oncall.Sample{LastSeen: r.at})
	}
	if x.failed != nil {
		return fmt.Errorf("a query in a label's template failed: %w", x.failed)
	}
	return nil
}
