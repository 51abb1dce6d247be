package e2etest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/evaluator/promtest"
)

const rulesConfig = `
prometheus: {url: $PROM}
rule_files: [rules.yml]
evaluation_interval: 1s
remote_write: {url: $WRITE}
escalations:
- name: default
  tiers: [{receiver: phone}]
receivers:
- name: phone
  page_configs: [{url: $PAGER/phone, secret_file: page}]
`

// sameRules are evaluated by Prometheus and by tocsin.
const sameRules = `
groups:
- name: session
  limit: 5
  rules:
  - alert: MemoryHigh
    expr: session_memory_ratio > 0.8
    labels: {severity: critical, node: '{{ $labels.instance }}-node'}
    annotations: {summary: 'Memory at {{ $value | humanizePercentage }} <on> {{ $labels.instance }} & "more"'}
  - alert: MemoryHigh
    expr: session_memory_ratio > 0.6
    for: 1h
    labels: {severity: warning}
  - alert: Quiet
    expr: session_memory_ratio > 100
    for: 90s
  - record: session:memory:max
    expr: max(session_memory_ratio)
    labels: {team: session}
- name: another
  interval: 2s
  rules:
  - alert: Ambiguous
    expr: session_memory_ratio / on() session_memory_ratio > 0
  - alert: Gone
    expr: absent(session_gone{instance="x"})
`

// TestRulesAsPrometheus lets a real Prometheus and tocsin evaluate the same rules over the same series, and
// compares what they answer, for every parameter that this Prometheus knows.
func TestRulesAsPrometheus(t *testing.T) {
	t.Parallel()
	exporter := promtest.NewExporter(t)
	exporter.Set(`session_memory_ratio{instance="a"}`, 0.9)
	exporter.Set(`session_memory_ratio{instance="b"}`, 0.95)
	exporter.Set(`session_memory_ratio{instance="c"}`, 0.7)
	prom := promtest.Start(t, promtest.Options{Targets: []string{exporter.Target()}, Rules: sameRules})
	written := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(written.Close)
	w := newWorld(t, prom.URL, strings.ReplaceAll(rulesConfig, "$WRITE", written.URL), sameRules)
	w.extra = []string{"--web.route-prefix", "/alerting"}
	began := time.Now().Add(-time.Minute)
	w.start()
	ours := w.url + "/alerting"
	compare := func(request string) {
		t.Helper()
		var theirs, got string
		if !until(patience, func() bool {
			theirs, got = answered(t, prom.URL+request, began), answered(t, ours+request, began)
			return theirs == got && got != ""
		}) {
			t.Errorf("%s:\n%s\nPrometheus says\n%s", request, got, theirs)
		}
	}
	compare("/api/v1/rules")
	compare("/api/v1/alerts")
	for _, q := range []string{"type=alert", "type=record", "type=ALERT", "type=nonsense"} {
		compare("/api/v1/rules?" + q)
	}
	// 2.42 does not know these; whoever runs the test with a later one compares them too.
	if answered(t, prom.URL+"/api/v1/rules?rule_name[]=nothing", began) != answered(t, prom.URL+"/api/v1/rules", began) {
		for _, q := range []string{"rule_name[]=MemoryHigh", "rule_name[]=nothing", "rule_group[]=another&rule_name[]=Gone", "file[]=nothing"} {
			compare("/api/v1/rules?" + q)
		}
	}
	w.showsWhatIsDocumented(t, ours)
}

// fetch returns a body, whatever the status; nil where nothing answers.
func fetch(t *testing.T, address string) []byte {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil
	}
	return b
}

// answered returns an answer without what two servers cannot agree on: instants and durations of evaluations,
// paths, the words of errors, the order of alerts, and fields that Prometheus 2.42 does not have.
func answered(t *testing.T, address string, began time.Time) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(fetch(t, address), &v); err != nil {
		return ""
	}
	out, err := json.MarshalIndent(settled(t, "", v, began), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func settled(t *testing.T, key string, v any, began time.Time) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = settled(t, k, e, began)
		}
		delete(v, "keepFiringFor")                 // not in 2.42
		if groups, ok := v["groups"].([]any); ok { // 2.42 keeps groups of which no rule is wanted
			v["groups"] = slices.DeleteFunc(groups, func(g any) bool { return len(g.(map[string]any)["rules"].([]any)) == 0 })
		}
	case []any:
		for i, e := range v {
			v[i] = settled(t, "", e, began)
		}
		if key == "alerts" {
			slices.SortFunc(v, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	case string:
		switch key {
		case "activeAt", "lastEvaluation":
			at, err := time.Parse(time.RFC3339Nano, v)
			return err == nil && at.After(began) && at.Before(time.Now().Add(time.Minute))
		case "file":
			return filepath.Base(v)
		case "lastError", "error":
			return v != ""
		}
	case float64:
		if key == "evaluationTime" {
			return v > 0 && v < 10
		}
	}
	return v
}

// showsWhatIsDocumented wants a row of docs/metrics.md for every metric of ours that a running tocsin shows,
// with its type and its labels.
func (w *world) showsWhatIsDocumented(t *testing.T, base string) {
	t.Helper()
	document, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][2]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tocsin_[a-z0-9_]+)` \\| ([a-z]+) \\| ([^|]*) \\|").FindAllSubmatch(document, -1) {
		rows[string(m[1])] = [2]string{string(m[2]), string(m[3])}
	}
	label := regexp.MustCompile(`[{,]([a-z_]+)="`)
	shown := map[string]bool{}
	kind := ""
	for line := range bytes.Lines(fetch(t, base+"/metrics")) {
		if rest, ok := bytes.CutPrefix(line, []byte("# TYPE ")); ok {
			name, of, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
			if kind = ""; strings.HasPrefix(name, "tocsin_") {
				kind, shown[name] = of, true
				if rows[name][0] != of {
					t.Errorf("docs/metrics.md says that %s is a %q; it is a %s", name, rows[name][0], of)
				}
			}
			continue
		}
		name, _, _ := strings.Cut(string(line), "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if kind == "histogram" {
				name = strings.TrimSuffix(name, suffix)
			}
		}
		for _, m := range label.FindAllSubmatch(line, -1) {
			if l := string(m[1]); kind != "" && l != "le" && !strings.Contains(rows[name][1], "`"+l+"`") {
				t.Errorf("docs/metrics.md does not speak of the label %s of %s", l, name)
			}
		}
	}
	if len(shown) < 20 {
		t.Errorf("only these metrics are shown: %v", slices.Sorted(maps.Keys(shown)))
	}
}
