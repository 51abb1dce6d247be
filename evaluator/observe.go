package evaluator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"tocsin/oncall"
)

// templateBudget bounds all queries that the templates of one evaluation make: a page must not wait long
// for its decoration.
const templateBudget = 2 * time.Second

// expander expands the templates of one evaluation of one rule. Queries are asked once per text.
type expander struct {
	b      *bound
	ctx    context.Context
	budget time.Duration   // of all queries, from the first one on
	asking context.Context // ctx with its budget; nil before the first query
	stop   context.CancelFunc
	at     time.Time
	ask    func(ctx context.Context, expr string, at time.Time) (Answer, error)
	asked  map[string]queried
	failed error // of the first query that failed
}

type queried struct {
	vec promql.Vector
	err error
}

func newExpander(ctx context.Context, b *bound, at time.Time, budget time.Duration, ask func(context.Context, string, time.Time) (Answer, error)) *expander {
	return &expander{b: b, ctx: ctx, budget: budget, at: at, ask: ask}
}

// release ends what the expander's queries hold.
func (x *expander) release() {
	if x.stop != nil {
		x.stop()
	}
}

func (x *expander) query(_ context.Context, expr string, at time.Time) (promql.Vector, error) {
	if q, ok := x.asked[expr]; ok {
		return q.vec, q.err
	}
	var q queried
	if x.asking == nil {
		x.asking, x.stop = context.WithTimeout(x.ctx, x.budget)
	}
	ans, err := x.ask(x.asking, expr, at)
	if err != nil {
		q.err = err
		if x.failed == nil {
			x.failed = err
		}
	}
	for _, s := range ans.Samples {
		q.vec = append(q.vec, promql.Sample{Metric: s.Metric, F: s.Value, H: s.Histogram, T: at.UnixMilli()})
	}
	if x.asked == nil {
		x.asked = map[string]queried{}
	}
	x.asked[expr] = q
	return q.vec, q.err
}

// expand returns text with its templates expanded, or Prometheus' words for a template that fails.
func (x *expander) expand(text string, metric map[string]string, value float64, h *histogram.FloatHistogram) string {
	return x.b.plan.templates.expand(text, expansion{
		ctx: x.ctx, name: "__alert_" + x.b.rule.Alert, metric: metric, value: value, histogram: h,
		at: model.TimeFromUnixNano(x.at.UnixNano()), query: x.query,
	})
}

// alertLabels are the labels of the alerts of one rule, as its last answer made them: a series that comes
// again costs a comparison. They belong to a plan, and to whoever holds the rule's eval.
type alertLabels struct {
	labels []alertLabel // no two with equal labels, in the order of the answer
	stable bool         // no label's template depends on more than labels
	known  bool         // stable was found out
}

type alertLabel struct{ metric, labels labels.Labels }

// samples gives every sample of an answer the labels of its alert. Equal labels are an error, as is a
// label whose template asks a query that fails: its alerts would change their identity, and resolve.
func (x *expander) samples(ans Answer) ([]oncall.Sample, error) {
	if len(ans.Samples) == 0 {
		x.b.cache.labels = nil
		return nil, nil
	}
	if out, ok := x.again(ans); ok {
		return out, nil
	}
	out := make([]oncall.Sample, 0, len(ans.Samples))
	seen := make(map[uint64]struct{}, len(ans.Samples))
	lb := labels.NewBuilder(labels.EmptyLabels())
	templated := x.templated()
	before := x.before()
	for _, s := range ans.Samples {
		ls, ok := before(s.Metric)
		if !ok {
			ls = x.labels(lb, s, templated)
		}
		if x.failed != nil {
			return nil, fmt.Errorf("a query in a label's template failed: %w", x.failed)
		}
		// By hash, as the core and the store tell alerts apart.
		hash := ls.Hash()
		if _, dup := seen[hash]; dup {
			return nil, &QueryError{Kind: RuleError, Message: fmt.Sprintf(
				"the answer has two samples that become the same alert %s: keep the label that tells them apart", ls)}
		}
		seen[hash] = struct{}{}
		out = append(out, oncall.Sample{Labels: ls, Metric: s.Metric, Value: s.Value, Histogram: s.Histogram})
	}
	x.remember(out)
	return out, nil
}

// labels makes the labels of one sample's alert.
func (x *expander) labels(lb *labels.Builder, s Sample, templated bool) labels.Labels {
	var metric map[string]string
	if templated {
		metric = s.Metric.Map()
	}
	lb.Reset(s.Metric)
	lb.Del(model.MetricNameLabel)
	x.b.rule.Labels.Range(func(l labels.Label) {
		if templated {
			lb.Set(l.Name, x.expand(l.Value, metric, s.Value, s.Histogram))
		} else {
			lb.Set(l.Name, l.Value)
		}
	})
	lb.Set(labels.AlertName, x.b.rule.Alert)
	return lb.Labels()
}

// templated reports that some label has a template, and finds out whether what was made of them may be used
// again.
func (x *expander) templated() bool {
	c := &x.b.cache
	templated, stable := false, true
	x.b.rule.Labels.Range(func(l labels.Label) {
		if strings.Contains(l.Value, "{{") {
			templated = true
			stable = stable && x.b.plan.templates.of(l.Value).stable
		}
	})
	c.stable, c.known = stable, true
	return templated
}

// again makes the samples from the labels of the answer before, where it had all of these series in this
// order, and perhaps others. No two of them are equal then.
func (x *expander) again(ans Answer) ([]oncall.Sample, bool) {
	c := &x.b.cache
	if !c.known || !c.stable || len(c.labels) < len(ans.Samples) {
		return nil, false
	}
	out := make([]oncall.Sample, 0, len(ans.Samples))
	next := 0
	for _, s := range ans.Samples {
		for next < len(c.labels) && !labels.Equal(c.labels[next].metric, s.Metric) {
			next++
		}
		if next == len(c.labels) {
			return nil, false
		}
		out = append(out, oncall.Sample{Labels: c.labels[next].labels, Metric: s.Metric, Value: s.Value, Histogram: s.Histogram})
		next++
	}
	if len(c.labels) > len(ans.Samples) {
		x.remember(out)
	}
	return out, true
}

// before returns a way to look up what the labels of a series were.
func (x *expander) before() func(labels.Labels) (labels.Labels, bool) {
	c := &x.b.cache
	if !c.stable || len(c.labels) == 0 {
		return func(labels.Labels) (labels.Labels, bool) { return labels.EmptyLabels(), false }
	}
	index := make(map[uint64]alertLabel, len(c.labels))
	for _, l := range c.labels {
		index[l.metric.Hash()] = l
	}
	return func(metric labels.Labels) (labels.Labels, bool) {
		l, ok := index[metric.Hash()]
		return l.labels, ok && labels.Equal(l.metric, metric)
	}
}

func (x *expander) remember(samples []oncall.Sample) {
	c := &x.b.cache
	if !c.stable {
		c.labels = nil
		return
	}
	if cap(c.labels) < len(samples) || cap(c.labels) > 4*len(samples)+16 {
		c.labels = make([]alertLabel, 0, len(samples))
	}
	clear(c.labels[:cap(c.labels)])
	c.labels = c.labels[:0]
	for _, s := range samples {
		c.labels = append(c.labels, alertLabel{s.Metric, s.Labels})
	}
}

// annotations expands a rule's annotations for one alert, from the sample that its transition saw.
func (x *expander) annotations(a oncall.Alert) map[string]string {
	src := x.b.rule.Annotations
	if len(src) == 0 {
		return nil
	}
	metric := a.Evidence.Metric.Map()
	out := make(map[string]string, len(src))
	for _, name := range slices.Sorted(maps.Keys(src)) {
		out[name] = x.expand(src[name], metric, a.Value, a.Histogram)
	}
	return out
}
