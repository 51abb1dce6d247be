package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// alertAPI is a server that answers as the alert API does, and remembers what was asked.
type alertAPI struct {
	*httptest.Server
	asked []string
	body  map[string]any
}

func newAlertAPI(t *testing.T) *alertAPI {
	t.Helper()
	a := &alertAPI{}
	mux := http.NewServeMux()
	answer := func(pattern string, status int, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.asked = append(a.asked, r.Method+" "+r.URL.RequestURI())
			raw, err := io.ReadAll(r.Body)
			if err == nil && len(raw) > 0 {
				a.body = nil
				err = json.Unmarshal(raw, &a.body)
			}
			if err != nil {
				t.Error(err)
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	answer("POST /api/v2/silences", 200, `{"silenceID":"id-1"}`)
	answer("GET /api/v2/silences", 200, `[
		{"id":"id-1","matchers":[{"name":"team","value":"shop|pay","isRegex":true,"isEqual":false}],"startsAt":"2026-03-01T10:00:00Z","endsAt":"2026-03-01T12:00:00Z",
		 "updatedAt":"2026-03-01T10:00:00Z","createdBy":"ana","comment":"deploy \u001b[31m","status":{"state":"active"}},
		{"id":"id-2","matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2026-03-01T08:00:00Z","endsAt":"2026-03-01T09:00:00Z",
		 "updatedAt":"2026-03-01T08:00:00Z","createdBy":"","comment":"old","status":{"state":"expired"}}]`)
	answer("DELETE /api/v2/silence/id-1", 200, "")
	answer("DELETE /api/v2/silence/id-9", 404, "")
	answer("DELETE /api/v2/silence/id-8", 400, `"silence id-8 already expired"`)
	answer("GET /api/v2/alerts", 200, `[{"labels":{"alertname":"DiskFull","team":"shop"},"startsAt":"2026-03-01T10:00:00Z","status":{"state":"active"}}]`)
	answer("POST /api/tocsin/v1/incidents/42/silence", 200, `{"reply":"#42 is silenced until 2026-03-01 12:00 UTC"}`)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func TestSilenceCommands(t *testing.T) {
	for _, tc := range []struct {
		name  string
		args  []string
		code  int
		out   string   // what is printed, in part
		asked []string // requests
	}{
		{"add", []string{"add", "DiskFull", "team=shop", `env=~"a|b"`, "-c", "deploy", "-a", "ana"}, 0, "id-1\n", []string{"POST /api/v2/silences"}},
		{"add for everything", []string{"add", "alertname=~.+", "-c", "x", "-a", "ana"}, 0, "matches every alert", []string{"POST /api/v2/silences"}},
		{"add from an incident", []string{"add", "--incident", "#42", "2h", "-c", "deploy"}, 0, "#42 is silenced until", []string{"POST /api/tocsin/v1/incidents/42/silence"}},
		{"no comment", []string{"add", "DiskFull"}, 2, "--comment", nil},
		{"a blank comment", []string{"add", "DiskFull", "-c", " "}, 2, "say why", nil},
		{"no matchers", []string{"add", "-c", "x"}, 2, "name what is to be muted", nil},
		{"no matcher", []string{"add", "a=b", "team", "-c", "x"}, 2, `"team" is no matcher`, nil},
		{"a recurring wish", []string{"add", "DiskFull", "-c", "x", "-d", "every monday"}, 2, "time_intervals", nil},
		{"no time", []string{"add", "DiskFull", "-c", "x", "--start", "tomorrow"}, 2, "--start", nil},
		{"two ends", []string{"add", "DiskFull", "-c", "x", "-d", "1h", "--end", "2026-03-01T00:00:00Z"}, 2, "not both", nil},
		{"an incident for how long", []string{"add", "--incident", "42", "-c", "x"}, 2, "for how long?", nil},
		{"an incident and matchers", []string{"add", "--incident", "42", "2h", "team=shop", "-c", "x"}, 2, "the only argument", nil},
		{"no incident", []string{"add", "--incident", "x", "2h", "-c", "x"}, 2, "no incident number", nil},
		{"list", []string{"list", "team!=shop"}, 0, `{team!~"shop|pay"}`, []string{"GET /api/v2/silences?filter=team%21%3D%22shop%22"}},
		{"list expired", []string{"query", "--expired"}, 0, "id-2", []string{"GET /api/v2/silences"}},
		{"preview", []string{"preview", "DiskFull"}, 0, `{team="shop"}`, []string{"GET /api/v2/alerts?filter=alertname%3D%22DiskFull%22"}},
		{"expire", []string{"expire", "id-1", "id-9", "id-8"}, 1, "id-8: silence id-8 already expired",
			[]string{"DELETE /api/v2/silence/id-1", "DELETE /api/v2/silence/id-9", "DELETE /api/v2/silence/id-8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAlertAPI(t)
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"silence", tc.args[0], "--url", a.URL}, tc.args[1:]...), streams{&out, &errs})
			if code != tc.code || !strings.Contains(out.String()+errs.String(), tc.out) {
				t.Errorf("exit code %d, printed\n%s%s", code, out.String(), errs.String())
			}
			if strings.ContainsRune(out.String(), '\x1b') {
				t.Errorf("a comment controls the terminal: %q", out.String())
			}
			if !slices.Equal(a.asked, tc.asked) {
				t.Errorf("asked %q", a.asked)
			}
		})
	}
}

func TestSilenceAddSends(t *testing.T) {
	a := newAlertAPI(t)
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"silence", "add", "--url", a.URL, "DiskFull", `env!~"a|b"`, "-c", "deploy", "-a", "ana", "-d", "90m", "--start", "2026-03-01T22:00:00+01:00"}, streams{&out, &errs})
	if code != 0 {
		t.Fatal(errs.String())
	}
	got, err := json.Marshal(a.body)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 1, 21, 0, 0, 0, time.UTC)
	if a.body["createdBy"] != "ana" || a.body["comment"] != "deploy" ||
		!strings.Contains(string(got), `[{"isEqual":true,"isRegex":false,"name":"alertname","value":"DiskFull"},{"isEqual":false,"isRegex":true,"name":"env","value":"a|b"}]`) {
		t.Errorf("sent %s", got)
	}
	for field, want := range map[string]time.Time{"startsAt": start, "endsAt": start.Add(90 * time.Minute)} {
		if at, err := time.Parse(time.RFC3339Nano, a.body[field].(string)); err != nil || !at.Equal(want) {
			t.Errorf("%s: %v, %v", field, a.body[field], err)
		}
	}
}
