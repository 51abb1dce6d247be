package rules

import (
	"context"
	"errors"
	"math"
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
	Record        problem.At[string]                            `yaml:"record"`
	Alert         problem.At[string]                            `yaml:"alert"`
	Expr          *yaml.Node                                    `yaml:"expr"`
	For           problem.At[model.Duration]                    `yaml:"for"`
	KeepFiringFor problem.At[model.Duration]                    `yaml:"keep_firing_for"`
	Labels        map[problem.At[string]]problem.At[string]     `yaml:"labels"`
	Annotations   problem.At[map[problem.At[string]]*yaml.Node] `yaml:"annotations"`
	Escalation    problem.At[string]                            `yaml:"escalation"`
	NoData        problem.At[string]                            `yaml:"no_data"`
	NoDataFor     problem.At[time.Duration]                     `yaml:"no_data_for"`
	Recover       problem.At[float64]                           `yaml:"recover"`
}

// promQL understands what Prometheus understands without feature flags. It holds no state.
var promQL = parser.NewParser(parser.Options{})

// rule decodes one rule. ok is false where it cannot become one.
func (f *file) rule(n *yaml.Node, groupLabels map[problem.At[string]]problem.At[string]) (r Rule, ok bool) {
	var b ruleBlock
	before := len(f.problems.Errors())
	f.problems = append(f.problems, f.doc.Decode(n, &b)...)
	r = Rule{Alert: b.Alert.Value, Record: b.Record.Value, For: time.Duration(b.For.Value), KeepFiringFor: time.Duration(b.KeepFiringFor.Value),
		Escalation: b.Escalation.Value, Line: n.Line, Annotations: map[string]string{}}
	switch {
	case r.Record != "" && r.Alert != "":
		f.add(b.Record.Place.Errorf("a rule has record or alert, not both"))
	case r.Record == "" && r.Alert == "":
		at := f.doc.At(n)
		if b.Alert.IsSet() {
			at = b.Alert.Place
		}
		f.add(at.Errorf("this rule needs the name of its alert").WithHint("such as alert: SessionMemoryHigh"))
	}
	r.Expr = f.expr(n, b.Expr)
	f.checkLabels(b.Labels)
	merged := values(groupLabels)
	for k, v := range b.Labels {
		merged[k.Value] = v.Value
	}
	r.Labels = labels.FromMap(merged)
	if r.Record != "" {
		f.recording(&b)
	} else {
		f.alerting(n, &b, &r)
	}
	return r, len(f.problems.Errors()) == before
}

// alerting decodes what only an alerting rule has.
func (f *file) alerting(n *yaml.Node, b *ruleBlock, r *Rule) {
	for key, value := range b.Labels {
		f.template(r.Alert, "label", key, value.Value, nil)
	}
	for key, node := range b.Annotations.Value {
		if !model.UTF8Validation.IsValidLabelName(key.Value) {
			f.add(key.Place.Errorf("invalid annotation name %q", key.Value))
		}
		var text string
		f.problems = append(f.problems, f.doc.Decode(node, &text)...)
		f.template(r.Alert, "annotation", key, text, node)
		r.Annotations[key.Value] = text
	}
	f.threshold(b, r)
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
}

// recording checks a recording rule: its name as Prometheus does, and that it has nothing of an alert's.
func (f *file) recording(b *ruleBlock) {
	name := b.Record
	switch {
	case !model.UTF8Validation.IsValidMetricName(name.Value):
		f.add(name.Place.Errorf("invalid metric name %q", name.Value))
	case strings.ContainsAny(name.Value, "{}"):
		f.add(name.Place.Errorf("the metric name %q has braces", name.Value).WithHint("the labels of what is recorded go below labels"))
	case name.Value == "ALERTS" || name.Value == "ALERTS_FOR_STATE":
		f.add(name.Place.Warnf("%s is what alerting rules write: the two would contradict each other", name.Value).WithHint("choose another name"))
	}
	for _, field := range []struct {
		key string
		set bool
		at  problem.Place
	}{
		{"for", b.For.Value != 0, b.For.Place},
		{"keep_firing_for", b.KeepFiringFor.Value != 0, b.KeepFiringFor.Place},
		{"annotations", len(b.Annotations.Value) > 0, b.Annotations.Place},
		{"escalation", b.Escalation.IsSet(), b.Escalation.Place},
		{"no_data", b.NoData.IsSet(), b.NoData.Place},
		{"no_data_for", b.NoDataFor.IsSet(), b.NoDataFor.Place},
		{"recover", b.Recover.IsSet(), b.Recover.Place},
	} {
		if field.set {
			f.add(field.at.Errorf("a recording rule has no %s: it belongs to an alert", field.key))
		}
	}
	for key, value := range b.Labels {
		if strings.Contains(value.Value, "{{") {
			f.add(key.Place.Warnf("the labels of a recording rule are no templates: %q is written as it stands here", key.Value))
		}
	}
	f.set.Refs = append(f.set.Refs, oncall.Ref{Kind: RefRecord, Name: name.Value, At: name.Place})
}

// threshold decodes what needs to know on which side of its threshold a series is: no_data and recover.
func (f *file) threshold(b *ruleBlock, r *Rule) {
	r.NoData = NoDataOK
	var t Threshold
	reason := ""
	if r.Expr != nil {
		t, reason = ThresholdOf(r.Expr)
	}
	if b.NoData.IsValid() {
		f.noData(b.NoData, r, t, reason)
	}
	switch {
	case b.NoDataFor.IsValid() && b.NoData.IsValid() && r.NoData != NoDataHold:
		f.add(b.NoDataFor.Place.Errorf("no_data_for needs no_data: hold: it says for how long").WithHint("remove it, or hold"))
	case b.NoDataFor.IsValid() && !b.NoData.IsSet():
		f.add(b.NoDataFor.Place.Errorf("no_data_for needs no_data: hold: it says for how long").WithHint("add no_data: hold"))
	case b.NoDataFor.IsValid() && b.NoDataFor.Value <= 0:
		f.add(b.NoDataFor.Place.Errorf("no_data_for must be above 0"))
	case b.NoDataFor.IsValid():
		r.NoDataFor = b.NoDataFor.Value
	case r.NoData == NoDataHold:
		r.NoDataFor = DefaultNoDataFor
	}
	if b.Recover.IsValid() && r.Expr != nil {
		f.recovery(b.Recover, r, t, reason)
	}
}

func (f *file) noData(mode problem.At[string], r *Rule, t Threshold, reason string) {
	switch m := NoDataMode(mode.Value); m {
	case NoDataOK, NoDataHold, NoDataAlert:
		r.NoData = m
	default:
		f.add(mode.Place.Errorf("expected ok, hold or alert, found %q", mode.Value).
			WithHint("a series that is gone resolves its alert (ok), leaves it as it is (hold), or counts as breaching (alert)"))
		return
	}
	if r.NoData == NoDataOK || r.Expr == nil {
		return
	}
	if reason == "" {
		reason = Disappears(t.Vector)
	}
	if reason != "" {
		f.add(mode.Place.Errorf("no_data: %s cannot tell for this expression whether a series recovered or is gone: %s", r.NoData, reason).
			WithHint("write the expression as <vector> <comparison> <number>, where the vector alone drops nothing (up < 1 instead of up == 0), or add a rule with absent()"))
	}
}

func (f *file) recovery(recover problem.At[float64], r *Rule, t Threshold, reason string) {
	if b, ok := t.Vector.(*parser.BinaryExpr); ok && b.Op.IsComparisonOperator() && !b.ReturnBool {
		reason = "it has two thresholds"
	}
	switch {
	case math.IsNaN(recover.Value) || math.IsInf(recover.Value, 0):
		f.add(recover.Place.Errorf("recover must be a finite number"))
	case reason != "":
		f.add(recover.Place.Errorf("recover needs an expression with a threshold, and this one has none to move: %s", reason).
			WithHint("write it as <vector> <comparison> <number>, such as x > 0.8, or use keep_firing_for"))
	case !t.Recovers(recover.Value):
		side := "above"
		if t.Above() {
			side = "below"
		}
		f.add(recover.Place.Errorf("recover must be %s the threshold: the alert fires at %s %s", side, t.Op, oncall.FormatValue(t.Value)).
			WithHint("it resolves only once the value is back at recover"))
	default:
		value := recover.Value
		r.Recover = &value
	}
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
			f.add(f.doc.At(n).Warnf("expr yields a %s: a rule needs a vector, so every evaluation will fail", parser.DocumentedType(t)))
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
