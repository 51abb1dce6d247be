package oncall

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// rota is a week each of ana and bo, since Monday 2 March 2026, nine o'clock in Madrid.
func rota(t *testing.T) (p Policy, monday time.Time) {
	t.Helper()
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	monday = time.Date(2026, 3, 2, 9, 0, 0, 0, madrid)
	reachable := []Contact{{Slack: "dm"}}
	return Policy{
		Users: map[string]User{"ana": {Name: "ana", Contacts: reachable}, "bo": {Name: "bo", Contacts: reachable}, "mute": {Name: "mute"}},
		Schedules: map[string]Schedule{"primary": {Name: "primary", TimeZone: madrid, Layers: []Layer{{Name: "weekly", Rosters: []Roster{{
			From: monday, Users: [][]string{{"ana"}, {"bo"}}, Rotation: Rotation{Every: 7 * day, Anchor: monday},
		}}}}}},
	}, monday
}

func TestPlanOverride(t *testing.T) {
	p, monday := rota(t)
	now := monday.Add(time.Hour)
	good := OverrideWish{Schedule: "primary", User: "bo", For: 2 * time.Hour, Actor: "dee", Reason: " dentist "}
	o, err := p.PlanOverride(good, now)
	if err != nil || o.Kind != OverrideReplace || !o.From.Equal(now) || !o.To.Equal(now.Add(2*time.Hour)) || o.Reason != "dentist" || o.Author != "dee" {
		t.Errorf("%+v, %v", o, err)
	}
	s := p.Schedules["primary"]
	if got := s.Said(o); got != "primary: bo is on call instead of whoever would be from Mon 2 Mar 2026 10:00 CET until Mon 2 Mar 2026 12:00 CET" {
		t.Error(got)
	}
	for _, c := range []struct {
		change func(*OverrideWish)
		code   Code
		want   string
	}{
		{func(w *OverrideWish) { w.Schedule = "primray" }, CodeNotFound, `there is no schedule "primray" (did you mean "primary"?)`},
		{func(w *OverrideWish) { w.Schedule = "" }, CodeInvalid, "name a schedule: primary"},
		{func(w *OverrideWish) { w.User = "boo" }, CodeNotFound, `there is no user "boo" (did you mean "bo"?)`},
		{func(w *OverrideWish) { w.User = "mute" }, CodeInvalid, "mute cannot be on call"},
		{func(w *OverrideWish) { w.User = "ana" }, CodeConflict, "nothing would change: ana is on call anyway"},
		{func(w *OverrideWish) { w.User, w.Replaces = "ana", "bo" }, CodeConflict, "nothing would change: bo is not on call then"},
		{func(w *OverrideWish) { w.Kind = OverrideRemove }, CodeConflict, "nothing would change: bo is not on call then"},
		{func(w *OverrideWish) { w.Kind = "swap" }, CodeInvalid, "unknown kind"},
		{func(w *OverrideWish) { w.For = 0 }, CodeInvalid, "how long"},
		{func(w *OverrideWish) { w.To = now.Add(time.Hour) }, CodeInvalid, "not both"},
		{func(w *OverrideWish) { w.For, w.From, w.To = 0, now.Add(-3*time.Hour), now.Add(-2*time.Hour) }, CodeInvalid, "has passed"},
		{func(w *OverrideWish) { w.From = now.Add(-time.Hour) }, CodeInvalid, "who was on call is not rewritten"},
		{func(w *OverrideWish) { w.Reason = strings.Repeat("x", 501) }, CodeInvalid, "at most 500 bytes"},
		{func(w *OverrideWish) { w.For = 400 * day }, CodeInvalid, "at most a year"},
	} {
		w := good
		c.change(&w)
		if _, err := p.PlanOverride(w, now); ErrorCode(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", w, err, c.want)
		}
	}
	w := good
	w.From = now.Add(-time.Minute)
	if o, err := p.PlanOverride(w, now); err != nil || !o.From.Equal(now) {
		t.Errorf("what has just passed is not cut: %+v, %v", o, err)
	}
	// Somebody who has left can still be taken off call.
	delete(p.Users, "ana")
	if _, err := p.PlanOverride(OverrideWish{Schedule: "primary", Kind: OverrideRemove, User: "ana", For: time.Hour}, now); err != nil {
		t.Error(err)
	}
}

func TestPlanSwap(t *testing.T) {
	p, monday := rota(t)
	now := monday.Add(26 * time.Hour)
	midnight := func(days int) time.Time { return time.Date(2026, 3, 2+days, 0, 0, 0, 0, monday.Location()) }
	swap, err := p.PlanSwap(SwapWish{Schedule: "primary", Mine: Turn{"ana", now, false}, Theirs: Turn{"bo", midnight(7), true}, Actor: "ana"}, now)
	if err != nil || len(swap) != 2 {
		t.Fatal(swap, err)
	}
	// Of ana's week under way the rest, for all of bo's.
	next := monday.AddDate(0, 0, 7)
	if a, b := swap[0], swap[1]; a.User != "bo" || a.Replaces != "ana" || !a.From.Equal(now) || !a.To.Equal(next) ||
		b.User != "ana" || b.Replaces != "bo" || !b.From.Equal(next) || !b.To.Equal(monday.AddDate(0, 0, 14)) {
		t.Errorf("%+v", swap)
	}
	for _, c := range []struct {
		mine, theirs Turn
		want         string
	}{
		{Turn{"ana", midnight(9), true}, Turn{"bo", midnight(7), true}, "ana is not on call on Wed 11 Mar 2026 by primary"},
		{Turn{"ana", now, false}, Turn{"bo", now, false}, "bo is not on call"},
		{Turn{"ana", now, false}, Turn{"ana", midnight(14), true}, "ana cannot replace ana"},
		{Turn{"ana", now, false}, Turn{"cy", midnight(14), true}, `there is no user "cy"`},
		{Turn{"ana", monday, false}, Turn{"bo", midnight(7), true}, ""}, // what has passed of it is passed over
	} {
		_, err := p.PlanSwap(SwapWish{Schedule: "primary", Mine: c.mine, Theirs: c.theirs}, now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v for %v: %v, want %s", c.mine, c.theirs, err, c.want)
		}
	}
}

// TestSwapByDay: on a day of handoff a day means the turn that begins, and what only ends is not guessed at.
func TestSwapByDay(t *testing.T) {
	p, monday := rota(t)
	// By night, beside the weeks: ana on even nights, bo on odd ones, from ten to six.
	handoffs, err := ParseCron("0 6,22 * * *")
	if err != nil {
		t.Fatal(err)
	}
	night := monday.Add(-11 * time.Hour)
	p.Schedules["nights"] = Schedule{Name: "nights", TimeZone: monday.Location(), Layers: []Layer{{Name: "night", Rosters: []Roster{{
		From: night, Users: [][]string{{"ana"}, {}, {"bo"}, {}}, Rotation: Rotation{Handoff: handoffs},
	}}}}}
	p.Overrides = []Override{ // mute beside ana for two hours on Wednesday: ana's turn goes on
		{ID: "1", Schedule: "primary", Kind: OverrideAdd, User: "mute", From: monday.Add(49 * time.Hour), To: monday.Add(51 * time.Hour)},
		// and bo instead of ana on Friday morning: ana's turn is in two parts
		{ID: "2", Schedule: "primary", Kind: OverrideReplace, User: "bo", Replaces: "ana", From: monday.Add(97 * time.Hour), To: monday.Add(99 * time.Hour)},
	}
	now := monday.Add(-12 * time.Hour)
	const form = "2006-01-02T15:04"
	for _, c := range []struct{ schedule, user, day, now, want string }{
		{"primary", "bo", "2026-03-09", "", "2026-03-09T09:00 2026-03-16T09:00"},
		{"primary", "ana", "2026-03-16", "", "2026-03-16T09:00 2026-03-23T09:00"},
		{"primary", "ana", "2026-03-16", "2026-03-16T12:00", "2026-03-16T12:00 2026-03-23T09:00"}, // today, after it began
		{"primary", "bo", "2026-03-11", "", "2026-03-09T09:00 2026-03-16T09:00"},                  // goes on all day
		{"primary", "ana", "2026-03-09", "", "ana's turn ends on Mon 9 Mar 2026 at 09:00, and a day means the turn that begins on it: for the one that ends, say a time in it, such as 2026-03-09T08:59"},
		{"primary", "ana", "2026-03-09", "2026-03-09T08:00", "ana's turn ends on Mon 9 Mar 2026 at 09:00"},
		{"primary", "ana", "2026-03-09", "2026-03-09T10:00", "ana is not on call on Mon 9 Mar 2026 by primary"}, // it is over
		{"primary", "ana", "2026-03-09T08:59", "", "2026-03-06T12:00 2026-03-09T09:00"},
		{"primary", "ana", "2026-03-04", "", "2026-03-02T09:00 2026-03-06T10:00"}, // not the hours beside mute
		{"primary", "mute", "2026-03-04", "", "2026-03-04T10:00 2026-03-04T12:00"},
		{"primary", "ana", "2026-03-06", "", "2026-03-06T12:00 2026-03-09T09:00"}, // the part that begins
		{"primary", "bo", "2026-03-06", "", "2026-03-06T10:00 2026-03-06T12:00"},
		{"nights", "ana", "2026-03-01", "", "2026-03-01T22:00 2026-03-02T06:00"},
		{"nights", "ana", "2026-03-02", "", "ana's turn ends on Mon 2 Mar 2026 at 06:00"},
		{"nights", "bo", "2026-03-02", "", "2026-03-02T22:00 2026-03-03T06:00"},
		{"nights", "ana", "2026-03-03", "", "2026-03-03T22:00 2026-03-04T06:00"},
	} {
		s := p.Schedules[c.schedule]
		turn := Turn{User: c.user}
		if turn.At, turn.Day, err = s.ParseWhen(c.day); err != nil {
			t.Fatal(err)
		}
		at := now
		if c.now != "" {
			at, _, _ = s.ParseWhen(c.now)
		}
		period, err := p.turn(&s, turn, at)
		got := period.From.In(s.TimeZone).Format(form) + " " + period.To.In(s.TimeZone).Format(form)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, %s@%s: %s, want %s", c.schedule, c.user, c.day, got, c.want)
		}
	}
}

func TestEndOverride(t *testing.T) {
	p, monday := rota(t)
	o, err := p.PlanOverride(OverrideWish{Schedule: "primary", User: "bo", From: monday.Add(2 * time.Hour), For: 4 * time.Hour}, monday)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Schedules["primary"]
	for _, c := range []struct {
		at   time.Duration
		long time.Duration // that bo is on call
		code Code
	}{{time.Hour, 0, ""}, {2 * time.Hour, 0, ""}, {3 * time.Hour, time.Hour, ""}, {6 * time.Hour, 4 * time.Hour, CodeConflict}} {
		ended, err := o.End("cy", monday.Add(c.at))
		if ErrorCode(err) != c.code {
			t.Errorf("after %s: %v", c.at, err)
		}
		var long time.Duration
		for _, shift := range s.Shifts([]Override{ended}, monday, monday.Add(day)) {
			if shift.Who() == "bo" {
				long += shift.To.Sub(shift.From)
			}
		}
		if long != c.long {
			t.Errorf("after %s: bo is on call for %s, want %s", c.at, long, c.long)
		}
		if err == nil {
			if _, err = ended.End("dee", monday.Add(c.at+1)); ErrorCode(err) != CodeConflict || !strings.Contains(err.Error(), "ended by cy already") {
				t.Errorf("twice: %v", err)
			}
		}
	}
}

// TestHandoffs walks through what is announced, whatever changes who is on call.
func TestHandoffs(t *testing.T) {
	p, monday := rota(t)
	s := p.Schedules["primary"]
	s.NotifySlack = "#session" // without a channel there is nothing to send
	p.Schedules["primary"] = s
	at := monday.Add(time.Hour)
	first, ok := p.HandoffAt("primary", Handoff{}, at)
	if !ok || first.State != DeliveryDropped || first.On[0] != "ana" || first.NextAt != (time.Time{}) {
		t.Fatalf("what is so at first is announced: %+v", first)
	}
	if _, ok := p.HandoffAt("primary", first, monday.AddDate(0, 0, 7).Add(-1)); ok {
		t.Error("announced without a change")
	}
	week, ok := p.HandoffAt("primary", first, monday.AddDate(0, 0, 9)) // two days late
	if !ok || week.State != DeliveryQueued || !week.At.Equal(monday.AddDate(0, 0, 7)) || week.Off[0] != "ana" || week.On[0] != "bo" ||
		!week.Until.Equal(monday.AddDate(0, 0, 14)) || week.Why != "layer weekly" {
		t.Errorf("%+v", week)
	}
	again, _ := p.HandoffAt("primary", first, monday.AddDate(0, 0, 10))
	if again.Key != week.Key || again.Key == first.Key {
		t.Error("the key is not stable")
	}
	// An override takes effect, and is ended: both are changes.
	p.Overrides = []Override{{ID: "1", Schedule: "primary", Kind: OverrideAdd, User: "ana", From: monday.AddDate(0, 0, 9), To: monday.AddDate(0, 0, 12), CreatedAt: at}}
	both, ok := p.HandoffAt("primary", week, monday.AddDate(0, 0, 10))
	if !ok || len(both.On) != 2 || len(both.Off) != 0 || !both.At.Equal(monday.AddDate(0, 0, 9)) {
		t.Errorf("%+v", both)
	}
	p.Overrides = nil
	ended, ok := p.HandoffAt("primary", both, monday.AddDate(0, 0, 11))
	if !ok || ended.Off[0] != "ana" || !ended.At.Equal(monday.AddDate(0, 0, 11)) || ended.Key == week.Key {
		t.Errorf("%+v", ended)
	}
	failed := ended.After(ended.At.Add(time.Second), Attempt{Number: 1, Outcome: OutcomeRetry, Error: "503"})
	if failed.State != DeliveryQueued || !failed.NextAt.Equal(ended.At.Add(2*time.Second)) || failed.Error != "503" {
		t.Errorf("%+v", failed)
	}
	if done := failed.After(ended.At.Add(3*time.Second), Attempt{Number: 2, Outcome: OutcomeDelivered}); done.State != DeliveryDelivered || done.DoneAt.IsZero() || done.Error != "" {
		t.Errorf("%+v", done)
	}
	if _, ok := p.HandoffAt("gone", first, at); ok {
		t.Error("a schedule that is gone is announced")
	}
}

func TestParseWhen(t *testing.T) {
	p, _ := rota(t)
	s := p.Schedules["primary"]
	for text, want := range map[string]string{
		"2026-03-02":           "2026-03-02T00:00:00+01:00 day",
		" 2026-03-02T09:30 ":   "2026-03-02T09:30:00+01:00",
		"2026-03-02T09:30:00Z": "2026-03-02T10:30:00+01:00",
		"2026-03-29 02:30":     "2026-03-29T03:00:00+02:00", // the wall skips it
		"monday":               "", "": "", "1066-10-14": "",
	} {
		at, dayOnly, err := s.ParseWhen(text)
		got := at.Format(time.RFC3339)
		if dayOnly {
			got += " day"
		}
		if (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
}

// TestStartOfDay: a day begins at its first instant, also where clocks skip midnight.
func TestStartOfDay(t *testing.T) {
	for _, c := range []struct{ zone, day, want string }{
		{"Europe/Madrid", "2026-03-29", "2026-03-29T00:00:00+01:00"},
		{"Africa/Cairo", "2023-04-28", "2023-04-28T01:00:00+03:00"},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00"},
		{"Atlantic/Azores", "2026-03-29", "2026-03-29T01:00:00Z"},
		{"America/Havana", "2026-11-01", "2026-11-01T00:00:00-04:00"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.Parse(time.DateOnly, c.day)
		if err != nil {
			t.Fatal(err)
		}
		if got := StartOfDay(day.Add(12*time.Hour), loc).In(loc).Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s begins at %s, want %s", c.day, c.zone, got, c.want)
		}
	}
}

// TestOverridesHaveRoom: every override is looked at wherever its schedule is, so there may not be any number of them.
func TestOverridesHaveRoom(t *testing.T) {
	p, monday := rota(t)
	now := monday.Add(time.Hour)
	fill := func(n int, apart time.Duration) {
		p.Overrides = nil
		for i := range n {
			from := monday.Add(time.Duration(i) * apart)
			p.Overrides = append(p.Overrides, Override{ID: fmt.Sprint(i), Schedule: "primary", Kind: OverrideAdd, User: "x", From: from, To: from.Add(48 * time.Hour)})
		}
	}
	for _, c := range []struct {
		n     int
		apart time.Duration
		want  string
	}{
		{maxOverridesAtOnce - 1, time.Minute, ""},
		{maxOverridesAtOnce, time.Minute, "primary has 50 overrides at 2026-03-02T10:00:00+01:00"},
		{maxOverrides - 1, 48 * time.Hour, ""},
		{maxOverrides, 48 * time.Hour, "primary has 1000 overrides that have not ended"},
	} {
		fill(c.n, c.apart)
		_, err := p.PlanOverride(OverrideWish{Schedule: "primary", User: "bo", For: time.Hour, Actor: "dee"}, now)
		if c.want == "" && err != nil || c.want != "" && (ErrorCode(err) != CodeConflict || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d, %s apart: %v, want %q", c.n, c.apart, err, c.want)
		}
	}
}
