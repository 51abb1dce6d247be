package evaluator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	promconfig "github.com/prometheus/common/config"

	"tocsin/evaluator"
	"tocsin/evaluator/prometheus"
	"tocsin/evaluator/promtest"
	"tocsin/oncall"
	"tocsin/rules"
)

// The same rules for both. keep_firing_for is left to the transcripts: the two ask at different instants,
// and so would end it at different times.
const realRules = `
groups:
- name: session
  rules:
  - alert: MemoryHigh
    expr: session_memory_ratio > 0.8
    for: 3s
    labels: {severity: critical, node: '{{ $labels.instance }}-node'}
  - alert: SessionGone
    expr: absent(session_memory_ratio{instance="a"})
`

func realGroup(t *testing.T) []rules.Group {
	t.Helper()
	parse := func(s string) parser.Expr {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	return []rules.Group{{Name: "session", File: "rules.yml", Rules: []rules.Rule{
		{ID: "1", Alert: "MemoryHigh", Expr: parse(`session_memory_ratio > 0.8`), For: 3 * time.Second,
			Labels: labels.FromStrings("severity", "critical", "node", "{{ $labels.instance }}-node")},
		{ID: "2", Alert: "SessionGone", Expr: parse(`absent(session_memory_ratio{instance="a"})`)},
	}}}
}

// TestAgainstPrometheus lets Prometheus and tocsin evaluate the same rules over the same series: a step, a
// flap, a series that vanishes.
func TestAgainstPrometheus(t *testing.T) {
	t.Parallel()
	exporter := promtest.NewExporter(t)
	exporter.Set(`session_memory_ratio{instance="a"}`, 0.5)
	exporter.Set(`session_memory_ratio{instance="b"}`, 0.5)
	server := promtest.Start(t, promtest.Options{Targets: []string{exporter.Target()}, Rules: realRules})
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := prometheus.New(prometheus.Config{URL: u, HTTP: promconfig.DefaultHTTPClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer http.DefaultClient.CloseIdleConnections()
	store := evaluator.NewMemStore()
	e := evaluator.New(evaluator.Options{Store: store})
	e.Apply(evaluator.Plan{Groups: realGroup(t), Backend: client, BackendName: "test", Interval: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, oncall.Lease{}, time.Time{}) }()

	both := func(what string, want ...string) {
		t.Helper()
		var theirs, ours string
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
			theirs, ours = alertsOf(t, server.URL), storedAlerts(store)
			if theirs == strings.Join(want, "\n") && ours == theirs {
				return
			}
		}
		t.Errorf("%s: want\n%s\nPrometheus has\n%s\ntocsin has\n%s", what, strings.Join(want, "\n"), theirs, ours)
	}
	firing := func(i string) string {
		return fmt.Sprintf(`{alertname="MemoryHigh", instance=%q, job="test", node="%s-node", severity="critical"} firing`, i, i)
	}
	both("quiet")
	exporter.Set(`session_memory_ratio{instance="a"}`, 0.9)
	both("step", firing("a"))
	exporter.Set(`session_memory_ratio{instance="b"}`, 0.81)
	both("a second series", firing("a"), firing("b"))
	exporter.Set(`session_memory_ratio{instance="b"}`, 0.79)
	both("flap down", firing("a"))
	exporter.Set(`session_memory_ratio{instance="b"}`, 0.95)
	both("flap up", firing("a"), firing("b"))
	exporter.Delete(`session_memory_ratio{instance="a"}`)
	both("vanished", firing("b"), `{alertname="SessionGone", instance="a"} firing`)

	before := len(evaluator.Told(store, 0))
	server.Stop()
	for end := time.Now().Add(10 * time.Second); len(evaluator.Told(store, before)) < 2 && time.Now().Before(end); {
		<-time.After(50 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, p := range evaluator.Check(store) {
		t.Error(p)
	}
	told := slices.Sorted(slices.Values(evaluator.Told(store, before)))
	if !slices.Equal(told, []string{"unknown MemoryHigh", "unknown SessionGone"}) {
		t.Errorf("after Prometheus stopped: %q", told)
	}
	if n := len(evaluator.Stored(store)); n != 2 {
		t.Errorf("%d alerts left", n)
	}
}

// alertsOf lists what Prometheus itself makes of the rules.
func alertsOf(t *testing.T, base string) string {
	t.Helper()
	resp, err := http.Get(base + "/api/v1/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Data struct {
			Alerts []struct {
				Labels labels.Labels
				State  string
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range body.Data.Alerts {
		out = append(out, a.Labels.String()+" "+a.State)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func storedAlerts(s *evaluator.MemStore) string {
	var out []string
	for _, a := range evaluator.Stored(s) {
		out = append(out, a.Labels.String()+" "+string(a.State))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
