package prometheus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/evaluator"
)

// FuzzScan holds the scanner against encoding/json: the same samples, or both refuse; whatever it remembers
// of the answer before, and however the bytes arrive.
func FuzzScan(f *testing.F) {
	sample := func(s string) string { return envelope + s + `]}}` }
	for _, s := range []string{success, `{"status":"error","data":null}`, `{"data":{"resultType":"scalar","result":[1,"7"]}}`,
		`{"status":"success","warnings":["w"],"data":{"resultType":"vector","result":[{}]}}`, `[`, `{"a":{"b":[1]}}x`,
		sample(`{"metric":{"__name__":"up","job":"a"},"value":[1727096400.123,"0.5"]}`), sample(`{"metric":{},"value":[1,"NaN"]}`),
		sample(`{"metric":{"a":"b","a":"c"},"value":[1,"2"]}`), sample(`{"metric":{"a":""},"value":[1,"2"]}`),
		sample(`{"metric":{"b":"1","a":"\u00e9"},"value":[1,"1e400"]}`), sample(`{"metric":{"b":"1","a":"2"},"value":[01,"1"]},`),
		sample(`{"metric":{"a":"b"},"value":[1,"2"],"histogram":[]}`), sample(`{"metric":{"a":"b"},"value":["1,2","2"]}`),
		sample(`{"metric":{"a":"b"},"value":[1,"2"]}, {"value":[1,"2"],"metric":{"a":"c"}},{"metric":{"a":"d"},"value":[1,"2"]}`),
		sample(`{"metric":{"a":"b"},"value":[1,"2"]}`) + " \n", sample(`{"metric":{"a":"b"},"value":[1,"2"]}`) + "x",
		sample(`{"metric":{"a":"b"},"histogram":[1,{"count":"3","sum":"2","buckets":[[3,"-0.25","0.25","3"],[0,"0.25","0.5","1"]]}]},{"metric":{"a":"c"},"value":[1,"2"]}`),
		sample(``)[:len(envelope)+2] + `,"infos":["i"],"warnings":["w"]}`,
	} {
		f.Add([]byte(s), []byte(success))
	}
	f.Fuzz(func(t *testing.T, b, before []byte) {
		want, werr := newDecoder(bytes.NewReader(b)).answer()
		var reuse evaluator.Reuse
		_, _ = scan(bytes.NewReader(before), &reuse)
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(b), "in drops": iotest.OneByteReader(bytes.NewReader(b)), "the end with the data": iotest.DataErrReader(bytes.NewReader(b))} {
			got, err := scan(r, &reuse)
			if (err == nil) != (werr == nil) || got.Partial != want.Partial {
				t.Fatalf("%s: %v, %q; encoding/json: %v, %q", name, err, got.Partial, werr, want.Partial)
			}
			if err := same(got.Samples, want.Samples); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

func same(got, want []evaluator.Sample) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d samples, want %d", len(got), len(want))
	}
	for i := range got {
		if !labels.Equal(got[i].Metric, want[i].Metric) || math.Float64bits(got[i].Value) != math.Float64bits(want[i].Value) {
			return fmt.Errorf("sample %d is %v, want %v", i, got[i], want[i])
		}
		if g, w := got[i].Histogram, want[i].Histogram; (g == nil) != (w == nil) || g != nil && g.String() != w.String() {
			return fmt.Errorf("sample %d is %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}

// TestReuse: however series come, go and change their order, the answer is right, and a label set that was
// there before is the same memory as before.
func TestReuse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var reuse evaluator.Reuse
		before := map[string]labels.Labels{}
		for range rapid.IntRange(1, 6).Draw(t, "answers") {
			order := rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 0, 20, rapid.ID[int]).Draw(t, "series")
			var body strings.Builder
			body.WriteString(envelope)
			for i, n := range order {
				if i > 0 {
					body.WriteByte(',')
				}
				form := rapid.SampledFrom([]string{`{"metric":{"__name__":"m","i":"%d"},"value":[1,"%d"]}`, `{"metric":{"i":"%d","__name__":"m"},"value":[1,"%d"]}`,
					`{"metric": {"__name__":"m","i":"%d"},"value":[1,"%d"]}`}).Draw(t, "form")
				fmt.Fprintf(&body, form, n, n)
			}
			body.WriteString(`]}}`)
			ans, err := scan(strings.NewReader(body.String()), &reuse)
			if err != nil || len(ans.Samples) != len(order) {
				t.Fatalf("%d samples of %d, %v", len(ans.Samples), len(order), err)
			}
			now := map[string]labels.Labels{}
			for i, smp := range ans.Samples {
				if smp.Metric.Get("i") != fmt.Sprint(order[i]) || smp.Value != float64(order[i]) {
					t.Fatalf("sample %d is %v", i, smp)
				}
				now[smp.Metric.Get("i")] = smp.Metric
				if was, ok := before[smp.Metric.Get("i")]; ok && !sharesMemory(was, smp.Metric) {
					t.Fatalf("%s was copied", smp.Metric)
				}
			}
			before = now
		}
	})
}

// TestReuseSurvivesFailures: an answer that is refused or partial leaves what is remembered as it was.
func TestReuseSurvivesFailures(t *testing.T) {
	var reuse evaluator.Reuse
	if _, err := scan(strings.NewReader(success), &reuse); err != nil {
		t.Fatal(err)
	}
	was := reuse.Samples[0].Metric
	_, err := scan(io.MultiReader(strings.NewReader(success[:120]), iotest.ErrReader(errors.New("reset"))), &reuse)
	if err == nil || err.Error() != "reset" {
		t.Errorf("%v", err)
	}
	ans, err := scan(strings.NewReader(`{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`), &reuse)
	if err != nil || ans.Partial == "" {
		t.Errorf("%v, %v", ans, err)
	}
	ans, err = scan(strings.NewReader(success), &reuse)
	if err != nil || !sharesMemory(was, ans.Samples[0].Metric) {
		t.Errorf("forgotten: %v", err)
	}
}

func sharesMemory(a, b labels.Labels) bool {
	name := func(ls labels.Labels) (first string) {
		ls.Range(func(l labels.Label) {
			if first == "" {
				first = l.Value
			}
		})
		return first
	}
	return unsafe.StringData(name(a)) == unsafe.StringData(name(b))
}

// drops answers in small pieces that never make a sample whole: it must not be read anew for each.
type drops struct{ left int }

func (d *drops) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), 512, d.left)
	d.left -= n
	for i := range p[:n] {
		p[i] = 'x'
	}
	return n, nil
}

func TestLongSampleInDrops(t *testing.T) {
	_, err := scan(io.MultiReader(strings.NewReader(envelope+`{"metric":{"a":"`), &drops{8 << 20}), nil)
	if err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("%v", err)
	}
}

func BenchmarkDecode(b *testing.B) {
	const n = 1000
	body := []byte(many(n))
	var reuse evaluator.Reuse
	for name, decode := range map[string]func(io.Reader) (evaluator.Answer, error){
		"encoding-json": func(r io.Reader) (evaluator.Answer, error) { return newDecoder(r).answer() },
		"first":         func(r io.Reader) (evaluator.Answer, error) { return scan(r, nil) },
		"again":         func(r io.Reader) (evaluator.Answer, error) { return scan(r, &reuse) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if ans, err := decode(bytes.NewReader(body)); err != nil || len(ans.Samples) != n {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
		})
	}
}
