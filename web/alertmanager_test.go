package web

import (
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
