package oncall_test

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"

	"tocsin/oncall"
)

// TestHistogramAsEvidence: a histogram's text is kept, its first buckets where it is long.
func TestHistogramAsEvidence(t *testing.T) {
	h := &histogram.FloatHistogram{Count: 3, Sum: 4, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []float64{3}}
	long := &histogram.FloatHistogram{Count: 300, Sum: 4, PositiveSpans: []histogram.Span{{Length: 100}}}
	for range 100 {
		long.PositiveBuckets = append(long.PositiveBuckets, 3)
	}
	for _, tc := range []struct {
		h          *histogram.FloatHistogram
		begin, end string
	}{{h, "{count:3, sum:4, (0.5,1]:3}", ""}, {long, "{count:300, sum:4, (0.5,1]:3, (1,2]:3, ", ":3, …}"}} {
		smp := stepSample("a", 0)
		smp.Histogram = tc.h
		step := oncall.StepRule(oncall.RuleTiming{Rule: "r"}, nil, oncall.Observation{At: stepStart, Samples: []oncall.Sample{smp}})
		text := step.Changes[0].Evidence.Value
		if !strings.HasPrefix(text, tc.begin) || !strings.HasSuffix(text, tc.end) || len(text) > 1010 || step.Alerts[0].Histogram != tc.h {
			t.Errorf("%s", text)
		}
	}
}
