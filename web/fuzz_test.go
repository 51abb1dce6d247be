package web

import (
	"encoding/json"
	"net/http"
	"testing"

	"tocsin/oncall"
)

// FuzzAct sends any body to every action: the answer is always JSON with a documented status, a refusal
// changes nothing, and nothing panics.
func FuzzAct(f *testing.F) {
	for _, body := range []string{"", "{}", `{"user":"ana"}`, `{"for":"30m"}`, `{"until":"2099-01-01T00:00:00Z"}`, `{"round":0,"tier":-1}`,
		`{"assignee":"bo"}`, `{"text":"x"}`, `{"text":7}`, "null", "[]", `{"user":"a"} {}`, `{"for":"99999999y"}`, `{"round":1e99,"tier":0}`} {
		for i := range actions {
			f.Add(i, body)
		}
	}
	f.Fuzz(func(t *testing.T, which int, body string) {
		a := actions[uint(which)%uint(len(actions))]
		m := newMemory()
		before, _ := json.Marshal(m.incidents[42])
		w := New(Options{Acts: m, Store: m, ExternalURL: external, Evaluated: func() bool { return true },
			Policy: func() oncall.Policy { return m.policy }, Reload: func() error { return nil }})
		rec := ask(w.Handler(), "POST", apiBase+"/incidents/42/"+string(a.kind), body)
		var answer map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%d: %v: %s", rec.Code, err, rec.Body)
		}
		switch rec.Code {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusConflict:
			if after, _ := json.Marshal(m.incidents[42]); string(after) != string(before) {
				t.Errorf("%d, and yet it changed: %s", rec.Code, after)
			}
		default:
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
}

// FuzzIncidentNumber reads numbers as people write them.
func FuzzIncidentNumber(f *testing.F) {
	for _, s := range []string{"42", "#42", " 42", "0", "-1", "##1", "9223372036854775808", "４２"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseNumber(s); (n < 1) != (err != nil) {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	})
}
