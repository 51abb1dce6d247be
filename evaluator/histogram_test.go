package evaluator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/rules"
)

func histogramOf(count float64) *histogram.FloatHistogram {
	return &histogram.FloatHistogram{Count: count, Sum: 2.5 * count, PositiveSpans: []histogram.Span{{Offset: 1, Length: 1}}, PositiveBuckets: []float64{count}}
}

// mixed makes expr return values and histograms of these counts, each as a series with the label "i".
func (b *fakeBackend) mixed(expr string, values, counts map[string]float64) {
	var ans Answer
	for _, i := range []string{"a", "b", "c", "d"} {
		ls := labels.FromStrings(model.MetricNameLabel, "x", "i", i)
		if v, ok := values[i]; ok {
			ans.Samples = append(ans.Samples, Sample{Metric: ls, Value: v})
		}
		if n, ok := counts[i]; ok {
			ans.Samples = append(ans.Samples, Sample{Metric: ls, Histogram: histogramOf(n)})
		}
	}
	b.do(expr, func(time.Time) (Answer, error) { return ans, nil })
}

// TestHistogramFires: a histogram is a value like any other, and what people see of it is the histogram.
func TestHistogramFires(t *testing.T) {
	rs := group(rule(t, "A", "x", labelled("c", "{{ $value.Count }}"), func(r *rules.Rule) {
		r.Annotations = map[string]string{
			"value": "{{ $value }}", "doubled": "{{ .Value.Mul 2.0 }}", "bad": "{{ $value | humanize }}",
			"asked": `{{ range query "y" }}{{ .Value }}{{ end }}`,
		}
	}), rule(t, "B", "x", holds(time.Hour), annotated("value", "{{ $value }}")))
	inBubble(t, rs, func(r *rig) {
		r.backend.mixed("x", nil, map[string]float64{"a": 4})
		r.backend.mixed("y", nil, map[string]float64{"a": 1})
		r.pass(3 * time.Second)
		r.wantTold(0, "firing A")
		c, text := r.store.changes[0], "{count:4, sum:10, (1,2]:4}"
		if c.Value != text || c.Evidence.Value != text || c.Labels.Get("c") != "4" || c.Annotations["value"] != text ||
			c.Annotations["doubled"] != "{count:8, sum:20, (1,2]:8}" || c.Annotations["asked"] != "{count:1, sum:2.5, (1,2]:1}" ||
			!strings.Contains(c.Annotations["bad"], "<error expanding template: ") {
			t.Errorf("%+v", c)
		}
		// B goes on pending, and shows what is there now; the API has 0 for a number, as Prometheus' has.
		r.backend.mixed("x", nil, map[string]float64{"a": 6})
		r.pass(15 * time.Second)
		b := r.e.Groups()[0].Rules[1].Alerts
		if len(b) != 1 || b[0].Value != 0 || b[0].Annotations["value"] != "{count:6, sum:15, (1,2]:6}" {
			t.Errorf("%+v", b)
		}
		r.wantTold(1, "resolved A", "firing A") // with another label
		for _, c := range r.store.changes[1:] {
			if want := map[string]string{"4": text, "6": "{count:6, sum:15, (1,2]:6}"}[c.Labels.Get("c")]; c.Value != want {
				t.Errorf("%s %s with %q, want %q", c.Status, c.Labels, c.Value, want)
			}
		}
		r.backend.set("x", nil)
		r.pass(15 * time.Second)
		r.wantTold(3, "resolved A")
	})
}

// TestHistogramsAreNotCompared: a threshold passes over histograms, wherever it is tried.
func TestHistogramsAreNotCompared(t *testing.T) {
	rs := group(rule(t, "Low", "x > -5"), rule(t, "High", "x > -2", recovers(-3)), rule(t, "Under", "x < 5"))
	inBubble(t, rs, func(r *rig) {
		r.backend.mixed("x > -5", map[string]float64{"a": 1}, map[string]float64{"b": 4})
		r.backend.mixed("x < 5", map[string]float64{"a": 1}, nil)
		r.pass(3 * time.Second)
		got := r.store.told(0)
		for _, c := range r.store.changes {
			if c.Labels.Get("alertname") != "Low" && c.Labels.Get("i") != "a" {
				t.Errorf("%s", c.Labels)
			}
		}
		if want := 3; len(got) < want {
			t.Errorf("%q", got)
		}
		// What turned into a histogram no longer breaches.
		r.backend.mixed("x > -5", nil, map[string]float64{"a": 1})
		r.pass(15 * time.Second)
		if got := fmt.Sprint(r.store.told(len(got))); !strings.Contains(got, "resolved High") {
			t.Error(got)
		}
	})
}

// TestNoDataWithHistograms: a series that turned into a histogram is neither gone nor recovered, and one that was
// never a number is missed by nobody.
func TestNoDataWithHistograms(t *testing.T) {
	rs := group(rule(t, "A", "x > 80", noData(rules.NoDataAlert, 0)), rule(t, "H", "x > 90", noData(rules.NoDataHold, time.Hour)))
	inBubble(t, rs, func(r *rig) {
		ask := r.backend
		ask.mixed("x", map[string]float64{"a": 95}, map[string]float64{"b": 4})
		ask.mixed("x > 80", map[string]float64{"a": 95}, nil)
		ask.mixed("x > 90", map[string]float64{"a": 95}, nil)
		r.pass(20 * time.Second)
		told := len(r.store.told(0))
		if told != 2 {
			t.Fatalf("%q", r.store.told(0))
		}
		ask.mixed("x", nil, map[string]float64{"a": 1})
		ask.set("x > 80", nil)
		ask.set("x > 90", nil)
		r.pass(15 * time.Second)
		r.wantTold(told, "resolved A") // it is there, and does not breach; hold keeps H
		ask.set("x", nil)
		r.pass(15 * time.Second)
		r.wantTold(told+1, "firing A") // a is gone; b was never compared
		if c := r.store.changes[told+1]; c.Labels.Get("i") != "a" || c.Value != "95" {
			t.Errorf("%+v", c)
		}
	})
}

// TestHistogramsAreNotRecorded: the rule says so, and writes nothing in part.
func TestHistogramsAreNotRecorded(t *testing.T) {
	withOutputs(t, group(rule(t, "", "x", records("job:x"))), func(r *rig, rec *fakeRecorder, _ *fakeForwarder) {
		r.backend.mixed("x", map[string]float64{"a": 1}, map[string]float64{"b": 4})
		r.pass(20 * time.Second)
		s := r.e.Groups()[0].Rules[0]
		if rec.count() != 0 || s.Health != HealthErr || !strings.Contains(s.LastError, `{__name__="x", i="b"} is a native histogram`) {
			t.Errorf("%d written, %s: %s", rec.count(), s.Health, s.LastError)
		}
	})
}
