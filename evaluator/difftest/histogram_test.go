package difftest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// histogramRules have native histograms for values, or meet some where they compare numbers.
const histogramRules = `
groups:
- name: g
  rules:
  - alert: Heartbeat
    expr: difftest_heartbeat
  - alert: Grows
    expr: lat
    for: 20s
    keep_firing_for: 20s
    annotations:
      value: '{{ $value }} {{ .Value.Count }}'
      error: '{{ $value | humanize }}'
      asked: '{{ range query "lat" }}{{ .Labels.i }}={{ .Value }} {{ end }}'
  - alert: Label
    expr: rate(lat[1m])
    labels: {count: '{{ $value.Count | humanize }}'}
  - alert: Loose
    expr: lat >= 0
  - alert: Tight
    expr: lat > 5
  - alert: Above
    expr: histogram_quantile(0.9, lat) > 1
`

func drawn(n float64, custom bool) *histogram.FloatHistogram {
	if custom {
		return &histogram.FloatHistogram{Schema: histogram.CustomBucketsSchema, Count: 3 * n, Sum: n, CustomValues: []float64{0.1, 0.25, 2.5},
			PositiveSpans: []histogram.Span{{Length: 4}}, PositiveBuckets: []float64{0, n, 0, 2 * n}}
	}
	return &histogram.FloatHistogram{Schema: 2, Count: 6 * n, Sum: 4 * n, ZeroThreshold: 0.001, ZeroCount: n,
		PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 3, Length: 1}}, PositiveBuckets: []float64{n, n, 2 * n},
		NegativeSpans: []histogram.Span{{Offset: 1, Length: 1}}, NegativeBuckets: []float64{n}}
}

// TestHistograms: rules on histograms do in tocsin what they do in Prometheus, beside series that are numbers
// and one that changes from one to the other.
func TestHistograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		data := database{
			{labels: labels.FromStrings(model.MetricNameLabel, "lat", "i", "custom")},
			{labels: labels.FromStrings(model.MetricNameLabel, "lat", "i", "fine")},
			{labels: labels.FromStrings(model.MetricNameLabel, "lat", "i", "mixed")},
			{labels: labels.FromStrings(model.MetricNameLabel, "lat", "i", "number")},
		}
		start := time.Now()
		for i := range 40 {
			at, n := start.Add(time.Duration(i)*interval/2).UnixMilli(), float64(1+i)
			add := func(s int, p point) { data[s].points = append(data[s].points, p) }
			add(0, point{t: at, h: drawn(n, true)})
			if i < 20 || i > 25 {
				add(1, point{t: at, h: drawn(n, false)})
			}
			if i%12 < 6 {
				add(2, point{t: at, h: drawn(n, false)})
			} else {
				add(2, point{t: at, f: n})
			}
			add(3, point{t: at, f: n})
		}
		w, err := newWorld(t.Context(), histogramRules, interval, newSource(data, interval))
		if err != nil {
			t.Fatal(err)
		}
		for range 15 {
			for _, p := range w.step() {
				t.Error(p)
			}
			for _, r := range w.ours.Groups()[0].Rules {
				if r.LastError != "" {
					t.Errorf("%s: %s", r.Name, r.LastError)
				}
			}
		}
		if err := w.halt(); err != nil {
			t.Fatal(err)
		}
		if w.transitions < 10 {
			t.Errorf("only %d transitions", w.transitions)
		}
	})
}
