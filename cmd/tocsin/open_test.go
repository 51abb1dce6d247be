package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestIncidentOpen opens an incident from the command line, and refuses what would tell nobody before it asks.
func TestIncidentOpen(t *testing.T) {
	var keys []string
	var body map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		body = nil
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Method+" "+r.URL.Path != "POST /api/tocsin/v1/incidents" {
			t.Error(r.Method, r.URL, err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"number":7,"url":"http://tocsin/incidents/7","reply":"#7 is opened, and ana is paged"}`))
	}))
	defer server.Close()
	open := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"incident", "open", "--url", server.URL, "--user", "bo"}, args...), streams{&out, &errs})
		return code, out.String() + errs.String()
	}
	code, said := open("--page", "ana", "-t", "The queue is stuck", "--details", "since noon")
	if code != 0 || said != "#7 is opened, and ana is paged. http://tocsin/incidents/7\n" {
		t.Errorf("%d %q", code, said)
	}
	for field, want := range map[string]string{"page": "ana", "title": "The queue is stuck", "details": "since noon", "severity": "critical", "user": "bo"} {
		if body[field] != want {
			t.Errorf("sent %v", body)
		}
	}
	open("-e", "default", "-t", "x")
	open("-e", "default", "-t", "x", "--request", "mine")
	if len(keys) != 3 || keys[0] == "" || keys[0] == keys[1] || keys[2] != "mine" {
		t.Errorf("requests %q", keys)
	}
	for want, args := range map[string][]string{
		"who is to be told": {"-t", "x"}, "--title": {"-e", "default"}, "say who": {"-e", "default", "-p", "ana", "-t", "x"},
	} {
		if code, said := open(args...); code != 2 || !strings.Contains(said, want) {
			t.Errorf("%v: %d %q", args, code, said)
		}
	}
	if len(keys) != 3 {
		t.Error("the server was asked all the same")
	}
}
