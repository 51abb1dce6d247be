package prometheus

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tocsin/evaluator"
)

func aRange() Range {
	return Range{Expr: `a{x="ü&"} / b`, From: at, To: at.Add(time.Hour), Step: time.Minute}
}

const twoSeries = `{"status":"success","data":{"resultType":"matrix","result":[
	{"metric":{"instance":"a"},"values":[[1727096400.123,"0.5"],[1727096460.123,"NaN"]]},
	{"metric":{"instance":"b"},"values":[[1727096400,"+Inf"]]},
	{"metric":{"instance":"of histograms"},"histograms":[[1727096400,{}]]}]}}`

func TestQueryRange(t *testing.T) {
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			var form url.Values
			var head http.Header
			var path string
			c := clientOf(t, way, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				form, _ = url.ParseQuery(string(b))
				head, path = r.Header, r.URL.Path
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, twoSeries)
			})
			got, err := c.QueryRange(evaluator.WithHeaders(t.Context(), map[string]string{"x-scope-orgid": "team"}), aRange())
			if err != nil {
				t.Fatal(err)
			}
			if s := fmt.Sprint(got); s != "[{{instance=\"a\"} [2024-09-23 13:00:00.123 +0000 UTC 2024-09-23 13:01:00.123 +0000 UTC] [0.5 NaN]} {{instance=\"b\"} [2024-09-23 13:00:00 +0000 UTC] [+Inf]}]" {
				t.Errorf("got %s", s)
			}
			if path != "/base/api/v1/query_range" || form.Get("query") != aRange().Expr || form.Get("start") != "1727096400.123" || form.Get("end") != "1727100000.123" ||
				form.Get("step") != "60" || form.Get("limit") != "201" || head.Get("X-Scope-OrgID") != "team" || !strings.HasSuffix(form.Get("timeout"), "ms") {
				t.Errorf("asked %s %v %v", path, form, head)
			}
		})
	}
}

func TestQueryRangeRefusals(t *testing.T) {
	many := `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Repeat(`{"metric":{},"values":[[1,"1"]]},`, MaxRangeSeries) + `{"metric":{},"values":[[1,"1"]]}]}}`
	long := `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[` + strings.Repeat(`[1,"1"],`, MaxRangePoints) + `[1,"1"]]}]}}`
	for name, x := range map[string]struct {
		status     int
		kind, body string
		want       string
		tooMany    bool
		rule       bool
	}{
		"too many series": {200, "application/json", many, "more than 200 series", true, true},
		"too many points": {200, "application/json", long, "more than 1000 points", true, true},
		"too large":       {200, "application/json", strings.Repeat(" ", maxRangeBytes+1), "larger than 8 MiB", true, true},
		"bad expression":  {400, "application/json", `{"status":"error","errorType":"bad_data","error":"parse error"}`, "bad_data: parse error", false, true},
		"unavailable":     {503, "application/json", `{"status":"error","errorType":"unavailable","error":"starting"}`, "answered 503", false, false},
		"a proxy":         {502, "text/html", "<h1>no</h1>", "text/html instead of JSON", false, false},
		"no JSON":         {200, "application/json", "{", "not Prometheus' JSON", false, false},
		"no matrix":       {200, "application/json", `{"status":"success","data":{"resultType":"scalar","result":[]}}`, `type "scalar" instead of a matrix`, false, false},
		"no value":        {200, "application/json", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["x",{}]]}]}}`, "a value that is none", false, false},
		"a redirect":      {302, "", "", "redirects (302)", false, false},
		"empty":           {200, "application/json", ``, "not Prometheus' JSON", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, "transport", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", x.kind)
				w.WriteHeader(x.status)
				_, _ = io.WriteString(w, x.body)
			})
			_, err := c.QueryRange(t.Context(), aRange())
			q, ok := errors.AsType[*evaluator.QueryError](err)
			if !ok || !strings.Contains(q.Message, x.want) || strings.Contains(q.Message, "hunter2") {
				t.Fatalf("got %v, want %q", err, x.want)
			}
			if errors.Is(err, ErrTooManySeries) != x.tooMany || (q.Kind == evaluator.RuleError) != x.rule {
				t.Errorf("%v: too many %v, kind %v", err, errors.Is(err, ErrTooManySeries), q.Kind)
			}
		})
	}
	c := clientOf(t, "transport", func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	for _, r := range []Range{{}, {From: at, To: at.Add(-time.Hour), Step: time.Minute}, {From: at, To: at.Add(time.Hour), Step: time.Millisecond}, {From: at, To: at.Add(1000 * time.Minute), Step: time.Minute}} {
		if _, err := c.QueryRange(t.Context(), r); err == nil {
			t.Errorf("%+v was asked for", r)
		}
	}
}
