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
