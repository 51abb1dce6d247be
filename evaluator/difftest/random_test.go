package difftest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

const (
	interval = 10 * time.Second // of the group
	scrape   = 5 * time.Second  // between two samples of a series
	lookback = 12 * time.Second // short, so that a gap of three scrapes makes a series vanish
	slots    = 30               // evaluations of one example
)

// TestRandomRules evaluates random rules over random series, with failures of the data source and reloads in
// between, and compares after each evaluation.
func TestRandomRules(t *testing.T) {
	t.Parallel()
	var total world
	queries := 0
	rapid.Check(t, func(rt *rapid.T) {
		ex := example(rt)
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			w, p := ex.run(t)
			problems = p
			total.alerts += w.alerts
			total.transitions += w.transitions
			total.evaluations += w.evaluations * len(w.theirs.rules)
			queries += w.src.asked
		})
		if len(problems) > 0 {
			rt.Fatalf("%s\n%sseries:\n%s", strings.Join(problems, "\n"), ex.history(), ex.series)
		}
	})
	t.Logf("compared %d evaluations of rules with %d alerts, of which %d had changed their state; tocsin asked %d queries",
		total.evaluations, total.alerts, total.transitions, queries)
}

// experiment is one example: rules, and what happens to them.
type experiment struct {
	rules  []randomRule
	limit  int
	offset time.Duration
	edits  map[int]int // slot → number of the edit with which the file is loaded again
	down   map[int]bool
	series seriesPlan
}

// randomRule is a rule and its edits: a reload changes what keeps a rule the same rule.
type randomRule struct {
	expr        []string // by edit
	holds       []string
	keeps       []string
	labels      []string
	annotations []string
}

// text is the rule file after an edit.
func (x *experiment) text(edit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "groups:\n- name: random\n  limit: %d\n  query_offset: %s\n  labels: {team: shop}\n  rules:\n", x.limit, x.offset)
	fmt.Fprintf(&b, "  - alert: Heartbeat\n    expr: %s\n", heartbeat)
	for i, r := range x.rules {
		fmt.Fprintf(&b, "  - alert: R%d\n    expr: %q\n    for: %s\n    keep_firing_for: %s\n", i, pick(r.expr, edit), pick(r.holds, edit), pick(r.keeps, edit))
		fmt.Fprintf(&b, "    labels: {%s}\n    annotations: {%s}\n", strings.Join(r.labels, ", "), pick(r.annotations, edit))
	}
	return b.String()
}

// history is the rule file, its edits, and the outages.
func (x *experiment) history() string {
	var b strings.Builder
	fmt.Fprintf(&b, "down at %v\n%s", slices.Sorted(maps.Keys(x.down)), x.text(0))
	for _, slot := range slices.Sorted(maps.Keys(x.edits)) {
		fmt.Fprintf(&b, "after evaluation %d:\n%s", slot, x.text(x.edits[slot]))
	}
	return b.String()
}

func pick(list []string, i int) string { return list[i%len(list)] }

func (x *experiment) run(t *testing.T) (*world, []string) {
	start := time.Now()
	src := newSource(x.series.database(start), lookback)
	src.down = func(at time.Time) bool { return x.down[int(at.Sub(start)/interval)] }
	w, err := newWorld(t.Context(), x.text(0), interval, src)
	if err != nil {
		return &world{theirs: &oracle{}, src: src}, []string{err.Error()}
	}
	var problems []string
	for slot := 0; slot < slots && len(problems) == 0; slot++ {
		problems = w.step()
		if edit, ok := x.edits[slot]; ok && len(problems) == 0 {
			<-time.After(time.Second)
			if err := w.load(x.text(edit)); err != nil {
				problems = append(problems, err.Error())
			}
		}
	}
	if err := w.halt(); err != nil {
		problems = append(problems, err.Error())
	}
	return w, problems
}

// example draws an experiment.
func example(rt *rapid.T) *experiment {
	x := &experiment{edits: map[int]int{}, down: map[int]bool{}}
	// Few vectors for many rules, so that rules share queries.
	vectors := []string{drawVector(rt, "a"), drawVector(rt, "b")}
	for i := range rapid.IntRange(1, 6).Draw(rt, "rules") {
		name := fmt.Sprintf("R%d", i)
		x.rules = append(x.rules, drawRule(rt, name, rapid.SampledFrom(vectors).Draw(rt, name+" vector")))
	}
	x.limit = rapid.SampledFrom([]int{0, 0, 0, 0, 3}).Draw(rt, "limit")
	x.offset = rapid.SampledFrom([]time.Duration{0, 0, 0, 7 * time.Second}).Draw(rt, "query_offset")
	for range rapid.IntRange(0, 3).Draw(rt, "outages") {
		x.down[rapid.IntRange(1, slots).Draw(rt, "down")] = true
	}
	for i := range rapid.IntRange(0, 3).Draw(rt, "reloads") {
		x.edits[rapid.IntRange(1, slots).Draw(rt, "reload")] = i + 1
	}
	x.series = drawSeries(rt)
	return x
}

var durations = []string{"0s", "0s", "10s", "20s", "25s", "33s", "1m"}

func drawRule(rt *rapid.T, name, vector string) randomRule {
	sometimes := func(what string) bool { return rapid.IntRange(0, 3).Draw(rt, name+" "+what) == 0 }
	r := randomRule{expr: []string{drawCondition(rt, name, vector)}, holds: []string{drawDuration(rt, name+" for")}, keeps: []string{"0s"}}
	if sometimes("keeps firing") {
		r.keeps = []string{drawDuration(rt, name+" keep_firing_for")}
	}
	if sometimes("changes for") {
		r.holds = append(r.holds, drawDuration(rt, name+" next for"))
	}
	if sometimes("changes its expression") {
		r.expr = append(r.expr, drawCondition(rt, name+" next", vector))
	}
	r.labels = append(r.labels, "static: yes")
	if sometimes("has a label by value") {
		r.labels = append(r.labels, `severity: '{{ if gt $value 1.0 }}critical{{ else }}warning{{ end }}'`)
	}
	if sometimes("has a label by template") {
		r.labels = append(r.labels, `node: '{{ $labels.i }}-{{ $externalLabels.cluster }}-{{ $labels.missing }}'`)
	}
	if sometimes("drops a label") {
		r.labels = append(r.labels, `i: ""`)
	}
	r.annotations = []string{rapid.SampledFrom(annotationTexts).Draw(rt, name+" annotations")}
	return r
}

var annotationTexts = []string{
	`text: plain`,
	`value: '{{ $value }}', humanized: '{{ $value | humanize }} {{ $value | humanize1024 }} {{ $value | humanizePercentage }}'`,
	`time: '{{ $value | humanizeDuration }} {{ $value | humanizeTimestamp }}', labels: '{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}'`,
	`printf: '{{ printf "%.2f %s" $value $labels.i }}', url: '{{ externalURL }}{{ pathPrefix }}'`,
	`asked: '{{ range query "m0" }}{{ .Labels.i }}={{ .Value }} {{ end }}', first: '{{ with query "sum(m1)" }}{{ . | first | value }}{{ end }}'`,
	`broken: '{{ index $labels 1 }}', missing: '{{ $labels.nothing }}', upper: '{{ $labels.i | toUpper | title }}'`,
}

func drawDuration(rt *rapid.T, what string) string {
	return rapid.SampledFrom(durations).Draw(rt, what)
}

// drawVector draws an expression that a rule may compare with a number.
func drawVector(rt *rapid.T, name string) string {
	return rapid.SampledFrom([]string{
		"m0", "m0", "m0", "m1", `m0{i="a"}`, `m0{i!~"a|b"}`, "-m0", "m0 * 2", "m0 + on(i, j) m1", "m0 / ignoring(j) group_left sum by (i) (m1)",
		"sum by (i) (m0)", "max without (i) (m0)", "count(m0)", "avg(m1)", "rate(m0[20s])", "max_over_time(m0[15s])", "m0 offset 10s",
		"topk(2, m0)", "m0 > 0", "abs(m1)", "(m0 or m1)", "(m0 and on(i) m1)", "(m0 unless on(i) m1)", "count_values(\"v\", m0)", "vector(time() % 60)",
		"sum(m0 > bool 1)", "max by (i) (last_over_time(m0[30s]))", "(m0)", "+m0", "absent(m1)", "absent_over_time(m0{i=\"c\"}[15s])", "scalar(m1)", "time() % 60",
		`label_replace(m0, "k", "$1", "i", "(.*)")`, `{__name__=~"m0|m1"}`, "timestamp(m0)", "changes(m0[20s])",
	}).Draw(rt, name+" vector")
}

// drawCondition draws what a rule asks of a vector. Rules that differ only in the number share their query.
func drawCondition(rt *rapid.T, name, vector string) string {
	op := rapid.SampledFrom([]string{">", ">", ">", ">=", ">=", "<", "<=", "==", "!="}).Draw(rt, name+" operator")
	number := rapid.SampledFrom([]string{"0", "1", "1", "1", "1", "2", "2", "0.5", "-1", "1 + 1", "-(1)", "Inf", "-Inf", "NaN", "2 ^ 0.5", "1e-300"}).Draw(rt, name+" number")
	if vector == "scalar(m1)" || vector == "time() % 60" {
		return fmt.Sprintf("%s %s bool %s", vector, op, number)
	}
	if rapid.Bool().Draw(rt, name+" plain") {
		return fmt.Sprintf("%s %s %s", vector, op, number)
	}
	form := rapid.SampledFrom([]string{
		"(%[1]s) %[2]s (%[3]s)", "%[3]s %[2]s %[1]s", "%[1]s %[2]s bool %[3]s", "%[1]s", "%[1]s %[2]s %[3]s < 5", "%[1]s %[2]s scalar(m1{i=\"a\"})",
		"%[1]s %[2]s on(i, j) m1", "%[1]s %[2]s %[3]s and on(i) m1 > 0", "%[1]s %[2]s %[3]s or m1 > 1", "%[1]s %[2]s %[3]s unless on(i) m1 > 1",
		"(%[1]s %[2]s %[3]s) * 2", "sum(%[1]s %[2]s %[3]s)", "%[1]s %[2]s time() * 0",
	}).Draw(rt, name+" form")
	return fmt.Sprintf(form, vector, op, number)
}

// seriesPlan says what each series does.
type seriesPlan []plannedSeries

type plannedSeries struct {
	labels   labels.Labels
	segments []segment
}

// segment is a stretch of one series.
type segment struct {
	scrapes int
	value   float64
	gone    string // "": not; "gap": no samples; "stale": a staleness marker, then no samples
}

func (s seriesPlan) String() string {
	var b strings.Builder
	for _, one := range s {
		fmt.Fprintf(&b, "%s: %v\n", one.labels, one.segments)
	}
	return b.String()
}

func drawSeries(rt *rapid.T) seriesPlan {
	values := []float64{0, 0, 1, 1, 1, 2, 2, 3, 5, 0.5, -1, math.NaN(), math.Inf(1), math.Inf(-1), 1e-300, math.Sqrt2}
	var plan seriesPlan
	for _, name := range []string{"m0", "m1"} {
		for _, i := range []string{"a", "b", "c"} {
			for _, j := range []string{"x", `é"\`} {
				if rapid.IntRange(0, 1).Draw(rt, "series") == 0 {
					continue
				}
				one := plannedSeries{labels: labels.FromStrings(model.MetricNameLabel, name, "i", i, "j", j)}
				one.segments = rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) segment {
					return segment{scrapes: rapid.IntRange(1, 20).Draw(rt, "scrapes"), value: rapid.SampledFrom(values).Draw(rt, "value"),
						gone: rapid.SampledFrom([]string{"", "", "", "", "gap", "stale"}).Draw(rt, "gone")}
				}), 1, 8).Draw(rt, "segments")
				plan = append(plan, one)
			}
		}
	}
	return plan
}

// database makes the samples, from start on.
func (s seriesPlan) database(start time.Time) database {
	var d database
	for _, plan := range s {
		one := series{labels: plan.labels}
		at := start
		for _, seg := range plan.segments {
			for n := range seg.scrapes {
				switch {
				case seg.gone == "stale" && n == 0:
					one.points = append(one.points, point{t: at.UnixMilli(), f: staleMarker})
				case seg.gone == "":
					one.points = append(one.points, point{t: at.UnixMilli(), f: seg.value})
				}
				at = at.Add(scrape)
			}
		}
		d = append(d, one)
	}
	return d
}
