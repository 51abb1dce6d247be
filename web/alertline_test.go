package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/notifier"
	"tocsin/notifier/alertmanager"
	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/store"
)

// line is everything between the API and the store: what is posted is dispatched and shown.
type line struct {
	http.Handler
	committed chan struct{} // poked after commits
}

// quiet sends nothing: the groups of these tests wait for an hour.
type quiet struct{}

func (quiet) SendGroup(context.Context, oncall.GroupDelivery, *oncall.Route, oncall.Notice) oncall.Attempt {
	return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
}

// newLine starts one on a new database with the recorded Alertmanager's configuration.
func newLine(t *testing.T) *line {
	t.Helper()
	raw, err := os.ReadFile("testdata/alertmanager/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	doc, problems := problem.Parse("alertmanager.yml", raw)
	conf, more := alertmanager.Decode(doc, true)
	if err := append(problems, more...).Err(); err != nil {
		t.Fatal(err)
	}
	l := &line{committed: make(chan struct{}, 1)}
	var dispatcher atomic.Pointer[notifier.Dispatcher]
	wake := func() {
		if d := dispatcher.Load(); d != nil {
			d.Wake()
		}
		select {
		case l.committed <- struct{}{}:
		default:
		}
	}
	s, err := store.OpenSQLite(t.Context(), t.TempDir(), store.Options{Committed: func(store.Topics) { wake() }})
	if err != nil {
		t.Fatal(err)
	}
	silences := notifier.NewSilences(notifier.SilencesOptions{Store: s, Changed: wake})
	d := notifier.NewDispatcher(notifier.DispatcherOptions{Store: s, Silences: silences})
	policy := oncall.Policy{Routing: conf.Routing(), Receivers: map[string]oncall.Receiver{}}
	for _, r := range conf.Receivers() {
		policy.Receivers[r.Name] = r
	}
	d.Apply(policy, quiet{})
	dispatcher.Store(d)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- s.Hold(ctx, "0", "test", func(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
			return d.Run(ctx, lease, aliveAt)
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m := newMemory()
	m.policy = policy
	l.Handler = New(Options{Acts: m, Store: m, ExternalURL: external, Evaluated: func() bool { return true }, Reload: func() error { return nil },
		Policy: func() oncall.Policy { return policy }, RoutePrefix: "/prefix",
		Alertmanager: &Alertmanager{Dispatch: d, Store: s, Silences: silences, Receivers: conf.Receivers, Original: conf.Original,
			Peers: func() []Peer { return []Peer{{Name: "tocsin-1", Address: "127.0.0.1:9093"}} }}}).Handler()
	l.until(t, "the line is ready", func() bool { return d.Ready() })
	return l
}

// until waits for something that commits bring about.
func (l *line) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !is() {
		select {
		case <-l.committed:
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// settled brings a list into an order where Alertmanager has none: the receivers of an alert, the alerts of a
// group, and groups that agree in labels and receiver.
func settled(t *testing.T, body string) string {
	t.Helper()
	byText := func(list any) {
		all, _ := list.([]any)
		slices.SortFunc(all, func(a, b any) int {
			x, errX := json.Marshal(a)
			y, errY := json.Marshal(b)
			if errX != nil || errY != nil {
				t.Fatal(errX, errY)
			}
			return strings.Compare(string(x), string(y))
		})
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(moving.ReplaceAllString(body, `${1}now"`)), &list); err != nil {
		t.Fatal(err, body)
	}
	for _, one := range list {
		byText(one["receivers"])
		inside, _ := one["alerts"].([]any)
		for _, a := range inside {
			if al, ok := a.(map[string]any); ok {
				byText(al["receivers"])
			}
		}
		byText(inside)
	}
	slices.SortStableFunc(list, func(a, b map[string]any) int {
		if a["alerts"] == nil || !reflect.DeepEqual(a["labels"], b["labels"]) || !reflect.DeepEqual(a["receiver"], b["receiver"]) {
			return 0
		}
		return strings.Compare(fmt.Sprint(a["alerts"]), fmt.Sprint(b["alerts"]))
	})
	out, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestTheLineListsAsAlertmanager posts what Alertmanager was sent, and holds what it listed then against what
// the whole line lists: routes, groups, their order, inhibition.
func TestTheLineListsAsAlertmanager(t *testing.T) {
	l := newLine(t)
	compared := 0
	for _, want := range amRecorded(t) {
		r := want.Request
		if !strings.HasPrefix(r.Path, "/api/v2/alerts") || want.Status == http.StatusMethodNotAllowed {
			continue
		}
		var header []string
		for k, v := range r.Header {
			header = append(header, k, v)
		}
		rec := ask(l, r.Method, "/prefix"+strings.ReplaceAll(r.Path, " ", "%20"), r.Body, header...)
		if strings.Contains(r.Body, "NotKept") { // the last post: 5 alerts are there then
			l.until(t, "five alerts", func() bool {
				return strings.Count(ask(l, "GET", "/prefix/api/v2/alerts", "").Body.String(), `"fingerprint"`) == 5
			})
		}
		if rec.Code != want.Status {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, rec.Code, rec.Body)
		}
		if r.Method == "GET" && want.Status == 200 {
			if diff := cmp.Diff(settled(t, want.Body), settled(t, rec.Body.String())); diff != "" {
				t.Errorf("%s: Alertmanager (-), tocsin (+):\n%.1500s", r.Path, diff)
			}
		}
		compared++
	}
	if compared < 80 {
		t.Errorf("only %d requests were compared", compared)
	}
}

// TestSilencesMuteWhatIsListed goes the way of amtool and Grafana.
func TestSilencesMuteWhatIsListed(t *testing.T) {
	l := newLine(t)
	post := func(path, body string) *httptest.ResponseRecorder {
		t.Helper()
		rec := ask(l, "POST", "/prefix/api/v2"+path, body, "Content-Type", "application/json")
		if rec.Code != 200 {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
		return rec
	}
	post("/alerts", `[{"labels":{"alertname":"A","team":"b"}},{"labels":{"alertname":"B"}}]`)
	list := func(query string) string { return ask(l, "GET", "/prefix/api/v2/alerts"+query, "").Body.String() }
	l.until(t, "two alerts", func() bool { return strings.Count(list(""), `"fingerprint"`) == 2 })
	ends := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	starts := time.Now().UTC().Format(time.RFC3339Nano)
	var set struct{ SilenceID string }
	if err := json.Unmarshal(post("/silences", `{"matchers":[{"name":"team","value":"b","isRegex":false}],"startsAt":"`+starts+`","endsAt":"`+ends+`","createdBy":"ana","comment":"maintenance"}`).Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	muted := `"silencedBy":["` + set.SilenceID + `"],"state":"suppressed"`
	l.until(t, "the silence holds", func() bool { return strings.Contains(list(""), muted) })
	if s := list("?silenced=false"); strings.Count(s, `"fingerprint"`) != 1 || strings.Contains(s, `"team"`) {
		t.Errorf("%s", s)
	}
	if s := ask(l, "GET", "/prefix/api/v2/alerts/groups?active=false", "").Body.String(); strings.Count(s, `"fingerprint"`) != 2 || !strings.Contains(s, muted) {
		t.Errorf("%s", s) // in the groups of both of its receivers
	}
	if rec := ask(l, "DELETE", "/prefix/api/v2/silence/"+set.SilenceID, ""); rec.Code != 200 || rec.Body.Len() != 0 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask(l, "DELETE", "/prefix/api/v2/silence/"+set.SilenceID, ""); rec.Code != 200 {
		t.Errorf("once more: %d %s", rec.Code, rec.Body)
	}
	l.until(t, "the silence has ended", func() bool { return strings.Count(list("?silenced=false"), `"fingerprint"`) == 2 })
	if rec := ask(l, "GET", "/prefix/api/v2/silences?active=false&pending=false", ""); !strings.Contains(rec.Body.String(), `"state":"expired"`) {
		t.Errorf("%s", rec.Body)
	}
}
