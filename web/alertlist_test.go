package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/notifier"
	"tocsin/oncall"
)

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
