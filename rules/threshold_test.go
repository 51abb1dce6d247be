package rules

import (
	"context"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

func parseExpr(t interface{ Fatalf(string, ...any) }, text string) parser.Expr {
	e, err := promQL.ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func TestThresholdOf(t *testing.T) {
	for _, c := range []struct{ expr, vector, op, value string }{
		{"x > 0.8", "x", ">", "0.8"},
		{"x >= 1e3", "x", ">=", "1000"},
		{"x < 10", "x", "<", "10"},
		{"x <= -1", "x", "<=", "-1"},
		{"80 < x", "x", ">", "80"},
		{"80 <= x", "x", ">=", "80"},
		{"80 > x", "x", "<", "80"},
		{"80 >= x", "x", "<=", "80"},
		{"((x)) > ((80))", "x", ">", "80"},
		{"(x > 80)", "x", ">", "80"},
		{"x > 5m", "x", ">", "300"},
		{"x > 2 * 1024 ^ 3", "x", ">", "2147483648"},
		{"x > -(1 + 2) * -(-4)", "x", ">", "-12"},
		{"x > 10 - 2 - 3", "x", ">", "5"},
		{"x > 2 ^ 3 ^ 2", "x", ">", "512"},
		{"x > 7 % 4 / 2", "x", ">", "1.5"},
		{"x > 1 atan2 1", "x", ">", "0.7853981633974483"},
		{"x > +1", "x", ">", "1"},
		{"x > Inf", "x", ">", "+Inf"},
		{"x > -Inf", "x", ">", "-Inf"},
		{"x > 1 / 0", "x", ">", "+Inf"},
		{"x > 0x10", "x", ">", "16"},
		{"x > 1 < 9", "x > 1", "<", "9"},
		{"1 < x < 9", "1 < x", "<", "9"},
		{"9 > (x > 1)", "x > 1", "<", "9"},
		{"a / b > 0.8", "a / b", ">", "0.8"},
		{"a / on (x) group_left (y) b > 0.8", "a / on (x) group_left (y) b", ">", "0.8"},
		{"(a and b) > 1", "a and b", ">", "1"},
		{"-x > 1", "-x", ">", "1"},
		{"x > bool 1 > 0", "x > bool 1", ">", "0"},
		{"vector(1) > 0", "vector(1)", ">", "0"},
		{"absent(x) > 0", "absent(x)", ">", "0"},
		{"time() - x > 600", "time() - x", ">", "600"},
		{"rate(x[5m]) > 1", "rate(x[5m])", ">", "1"},
		{"sum by (job) (x) > 1", "sum by (job) (x)", ">", "1"},
	} {
		got, reason := ThresholdOf(parseExpr(t, c.expr))
		if reason != "" {
			t.Errorf("%s: refused, %s", c.expr, reason)
			continue
		}
		if s := [3]string{got.Vector.String(), got.Op.String(), formatFloat(got.Value)}; s != [3]string{c.vector, c.op, c.value} {
			t.Errorf("%s: %q", c.expr, s)
		}
	}
	for _, c := range []struct{ expr, reason string }{
		{"x", "it does not compare anything at its top level"},
		{"absent(x)", "it does not compare anything at its top level"},
		{"-(x > 1)", "it does not compare anything at its top level"},
		{"sum(x > 1)", "it does not compare anything at its top level"},
		{"1", "it does not compare anything at its top level"},
		{"x + 1", "its top level is an arithmetic (+), not a comparison"},
		{"x > 1 and y", `its top level is "and", not a comparison`},
		{"x > 1 or y > 1", `its top level is "or", not a comparison`},
		{"x > 1 unless y", `its top level is "unless", not a comparison`},
		{"x > bool 1", "with bool every series passes, as 0 or 1"},
		{"1 > bool 2", "with bool every series passes, as 0 or 1"},
		{"x == 1", "it asks for one value (==), not for a side of a threshold"},
		{"x != 1", "it asks for one value (!=), not for a side of a threshold"},
		{"x > y", "it compares two vectors"},
		{"x > on (a) y", "it compares two vectors"},
		{"x > vector(1)", "it compares two vectors"},
		{"x > scalar(y)", "it compares with scalar(y), not with a number that is written there"},
		{"time() > x", "it compares with time(), not with a number that is written there"},
		{"x < time() - 600", "it compares with time() - 600, not with a number that is written there"},
		{"x > (1 > bool 2)", "it compares with (1 > bool 2), not with a number that is written there"},
		{"x > NaN", "nothing compares with NaN"},
		{"x > 0 / 0", "nothing compares with NaN"},
	} {
		if _, reason := ThresholdOf(parseExpr(t, c.expr)); reason != c.reason {
			t.Errorf("%s: %q, want %q", c.expr, reason, c.reason)
		}
	}
}

func formatFloat(v float64) string { return (&parser.NumberLiteral{Val: v}).String() }

func TestDisappears(t *testing.T) {
	for expr, want := range map[string]string{
		"x":                            "",
		"a / on (x) b":                 "",
		"x > bool 1":                   "",
		"y * scalar(x > 1)":            "",
		"sum by (job) (rate(x[5m]))":   "",
		"x or y":                       "",
		"x > 1":                        "x > 1 drops series by their value",
		"count(up == 0)":               "up == 0 drops series by their value",
		"a / b * on (i) (info == 1)":   "info == 1 drops series by their value",
		"max_over_time((x > 1)[5m:])":  "x > 1 drops series by their value",
		"a and b":                      `"and" drops series beside others`,
		"a unless b":                   `"unless" drops series beside others`,
		"topk(3, x)":                   "topk drops series beside others",
		"count_values(\"v\", x)":       "count_values drops the labels of values that no series has",
		"absent(x)":                    "absent yields nothing while there is a series",
		"absent_over_time(x[5m])":      "absent_over_time yields nothing while there is a series",
		"y * (x > bool scalar(z > 1))": "",
	} {
		if got := Disappears(parseExpr(t, expr)); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// noSeries is a storage without series.
var noSeries = storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })

// TestFoldAsPrometheus: numbers come out as Prometheus' own engine computes them, bit for bit.
func TestFoldAsPrometheus(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute})
	t.Cleanup(func() { engine.Close() })
	var term func(depth int) *rapid.Generator[string]
	term = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			if depth == 0 || rapid.Bool().Draw(t, "leaf") {
				return rapid.SampledFrom([]string{"0", "1", "2.5", "1e9", "Inf", "NaN", "5m", "0x1f", "0.1", "3"}).Draw(t, "number")
			}
			switch l := term(depth-1).Draw(t, "left"); rapid.IntRange(0, 3).Draw(t, "shape") {
			case 0:
				return "-" + l
			case 1:
				return "(" + l + ")"
			default:
				op := rapid.SampledFrom([]string{"+", "-", "*", "/", "%", "^", "atan2"}).Draw(t, "op")
				return l + " " + op + " " + term(depth-1).Draw(t, "right")
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		text := term(3).Draw(t, "text")
		got, constant := fold(parseExpr(t, text))
		q, err := engine.NewInstantQuery(context.Background(), noSeries, nil, text, time.Unix(0, 0))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		defer q.Close()
		want, err := q.Exec(context.Background()).Scalar()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !constant || math.Float64bits(got) != math.Float64bits(want.V) && !(math.IsNaN(got) && math.IsNaN(want.V)) {
			t.Fatalf("%s = %v %v, Prometheus says %v", text, got, constant, want.V)
		}
	})
}

// TestBreaches: a breaching value has not recovered, and a recover beyond the threshold breaches nothing.
func TestBreaches(t *testing.T) {
	values := []float64{math.NaN(), math.Inf(-1), -1, 0, 0.5, 1, 2, math.Inf(1)}
	for _, expr := range []string{"x > 1", "x >= 1", "x < 1", "x <= 1", "1 < x"} {
		th, _ := ThresholdOf(parseExpr(t, expr))
		for _, v := range values {
			if th.Recovers(v) && th.Breaches(v) {
				t.Errorf("%s: %v both breaches and recovers", expr, v)
			}
		}
		if th.Breaches(math.NaN()) || th.Recovers(math.NaN()) || th.Recovers(1) || th.Above() != th.Breaches(2) {
			t.Errorf("%s: %+v", expr, th)
		}
	}
}

// TestSplitAsPrometheus: asking for the vector and comparing here gives what Prometheus answers to the whole
// expression, values and all.
func TestSplitAsPrometheus(t *testing.T) {
	data := promqltest.LoadedStorage(t, `load 1m
		x{i="a"} 0.5
		x{i="b"} 1
		x{i="c"} 2
		x{i="d"} NaN
		x{i="e"} Inf
		x{i="f"} -3
		y{i="a"} 2
		y{i="c"} 0`)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute})
	t.Cleanup(func() { engine.Close() })
	ask := func(t *rapid.T, text string) map[string]float64 {
		q, err := engine.NewInstantQuery(context.Background(), data, nil, text, time.Unix(0, 0))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		defer q.Close()
		v, err := q.Exec(context.Background()).Vector()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out := map[string]float64{}
		for _, s := range v {
			out[s.Metric.String()] = s.F
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		one := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "part") }
		vector := one("x", "(x)", "-x", "x / on (i) y", "x + 1", "(x > 0)", "x > 0", "abs(x)", "x > bool 1", "sum by (i) (x)", "x or y", "(x and y)")
		number := one("1", "0.5", "-3", "(2 - 1)", "2 ^ 1", "Inf", "-Inf", "-(1)")
		text := vector + " " + one(">", ">=", "<", "<=") + " " + number
		if vector != "x or y" && rapid.Bool().Draw(t, "turned") {
			text = number + " " + one(">", ">=", "<", "<=") + " (" + vector + ")"
		}
		th, reason := ThresholdOf(parseExpr(t, text))
		if reason != "" {
			if vector != "x or y" {
				t.Fatalf("%s: %s", text, reason)
			}
			return // or binds weaker than a comparison
		}
		got := ask(t, th.Vector.String())
		maps.DeleteFunc(got, func(_ string, v float64) bool { return !th.Breaches(v) })
		if diff := cmp.Diff(ask(t, text), got); diff != "" {
			t.Fatalf("%s: %s", text, diff)
		}
	})
}
