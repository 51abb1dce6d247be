package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRuleQuery asks with any query string: the answer is JSON in Prometheus' form, and nothing panics.
func FuzzRuleQuery(f *testing.F) {
	all := readRecorded(f)
	for _, r := range all {
		_, query, _ := strings.Cut(tokens(r.Request), "?")
		f.Add(query)
	}
	h := shown(f, mirrored(f, all[0].Body), nil)
	f.Fuzz(func(t *testing.T, query string) {
		rec := get(h, promBase+"/rules?"+query)
		var e envelope
		if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, rec.Body)
		}
		ok := rec.Code == http.StatusOK && e.Status == "success" && e.Error == ""
		refused := rec.Code == http.StatusBadRequest && e.Status == "error" && e.ErrorType == "bad_data" && e.Error != ""
		if !ok && !refused {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
}

// FuzzJSONString wants of any string that it comes back, or what JSON can hold of it.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "<script>&", "\x00\x1f\x7f", "é日本\u2028", "\xff\xfe", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := jsonString(nil, s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if utf8.ValidString(s) && back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}
