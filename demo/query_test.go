package demo

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// metricsUntil returns metrics that hold the service's history up to the given story time, at 40 times real.
func metricsUntil(t *testing.T, story time.Time) (*metrics, clock) {
	t.Helper()
	m, err := openMetrics(t.TempDir(), 40, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	c := clock{began: time.Now().Add(-time.Hour).Truncate(time.Millisecond), speed: 40}
	s := newService(storyStart.Add(-historySpan))
	for real := c.real(s.now); !real.After(c.real(story)); real = real.Add(tick) {
		s.step(c.story(real))
		if err := m.append(context.Background(), real, scrape(s)); err != nil {
			t.Fatal(err)
		}
	}
	return m, c
}

// ask sends a query as the evaluator does and decodes the answer.
func ask(t *testing.T, m *metrics, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	queryHandler(func() *metrics { return m }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path+"?"+form.Encode(), nil))
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s is no JSON: %v", w.Body, err)
	}
	return w.Code, out
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// vectorSize returns how many series a query finds at a story time.
func vectorSize(t *testing.T, m *metrics, c clock, expr string, story time.Time) int {
	t.Helper()
	code, out := ask(t, m, "/api/v1/query", url.Values{"query": {expr}, "time": {unix(c.real(story))}})
	if code != http.StatusOK {
		t.Fatalf("%s: %d %v", expr, code, out)
	}
	return len(out["data"].(map[string]any)["result"].([]any))
}

func TestQueriesSeeTheStory(t *testing.T) {
	m, c := metricsUntil(t, at(13, 12))
	for _, tc := range []struct {
		expr  string
		story time.Time
		want  int
	}{
		{`session_memory_bytes`, at(12, 45), 2},
		{`session_memory_bytes / session_memory_limit_bytes > 0.8`, at(12, 50), 0},
		{`session_memory_bytes / session_memory_limit_bytes > 0.8`, at(13, 0), 2},
		{`predict_linear(session_memory_bytes[15s], 60) > session_memory_limit_bytes`, at(12, 25), 0},
		{`predict_linear(session_memory_bytes[15s], 60) > session_memory_limit_bytes`, at(12, 50), 2},
		{`sum(rate(shop_checkout_requests_total{code=~"5.."}[3s])) / sum(rate(shop_checkout_requests_total[3s])) > 0.05`, at(13, 0), 0},
		{`sum(rate(shop_checkout_requests_total{code=~"5.."}[3s])) / sum(rate(shop_checkout_requests_total[3s])) > 0.05`, at(13, 11), 1},
		{`count(session_service_up == 1) < 2`, at(13, 11), 0},
		{`db_query_duration_seconds{quantile="0.95"} > 0.1`, at(13, 11), 0},
	} {
		if got := vectorSize(t, m, c, tc.expr, tc.story); got != tc.want {
			t.Errorf("%s at %s: %d series, want %d", tc.expr, hhmm(tc.story), got, tc.want)
		}
	}
}

func TestInstantQueryHasPrometheusForm(t *testing.T) {
	m, c := metricsUntil(t, at(12, 45))
	code, out := ask(t, m, "/api/v1/query", url.Values{"query": {`session_memory_limit_bytes{instance="session-1"}`}, "time": {unix(c.real(at(12, 45)))}})
	data, _ := out["data"].(map[string]any)
	if code != 200 || out["status"] != "success" || data["resultType"] != "vector" {
		t.Fatalf("%d %v", code, out)
	}
	first := data["result"].([]any)[0].(map[string]any)
	if v := first["value"].([]any); v[1] != "4294967296" {
		t.Errorf("value %v: Prometheus sends text", v)
	}
	if l := first["metric"].(map[string]any); l["instance"] != "session-1" || l["__name__"] != "session_memory_limit_bytes" {
		t.Errorf("metric %v", l)
	}
}

func TestRangeQueryHasPrometheusForm(t *testing.T) {
	m, c := metricsUntil(t, at(12, 45))
	code, out := ask(t, m, "/api/v1/query_range", url.Values{
		"query": {"session_service_up"}, "start": {unix(c.real(at(12, 30)))}, "end": {unix(c.real(at(12, 45)))}, "step": {"1.5"},
	})
	data, _ := out["data"].(map[string]any)
	if code != 200 || data["resultType"] != "matrix" {
		t.Fatalf("%d %v", code, out)
	}
	if n := len(data["result"].([]any)[0].(map[string]any)["values"].([]any)); n != 16 {
		t.Errorf("%d points in 15 minutes of one a minute", n)
	}
}

func TestQueryErrorsAreThoseOfPrometheus(t *testing.T) {
	m, _ := metricsUntil(t, storyStart)
	for _, tc := range []struct {
		path string
		form url.Values
		code int
		kind string
	}{
		{"/api/v1/query", url.Values{"query": {"rate("}}, 400, "bad_data"},
		{"/api/v1/query", url.Values{"query": {""}}, 400, "bad_data"},
		{"/api/v1/query", url.Values{"query": {"up"}, "time": {"noon"}}, 400, "bad_data"},
		{"/api/v1/query", url.Values{"query": {"session_service_up * on(job) session_service_up"}, "time": {unix(time.Now().Add(-time.Hour))}}, 422, "execution"},
		{"/api/v1/query_range", url.Values{"query": {"up"}, "start": {"0"}, "end": {"1"}, "step": {"0"}}, 400, "bad_data"},
		{"/api/v1/query_range", url.Values{"query": {"up"}, "start": {"2"}, "end": {"1"}, "step": {"1"}}, 400, "bad_data"},
		{"/api/v1/query_range", url.Values{"query": {"up"}}, 400, "bad_data"},
	} {
		code, out := ask(t, m, tc.path, tc.form)
		if code != tc.code || out["errorType"] != tc.kind || out["status"] != "error" {
			t.Errorf("%s %v: %d %v, want %d %s", tc.path, tc.form, code, out, tc.code, tc.kind)
		}
	}
}

func TestAnInstanceThatIsDownReportsNoMemory(t *testing.T) {
	m, c := metricsUntil(t, at(13, 17))
	if got := vectorSize(t, m, c, `session_memory_bytes{instance="session-1"}`, at(13, 16)); got != 0 {
		t.Errorf("%d series of memory while session-1 is down", got)
	}
	if got := vectorSize(t, m, c, `count(session_service_up == 1) < 2`, at(13, 16)); got != 1 {
		t.Error("redundancy is lost and the query does not see it")
	}
}
