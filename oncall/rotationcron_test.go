package oncall

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"
)

// TestCronAgreesWithTheParsersOwnWalk: on a wall without changes of clocks the library's own search is right.
func TestCronAgreesWithTheParsersOwnWalk(t *testing.T) {
	field := func(t *rapid.T, name string, from, to int) string {
		switch rapid.IntRange(0, 4).Draw(t, name+" kind") {
		case 0:
			return "*"
		case 1:
			return fmt.Sprintf("*/%d", rapid.IntRange(1, to).Draw(t, name))
		case 2:
			a := rapid.IntRange(from, to).Draw(t, name)
			return fmt.Sprintf("%d-%d", a, rapid.IntRange(a, to).Draw(t, name))
		}
		return fmt.Sprint(rapid.IntRange(from, to).Draw(t, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join([]string{field(t, "minute", 0, 59), field(t, "hour", 0, 23), field(t, "day", 1, 31), field(t, "month", 1, 12), field(t, "weekday", 0, 6)}, " ")
		c, err := ParseCron(text)
		parsed, libErr := cron.ParseStandard(text)
		if libErr != nil {
			t.Fatal(text, libErr)
		}
		w := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "after"), 0).UTC()
		if err != nil {
			if next := parsed.(*cron.SpecSchedule).Next(w); !next.IsZero() {
				t.Fatalf("%q is refused (%v), and happens at %s", text, err, next)
			}
			return
		}
		spec := *parsed.(*cron.SpecSchedule)
		spec.Location = time.UTC
		start := w
		for i := range 30 {
			want := spec.Next(w)
			if want.IsZero() { // it looks five years ahead
				return
			}
			got, ok := c.next(w)
			if !ok || !got.Equal(want) {
				t.Fatalf("%q after %s: %s, want %s", text, w, got, want)
			}
			w = got
			if n := c.count(start, w); n != i+1 {
				t.Fatalf("%q from %s to %s: counted %d, want %d", text, start, w, n, i+1)
			}
			if n := c.count(start, w.Add(-1)); n != i {
				t.Fatalf("%q from %s to just before %s: counted %d, want %d", text, start, w, n, i)
			}
		}
	})
}

func TestParseCronRefuses(t *testing.T) {
	for _, text := range []string{"", " ", "TZ=UTC", "CRON_TZ=Europe/Madrid 0 9 * * *", "@every 12h", "@reboot", "0 9 * *", "0 9 * * * *", "60 9 * * *", "0 9 31 2 *", "0 9 30,31 FEB *", ", , , , ,", "0 9 * * 7"} {
		if c, err := ParseCron(text); err == nil {
			t.Errorf("%q is accepted as %v", text, c)
		}
	}
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"0 9 * * MON", "*/15 0-6 1,15 * ?", "@weekly", "TZ=UTC", "0 0 29 2 *", "1-2-3 /5 */0 * *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCron(text)
		if err != nil {
			return
		}
		w := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		next, ok := c.next(w)
		if !ok || !next.After(w) || c.count(w, next) != 1 {
			t.Fatalf("%q after %s: %s %v, counted %d", text, w, next, ok, c.count(w, next))
		}
	})
}

// TestCarry: who has the turn when a roster takes effect while the second in line (bo) has it.
func TestCarry(t *testing.T) {
	line := func(text string) (users [][]string) {
		for e := range strings.FieldsSeq(text) {
			users = append(users, strings.Split(e, "+"))
		}
		return users
	}
	for _, c := range []struct {
		about         string
		before, after string
		handoffs      int
		want          string
	}{
		{"somebody joins at the end", "ana bo chen", "ana bo chen dee", 0, "bo"},
		{"somebody joins before", "ana bo chen", "dee ana bo chen", 0, "bo"},
		{"the line is turned around", "ana bo chen", "chen bo ana", 0, "bo"},
		{"with a handoff, the next in the new line", "ana bo chen", "chen bo ana", 1, "ana"},
		{"she leaves, and the next takes over", "ana bo chen", "ana chen", 0, "chen"},
		{"she leaves as her turn ends: nobody is skipped", "ana bo chen", "ana chen", 1, "chen"},
		{"she and the next leave", "ana bo chen dee", "ana dee", 0, "dee"},
		{"all leave", "ana bo", "dee eva", 0, "dee"},
		{"all leave as a turn ends", "ana bo", "dee eva", 1, "dee"},
		{"she gets company", "ana bo chen", "ana bo+dee chen", 0, "bo+dee"},
		{"she loses company", "ana bo+dee chen", "ana dee chen", 0, "dee"},
		{"company in another order", "ana bo+dee", "ana dee+bo", 0, "dee+bo"},
	} {
		got := position{users: line(c.before), entry: 1}.carry(line(c.after), c.handoffs)
		if who := strings.Join(got.entryUsers(), "+"); who != c.want {
			t.Errorf("%s (%s → %s): %s has the turn, want %s", c.about, c.before, c.after, who, c.want)
		}
	}
	// Who is named twice keeps their place by repetition.
	got := position{users: line("ana bo ana chen"), entry: 2}.carry(line("ana bo ana dee"), 1)
	if who := strings.Join(got.entryUsers(), "+"); who != "dee" {
		t.Errorf("after the second of ana's turns comes %s, want dee", who)
	}
	if p := (position{users: line("ana bo"), entry: 1}).carry(nil, 0).carry(line("ana bo chen"), 0); p.entry != 1 {
		t.Errorf("after a time without anybody the line goes on with %v, want bo", p.entryUsers())
	}
}
