package evaluator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"tocsin/oncall"
	"tocsin/rules"
)

// fakeRecorder remembers what was written, and fails or hangs when told.
type fakeRecorder struct {
	mu      sync.Mutex
	written []Series
	err     error
	hang    time.Duration
	behind  bool
}

func (f *fakeRecorder) Behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.behind
}

func (f *fakeRecorder) queues(behind bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = behind
}

func (f *fakeRecorder) Write(ctx context.Context, series []Series) error {
	f.mu.Lock()
	err, hang := f.err, f.hang
	f.mu.Unlock()
	if hang > 0 && !sleep(ctx, hang) {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = append(f.written, series...)
	return nil
}

// since returns what was written from the n-th on, as "series value".
func (f *fakeRecorder) since(n int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, s := range f.written[min(n, len(f.written)):] {
		v := fmt.Sprint(s.V)
		if math.Float64bits(s.V) == value.StaleNaN {
			v = "ends"
		}
		out = append(out, s.Labels.String()+" "+v)
	}
	return out
}

func (f *fakeRecorder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.written)
}

func (f *fakeRecorder) do(err error, hang time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.hang = err, hang
}

type fakeForwarder struct {
	mu   sync.Mutex
	sent []Forwarded
}

func (f *fakeForwarder) Forward(alerts []Forwarded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, alerts...)
}

// withOutputs is inBubble with a recorder and a forwarder from the start.
func withOutputs(t *testing.T, groups []rules.Group, f func(r *rig, rec *fakeRecorder, fwd *fakeForwarder)) {
	t.Helper()
	inBubble(t, groups, func(r *rig) {
		rec, fwd := &fakeRecorder{}, &fakeForwarder{}
		r.halt()
		r.store, r.backend.asked = newMemStore(), nil
		r.e = New(Options{Store: r.store})
		r.e.Outputs(rec, fwd)
		r.run()
		f(r, rec, fwd)
	})
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRecordingRules(t *testing.T) {
	gs := group(rule(t, "", "x", records("job:x"), labelled("team", "a", "i2", "")), rule(t, "A", "job:x > 1"))
	gs[0].QueryOffset = 5 * time.Second
	withOutputs(t, gs, func(r *rig, rec *fakeRecorder, _ *fakeForwarder) {
		r.backend.set("x", map[string]float64{"a": 2, "b": math.NaN()})
		r.backend.do("job:x > 1", func(time.Time) (Answer, error) {
			return Answer{}, map[bool]error{true: nil, false: errors.New("asked before it was written")}[rec.count() > 0]
		})
		r.passUntil(3*time.Second, "written", func() bool { return rec.count() >= 2 })
		same(t, "first", rec.since(0), `{__name__="job:x", i="a", team="a"} 2`, `{__name__="job:x", i="b", team="a"} NaN`)
		q := r.backend.questions("x")[0]
		if rec.written[0].T != q.at.UnixMilli() {
			t.Errorf("written for %d, asked about %d", rec.written[0].T, q.at.UnixMilli())
		}
		n := rec.count()
		r.backend.set("x", map[string]float64{"a": 3})
		r.pass(15 * time.Second)
		same(t, "vanished", rec.since(n), `{__name__="job:x", i="a", team="a"} 3`, `{__name__="job:x", i="b", team="a"} ends`)
		n = rec.count()
		r.backend.fail("x")
		r.pass(15 * time.Second)
		same(t, "failed", rec.since(n))
		if h := r.store.health["g/"]; h.LastError != "connection refused" {
			t.Errorf("%+v", h)
		}
		r.plan.Groups = nil
		r.e.Apply(r.plan)
		r.pass(time.Millisecond)
		same(t, "removed", rec.since(n), `{__name__="job:x", i="a", team="a"} ends`)
	})
}

func TestRecordingRuleErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*rules.Group)
		rec  func(*fakeRecorder)
		want string
	}{
		{"duplicates", func(g *rules.Group) { g.Rules[0].Labels = labels.FromStrings("i", "") }, nil, "two samples that become the same series"},
		{"limit", func(g *rules.Group) { g.Limit = 1 }, nil, "exceeded the group's limit of 1 with 2 series"},
		{"refused", nil, func(f *fakeRecorder) { f.do(errors.New("queue is full"), 0) }, "could not be written: queue is full"},
		{"hangs", nil, func(f *fakeRecorder) { f.do(nil, time.Hour) }, "could not be written in time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gs := group(rule(t, "", "x", records("job:x")))
			if tc.edit != nil {
				tc.edit(&gs[0])
			}
			withOutputs(t, gs, func(r *rig, rec *fakeRecorder, _ *fakeForwarder) {
				if tc.rec != nil {
					tc.rec(rec)
				}
				r.backend.set("x", map[string]float64{"a": 2, "b": 3})
				r.pass(25 * time.Second)
				status := r.e.Groups()[0].Rules[0]
				if status.Health != HealthErr || !strings.Contains(status.LastError, tc.want) || status.Type != Recording {
					t.Errorf("%+v", status)
				}
			})
		})
	}
}

func TestAlertsAreWritten(t *testing.T) {
	withOutputs(t, group(rule(t, "A", "x > 1", holds(20*time.Second), labelled("severity", "page"))), func(r *rig, rec *fakeRecorder, fwd *fakeForwarder) {
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.passUntil(3*time.Second, "pending", func() bool { return rec.count() >= 2 })
		active := r.store.stored()[0].ActiveAt
		state := fmt.Sprintf(`{__name__="ALERTS_FOR_STATE", alertname="A", i="a", severity="page"} %v`, float64(active.Unix()))
		alerts := func(state, v string) string {
			return fmt.Sprintf(`{__name__="ALERTS", alertname="A", alertstate=%q, i="a", severity="page"} %s`, state, v)
		}
		same(t, "pending", rec.since(0), alerts("pending", "1"), state)
		r.pass(time.Until(active.Add(19 * time.Second)))
		n := rec.count()
		r.pass(1050 * time.Millisecond)
		same(t, "fires between two slots", rec.since(n), alerts("firing", "1"), state, alerts("pending", "ends"))
		if at := rec.written[n].T; at != active.Add(20*time.Second).UnixMilli() {
			t.Errorf("written for %d", at)
		}
		rec.do(errors.New("down"), 0)
		r.pass(15 * time.Second)
		status := r.e.Groups()[0].Rules[0]
		if status.Health != HealthErr || !strings.Contains(status.LastError, "down") || len(r.store.health) != 0 {
			t.Errorf("%+v, stored %v", status, r.store.health)
		}
		rec.do(nil, 0)
		r.backend.fail("x > 1")
		n = rec.count()
		r.pass(15 * time.Second)
		same(t, "unknown", rec.since(n))
		r.backend.set("x > 1", nil)
		r.pass(15 * time.Second)
		if got := rec.since(n); len(got) != 2 || !strings.HasSuffix(got[0], "ends") || !strings.HasSuffix(got[1], "ends") {
			t.Errorf("resolved: %q", got)
		}
		if len(fwd.sent) != 2 || !fwd.sent[0].EndsAt.IsZero() || fwd.sent[1].EndsAt.IsZero() || fwd.sent[1].StartsAt != active.Add(20*time.Second) ||
			fwd.sent[0].Interval != 15*time.Second || fwd.sent[0].GeneratorURL == "" {
			t.Errorf("%+v", fwd.sent)
		}
	})
}

func TestSlowWriterDelaysNoPage(t *testing.T) {
	withOutputs(t, group(rule(t, "A", "x > 1", holds(20*time.Second))), func(r *rig, rec *fakeRecorder, _ *fakeForwarder) {
		rec.do(nil, 9*time.Second)
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.passUntil(3*time.Second, "pending", func() bool { return len(r.store.stored()) == 1 })
		active := r.store.stored()[0].ActiveAt
		r.passUntil(25*time.Second, "firing", func() bool { return len(r.store.told(0)) == 1 })
		if late := time.Since(active.Add(20 * time.Second)); late > 50*time.Millisecond {
			t.Errorf("fired %s late", late)
		}
	})
}

func TestGroupsAndActive(t *testing.T) {
	withOutputs(t, group(rule(t, "A", "x > 1", annotated("summary", "at {{ $value }}")), rule(t, "B", "y > 1", holds(time.Hour))), func(r *rig, _ *fakeRecorder, _ *fakeForwarder) {
		if g := r.e.Groups()[0]; g.Rules[0].Health != HealthUnknown && g.LastEvaluation.IsZero() {
			t.Errorf("before the first evaluation: %+v", g)
		}
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.backend.set("y > 1", map[string]float64{"a": 5})
		r.pass(3 * time.Second)
		r.backend.set("x > 1", map[string]float64{"a": 7})
		r.pass(15 * time.Second)
		g := r.e.Groups()[0]
		a, b := g.Rules[0], g.Rules[1]
		if g.Name != "g" || g.Interval != 15*time.Second || g.LastEvaluation.IsZero() || a.State != oncall.StateFiring || b.State != oncall.StatePending ||
			a.Health != HealthOK || a.LastEvaluation.IsZero() || a.Alerts[0].Value != 7 || a.Alerts[0].Annotations["summary"] != "at 7" || a.Annotations["summary"] != "at {{ $value }}" {
			t.Errorf("%+v", g)
		}
		if c := r.store.changes[0]; c.Annotations["summary"] != "at 5" {
			t.Errorf("the transition's own annotations: %q", c.Annotations)
		}
		if act := r.e.Active(); len(act) != 1 || act[0].Annotations["summary"] != "at 7" || act[0].Interval != 15*time.Second {
			t.Errorf("%+v", act)
		}
	})
}

func TestTwoRulesOneAlertForwarded(t *testing.T) {
	second := rule(t, "A", "y > 1")
	second.ID = "g/A#2"
	withOutputs(t, group(rule(t, "A", "x > 1"), second), func(r *rig, _ *fakeRecorder, fwd *fakeForwarder) {
		same := func(time.Time) (Answer, error) {
			return Answer{Samples: []Sample{{Metric: labels.FromStrings("i", "a"), Value: 5}}}, nil
		}
		r.backend.do("x > 1", same)
		r.backend.do("y > 1", same)
		r.pass(20 * time.Second)
		n := len(fwd.sent)
		r.backend.set("x > 1", nil)
		r.pass(20 * time.Second)
		for _, f := range fwd.sent[n:] {
			t.Errorf("sent %+v while the second rule fires", f)
		}
		r.backend.set("y > 1", nil)
		r.pass(20 * time.Second)
		if got := fwd.sent[n:]; len(got) != 1 || got[0].EndsAt.IsZero() {
			t.Errorf("sent %+v", got)
		}
	})
}

func TestSeriesEndAfterRestart(t *testing.T) {
	for _, removed := range []bool{false, true} {
		withOutputs(t, group(rule(t, "A", "x > 1")), func(r *rig, rec *fakeRecorder, fwd *fakeForwarder) {
			r.backend.set("x > 1", map[string]float64{"a": 5})
			r.pass(20 * time.Second)
			r.halt()
			r.backend.set("x > 1", nil)
			if removed {
				r.plan.Groups = nil
			}
			n := rec.count()
			r.e = New(Options{Store: r.store})
			r.e.Outputs(rec, fwd)
			r.run()
			r.pass(20 * time.Second)
			got := rec.since(n)
			slices.Sort(got)
			same(t, fmt.Sprintf("rule removed: %v", removed), got,
				`{__name__="ALERTS", alertname="A", alertstate="firing", i="a"} ends`, `{__name__="ALERTS_FOR_STATE", alertname="A", i="a"} ends`)
		})
	}
}

func TestAnnotationsEditedAtReload(t *testing.T) {
	withOutputs(t, group(rule(t, "A", "x > 1", annotated("summary", "old"))), func(r *rig, _ *fakeRecorder, _ *fakeForwarder) {
		r.backend.set("x > 1", map[string]float64{"a": 5})
		r.pass(20 * time.Second)
		r.plan.Groups = group(rule(t, "A", "x > 1", annotated("runbook", "new {{ $value }}"), func(r *rules.Rule) { r.Hash = "h2" }))
		r.e.Apply(r.plan)
		r.pass(20 * time.Second)
		if act := r.e.Active(); len(act) != 1 || act[0].Annotations["runbook"] != "new 5" || len(act[0].Annotations) != 1 {
			t.Errorf("%+v", act)
		}
	})
}

// TestRecordedSeriesThatWaits: after an outage a rule may ask before what another has recorded, in its group or
// not, has arrived. That it is not there does not resolve.
func TestRecordedSeriesThatWaits(t *testing.T) {
	for name, edit := range map[string]func([]rules.Group) []rules.Group{
		"one group": func(gs []rules.Group) []rules.Group { return gs },
		"two groups": func(gs []rules.Group) []rules.Group {
			recording := gs[0]
			recording.Name, recording.Rules = "recording", gs[0].Rules[:1]
			gs[0].Rules = gs[0].Rules[1:]
			return append(gs, recording)
		},
	} {
		t.Run(name, func(t *testing.T) { recordedSeriesWait(t, edit) })
	}
}

func recordedSeriesWait(t *testing.T, edit func([]rules.Group) []rules.Group) {
	gs := edit(group(rule(t, "", "x", records("job:x")), rule(t, "A", "job:x > 1"), rule(t, "B", "y > 1")))
	at := slices.IndexFunc(gs[0].Rules, func(r rules.Rule) bool { return r.Alert == "A" })
	withOutputs(t, gs, func(r *rig, rec *fakeRecorder, _ *fakeForwarder) {
		r.backend.set("job:x > 1", map[string]float64{"a": 5})
		r.backend.set("y > 1", map[string]float64{"a": 5})
		r.pass(20 * time.Second)
		rec.queues(true)
		r.backend.set("job:x > 1", map[string]float64{"b": 5})
		r.backend.set("y > 1", nil)
		n := len(r.store.told(0))
		r.pass(30 * time.Second)
		r.wantTold(n, "unknown A", "firing A", "resolved B")
		if h := r.e.Groups()[0].Rules[at]; h.Health != HealthErr || !strings.Contains(h.LastError, "remote_write") {
			t.Errorf("%+v", h)
		}
		rec.queues(false)
		r.pass(15 * time.Second)
		r.wantTold(n+3, "resolved A")
	})
}
