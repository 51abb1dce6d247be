package oncall_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// model is an independent statement of Prometheus' semantics for complete answers, one alert at a time.
type model struct {
	state          oncall.AlertState
	active, keptAt time.Time
	kept           bool
}

func (m *model) eval(at time.Time, present bool, hold, keep time.Duration) {
	if present {
		m.kept = false
		if m.state == oncall.StateInactive {
			m.state, m.active = oncall.StatePending, at
		}
	} else {
		switch m.state {
		case oncall.StateInactive:
			return
		case oncall.StatePending:
			m.state = oncall.StateInactive
			return
		case oncall.StateFiring:
			if !m.kept {
				m.kept, m.keptAt = true, at
			}
			if keep == 0 || at.Sub(m.keptAt) >= keep {
				*m = model{state: oncall.StateInactive}
				return
			}
		}
	}
	if m.state == oncall.StatePending && at.Sub(m.active) >= hold {
		m.state = oncall.StateFiring
	}
}

func TestStepProperties(t *testing.T) {
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		timing := oncall.RuleTiming{Rule: "r",
			For:           time.Duration(rapid.IntRange(0, 6).Draw(t, "for")) * 10 * time.Second,
			KeepFiringFor: time.Duration(rapid.IntRange(0, 3).Draw(t, "keep")) * 10 * time.Second}
		models := map[string]*model{}
		for _, n := range names {
			models[n] = &model{state: oncall.StateInactive}
		}
		at := stepStart
		var alerts []oncall.Alert
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
			o := oncall.Observation{At: at}
			for _, n := range names {
				if rapid.Bool().Draw(t, n) {
					o.Samples = append(o.Samples, stepSample(n, rapid.Float64().Draw(t, "value")))
				}
			}
			kind := rapid.SampledFrom([]string{"full", "full", "full", "failed", "partial", "due"}).Draw(t, "kind")
			switch kind {
			case "failed":
				o.Failed = "refused"
			case "partial":
				o.Partial = "a store is down"
			case "due":
				o.DueOnly = true
			}
			before := alerts
			step := oncall.StepRule(timing, alerts, o)
			checkStep(t, timing, before, o, step)
			if again := oncall.StepRule(timing, before, o); !cmp.Equal(again, step, cmpSteps) {
				t.Fatal("the same step twice differs")
			}
			alerts = step.Alerts
			if kind != "full" {
				// The model knows complete answers only: it takes over what the step made of others.
				for _, n := range names {
					models[n] = modelOf(n, alerts)
				}
				continue
			}
			for _, n := range names {
				present := false
				for _, s := range o.Samples {
					present = present || s.Labels.Get("instance") == n
				}
				models[n].eval(at, present, timing.For, timing.KeepFiringFor)
				if got := modelOf(n, alerts); got.state != models[n].state || !got.active.Equal(models[n].active) && got.state != oncall.StateInactive {
					t.Fatalf("%s at %s: %+v, Prometheus has %+v", n, offset(at), *got, *models[n])
				}
			}
		}
	})
}

var cmpSteps = cmp.Options{
	cmp.Comparer(labels.Equal),
	cmp.Comparer(func(a, b oncall.Step) bool {
		return len(a.Alerts) == len(b.Alerts) && len(a.Changes) == len(b.Changes) && fmt.Sprint(a.Upserts, a.Deletes, a.NextAt) == fmt.Sprint(b.Upserts, b.Deletes, b.NextAt)
	}),
}

func modelOf(name string, alerts []oncall.Alert) *model {
	for _, a := range alerts {
		if a.Labels.Get("instance") == name {
			return &model{state: a.State, active: a.ActiveAt, kept: !a.KeepFiringSince.IsZero(), keptAt: a.KeepFiringSince}
		}
	}
	return &model{state: oncall.StateInactive}
}

// checkStep holds what is true of every step.
func checkStep(t *rapid.T, timing oncall.RuleTiming, before []oncall.Alert, o oncall.Observation, s oncall.Step) {
	was := map[oncall.Fingerprint]oncall.Alert{}
	for _, a := range before {
		was[oncall.FingerprintOf(a.Labels)] = a
	}
	for _, tr := range s.Transitions {
		switch {
		case tr.To == oncall.StateFiring && tr.From == oncall.StatePending && o.At.Sub(was[tr.Fingerprint].ActiveAt) < timing.For:
			t.Fatalf("fired too early: %+v", tr)
		case tr.To == oncall.StateFiring && tr.From == oncall.StateInactive && timing.For > 0:
			t.Fatalf("fired without its for: %+v", tr)
		case o.Failed != "":
			t.Fatalf("a failed query moved an alert: %+v", tr)
		case (tr.To == oncall.StateResolved || tr.To == oncall.StateInactive) && o.Partial != "":
			t.Fatalf("ended by an answer that says nothing of absence: %+v", tr)
		case o.DueOnly && tr.To != oncall.StateFiring && (was[tr.Fingerprint].KeepFiringSince.IsZero() || o.At.Sub(was[tr.Fingerprint].KeepFiringSince) < timing.KeepFiringFor):
			t.Fatalf("the extra evaluation did more than fire and end what is due: %+v", tr)
		case tr.Reason == "":
			t.Fatalf("no reason: %+v", tr)
		}
	}
	for _, c := range s.Changes {
		if c.Alert.FiredAt.IsZero() {
			t.Fatalf("told of an alert that never fired: %+v", c)
		}
	}
	for _, a := range s.Alerts {
		if a.State == oncall.StatePending && !o.DueOnly && o.Failed == "" && o.Partial == "" && o.At.Sub(a.ActiveAt) >= timing.For {
			t.Fatalf("due, seen, and still pending: %+v", a)
		}
	}
	if !s.NextAt.IsZero() && !s.NextAt.After(o.At) {
		t.Fatalf("to be asked again in the past: %s", s.NextAt)
	}
	if len(before) > 0 && o.Failed != "" && len(s.Alerts) != len(before) {
		t.Fatal("a failed query lost an alert")
	}
}
