package storetest

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/store"
)

func alertNamed(name string, value float64) oncall.Alert {
	return oncall.Alert{
		Rule: "g/" + oncall.RuleID(name), Labels: labels.FromStrings("alertname", name), Annotations: map[string]string{"summary": "it is <b>"},
		State: oncall.StatePending, Value: value, ActiveAt: start, UnknownSince: start.Add(time.Second),
		Evidence: oncall.Evidence{Expr: "up == 0", At: start, Metric: labels.FromStrings("job", "x"), Value: "0", For: time.Minute},
	}
}

func testEvaluator(t *testing.T, e *env) {
	alerts := []oncall.Alert{alertNamed("A", math.NaN()), alertNamed("B", math.Inf(1)), alertNamed("C", math.Inf(-1)), alertNamed("D", 0.1)}
	health := []oncall.RuleHealth{{Rule: "g/A", FailingSince: start, LastError: "refused"}, {Rule: "g/B", FailingSince: start, LastError: "x"}}
	e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{At: start, Upserts: alerts, Health: health}))
	st, err := e.s.LoadEvaluator(e.ctx())
	e.must(err)
	equal(t, st.Alerts, alerts)
	equal(t, st.Health, health)
	equal(t, st.AliveAt, time.Time{})

	alerts[1].State, alerts[1].FiredAt, alerts[1].Value = oncall.StateFiring, start.Add(time.Minute), 7
	e.now = e.now.Add(time.Minute)
	gone := oncall.AlertKey{Rule: alerts[0].Rule, Fingerprint: oncall.FingerprintOf(alerts[0].Labels)}
	e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{
		At: e.now, Upserts: alerts[1:2], Deletes: []oncall.AlertKey{gone}, Health: []oncall.RuleHealth{{Rule: "g/A"}},
	}))
	e.must(e.s.Renew(e.ctx(), e.lease, e.now, longTTL))
	e.must(e.s.Close())
	e.s = e.db.Open(t, store.Options{})
	alive := e.now
	e.now = e.now.Add(time.Hour)
	e.acquire()
	st, err = e.s.LoadEvaluator(e.ctx())
	e.must(err)
	equal(t, st.Alerts, alerts[1:])
	equal(t, st.Health, health[1:])
	equal(t, st.AliveAt, alive.Truncate(time.Microsecond))
}

func testTransitions(t *testing.T, e *env) {
	var all []oncall.Transition
	for i := range 6 {
		l := labels.FromStrings("alertname", []string{"A", "B"}[i%2])
		all = append(all, oncall.Transition{
			Rule: "r", Fingerprint: oncall.FingerprintOf(l), Labels: l, At: start.Add(time.Duration(i/2) * time.Minute),
			From: oncall.StatePending, To: oncall.StateFiring, Reason: string(rune('a' + i)),
		})
	}
	e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{At: start, Transitions: all}))
	a, b := all[0].Fingerprint, all[1].Fingerprint
	for _, c := range []struct {
		name     string
		alerts   []oncall.Fingerprint
		from, to time.Time
		limit    int
		want     string
	}{
		{"all", []oncall.Fingerprint{a, b}, time.Time{}, time.Time{}, 0, "abcdef"},
		{"one", []oncall.Fingerprint{a}, time.Time{}, time.Time{}, 0, "ace"},
		{"latest", []oncall.Fingerprint{a, b}, time.Time{}, time.Time{}, 3, "def"},
		{"from", []oncall.Fingerprint{a, b}, start.Add(time.Minute), time.Time{}, 0, "cdef"},
		{"to", []oncall.Fingerprint{a, b}, time.Time{}, start.Add(time.Minute), 0, "ab"},
		{"none", nil, time.Time{}, time.Time{}, 0, ""},
	} {
		got, err := e.s.Transitions(e.ctx(), c.alerts, c.from, c.to, c.limit)
		e.must(err)
		text := ""
		for _, x := range got {
			text += x.Reason
		}
		if text != c.want {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
	got, err := e.s.Transitions(e.ctx(), []oncall.Fingerprint{b}, time.Time{}, time.Time{}, 1)
	e.must(err)
	if !slices.ContainsFunc(got, func(x oncall.Transition) bool { return x.At.Equal(all[5].At) && x.Labels.Get("alertname") == "B" }) {
		t.Errorf("got %+v", got)
	}
}

func testResolvedSince(t *testing.T, e *env) {
	step := func(alert string, minute int, to oncall.AlertState) oncall.Transition {
		l := labels.FromStrings("alertname", alert)
		return oncall.Transition{Rule: "r", Fingerprint: oncall.FingerprintOf(l), Labels: l, At: start.Add(time.Duration(minute) * time.Minute), To: to}
	}
	e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{At: start, Transitions: []oncall.Transition{
		step("long ago", 0, oncall.StateResolved),
		step("again", 1, oncall.StateResolved), step("again", 2, oncall.StatePending), step("again", 3, oncall.StateFiring),
		step("twice", 1, oncall.StateResolved), step("twice", 2, oncall.StateFiring), step("twice", 4, oncall.StateResolved),
		step("fires", 2, oncall.StateFiring), step("never fired", 3, oncall.StateInactive),
		step("once", 2, oncall.StateResolved),
	}}))
	got, err := e.s.ResolvedSince(e.ctx(), start.Add(time.Minute))
	e.must(err)
	text := ""
	for _, x := range got {
		text += x.Labels.Get("alertname") + " at " + x.At.Format("04:05") + "; "
	}
	equal(t, text, "once at 02:00; twice at 04:00; ")
}
