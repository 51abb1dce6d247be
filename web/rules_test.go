package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tocsin/evaluator"
	"tocsin/oncall"
)

// shown makes a site that shows the rules.
func shown(t failer, rules RuleSource, change func(*Options)) http.Handler {
	t.Helper()
	m := newMemory()
	o := Options{Acts: m, Store: m, ExternalURL: external, Rules: rules}
	if change != nil {
		change(&o)
	}
	return New(o).Handler()
}

// get sends a request whose query is taken as it is.
func get(h http.Handler, request string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("GET", "/", nil)
	req.URL.Path, req.URL.RawQuery, _ = strings.Cut(request, "?")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

// TestAnswersAsPrometheus shows what Prometheus v0.315 showed, and wants its very bytes for every parameter.
// Where it refuses, so do we, by the same status and type; the words are ours.
func TestAnswersAsPrometheus(t *testing.T) {
	all := readRecorded(t)
	h := shown(t, mirrored(t, all[0].Body), nil)
	for _, want := range all {
		rec := get(h, promBase+tokens(want.Request))
		if rec.Code != want.Status || rec.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v, Prometheus says %d\n%s", want.Request, rec.Code, rec.Header(), want.Status, rec.Body)
			continue
		}
		if want.Status == http.StatusOK {
			if ours, theirs := escaped(rec.Body.Bytes()), escaped(want.Body); ours != theirs {
				t.Errorf("%s:\n%s\nPrometheus says\n%s", want.Request, ours, theirs)
			}
			continue
		}
		var ours, theirs envelope
		if err := errors.Join(json.Unmarshal(rec.Body.Bytes(), &ours), json.Unmarshal(want.Body, &theirs)); err != nil {
			t.Errorf("%s: %v: %s", want.Request, err, rec.Body)
		}
		if ours.Status != theirs.Status || ours.ErrorType != theirs.ErrorType || ours.Error == "" || ours.Data != nil {
			t.Errorf("%s: %+v, Prometheus says %+v", want.Request, ours, theirs)
		}
	}
}

// TestClientsOfPrometheus reads the answers with client_golang's types.
func TestClientsOfPrometheus(t *testing.T) {
	defer goleak.VerifyNone(t)
	server := httptest.NewServer(shown(t, mirrored(t, readRecorded(t)[0].Body), func(o *Options) { o.RoutePrefix = "/tocsin" }))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client, err := promapi.NewClient(promapi.Config{Address: server.URL + "/tocsin", RoundTripper: transport})
	if err != nil {
		t.Fatal(err)
	}
	api := promv1.NewAPI(client)
	result, err := api.Rules(t.Context(), nil)
	if err != nil || len(result.Groups) != 4 || result.Groups[0].File != "a.yml" || result.Groups[0].Interval != 15 {
		t.Fatalf("%v %+v", err, result)
	}
	first, ok := result.Groups[0].Rules[0].(promv1.AlertingRule)
	if !ok || first.State != "firing" || first.Health != promv1.RuleHealthGood || len(first.Alerts) != 1 || first.Alerts[0].Labels["alertname"] != "MemoryHigh" {
		t.Errorf("%T %+v", result.Groups[0].Rules[0], first)
	}
	third, ok := result.Groups[0].Rules[2].(promv1.RecordingRule)
	if !ok || third.Name != "job:up:sum" || third.Labels["team"] != "a" {
		t.Errorf("%T %+v", result.Groups[0].Rules[2], third)
	}
	alerts, err := api.Alerts(t.Context())
	if err != nil || len(alerts.Alerts) != 8 || alerts.Alerts[0].State != promv1.AlertStateFiring || alerts.Alerts[0].Value != "9e-01" {
		t.Errorf("%v %+v", err, alerts)
	}
	if some, err := api.Rules(t.Context(), []string{`{team="b"}`, `{severity="warning"}`}); err != nil || len(some.Groups) != 2 || len(some.Groups[0].Rules) != 1 {
		t.Errorf("%v %+v", err, some)
	}
	info, err := api.Buildinfo(t.Context())
	if err != nil || !strings.HasPrefix(info.GoVersion, "go1.") {
		t.Errorf("%v %+v", err, info)
	}
	if _, _, err := api.Query(t.Context(), "up", time.Now()); err == nil {
		t.Errorf("a query was answered")
	}
	if labels := first.Alerts[0].Annotations; labels[model.LabelName("summary")] == "" {
		t.Errorf("annotations: %v", labels)
	}
}

func TestRefusalsBelowPrometheusAreInItsForm(t *testing.T) {
	h := shown(t, fixedRules{}, func(o *Options) { o.RoutePrefix = "/x" })
	for _, c := range []struct {
		method, target, body string
		status               int
		kind, says           string
		header               []string
	}{
		{method: "POST", target: "/rules", status: 405, kind: "bad_data", says: "GET, HEAD"},
		{method: "DELETE", target: "/alerts", status: 405, kind: "bad_data", says: "GET, HEAD, POST"},
		{method: "GET", target: "/query?query=up", status: 404, kind: "not_found", says: "ask Prometheus"},
		{method: "POST", target: "/query", body: "query=up", status: 404, kind: "not_found", says: "/api/v1/query"},
		{method: "GET", target: "/", status: 404, kind: "not_found"},
		{method: "GET", target: "/rules/", status: 404, kind: "not_found"},
		{method: "POST", target: "/rules", status: 403, kind: "bad_data", says: "another site", header: []string{"Origin", "https://evil.example"}},
		{method: "GET", target: "/rules?match[]=" + strings.Repeat("&match[]=up", maxMatchers), status: 400, kind: "bad_data", says: "at most 1000"},
		{method: "GET", target: "/rules?match[]={a=~%22(%22}", status: 400, kind: "bad_data", says: "match[]"},
	} {
		rec := ask(h, c.method, "/x"+promBase+c.target, c.body, c.header...)
		var e envelope
		if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil {
			t.Errorf("%s %.60s: %v: %s", c.method, c.target, err, rec.Body)
		}
		if rec.Code != c.status || e.Status != "error" || e.ErrorType != c.kind || !strings.Contains(e.Error, c.says) {
			t.Errorf("%s %.60s: %d %+v, want %d %s saying %q", c.method, c.target, rec.Code, e, c.status, c.kind, c.says)
		}
	}
	for _, request := range []string{"POST /alerts", "POST /silences", "GET /status", "GET /receivers", "DELETE /silence/1", "GET /silences"} {
		method, target, _ := strings.Cut(request, " ")
		if rec := ask(h, method, "/x"+promBase+target, "[]"); rec.Code != 410 || !strings.Contains(rec.Body.String(), `"status":"deprecated"`) || !strings.Contains(rec.Body.String(), "/api/v2") {
			t.Errorf("%s, of Alertmanager's first API: %d %s", request, rec.Code, rec.Body)
		}
	}
	for _, target := range []string{"/x/api/other/nothing", "/x/api/tocsin/v1/nothing"} {
		if rec := ask(h, "GET", target, ""); !strings.Contains(rec.Body.String(), `"code":"not_found"`) {
			t.Errorf("%s is refused in another's form: %s", target, rec.Body)
		}
	}
	if rec := ask(h, "HEAD", "/x"+promBase+"/rules", ""); rec.Code != 200 || rec.Body.Len() != 0 {
		t.Errorf("HEAD: %d %s", rec.Code, rec.Body)
	}
}

// TestUnknownShowsAsAnError holds the promise that a failed query changes no state that others see.
func TestUnknownShowsAsAnError(t *testing.T) {
	h := shown(t, fixedRules{{Name: "g", File: "f.yml", Interval: time.Minute, Rules: []evaluator.RuleStatus{{Type: evaluator.Alerting, Name: "A", Query: "up == 0",
		Health: evaluator.HealthErr, LastError: "the backend does not answer", State: oncall.StateFiring, LastEvaluation: began,
		Alerts: []evaluator.AlertStatus{{Labels: labels.FromStrings("alertname", "A"), State: oncall.StateFiring, ActiveAt: began, UnknownSince: began}}}}}}, nil)
	rec := get(h, promBase+"/rules")
	for _, want := range []string{`"state":"firing","name":"A"`, `"health":"err","lastError":"the backend does not answer"`, `"state":"firing","activeAt":"2024-09-23T13:00:00Z","value":"0e+00"`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s is not in %s", want, rec.Body)
		}
	}
	if strings.Contains(rec.Body.String(), "nknown") {
		t.Errorf("unknown is shown: %s", rec.Body)
	}
}

// manyAlerts is a storm: n alerts of 100 rules.
func manyAlerts(n int) fixedRules {
	g := evaluator.GroupStatus{Name: "storm", File: "storm.yml", Interval: 30 * time.Second, LastEvaluation: began}
	for r := range 100 {
		rule := evaluator.RuleStatus{Type: evaluator.Alerting, Name: fmt.Sprint("Storm", r), Query: "x > 80", Health: evaluator.HealthOK, State: oncall.StateFiring, LastEvaluation: began}
		for i := range n / 100 {
			rule.Alerts = append(rule.Alerts, evaluator.AlertStatus{State: oncall.StateFiring, ActiveAt: began, Value: float64(i),
				Labels:      labels.FromStrings("alertname", rule.Name, "instance", fmt.Sprintf("session-%d:9100", i), "job", "shop", "severity", "critical"),
				Annotations: map[string]string{"summary": fmt.Sprintf("Memory at %d on session-%d", i, i), "runbook_url": "https://runbooks.example/memory"}})
		}
		g.Rules = append(g.Rules, rule)
	}
	return fixedRules{g}
}

// countingWriter is a caller that takes limit bytes and then is gone.
type countingWriter struct {
	http.ResponseWriter
	limit, writes, largest int
}

func (c *countingWriter) Write(b []byte) (int, error) {
	c.writes++
	c.largest = max(c.largest, len(b))
	if c.limit -= len(b); c.limit < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestAStormIsSentInPieces(t *testing.T) {
	h := shown(t, manyAlerts(20_000), nil)
	for _, path := range []string{"/rules", "/alerts"} {
		rec := get(h, promBase+path)
		if n := strings.Count(rec.Body.String(), `"activeAt"`); n != 20_000 || !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%s: %d alerts", path, n)
		}
		all := &countingWriter{ResponseWriter: httptest.NewRecorder(), limit: 1 << 30}
		h.ServeHTTP(all, httptest.NewRequest("GET", promBase+path, nil))
		if all.largest > 2*spill || all.writes < 50 {
			t.Errorf("%s: %d pieces, the largest of %d bytes", path, all.writes, all.largest)
		}
		gone := &countingWriter{ResponseWriter: httptest.NewRecorder(), limit: 3 * spill}
		h.ServeHTTP(gone, httptest.NewRequest("GET", promBase+path, nil))
		if gone.writes > 4 {
			t.Errorf("%s: %d pieces for a caller that has gone", path, gone.writes)
		}
	}
	if rec := get(h, promBase+"/rules?exclude_alerts=true"); rec.Body.Len() > 50_000 {
		t.Errorf("without alerts it has %d bytes", rec.Body.Len())
	}
}

// groupNames returns what a request selects, as "file/group/rule", and the token of the next page.
func groupNames(t *rapid.T, h http.Handler, query string) (names []string, groups int, next string) {
	var page struct {
		Data struct {
			Groups []struct {
				Name, File string
				Rules      []struct{ Name string }
			}
			GroupNextToken string
		}
	}
	rec := get(h, promBase+"/rules?"+query)
	if err := json.Unmarshal(rec.Body.Bytes(), &page); err != nil || rec.Code != 200 {
		t.Fatalf("%s: %d %v", query, rec.Code, err)
	}
	for _, g := range page.Data.Groups {
		for _, r := range g.Rules {
			names = append(names, g.File+"/"+g.Name+"/"+r.Name)
		}
	}
	return names, len(page.Data.Groups), page.Data.GroupNextToken
}

// TestPagesAreTheWhole turns pages of any size through any selection: together they are the answer without
// pages, and no page is empty or too long.
func TestPagesAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var groups fixedRules
		for i := range rapid.IntRange(1, 12).Draw(t, "groups") {
			g := evaluator.GroupStatus{Name: fmt.Sprint("g", i%5), File: fmt.Sprint("f", i/5)}
			for range rapid.IntRange(0, 3).Draw(t, "rules") {
				g.Rules = append(g.Rules, evaluator.RuleStatus{Name: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "name"),
					Type: rapid.SampledFrom([]evaluator.RuleType{evaluator.Alerting, evaluator.Recording}).Draw(t, "type")})
			}
			groups = append(groups, g)
		}
		slices.Reverse(groups)
		h := shown(t, groups, nil)
		filter := rapid.SampledFrom([]string{"", "&type=alert", "&type=record", "&rule_name[]=A", "&rule_group[]=g1&rule_group[]=g3", "&file[]=f1&type=alert"}).Draw(t, "filter")
		limit := rapid.IntRange(1, 13).Draw(t, "limit")
		want, _, _ := groupNames(t, h, filter)
		var got []string
		for token, more := "", true; more; more = token != "" {
			names, n, next := groupNames(t, h, fmt.Sprintf("group_limit=%d&group_next_token=%s%s", limit, token, filter))
			if n > limit || n == 0 && token != "" {
				t.Fatalf("a page of %d groups", n)
			}
			got, token = append(got, names...), next
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages: %v, the whole: %v", got, want)
		}
	})
}

// TestWhatIsShownComesBack sends any text, number and time through the answer.
func TestWhatIsShownComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		when := rapid.Custom(func(t *rapid.T) time.Time { return time.Unix(0, rapid.Int64Min(1).Draw(t, "ns")).UTC() })
		took := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "took")) })
		pairs := rapid.MapOfN(rapid.StringN(1, 10, -1), rapid.StringN(1, 10, -1), 0, 4)
		rule := evaluator.RuleStatus{Type: evaluator.Alerting, Name: text.Draw(t, "name"), Query: text.Draw(t, "query"), For: took.Draw(t, "for"),
			KeepFiringFor: took.Draw(t, "keep"), Labels: labels.FromMap(pairs.Draw(t, "labels")), Annotations: pairs.Draw(t, "annotations"),
			Health: evaluator.HealthErr, LastError: text.Draw(t, "error"), EvaluationTime: took.Draw(t, "took"), LastEvaluation: when.Draw(t, "at"), State: oncall.StateInactive}
		for range rapid.IntRange(0, 3).Draw(t, "alerts") {
			rule.State = oncall.StateFiring
			rule.Alerts = append(rule.Alerts, evaluator.AlertStatus{Labels: labels.FromMap(pairs.Draw(t, "alert")), Annotations: pairs.Draw(t, "notes"),
				State: oncall.StateFiring, ActiveAt: when.Draw(t, "active"), KeepFiringSince: when.Draw(t, "kept"),
				Value: rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), 0})).Draw(t, "value")})
		}
		want := fixedRules{{Name: text.Draw(t, "group"), File: text.Draw(t, "file"), Interval: took.Draw(t, "interval"), Limit: rapid.IntMin(0).Draw(t, "limit"),
			EvaluationTime: took.Draw(t, "group took"), LastEvaluation: when.Draw(t, "group at"), Rules: []evaluator.RuleStatus{rule}}}
		got := mirrored(t, get(shown(t, want, nil), promBase+"/rules").Body.Bytes())
		if diff := cmp.Diff(want, got, cmp.Comparer(labels.Equal)); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkRules(b *testing.B) {
	h := shown(b, manyAlerts(100_000), nil)
	for _, path := range []string{"/rules", "/alerts", "/rules?exclude_alerts=true"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := &countingWriter{ResponseWriter: httptest.NewRecorder(), limit: 1 << 40}
				h.ServeHTTP(w, httptest.NewRequest("GET", promBase+path, nil))
			}
		})
	}
}
