package remotewrite

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"tocsin/evaluator"
)

// A request is the message prometheus.WriteRequest of remote write 1.0, which every receiver understands
// (2.0 is refused by those that are older, Debian's Prometheus among them). Its parts that we need:
//
//	WriteRequest: repeated TimeSeries timeseries = 1
//	TimeSeries:   repeated Label labels = 1, repeated Sample samples = 2
//	Label:        string name = 1, string value = 2
//	Sample:       double value = 1, int64 timestamp = 2
const (
	fieldSeries  protowire.Number = 1
	fieldLabels  protowire.Number = 1
	fieldSamples protowire.Number = 2
	fieldName    protowire.Number = 1
	fieldText    protowire.Number = 2
	fieldValue   protowire.Number = 1
	fieldTime    protowire.Number = 2
)

const (
	// maxSamples and maxMessage bound a request: receivers refuse what is too large.
	maxSamples = 10_000
	maxMessage = 4 << 20
)

// message is a request before its compression. The client library takes it as it is: it need not be made
// of the library's types first.
type message []byte

// SizeVT is how long the message is.
func (m message) SizeVT() int { return len(m) }

// MarshalToSizedBufferVT puts the message into b, which is SizeVT long.
func (m message) MarshalToSizedBufferVT(b []byte) (int, error) { return copy(b, m), nil }

// request is one message and how much is in it.
type request struct {
	message message
	samples int
}

// encode makes requests of series: each series once, its labels sorted and complete with the external
// ones, which override none, and its samples in order of time.
func encode(series []evaluator.Series, external []labels.Label) []request {
	series = ordered(series)
	var out []request
	e := encoder{}
	for from := 0; from < len(series); {
		to := from + 1
		for to < len(series) && labels.Equal(series[from].Labels, series[to].Labels) {
			to++
		}
		e.series(series[from:to], external)
		if from == 0 { // the others will be about as long
			e.out = slices.Grow(e.out, min(len(e.out)*len(series)*9/8, maxMessage+maxMessage/8))
		}
		from = to
		if e.samples >= maxSamples || len(e.out) >= maxMessage {
			out = append(out, request{e.out, e.samples})
			e = encoder{scratch: e.scratch}
		}
	}
	if e.samples > 0 {
		out = append(out, request{e.out, e.samples})
	}
	return out
}

// ordered returns series such that samples of one series stand together, in order of time, and each instant
// once, with the sample that was given last. Mostly that is so already.
func ordered(series []evaluator.Series) []evaluator.Series {
	seen := make(map[uint64]struct{}, len(series))
	for i := range series {
		seen[series[i].Labels.Hash()] = struct{}{}
	}
	if len(seen) == len(series) {
		return series
	}
	series = slices.Clone(series)
	slices.SortStableFunc(series, func(a, b evaluator.Series) int {
		return cmp.Or(labels.Compare(a.Labels, b.Labels), cmp.Compare(a.T, b.T))
	})
	out := series[:0]
	for _, s := range series {
		if n := len(out); n > 0 && out[n-1].T == s.T && labels.Equal(out[n-1].Labels, s.Labels) {
			out[n-1] = s
			continue
		}
		out = append(out, s)
	}
	return out
}

// encoder builds one message. Its scratch space is used again.
type encoder struct {
	out     []byte
	samples int
	scratch []byte
}

// series adds the samples of one series.
func (e *encoder) series(same []evaluator.Series, external []labels.Label) {
	e.scratch = e.scratch[:0]
	same[0].Labels.Range(func(l labels.Label) {
		for len(external) > 0 && external[0].Name < l.Name {
			e.label(external[0])
			external = external[1:]
		}
		if len(external) > 0 && external[0].Name == l.Name {
			external = external[1:]
		}
		e.label(l)
	})
	for _, l := range external {
		e.label(l)
	}
	for _, s := range same {
		e.sample(s.T, math.Float64bits(s.V))
	}
	e.end(len(same))
}

func (e *encoder) label(l labels.Label) {
	e.scratch = protowire.AppendTag(e.scratch, fieldLabels, protowire.BytesType)
	e.scratch = protowire.AppendVarint(e.scratch, uint64(2+protowire.SizeBytes(len(l.Name))+protowire.SizeBytes(len(l.Value))))
	e.scratch = protowire.AppendTag(e.scratch, fieldName, protowire.BytesType)
	e.scratch = protowire.AppendString(e.scratch, l.Name)
	e.scratch = protowire.AppendTag(e.scratch, fieldText, protowire.BytesType)
	e.scratch = protowire.AppendString(e.scratch, l.Value)
}

// sample takes the value as its bits: those of a staleness marker must arrive as they are.
func (e *encoder) sample(t int64, bits uint64) {
	e.scratch = protowire.AppendTag(e.scratch, fieldSamples, protowire.BytesType)
	e.scratch = protowire.AppendVarint(e.scratch, uint64(2+8+protowire.SizeVarint(uint64(t))))
	e.scratch = protowire.AppendTag(e.scratch, fieldValue, protowire.Fixed64Type)
	e.scratch = protowire.AppendFixed64(e.scratch, bits)
	e.scratch = protowire.AppendTag(e.scratch, fieldTime, protowire.VarintType)
	e.scratch = protowire.AppendVarint(e.scratch, uint64(t))
}

// end adds the series that stands in scratch, with n samples.
func (e *encoder) end(n int) {
	e.out = protowire.AppendTag(e.out, fieldSeries, protowire.BytesType)
	e.out = protowire.AppendBytes(e.out, e.scratch)
	e.samples += n
}

// pack is a message as it is queued, unpack takes it back.
func pack(m message) []byte { return snappy.Encode(nil, m) }

func unpack(body []byte) (message, error) {
	if n, err := snappy.DecodedLen(body); err != nil || n > 16*maxMessage {
		return nil, errors.New("no snappy block, or one that is too large")
	}
	return snappy.Decode(nil, body)
}

// merged makes one request of several that were queued one after the other: each series once, its samples in
// order of time, each instant once.
func merged(ms []message) (request, error) {
	type point struct {
		t    int64
		bits uint64
	}
	at := map[string]int{}
	var names []string
	var points [][]point
	for _, m := range ms {
		err := eachSeries(m, func(ls []byte, samples []byte) error {
			i, ok := at[string(ls)]
			if !ok {
				i = len(names)
				name := string(ls)
				at[name] = i
				names, points = append(names, name), append(points, nil)
			}
			return eachSample(samples, func(t int64, bits uint64) { points[i] = append(points[i], point{t, bits}) })
		})
		if err != nil {
			return request{}, err
		}
	}
	e := encoder{}
	for i, ps := range points {
		slices.SortStableFunc(ps, func(a, b point) int { return cmp.Compare(a.t, b.t) })
		e.scratch = append(e.scratch[:0], names[i]...)
		n := 0
		for j, p := range ps {
			if j+1 < len(ps) && ps[j+1].t == p.t {
				continue // a later one for the same instant
			}
			e.sample(p.t, p.bits)
			n++
		}
		e.end(n)
	}
	return request{e.out, e.samples}, nil
}

// eachSeries calls f for each series of a message with its labels and its samples, both still encoded.
func eachSeries(m message, f func(labels, samples []byte) error) error {
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num != fieldSeries || typ != protowire.BytesType {
			return fmt.Errorf("field %d is no series", num)
		}
		ts, k := protowire.ConsumeBytes(m[n:])
		if k < 0 {
			return protowire.ParseError(k)
		}
		m = m[n+k:]
		split, err := labelsEnd(ts)
		if err != nil {
			return err
		}
		if err := f(ts[:split], ts[split:]); err != nil {
			return err
		}
	}
	return nil
}

// labelsEnd is where the labels of a series end, which come first.
func labelsEnd(ts []byte) (int, error) {
	end := 0
	for end < len(ts) {
		num, typ, n := protowire.ConsumeTag(ts[end:])
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		if num != fieldLabels {
			return end, nil
		}
		k := protowire.ConsumeFieldValue(num, typ, ts[end+n:])
		if k < 0 {
			return 0, protowire.ParseError(k)
		}
		end += n + k
	}
	return end, nil
}

func eachSample(b []byte, f func(t int64, bits uint64)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num != fieldSamples || typ != protowire.BytesType {
			return fmt.Errorf("field %d is no sample", num)
		}
		s, k := protowire.ConsumeBytes(b[n:])
		if k < 0 {
			return protowire.ParseError(k)
		}
		b = b[n+k:]
		t, bits, err := decodeSample(s)
		if err != nil {
			return err
		}
		f(t, bits)
	}
	return nil
}

func decodeSample(s []byte) (t int64, bits uint64, err error) {
	for len(s) > 0 {
		num, typ, n := protowire.ConsumeTag(s)
		if n < 0 {
			return 0, 0, protowire.ParseError(n)
		}
		var k int
		switch {
		case num == fieldValue && typ == protowire.Fixed64Type:
			bits, k = protowire.ConsumeFixed64(s[n:])
		case num == fieldTime && typ == protowire.VarintType:
			var v uint64
			v, k = protowire.ConsumeVarint(s[n:])
			t = int64(v)
		default:
			return 0, 0, fmt.Errorf("field %d does not belong in a sample", num)
		}
		if k < 0 {
			return 0, 0, protowire.ParseError(k)
		}
		s = s[n+k:]
	}
	return t, bits, nil
}
