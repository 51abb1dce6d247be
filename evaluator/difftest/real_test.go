package difftest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/evaluator/prometheus"
	"tocsin/evaluator/promtest"
	"tocsin/oncall"
	"tocsin/rules"
)

// realRules are evaluated by both each second. Several differ only in their threshold, and share a query.
const realRules = `
groups:
- name: session
  rules:
  - alert: High
    expr: ratio > 0.8
    for: 3s
    labels: {severity: critical, node: '{{ $labels.instance }}-node'}
    annotations: {summary: 'at {{ $value | humanizePercentage }} on {{ $labels.instance }}, {{ printf "%.3f" $value }}'}
  - alert: Warn
    expr: 0.6 < ratio
    labels: {severity: warning}
  - alert: Low
    expr: ratio <= 0.1
    annotations: {text: '{{ $value | humanize }} {{ $value | humanizeDuration }}'}
  - alert: Kept
    expr: ratio{instance="b"} > 0.9
    keep_firing_for: 3s
  - alert: Level
    expr: ratio{instance="c"} > 0.5
    labels: {level: '{{ if gt $value 0.8 }}red{{ else }}yellow{{ end }}'}
- name: forms
  rules:
  - alert: Gone
    expr: absent(ratio{instance="a"})
  - alert: Bool
    expr: ratio{instance="b"} > bool 0.5
  - alert: And
    expr: ratio > 0.6 and on(instance) load > 1
  - alert: Unless
    expr: ratio > 0.6 unless on(instance) load > 1
  - alert: Big
    expr: bytes > 1e6 or bytes == Inf
    annotations: {text: '{{ $value | humanize1024 }}B {{ $value | humanize }}'}
  - alert: NoNumber
    expr: load != load
  - alert: Twice
    expr: ratio > 0.65
    labels: {instance: ""}
`

// realStep sets series, and names the alerts that both must then have.
type realStep struct {
	name string
	set  map[string]float64
	gone string
	want []string
}

var realSteps = []realStep{
	{"quiet", map[string]float64{`ratio{instance="a"}`: 0.5, `ratio{instance="b"}`: 0.5, `ratio{instance="c"}`: 0.5, `load{instance="a"}`: 2,
		`load{instance="b"}`: 1, `bytes{instance="a"}`: 10}, "", []string{"Bool b firing"}},
	{"a step", map[string]float64{`ratio{instance="a"}`: 0.95},
		"", []string{"And a firing", "Bool b firing", "High a pending", "Twice  firing", "Warn a firing"}},
	{"its for ends", nil, "", []string{"And a firing", "Bool b firing", "High a firing", "Twice  firing", "Warn a firing"}},
	{"a second series", map[string]float64{`ratio{instance="b"}`: 0.9000001, `bytes{instance="a"}`: 3 << 20, `load{instance="a"}`: math.NaN()},
		"", []string{"Big a firing", "Bool b firing", "High a firing", "High b pending", "Kept b firing", "NoNumber a firing", "Twice  firing", "Unless a firing",
			"Unless b firing", "Warn a firing", "Warn b firing"}},
	{"flaps down", map[string]float64{`ratio{instance="b"}`: 0.05, `ratio{instance="c"}`: 0.6, `bytes{instance="a"}`: math.Inf(1)},
		"", []string{"Big a firing", "Bool b firing", "High a firing", "Kept b firing", "Level c firing", "Low b firing", "NoNumber a firing", "Twice  firing",
			"Unless a firing", "Warn a firing"}},
	{"kept until now", nil, "", []string{"Big a firing", "Bool b firing", "High a firing", "Level c firing", "Low b firing", "NoNumber a firing", "Twice  firing",
		"Unless a firing", "Warn a firing"}},
	{"another level, and a series that vanishes", map[string]float64{`ratio{instance="c"}`: 0.85}, `ratio{instance="a"}`,
		[]string{"Big a firing", "Bool b firing", "Gone a firing", "High c firing", "Level c firing", "Low b firing", "NoNumber a firing", "Twice  firing",
			"Unless c firing", "Warn c firing"}},
}

// known is one alert as one side has it.
type known struct {
	labels, state string
	annotations   map[string]string
	value         float64
	activeAt      time.Time
}

func (k known) String() string {
	return fmt.Sprintf("%s %s %v %v", k.labels, k.state, k.value, k.annotations)
}

// phase is how far apart both may see a series change: they evaluate at different instants of the second,
// so each may see a scrape one evaluation before the other.
const phase = 2100 * time.Millisecond

// TestRealPrometheus lets the prometheus binary and tocsin evaluate the same file over the same series. After
// each step both must come to the same alerts, labels, annotations and values, active since about the same
// time; and no alert may have gone through other states in one than in the other.
func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	exporter := promtest.NewExporter(t)
	for series, v := range realSteps[0].set {
		exporter.Set(series, v)
	}
	server := promtest.Start(t, promtest.Options{Targets: []string{exporter.Target()}, Rules: realRules})
	e := evaluateReal(t, server.URL)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	ours, theirs := record{}, record{}
	for _, step := range realSteps {
		for series, v := range step.set {
			exporter.Set(series, v)
		}
		exporter.Delete(step.gone)
		var a, b []known
		agreed := false
		for end := time.Now().Add(15 * time.Second); !agreed && time.Now().Before(end); {
			a, b = fromEvaluator(e), fromPrometheus(t, server.URL)
			ours.add(a)
			theirs.add(b)
			agreed = slices.Equal(brief(b), step.want) && agree(a, b) == ""
			if !agreed {
				<-time.After(40 * time.Millisecond)
			}
		}
		if !agreed {
			t.Fatalf("%s: want\n%s\ntocsin has\n%s\nPrometheus has\n%s\n%s", step.name, strings.Join(step.want, "\n"), lines(a), lines(b), agree(a, b))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(theirs)) {
		if !slices.Equal(ours[k], theirs[k]) {
			t.Errorf("%s went through %q, in Prometheus through %q", k, ours[k], theirs[k])
		}
	}
	if len(ours) != len(theirs) {
		t.Errorf("tocsin had %d alerts, Prometheus %d", len(ours), len(theirs))
	}
}

func evaluateReal(t *testing.T, base string) *evaluator.Evaluator {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	client, err := prometheus.New(prometheus.Config{URL: u, HTTP: promconfig.DefaultHTTPClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	set, problems := rules.Read([]string{"rules.yml"}, func(string) ([]byte, error) { return []byte(realRules), nil })
	if errs := problems.Errors(); len(errs) > 0 {
		t.Fatal(errs)
	}
	e := evaluator.New(evaluator.Options{Store: &forgetful{}})
	e.Apply(evaluator.Plan{Groups: set.Groups, Backend: client, BackendName: "test", Interval: time.Second, ExternalURL: base})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, oncall.Lease{}, time.Time{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
	return e
}

func fromEvaluator(e *evaluator.Evaluator) (out []known) {
	for _, g := range e.Groups() {
		for _, r := range g.Rules {
			for _, a := range r.Alerts {
				out = append(out, known{a.Labels.String(), string(a.State), a.Annotations, a.Value, a.ActiveAt})
			}
		}
	}
	return sorted(out)
}

func fromPrometheus(t *testing.T, base string) (out []known) {
	t.Helper()
	resp, err := http.Get(base + "/api/v1/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Data struct {
			Alerts []struct {
				Labels       labels.Labels
				Annotations  map[string]string
				State, Value string
				ActiveAt     time.Time
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	for _, a := range body.Data.Alerts {
		v, err := strconv.ParseFloat(a.Value, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, known{a.Labels.String(), a.State, a.Annotations, v, a.ActiveAt})
	}
	return sorted(out)
}

func sorted(list []known) []known {
	slices.SortFunc(list, func(a, b known) int { return strings.Compare(a.labels, b.labels) })
	return list
}

// brief names alerts by alertname, instance and state.
func brief(list []known) (out []string) {
	for _, k := range list {
		out = append(out, fmt.Sprintf("%s %s %s", label(k.labels, "alertname"), label(k.labels, "instance"), k.state))
	}
	slices.Sort(out)
	return out
}

func label(ls, name string) string {
	_, rest, _ := strings.Cut(ls, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// agree says how two lists of alerts differ; "" if they do not.
func agree(ours, theirs []known) string {
	if len(ours) != len(theirs) {
		return fmt.Sprintf("%d alerts, Prometheus has %d", len(ours), len(theirs))
	}
	for i, a := range ours {
		b := theirs[i]
		if a.labels != b.labels || a.state != b.state || !same(a.value, b.value) || !maps.Equal(a.annotations, b.annotations) ||
			a.activeAt.Sub(b.activeAt).Abs() > phase {
			return fmt.Sprintf("%s active at %s, Prometheus has %s active at %s", a, a.activeAt, b, b.activeAt)
		}
	}
	return ""
}

func lines(list []known) string {
	var out []string
	for _, k := range list {
		out = append(out, k.String())
	}
	return strings.Join(out, "\n")
}

// record has the states that each alert went through.
type record map[string][]string

func (r record) add(list []known) {
	now := map[string]string{}
	for _, k := range list {
		now[k.labels] = k.state
		if _, seen := r[k.labels]; !seen {
			r[k.labels] = nil
		}
	}
	for k, states := range r {
		state := now[k]
		if state == "" {
			state = "inactive"
		}
		if len(states) == 0 || states[len(states)-1] != state {
			r[k] = append(states, state)
		}
	}
}
