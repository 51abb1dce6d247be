package oncall_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
	"tocsin/problem"
)

// golden holds text to a file of testdata/schedule, which -update rewrites.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/schedule/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); -update rewrites it:\n%s", file, diff)
	}
}

func decodeSchedules(t *testing.T, name string) ([]problem.At[oncall.Schedule], []oncall.Ref, problem.List) {
	t.Helper()
	source, err := os.ReadFile("testdata/schedule/" + name)
	if err != nil {
		t.Fatal(err)
	}
	d, problems := problem.Parse(name, source)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return oncall.DecodeSchedules(d, d.Root)
}

func TestDecodeSchedules(t *testing.T) {
	schedules, refs, problems := decodeSchedules(t, "good.yml")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var b strings.Builder
	for _, s := range schedules {
		fmt.Fprintf(&b, "%d:%d %s in %s: %s%s%s\n", s.Place.Line, s.Place.Column, s.Value.Name, s.Value.TimeZone, strings.Join(s.Value.Users(), " "),
			strings.TrimSuffix(", handoffs to "+s.Value.NotifySlack, ", handoffs to "), strings.TrimSuffix(", in Slack as "+s.Value.SlackUserGroup, ", in Slack as "))
		for _, l := range s.Value.Layers {
			fmt.Fprintf(&b, "  layer %s\n", l.Name)
			for _, r := range l.Rosters {
				fmt.Fprintf(&b, "    from %s: %v shadowed by %v, %q every %s since %s, within %d intervals\n", r.From.Format(time.RFC3339),
					r.Users, r.Shadows, r.Rotation.Handoff, r.Rotation.Every, r.Rotation.Anchor.Format(time.RFC3339), len(r.Restrict))
			}
		}
	}
	for _, r := range refs {
		fmt.Fprintf(&b, "%d:%d %s %s\n", r.At.Line, r.At.Column, r.Kind, r.Name)
	}
	golden(t, "good.golden", b.String())
}

func TestDecodeSchedulesProblems(t *testing.T) {
	_, _, problems := decodeSchedules(t, "bad.yml")
	var b strings.Builder
	if err := problems.Sort().Print(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "bad.golden", b.String())
}

func FuzzDecodeSchedules(f *testing.F) {
	for _, name := range []string{"good.yml", "bad.yml"} {
		source, err := os.ReadFile("testdata/schedule/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, source []byte) {
		d, problems := problem.Parse("fuzz.yml", source)
		if len(problems) > 0 || d.Root == nil {
			return
		}
		schedules, _, problems := oncall.DecodeSchedules(d, d.Root)
		if len(problems.Errors()) > 0 {
			return
		}
		for _, s := range schedules { // what is accepted can be followed
			checkShape(t, s.Value.Shifts(nil, at, at.Add(48*time.Hour)), at, at.Add(48*time.Hour))
		}
	})
}

// decodeText decodes one schedule that must be fine.
func decodeText(t *testing.T, text string) *oncall.Schedule {
	t.Helper()
	d, problems := problem.Parse("text.yml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	schedules, _, problems := oncall.DecodeSchedules(d, d.Root)
	if len(problems) > 0 || len(schedules) != 1 {
		t.Fatalf("%d schedules: %v", len(schedules), problems)
	}
	return &schedules[0].Value
}

// TestRestrictNamesFewTimes: each time of day is looked at on each day.
func TestRestrictNamesFewTimes(t *testing.T) {
	times := strings.Repeat("{start_time: '09:00', end_time: '10:00'}, ", 101)
	d, problems := problem.Parse("tocsin.yml", []byte("[{name: s, time_zone: UTC, layers: [{users: [ana], restrict: [{times: ["+times+"]}]}]}]"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	_, _, problems = oncall.DecodeSchedules(d, d.Root)
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "restrict names 101 times of day: expected 100 at most") {
		t.Error(problems)
	}
}
