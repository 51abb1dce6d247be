package oncall_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

func TestAlertFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.StringMatching(`[a-zé_]{1,6}`), rapid.String()).Draw(t, "labels")
		want := commonmodel.LabelSet{}
		for n, v := range m {
			want[commonmodel.LabelName(n)] = commonmodel.LabelValue(v)
		}
		if got := oncall.AlertFingerprint(labels.FromMap(m)); got != uint64(want.Fingerprint()) {
			t.Errorf("%v has the fingerprint %x, want %x", m, got, uint64(want.Fingerprint()))
		}
	})
}

func TestMergePosted(t *testing.T) {
	t0 := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }
	type post struct {
		now, starts, ends int
		timeout           bool
	}
	for _, tc := range []struct {
		name       string
		posts      []post
		start, end int
		received   int
	}{
		{"one", []post{{0, -1, 5, true}}, -1, 5, 0},
		{"again, later end", []post{{0, 0, 5, true}, {1, 1, 6, true}}, 0, 6, 0},
		{"a made-up end gives way to a given one", []post{{0, -1, 5, true}, {1, 0, 3, false}}, -1, 3, 0},
		{"a given end that is later stays", []post{{0, -1, 5, false}, {1, 0, 3, true}}, -1, 5, 0},
		{"resolved now", []post{{0, -1, 5, false}, {1, -1, 1, false}}, -1, 1, 0},
		{"resolved twice: the later end", []post{{0, -5, -1, false}, {1, -6, -2, false}}, -6, -1, 1},
		{"fires again later", []post{{0, -1, 1, false}, {5, 4, 9, true}}, 4, 9, 5},
		{"the same start is no overlap", []post{{0, 0, 5, false}, {1, 0, 9, false}}, 0, 9, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var a *oncall.ActiveAlert
			for i, p := range tc.posts {
				a = oncall.MergePosted(a, oncall.PostedAlert{
					Labels: labels.FromStrings("a", "b"), StartsAt: at(p.starts), EndsAt: at(p.ends), Timeout: p.timeout,
				}, at(p.now), int64(i+1))
			}
			got := [3]int64{a.StartsAt, a.EndsAt, a.ReceivedAt}
			want := [3]int64{at(tc.start).UnixMicro(), at(tc.end).UnixMicro(), at(tc.received).UnixMicro()}
			if got != want {
				t.Errorf("start, end, received: %v, want %v", got, want)
			}
		})
	}
}

func TestMergeChange(t *testing.T) {
	t0 := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	ls := labels.FromStrings("alertname", "Hot")
	change := func(source string, status oncall.ChangeStatus) oncall.AlertChange {
		return oncall.AlertChange{Source: source, Status: status, Labels: ls, StartsAt: t0, Annotations: map[string]string{"s": "x"}}
	}
	if a := oncall.MergeChange(nil, change("rule:a", oncall.ChangeResolved), t0, 1); a != nil {
		t.Errorf("an unknown alert that resolves became %+v", a)
	}
	a := oncall.MergeChange(nil, change("rule:a", oncall.ChangeFiring), t0.Add(time.Second), 1)
	a = oncall.MergeChange(a, change("rule:b", oncall.ChangeFiring), t0.Add(2*time.Second), 2)
	a = oncall.MergePosted(a, oncall.PostedAlert{Labels: ls, StartsAt: t0.Add(time.Minute), EndsAt: t0.Add(2 * time.Minute)}, t0.Add(time.Minute), 3)
	if len(a.Rules) != 2 || a.StartsAt != t0.UnixMicro() || a.ReceivedAt != t0.Add(time.Second).UnixMicro() {
		t.Errorf("two rules and a post made %+v", a)
	}
	a = oncall.MergeChange(a, change("rule:a", oncall.ChangeResolved), t0.Add(3*time.Minute), 4)
	if !a.Firing(t0.Add(3 * time.Minute)) {
		t.Error("it resolved though a rule still reports it")
	}
	before := *a
	a = oncall.MergeChange(a, change("rule:b", oncall.ChangeResolved), t0.Add(4*time.Minute), 5)
	if a.Firing(t0.Add(4*time.Minute)) || a.EndsAt != t0.Add(4*time.Minute).UnixMicro() {
		t.Errorf("the last rule resolved, and it is %+v", a)
	}
	if len(before.Rules) != 1 {
		t.Error("an alert that others can see was changed")
	}
	want := labels.FromStrings("s", "x")
	a = oncall.MergeChange(a, change("rule:b", oncall.ChangeFiring), t0.Add(5*time.Minute), 6)
	if d := cmp.Diff(want, a.Annotations, equalLabels); d != "" {
		t.Error(d)
	}
}
