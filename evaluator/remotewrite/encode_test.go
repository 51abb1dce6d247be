package remotewrite

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/evaluator"
)

// flat is a message as text, one line a sample, in the order of the message.
func flat(t interface{ Fatal(...any) }, m message) (out string) {
	err := eachSeries(m, func(ls, samples []byte) error {
		return eachSample(samples, func(at int64, bits uint64) { out += fmt.Sprintf("%x %d %x\n", ls, at, bits) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMergedIsOrdered: merging batches is the same as encoding all of their series at once.
func TestMergedIsOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.Custom(func(t *rapid.T) evaluator.Series {
			return evaluator.Series{
				Labels: labels.FromStrings("__name__", rapid.SampledFrom([]string{"a", "b", "ü"}).Draw(t, "name"), "x", rapid.StringN(1, 3, -1).Draw(t, "x")),
				T:      rapid.Int64Range(-3, 3).Draw(t, "t"), V: rapid.Float64().Draw(t, "v"),
			}
		})
		batches := rapid.SliceOfN(rapid.SliceOfN(one, 1, 5), 1, 5).Draw(t, "batches")
		var all []evaluator.Series
		var ms []message
		for _, b := range batches {
			all = append(all, b...)
			for _, r := range encode(b, nil) {
				m, err := unpack(pack(r.message))
				if err != nil {
					t.Fatal(err)
				}
				ms = append(ms, m)
			}
		}
		r, err := merged(ms)
		if err != nil {
			t.Fatal(err)
		}
		want := encode(all, nil)
		if len(want) != 1 || r.samples != want[0].samples || len(r.message) != len(want[0].message) {
			t.Fatalf("%d samples in %d bytes, want %d in %d", r.samples, len(r.message), want[0].samples, len(want[0].message))
		}
		again, err := merged([]message{r.message})
		if err != nil || !bytes.Equal(again.message, r.message) {
			t.Fatalf("merging again changes it (%v):\n%s\n%s", err, flat(t, again.message), flat(t, r.message))
		}
	})
}

// FuzzMerged: whatever the queue holds, it is read or refused, and what is read can be read again.
func FuzzMerged(f *testing.F) {
	for _, r := range encode([]evaluator.Series{
		{Labels: labels.FromStrings("__name__", "a"), T: 1, V: 2}, {Labels: labels.FromStrings("__name__", "a"), T: 2, V: math.NaN()},
	}, []labels.Label{{Name: "cluster", Value: "c"}}) {
		f.Add([]byte(r.message))
		f.Add(pack(r.message))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := unpack(b); err == nil {
			_, _ = merged([]message{m})
		}
		r, err := merged([]message{b})
		if err != nil {
			return
		}
		again, err := merged([]message{r.message})
		if err != nil || again.samples != r.samples || !bytes.Equal(again.message, r.message) {
			t.Fatalf("%x became %x (%v)", r.message, again.message, err)
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	var series []evaluator.Series
	for i := range 2*maxSamples + 1 {
		series = append(series, evaluator.Series{Labels: labels.FromStrings("__name__", "a", "i", fmt.Sprint(i)), T: 1, V: 1})
	}
	total := 0
	rs := encode(series, nil)
	for _, r := range rs {
		total += r.samples
		if r.samples > maxSamples || len(r.message) > maxMessage+1000 {
			t.Errorf("a request of %d samples, %d bytes", r.samples, len(r.message))
		}
	}
	if total != len(series) || len(rs) != 3 {
		t.Errorf("%d samples in %d requests", total, len(rs))
	}
}

func BenchmarkEncode(b *testing.B) {
	var series []evaluator.Series
	for i := range 10_000 {
		series = append(series, evaluator.Series{Labels: labels.FromStrings("__name__", "ALERTS", "alertname", "SessionMemoryHigh", "alertstate", "firing",
			"instance", fmt.Sprintf("10.0.%d.%d:9100", i/256, i%256), "job", "session", "severity", "critical"), T: 1_700_000_000_000, V: 1})
	}
	external := []labels.Label{{Name: "cluster", Value: "shop-1"}}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = 0
		for _, r := range encode(series, external) {
			n += len(pack(r.message))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/series")
	b.ReportMetric(float64(n)/10_000, "packedB/series")
}
