package evaluator

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"

	"tocsin/oncall"
)

// templateBudget bounds all queries that the templates of one evaluation make: a page must not wait long
// for its decoration.
const templateBudget = 2 * time.Second

// templateDefs are the variables that Prometheus declares for every alert template.
const templateDefs = `{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}`

// expander expands the templates of one evaluation of one rule. Queries are asked once per text.
type expander struct {
	b        *bound
	ctx      context.Context
	at       time.Time
	base     *url.URL
	external map[string]string
	ask      func(ctx context.Context, expr string, at time.Time) (Answer, error)
	asked    map[string]queried
	failed   error // of the first query that failed
}

type queried struct {
	vec promql.Vector
	err error
}

func newExpander(ctx context.Context, b *bound, at time.Time, ask func(context.Context, string, time.Time) (Answer, error)) *expander {
	base, err := url.Parse(b.plan.ExternalURL)
	if err != nil {
		base = &url.URL{}
	}
	return &expander{b: b, ctx: ctx, at: at, base: base, ask: ask, asked: map[string]queried{},
		external: b.plan.ExternalLabels.Map()}
}

func (x *expander) query(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	if q, ok := x.asked[expr]; ok {
		return q.vec, q.err
	}
	var q queried
	ans, err := x.ask(ctx, expr, at)
	if err != nil {
		q.err = err
		if x.failed == nil {
			x.failed = err
		}
	}
	for _, s := range ans.Samples {
		q.vec = append(q.vec, promql.Sample{Metric: s.Metric, F: s.Value, T: at.UnixMilli()})
	}
	x.asked[expr] = q
	return q.vec, q.err
}

// expand returns text with its templates expanded, or Prometheus' words for a template that fails.
func (x *expander) expand(text string, metric map[string]string, value float64) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	data := template.AlertTemplateData(metric, x.external, x.b.plan.ExternalURL, promql.Sample{F: value})
	// The name appears in messages about failing templates, as it does in Prometheus.
	t := template.NewTemplateExpander(x.ctx, templateDefs+text, "__alert_"+x.b.rule.Alert, data,
		model.TimeFromUnixNano(x.at.UnixNano()), x.query, x.base, nil)
	out, err := t.Expand()
	if err != nil {
		return fmt.Sprintf("<error expanding template: %s>", err)
	}
	return out
}

// samples gives every sample of an answer the labels of its alert. Equal labels are an error, as is a
// label whose template asks a query that fails: its alerts would change their identity, and resolve.
func (x *expander) samples(ans Answer) ([]oncall.Sample, error) {
	out := make([]oncall.Sample, 0, len(ans.Samples))
	seen := make(map[string]struct{}, len(ans.Samples))
	lb := labels.NewBuilder(labels.EmptyLabels())
	templated := false
	x.b.rule.Labels.Range(func(l labels.Label) { templated = templated || strings.Contains(l.Value, "{{") })
	for _, s := range ans.Samples {
		var metric map[string]string
		if templated {
			metric = s.Metric.Map()
		}
		lb.Reset(s.Metric)
		lb.Del(labels.MetricName)
		x.b.rule.Labels.Range(func(l labels.Label) { lb.Set(l.Name, x.expand(l.Value, metric, s.Value)) })
		lb.Set(labels.AlertName, x.b.rule.Alert)
		if x.failed != nil {
			return nil, fmt.Errorf("a query in a label's template failed: %w", x.failed)
		}
		ls := lb.Labels()
		key := string(oncall.FingerprintOf(ls))
		if _, dup := seen[key]; dup {
			return nil, &QueryError{Kind: RuleError, Message: fmt.Sprintf(
				"the answer has two samples that become the same alert %s: keep the label that tells them apart", ls)}
		}
		seen[key] = struct{}{}
		out = append(out, oncall.Sample{Labels: ls, Metric: s.Metric, Value: s.Value})
	}
	return out, nil
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
		out[name] = x.expand(src[name], metric, a.Value)
	}
	return out
}
