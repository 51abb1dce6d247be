package evaluator

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// filled is an alert of which no field is zero, whatever fields there are.
func filled(t *testing.T) oncall.Alert {
	t.Helper()
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		n++
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(time.Unix(1_700_000_000, int64(n)).UTC()))
			return
		case labels.Labels:
			v.Set(reflect.ValueOf(labels.FromStrings("n", fmt.Sprint(n))))
			return
		case *histogram.FloatHistogram:
			v.Set(reflect.ValueOf(&histogram.FloatHistogram{Count: float64(n)}))
			return
		}
		switch v.Kind() {
		case reflect.String:
			v.SetString(fmt.Sprint("text ", n))
		case reflect.Float64:
			v.SetFloat(float64(n))
		case reflect.Int64:
			v.SetInt(int64(n))
		case reflect.Map:
			v.Set(reflect.ValueOf(map[string]string{"summary": fmt.Sprint("text ", n), "empty": "", "": "x"}))
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		default:
			t.Fatalf("an alert has a %s now: teach packedAlert, and this test", v.Type())
		}
	}
	var a oncall.Alert
	fill(reflect.ValueOf(&a).Elem())
	return a
}

// TestNothingOfAnAlertIsLost: a field that is added to oncall.Alert must be added to packedAlert too.
func TestNothingOfAnAlertIsLost(t *testing.T) {
	a := filled(t)
	got := packAlerts([]oncall.Alert{a, {}, a}).full()
	if diff := cmp.Diff([]oncall.Alert{a, {}, a}, got, cmp.Comparer(labels.Equal)); diff != "" {
		t.Error(diff)
	}
	got = packAlerts([]oncall.Alert{a}).lean()
	a.Annotations = nil
	if diff := cmp.Diff([]oncall.Alert{a}, got, cmp.Comparer(labels.Equal)); diff != "" {
		t.Error(diff)
	}
}

// TestSteppingASet: a rule whose alerts are kept packed goes through the same steps as one whose alerts are kept
// as they are.
func TestSteppingASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timing := oncall.RuleTiming{Rule: "r", For: rapid.SampledFrom([]time.Duration{0, 2 * time.Minute}).Draw(t, "for"),
			KeepFiringFor: rapid.SampledFrom([]time.Duration{0, 2 * time.Minute}).Draw(t, "keep_firing_for")}
		note := func(at time.Time) func(oncall.Alert) map[string]string {
			return func(a oncall.Alert) map[string]string {
				return map[string]string{"summary": fmt.Sprint(a.Labels, a.Value, at.Minute())}
			}
		}
		var plain []oncall.Alert
		var set alertSet
		at := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 8).Draw(t, "evaluations") {
			at = at.Add(time.Minute)
			obs := oncall.Observation{At: at, External: labels.FromStrings("cluster", "c1"), Evidence: oncall.Evidence{Group: "g", Expr: "x", At: at}}
			if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
				obs.Failed = "no"
			}
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 0, 6, rapid.ID[int]).Draw(t, "series") {
				ls := labels.FromStrings("i", fmt.Sprint(n))
				obs.Samples = append(obs.Samples, oncall.Sample{Labels: ls, Metric: ls, Value: rapid.Float64Range(0, 9).Draw(t, "value")})
			}
			want := oncall.StepRule(timing, plain, obs)
			want.Annotate(note(at))
			got := set.step(timing, obs)
			set.annotate(&got)
			got.Annotate(note(at))
			set = set.next(got.Alerts, got.Upserts, false)
			plain = want.Alerts
			for _, pair := range [][2]any{{plain, set.full()}, {pick(want.Alerts, want.Upserts), pick(got.Alerts, got.Upserts)}, {want.Changes, got.Changes}, {want.Deletes, got.Deletes}, {want.Transitions, got.Transitions}} {
				if asJSON(t, pair[0]) != asJSON(t, pair[1]) {
					t.Fatalf("packed:\n%s\nas they are:\n%s", asJSON(t, pair[1]), asJSON(t, pair[0]))
				}
			}
			for i, a := range set.full() {
				if a.Value != plain[i].Value || a.Latest != plain[i].Latest {
					t.Fatalf("%v, want %v", a, plain[i])
				}
			}
		}
	})
}

func pick(alerts []oncall.Alert, indices []int) []oncall.Alert {
	var out []oncall.Alert
	for _, i := range indices {
		out = append(out, alerts[i])
	}
	return out
}

func asJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) == "null" {
		return "[]"
	}
	return string(b)
}

func TestTextsArePacked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.MapOfN(rapid.String(), rapid.OneOf(rapid.String(), rapid.StringN(200, 300, -1)), 1, 5).Draw(t, "texts")
		if diff := cmp.Diff(texts, unpackTexts(packTexts(texts))); diff != "" {
			t.Fatal(diff)
		}
	})
	if unpackTexts(packTexts(nil)) != nil {
		t.Error("texts out of nothing")
	}
}

// BenchmarkStep: one evaluation of a rule with 1,000 firing alerts that go on firing.
func BenchmarkStep(b *testing.B) {
	const n = 1000
	at := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	obs := oncall.Observation{At: at, Evidence: oncall.Evidence{Group: "g", Expr: "x > 1", At: at}}
	for i := range n {
		ls := labels.FromStrings("alertname", "A", "instance", fmt.Sprintf("host-%04d.example.net:9100", i), "job", "j", "severity", "page")
		obs.Samples = append(obs.Samples, oncall.Sample{Labels: ls, Metric: ls, Value: math.Pi})
	}
	step := oncall.StepRule(oncall.RuleTiming{Rule: "r"}, nil, obs)
	set := alertSet{}.next(step.Alerts, step.Upserts, false)
	obs.At = at.Add(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		step := set.step(oncall.RuleTiming{Rule: "r"}, obs)
		set.annotate(&step)
		set = set.next(step.Alerts, step.Upserts, false)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/alert")
	if !slices.ContainsFunc(set.full(), func(a oncall.Alert) bool { return a.State == oncall.StateFiring }) {
		b.Error("nothing fires")
	}
}
