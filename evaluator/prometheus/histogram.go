package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
)

// How an answer names the ends of a bucket.
const (
	leftOpen  = 0 // (lower, upper]
	rightOpen = 1 // [lower, upper)
	open      = 2
	closed    = 3
)

// histogramValue decodes [timestamp, {"count": …, "sum": …, "buckets": […]}]: a sample that is a native
// histogram.
type histogramValue struct{ *histogram.FloatHistogram }

func (v *histogramValue) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("a sample's histogram is not [time, {…}]: %s", short(string(b)))
	}
	var h struct {
		Count   *number  `json:"count"`
		Sum     *number  `json:"sum"`
		Buckets []bucket `json:"buckets"` // only those that are not empty, from the lowest on
	}
	if err := json.Unmarshal(pair[1], &h); err != nil {
		return fmt.Errorf("a sample's histogram: %w", err)
	}
	if h.Count == nil || h.Sum == nil {
		return fmt.Errorf("a sample's histogram has no count or no sum: %s", short(string(pair[1])))
	}
	v.FloatHistogram = rebuild(float64(*h.Count), float64(*h.Sum), h.Buckets)
	return nil
}

// number decodes a number that is written as text, because JSON has no NaN and no infinity.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		return fmt.Errorf("not a string: %s", short(string(b)))
	}
	f, err := strconv.ParseFloat(*text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("not a number: %s", short(*text))
	}
	*n = number(f)
	return nil
}

// bucket decodes [ends, "lower", "upper", "count"].
type bucket struct {
	ends                int
	lower, upper, count float64
}

func (k *bucket) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil || len(raw) != 4 {
		return fmt.Errorf("a bucket is not [ends, lower, upper, count]: %s", short(string(b)))
	}
	var ends *int
	if err := json.Unmarshal(raw[0], &ends); err != nil || ends == nil || *ends < leftOpen || *ends > closed {
		return fmt.Errorf("the ends of a bucket are not 0, 1, 2 or 3: %s", short(string(b)))
	}
	k.ends = *ends
	for i, to := range []*float64{&k.lower, &k.upper, &k.count} {
		var n number
		if err := n.UnmarshalJSON(raw[i+1]); err != nil {
			return fmt.Errorf("a bucket's number is %w", err)
		}
		*to = float64(n)
	}
	if math.IsNaN(k.lower) || math.IsNaN(k.upper) {
		return fmt.Errorf("a bucket's bound is NaN: %s", short(string(b)))
	}
	return nil
}

// rebuild makes the histogram that the server had. The API tells bounds, not schemas and indices: those are
// found again where some schema has just these bounds, and bounds that no schema has are custom ones. Where
// neither can be, count and sum are all that is kept, and both are right; no answer of Prometheus is known to be
// so. What it leaves out is lost: empty buckets, a zero bucket of NaN or below zero, what is known of resets.
func rebuild(count, sum float64, buckets []bucket) *histogram.FloatHistogram {
	h := exponential(buckets)
	if h == nil {
		h = custom(buckets)
	}
	if h == nil {
		h = &histogram.FloatHistogram{}
	}
	h.Count, h.Sum = count, sum
	return h
}

// custom makes a histogram with custom bounds, or nil.
func custom(buckets []bucket) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{Schema: histogram.CustomBucketsSchema}
	var indices []int32
	last := math.Inf(-1)
	for i, k := range buckets {
		ends := leftOpen
		if i == 0 && math.IsInf(k.lower, -1) {
			ends = closed // the first bucket of all
		}
		if k.ends != ends || k.lower < last || k.lower >= k.upper {
			return nil
		}
		if k.lower > last {
			h.CustomValues = append(h.CustomValues, k.lower)
		}
		indices = append(indices, int32(len(h.CustomValues)))
		if last = k.upper; !math.IsInf(last, 1) {
			h.CustomValues = append(h.CustomValues, last)
		}
		h.PositiveBuckets = append(h.PositiveBuckets, k.count)
	}
	h.PositiveSpans = spans(indices)
	return h
}

// spans names the indices, which rise, as stretches without a gap.
func spans(indices []int32) []histogram.Span {
	var out []histogram.Span
	next := int32(0)
	for i, index := range indices {
		if i == 0 || index != next {
			out = append(out, histogram.Span{Offset: index - next})
		}
		out[len(out)-1].Length++
		next = index + 1
	}
	return out
}
