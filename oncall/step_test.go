package oncall_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

var updateSteps = flag.Bool("update-steps", false, "rewrite the transcripts in testdata/step")

var stepStart = time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)

func stepSample(name string, v float64) oncall.Sample {
	return oncall.Sample{
		Labels: labels.FromStrings(labels.AlertName, "SessionMemoryHigh", "instance", name),
		Metric: labels.FromStrings("__name__", "session_memory_ratio", "instance", name),
		Value:  v,
	}
}

// TestStepTranscripts runs the scripts in testdata/step. Lines: "timing for=2m keep=0", "at 15s: a=0.9 b=NaN",
// "at 30s failed: refused", "at 45s partial (why): a=1", "at 2m due: a=1", "at 3h gap: a=1". A value may be ok
// (a sample that does not breach), ~0.7 (between threshold and recover) or 0.5@30s (gone, last seen at 30s).
// What a step makes of its line is written below it.
func TestStepTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/step/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replaySteps(t, string(want))
			if *updateSteps {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("transcript changed (-want +got), rewrite with -update-steps if it is right:\n%s", diff)
			}
		})
	}
}

func replaySteps(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	var alerts []oncall.Alert
	timing := oncall.RuleTiming{Rule: "r"}
	for sc := bufio.NewScanner(strings.NewReader(script)); sc.Scan(); {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "timing "):
			var f, k string
			if _, err := fmt.Sscanf(line, "timing for=%s keep=%s", &f, &k); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			timing.For, timing.KeepFiringFor, timing.NoDataFor = mustDuration(t, f), mustDuration(t, k), 0
			if _, n, ok := strings.Cut(line, "no_data_for="); ok {
				timing.NoDataFor = mustDuration(t, n)
			}
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "at "):
			step := oncall.StepRule(timing, alerts, parseObservation(t, line))
			alerts = step.Alerts
			fmt.Fprintln(&out, line)
			printStep(&out, step)
		case strings.HasPrefix(line, "  "): // printed by an earlier run
		default:
			fmt.Fprintln(&out, line)
		}
	}
	return out.String()
}

func mustDuration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func parseObservation(t *testing.T, line string) oncall.Observation {
	t.Helper()
	head, rest, ok := strings.Cut(strings.TrimPrefix(line, "at "), ":")
	if !ok {
		t.Fatalf("%q: no colon", line)
	}
	at, kind, _ := strings.Cut(head, " ")
	o := oncall.Observation{At: stepStart.Add(mustDuration(t, at)), Evidence: oncall.Evidence{Expr: "e"}}
	rest = strings.TrimSpace(rest)
	switch {
	case kind == "failed":
		o.Failed = rest
		return o
	case kind == "due failed":
		o.Failed, o.DueOnly = rest, true
		return o
	case kind == "due":
		o.DueOnly = true
	case kind == "gap":
		o.Gap = true
	case kind != "":
		o.Partial = strings.Trim(strings.TrimPrefix(kind, "partial "), "()")
	}
	for _, f := range strings.Fields(rest) {
		name, value, _ := strings.Cut(f, "=")
		value, seen, gone := strings.Cut(value, "@")
		value, band := strings.CutPrefix(value, "~")
		if value == "ok" {
			if o.Healthy == nil {
				o.Healthy = map[uint64]struct{}{}
			}
			o.Healthy[stepSample(name, 0).Labels.Hash()] = struct{}{}
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		smp := stepSample(name, v)
		smp.Band = band
		if gone {
			smp.LastSeen = stepStart.Add(mustDuration(t, seen))
		}
		o.Samples = append(o.Samples, smp)
	}
	return o
}

func printStep(out *strings.Builder, s oncall.Step) {
	for _, tr := range s.Transitions {
		fmt.Fprintf(out, "  %s: %s → %s, %s [value %q]\n", tr.Labels.Get("instance"), tr.From, tr.To, tr.Reason, tr.Evidence.Value)
	}
	for _, c := range s.Changes {
		fmt.Fprintf(out, "  tell: %s %s since %s, %s\n", c.Alert.Labels.Get("instance"), c.Status, offset(c.Alert.FiredAt), c.Reason)
	}
	for i, a := range s.Alerts {
		mark := " "
		for _, u := range s.Upserts {
			if u == i {
				mark = "*"
			}
		}
		fmt.Fprintf(out, "  %s %s %s active %s", mark, a.Labels.Get("instance"), a.State, offset(a.ActiveAt))
		if !a.KeepFiringSince.IsZero() {
			fmt.Fprintf(out, " kept since %s", offset(a.KeepFiringSince))
		}
		if !a.UnknownSince.IsZero() {
			fmt.Fprintf(out, " unknown since %s", offset(a.UnknownSince))
		}
		if !a.NoDataSince.IsZero() {
			fmt.Fprintf(out, " gone since %s", offset(a.NoDataSince))
		}
		fmt.Fprintln(out)
	}
	if !s.NextAt.IsZero() {
		fmt.Fprintf(out, "  next %s\n", offset(s.NextAt))
	}
}

func offset(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Sub(stepStart).String()
}

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

func TestForgetPending(t *testing.T) {
	now := stepStart
	current := []oncall.Alert{
		{Rule: "r", Labels: labels.FromStrings("n", "pending"), State: oncall.StatePending, ActiveAt: now.Add(-2 * time.Hour)},
		{Rule: "r", Labels: labels.FromStrings("n", "firing"), State: oncall.StateFiring, ActiveAt: now.Add(-3 * time.Hour), FiredAt: now.Add(-2 * time.Hour)},
	}
	for _, tc := range []struct {
		name    string
		aliveAt time.Time
		kept    int
	}{
		{"short downtime", now.Add(-59 * time.Minute), 2},
		{"one hour exactly", now.Add(-time.Hour), 2},
		{"longer", now.Add(-time.Hour - time.Second), 1},
		{"never alive", time.Time{}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := oncall.ForgetPending(current, tc.aliveAt, now)
			if len(s.Alerts) != tc.kept || len(s.Deletes) != 2-tc.kept || len(s.Changes) != 0 || len(s.Upserts) != 0 {
				t.Errorf("kept %d, deleted %d, told %d, rewrote %d", len(s.Alerts), len(s.Deletes), len(s.Changes), len(s.Upserts))
			}
		})
	}
}

func TestRetireRule(t *testing.T) {
	current := []oncall.Alert{
		{Rule: "r", Labels: labels.FromStrings("n", "pending"), State: oncall.StatePending, ActiveAt: stepStart},
		{Rule: "r", Labels: labels.FromStrings("n", "firing"), State: oncall.StateFiring, ActiveAt: stepStart, FiredAt: stepStart},
	}
	s := oncall.RetireRule(current, stepStart.Add(time.Minute), "rule removed from a.yml")
	if len(s.Alerts) != 0 || len(s.Deletes) != 2 || len(s.Transitions) != 2 || len(s.Changes) != 1 {
		t.Fatalf("%+v", s)
	}
	if c := s.Changes[0]; c.Status != oncall.ChangeResolved || c.Reason != "rule removed from a.yml" || !c.Alert.FiredAt.Equal(stepStart) {
		t.Errorf("%+v", c)
	}
}

func TestStepAnnotatesWhatMoved(t *testing.T) {
	timing := oncall.RuleTiming{Rule: "r", For: time.Minute}
	first := oncall.StepRule(timing, nil, oncall.Observation{At: stepStart, Samples: []oncall.Sample{stepSample("a", 1)}})
	first.Annotate(func(a oncall.Alert) map[string]string {
		return map[string]string{"summary": fmt.Sprint(a.State, " ", a.Value)}
	})
	due := oncall.StepRule(timing, first.Alerts, oncall.Observation{At: stepStart.Add(time.Minute), DueOnly: true,
		External: labels.FromStrings("cluster", "x"), Samples: []oncall.Sample{stepSample("a", 2)}})
	due.Annotate(func(a oncall.Alert) map[string]string {
		return map[string]string{"summary": fmt.Sprint(a.State, " ", a.Value)}
	})
	if got := first.Alerts[0].Annotations["summary"]; got != "pending 1" {
		t.Errorf("pending: %q", got)
	}
	if got := due.Changes[0].Alert.Annotations["summary"]; got != "firing 2" {
		t.Errorf("told: %q", got)
	}
	if got := due.Alerts[0].External.Get("cluster"); got != "x" {
		t.Errorf("external labels: %q", got)
	}
}

func BenchmarkStepRule(b *testing.B) {
	const n = 10_000
	o := oncall.Observation{At: stepStart}
	for i := range n {
		o.Samples = append(o.Samples, stepSample(fmt.Sprint("i", i), float64(i)))
	}
	timing := oncall.RuleTiming{Rule: "r", For: time.Minute}
	alerts := oncall.StepRule(timing, nil, o).Alerts
	o.At = o.At.Add(15 * time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if s := oncall.StepRule(timing, alerts, o); len(s.Upserts) != 0 {
			b.Fatal("a quiet step changed something")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/alert")
}
