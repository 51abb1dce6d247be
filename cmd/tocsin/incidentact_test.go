package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestIncidentActs asks for what the command line was told, and refuses what cannot be meant before it asks.
func TestIncidentActs(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		text, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/tocsin/v1/")+" "+string(text))
		_, _ = w.Write([]byte(`{"number":7,"reply":"done"}`))
	}))
	defer server.Close()
	act := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		args = append([]string{"incident", args[0], "--url", server.URL, "--user", "bo"}, args[1:]...)
		code := run(t.Context(), args, streams{&out, &errs})
		return code, out.String() + errs.String()
	}
	for _, c := range []struct {
		typed string
		want  []string // what was asked; else what was said
	}{
		{"snooze 7 --for 30m", []string{`POST incidents/7/snooze {"for":"30m","user":"bo"}`}},
		{"snooze #7 --until 2099-01-01T09:00:00+01:00", []string{`POST incidents/7/snooze {"until":"2099-01-01T09:00:00+01:00","user":"bo"}`}},
		{`snooze 7 --until-clear alertname="Deploy" --for 1h`, []string{`POST incidents/7/snooze {"for":"1h","until_clear":"alertname=\"Deploy\"","user":"bo"}`}},
		{"escalate 7 8", []string{`POST incidents/7/escalate {"user":"bo"}`, `POST incidents/8/escalate {"user":"bo"}`}},
		{"assign 7 --to ana", []string{`POST incidents/7/assign {"assignee":"ana","user":"bo"}`}},
		{"add 7 --responder ana", []string{`POST incidents/7/add {"responder":"ana","user":"bo"}`}},
		{"merge 7 --into #9", []string{`POST incidents/7/merge {"into":9,"user":"bo"}`}},
		{"silence 7 --for 2h -c deploying", []string{`POST incidents/7/silence {"comment":"deploying","duration":"2h","user":"bo"}`}},
		{"silence 7 --until 2099-01-01T09:00:00Z -c deploying", []string{`POST incidents/7/silence {"comment":"deploying","until":"2099-01-01T09:00:00Z","user":"bo"}`}},
		{"note 7 -t looking", []string{`POST incidents/7/note {"text":"looking","user":"bo"}`}},
	} {
		asked = nil
		if code, said := act(strings.Fields(c.typed)...); code != 0 || !strings.HasPrefix(said, "done\n") {
			t.Errorf("%s: %d %q", c.typed, code, said)
		}
		if diff := cmp.Diff(c.want, asked); diff != "" {
			t.Errorf("%s: %s", c.typed, diff)
		}
	}
	asked = nil
	for typed, want := range map[string]string{
		"snooze 7": "for how long?", "snooze 7 --for 1h --until 2099-01-01T09:00:00Z": "exclude each other", "snooze 7 --until monday": "expected a time",
		"assign 7": "--to", "add 7": "--responder", "merge 7": "--into", "merge 7 --into you": "no incident number", "note 7": "--text", "silence 7 -c x": "for how long?", "silence 7 --for 2h": "--reason", "silence 7 --until monday -c x": "expected a time",
		"escalate": "number",
	} {
		if code, said := act(strings.Fields(typed)...); code != 2 || !strings.Contains(said, want) {
			t.Errorf("%s: %d %q", typed, code, said)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the server was asked all the same: %q", asked)
	}
}
