package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// asAlertmanager is the oracle: the published models, decoded as Alertmanager's runtime does, then what its
// handler makes of them. A null among the alerts makes that handler panic: it counts as refused.
func asAlertmanager(body string, at time.Time, resolve time.Duration) (status int, alerts []alert.Alert, invalid int) {
	var ps models.PostableAlerts
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&ps); errors.Is(err, io.EOF) {
		return 422, nil, 0
	} else if err != nil {
		return 400, nil, 0
	}
	for _, p := range ps {
		if p == nil {
			return 400, nil, 0
		}
	}
	if ps.Validate(strfmt.Default) != nil {
		return 422, nil, 0
	}
	for _, p := range ps {
		a := alert.Alert{UpdatedAt: at, Alert: model.Alert{Labels: labelSet(p.Labels), Annotations: labelSet(p.Annotations),
			StartsAt: time.Time(p.StartsAt), EndsAt: time.Time(p.EndsAt), GeneratorURL: string(p.GeneratorURL)}}
		if a.StartsAt.IsZero() {
			a.StartsAt = a.EndsAt
			if a.EndsAt.IsZero() {
				a.StartsAt = at
			}
		}
		if a.EndsAt.IsZero() {
			a.Timeout, a.EndsAt = true, at.Add(resolve)
		}
		maps.DeleteFunc(a.Labels, func(_ model.LabelName, v model.LabelValue) bool { return v == "" })
		if a.Validate() != nil {
			invalid++
			continue
		}
		alerts = append(alerts, a)
	}
	if invalid > 0 {
		return 400, alerts, invalid
	}
	return 200, alerts, 0
}

func labelSet(from models.LabelSet) model.LabelSet {
	to := model.LabelSet{}
	for k, v := range from {
		to[model.LabelName(k)] = model.LabelValue(v)
	}
	return to
}

// sameLabels compares without a builder, which would drop empty values.
func sameLabels(ours labels.Labels, theirs model.LabelSet) bool {
	n, same, last := 0, true, ""
	ours.Range(func(l labels.Label) {
		v, ok := theirs[model.LabelName(l.Name)]
		same = same && ok && string(v) == l.Value && (n == 0 || l.Name > last)
		n, last = n+1, l.Name
	})
	return same && n == len(theirs)
}

func compareWithAlertmanager(t *testing.T, body string) {
	t.Helper()
	at := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	status, want, invalid := asAlertmanager(body, at, 5*time.Minute)
	d := alertDecoder{now: at, resolve: 5 * time.Minute}
	got, refused := d.decode(body)
	ours := 200
	switch {
	case refused != nil && refused.code >= 600:
		ours = 422
	case refused != nil || len(got.invalid) > 0:
		ours = 400
	}
	if ours != status || len(got.alerts) != len(want) || len(got.invalid) != invalid {
		t.Fatalf("%d with %d alerts and %q invalid (%+v), Alertmanager says %d with %d and %d\n%.500q", ours, len(got.alerts), got.invalid, refused, status, len(want), invalid, body)
	}
	for i, g := range got.alerts {
		w := want[i]
		if !g.StartsAt.Equal(w.StartsAt) || !g.EndsAt.Equal(w.EndsAt) || g.Timeout != w.Timeout || g.GeneratorURL != w.GeneratorURL {
			t.Errorf("alert %d: %+v, Alertmanager has %+v", i, g, w)
		}
		if !sameLabels(g.Labels, w.Labels) || !sameLabels(g.Annotations, w.Annotations) {
			t.Errorf("alert %d: %v %v, Alertmanager has %v %v", i, g.Labels, g.Annotations, w.Labels, w.Annotations)
		}
	}
}

// bodies are posts at the edges; they are also where the fuzzer begins.
var bodies = []string{
	`[{"labels":{"alertname":"A","instance":"web-1"},"annotations":{"summary":"Session memory at 82%"},"startsAt":"2026-11-22T15:59:00.123Z","endsAt":"2026-11-22T16:03:00Z","generatorURL":"http://prometheus.example/graph?g0.expr=up"}]`,
	``, ` `, `null`, `[]`, `[] and more`, `{}`, `"x"`, `12`, `-0.5e+3`, `01`, `1.`, `true`, `nul`, `[`, `[{`, `[{]`, `[{}`, `[{}]`, `[null]`, `[{"labels":{"a":"b"}},null]`, `[1]`, `[[]]`,
	`[{"labels":{}}]`, `[{"labels":null}]`, `[{"labels":{"a":""}}]`, `[{"labels":{"a":null}}]`, `[{"labels":{"a":1}}]`, `[{"labels":[]}]`, `[{"labels":"x"}]`, `[{"labels":{"":"x"}}]`,
	`[{"labels":{"a":"b"},"labels":{"c":"d"}}]`, `[{"labels":{"a":"b","a":"c"}}]`, `[{"labels":{"z":"b","a":"c","z":"d","a":""}}]`, `[{"labels":{"a":"b"},"labels":null}]`, `[{"labels":{"a":"b"},"labels":null,"labels":{"c":"d"}}]`,
	`[{"LABELS":{"a":"b"},"StartsAT":"2026-11-22T15:00:00Z","\u006Cabels":{"x":"y"}}]`, `[{"label` + "ſ" + `":{"a":"b"}}]`, `[{"labels":{"a b":"c","ü":"ö"}}]`,
	`[{"labels":{"a":"b"},"annotations":{"":"x"}}]`, `[{"labels":{"a":"b"},"annotations":{"x":"","y":null}}]`, `[{"labels":{"a":"b"},"annotations":null}]`, `[{"labels":{"a":"b"},"annotations":7}]`,
	`[{"labels":{"a":"b"},"startsAt":"2026-11-22T17:00:00Z"}]`, `[{"labels":{"a":"b"},"endsAt":"2026-11-22T17:00:00Z"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22T17:00:00Z","endsAt":"2026-11-22T16:59:59.999999999Z"},{"labels":{"c":"d"}}]`,
	`[{"labels":{"a":"b"},"startsAt":""}]`, `[{"labels":{"a":"b"},"startsAt":null,"endsAt":null}]`, `[{"labels":{"a":"b"},"startsAt":5}]`, `[{"labels":{"a":"b"},"startsAt":"yesterday"}]`,
	`[{"labels":{"a":"b"},"startsAt":"2026-11-22 15:00:00"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22T15:00"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22T15:00Z"}]`,
	`[{"labels":{"a":"b"},"startsAt":"2026-11-22T15:00:00.5+0200"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22T15:00:00+24:00"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22T15:00:00,5-23:59"}]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-22t15:00:00z"}]`,
	`[{"labels":{"a":"b"},"startsAt":"0001-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z"}]`, `[{"labels":{"a":"b"},"startsAt":"0000-01-01T00:00:00Z"}]`, `[{"labels":{"a":"b"},"endsAt":"9999-12-31T23:59:59.999Z"}]`, `[{"labels":{"a":"b"},"startsAt":"0001-01-01T00:00:00+01:00"}]`,
	`[{"labels":{"a":"b"},"generatorURL":""}]`, `[{"labels":{"a":"b"},"generatorURL":null}]`, `[{"labels":{"a":"b"},"generatorURL":"no address"}]`, `[{"labels":{"a":"b"},"generatorURL":"http://x#@y"}]`, `[{"labels":{"a":"b"},"generatorURL":"/graph"}]`, `[{"labels":{"a":"b"},"generatorURL":{}}]`,
	`[{"labels":{"a":"b"},"generatorURL":"http://x/%zz"},{"labels":{"a":1}}]`,
	`[{"labels":{"a":"\"\\\/\b\f\n\r\tä\ud83d\ude00\ud83d\u0041\udc00 \u0000"}}]`, "[{\"labels\":{\"a\":\"\xff\xfe\xc3\"}}]", "[{\"labels\":{\"a\":\"\n\"}}]", `[{"labels":{"a":"\x"}}]`, `[{"labels":{"a":"\u12"}}]`, `[{"labels":{"a":"\u+123"}}]`, `[{"labels":{"a":"b`, "[{\"labels\":{\"a\":\"\x7f\u2028<&>\"}}]", "[{\"labels\":{\"\xff\":\"x\",\"\xfe\":\"y\"}}]",
	`[{"labels":{"a":"b"},"more":{"deep":[1,2,{"x":[true,false,null,"s",-1.5E-7]}]},"status":"firing"}]`, `[{"labels":{"a":"b"},"more":tru}]`, `[{"labels":{"a":"b"},"more":-}]`, `[{"labels":{"a":"b"},}]`, `[{"labels":{"a":"b"}},]`, `[{"labels" {"a":"b"}}]`, `[{"labels":{"a":"b"}}`, `[{labels:{}}]`, "\ufeff[]", "[]\x00", `[{"labels":{"a":"b"}} {}]`,
}

func utf8Mode(t testing.TB) {
	t.Helper()
	compat.InitFromFlags(promslog.NewNopLogger(), featurecontrol.NoopFlags{})
}

func TestPostsAreReadAsAlertmanagerDoes(t *testing.T) {
	utf8Mode(t)
	for _, body := range bodies {
		compareWithAlertmanager(t, body)
	}
	deep := func(n int) string {
		return `[{"labels":{"a":"b"},"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}]`
	}
	for _, n := range []int{9997, 9998, 9999, 10000, 200000} {
		compareWithAlertmanager(t, deep(n))
	}
}

func FuzzPostedAlerts(f *testing.F) {
	utf8Mode(f)
	for _, body := range bodies {
		f.Add(body)
	}
	f.Fuzz(compareWithAlertmanager)
}

func TestRefusedPostsNameWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		`[{"labels":{"a":"b"}},{"labels":{"a":1}}]`:                            `1.labels: the value of "a" is no string`,
		`[{"labels":{"a":"b"},"startsAt":"soon"}]`:                             `0.startsAt: "soon" is no time`,
		`[{"labels":{"a":"b"}},7]`:                                             `1 is no object`,
		`{"labels":{}}`:                                                        `the body is to be a list of alerts`,
		`[{"labels":{"a":"b"}]`:                                                `unexpected ']' at byte 20`,
		`[{"labels":{"a":"b"}},{"annotations":{}}]`:                            `1.labels in body is required`,
		`[{"labels":{"a":"b"},"generatorURL":"x"}]`:                            `0.generatorURL in body must be of type uri: "x"`,
		`[{"labels":{"a":"b"},"endsAt":"2026-11-22"},{"labels":{}}]`:           `1.labels: at least one label pair required`,
		`[{"labels":{"a":"b"},"annotations":{"":"x"}}]`:                        `0.annotations: invalid name ""`,
		`[{"labels":{"a":"b"},"startsAt":"2099-01-01","endsAt":"2098-01-01"}]`: `0.endsAt: start time must be before end time (2099-01-01T00:00:00Z is not before 2098`,
		`[{"labels":{"` + strings.Repeat("ä", 100) + `":1}}]`:                  strings.Repeat("ä", 50) + `…" is no string`,
	} {
		d := alertDecoder{now: began, resolve: time.Minute}
		p, refused := d.decode(body)
		says := strings.Join(p.invalid, "\n")
		if refused != nil {
			says = refused.message
		}
		if !strings.Contains(says, want) {
			t.Errorf("%s: %q does not say %q", body, says, want)
		}
	}
	classic := alertDecoder{mode: oncall.MatchersClassic}
	if p, _ := classic.decode(`[{"labels":{"a b":"c"}},{"labels":{"a":"c"}}]`); len(p.invalid) != 1 || p.invalid[0] != `0.labels: invalid name "a b"` || len(p.alerts) != 1 {
		t.Errorf("%+v", p)
	}
	long := alertDecoder{}
	if p, _ := long.decode(`[{"labels":{"a":"` + strings.Repeat("x", maxText+1) + `"}}]`); len(p.invalid) != 1 || !strings.Contains(p.invalid[0], `"a" is too long`) {
		t.Errorf("a value that cannot be held: %q", p.invalid)
	}
}

// postOf is what Prometheus sends of n alerts.
func postOf(n int) string {
	ps := make(models.PostableAlerts, n)
	for i := range ps {
		ps[i] = &models.PostableAlert{
			StartsAt: strfmt.DateTime(began), EndsAt: strfmt.DateTime(began.Add(4 * time.Minute)),
			Annotations: models.LabelSet{"summary": fmt.Sprintf("Session memory at %d%% on session-%d", i%100, i), "runbook_url": "https://runbooks.example/memory"},
			Alert: models.Alert{GeneratorURL: "http://prometheus.example:9090/graph?g0.expr=session_memory_bytes+%3E+8e%2B08&g0.tab=1",
				Labels: models.LabelSet{"alertname": "SessionMemoryHigh", "instance": fmt.Sprintf("session-%d:9100", i), "job": "session", "severity": "critical", "team": "shop"}},
		}
	}
	b, err := json.Marshal(ps)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func BenchmarkDecodePostedAlerts(b *testing.B) {
	body := postOf(64)
	d := alertDecoder{now: began, resolve: time.Minute}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if p, refused := d.decode(body); refused != nil || len(p.alerts) != 64 {
			b.Fatal(refused, len(p.alerts))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/alert")
}
