package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
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

// FuzzJSONString wants of any string what encoding/json makes of it.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "<script>&", "\x00\b\f\r\t\x1f\x7f", "é日本\u2028\u2029\U0001f600", "\xff\xfe\xc3", "\ufffd", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if got := jsonString([]byte("x"), s); err != nil || string(got) != "x"+string(want) {
			t.Errorf("%s, encoding/json writes %s (%v)", got, want, err)
		}
	})
}
