package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/notifier"
	"tocsin/oncall"
)

// board stands for the dispatcher, the log and the store of silences.
type board struct {
	mu       sync.Mutex
	posted   [][]oncall.PostedAlert
	broken   error // of Receive
	idle     bool  // another process dispatches
	alerts   []notifier.AlertView
	groups   []notifier.GroupView
	silences map[string]oncall.Silence
	version  int64
}

func (b *board) Ready() bool { return !b.idle }

func (b *board) Alerts(time.Time) []notifier.AlertView { return b.alerts }

func (b *board) Groups(time.Time) []notifier.GroupView { return b.groups }

func (b *board) Receive(_ context.Context, _ oncall.Write, posted []oncall.PostedAlert) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken == nil {
		b.posted = append(b.posted, posted)
	}
	return b.broken
}

func (b *board) Silences(context.Context) (all []oncall.Silence, version int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.silences {
		all = append(all, s)
	}
	return all, b.version, b.broken
}

func (b *board) GroupDeliveries(_ context.Context, f oncall.GroupDeliveryFilter) ([]oncall.GroupDelivery, error) {
	return []oncall.GroupDelivery{{Key: "k", Seq: 7, Endpoint: oncall.IntegrationEndpoint("webhook_configs", f.Receiver, 0), Receiver: f.Receiver, GroupKey: f.GroupKey,
		Route: "{}", GroupLabels: labels.FromStrings("alertname", "A"), Reason: "FirstNotification", Firing: 2, State: oncall.DeliveryDelivered, Attempts: 1,
		CreatedAt: began, FirstAttemptAt: began, DoneAt: began, Status: 200}}, b.broken
}

func (b *board) SilencesVersion(context.Context) (int64, error) { return b.version, b.broken }

func (b *board) UpdateSilence(_ context.Context, _ oncall.Write, id string, decide func(oncall.Silence, bool) ([]oncall.Silence, error)) ([]oncall.Silence, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return nil, b.broken
	}
	s, found := b.silences[id]
	changed, err := decide(s, found)
	for _, c := range changed {
		b.silences[c.ID] = c
		b.version++
	}
	return changed, err
}

// amReceivers are those of testdata/alertmanager/alertmanager.yml.
var amReceivers = []oncall.Receiver{
	{Name: "one", Labels: map[string]string{"name": "one"}},
	{Name: "two", Labels: map[string]string{"name": "two", "owner": "b"}},
}

// amSite is the surface over b.
func amSite(t testing.TB, b *board, change func(*Options)) http.Handler {
	t.Helper()
	b.silences = map[string]oncall.Silence{}
	m := newMemory()
	o := Options{Acts: m, Store: m, ExternalURL: external, Evaluated: func() bool { return true }, Reload: func() error { return nil },
		Policy: func() oncall.Policy { return m.policy },
		Alertmanager: &Alertmanager{Dispatch: b, Store: b, Silences: notifier.NewSilences(notifier.SilencesOptions{Store: b}),
			Receivers: func() []oncall.Receiver { return amReceivers },
			Original:  func() string { return "route:\n  receiver: one\n" },
			Peers:     func() []Peer { return []Peer{{Name: "tocsin-1", Address: "127.0.0.1:9093"}} },
		}}
	if change != nil {
		change(&o)
	}
	return New(o).Handler()
}

// amAnswer is one of answers.json, see record.go.
type amAnswer struct {
	Request struct {
		Method, Path, Body, Keep string
		Header                   map[string]string
	}
	Status      int
	ContentType string
	Body        string
}

func amRecorded(t testing.TB) []amAnswer {
	t.Helper()
	raw, err := os.ReadFile("testdata/alertmanager/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []amAnswer
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// show puts on the board what the recorded Alertmanager listed once it had alerts.
func (b *board) show(t testing.TB, all []amAnswer) {
	t.Helper()
	for _, a := range all {
		switch {
		case a.Body == "[]\n" || a.Request.Method != "GET":
		case a.Request.Path == "/api/v2/alerts":
			var list models.GettableAlerts
			decode(t, a.Body, &list)
			for _, g := range list {
				b.alerts = append(b.alerts, viewOf(t, g))
			}
		case a.Request.Path == "/api/v2/alerts/groups":
			var list models.AlertGroups
			decode(t, a.Body, &list)
			for _, g := range list {
				group := notifier.GroupView{Labels: labels.FromMap(g.Labels), Receiver: *g.Receiver.Name, Route: &oncall.Route{Labels: g.RouteLabels}}
				for _, al := range g.Alerts {
					group.Alerts = append(group.Alerts, viewOf(t, al))
				}
				b.groups = append(b.groups, group)
			}
		}
	}
}

func decode(t testing.TB, body string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(strings.ReplaceAll(body, `"updatedAt":"now"`, `"updatedAt":"2026-11-22T16:00:00Z"`)), into); err != nil {
		t.Fatal(err)
	}
}

func viewOf(t testing.TB, g *models.GettableAlert) notifier.AlertView {
	t.Helper()
	print := func(s string) uint64 {
		fp, err := strconv.ParseUint(s, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return fp
	}
	v := notifier.AlertView{State: *g.Status.State, SilencedBy: g.Status.SilencedBy, Alert: &oncall.ActiveAlert{
		Fingerprint: print(*g.Fingerprint), Labels: labels.FromMap(g.Labels), GeneratorURL: string(g.GeneratorURL),
		Annotations: annotationsOf(g.Annotations), StartsAt: time.Time(*g.StartsAt).UnixMicro(), EndsAt: time.Time(*g.EndsAt).UnixMicro(), UpdatedAt: time.Time(*g.UpdatedAt).UnixMicro()}}
	for _, s := range g.Status.InhibitedBy {
		v.InhibitedBy = append(v.InhibitedBy, print(s))
	}
	for _, r := range g.Receivers {
		v.Receivers = append(v.Receivers, *r.Name)
	}
	return v
}

// annotationsOf keeps empty values, as the decoder of posts does.
func annotationsOf(m map[string]string) labels.Labels {
	b := labels.NewScratchBuilder(len(m))
	for k, v := range m {
		b.Add(k, v)
	}
	b.Sort()
	return b.Labels()
}

// moving is what differs from run to run, as in record.go.
var moving = regexp.MustCompile(`("updatedAt":")[^"]*"`)

func TestAnswersAsAlertmanager(t *testing.T) {
	all := amRecorded(t)
	b, shown := &board{}, &board{}
	shown.show(t, all)
	h := amSite(t, b, nil)
	kept := []string{}
	for _, want := range all {
		r := want.Request
		if len(b.posted) > 0 {
			b.alerts, b.groups = shown.alerts, shown.groups
		}
		put := strings.NewReplacer(kept...)
		var header []string
		for k, v := range r.Header {
			header = append(header, k, v)
		}
		rec := ask(h, r.Method, strings.ReplaceAll(put.Replace(r.Path), " ", "%20"), put.Replace(r.Body), header...)
		var id struct{ SilenceID string }
		if json.Unmarshal(rec.Body.Bytes(), &id) == nil && r.Keep != "" {
			kept = append(kept, "${"+r.Keep+"}", id.SilenceID)
		}
		got := moving.ReplaceAllString(rec.Body.String(), `${1}now"`)
		for i := 0; i < len(kept); i += 2 {
			got = strings.ReplaceAll(got, kept[i+1], kept[i])
		}
		name := fmt.Sprintf("%s %s %.100s", r.Method, r.Path, r.Body)
		if rec.Code != want.Status || rec.Header().Get("Content-Type") != want.ContentType {
			t.Errorf("%s: %d %q, Alertmanager says %d %q\n%s", name, rec.Code, rec.Header().Get("Content-Type"), want.Status, want.ContentType, got)
		}
		if rec.Header().Get("Cache-Control") != "no-store" && want.Status < 400 {
			t.Errorf("%s may be cached", name)
		}
		if want.Status < 400 && got != want.Body {
			i := 0
			for i < min(len(got), len(want.Body)) && got[i] == want.Body[i] {
				i++
			}
			t.Errorf("%s: from byte %d on:\n%.300s\nAlertmanager says\n%.300s", name, i, got[i:], want.Body[i:])
		}
		if want.Status >= 400 {
			sameForm(t, name, got, want.Body)
		}
	}
	if len(b.posted) != 2 || len(b.posted[0]) != 4 || len(b.posted[1]) != 1 || b.posted[1][0].Labels.Get("alertname") != "Kept" {
		t.Errorf("posted: %+v", b.posted)
	}
}

// sameForm holds a failure to Alertmanager's form: a string, an object with a code, or nothing.
func sameForm(t *testing.T, name, got, want string) {
	t.Helper()
	var ours, theirs any
	_, _ = json.Unmarshal([]byte(got), &ours), json.Unmarshal([]byte(want), &theirs)
	switch theirs := theirs.(type) {
	case string:
		if s, ok := ours.(string); !ok || s == "" {
			t.Errorf("%s: %s, Alertmanager says %s", name, got, want)
		}
	case map[string]any:
		o, ok := ours.(map[string]any)
		if !ok || o["code"] != theirs["code"] || o["message"] == "" || len(o) != 2 {
			t.Errorf("%s: %s, Alertmanager says %s", name, got, want)
		}
	default:
		if got != want {
			t.Errorf("%s: %q, Alertmanager says %q", name, got, want)
		}
	}
}

func TestStatusNamesThisInstance(t *testing.T) {
	h := amSite(t, &board{}, func(o *Options) { o.RoutePrefix = "/tocsin" })
	rec := ask(h, "GET", "/tocsin/api/v2/status", "")
	var s models.AlertmanagerStatus
	if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil || s.Validate(strfmt.Default) != nil {
		t.Fatal(err, rec.Body)
	}
	if *s.Cluster.Status != "ready" || s.Cluster.Name != "tocsin-1" || len(s.Cluster.Peers) != 1 || *s.Cluster.Peers[0].Address != "127.0.0.1:9093" || *s.Config.Original == "" || time.Time(*s.Uptime).IsZero() {
		t.Errorf("%s", rec.Body)
	}
	if rec := ask(h, "GET", "/api/v2/status", ""); rec.Code != 404 {
		t.Errorf("without the prefix: %d", rec.Code)
	}
}

func TestPostsThatCannotBeTaken(t *testing.T) {
	b := &board{}
	h := amSite(t, b, nil)
	post := func(body io.Reader, length int64, header ...string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("POST", "http://tocsin.example/api/v2/alerts", body)
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		return rec
	}
	one := `[{"labels":{"a":"b"}}]`
	b.broken = oncall.Errorf(oncall.CodeUnavailable, "the disk is full")
	if rec := post(strings.NewReader(one), int64(len(one))); rec.Code != 503 || !strings.Contains(rec.Body.String(), `{"code":503,"message":"the alerts could not be stored`) {
		t.Errorf("the store is broken: %d %s", rec.Code, rec.Body)
	}
	b.broken = errors.New("anything at all")
	if rec := post(strings.NewReader(one), int64(len(one))); rec.Code != 503 {
		t.Errorf("the store is broken in another way: %d %s", rec.Code, rec.Body)
	}
	b.broken = nil
	huge := io.LimitReader(endless{}, 100<<20)
	if rec := post(huge, 100<<20); rec.Code != 413 || !strings.Contains(rec.Body.String(), `"code":413`) {
		t.Errorf("100 MB, announced: %d %s", rec.Code, rec.Body)
	}
	if rec := post(io.LimitReader(endless{}, 100<<20), -1); rec.Code != 413 || !json.Valid(rec.Body.Bytes()) {
		t.Errorf("100 MB, in chunks: %d %s", rec.Code, rec.Body)
	}
	if rec := post(strings.NewReader(one), -1); rec.Code != 200 {
		t.Errorf("in chunks: %d %s", rec.Code, rec.Body)
	}
	if rec := post(iotestErr{}, 10); rec.Code != 400 || !json.Valid(rec.Body.Bytes()) {
		t.Errorf("a body that breaks off: %d %s", rec.Code, rec.Body)
	}
	if rec := post(strings.NewReader(one), int64(len(one)), "Origin", "https://evil.example"); rec.Code != 403 || !strings.Contains(rec.Body.String(), `"code":403`) {
		t.Errorf("from another site: %d %s", rec.Code, rec.Body)
	}
	many := postOf(10_000)
	if rec := post(strings.NewReader(many), int64(len(many))); rec.Code != 200 || len(b.posted) != 2 || len(b.posted[1]) != 10_000 {
		t.Errorf("10,000 alerts: %d %.100s, %d posts", rec.Code, rec.Body, len(b.posted))
	}
	bad := `[` + strings.Repeat(`{"labels":{}},`, 5000) + `{"labels":{"a":"b"}}]`
	if rec := post(strings.NewReader(bad), int64(len(bad))); rec.Code != 400 || rec.Body.Len() > 2000 || !strings.Contains(rec.Body.String(), "and 4980 more") || len(b.posted) != 3 {
		t.Errorf("many invalid ones: %d %d bytes", rec.Code, rec.Body.Len())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAStandbyTakesPostsAndListsNothing(t *testing.T) {
	b := &board{idle: true}
	h := amSite(t, b, nil)
	for _, path := range []string{"/alerts", "/alerts/groups"} {
		if rec := ask(h, "GET", amBase+path, ""); rec.Code != 503 || !strings.Contains(rec.Body.String(), "another one on the same store has the watch") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := ask(h, "POST", amBase+"/alerts", `[{"labels":{"a":"b"}}]`, "Content-Type", "application/json"); rec.Code != 200 || len(b.posted) != 1 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	b.broken = oncall.Errorf(oncall.CodeUnavailable, "the store does not answer")
	for _, target := range []string{"GET /silences", "GET /silence/00000000-0000-4000-8000-000000000000", "DELETE /silence/00000000-0000-4000-8000-000000000000"} {
		method, path, _ := strings.Cut(target, " ")
		if rec := ask(h, method, amBase+path, ""); rec.Code != 503 || !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
}

// TestEncodingIsThatOfTheModels draws views of whatever text, and holds their encoding to that of the
// published models by Alertmanager's runtime.
func TestEncodingIsThatOfTheModels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "<&>", "\u2028", "\x7f", "\"\\", "ü", "\t\n\x01"}))
		sets := rapid.MapOfN(texts, texts, 0, 4)
		when := rapid.Int64Range(-62135596800000000, 253402300799000000)
		a := notifier.AlertView{State: rapid.SampledFrom([]string{"active", "suppressed", "unprocessed"}).Draw(t, "state"),
			SilencedBy: rapid.SliceOfN(texts, 0, 2).Draw(t, "silenced"), InhibitedBy: rapid.SliceOfN(rapid.Uint64(), 0, 2).Draw(t, "inhibited"), Receivers: rapid.SliceOfN(texts, 0, 2).Draw(t, "receivers"),
			Alert: &oncall.ActiveAlert{Fingerprint: rapid.Uint64().Draw(t, "fp"), Labels: annotationsOf(sets.Draw(t, "labels")), Annotations: annotationsOf(sets.Draw(t, "annotations")),
				GeneratorURL: texts.Draw(t, "url"), StartsAt: when.Draw(t, "starts"), EndsAt: when.Draw(t, "ends"), UpdatedAt: when.Draw(t, "updated")}}
		mutedBy := rapid.SliceOfN(texts, 0, 2).Draw(t, "muted")
		j := &amStream{jsonStream: jsonStream{w: io.Discard}}
		j.alert(&a, mutedBy, nil)
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(modelOf(&a, mutedBy)); err != nil {
			t.Fatal(err)
		}
		if got := string(j.b) + "\n"; got != want.String() {
			t.Fatalf("%s\nthe models say\n%s", got, want.String())
		}
	})
}

// modelOf is a view as Alertmanager's handler makes a model of it.
func modelOf(a *notifier.AlertView, mutedBy []string) *models.GettableAlert {
	at := func(us int64) *strfmt.DateTime {
		t := strfmt.DateTime(time.UnixMicro(us).UTC())
		return &t
	}
	fp, state := fmt.Sprintf("%016x", a.Alert.Fingerprint), a.State
	if len(mutedBy) > 0 {
		state = "suppressed"
	}
	g := &models.GettableAlert{Annotations: a.Alert.Annotations.Map(), StartsAt: at(a.Alert.StartsAt), EndsAt: at(a.Alert.EndsAt), UpdatedAt: at(a.Alert.UpdatedAt), Fingerprint: &fp,
		Receivers: []*models.ReceiverReference{}, Alert: models.Alert{GeneratorURL: strfmt.URI(a.Alert.GeneratorURL), Labels: a.Alert.Labels.Map()},
		Status: &models.AlertStatus{State: &state, SilencedBy: append([]string{}, a.SilencedBy...), InhibitedBy: []string{}, MutedBy: append([]string{}, mutedBy...)}}
	for _, name := range a.Receivers {
		g.Receivers = append(g.Receivers, &models.ReceiverReference{Name: &name})
	}
	for _, by := range a.InhibitedBy {
		g.Status.InhibitedBy = append(g.Status.InhibitedBy, fmt.Sprintf("%016x", by))
	}
	return g
}

// TestRulesOfOursHaveAnEnd: an alert that a rule of ours reports has no end, and the API must show one.
func TestRulesOfOursHaveAnEnd(t *testing.T) {
	b := &board{alerts: []notifier.AlertView{{State: notifier.AlertActive, Alert: &oncall.ActiveAlert{Labels: labels.FromStrings("alertname", "A"), Rules: []oncall.AlertChange{{}}}}}}
	var list models.GettableAlerts
	before := time.Now()
	if err := json.Unmarshal(ask(amSite(t, b, nil), "GET", amBase+"/alerts", "").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if ends := time.Time(*list[0].EndsAt); ends.Before(before.Add(4*time.Minute)) || ends.After(before.Add(6*time.Minute)) {
		t.Errorf("%v", ends)
	}
}

// crowd is n firing alerts.
func crowd(n int) *board {
	b := &board{}
	for i := range n {
		b.alerts = append(b.alerts, notifier.AlertView{State: notifier.AlertActive, Receivers: []string{"one"}, Alert: &oncall.ActiveAlert{
			Fingerprint: uint64(i) << 40, StartsAt: began.UnixMicro(), EndsAt: began.Add(time.Minute).UnixMicro(), UpdatedAt: began.UnixMicro(),
			GeneratorURL: "http://prometheus.example:9090/graph?g0.expr=session_memory_bytes+%3E+8e%2B08&g0.tab=1",
			Labels:       labels.FromStrings("alertname", "SessionMemoryHigh", "instance", fmt.Sprintf("session-%d:9100", i), "job", "session", "severity", "critical", "team", "shop"),
			Annotations:  labels.FromStrings("summary", fmt.Sprintf("Session memory at %d%% on session-%d", i%100, i), "runbook_url", "https://runbooks.example/memory")}})
	}
	return b
}

func TestACrowdIsListedInPieces(t *testing.T) {
	h := amSite(t, crowd(20_000), nil)
	all := &countingWriter{ResponseWriter: httptest.NewRecorder(), limit: 1 << 30}
	h.ServeHTTP(all, httptest.NewRequest("GET", amBase+"/alerts", nil))
	if all.writes < 20 || all.largest > 2*spill {
		t.Errorf("%d writes, the largest of %d bytes", all.writes, all.largest)
	}
	gone := &countingWriter{ResponseWriter: httptest.NewRecorder(), limit: 2 * spill}
	h.ServeHTTP(gone, httptest.NewRequest("GET", amBase+"/alerts", nil))
	if gone.writes > 4 {
		t.Errorf("%d writes to a caller that has gone", gone.writes)
	}
	if rec := ask(h, "HEAD", amBase+"/alerts", ""); rec.Code != 200 || rec.Body.Len() != 0 {
		t.Errorf("HEAD: %d", rec.Code)
	}
	if rec := ask(h, "GET", amBase+"/alerts?filter=instance=%22session-7:9100%22", ""); strings.Count(rec.Body.String(), `"fingerprint"`) != 1 || !json.Valid(rec.Body.Bytes()) {
		t.Errorf("%s", rec.Body)
	}
}

func BenchmarkListAlerts100k(b *testing.B) {
	h := amSite(b, crowd(100_000), nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&countingWriter{ResponseWriter: httptest.NewRecorder(), limit: 1 << 40}, httptest.NewRequest("GET", amBase+"/alerts", nil))
	}
}
