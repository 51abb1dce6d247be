package prometheus

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
)

// side is the buckets of one sign, mirrored where that is the negative one: from zero on.
type side struct {
	buckets []bucket
	indices []int32
}

// exponential makes a histogram of one of the standard schemas, or nil: the finest that has all the bounds.
func exponential(buckets []bucket) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{}
	var negative, positive side
	zero := false
	for i, k := range buckets {
		if i > 0 && k.lower < buckets[i-1].lower {
			return nil
		}
		switch {
		case k.ends == closed && k.lower == -k.upper && !math.IsInf(k.upper, 0) && !zero:
			zero = true
			h.ZeroThreshold, h.ZeroCount = math.Abs(k.upper), k.count
		case k.ends == rightOpen && k.upper <= 0:
			negative.buckets = append(negative.buckets, bucket{leftOpen, -k.upper, -k.lower, k.count})
		case k.ends == leftOpen && k.lower >= 0:
			positive.buckets = append(positive.buckets, k)
		default:
			return nil
		}
	}
	slices.Reverse(negative.buckets)
	if len(negative.buckets)+len(positive.buckets) == 0 {
		return h // any schema would do
	}
	for schema := histogram.ExponentialSchemaMax; schema >= histogram.ExponentialSchemaMin; schema-- {
		threshold, ok := fit(schema, &negative, &positive, h.ZeroThreshold, zero)
		if !ok {
			continue
		}
		h.Schema, h.ZeroThreshold = schema, threshold
		h.NegativeSpans, h.NegativeBuckets = spans(negative.indices), negative.counts()
		h.PositiveSpans, h.PositiveBuckets = spans(positive.indices), positive.counts()
		return h
	}
	return nil
}

func (s *side) counts() []float64 {
	out := make([]float64, 0, len(s.buckets))
	for _, k := range s.buckets {
		out = append(out, k.count)
	}
	return out
}

// fit finds the indices of all buckets in a schema, and reports whether it has them.
//
// The bucket into which the zero bucket reaches is answered from the zero threshold on. An empty zero bucket
// is not answered at all: then a lower bound that is none is taken for the threshold, unless the bounds could
// as well be custom ones, which have no negative side and no roots of two.
func fit(schema int32, negative, positive *side, threshold float64, zero bool) (float64, bool) {
	for _, s := range []*side{negative, positive} {
		s.indices = s.indices[:0]
		for i, k := range s.buckets {
			index, lower, ok := indexOf(schema, k)
			if !ok || i > 0 && index <= s.indices[i-1] {
				return 0, false
			}
			if k.lower != lower {
				surely := len(negative.buckets) > 0 || schema > 0 && len(positive.buckets) > 1
				switch {
				case k.lower < lower || i > 0 && !zero:
					return 0, false
				case !zero && threshold == 0 && surely:
					threshold = k.lower
				case k.lower != threshold:
					return 0, false
				}
			}
			s.indices = append(s.indices, index)
		}
	}
	return threshold, true
}

// indexOf returns the index of the bucket with this upper bound in a schema, and its lower bound there.
func indexOf(schema int32, k bucket) (index int32, lower float64, ok bool) {
	bound := k.upper
	if math.IsInf(bound, 1) {
		bound = math.MaxFloat64 // the bucket of infinity follows that of the largest number
	}
	if bound <= 0 {
		return 0, 0, false
	}
	index = int32(math.Round(math.Ldexp(math.Log2(bound), int(schema))))
	if math.IsInf(k.upper, 1) {
		index++
	}
	// The bounds as the histogram package reckons them, to the last bit.
	h := histogram.FloatHistogram{Schema: schema, PositiveSpans: []histogram.Span{{Offset: index, Length: 1}}, PositiveBuckets: []float64{1}}
	it := h.PositiveBucketIterator()
	it.Next()
	b := it.At()
	return index, b.Lower, b.Upper == k.upper
}
