package e2etest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// load is a query API of known cost: of the metric load_S_F_N, S series exist, and F of them are at 95, the others
// at 10. Its expressions are a metric, or a metric compared with a number.
type load struct {
	queries, answered atomic.Int64
	breachedAt        atomic.Int64 // milliseconds: from then on load_1_0_0 is at 95
}

var loadExpr = regexp.MustCompile(`^load_(\d+)_(\d+)_(\d+)(?: > (\d+))?$`)

func (l *load) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_ = r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	m := loadExpr.FindStringSubmatch(r.FormValue("query"))
	if m == nil {
		http.Error(w, `{"status":"error","errorType":"bad_data","error":"the benchmark does not know this expression"}`, http.StatusBadRequest)
		return
	}
	l.queries.Add(1)
	number := func(i int) int { n, _ := strconv.Atoi(m[i]); return n }
	series, firing := number(1), number(2)
	if at := l.breachedAt.Load(); at != 0 && m[1] == "1" && m[3] == "0" {
		if asked, _ := strconv.ParseFloat(r.FormValue("time"), 64); int64(asked*1000) >= at {
			firing = 1
		}
	}
	var b bytes.Buffer
	b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range series {
		value := 10
		if i < firing {
			value = 95
		}
		if m[4] != "" && value <= number(4) {
			continue
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metric":{"__name__":"load_%s_%s_%s","az":"eu-west-1a","env":"production","instance":"host-%04d.example.net:9100","job":"load","path":"/api/v1/resource/%d"},"value":[%s,"%d"]}`,
			m[1], m[2], m[3], i, i%10, r.FormValue("time"), value)
	}
	b.WriteString(`]}}`)
	w.Header().Set("Content-Type", "application/json")
	n, _ := w.Write(b.Bytes())
	l.answered.Add(int64(n))
}

// loadRules are n rules in groups of 20, in pairs that differ in their threshold alone. firing says how many of
// the 50 series behind rule i are above both.
func loadRules(n int, firing func(i int) int) string {
	var b strings.Builder
	b.WriteString("groups:\n- {name: breach, rules: [{alert: Breach, expr: 'load_1_0_0 > 80', labels: {severity: critical}}]}\n")
	for i := range n {
		if i%20 == 0 {
			fmt.Fprintf(&b, "- name: load%d\n  rules:\n", i/20)
		}
		threshold := []int{80, 60}[i%2]
		fmt.Fprintf(&b, "  - alert: Load%d\n    expr: load_50_%d_%d > %d\n    labels: {severity: warning}\n", i, firing(i/2), i/2+1, threshold)
		fmt.Fprintf(&b, "    annotations: {summary: '{{ $labels.instance }} is at {{ $value }}', description: 'above %d on {{ $labels.path }}'}\n", threshold)
	}
	return b.String()
}

// BenchmarkEvaluation is the whole process, durable as shipped, with 2,000 rules: what an evaluation costs once all
// that fires has been told, how much memory it takes, and how late a breach becomes an alert. quiet: nothing fires.
// mix: 10,600 alerts. storm: 100,000. See docs/performance.md.
func BenchmarkEvaluation(b *testing.B) {
	const rules = 2000
	for _, bc := range []struct {
		name     string
		interval time.Duration
		firing   func(i int) int
		alerts   int
	}{
		{"quiet", 5 * time.Second, func(int) int { return 0 }, 0},
		{"mix", 5 * time.Second, func(i int) int { return []int{0, 1, 0, 0, 1, 0, 50, 1, 0, 0}[i%10] }, 10600},
		{"storm", 30 * time.Second, func(int) int { return 50 }, 100_000},
	} {
		b.Run(bc.name, func(b *testing.B) {
			for range b.N {
				far := &load{}
				srv := httptest.NewServer(far)
				config := strings.Replace(strings.Replace(benchConfig, "5s", bc.interval.String(), 1), "[alertname, i]", "[alertname]", 1)
				w := newWorld(b, srv.URL, config, loadRules(rules, bc.firing))
				w.start()
				w.eventually(20*time.Second, "it answers", w.answers)
				if bc.alerts == 0 {
					w.ready()
				}
				w.eventually(5*time.Minute, "every alert has been told", func() bool {
					return w.metric("tocsin_evaluator_alerts", `state="firing"`) == float64(bc.alerts) && w.told()
				})
				measureEvaluation(b, w, far, bc.interval)
				w.stop()
				srv.Close()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func (w *world) answers() bool {
	res, err := http.Get(w.url + "/-/healthy")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// told reports that nothing has been written for a while: all incidents are open, all pages delivered.
func (w *world) told() bool {
	before := w.metric("tocsin_store_commits_total", "")
	<-time.After(5 * time.Second)
	return w.metric("tocsin_store_commits_total", "")-before < 20
}

func measureEvaluation(b *testing.B, w *world, far *load, interval time.Duration) {
	const cycles = 4
	evaluations := func() float64 { return w.metric("tocsin_evaluator_evaluations_total", "") }
	missed := func() float64 { return w.metric("tocsin_evaluator_group_iterations_missed_total", "") }
	cpu, evals, queries, answered, late := w.cpuSeconds(b), evaluations(), far.queries.Load(), far.answered.Load(), missed()
	<-time.After(cycles * interval)
	evals = evaluations() - evals
	b.ReportMetric((w.cpuSeconds(b)-cpu)/evals*1000, "cpu-s/1k-evaluations")
	b.ReportMetric(float64(far.queries.Load()-queries)/cycles, "queries/cycle")
	b.ReportMetric(float64(far.answered.Load()-answered)/evals, "answer-B/evaluation")
	b.ReportMetric(w.rssMB(b), "RSS-MB")
	b.ReportMetric(missed()-late, "missed")

	at := time.Now()
	far.breachedAt.Store(at.UnixMilli())
	before := w.metric("tocsin_evaluator_alerts", `state="firing"`)
	w.eventually(2*interval, "the breach is an alert", func() bool { return w.metric("tocsin_evaluator_alerts", `state="firing"`) > before })
	b.ReportMetric(time.Since(at).Seconds(), "breach-to-alert-s")
}

// metric sums the samples of a metric whose labels contain with.
func (w *world) metric(name, with string) float64 {
	res, err := http.Get(w.url + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' || !strings.Contains(rest, with) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += v
	}
	return sum
}
