package rules

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
	"go.yaml.in/yaml/v3"

	"tocsin/oncall"
	"tocsin/problem"
)

type ruleBlock struct {
	Record        problem.At[string]                        `yaml:"record"`
	Alert         problem.At[string]                        `yaml:"alert"`
	Expr          *yaml.Node                                `yaml:"expr"`
	For           model.Duration                            `yaml:"for"`
	KeepFiringFor model.Duration                            `yaml:"keep_firing_for"`
	Labels        map[problem.At[string]]problem.At[string] `yaml:"labels"`
	Annotations   map[problem.At[string]]*yaml.Node         `yaml:"annotations"`
	Escalation    problem.At[string]                        `yaml:"escalation"`
}

// ExplainKey refuses what a later build will do.
func (*ruleBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "no_data", "no_data_for":
		return strconv.Quote(key) + " is not supported by this build yet",
			"a series that vanishes would resolve the alert, as in Prometheus: remove it, or add an absent() rule"
	case "recover":
		return `"recover" is not supported by this build yet`, "the alert would resolve at its threshold: remove it, and use keep_firing_for"
	}
	return "", ""
}

// promQL understands what Prometheus understands without feature flags. It holds no state.
var promQL = parser.NewParser(parser.Options{})

// rule decodes one rule. ok is false where it cannot become one.
func (f *file) rule(n *yaml.Node, groupLabels map[problem.At[string]]problem.At[string]) (r Rule, ok bool) {
	var b ruleBlock
	before := len(f.problems.Errors())
	f.problems = append(f.problems, f.doc.Decode(n, &b)...)
	switch {
	case b.Record.Value != "" && b.Alert.Value != "":
		f.add(b.Record.Place.Errorf("a rule has record or alert, not both"))
	case b.Record.Value != "":
		f.add(b.Record.Place.Errorf("recording rules are not supported by this build yet").
			WithHint("leave them to Prometheus: its rule_files may hold a file of their own"))
	case b.Alert.Value == "":
		at := f.doc.At(n)
		if b.Alert.IsSet() {
			at = b.Alert.Place
		}
		f.add(at.Errorf("this rule needs the name of its alert").WithHint("such as alert: SessionMemoryHigh"))
	}
	r = Rule{Alert: b.Alert.Value, For: time.Duration(b.For), KeepFiringFor: time.Duration(b.KeepFiringFor),
		Escalation: b.Escalation.Value, Line: n.Line, Annotations: map[string]string{}}
	r.Expr = f.expr(n, b.Expr)
	f.checkLabels(b.Labels)
	for key, value := range b.Labels {
		f.template(r.Alert, "label", key, value.Value, nil)
	}
	for key, node := range b.Annotations {
		if !model.UTF8Validation.IsValidLabelName(key.Value) {
			f.add(key.Place.Errorf("invalid annotation name %q", key.Value))
		}
		var text string
		f.problems = append(f.problems, f.doc.Decode(node, &text)...)
		f.template(r.Alert, "annotation", key, text, node)
		r.Annotations[key.Value] = text
	}
	merged := values(groupLabels)
	for k, v := range b.Labels {
		merged[k.Value] = v.Value
	}
	r.Labels = labels.FromMap(merged)
	at := f.doc.At(n)
	if b.Escalation.IsSet() {
		at = b.Escalation.Place
		if r.Escalation == "" {
			f.add(at.Errorf("the escalation's name is empty").WithHint("leave it out for the escalation named default"))
		}
	} else if b.Alert.IsSet() {
		at = b.Alert.Place
	}
	f.set.Refs = append(f.set.Refs, oncall.Ref{Kind: oncall.RefEscalation, Name: r.Escalation, At: at})
	return r, len(f.problems.Errors()) == before
}

// expr parses a rule's expression and reports what is wrong where it is wrong.
func (f *file) expr(rule, n *yaml.Node) parser.Expr {
	var text string
	if n != nil {
		if l := f.doc.Decode(n, &text); len(l) > 0 {
			f.problems = append(f.problems, l...)
			return nil
		}
	}
	if text == "" {
		at := f.doc.At(rule)
		if n != nil {
			at = f.doc.At(n)
		}
		f.add(at.Errorf("this rule needs an expr").WithHint("a PromQL expression such as up == 0"))
		return nil
	}
	e, err := promQL.ParseExpr(text)
	if err == nil {
		if t := e.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
			f.add(f.doc.At(n).Warnf("expr yields a %s: an alert needs a vector, so every evaluation will fail", parser.DocumentedType(t)))
		}
		return e
	}
	many, ok := errors.AsType[parser.ParseErrors](err)
	if !ok {
		if one, ok := errors.AsType[*parser.ParseErr](err); ok {
			many = parser.ParseErrors{*one}
		}
	}
	if len(many) == 0 {
		f.add(f.doc.At(n).Errorf("expr: %v", err))
	}
	for _, p := range many {
		f.add(f.doc.Offset(n, int(p.PositionRange.Start)).Errorf("expr: %v", p.Err))
	}
	return nil
}

func (f *file) checkLabels(m map[problem.At[string]]problem.At[string]) {
	for key, value := range m {
		if !model.UTF8Validation.IsValidLabelName(key.Value) || key.Value == model.MetricNameLabel {
			f.add(key.Place.Errorf("invalid label name %q", key.Value))
		}
		if !model.LabelValue(value.Value).IsValid() {
			f.add(key.Place.Errorf("the value of label %q is not UTF-8", key.Value))
		}
	}
}

// template checks that a label or annotation can be expanded. node is the text's, for the line; nil: key's.
func (f *file) template(alert, what string, key problem.At[string], text string, node *yaml.Node) {
	if alert == "" {
		return
	}
	err := checkTemplate(alert, text)
	if err == nil {
		return
	}
	at := key.Place
	if node != nil {
		at = f.doc.Offset(node, err.offset)
	}
	f.add(at.Errorf("%s %q is no valid template: %s", what, key.Value, err.message))
}

type templateError struct {
	message string
	offset  int // of the line, in bytes
}

// templateDefinitions are the names that Prometheus gives to every template.
const templateDefinitions = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

var templateLine = regexp.MustCompile(`^(\d+)(?::\d+)?: `)

// checkTemplate parses a template as Prometheus does, with its functions.
func checkTemplate(alert, text string) *templateError {
	if !strings.Contains(text, "{{") {
		return nil
	}
	name := "__alert_" + alert
	data := template.AlertTemplateData(map[string]string{}, map[string]string{}, "", promql.Sample{})
	err := template.NewTemplateExpander(context.Background(), templateDefinitions+text, name, data, 0, nil, nil, nil).ParseTest()
	if err == nil {
		return nil
	}
	message := strings.TrimPrefix(err.Error(), "template: "+name+":")
	e := &templateError{message: message}
	m := templateLine.FindStringSubmatch(message)
	if m == nil {
		return e
	}
	e.message = message[len(m[0]):]
	line, _ := strconv.Atoi(m[1])
	for ; line > 1; line-- {
		end := strings.IndexByte(text[e.offset:], '\n')
		if end < 0 {
			break
		}
		e.offset += end + 1
	}
	return e
}
