package oncall_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

func packedReceived() oncall.Received {
	at := time.Date(2026, 1, 5, 9, 0, 0, 123000, time.UTC)
	return oncall.Received{
		At: at,
		Posted: []oncall.PostedAlert{
			{Labels: labels.FromStrings("alertname", "Hot", "é 1", "\xff"), StartsAt: at.Add(-time.Hour), EndsAt: at.Add(5 * time.Minute), Timeout: true},
			{
				Labels: labels.FromStrings("a", "b"), Annotations: labels.FromStrings("summary", "s"), GeneratorURL: "http://p/graph",
				StartsAt: time.Time{}, EndsAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
			},
		},
		Changes: []oncall.AlertChange{{Source: "rule:x", Status: oncall.ChangeFiring, Labels: labels.FromStrings("a", "b"), At: at, StartsAt: at, Reason: "r"}},
	}
}

var equalLabels = cmp.Comparer(labels.Equal)

func TestPackReceived(t *testing.T) {
	for _, want := range []oncall.Received{packedReceived(), {At: time.Unix(1, 0).UTC()}} {
		got, err := oncall.UnpackReceived(oncall.PackReceived(want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, equalLabels); d != "" {
			t.Error(d)
		}
	}
}

func packedAlert() *oncall.ActiveAlert {
	return &oncall.ActiveAlert{
		Fingerprint: 1 << 63, Labels: labels.FromStrings("a", "b"), Annotations: labels.FromStrings("c", "d"), GeneratorURL: "g",
		StartsAt: 5, EndsAt: 0, UpdatedAt: 1 << 50, ReceivedAt: 9, Timeout: true, Seq: 77,
		Rules:     []oncall.AlertChange{{Source: "rule:x", Status: oncall.ChangeFiring, Labels: labels.FromStrings("a", "b")}},
		Incidents: []oncall.IncidentTold{{Escalation: "default", Muted: true}},
	}
}

func TestPackAlert(t *testing.T) {
	for _, want := range []*oncall.ActiveAlert{packedAlert(), {}} {
		got, err := oncall.UnpackAlert(oncall.PackAlert(want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, equalLabels); d != "" {
			t.Error(d)
		}
	}
}

func packedGroupAlerts() []oncall.GroupAlert {
	at := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	return []oncall.GroupAlert{
		{Labels: labels.FromStrings("a", "b"), Annotations: labels.FromStrings("c", "d"), StartsAt: at, UpdatedAt: at, GeneratorURL: "g"},
		{Labels: labels.FromStrings("a", "c"), StartsAt: at, EndsAt: at.Add(time.Second), UpdatedAt: at},
	}
}

func TestPackGroupAlerts(t *testing.T) {
	for _, want := range [][]oncall.GroupAlert{packedGroupAlerts(), nil} {
		got, err := oncall.UnpackGroupAlerts(oncall.PackGroupAlerts(want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, equalLabels); d != "" {
			t.Error(d)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	whole := oncall.PackReceived(packedReceived())
	for n := range len(whole) {
		if _, err := oncall.UnpackReceived(whole[:n]); err == nil {
			t.Errorf("the first %d bytes of %d were taken for a whole record", n, len(whole))
		}
	}
	if _, err := oncall.UnpackReceived(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a record with something behind it was taken")
	}
	newer := bytes.Clone(whole)
	newer[0] = 200
	if _, err := oncall.UnpackReceived(newer); err == nil {
		t.Error("a record of another version was taken")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(oncall.PackReceived(packedReceived()))
	f.Add(oncall.PackAlert(packedAlert()))
	f.Add(oncall.PackGroupAlerts(packedGroupAlerts()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := oncall.UnpackReceived(b); err == nil {
			again, err := oncall.UnpackReceived(oncall.PackReceived(r))
			if err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("read %+v, wrote it, and read %+v (%v)", r, again, err)
			}
		}
		if a, err := oncall.UnpackAlert(b); err == nil {
			again, err := oncall.UnpackAlert(oncall.PackAlert(a))
			if err != nil || !reflect.DeepEqual(a, again) {
				t.Errorf("read %+v, wrote it, and read %+v (%v)", a, again, err)
			}
		}
		if g, err := oncall.UnpackGroupAlerts(b); err == nil {
			again, err := oncall.UnpackGroupAlerts(oncall.PackGroupAlerts(g))
			if err != nil || !reflect.DeepEqual(g, again) {
				t.Errorf("read %+v, wrote it, and read %+v (%v)", g, again, err)
			}
		}
	})
}

func BenchmarkPackReceived(b *testing.B) {
	r := oncall.Received{At: time.Now()}
	for i := range 64 {
		r.Posted = append(r.Posted, oncall.PostedAlert{
			Labels:      labels.FromStrings("alertname", "SessionMemoryHigh", "instance", "web-1.example:9100", "job", "session", "severity", "critical", "n", string(rune('a'+i%26))),
			Annotations: labels.FromStrings("summary", "Session memory at 82% on web-1", "runbook_url", "https://runbooks.example/session"),
			StartsAt:    r.At, EndsAt: r.At.Add(time.Minute), GeneratorURL: "http://prometheus.example:9090/graph?g0.expr=up",
		})
	}
	b.Run("pack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = oncall.PackReceived(r)
		}
	})
	packed := oncall.PackReceived(r)
	b.Run("unpack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := oncall.UnpackReceived(packed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
