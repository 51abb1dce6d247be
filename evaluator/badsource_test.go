package evaluator_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/promql/parser"

	"tocsin/evaluator"
	"tocsin/evaluator/prometheus"
	"tocsin/oncall"
	"tocsin/rules"
)

// trouble is one way in which a data source fails while an alert fires.
type trouble struct {
	name    string
	serve   http.HandlerFunc
	unknown string // in the rule's last error; "" where the answer is a good one, and the alert resolves
}

const nothing = `{"status":"success","data":{"resultType":"vector","result":[]}`

func answers(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func troubles() []trouble {
	const js = "application/json"
	return []trouble{
		{"infos", answers(200, js, nothing+`,"infos":["PromQL info: metric might not be a counter"]}`), ""},
		{"warnings", answers(200, js, nothing+`,"warnings":["store-2 is down"]}`), "store-2 is down"},
		{"isPartial", answers(200, js, nothing+`,"isPartial":true}`), "partial"},
		{"error with status 200", answers(200, js, `{"status":"error","errorType":"unavailable","error":"starting up"}`), "starting up"},
		{"failing query", answers(422, js, `{"status":"error","errorType":"execution","error":"too many samples"}`), "too many samples"},
		{"server error", answers(503, "text/plain", "no healthy upstream"), "503"},
		{"login page", answers(200, "text/html", "<html>Log in</html>"), "text/html"},
		{"other JSON", answers(200, js, `{"data":[1,2,3]}`), "not Prometheus' JSON"},
		{"cut off", answers(200, js, nothing[:40]), "cut off"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/api/v1/query", http.StatusFound)
		}, "elsewhere.example"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "in time"},
		{"drips", drip, "in time"},
		{"500,000 series", flood, "more than 50000 series"},
		{"resets", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "cannot be reached"},
	}
}

// drip sends a byte now and then, and never all.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, b := range []byte(nothing + strings.Repeat(" ", 10_000)) {
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// flood sends more series than anybody may ask for.
func flood(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, manySeries())
}

var manySeries = sync.OnceValue(func() string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range 500_000 {
		fmt.Fprintf(&b, `{"metric":{"__name__":"x","i":"%d"},"value":[1727096400,"2"]},`, i)
	}
	return strings.TrimSuffix(b.String(), ",") + `]}}`
})

// badSource answers well until it is troubled.
type badSource struct {
	trouble atomic.Pointer[trouble]
}

func (b *badSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Without the form's body read, the server does not notice that the client went away.
	if err := r.ParseForm(); err != nil {
		return
	}
	if t := b.trouble.Load(); t != nil {
		t.serve(w, r)
		return
	}
	answers(200, "application/json", strings.Replace(nothing, "[]", `[{"metric":{"__name__":"x","i":"a"},"value":[1727096400,"2"]}]`, 1)+"}")(w, r)
}

// TestBadSources: whatever a data source sends while an alert fires, the alert stays unless the answer says that
// it is over; the rule says what is wrong; another data source's rules notice nothing; and once the source is
// well, so is the rule, within about an interval.
func TestBadSources(t *testing.T) {
	t.Parallel()
	for _, tc := range troubles() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			bad := &badSource{}
			store, e := runOn(t, bad, &badSource{})
			rule := func(group int) evaluator.RuleStatus { return e.Groups()[group].Rules[0] }
			within := func(d time.Duration, what string, ok func() bool) {
				t.Helper()
				for end := time.Now().Add(d); !ok(); <-time.After(5 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("not within %s: %s; told %q, rule %+v", d, what, evaluator.Told(store, 0), rule(0))
					}
				}
			}
			within(5*time.Second, "both fire", func() bool {
				return rule(0).State == oncall.StateFiring && rule(1).State == oncall.StateFiring
			})
			bad.trouble.Store(&tc)
			if tc.unknown == "" {
				within(5*time.Second, "it resolves", func() bool { return rule(0).State == oncall.StateInactive && rule(0).Health == evaluator.HealthOK })
				return
			}
			// On a busy machine the first answer may not come in time, which is another error.
			within(20*time.Second, "its rule says "+tc.unknown, func() bool { return strings.Contains(rule(0).LastError, tc.unknown) })
			if r := rule(0); r.Health != evaluator.HealthErr || r.State != oncall.StateFiring || r.Alerts[0].UnknownSince.IsZero() {
				t.Errorf("want an error, and an alert that fires as far as known: %+v", r)
			}
			other := rule(1)
			if other.Health != evaluator.HealthOK || time.Since(other.LastEvaluation) > 2*time.Second {
				t.Errorf("another source's rule: %s, last evaluated %s ago", other.Health, time.Since(other.LastEvaluation))
			}
			bad.trouble.Store(nil)
			within(3*time.Second, "its rule is well again", func() bool { return rule(0).Health == evaluator.HealthOK })
			if told := fmt.Sprint(evaluator.Told(store, 2)); told != "[unknown R0 known R0]" {
				t.Errorf("told %s", told)
			}
		})
	}
}

// runOn evaluates one rule on each of these sources, each second, until the test ends.
func runOn(t *testing.T, sources ...http.Handler) (*evaluator.MemStore, *evaluator.Evaluator) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr("x > 1")
	if err != nil {
		t.Fatal(err)
	}
	plan := evaluator.Plan{Interval: time.Second, Backends: map[string]evaluator.Source{}}
	for i, h := range sources {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		u, err := url.Parse(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		client, err := prometheus.New(prometheus.Config{URL: u, HTTP: promconfig.DefaultHTTPClientConfig})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		name := fmt.Sprint("source-", i)
		plan.Backends[name] = evaluator.Source{Backend: client, BackendName: name}
		plan.Groups = append(plan.Groups, rules.Group{Name: name, File: "rules.yml", Prometheus: name, Rules: []rules.Rule{
			{ID: oncall.RuleID(name), Alert: fmt.Sprint("R", i), Expr: expr}}})
		if i == 0 {
			plan.Backend, plan.BackendName = client, name
		}
	}
	store := evaluator.NewMemStore()
	e := evaluator.New(evaluator.Options{Store: store})
	e.Apply(plan)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, oncall.Lease{}, time.Time{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, p := range evaluator.Check(store) {
			t.Error(p)
		}
	})
	return store, e
}
