package oncall_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

var silenceNow = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

func silence(t testing.TB, id, ms string, from, to time.Duration) oncall.Silence {
	t.Helper()
	return oncall.Silence{ID: id, Matchers: matchers(t, ms), StartsAt: silenceNow.Add(from), EndsAt: silenceNow.Add(to), CreatedBy: "ana", Comment: "upgrade"}
}

// TestCheckSilence: what is refused, in whose words, and what is let through as Alertmanager does.
func TestCheckSilence(t *testing.T) {
	hour := time.Hour
	with := func(s oncall.Silence, ms ...*amlabels.Matcher) oncall.Silence { s.Matchers = ms; return s }
	valid := silence(t, "", `a=x`, 0, hour)
	noStart := valid
	noStart.StartsAt = time.Time{}
	for _, tc := range []struct {
		name  string
		s     oncall.Silence
		mode  oncall.MatcherMode
		error string // "" for none
	}{
		{"plain", valid, 0, ""},
		{"begins now", noStart, 0, ""},
		{"no author, no comment", oncall.Silence{Matchers: valid.Matchers, StartsAt: valid.StartsAt, EndsAt: valid.EndsAt}, 0, ""},
		{"window", silence(t, "", `a=x`, hour, 2*hour), 0, ""},
		{"started", silence(t, "", `a=x`, -hour, hour), 0, ""},
		{"no end", oncall.Silence{Matchers: valid.Matchers}, 0, "endsAt: a silence needs an end"},
		{"no length", silence(t, "", `a=x`, hour, hour), 0, "start time must be before the end time"},
		{"backwards", silence(t, "", `a=x`, 2*hour, hour), 0, "start time must be before the end time"},
		{"past", silence(t, "", `a=x`, -2*hour, -hour), 0, "end time can't be in the past"},
		{"ends now", silence(t, "", `a=x`, -hour, 0), 0, ""},
		{"no matcher", silence(t, "", ``, 0, hour), 0, "at least one matcher"},
		{"empty matches", silence(t, "", `a="",b=~".*"`, 0, hour), 0, "must not match the empty string"},
		{"one does not", silence(t, "", `a="",b=~".+"`, 0, hour), 0, ""},
		{"negative alone", silence(t, "", `a!="x"`, 0, hour), 0, ""},
		{"negative regexp alone", silence(t, "", `a!~"x"`, 0, hour), 0, ""},
		{"negative of empty", silence(t, "", `a!=""`, 0, hour), 0, ""},
		{"UTF-8 name", silence(t, "", `größe=x`, 0, hour), 0, ""},
		{"UTF-8 name, strict", silence(t, "", `größe=x`, 0, hour), oncall.MatchersUTF8Strict, ""},
		{"UTF-8 name, classic", silence(t, "", `größe=x`, 0, hour), oncall.MatchersClassic, `matchers: invalid label matcher 0: invalid label name "größe"`},
		{"no name", with(valid, matcher(t, amlabels.MatchEqual, "", "x")), 0, `invalid label name ""`},
		{"bytes", with(valid, matcher(t, amlabels.MatchEqual, "a", "\xff")), 0, `invalid label value "\xff"`},
		{"regexp out of its anchors", with(valid, matcher(t, amlabels.MatchEqual, "a", "x"), matcher(t, amlabels.MatchRegexp, "a", "a)|(b")), 0, `label matcher 1: invalid regular expression "a)|(b"`},
	} {
		err := oncall.CheckSilence(tc.s, tc.mode, silenceNow)
		if tc.error == "" && err == nil {
			continue
		}
		if err == nil || tc.error == "" || !strings.Contains(err.Error(), tc.error) || oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("%s: %v, expected %q", tc.name, err, tc.error)
		}
	}
	many := valid
	for i := range 10_000 {
		many.Matchers = append(many.Matchers, matcher(t, amlabels.MatchRegexp, fmt.Sprint("l", i), "a.*b"))
	}
	if err := oncall.CheckSilence(many, 0, silenceNow); err != nil {
		t.Error(err)
	}
}

func TestRequireComment(t *testing.T) {
	s := silence(t, "", `a=x`, 0, time.Hour)
	if err := oncall.RequireComment(s); err != nil {
		t.Error(err)
	}
	for _, s := range []oncall.Silence{{CreatedBy: "ana", Comment: " "}, {Comment: "why", CreatedBy: "\t"}} {
		if err := oncall.RequireComment(s); oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// TestSetSilence: what is changed in place, and what ends the old silence and begins a new one.
func TestSetSilence(t *testing.T) {
	min := time.Minute
	span := func(s oncall.Silence) string {
		return fmt.Sprintf("%s %s %v..%v", s.ID, s.Matchers, s.StartsAt.Sub(silenceNow), s.EndsAt.Sub(silenceNow))
	}
	for _, tc := range []struct {
		name    string
		prev, s oncall.Silence
		want    []string
	}{
		{"new", oncall.Silence{}, silence(t, "", `a=x`, 5*min, 60*min), []string{`new {a="x"} 5m0s..1h0m0s`}},
		{"new, started", oncall.Silence{}, silence(t, "", `a=x`, -5*min, 60*min), []string{`new {a="x"} 0s..1h0m0s`}},
		{"longer", silence(t, "1", `a=x`, -min, min), silence(t, "1", `a=x`, -min, 60*min), []string{`1 {a="x"} -1m0s..1h0m0s`}},
		{"shorter", silence(t, "1", `a=x`, -min, 60*min), silence(t, "1", `a=x`, -min, min), []string{`1 {a="x"} -1m0s..1m0s`}},
		{"fractions of a second", silence(t, "1", `a=x`, -min+time.Millisecond, 60*min), silence(t, "1", `a=x`, -min, min), []string{`1 {a="x"} -1m0s..1m0s`}},
		{"other start", silence(t, "1", `a=x`, -5*min, 60*min), silence(t, "1", `a=x`, -min, 60*min), []string{`1 {a="x"} -5m0s..0s`, `new {a="x"} 0s..1h0m0s`}},
		{"other matchers", silence(t, "1", `a=x`, -5*min, 60*min), silence(t, "1", `a=y`, -5*min, 60*min), []string{`1 {a="x"} -5m0s..0s`, `new {a="y"} 0s..1h0m0s`}},
		{"other order", silence(t, "1", `a=x,b=y`, -5*min, 60*min), silence(t, "1", `b=y,a=x`, -5*min, 60*min), []string{`1 {a="x",b="y"} -5m0s..0s`, `new {b="y",a="x"} 0s..1h0m0s`}},
		{"pending, moved", silence(t, "1", `a=x`, 5*min, 60*min), silence(t, "1", `a=x`, 10*min, 90*min), []string{`1 {a="x"} 10m0s..1h30m0s`}},
		{"pending, at once", silence(t, "1", `a=x`, 5*min, 60*min), silence(t, "1", `a=x`, -min, 90*min), []string{`1 {a="x"} 0s..0s`, `new {a="x"} 0s..1h30m0s`}},
		{"expired", silence(t, "1", `a=x`, -60*min, -min), silence(t, "1", `a=x`, -60*min, 60*min), []string{`new {a="x"} 0s..1h0m0s`}},
	} {
		tc.prev.Incident, tc.prev.RemindedAt = 42, silenceNow.Add(-time.Second)
		out, err := oncall.SetSilence(tc.prev, tc.prev.ID != "", tc.s, "new", silenceNow)
		var got []string
		for _, s := range out {
			got = append(got, span(s))
			if !s.UpdatedAt.Equal(silenceNow) {
				t.Errorf("%s: updated at %v", tc.name, s.UpdatedAt)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tc.name, err, diff)
			continue
		}
		last := out[len(out)-1]
		if want := tc.prev.ID != ""; (last.Incident == 42) != want || !last.RemindedAt.IsZero() {
			t.Errorf("%s: incident %d, reminded at %v", tc.name, last.Incident, last.RemindedAt)
		}
	}
	if _, err := oncall.SetSilence(oncall.Silence{}, false, silence(t, "1", `a=x`, 0, min), "new", silenceNow); oncall.ErrorCode(err) != oncall.CodeNotFound {
		t.Errorf("unknown ID: %v", err)
	}
}

func TestExpireSilence(t *testing.T) {
	for _, tc := range []struct{ from, to, wantFrom, wantTo time.Duration }{
		{-time.Hour, time.Hour, -time.Hour, 0},
		{time.Hour, 2 * time.Hour, 0, 0},
	} {
		out := oncall.ExpireSilence(silence(t, "1", `a=x`, tc.from, tc.to), silenceNow)
		if len(out) != 1 || !out[0].StartsAt.Equal(silenceNow.Add(tc.wantFrom)) || !out[0].EndsAt.Equal(silenceNow.Add(tc.wantTo)) || out[0].State(silenceNow) != oncall.SilenceExpired {
			t.Errorf("%v", out)
		}
	}
	if out := oncall.ExpireSilence(silence(t, "1", `a=x`, -2*time.Hour, -time.Hour), silenceNow); out != nil {
		t.Errorf("ended again: %v", out)
	}
}

// TestSilenceSet: a set that was changed step by step says what a scan of all silences says.
func TestSilenceSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := map[string]oncall.Silence{}
		set, now := oncall.NewSilenceSet(nil, silenceNow), silenceNow
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			was, then := set, now
			now = now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "pass")) * time.Minute)
			var changed []oncall.Silence
			for range rapid.SampledFrom([]int{0, 1, 1, 2, 2, 2, 3, 300}).Draw(t, "changed") {
				from := rapid.IntRange(-5, 10).Draw(t, "from")
				s := oncall.Silence{ID: fmt.Sprint(rapid.IntRange(0, 400).Draw(t, "id")), Matchers: drawMatchers(t),
					StartsAt: now.Add(time.Duration(from) * time.Minute), EndsAt: now.Add(time.Duration(from+rapid.IntRange(1, 10).Draw(t, "for")) * time.Minute)}
				changed = append(changed, s)
				all[s.ID] = s
			}
			if set = set.With(changed, now); rapid.Bool().Draw(t, "anew") {
				set = oncall.NewSilenceSet(set.List(now), now)
			}
			ls := drawLabels(t)
			var want []string
			next := time.Time{}
			for id, s := range all {
				if s.Matchers.Matches(labelSet(ls)) && s.State(now) == oncall.SilenceActive {
					want = append(want, id)
				}
				for _, b := range []time.Time{s.StartsAt, s.EndsAt} {
					if b.After(now) && (next.IsZero() || b.Before(next)) {
						next = b
					}
				}
				if got, ok := set.Get(id); !ok || !got.EndsAt.Equal(s.EndsAt) {
					t.Fatalf("%s is %v", id, got)
				}
			}
			slices.Sort(want)
			if got := set.Muting(ls, now); !slices.Equal(got, want) || set.Muted(ls, now) != (len(want) > 0) {
				t.Fatalf("muting %s: %v, expected %v", ls, got, want)
			}
			if got := set.NextBoundary(now); got.After(next) && !next.IsZero() || got.IsZero() && !next.IsZero() {
				t.Fatalf("next boundary %v, expected %v at the latest", got, next)
			}
			concerned := set.ChangedSince(was, then, now)
			if !slices.Equal(was.Muting(ls, then), want) && (concerned == nil || !concerned.Any(ls)) {
				t.Fatalf("%s was muted by %v, is by %v, and is not named", ls, was.Muting(ls, then), want)
			}
			if again := set.ChangedSince(set, now, now); again != nil {
				t.Fatalf("%d changes since now", again.Len())
			}
			if n := len(set.List(now)); n != len(all) {
				t.Fatalf("lists %d of %d", n, len(all))
			}
		}
	})
}

// TestSilenceSetFlips: a silence that came and went between two looks may have been seen by a third one.
func TestSilenceSetFlips(t *testing.T) {
	set := oncall.NewSilenceSet([]oncall.Silence{silence(t, "1", `a=x`, time.Minute, 2*time.Minute)}, silenceNow)
	if x := set.ChangedSince(set, silenceNow, silenceNow.Add(time.Hour)); x == nil || !x.Any(labels.FromStrings("a", "x")) || x.Any(labels.FromStrings("a", "y")) {
		t.Error("not named")
	}
	if x := set.ChangedSince(set, silenceNow.Add(time.Minute), silenceNow.Add(90*time.Second)); x != nil {
		t.Error("named")
	}
}

// TestSilenceList: the order of the alert API.
func TestSilenceList(t *testing.T) {
	h := time.Hour
	set := oncall.NewSilenceSet([]oncall.Silence{
		silence(t, "ended-1h", `a=x`, -3*h, -h), silence(t, "ended-now", `a=x`, -3*h, 0), silence(t, "in-2h", `a=x`, 2*h, 3*h), silence(t, "in-1h", `a=x`, h, 9*h),
		silence(t, "b-for-2h", `a=x`, -h, 2*h), silence(t, "for-1h", `a=x`, 0, h), silence(t, "a-for-2h", `a=x`, -h, 2*h),
	}, silenceNow)
	var got []string
	for _, s := range set.List(silenceNow) {
		got = append(got, s.ID)
	}
	if diff := cmp.Diff([]string{"for-1h", "a-for-2h", "b-for-2h", "in-1h", "in-2h", "ended-now", "ended-1h"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestSilenceWarnings: who mutes everything hears of it.
func TestSilenceWarnings(t *testing.T) {
	for ms, want := range map[string]string{
		`alertname="X"`:                     "",
		`alertname=~".+"`:                   "matches every alert:",
		`alertname=~"^(.+)$"`:               "matches every alert:",
		`alertname!=""`:                     "matches every alert:",
		`alertname=~".+",a=~".*"`:           "matches every alert:",
		`alertname=~".+",a=~"(.+)?"`:        "matches every alert:",
		`alertname=~".+",a=~"x|.*"`:         "matches every alert:",
		`alertname=~".+",severity=critical`: "",
		`cluster=~".+"`:                     "",
		`severity!="critical"`:              `matches every alert with severity!="critical"`,
		`severity!~"critical|page",a!="x"`:  `matches every alert with severity!~"critical|page" and a!="x"`,
		`severity!="critical",cluster=x`:    "",
		`alertname=~"Host.*"`:               "",
		`alertname=~".+",a=""`:              "",
		`alertname!~".+"`:                   `matches every alert with`,
	} {
		got := strings.Join(oncall.SilenceWarnings(oncall.Silence{Matchers: matchers(t, ms)}), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", ms, got)
		}
	}
}

func TestParseSilenceDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"2h": 2 * time.Hour, " 1d12h ": 36 * time.Hour, "1w": 7 * 24 * time.Hour, "90s": 90 * time.Second} {
		if d, err := oncall.ParseSilenceDuration(text); err != nil || d != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for text, want := range map[string]string{
		"": "no duration", "0s": "no duration", "-2h": "no duration", "tomorrow": "no duration", "2 hours": "no duration", "monolith": "no duration",
		"every monday": "time_intervals", "Mondays 02:00": "time_intervals", "daily": "time_intervals", "2h each day": "time_intervals", "mon-fri": "time_intervals",
		"wednesday": "time_intervals", "weekends": "time_intervals", "0 3 * * 1": "time_intervals",
	} {
		if _, err := oncall.ParseSilenceDuration(text); err == nil || !strings.Contains(err.Error(), want) || oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSilenceReminders: people hear of the end once, in time, and only where alerts fire.
func TestSilenceReminders(t *testing.T) {
	min := time.Minute
	long, short := silence(t, "long", `a=x`, -60*min, 60*min), silence(t, "short", `a=y`, 0, 10*min)
	window, said := silence(t, "window", `a=z`, 30*min, 90*min), silence(t, "said", `a=x`, -60*min, 60*min)
	said.RemindedAt = silenceNow
	set := oncall.NewSilenceSet([]oncall.Silence{long, short, window, said, silence(t, "over", `a=x`, -60*min, 0)}, silenceNow)
	var got []string
	for at := silenceNow; at.Before(silenceNow.Add(2 * time.Hour)); at = at.Add(min) {
		count := map[string]int{"x": 1, "y": 2, "z": 3}
		if at.Before(silenceNow.Add(88 * min)) {
			delete(count, "z")
		}
		fire := func(yield func(labels.Labels)) {
			for value, n := range count {
				for range n {
					yield(labels.FromStrings("a", value))
				}
			}
		}
		for _, r := range set.Reminders(at, fire) {
			got = append(got, at.Sub(silenceNow).String()+" "+r.Text)
			if !r.Silence.RemindedAt.Equal(at) || r.Firing != count[r.Silence.Matchers[0].Value] {
				t.Errorf("%+v", r)
			}
			set = set.With([]oncall.Silence{r.Silence}, at)
		}
	}
	want := []string{
		`5m0s The silence {a="y"} by ana ("upgrade") ends in 5m, at 10:10 UTC, and 2 alerts still fire under it`,
		`45m0s The silence {a="x"} by ana ("upgrade") ends in 15m, at 11:00 UTC, and 1 alert still fires under it`,
		`1h28m0s The silence {a="z"} by ana ("upgrade") ends in 2m, at 11:30 UTC, and 3 alerts still fire under it`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	set = oncall.NewSilenceSet([]oncall.Silence{long, short, window, said}, silenceNow)
	for _, tc := range [][2]time.Duration{{0, 5 * min}, {5 * min, 45 * min}, {45 * min, 75 * min}} {
		if got := set.NextReminder(silenceNow.Add(tc[0])); !got.Equal(silenceNow.Add(tc[1])) {
			t.Errorf("after %v: %v", tc[0], got)
		}
	}
	if got := set.NextReminder(silenceNow.Add(75 * min)); !got.IsZero() {
		t.Errorf("after all: %v", got)
	}
}

// BenchmarkSilences: silences that cannot match cost nothing, and one more of many is cheap.
func BenchmarkSilences(b *testing.B) {
	ls := labels.FromStrings("alertname", "SessionMemoryHigh", "cluster", "shop-1", "instance", "web-17:9100", "job", "session", "severity", "warning")
	for _, n := range []int{10, 10_000} {
		var all []oncall.Silence
		for i := range n {
			all = append(all, silence(b, fmt.Sprint("id-", i), fmt.Sprintf(`alertname="HostDown",instance=~"db-%d.*"`, i), 0, time.Hour))
		}
		set := oncall.NewSilenceSet(all, silenceNow)
		b.Run(fmt.Sprintf("Muting/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Muting(ls, silenceNow)
			}
		})
		b.Run(fmt.Sprintf("New/%d", n), func(b *testing.B) {
			for b.Loop() {
				oncall.NewSilenceSet(all, silenceNow)
			}
		})
		b.Run(fmt.Sprintf("With/%d", n), func(b *testing.B) {
			set, i := set, 0
			for b.Loop() {
				s := all[i%n]
				s.ID, i = fmt.Sprint("new-", i), i+1
				set = set.With([]oncall.Silence{s}, silenceNow)
			}
		})
	}
}
