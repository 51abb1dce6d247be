package difftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// heartbeat is a metric that no series has. Each group begins with a rule about it, so that the instants of
// the group's evaluations can be told from the extra ones at the end of a for.
const heartbeat = "difftest_heartbeat"

// source is a Prometheus without a network: its engine over series in memory. The evaluator asks it over
// HTTP (it is a RoundTripper), the oracle by query.
type source struct {
	engine *promql.Engine
	data   storage.Queryable
	down   func(at time.Time) bool // nil: never

	mu    sync.Mutex
	beats []time.Time // instants at which the evaluator asked for the heartbeat
	asked int
}

func newSource(data storage.Queryable, lookback time.Duration) *source {
	return &source{data: data, engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser: parser.NewParser(parser.Options{}),
	})}
}

var errDown = errors.New("the data source is down")

// query is what the oracle's rules ask with.
func (s *source) query(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	if s.down != nil && s.down(at) {
		return nil, errDown
	}
	return promrules.EngineQueryFunc(s.engine, s.data)(ctx, expr, at)
}

// RoundTrip answers as Prometheus' query API does.
func (s *source) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	seconds, err := strconv.ParseFloat(r.Form.Get("time"), 64)
	if err != nil {
		return nil, err
	}
	at, expr := time.UnixMilli(int64(math.Round(seconds*1000))).UTC(), r.Form.Get("query")
	s.mu.Lock()
	s.asked++
	if strings.Contains(expr, heartbeat) {
		s.beats = append(s.beats, at)
	}
	s.mu.Unlock()
	vec, err := s.query(r.Context(), expr, at)
	if errors.Is(err, errDown) {
		return nil, err
	}
	return answer(vec, err, at)
}

// beat returns the number of the group's evaluations, and the instant of the last.
func (s *source) beat() (n int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n = len(s.beats); n > 0 {
		at = s.beats[n-1]
	}
	return n, at
}

type wireSample struct {
	Metric    map[string]string `json:"metric"`
	Value     []any             `json:"value,omitempty"`
	Histogram []any             `json:"histogram,omitempty"`
}

func wireSampleOf(smp promql.Sample, at time.Time) wireSample {
	s, seconds := wireSample{Metric: smp.Metric.Map()}, float64(at.UnixMilli())/1000
	if smp.H == nil {
		s.Value = []any{seconds, strconv.FormatFloat(smp.F, 'f', -1, 64)}
		return s
	}
	stream := jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, nil, 512)
	jsonutil.MarshalHistogram(smp.H, stream)
	s.Histogram = []any{seconds, json.RawMessage(stream.Buffer())}
	return s
}

func answer(vec promql.Vector, failure error, at time.Time) (*http.Response, error) {
	status := http.StatusOK
	body := map[string]any{"status": "success"}
	if failure != nil {
		status = http.StatusUnprocessableEntity
		body = map[string]any{"status": "error", "errorType": "execution", "error": failure.Error()}
	} else {
		result := []wireSample{}
		for _, smp := range vec {
			result = append(result, wireSampleOf(smp, at))
		}
		body["data"] = map[string]any{"resultType": "vector", "result": result}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(iotest.HalfReader(bytes.NewReader(b)))}, nil
}
