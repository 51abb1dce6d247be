package prometheus

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/evaluator"
)

// TestTenants: the headers of a group stand over those of the backend, whatever their case, and only in its
// own queries; on both ways to ask.
func TestTenants(t *testing.T) {
	for _, overNetHTTP := range []bool{false, true} {
		var got []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Header.Values("X-Scope-OrgID")...)
			got = append(got, r.Header.Get("X-Common"), r.Header.Get("X-Own"))
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		}))
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{URL: u, Headers: map[string]string{"X-Scope-OrgID": "shop", "X-Common": "c"}}, func(o *options) { o.netHTTP = overNetHTTP })
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		for _, ctx := range []context.Context{ctx, evaluator.WithHeaders(ctx, map[string]string{"x-scope-orgid": "till", "X-Own": "o"}), ctx} {
			if _, err := c.Query(ctx, "up", time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"shop", "c", "", "till", "c", "o", "shop", "c", ""}, got); diff != "" {
			t.Errorf("net/http %v: %s", overNetHTTP, diff)
		}
		c.Close()
		s.Close()
	}
}
