package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/oncall"
)

// failer is what helpers need of a test, of rapid or not.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// fixedRules is a source that shows what it was given.
type fixedRules []evaluator.GroupStatus

func (f fixedRules) Groups() []evaluator.GroupStatus { return f }

// recorded is one answer of Prometheus, see testdata/prometheus/record.go.
type recorded struct {
	Request string
	Status  int
	Body    json.RawMessage
}

func readRecorded(t testing.TB) []recorded {
	t.Helper()
	b, err := os.ReadFile("testdata/prometheus/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// number is a value as Prometheus writes it: a string, with infinities.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	text, err := strconv.Unquote(string(b))
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(text, 64)
	*n = number(f)
	return err
}

// seconds is a duration as Prometheus writes it.
type seconds time.Duration

func (s *seconds) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	*s = seconds(math.Round(f * float64(time.Second)))
	return err
}

type promRule struct {
	State, Name, Query, Health, LastError, Type string
	Duration, KeepFiringFor, EvaluationTime     seconds
	Labels                                      labels.Labels
	Annotations                                 map[string]string
	LastEvaluation                              time.Time
	Alerts                                      []struct {
		Labels                    labels.Labels
		Annotations               map[string]string
		State                     string
		ActiveAt, KeepFiringSince time.Time
		Value                     number
	}
}

type promGroups struct {
	Data struct {
		Groups []struct {
			Name, File               string
			Rules                    []promRule
			Interval, EvaluationTime seconds
			Limit                    int
			LastEvaluation           time.Time
		}
	}
}

// mirrored is a source that shows what Prometheus showed at /api/v1/rules, with the groups in another order.
func mirrored(t failer, body []byte) fixedRules {
	t.Helper()
	var answer promGroups
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	var groups fixedRules
	for _, g := range answer.Data.Groups {
		group := evaluator.GroupStatus{Name: g.Name, File: g.File, Interval: time.Duration(g.Interval), Limit: g.Limit,
			EvaluationTime: time.Duration(g.EvaluationTime), LastEvaluation: g.LastEvaluation}
		for _, r := range g.Rules {
			group.Rules = append(group.Rules, r.status())
		}
		groups = append(groups, group)
	}
	slices.Reverse(groups)
	return groups
}

func (r promRule) status() evaluator.RuleStatus {
	s := evaluator.RuleStatus{Type: evaluator.RuleType(r.Type), Name: r.Name, Query: r.Query, For: time.Duration(r.Duration),
		KeepFiringFor: time.Duration(r.KeepFiringFor), Labels: r.Labels, Annotations: r.Annotations, Health: r.Health, LastError: r.LastError,
		EvaluationTime: time.Duration(r.EvaluationTime), LastEvaluation: r.LastEvaluation, State: oncall.StateInactive}
	for _, a := range r.Alerts {
		s.Alerts = append(s.Alerts, evaluator.AlertStatus{Labels: a.Labels, Annotations: a.Annotations, State: oncall.AlertState(a.State),
			ActiveAt: a.ActiveAt, KeepFiringSince: a.KeepFiringSince, Value: float64(a.Value)})
		s.State = oncall.AlertState(a.State)
	}
	return s
}

// escaped brings an answer into a form in which only what JSON tells apart differs: Prometheus escapes less.
func escaped(body []byte) string {
	var compact, out bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		return "no JSON: " + string(body)
	}
	json.HTMLEscape(&out, compact.Bytes())
	return out.String()
}

// tokens puts the tokens of the recorded groups in the places of $0, $1, ….
func tokens(request string) string {
	for i, g := range []evaluator.GroupStatus{{File: "a.yml", Name: "alpha"}, {File: "a.yml", Name: "records"}, {File: "b.yml", Name: "alpha"}, {File: "b.yml", Name: "beta <&>"}} {
		request = strings.ReplaceAll(request, fmt.Sprint("$", i), groupToken(&g))
	}
	return request
}
