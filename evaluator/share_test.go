package evaluator

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/teststorage"
	"pgregory.net/rapid"

	"tocsin/rules"
)

func recovers(at float64) func(*rules.Rule) { return func(r *rules.Rule) { r.Recover = &at } }
func records(name string) func(*rules.Rule) {
	return func(r *rules.Rule) { r.Record, r.Alert = name, "" }
}

// TestQuestions is a table of what is asked for a group: each rule as "expression [recover N] → question",
// "=" where the question is the expression itself.
func TestQuestions(t *testing.T) {
	for name, lines := range map[string][]string{
		"loosest":     {"x > 80 → x > 60", "x > 60 → =", "x >= 90 → x > 60", "60 < x → x > 60"},
		"ties":        {"x > 80 → x >= 80", "x >= 80 → ="},
		"below":       {"x < 5 → x <= 10", "x <= 10 → =", "x < 10 → x <= 10"},
		"apart":       {"x > 1 → =", "x < 2 → =", "y > 2 → =", `x{a="b"} > 3 → =`, "x > bool 4 → =", "x == 5 → =", "x == 6 → =", "x != 6 → ="},
		"roots":       {"x > 1 and y → =", "x > 2 and y → =", "x > 1 → x > 0.5", "x > 0.5 → =", "(x) > 7 → x > 0.5"},
		"chains":      {"x > 1 < 9 → =", "x > 1 < 5 → x > 1 < 9", "x > 2 < 9 → ="},
		"sums":        {"a + b > 1 → =", "a + b > 2 → a + b > 1", "c + d > 2 recover 1 → (c + d) > 1", "(a or b) > 1 → =", "(a or b) > 2 → (a or b) > 1", "a or b > 3 → ="},
		"recover":     {"x > 0.8 recover 0.7 → x > 0.7", "x > 0.9 → x > 0.7"},
		"falls":       {"x < 10 recover 20 → x <= 20", "x <= 20 → =", "x < 5 → x <= 20"},
		"falls alone": {"x < 10 recover 20 → x < 20"},
		"signs":       {"x > -5 → =", "x > 5 → x > -5", "y > -0 → =", "y > 1e3 → y > -0"},
		"changes":     {"x > time() → =", "x > scalar(y) → =", "time() - x > 1 → =", "time() - x > 2 → time() - x > 1"},
		"limits":      {"x > -Inf → =", "x > 3 → x > -Inf", "y < Inf → =", "y < 0.1 → y < +Inf"},
	} {
		t.Run(name, func(t *testing.T) {
			var g rules.Group
			var want []string
			for i, line := range lines {
				text, ask, _ := strings.Cut(line, " → ")
				expr, at, has := strings.Cut(text, " recover ")
				r := rule(t, fmt.Sprint("R", i), expr)
				if has {
					var f float64
					if _, err := fmt.Sscan(at, &f); err != nil {
						t.Fatal(err)
					}
					r.Recover = &f
				}
				if ask == "=" {
					ask = r.Expr.String()
				}
				g.Rules, want = append(g.Rules, r), append(want, ask)
			}
			var got []string
			for _, q := range questions(&g) {
				got = append(got, q.shared)
			}
			// A printed number may be "-0" or "+Inf": what counts is that it reads as the same.
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsRecordedEarlierIsNotShared(t *testing.T) {
	g := group(rule(t, "A", "job:x > 2"), rule(t, "B", "x > 1"), rule(t, "", "sum by (job) (x)", records("job:x")), rule(t, "C", "job:x > 1"),
		rule(t, "D", "job:x > 3"), rule(t, "E", `{job="a"} > 1`), rule(t, "F", "x > 2"), rule(t, "G", `ALERTS{alertname="B"} > 0`),
		rule(t, "H", `ALERTS{alertname="Z"} > 0`), rule(t, "I", `{__name__=~"job:.*"} > 0`), rule(t, "J", `{__name__=~"y.*"} > 0`))[0]
	var alone []string
	for i, q := range questions(&g) {
		if q.alone {
			alone = append(alone, g.Rules[i].Name())
		}
	}
	if got := strings.Join(alone, ""); got != "CDEGI" {
		t.Errorf("alone are %q", got)
	}
}

var (
	sharedVectors = []string{"m", "-m", "m * 2", "sum by (i) (m)", "m or n", "rate(m[1m])", `m{i!="a"}`, "m > 2", "m - on(i) group_left n", "m offset 15s",
		`label_replace(m, "j", "$1", "i", "(.*)")`, "max_over_time(m[30s])", "absent(m)", "time() - m", "m / n", "m > bool 1", "scalar(n) - m", `{__name__=~"m|n"}`}
	sharedNumbers = []string{"0", "-0", "1", "2", "0.1", "-1", "1e3", "+Inf", "-Inf", "NaN", "1 + 1", "3 * 0.1", "-(2)"}
	sharedValues  = []float64{0, math.Copysign(0, -1), 1, 2, 3, 0.1, 0.30000000000000004, -1, 1000, 1001, math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(value.StaleNaN)}
)

func drawExpr(t *rapid.T) string {
	v, n := rapid.SampledFrom(sharedVectors).Draw(t, "vector"), rapid.SampledFrom(sharedNumbers).Draw(t, "number")
	op := rapid.SampledFrom([]string{">", ">", ">=", "<", "<=", "==", "!="}).Draw(t, "op")
	switch rapid.IntRange(0, 9).Draw(t, "form") {
	case 0:
		return fmt.Sprintf("%s %s (%s)", n, op, v)
	case 1:
		return fmt.Sprintf("(%s) %s bool %s", v, op, n)
	case 2:
		return fmt.Sprintf("(%s) %s %s and n", v, op, n)
	case 3:
		return fmt.Sprintf("%s %s %s", v, op, n) // binds as it binds
	}
	return fmt.Sprintf("(%s) %s %s", v, op, n)
}

// TestSharingIsInvisible lets Prometheus' engine answer every rule of random groups by itself, and through
// the shared question, and compares what the rule sees.
func TestSharingIsInvisible(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	defer func() { _ = engine.Close() }()
	rapid.Check(t, func(rt *rapid.T) {
		db := teststorage.New(t)
		defer func() { _ = db.Close() }()
		start := time.Unix(1_000_000, 0)
		app := db.Appender(t.Context())
		for _, name := range []string{"m", "n"} {
			for _, i := range []string{"a", "b", "c"} {
				for step := range 8 {
					if v := rapid.SampledFrom(sharedValues).Draw(rt, "value"); rapid.IntRange(0, 5).Draw(rt, "there") > 0 {
						ls := labels.FromStrings(model.MetricNameLabel, name, "i", i)
						if _, err := app.Append(0, ls, start.Add(time.Duration(step)*15*time.Second).UnixMilli(), v); err != nil {
							rt.Fatal(err)
						}
					}
				}
			}
		}
		if err := app.Commit(); err != nil {
			rt.Fatal(err)
		}
		at := start.Add(100 * time.Second)
		ask := func(expr string) (Answer, string) {
			q, err := engine.NewInstantQuery(context.Background(), db, nil, expr, at)
			if err != nil {
				rt.Fatalf("%s: %v", expr, err)
			}
			defer q.Close()
			res := q.Exec(context.Background())
			if res.Err != nil {
				return Answer{}, "fails"
			}
			vec, err := res.Vector()
			if err != nil {
				rt.Fatalf("%s: %v", expr, err)
			}
			var ans Answer
			for _, s := range vec {
				ans.Samples = append(ans.Samples, Sample{Metric: s.Metric.Copy(), Value: s.F})
			}
			return ans, ""
		}
		var g rules.Group
		for i := range rapid.IntRange(2, 8).Draw(rt, "rules") {
			r := rule(t, fmt.Sprint("R", i), drawExpr(rt))
			if th, reason := rules.ThresholdOf(r.Expr); reason == "" && rapid.Bool().Draw(rt, "recovers") {
				if rec := rapid.SampledFrom([]float64{-2, 0, 0.05, 1.5, 50}).Draw(rt, "recover"); th.Recovers(rec) {
					r.Recover = &rec
				}
			}
			g.Rules = append(g.Rules, r)
		}
		for i, q := range questions(&g) {
			own, ownErr := ask(q.exact)
			all, sharedErr := ask(q.shared)
			if ownErr != sharedErr {
				rt.Fatalf("%s %q, but %s %q", q.exact, ownErr, q.shared, sharedErr)
			}
			if q.shared == q.exact {
				continue
			}
			p := q.pick(all)
			if got, want := printed(p.breach), printed(own.Samples); got != want {
				rt.Fatalf("%s asked by %s:\n%s\nby itself:\n%s", q.exact, q.shared, got, want)
			}
			if rec := g.Rules[i].Recover; rec != nil {
				op := parser.ItemType(parser.GTR)
				if !q.threshold.Above() {
					op = parser.LSS
				}
				firing, _ := ask(comparison(rules.Threshold{Vector: q.threshold.Vector, Op: op, Value: *rec}))
				if got, want := printed(slices.Concat(p.breach, p.band)), printed(firing.Samples); got != want {
					rt.Fatalf("%s recover %v:\n%s\nis kept, but not recovered are\n%s", q.exact, *rec, got, want)
				}
			}
			if whole, err := ask(q.vector); err == "" {
				if got, want := printed(q.pick(whole).breach), printed(own.Samples); got != want {
					rt.Fatalf("%s by its vector %s:\n%s\nby itself:\n%s", q.exact, q.vector, got, want)
				}
			}
		}
	})
}

func printed(samples []Sample) string {
	var out []string
	for _, s := range samples {
		out = append(out, fmt.Sprintf("%s %x", s.Metric, math.Float64bits(s.Value)))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
