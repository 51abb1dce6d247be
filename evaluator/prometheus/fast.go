package prometheus

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
)

// fastSample reads one sample written as Prometheus writes it: compact, metric before value, nothing
// escaped. It is several times faster than encoding/json; for anything else it says no, and encoding/json
// decides. A fuzz test holds the two against each other.
func fastSample(raw []byte, lb *labels.ScratchBuilder) (evaluator.Sample, bool) {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"metric":{`))
	if !ok || bytes.IndexByte(raw, '\\') >= 0 || !utf8.Valid(raw) {
		return evaluator.Sample{}, false
	}
	lb.Reset()
	for len(rest) > 0 && rest[0] != '}' {
		var name, val []byte
		if name, rest, ok = quoted(rest); !ok || len(rest) == 0 || rest[0] != ':' {
			return evaluator.Sample{}, false
		}
		if val, rest, ok = quoted(rest[1:]); !ok || len(val) == 0 || len(rest) == 0 {
			return evaluator.Sample{}, false
		}
		lb.Add(string(name), string(val))
		if rest[0] == ',' {
			rest = rest[1:]
		}
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`},"value":[`)); !ok {
		return evaluator.Sample{}, false
	}
	// The decoder has found raw to be valid JSON: what stands before the comma is one value.
	comma := bytes.IndexByte(rest, ',')
	if comma < 0 || bytes.ContainsAny(rest[:comma], `"[{`) {
		return evaluator.Sample{}, false
	}
	text, rest, ok := quoted(rest[comma+1:])
	if !ok || string(rest) != "]}" {
		return evaluator.Sample{}, false
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return evaluator.Sample{}, false
	}
	lb.Sort()
	ls := lb.Labels()
	if _, dup := ls.HasDuplicateLabelNames(); dup {
		return evaluator.Sample{}, false
	}
	return evaluator.Sample{Metric: ls, Value: f}, true
}

// quoted cuts a string without escapes off the start of b.
func quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	return b[1 : 1+end], b[2+end:], true
}
