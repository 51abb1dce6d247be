//go:build ignore

// This program asks Prometheus' own rule API, in this process, and prints what it answers: answers.json,
// which TestAnswersAsPrometheus holds against ours. It is outside the module, since Prometheus' API needs
// some fifty modules that tocsin does not. To repeat it, in an empty directory:
//
//	go mod init record && cp …/record.go . && go get github.com/prometheus/prometheus@v0.315.0 && go mod tidy
//	TZ=UTC go run record.go > …/answers.json
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

var at = time.Date(2024, 9, 23, 13, 0, 0, 123456789, time.UTC)

// requests are recorded, each with its answer.
var requests = []string{
	"/rules", "/alerts",
	"/rules?type=alert", "/rules?type=record", "/rules?type=ALERT", "/rules?type=", "/rules?type=nonsense", "/rules?type=alert&type=record",
	"/rules?rule_name[]=MemoryHigh", "/rules?rule_name[]=MemoryHigh&rule_name[]=job:up:sum", "/rules?rule_name[]=nothing", "/rules?rule_name[]=",
	"/rules?rule_group[]=alpha", "/rules?rule_group[]=alpha&rule_group[]=records", "/rules?rule_group[]=ALPHA",
	"/rules?file[]=a.yml", "/rules?file[]=a.yml&file[]=b.yml", "/rules?file[]=a", "/rules?file[]=a.yml&rule_group[]=alpha&rule_name[]=MemoryHigh&type=alert",
	`/rules?match[]={severity="critical"}`, `/rules?match[]={severity="critical",team="a"}`, `/rules?match[]={severity="critical"}&match[]={team="b"}`,
	`/rules?match[]={severity=~"cri.*|warn.*"}`, `/rules?match[]={severity!="critical"}`, `/rules?match[]={team="a",severity!="critical"}`,
	`/rules?match[]=up`, `/rules?match[]={node="{{ $labels.instance }}"}`, `/rules?match[]={severity=~".*"}`, `/rules?match[]={`, `/rules?match[]=`, `/rules?match[]={}`,
	`/rules?match[]={severity="critical"}&match[]={severity=~".*"}`, `/rules?match[]=sum(up)`,
	"/rules?exclude_alerts=true", "/rules?exclude_alerts=1", "/rules?exclude_alerts=TRUE", "/rules?exclude_alerts=false", "/rules?exclude_alerts=", "/rules?exclude_alerts=maybe",
	"/rules?group_limit=1", "/rules?group_limit=2", "/rules?group_limit=100", "/rules?group_limit=0", "/rules?group_limit=-1", "/rules?group_limit=x", "/rules?group_limit=99999999999", "/rules?group_limit=",
	"/rules?group_limit=1&type=record", "/rules?group_limit=1&rule_name[]=MemoryHigh", "/rules?group_limit=1&group_next_token=nonsense",
	"/rules?group_next_token=nonsense", "/rules?group_next_token=",
	"/rules?group_limit=1&group_next_token=$1", "/rules?group_limit=2&group_next_token=$1", "/rules?group_limit=1&group_next_token=$2", "/rules?group_limit=1&group_next_token=$3",
	"/rules?group_limit=1&group_next_token=$1&type=record", "/rules?group_limit=1&group_next_token=$1&rule_group[]=alpha", "/rules?group_next_token=$1",
	"/rules?limit=1&unknown=yes", "/rules?%zz=1", "/alerts?anything=1",
}

type answer struct {
	Request string
	Status  int
	Body    json.RawMessage
}

type source struct{ groups []*rules.Group }

func (s source) RuleGroups() []*rules.Group { return s.groups }

func (s source) AlertingRules() []*rules.AlertingRule {
	var out []*rules.AlertingRule
	for _, g := range s.groups {
		for _, r := range g.Rules() {
			if a, ok := r.(*rules.AlertingRule); ok {
				out = append(out, a)
			}
		}
	}
	return out
}

var parse = parser.NewParser(parser.Options{})

func expr(s string) parser.Expr {
	e, err := parse.ParseExpr(s)
	if err != nil {
		panic(err)
	}
	return e
}

// alert makes a rule and evaluates it: once for each value, 10s apart. The values fails and nothing
// stand for a query that fails, and for an empty answer.
func alert(name, query string, hold, keep time.Duration, ls, annotations []string, values ...float64) rules.Rule {
	r := rules.NewAlertingRule(name, expr(query), hold, keep, labels.FromStrings(ls...), labels.FromStrings(annotations...),
		labels.FromStrings("cluster", "x"), "http://prometheus.example", true, slog.New(slog.DiscardHandler))
	for i, v := range values {
		evaluate(r, at.Add(time.Duration(i)*10*time.Second), v)
	}
	return r
}

func record(name, query string, ls []string, value float64) rules.Rule {
	r := rules.NewRecordingRule(name, expr(query), labels.FromStrings(ls...))
	evaluate(r, at, value)
	return r
}

func evaluate(r rules.Rule, now time.Time, v float64) {
	query := func(context.Context, string, time.Time) (promql.Vector, error) {
		switch {
		case v == fails:
			return nil, errors.New(`the query <failed> & "how"`)
		case math.IsInf(v, -1):
			return nil, nil
		}
		return promql.Vector{{T: now.UnixMilli(), F: v, Metric: labels.FromStrings("__name__", "up", "instance", "session-1:9100", "job", "shop")}}, nil
	}
	_, err := r.Eval(context.Background(), 0, now, query, nil, 0)
	r.SetHealth(rules.HealthGood)
	if err != nil {
		r.SetHealth(rules.HealthBad)
		r.SetLastError(err)
	}
	r.SetEvaluationTimestamp(now)
	r.SetEvaluationDuration(1234567 * time.Nanosecond)
}

func group(file, name string, interval time.Duration, limit int, rs ...rules.Rule) *rules.Group {
	return rules.NewGroup(rules.GroupOptions{File: file, Name: name, Interval: interval, Limit: limit, Rules: rs,
		Opts: &rules.ManagerOptions{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}})
}

const (
	fails  = math.Pi
	minute = time.Minute
)

var nothing = math.Inf(-1)

func groups() []*rules.Group {
	return []*rules.Group{
		group("a.yml", "alpha", 15*time.Second, 0,
			alert("MemoryHigh", "session_memory_ratio > 0.8", 0, 0, []string{"severity", "critical", "team", "a"},
				[]string{"summary", "Memory at {{ $value }} on {{ $labels.instance }}", "b", `<script> & "quotes" \ é 日本 	`}, 0.9),
			alert("MemoryHigh", "session_memory_ratio > 0.6", 2*minute, 0, []string{"severity", "warning", "team", "a"}, nil, 0.7),
			record("job:up:sum", "sum by (job) (up)", []string{"team", "a"}, 3)),
		group("a.yml", "records", 250*time.Millisecond, 7,
			record("job:up:sum", "sum by (job) (up)", nil, 1),
			record("failing", "up", []string{"severity", "critical"}, fails)),
		group("b.yml", "alpha", 90*time.Minute, 0,
			alert("Quiet", `up{job="shop"} == 0`, 90*time.Second, 1500*time.Millisecond, []string{"severity", "critical", "team", "b"}, nil, nothing),
			alert("Kept", "up == 1", 0, 5*minute, nil, nil, 1, nothing),
			alert("Failing", "up", minute, 0, []string{"node", "{{ $labels.instance }}"}, nil, 1e21, fails),
			alert("NeverAsked", "vector(1)", 0, 0, nil, []string{"summary", "{{ $value }}"})),
		group("b.yml", "beta <&>", minute, 0,
			alert("Huge", "x > 1", 0, 0, nil, nil, math.Inf(1)),
			alert("Number", "x != 1", 0, 0, nil, nil, math.NaN()),
			alert("Zero", "x == 0", 0, 0, nil, nil, 0),
			alert("Small", "x < 1", 0, 0, nil, nil, -1.5e-9)),
	}
}

func main() {
	src := source{groups()}
	pass := func(f http.HandlerFunc) http.HandlerFunc { return f }
	api := v1.NewAPI(nil, nil, nil, nil, nil, nil, nil, nil, func() config.Config { return config.Config{} }, nil, v1.GlobalURLOptions{},
		pass, nil, "", false, false, 0, slog.New(slog.DiscardHandler), func(context.Context) v1.RulesRetriever { return src }, 0, 0, 0, false, nil,
		nil, &v1.PrometheusVersion{}, nil, nil, nil, prometheus.NewRegistry(), nil, false, nil, false, false, false, false, 0, false, false, nil, nil,
		v1.OpenAPIOptions{}, nil)
	router := route.New().WithPrefix("/api/v1")
	api.Register(router)
	var out []answer
	for _, request := range requests {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/api/v1/", nil)
		req.URL.Path, req.URL.RawQuery = split("/api/v1" + substituted(request))
		router.ServeHTTP(rec, req)
		out = append(out, answer{request, rec.Code, rec.Body.Bytes()})
	}
	fmt.Println("[")
	for i, a := range out {
		line, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		comma := ","
		if i == len(out)-1 {
			comma = ""
		}
		fmt.Println(string(line) + comma)
	}
	fmt.Println("]")
}

// split cuts a request into its path and its query.
func split(request string) (path, query string) {
	for i, c := range request {
		if c == '?' {
			return request[:i], request[i+1:]
		}
	}
	return request, ""
}

// substituted puts the token of a group in the place of $1, $2, $3, …: the answer names it.
func substituted(request string) string {
	files := []string{"a.yml;alpha", "a.yml;records", "b.yml;alpha", "b.yml;beta <&>"}
	for i, f := range files {
		request = strings.ReplaceAll(request, fmt.Sprint("$", i), fmt.Sprintf("%x", sha256.Sum256([]byte(f))))
	}
	return request
}
