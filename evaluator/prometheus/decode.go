package prometheus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
)

// apiError is an error in Prometheus' own envelope.
type apiError struct {
	Type    string
	Message string
}

func (e *apiError) Error() string { return e.Type + ": " + e.Message }

// errFollows is about an answer that goes on behind its end.
var errFollows = errors.New("something follows the JSON")

func errTooMany() error {
	return &evaluator.QueryError{Kind: evaluator.RuleError, Message: fmt.Sprintf(
		"the query returns more than %d series: aggregate, or select fewer", MaxSeries)}
}

// newDecoder returns a decoder of one answer of the query API.
func newDecoder(r io.Reader) *decoder { return &decoder{json: json.NewDecoder(r)} }

// answer reads any answer as a stream. Its errors are *apiError (the server says that the query failed),
// *evaluator.QueryError (an answer no rule can use), or what is wrong with the JSON.
func (d *decoder) answer() (evaluator.Answer, error) {
	if err := d.object(d.top); err != nil {
		return evaluator.Answer{}, plain(err)
	}
	if _, err := d.json.Token(); err == nil {
		return evaluator.Answer{}, errFollows
	} else if !errors.Is(err, io.EOF) {
		return evaluator.Answer{}, plain(err)
	}
	switch {
	case d.status == "error":
		return evaluator.Answer{}, &apiError{Type: d.errorType, Message: d.message}
	case d.status != "success":
		return evaluator.Answer{}, fmt.Errorf("its status is %q, not success or error", d.status)
	case !d.hasData:
		return evaluator.Answer{}, errors.New("it has no data.result")
	}
	return evaluator.Answer{Samples: d.samples, Partial: d.partial()}, nil
}

// plain words the errors of encoding/json for people.
func plain(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("it is cut off")
	}
	return err
}

type decoder struct {
	json      *json.Decoder
	status    string
	errorType string
	message   string
	warnings  []string
	isPartial bool

	kind    string // data.resultType
	hasData bool
	late    json.RawMessage // data.result, where it came before data.resultType
	samples []evaluator.Sample
	before  int // samples of this answer that somebody else has read
}

// partial says why the answer may miss series. The engine's own remarks on an expression ("PromQL warning:
// quantile value should be between 0 and 1") come with every answer and say nothing of missing data.
func (d *decoder) partial() string {
	missing := slices.DeleteFunc(d.warnings, func(w string) bool {
		return strings.HasPrefix(w, "PromQL warning:") || strings.HasPrefix(w, "PromQL info:")
	})
	switch {
	case len(missing) > 0:
		return short(strings.Join(missing, "; "))
	case d.isPartial:
		return "the server marks it as partial (isPartial)"
	}
	return ""
}

// object calls field for every key of the object that comes next.
func (d *decoder) object(field func(key string) error) error {
	null, err := d.open('{')
	if null {
		err = errors.New("it is null")
	}
	if err != nil {
		return err
	}
	return d.fields(field)
}

// fields calls field for every key of an object that was opened, to its end.
func (d *decoder) fields(field func(key string) error) error {
	for d.json.More() {
		tok, err := d.json.Token()
		if err != nil {
			return err
		}
		if err := field(tok.(string)); err != nil { // a key is always a string
			return err
		}
	}
	_, err := d.json.Token()
	return err
}

func (d *decoder) top(key string) error {
	switch key {
	case "status":
		return d.json.Decode(&d.status)
	case "errorType":
		return d.json.Decode(&d.errorType)
	case "error":
		return d.json.Decode(&d.message)
	case "warnings":
		return d.json.Decode(&d.warnings)
	case "isPartial":
		return d.json.Decode(&d.isPartial)
	case "data":
		if err := d.optional(d.data); err != nil {
			return err
		}
		return d.lateResult()
	}
	return d.skip()
}

// lateResult reads a result that came before its type: JSON promises no order of keys.
func (d *decoder) lateResult() error {
	if d.late == nil {
		return nil
	}
	if d.kind == "" {
		return errors.New("it has no data.resultType")
	}
	inner := decoder{json: json.NewDecoder(bytes.NewReader(d.late)), kind: d.kind, before: d.before}
	d.late = nil
	if err := inner.result(); err != nil {
		return err
	}
	d.samples = inner.samples
	return nil
}

// optional is like object, and takes null too: errors may come with "data": null.
func (d *decoder) optional(field func(key string) error) error {
	if null, err := d.open('{'); null || err != nil {
		return err
	}
	return d.fields(field)
}

// open reads the beginning of a list or an object, or null.
func (d *decoder) open(want json.Delim) (null bool, err error) {
	tok, err := d.json.Token()
	if err != nil {
		return false, err
	}
	if tok != nil && tok != want {
		return false, fmt.Errorf("expected %q at byte %d", want.String(), d.json.InputOffset())
	}
	return tok == nil, nil
}

func (d *decoder) skip() error {
	var raw json.RawMessage
	return d.json.Decode(&raw)
}

func (d *decoder) data(key string) error {
	switch key {
	case "resultType":
		return d.json.Decode(&d.kind)
	case "result":
		d.hasData = true
		if d.kind == "" {
			return d.json.Decode(&d.late)
		}
		return d.result()
	}
	return d.skip()
}

func (d *decoder) result() error {
	switch d.kind {
	case "vector":
		return d.vector()
	case "scalar":
		var v value
		if err := d.json.Decode(&v); err != nil {
			return err
		}
		d.samples = []evaluator.Sample{{Value: float64(v)}}
		return nil
	}
	return &evaluator.QueryError{Kind: evaluator.RuleError, Message: fmt.Sprintf(
		"the expression's answer is a %s; an alerting rule needs an instant vector or a scalar", short(d.kind))}
}

// element is one sample as it comes.
type element struct {
	Metric    metric         `json:"metric"`
	Value     *value         `json:"value"`
	Histogram histogramValue `json:"histogram"`
}

func (d *decoder) vector() error {
	// To some servers null is the empty vector.
	if null, err := d.open('['); null || err != nil {
		return err
	}
	var raw json.RawMessage
	for d.json.More() {
		if d.before+len(d.samples) >= MaxSeries {
			return errTooMany()
		}
		if err := d.json.Decode(&raw); err != nil {
			return err
		}
		smp, err := anySample(raw)
		if err != nil {
			return err
		}
		d.samples = append(d.samples, smp)
	}
	_, err := d.json.Token()
	return err
}

// anySample reads any sample that is JSON.
func anySample(raw []byte) (evaluator.Sample, error) {
	var e element
	if err := json.Unmarshal(raw, &e); err != nil {
		return evaluator.Sample{}, err
	}
	switch {
	case e.Histogram.FloatHistogram != nil && e.Value != nil:
		return evaluator.Sample{}, fmt.Errorf("the sample %s has a value and a histogram", e.Metric)
	case e.Histogram.FloatHistogram != nil:
		return evaluator.Sample{Metric: e.Metric.Labels, Histogram: e.Histogram.FloatHistogram}, nil
	case e.Value == nil:
		return evaluator.Sample{}, fmt.Errorf("the sample %s has no value", e.Metric)
	}
	return evaluator.Sample{Metric: e.Metric.Labels, Value: float64(*e.Value)}, nil
}

// metric decodes a label set.
type metric struct{ labels.Labels }

func (m *metric) UnmarshalJSON(b []byte) error {
	var set map[string]string
	if err := json.Unmarshal(b, &set); err != nil {
		return fmt.Errorf("a sample's metric: %w", err)
	}
	m.Labels = labels.FromMap(set)
	return nil
}

// value decodes [timestamp, "value"]; the value is text because JSON has no NaN and no infinity.
type value float64

func (v *value) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("a sample's value is not [time, \"value\"]: %s", short(string(b)))
	}
	var n number
	if err := n.UnmarshalJSON(pair[1]); err != nil {
		return fmt.Errorf("a sample's value is %w", err)
	}
	*v = value(n)
	return nil
}

// bounded reads at most left bytes; one more is an error that exceeded tells apart.
type bounded struct {
	r        io.Reader
	left     int64
	exceeded bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.exceeded = true
		return 0, errors.New("the answer is too large")
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
