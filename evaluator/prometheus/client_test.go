package prometheus

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.uber.org/goleak"

	"tocsin/evaluator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2024, 9, 23, 13, 0, 0, 123e6, time.UTC)

// handler answers requests without a network.
type handler func(http.ResponseWriter, *http.Request)

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	h(rec, r)
	return rec.Result(), nil
}

// ways are the ways in which a query may travel: what holds on one holds on all.
var ways = []string{"transport", "wire", "net/http"}

// clientOf returns a client of a server that answers by h.
func clientOf(t *testing.T, way string, h handler) *Client {
	t.Helper()
	u, err := url.Parse("http://user:hunter2@prom.example:9090/base")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{URL: u, Headers: map[string]string{"X-Scope-OrgID": "shop"}, HTTP: promconfig.DefaultHTTPClientConfig}
	opt := WithTransport(h)
	if way != "transport" {
		srv := httptest.NewServer(http.HandlerFunc(h))
		t.Cleanup(srv.Close)
		opt = func(o *options) {
			o.netHTTP = way == "net/http"
			o.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
			}
		}
	}
	if way == "wire" {
		u.User = nil
	}
	c, err := New(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if (c.wire != nil) != (way == "wire") {
		t.Fatalf("%s does not go its way", way)
	}
	return c
}

// each runs f for every way.
func each(t *testing.T, f func(t *testing.T, ask func(handler) (evaluator.Answer, error))) {
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			f(t, func(h handler) (evaluator.Answer, error) {
				return clientOf(t, way, h).Query(t.Context(), "up > 0", at)
			})
		})
	}
}

func answers(status int, contentType, body string) handler {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const success = `{"status":"success","data":{"resultType":"vector","result":[` +
	`{"metric":{"__name__":"up","job":"a"},"value":[1727096400.123,"0.5"]},` +
	`{"metric":{"job":"b"},"value":[1727096400.123,"NaN"]},` +
	`{"metric":{},"value":[1727096400.123,"+Inf"]}]}}`

func TestQuery(t *testing.T) { each(t, testQuery) }

func testQuery(t *testing.T, ask func(handler) (evaluator.Answer, error)) {
	ans, err := ask(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		for _, c := range []struct{ what, got, want string }{
			{"method", r.Method, "POST"},
			{"path", r.URL.Path, "/base/api/v1/query"},
			{"query", r.PostForm.Get("query"), "up > 0"},
			{"time", r.PostForm.Get("time"), "1727096400.123"},
			{"encoding", r.Header.Get("Accept-Encoding"), "identity"},
			{"header", r.Header.Get("X-Scope-OrgID"), "shop"},
			{"host", r.Host, "prom.example:9090"},
			{"type", r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"},
			{"accept", r.Header.Get("Accept"), "application/json"},
			{"agent", r.Header.Get("User-Agent"), "tocsin"},
		} {
			if c.got != c.want {
				t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
			}
		}
		if d, err := time.ParseDuration(r.PostForm.Get("timeout")); err != nil || d <= 0 || d > DefaultTimeout {
			t.Errorf("timeout %q", r.PostForm.Get("timeout"))
		}
		answers(200, "application/json", success)(w, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ans.Samples) != 3 || ans.Partial != "" {
		t.Fatalf("%+v", ans)
	}
	if s := ans.Samples[0]; s.Metric.String() != `{__name__="up", job="a"}` || s.Value != 0.5 {
		t.Errorf("%+v", s)
	}
	if !math.IsNaN(ans.Samples[1].Value) || !math.IsInf(ans.Samples[2].Value, 1) {
		t.Errorf("%+v", ans.Samples[1:])
	}
}

func TestAnswers(t *testing.T) { each(t, testAnswers) }

func testAnswers(t *testing.T, ask func(handler) (evaluator.Answer, error)) {
	const js = "application/json"
	for _, tc := range []struct {
		name, kind, body string
		status           int
		samples          int
		partial          string
		error            string // in the message; "" for none
		fault            evaluator.ErrorKind
	}{
		{"empty", js, `{"status":"success","data":{"resultType":"vector","result":[]}}`, 200, 0, "", "", ""},
		{"null vector", js, `{"status":"success","data":{"resultType":"vector","result":null}}`, 200, 0, "", "", ""},
		{"scalar", js, `{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}`, 200, 1, "", "", ""},
		{"unknown fields", js, `{"x":[{}],"status":"success","infos":["i"],"data":{"resultType":"vector","stats":{},"result":[]},"trace":{}}`, 200, 0, "", "", ""},
		{"warnings", js, `{"status":"success","warnings":["store down"],"data":{"resultType":"vector","result":[]}}`, 200, 0, "store down", "", ""},
		{"remarks of the engine", js, `{"status":"success","warnings":["PromQL warning: quantile value should be between 0 and 1, got 2"],"data":{"resultType":"vector","result":[]}}`, 200, 0, "", "", ""},
		{"isPartial", js, `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`, 200, 0, "isPartial", "", ""},
		{"no content type", "", success, 200, 3, "", "", ""},

		{"matrix", js, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, 200, 0, "", "is a matrix", evaluator.RuleError},
		{"string", js, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, 200, 0, "", "is a string", evaluator.RuleError},
		{"bad_data", js, `{"status":"error","errorType":"bad_data","error":"1:2: parse error"}`, 400, 0, "", "bad_data: 1:2: parse error", evaluator.RuleError},
		{"execution", js, `{"status":"error","errorType":"execution","error":"many-to-many"}`, 422, 0, "", "many-to-many", evaluator.RuleError},
		{"error with data null", js, `{"status":"error","data":null,"errorType":"execution","error":"x"}`, 422, 0, "", "execution: x", evaluator.RuleError},
		{"untyped 422", js, `{"status":"error","error":"cannot parse"}`, 422, 0, "", "cannot parse", evaluator.RuleError},

		{"timeout", js, `{"status":"error","errorType":"timeout","error":"query timed out"}`, 503, 0, "", "503: timeout: query timed out", evaluator.BackendError},
		{"internal", js, `{"status":"error","errorType":"internal","error":"disk"}`, 500, 0, "", "internal: disk", evaluator.BackendError},
		{"error with 200", js, `{"status":"error","errorType":"unavailable","error":"starting"}`, 200, 0, "", "unavailable: starting", evaluator.BackendError},
		{"500 without body", js, ``, 500, 0, "", "answered 500 Internal Server Error", evaluator.BackendError},
		{"success with 502", js, success, 502, 0, "", "answered 502", evaluator.BackendError},
		{"404 page", "text/plain; charset=utf-8", "404 page not found\n", 404, 0, "", "answered 404 with text/plain instead of JSON: 404 page not found", evaluator.BackendError},
		{"html", "text/html", "<html>\n<body>Log in</body></html>", 200, 0, "", "text/html instead of JSON: <html> <body>Log in", evaluator.BackendError},
		{"html as json", js, "<html>", 200, 0, "", "not Prometheus' JSON", evaluator.BackendError},
		{"truncated", js, success[:len(success)-40], 200, 0, "", "it is cut off", evaluator.BackendError},
		{"nothing", js, "", 200, 0, "", "it is cut off", evaluator.BackendError},
		{"null", js, "null", 200, 0, "", "it is null", evaluator.BackendError},
		{"list", js, "[]", 200, 0, "", `expected "{"`, evaluator.BackendError},
		{"trailing", js, success + "{}", 200, 0, "", "something follows", evaluator.BackendError},
		{"no status", js, `{"data":{"resultType":"vector","result":[]}}`, 200, 0, "", `status is ""`, evaluator.BackendError},
		{"no data", js, `{"status":"success"}`, 200, 0, "", "no data.result", evaluator.BackendError},
		{"data null", js, `{"status":"success","data":null}`, 200, 0, "", "no data.result", evaluator.BackendError},
		{"type after result", js, `{"data":{"result":[{"value":[1,"2"],"metric":{"a":"b"}}],"resultType":"vector"},"status":"success"}`, 200, 1, "", "", ""},
		{"no type", js, `{"status":"success","data":{"result":[]}}`, 200, 0, "", "no data.resultType", evaluator.BackendError},
		{"number value", js, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,2]}]}}`, 200, 0, "", "not a string", evaluator.BackendError},
		{"word value", js, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}`, 200, 0, "", "not a number: many", evaluator.BackendError},
		{"no value", js, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"}}]}}`, 200, 0, "", `{a="b"} has no value`, evaluator.BackendError},
		{"metric of numbers", js, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"1"]}]}}`, 200, 0, "", "a sample's metric", evaluator.BackendError},
		{"too many", js, many(MaxSeries + 1), 200, 0, "", "more than 50000 series", evaluator.RuleError},
		{"at the limit", js, many(MaxSeries), 200, MaxSeries, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ans, err := ask(answers(tc.status, tc.kind, tc.body))
			if tc.error == "" {
				if err != nil || len(ans.Samples) != tc.samples || !strings.Contains(ans.Partial, tc.partial) || (tc.partial == "") != (ans.Partial == "") {
					t.Fatalf("%d samples, partial %q, %v", len(ans.Samples), ans.Partial, err)
				}
				return
			}
			checkError(t, err, tc.error, tc.fault)
		})
	}
}

func checkError(t *testing.T, err error, want string, fault evaluator.ErrorKind) {
	t.Helper()
	q, ok := errors.AsType[*evaluator.QueryError](err)
	if !ok {
		t.Fatalf("not a QueryError: %v", err)
	}
	if q.Kind != fault || !strings.Contains(q.Message, want) {
		t.Errorf("got %s error %q, want %s error with %q", q.Kind, q.Message, fault, want)
	}
	if strings.Contains(q.Message, "hunter2") || strings.Contains(q.Message, "user") || len(q.Message) > 600 || strings.Contains(q.Message, "\n") {
		t.Errorf("not fit to be shown: %q", q.Message)
	}
}

func many(n int) string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metric":{"__name__":"session_memory_bytes","instance":"10.0.0.1:%d","job":"session"},"value":[1727096400.123,"%d.5"]}`, i, i)
	}
	b.WriteString(`]}}`)
	return b.String()
}

func TestRedirectIsNotFollowed(t *testing.T) {
	each(t, func(t *testing.T, ask func(handler) (evaluator.Answer, error)) {
		_, err := ask(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://user:hunter2@prom.example/base/api/v1/query?token=hunter2")
			w.WriteHeader(http.StatusMovedPermanently)
		})
		checkError(t, err, "redirects (301) to https://prom.example/base: set prometheus.url", evaluator.BackendError)
		_, err = ask(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) })
		checkError(t, err, "redirects (302) elsewhere", evaluator.BackendError)
	})
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.Bytes()
}

func TestCompression(t *testing.T) {
	encoded := func(encoding string, body []byte) handler {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		}
	}
	each(t, func(t *testing.T, ask func(handler) (evaluator.Answer, error)) {
		if ans, err := ask(encoded("gzip", gzipped(success))); err != nil || len(ans.Samples) != 3 {
			t.Errorf("%v, %v", ans, err)
		}
		_, err := ask(encoded("gzip", []byte{0x1f, 0x8b}))
		checkError(t, err, "not the gzip that it says it is", evaluator.BackendError)
		_, err = ask(encoded("gzip", gzipped(success)[:80]))
		checkError(t, err, "it is cut off", evaluator.BackendError)
		_, err = ask(encoded("br", []byte("x")))
		checkError(t, err, "Content-Encoding br, which was not asked for", evaluator.BackendError)
	})
}

// TestCompressionIsAsked where the network costs more than the server's work, unless the configuration decides.
func TestCompressionIsAsked(t *testing.T) {
	for _, tc := range []struct {
		setting, address, want string
	}{
		{"", "127.0.0.1", "identity"}, {CompressionAuto, "10.1.2.3", "identity"}, {CompressionAuto, "fd00::1", "identity"},
		{CompressionAuto, "203.0.113.7", "gzip"}, {CompressionOff, "203.0.113.7", "identity"}, {CompressionOn, "127.0.0.1", "gzip"},
	} {
		c := &Client{gzip: tc.setting}
		conn, err := c.watched(func(context.Context, string, string) (net.Conn, error) {
			return at9090{net.ParseIP(tc.address)}, nil
		})(t.Context(), "tcp", "")
		if err != nil || conn == nil || c.encoding() != tc.want {
			t.Errorf("%q at %s: %s, want %s", tc.setting, tc.address, c.encoding(), tc.want)
		}
	}
}

// at9090 is a connection to an address, and nothing else.
type at9090 struct{ ip net.IP }

func (a at9090) RemoteAddr() net.Addr           { return &net.TCPAddr{IP: a.ip, Port: 9090} }
func (at9090) Read([]byte) (int, error)         { return 0, io.EOF }
func (at9090) Write(p []byte) (int, error)      { return len(p), nil }
func (at9090) Close() error                     { return nil }
func (at9090) LocalAddr() net.Addr              { return nil }
func (at9090) SetDeadline(time.Time) error      { return nil }
func (at9090) SetReadDeadline(time.Time) error  { return nil }
func (at9090) SetWriteDeadline(time.Time) error { return nil }

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"", "user:hunter2@"} {
		u, err := url.Parse("http://" + user + addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{URL: u, HTTP: promconfig.DefaultHTTPClientConfig})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Query(t.Context(), "up", at)
		checkError(t, err, addr+" cannot be reached: connect: connection refused", evaluator.BackendError)
	}
}

// stalled never answers, or stops in the middle of its answer.
type stalled struct{ body bool }

func (s stalled) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.body {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(io.MultiReader(strings.NewReader(success[:100]), untilDone{r.Context()}))}, nil
}

type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) { <-u.ctx.Done(); return 0, u.ctx.Err() }

func TestSlow(t *testing.T) {
	for _, rt := range []stalled{{false}, {true}} {
		t.Run(fmt.Sprintf("in the body %t", rt.body), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(Config{URL: &url.URL{Scheme: "http", Host: "prom.example"}, Timeout: 7 * time.Second}, WithTransport(rt))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = c.Query(t.Context(), "up", at)
				checkError(t, err, "http://prom.example did not answer in time", evaluator.BackendError)
				if took := time.Since(start); took != 7*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// endless is a body that never ends and never becomes JSON that could be refused early.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		e.n = copy(p, `{"status":"`)
		return e.n, nil
	}
	for i := range p {
		p[i] = 'x'
	}
	e.n += len(p)
	return len(p), nil
}

func TestEndlessAnswerIsBounded(t *testing.T) {
	body := &endless{}
	c := &Client{shown: "http://prom.example"}
	_, err := c.read(&response{status: 200, contentType: "application/json", body: body}, nil)
	checkError(t, err, "larger than 64 MiB", evaluator.RuleError)
	if body.n > MaxBytes+1<<20 {
		t.Errorf("read %d bytes", body.n)
	}
}
