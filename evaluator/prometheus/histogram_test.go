package prometheus

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/jsonutil"
	"github.com/prometheus/prometheus/util/teststorage"
	"pgregory.net/rapid"

	"tocsin/evaluator"
)

// answered is a histogram as Prometheus' own code writes it into an answer.
func answered(h *histogram.FloatHistogram) string {
	stream := jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, nil, 512)
	jsonutil.MarshalHistogram(h, stream)
	return `[1727096400.123,` + string(stream.Buffer()) + `]`
}

// vectorOf is an answer with these samples, each `"value":…` or `"histogram":…`.
func vectorOf(samples ...string) string {
	for i, s := range samples {
		samples[i] = `{"metric":{"__name__":"lat","i":"` + string(rune('a'+i)) + `"},` + s + `}`
	}
	return envelope + strings.Join(samples, ",") + `]}}`
}

func decoded(t *rapid.T, h *histogram.FloatHistogram) *histogram.FloatHistogram {
	ans, err := scan(strings.NewReader(vectorOf(`"histogram":`+answered(h))), nil)
	if err != nil || len(ans.Samples) != 1 || ans.Samples[0].Histogram == nil || ans.Samples[0].Value != 0 {
		t.Fatalf("%v, %v of %s", ans, err, answered(h))
	}
	return ans.Samples[0].Histogram
}

// TestHistogramsComeBack: what is rebuilt prints as what the server had, says the same of its quantiles, and is
// sound to Prometheus' own eyes.
func TestHistogramsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want *histogram.FloatHistogram
		if rapid.Bool().Draw(t, "custom") {
			want = drawCustom(t)
		} else {
			want = drawExponential(t)
		}
		got := decoded(t, want)
		if got.String() != want.String() || answered(got) != answered(want) {
			t.Fatalf("%s\nbecomes %s\nof %s", want.TestExpression(), got, want)
		}
		if err := want.Validate(); err == nil {
			if err := got.Validate(); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
		}
		// What says nothing of its schema may have another one; nothing is seen of that.
		if !want.UsesCustomBuckets() && len(got.PositiveBuckets)+len(got.NegativeBuckets) > 0 && got.Schema != want.Schema {
			t.Fatalf("schema %d becomes %d: %s", want.Schema, got.Schema, want)
		}
	})
}

func drawCount(t *rapid.T) float64 {
	return rapid.SampledFrom([]float64{0, 1, 2, 0.5, 1e9, 1.0 / 3, -1, math.Inf(1)}).Draw(t, "count")
}

func drawExponential(t *rapid.T) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{Schema: rapid.Int32Range(-4, 8).Draw(t, "schema"), Count: drawCount(t),
		Sum: rapid.SampledFrom([]float64{0, 12.25, -3, math.NaN(), math.Inf(-1)}).Draw(t, "sum")}
	per := math.Ldexp(1, int(h.Schema)) // buckets to a factor of two
	least := int32(-60 * per)
	if rapid.Bool().Draw(t, "zero") {
		h.ZeroCount = rapid.SampledFrom([]float64{1, 0.25, 17}).Draw(t, "zero count")
		h.ZeroThreshold = rapid.SampledFrom([]float64{0, 1e-128, math.Ldexp(1, -128), 0.001, 0.3}).Draw(t, "threshold")
		if h.ZeroThreshold > 1e-3/2 {
			least = int32(math.Floor(math.Log2(h.ZeroThreshold)*per)) + 1
		}
	}
	side := func(name string) ([]histogram.Span, []float64) {
		indices := rapid.SliceOfNDistinct(rapid.Int32Range(least, least+int32(64*per)+8), 0, 12, rapid.ID[int32]).Draw(t, name)
		if len(indices) > 0 && rapid.Bool().Draw(t, "infinite") {
			indices = append(indices, int32(1024*per)+1)
		}
		slices.Sort(indices)
		counts := make([]float64, len(indices))
		for i := range counts {
			counts[i] = drawCount(t)
		}
		// One that no zero bucket reaches: the reach into a lone bucket would leave its schema open.
		if len(indices) > 0 {
			indices = slices.Compact(slices.Sorted(slices.Values(append(indices, least+int32(64*per)+9))))
			at := slices.Index(indices, least+int32(64*per)+9)
			counts = slices.Insert(counts, min(at, len(counts)), 3)
		}
		return spans(indices), counts[:len(indices)]
	}
	h.PositiveSpans, h.PositiveBuckets = side("positive")
	h.NegativeSpans, h.NegativeBuckets = side("negative")
	return h
}

func drawCustom(t *rapid.T) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{Schema: histogram.CustomBucketsSchema, Count: drawCount(t), Sum: 7}
	h.CustomValues = rapid.SliceOfNDistinct(rapid.SampledFrom([]float64{-5, -1, 0, 0.005, 0.01, 0.025, 0.1, 0.25, 0.3, 0.5, 1, 2, 4, 10, 1e9}), 0, 12, rapid.ID[float64]).Draw(t, "bounds")
	slices.Sort(h.CustomValues)
	for range len(h.CustomValues) + 1 {
		h.PositiveBuckets = append(h.PositiveBuckets, drawCount(t))
	}
	h.PositiveSpans = []histogram.Span{{Length: uint32(len(h.PositiveBuckets))}}
	return h
}

// TestShapesOfHistograms are buckets as they are answered, and what becomes of them.
func TestShapesOfHistograms(t *testing.T) {
	const head = `"histogram":[1,{"count":"6","sum":"3.5"`
	for _, tc := range []struct{ name, buckets, want string }{
		{"none", ``, `{count:6, sum:3.5}`},
		{"null", `,"buckets":null`, `{count:6, sum:3.5}`},
		{"of documentation", `,"buckets":[[3,"-0.25","0.25","3"],[0,"0.25","0.5","1"],[0,"0.5","1","2"],[0,"2","4","6"]]`,
			`{count:6, sum:3.5, [-0.25,0.25]:3, (0.25,0.5]:1, (0.5,1]:2, (2,4]:6}`},
		{"negative", `,"buckets":[[1,"-4","-2","1"],[1,"-2","-1","2"],[3,"-0.001","0.001","3"]]`, `{count:6, sum:3.5, [-4,-2):1, [-2,-1):2, [-0.001,0.001]:3}`},
		{"zero alone", `,"buckets":[[3,"-0","0","6"]]`, `{count:6, sum:3.5, [-0,0]:6}`},
		{"the zero bucket reaches into another", `,"buckets":[[3,"-0.3","0.3","3"],[0,"0.3","0.5","1"],[0,"0.5","1","1"]]`,
			`{count:6, sum:3.5, [-0.3,0.3]:3, (0.25,0.5]:1, (0.5,1]:1}`},
		{"an empty one does, fine schema", `,"buckets":[[0,"0.75","1","3"],[0,"1","1.414213562373095","3"]]`, `{count:6, sum:3.5, (0.7071067811865475,1]:3, (1,1.414213562373095]:3}`},
		{"custom, first and last", `,"buckets":[[3,"-Inf","0.1","1"],[0,"0.1","0.25","2"],[0,"10","+Inf","3"]]`, `{count:6, sum:3.5, [-Inf,0.1]:1, (0.1,0.25]:2, (10,+Inf]:3}`},
		{"custom, middle", `,"buckets":[[0,"0.1","0.25","2"],[0,"0.25","0.5","4"]]`, `{count:6, sum:3.5, (0.1,0.25]:2, (0.25,0.5]:4}`},
		{"custom, one for all", `,"buckets":[[3,"-Inf","+Inf","6"]]`, `{count:6, sum:3.5, [-Inf,+Inf]:6}`},
		{"infinite", `,"buckets":[[0,"1.7976931348623157e+308","+Inf","6"]]`, `{count:6, sum:3.5, (1.7976931348623157e+308,+Inf]:6}`},
		{"no such shape: open", `,"buckets":[[2,"1","2","6"]]`, `{count:6, sum:3.5}`},
		{"no such shape: upside down", `,"buckets":[[0,"2","1","6"]]`, `{count:6, sum:3.5}`},
		{"no such shape: twice", `,"buckets":[[0,"1","2","3"],[0,"1","2","3"]]`, `{count:6, sum:3.5}`},
		{"no such shape: falling", `,"buckets":[[0,"2","4","3"],[0,"1","2","3"]]`, `{count:6, sum:3.5}`},
		{"no such shape: two zeros", `,"buckets":[[3,"-1","1","3"],[3,"-1","1","3"]]`, `{count:6, sum:3.5}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := vectorOf(`"value":[1,"1"]`, head+tc.buckets+`}]`, `"value":[1,"2"]`)
			for _, way := range ways {
				ans, err := clientOf(t, way, answers(200, "application/json", body)).Query(t.Context(), "lat", time.Unix(1, 0))
				if err != nil || len(ans.Samples) != 3 {
					t.Fatalf("%s: %v, %v", way, ans, err)
				}
				if got := ans.Samples[1].Histogram; got.String() != tc.want || got.Count != 6 || got.Sum != 3.5 || ans.Samples[2].Value != 2 || ans.Samples[2].Histogram != nil {
					t.Errorf("%s: %s, want %s", way, got, tc.want)
				}
			}
		})
	}
}

// TestMalformedHistograms: they are errors of the whole answer, whatever stands beside them.
func TestMalformedHistograms(t *testing.T) {
	for sample, want := range map[string]string{
		`"histogram":{}`:                                  "not [time, {…}]",
		`"histogram":[1]`:                                 "not [time, {…}]",
		`"histogram":[1,[]]`:                              "a sample's histogram",
		`"histogram":[1,{"count":"3"}]`:                   "no count or no sum",
		`"histogram":[1,{"sum":"3"}]`:                     "no count or no sum",
		`"histogram":[1,{"count":3,"sum":"3"}]`:           "not a string: 3",
		`"histogram":[1,{"count":"many","sum":"3"}]`:      "not a number: many",
		`"histogram":null`:                                "has no value",
		`"value":[1,"1"],"histogram":` + sound:            "has a value and a histogram",
		strings.Replace(sound, `"1","2"`, `"1",null`, 1):  "not a string: null",
		strings.Replace(sound, `"1","2"`, `"NaN","2"`, 1): "bound is NaN",
		strings.Replace(sound, `[0,`, `[4,`, 1):           "not 0, 1, 2 or 3",
		strings.Replace(sound, `[0,`, `["0",`, 1):         "not 0, 1, 2 or 3",
		strings.Replace(sound, `[0,`, `[`, 1):             "not [ends, lower, upper, count]",
	} {
		if strings.HasPrefix(sample, "[") {
			sample = `"histogram":` + sample
		}
		for _, way := range ways {
			c := clientOf(t, way, answers(200, "application/json", vectorOf(`"value":[1,"1"]`, sample)))
			_, err := c.QueryInto(t.Context(), "lat", time.Unix(1, 0), &evaluator.Reuse{})
			checkError(t, err, want, evaluator.BackendError)
		}
	}
}

// sound is a histogram that nothing is wrong with.
const sound = `[1,{"count":"6","sum":"3","buckets":[[0,"1","2","6"]]}]`

// TestHistogramsOfAnEngine asks Prometheus' engine for histograms out of a TSDB, and compares with what it had.
func TestHistogramsOfAnEngine(t *testing.T) {
	db := teststorage.New(t)
	defer func() { _ = db.Close() }()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	defer func() { _ = engine.Close() }()
	start := time.Unix(1_700_000_000, 0)
	fill(t, db, start)
	for _, expr := range []string{`lat`, `rate(lat[5m])`, `sum(lat{i!="custom"})`, `lat - lat offset 1m`, `-lat`, `lat * 0.3`, `lat / 0`, `avg_over_time(lat[5m])`, `histogram_count(lat)`} {
		at := start.Add(5 * time.Minute)
		q, err := engine.NewInstantQuery(t.Context(), db, nil, expr, at)
		if err != nil {
			t.Fatal(err)
		}
		vec, err := q.Exec(context.Background()).Vector()
		if err != nil || len(vec) == 0 {
			t.Fatalf("%s: %v, %v", expr, vec, err)
		}
		var samples []string
		for _, s := range vec {
			if s.H != nil {
				samples = append(samples, `"histogram":`+answered(s.H))
			} else {
				samples = append(samples, `"value":[1,"1"]`)
			}
		}
		got, err := clientOf(t, "wire", func(w http.ResponseWriter, r *http.Request) {
			answers(200, "application/json", vectorOf(samples...))(w, r)
		}).Query(t.Context(), expr, at)
		if err != nil || len(got.Samples) != len(vec) {
			t.Fatalf("%s: %v, %v", expr, got, err)
		}
		for i, s := range vec {
			h := got.Samples[i].Histogram
			if (h == nil) != (s.H == nil) || h != nil && !asAnswered(h, s.H) {
				t.Errorf("%s of %s: %s, want %s", expr, s.Metric, h, s.H)
			}
		}
		q.Close()
	}
}

// asAnswered: a zero bucket below zero, of -lat, is not answered, nor is one of NaN.
func asAnswered(got, want *histogram.FloatHistogram) bool {
	w := want.Copy()
	if !w.UsesCustomBuckets() {
		if !(w.ZeroCount > 0) {
			w.ZeroCount = 0
		}
	}
	return got.String() == w.String()
}

func fill(t *testing.T, db *teststorage.TestStorage, start time.Time) {
	t.Helper()
	app := db.Appender(t.Context())
	for minute := range 6 {
		n := float64(minute + 1)
		for i, h := range map[string]*histogram.FloatHistogram{
			"coarse": {Schema: 0, Count: 9 * n, Sum: 18.5 * n, ZeroThreshold: 0.001, ZeroCount: 2 * n,
				PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []float64{n, 2 * n, n},
				NegativeSpans: []histogram.Span{{Offset: 1, Length: 1}}, NegativeBuckets: []float64{3 * n}},
			"fine": {Schema: 3, Count: 3 * n, Sum: 4 * n, ZeroThreshold: 0x1p-128,
				PositiveSpans: []histogram.Span{{Offset: -5, Length: 3}}, PositiveBuckets: []float64{n, n, n}},
			"custom": {Schema: histogram.CustomBucketsSchema, Count: 6 * n, Sum: n, CustomValues: []float64{0.005, 0.1, 0.25, 2.5},
				PositiveSpans: []histogram.Span{{Length: 2}, {Offset: 1, Length: 2}}, PositiveBuckets: []float64{n, 2 * n, 2 * n, n}},
		} {
			ls := labels.FromStrings(model.MetricNameLabel, "lat", "i", i)
			if _, err := app.AppendHistogram(0, ls, start.Add(time.Duration(minute)*time.Minute).UnixMilli(), nil, h); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}
