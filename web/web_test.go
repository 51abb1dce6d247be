package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"tocsin/oncall"
)

func TestBadRequestsChangeNothing(t *testing.T) {
	one := apiBase + "/incidents/42"
	for _, c := range []struct {
		name, method, target, body string
		header                     []string
		status                     int
		code, says                 string
	}{
		{name: "unknown path", method: "GET", target: "/api/v9/x", status: 404, code: "not_found", says: "/api/v9/x"},
		{name: "wrong method", method: "DELETE", target: one, status: 405, code: "method_not_allowed", says: "GET, HEAD"},
		{name: "GET does not act", method: "GET", target: one + "/acknowledge", status: 405, code: "method_not_allowed", says: "POST"},
		{name: "unknown action", method: "POST", target: one + "/explode", status: 404, code: "not_found"},
		{name: "no number", method: "POST", target: apiBase + "/incidents/x/acknowledge", status: 400, code: "invalid", says: "42"},
		{name: "unknown incident", method: "POST", target: apiBase + "/incidents/9/acknowledge", status: 404, code: "not_found", says: "#9"},
		{name: "unknown field", method: "POST", target: one + "/acknowledge", body: `{"usr":"ana"}`, status: 400, code: "invalid", says: `"usr"`},
		{name: "array", method: "POST", target: one + "/acknowledge", body: `[]`, status: 400, code: "invalid", says: "JSON object"},
		{name: "two objects", method: "POST", target: one + "/acknowledge", body: `{} {}`, status: 400, code: "invalid", says: "nothing after"},
		{name: "trailing text", method: "POST", target: one + "/acknowledge", body: `{} x`, status: 400, code: "invalid"},
		{name: "truncated", method: "POST", target: one + "/acknowledge", body: `{"user":`, status: 400, code: "invalid"},
		{name: "wrong type", method: "POST", target: one + "/acknowledge", body: `{"user":7}`, status: 400, code: "invalid", says: "user must be a string"},
		{name: "control characters", method: "POST", target: one + "/acknowledge", body: `{"user":"a\u001b[2J"}`, status: 400, code: "invalid"},
		{name: "too large", method: "POST", target: one + "/note", body: `{"text":"` + strings.Repeat("x", maxBody) + `"}`, status: 413, code: "too_large"},
		{name: "snooze without an end", method: "POST", target: one + "/snooze", body: `{}`, status: 400, code: "invalid", says: "until"},
		{name: "snooze with two ends", method: "POST", target: one + "/snooze", body: `{"for":"1m","until":"2099-01-01T00:00:00Z"}`, status: 400, code: "invalid"},
		{name: "snooze into the past", method: "POST", target: one + "/snooze", body: `{"until":"2001-01-01T00:00:00Z"}`, status: 400, code: "invalid"},
		{name: "snooze for nonsense", method: "POST", target: one + "/snooze", body: `{"for":"soon"}`, status: 400, code: "invalid", says: "soon"},
		{name: "half a view", method: "POST", target: one + "/escalate", body: `{"round":0}`, status: 400, code: "invalid", says: "both"},
		{name: "no assignee", method: "POST", target: one + "/assign", status: 400, code: "invalid", says: "assignee"},
		{name: "unknown parameter", method: "GET", target: apiBase + "/incidents?stat=open", status: 400, code: "invalid", says: `"stat"`},
		{name: "limit of nothing", method: "GET", target: apiBase + "/incidents?limit=0", status: 400, code: "invalid", says: "limit"},
		{name: "foreign page", method: "POST", target: one + "/acknowledge", header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403, code: "forbidden"},
		{name: "foreign origin", method: "POST", target: one + "/acknowledge", header: []string{"Origin", "https://evil.example"}, status: 403, code: "forbidden"},
		{name: "origin of nobody", method: "POST", target: one + "/acknowledge", header: []string{"Origin", "null"}, status: 403, code: "forbidden"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory()
			before, _ := json.Marshal(m.incidents[42])
			rec := ask(site(t, m, nil).Handler(), c.method, c.target, c.body, c.header...)
			var e apiError
			if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil {
				t.Fatalf("no JSON: %v: %s", err, rec.Body)
			}
			if rec.Code != c.status || e.Code != c.code || !strings.Contains(e.Error, c.says) {
				t.Errorf("%d %+v, want %d %s saying %q", rec.Code, e, c.status, c.code, c.says)
			}
			if after, _ := json.Marshal(m.incidents[42]); string(after) != string(before) {
				t.Errorf("the incident changed: %s", after)
			}
		})
	}
}

func TestFailuresOfTheStoreKeepTheirCausesToThemselves(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).Handler()
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{&oncall.Error{Code: oncall.CodeUnavailable, Message: "the store does not answer", Cause: errors.New("hunter2")}, 503, "unavailable"},
		{errors.New("hunter2"), 500, "internal"},
	} {
		m.broken = c.err
		rec := ask(h, "GET", apiBase+"/incidents/42", "")
		var e apiError
		if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil || rec.Code != c.status || e.Code != c.code {
			t.Errorf("%v: %d %s", c.err, rec.Code, rec.Body)
		}
		if strings.Contains(rec.Body.String(), "hunter2") {
			t.Errorf("the cause is shown: %s", rec.Body)
		}
	}
}

func TestADefectIsAnAnswerToo(t *testing.T) {
	m := newMemory()
	h := site(t, m, func(o *Options) { o.User = func(*http.Request) (string, bool) { panic("defect") } }).Handler()
	rec := ask(h, "POST", apiBase+"/incidents/42/acknowledge", "")
	if rec.Code != 500 || !strings.Contains(rec.Body.String(), `"code":"internal"`) || strings.Contains(rec.Body.String(), "defect") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestTheActor(t *testing.T) {
	authenticated := func(o *Options) { o.User = func(r *http.Request) (string, bool) { return "chen", true } }
	for _, c := range []struct {
		name, body, want string
		change           func(*Options)
		status           int
	}{
		{name: "named in the body", body: `{"user":"ana"}`, want: "ana", status: 200},
		{name: "nobody", want: "api", status: 200},
		{name: "authenticated", change: authenticated, want: "chen", status: 200},
		{name: "authenticated and of one mind", change: authenticated, body: `{"user":"chen"}`, want: "chen", status: 200},
		{name: "authenticated as another", change: authenticated, body: `{"user":"ana"}`, status: 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory()
			rec := ask(site(t, m, c.change).Handler(), "POST", apiBase+"/incidents/42/acknowledge", c.body)
			if got := m.incidents[42].AcknowledgedBy; rec.Code != c.status || got != c.want {
				t.Errorf("%d, acknowledged by %q: %s", rec.Code, got, rec.Body)
			}
		})
	}
}

func TestReadySaysWhatIsMissing(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).Handler()
	if rec := ask(h, "GET", "/-/ready", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m.evaluated, m.broken = false, errors.New("disk full")
	rec := ask(h, "GET", "/-/ready", "")
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "disk full") || !strings.Contains(rec.Body.String(), "evaluated") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m.broken, m.standby = nil, true
	if rec := ask(h, "GET", "/-/ready", ""); rec.Code != 503 || !strings.Contains(rec.Body.String(), "it stands by") || strings.Contains(rec.Body.String(), "evaluated") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask(h, "GET", "/-/healthy", ""); rec.Code != 200 {
		t.Errorf("healthy: %d %s", rec.Code, rec.Body)
	}
}

func TestReloadAnswersWithTheProblems(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).Handler()
	if rec := ask(h, "POST", "/-/reload", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m.reloaded = errors.New("tocsin.yml:3:1: unknown key")
	if rec := ask(h, "POST", "/-/reload", ""); rec.Code != 500 || !strings.Contains(rec.Body.String(), "tocsin.yml:3:1") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask(h, "GET", "/-/reload", ""); rec.Code != 405 || rec.Header().Get("Allow") != "POST, PUT" {
		t.Errorf("GET: %d %v", rec.Code, rec.Header())
	}
}

func TestTheCallbackHandlerServesNothingElse(t *testing.T) {
	m := newMemory()
	slack := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	w := site(t, m, func(o *Options) { o.Slack = func() (http.Handler, http.Handler) { return slack, slack } })
	for _, target := range []string{"/", "/metrics", "/-/ready", apiBase + "/incidents", "/incidents/42", "/static/tocsin.css"} {
		if rec := ask(w.CallbackHandler(), "GET", target, ""); rec.Code != 404 {
			t.Errorf("%s: %d", target, rec.Code)
		}
	}
	for _, h := range []http.Handler{w.Handler(), w.CallbackHandler()} {
		for _, target := range []string{"/slack/commands", "/slack/interactions"} {
			if rec := ask(h, "POST", target, "payload=x"); rec.Code != http.StatusTeapot {
				t.Errorf("%s: %d", target, rec.Code)
			}
		}
		if rec := ask(h, "GET", "/hooks/tocsin.css", ""); rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/css") {
			t.Errorf("stylesheet: %d %v", rec.Code, rec.Header())
		}
	}
	if rec := ask(site(t, m, nil).Handler(), "POST", "/slack/commands", ""); rec.Code != 404 {
		t.Errorf("without Slack: %d", rec.Code)
	}
}

func TestTheRoutePrefix(t *testing.T) {
	h := site(t, newMemory(), func(o *Options) { o.RoutePrefix = "/tocsin" }).Handler()
	for target, status := range map[string]int{
		"/": 302, "/tocsin/": 200, "/tocsin/-/healthy": 200, "/tocsin/incidents/42": 200,
		"/tocsin" + apiBase + "/incidents": 200, "/-/healthy": 404,
	} {
		if rec := ask(h, "GET", target, ""); rec.Code != status {
			t.Errorf("%s: %d, want %d", target, rec.Code, status)
		}
	}
	if rec := ask(h, "GET", "/tocsin/api/nothing", ""); rec.Header().Get("Content-Type") != "application/json" {
		t.Errorf("a refusal below the prefix is %v", rec.Header())
	}
}

func TestMetricsCountRequestsByRoute(t *testing.T) {
	h := site(t, newMemory(), nil).Handler()
	ask(h, "GET", apiBase+"/incidents/42", "")
	want := `tocsin_http_request_duration_seconds_count{code="200",handler="/api/tocsin/v1/incidents/{number}"} 1`
	if rec := ask(h, "GET", "/metrics", ""); !strings.Contains(rec.Body.String(), want) {
		t.Errorf("%s is not in\n%s", want, rec.Body)
	}
}
