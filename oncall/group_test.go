package oncall_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

func TestNextTick(t *testing.T) {
	anchor := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ at, want time.Duration }{
		{-time.Hour, 5 * time.Minute},
		{0, 5 * time.Minute},
		{time.Minute, 5 * time.Minute},
		{5 * time.Minute, 5 * time.Minute},
		{5*time.Minute + 1, 10 * time.Minute},
		{30 * 24 * time.Hour, 30 * 24 * time.Hour},
		{30*24*time.Hour + 1, 30*24*time.Hour + 5*time.Minute},
	} {
		if got := oncall.NextTick(anchor, 5*time.Minute, anchor.Add(tc.at)); !got.Equal(anchor.Add(tc.want)) {
			t.Errorf("after %s the next flush is at %s, want %s", tc.at, got.Sub(anchor), tc.want)
		}
	}
	if got := oncall.NextTick(anchor, 0, anchor.Add(time.Hour)); got.Before(anchor.Add(time.Hour)) {
		t.Errorf("without an interval: %s", got)
	}
}

// flushCase writes members and notices as words: a firing, -a resolved, (a) muted; fingerprints are letters.
type flushCase struct {
	name         string
	members      string
	told         map[string]string // by endpoint: what it was last told, "|a" for Told
	sending      map[string]string // what is being sent there, "!a" in flight, "?a" may have arrived, "a" neither
	noResolved   bool              // the second endpoint is not sent resolved ones
	timed        bool
	since        time.Duration // since the alerts resolved
	want         []string
	overtaken    int
	forget, owed string // forgotten; Told of the first delivery
}

func TestFlushGroup(t *testing.T) {
	for _, tc := range []flushCase{
		{name: "first", members: "a b", want: []string{"1 FirstNotification a b", "2 FirstNotification a b"}},
		{name: "only resolved ones of which nobody knows", members: "-a", forget: "a"},
		{name: "muted", members: "(a)"},
		{name: "nothing new", members: "a", told: map[string]string{"1": "a", "2": "a"}},
		{name: "one was not told", members: "a", told: map[string]string{"1": "a"}, want: []string{"2 FirstNotification a"}},
		{name: "one resolved", members: "a -b", told: map[string]string{"1": "a b", "2": "a b"},
			want: []string{"1 NewResolvedAlerts a -b", "2 NewResolvedAlerts a -b"}},
		{name: "it resolved and all were told", members: "a -b", told: map[string]string{"1": "a -b", "2": "a -b"}, forget: "b"},
		{name: "without send_resolved it is forgotten", noResolved: true, members: "a -b", told: map[string]string{"1": "a -b", "2": "a b"}, forget: "b"},
		{name: "without send_resolved the end is not sent, and counts", noResolved: true, members: "-a",
			told: map[string]string{"1": "-a", "2": "a"}, forget: "a"},
		{name: "resolved while muted", members: "a (-b)", told: map[string]string{"1": "a b", "2": "a"}, want: []string{"1 NewResolvedAlerts a -b"}},
		{name: "resolved while all is muted", members: "(a) (-b)", told: map[string]string{"1": "a b", "2": "a b"},
			want: []string{"1 AllAlertsResolved -b", "2 AllAlertsResolved -b"}, owed: "a"},
		{name: "resolved while muted, nobody knew", members: "(-a)", forget: "a"},
		{name: "left out when muted", members: "(a) b", told: map[string]string{"1": "a", "2": "b"}, want: []string{"1 NewAlertsInGroup b"}, owed: "a"},
		{name: "left out, then resolved", members: "-a b", told: map[string]string{"1": "b|a", "2": "b"}, want: []string{"1 NewResolvedAlerts -a b", "2 NewResolvedAlerts -a b"}},
		{name: "all left out, then resolved", members: "(-a)", told: map[string]string{"1": "|a"}, want: []string{"1 AllAlertsResolved -a"}},
		{name: "time interval", timed: true, members: "a"},
		{name: "time interval keeps what is owed", timed: true, since: 60 * time.Hour, members: "-a -b", told: map[string]string{"1": "a"}, forget: "b"},
		{name: "nobody takes it for a day", since: 25 * time.Hour, members: "-a", told: map[string]string{"1": "a", "2": ""},
			want: []string{"1 AllAlertsResolved -a"}, forget: "a"},
		{name: "an attempt is under way", members: "a b", told: map[string]string{"2": "a b"}, sending: map[string]string{"1": "!a"}, want: []string{"1 later"}},
		{name: "an attempt is under way, and what it tells resolved", members: "-a", sending: map[string]string{"1": "!a"}, want: []string{"1 later"}},
		{name: "overtaken", members: "a b", told: map[string]string{"2": "a b"}, sending: map[string]string{"1": "a"}, overtaken: 1,
			want: []string{"1 FirstNotification a b"}},
		{name: "overtaken by nothing: it resolved before anybody knew", members: "-a", sending: map[string]string{"1": "a"}, overtaken: 1, forget: "a"},
		{name: "overtaken, and may have arrived", members: "-a", sending: map[string]string{"1": "?a"}, overtaken: 1,
			want: []string{"1 AllAlertsResolved -a"}},
		{name: "fires again, and its end may have arrived", members: "a b", told: map[string]string{"1": "a b", "2": "a b"},
			sending: map[string]string{"1": "?b -a"}, overtaken: 1, want: []string{"1 NewAlertsInGroup a b"}},
		{name: "fires again, and its end did not arrive", members: "a b", told: map[string]string{"1": "a b", "2": "a b"},
			sending: map[string]string{"1": "b -a"}, overtaken: 1},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t) })
	}
}

// TestSettleGroup: what a notification that is still to be tried again tells of must not be forgotten.
func TestSettleGroup(t *testing.T) {
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		flushCase
		forget string
	}{
		{flushCase{members: "-a b", sending: map[string]string{"1": "a b"}}, ""},
		{flushCase{members: "-a b", told: map[string]string{"1": "b -a", "2": "b"}}, "a"},
		{flushCase{members: "-a -b", told: map[string]string{"1": "b"}}, "a"},
		{flushCase{members: "-a", noResolved: true, told: map[string]string{"2": "a"}}, "a"},
	} {
		f := oncall.SettleGroup(now, tc.state(now))
		if got := letters(f.Forget); got != tc.forget || f.Changed || len(f.Deliveries)+len(f.Overtaken) > 0 {
			t.Errorf("%+v: forgets %q, want %q; and says %+v", tc.flushCase, got, tc.forget, f)
		}
	}
}

func fingerprints(words string) (firing, resolved []uint64) {
	for _, w := range strings.Fields(words) {
		if name, ok := strings.CutPrefix(w, "-"); ok {
			resolved = append(resolved, uint64(name[0]))
		} else {
			firing = append(firing, uint64(w[0]))
		}
	}
	return firing, resolved
}

func noticeOf(words string, at time.Time) oncall.Notice {
	n := oncall.Notice{At: at}
	known, told, _ := strings.Cut(words, "|")
	n.Firing, n.Resolved = fingerprints(known)
	n.Told, _ = fingerprints(told)
	return n
}

func (tc flushCase) state(now time.Time) oncall.GroupState {
	s := oncall.GroupState{
		Route:  &oncall.Route{ID: "{}", Key: "{}", Receiver: "team", RepeatInterval: time.Hour},
		Record: oncall.GroupRecord{Key: "{}:{}", Anchor: now.Add(-time.Minute), Notified: map[oncall.Endpoint]oncall.Notice{}}, Sending: map[oncall.Endpoint]oncall.GroupSending{},
		Integrations: []oncall.Integration{{Endpoint: "1", SendResolved: true}, {Endpoint: "2", SendResolved: !tc.noResolved}},
	}
	if tc.timed {
		s.MutedBy = []string{"night"}
	}
	for _, w := range strings.Fields(tc.members) {
		m := oncall.GroupMember{Firing: true}
		if in, ok := strings.CutPrefix(w, "("); ok {
			m.Muted, w = true, strings.TrimSuffix(in, ")")
		}
		if in, ok := strings.CutPrefix(w, "-"); ok {
			m.Firing, w = false, in
		}
		m.Alert = &oncall.ActiveAlert{Fingerprint: uint64(w[0]), Labels: labels.FromStrings("n", w), EndsAt: now.Add(-tc.since).UnixMicro()}
		s.Members = append(s.Members, m)
	}
	for e, words := range tc.told {
		s.Record.Notified[oncall.Endpoint(e)] = noticeOf(words, now.Add(-time.Minute))
	}
	for e, words := range tc.sending {
		name := strings.TrimLeft(words, "!?")
		s.Sending[oncall.Endpoint(e)] = oncall.GroupSending{
			Delivery: oncall.GroupDelivery{Key: "old", Endpoint: oncall.Endpoint(e), Notice: noticeOf(name, now)},
			InFlight: words[0] == '!', Unconfirmed: words[0] == '?',
		}
	}
	return s
}

func (tc flushCase) run(t *testing.T) {
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	f := oncall.FlushGroup(now, tc.state(now))
	var got []string
	for _, d := range f.Deliveries {
		line := string(d.Endpoint) + " " + d.Reason
		for _, a := range d.Alerts {
			if a.EndsAt.IsZero() {
				line += " " + a.Labels.Get("n")
			} else {
				line += " -" + a.Labels.Get("n")
			}
		}
		got = append(got, line)
		if d.Firing+d.Resolved != len(d.Alerts) || d.State != oncall.DeliveryQueued {
			t.Errorf("%+v", d)
		}
	}
	for _, e := range f.Deferred {
		got = append(got, string(e)+" later")
	}
	if !slices.Equal(got, tc.want) {
		t.Errorf("it says\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tc.want, "\n  "))
	}
	if len(f.Overtaken) != tc.overtaken {
		t.Errorf("%d are overtaken, want %d", len(f.Overtaken), tc.overtaken)
	}
	if got := letters(f.Forget); got != tc.forget {
		t.Errorf("forgets %q, want %q", got, tc.forget)
	}
	owed := ""
	if len(f.Deliveries) > 0 {
		owed = letters(f.Deliveries[0].Notice.Told)
	}
	if owed != tc.owed {
		t.Errorf("owes %q, want %q", owed, tc.owed)
	}
}

func letters(fps []uint64) string {
	s := ""
	for _, fp := range fps {
		s += fmt.Sprintf("%c", rune(fp))
	}
	return s
}
