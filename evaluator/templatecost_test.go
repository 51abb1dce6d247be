package evaluator

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"pgregory.net/rapid"

	"tocsin/rules"
)

func testTemplates() *templates {
	return newTemplates(&Plan{ExternalURL: "http://tocsin/x", ExternalLabels: labels.FromStrings("cluster", "c1")})
}

var testMetric = map[string]string{"__name__": "m", "instance": "host:9100", "job": "j"}

func testExpansion(value float64) expansion {
	return expansion{ctx: context.Background(), name: "__alert_A", metric: testMetric, value: value, at: model.Time(1727096400123),
		query: func(context.Context, string, time.Time) (promql.Vector, error) {
			return promql.Vector{{Metric: labels.FromStrings("a", "b"), F: 42}}, nil
		}}
}

// alike are templates of every kind, and whether what they become may be used again while the labels stay.
var alike = []struct {
	text         string
	fast, stable bool
}{
	{"plain", true, true},
	{"{{ $labels.instance }} of {{ $labels.gone }}|{{ .Labels.job }}|{{ index $labels \"job\" }}", true, true},
	{"{{ $externalLabels.cluster }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}", true, true},
	{"{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", true, true},
	{"{{ with $labels.job }}{{ . }}{{ end }}", true, false},
	{"{{ $value }} {{ .Value | humanize }} {{ $.Value | humanizePercentage }}", true, false},
	{"{{ if gt $value 5.0 }}critical{{ else if gt $value 1.0 }}warning{{ else }}low{{ end }}", true, false},
	{"{{ printf \"%v\" . }}", true, false},
	{"{{ printf \"%v\" $ }}", true, false},
	{"{{ $x := .Value }}{{ $x }}", true, false},
	{"{{ (args 1 $value).arg1 }}", true, false},
	{"{{ $labels.job | title }}", false, false}, // title keeps state of its own
	{"{{ $labels.job | toUpper | reReplaceAll \"J\" \"K\" }}{{ safeHtml \"<b>\" }}{{ urlQueryEscape \"a b\" }}", true, true},
	{"{{ humanizeDuration 3661.5 }} {{ humanize1024 2048 }} {{ humanizeTimestamp 1e9 }} {{ parseDuration \"1m\" }} {{ toTime 1e9 }} {{ toDuration 2 }}", true, true},
	{"{{ stripPort \"a.b:1\" }} {{ stripDomain \"a.b:1\" }} {{ match \"a.*\" \"ab\" }} {{ graphLink \"up\" }} {{ tableLink \"up\" }}", true, true},
	{"{{ now | humanizeTimestamp }}", false, false},
	{"{{ query \"up\" | first | value }}", false, false},
	{"{{ range query \"up\" }}{{ .Labels.a }}{{ .Value }}{{ end }}", false, false},
	{"{{ with query \"up\" }}{{ . | first | label \"a\" }}{{ . | first | strvalue }}{{ . | sortByLabel \"a\" | first | value }}{{ end }}", false, false},
	{"{{ define \"d\" }}x{{ end }}{{ template \"d\" . }}", false, false},
	{"{{ template \"gone\" . }}", false, false},
	{"{{ index $labels 1 }}", true, true},
	{"{{ first 1 }}", true, true},
	{"{{ humanize \"x\" }}", true, true},
	{"{{ reReplaceAll \"(\" \"\" \"\" }}", true, true},
	{"{{ gone }}", false, false},
	{"{{ if }}", false, false},
	{"{{ $labels.a.b }}", true, true},
	{"{{/* only a comment */}}", true, true},
	{"{{ break }}", false, false},
}

// TestTemplatesAreParsedOnce: what is parsed once says, letter by letter, what Prometheus' expander says, errors
// included; and it is in use wherever it can be.
func TestTemplatesAreParsedOnce(t *testing.T) {
	ts := testTemplates()
	for _, tc := range alike {
		for _, value := range []float64{0.5, 7, -1e9} {
			x := testExpansion(value)
			data := template.AlertTemplateData(x.metric, ts.external, ts.url, promql.Sample{F: x.value})
			want, err := template.NewTemplateExpander(x.ctx, templateDefs+tc.text, x.name, data, x.at, x.query, ts.base, nil).Expand()
			if err != nil {
				want = fmt.Sprintf("<error expanding template: %s>", err)
			}
			if got := ts.expand(tc.text, x); got != want {
				t.Errorf("%s: %q, Prometheus says %q", tc.text, got, want)
			}
		}
		if c := ts.of(tc.text); (c.fast != nil) != tc.fast || c.stable != tc.stable {
			t.Errorf("%s: parsed once %t, stable %t", tc.text, c.fast != nil, c.stable)
		}
	}
}

var longNumber = regexp.MustCompile(`[0-9_]{4}|[0-9]e`)

// TestLabelsAreMadeOnce: whatever the answers before were, the labels of alerts are those that a rule without
// a memory makes, and two alerts with equal labels are seen.
func TestLabelsAreMadeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		static := rapid.SampledFrom([]labels.Labels{labels.EmptyLabels(), labels.FromStrings("severity", "page", "i", ""),
			labels.FromStrings("who", "{{ $labels.i }}"), labels.FromStrings("how", "{{ if gt $value 5.0 }}much{{ end }}")}).Draw(t, "labels")
		plan := &Plan{}
		plan.templates = newTemplates(plan)
		r := &rules.Rule{Alert: "A", Labels: static}
		b := &bound{plan: plan, rule: r}
		for range rapid.IntRange(1, 6).Draw(t, "answers") {
			var ans Answer
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 8), 0, 8, rapid.ID[int]).Draw(t, "series") {
				ans.Samples = append(ans.Samples, Sample{Metric: labels.FromStrings("__name__", fmt.Sprint("m", n%2), "i", fmt.Sprint(n/2)), Value: rapid.Float64Range(0, 10).Draw(t, "value")})
			}
			got, err := (&expander{b: b, ctx: context.Background()}).samples(ans)
			want, werr := (&expander{b: &bound{plan: plan, rule: r}, ctx: context.Background()}).samples(ans)
			if (err == nil) != (werr == nil) || len(got) != len(want) {
				t.Fatalf("%d samples, %v; afresh %d, %v", len(got), err, len(want), werr)
			}
			for i := range got {
				if !labels.Equal(got[i].Labels, want[i].Labels) || !labels.Equal(got[i].Metric, want[i].Metric) || got[i].Value != want[i].Value {
					t.Fatalf("%v, afresh %v", got[i], want[i])
				}
			}
		}
	})
}

// FuzzTemplate holds the two against each other on texts that nobody thought of.
func FuzzTemplate(f *testing.F) {
	for _, tc := range alike {
		f.Add(tc.text, 1.5)
	}
	f.Fuzz(func(t *testing.T, text string, value float64) {
		if len(text) > 200 || longNumber.MatchString(text) {
			return // loops in loops, and loops to a million
		}
		ts := testTemplates()
		c := ts.of(text)
		if c.fast == nil {
			return
		}
		x := testExpansion(value)
		data := template.AlertTemplateData(x.metric, ts.external, ts.url, promql.Sample{F: x.value})
		got, ok := c.execute(data)
		if !ok {
			return
		}
		want, err := template.NewTemplateExpander(x.ctx, templateDefs+text, x.name, data, x.at, x.query, ts.base, nil).Expand()
		if err != nil || got != want {
			t.Errorf("%q: %q, Prometheus says %q, %v", text, got, want, err)
		}
		if again, _ := c.execute(template.AlertTemplateData(x.metric, ts.external, ts.url, promql.Sample{F: -value - 1})); c.stable && again != got {
			t.Errorf("%q is called stable, and is %q, then %q", text, got, again)
		}
	})
}

func BenchmarkTemplate(b *testing.B) {
	const text = "Session memory at {{ $value | humanizePercentage }} on {{ $labels.instance }}"
	ts, x := testTemplates(), testExpansion(0.81)
	b.Run("parsed-once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ts.expand(text, x)
		}
	})
	b.Run("Prometheus-expander", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data := template.AlertTemplateData(x.metric, ts.external, ts.url, promql.Sample{F: x.value})
			_, _ = template.NewTemplateExpander(x.ctx, templateDefs+text, x.name, data, x.at, x.query, ts.base, nil).Expand()
		}
	})
}
