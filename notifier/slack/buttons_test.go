package slack

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// inMadrid is a workspace in which ana lives in Madrid.
func inMadrid(t *testing.T, a *acts) *workspace {
	t.Helper()
	w := newWorkspace(t, a, nil)
	p := testPolicy()
	ana := p.Users["ana"]
	loc, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	ana.Location = loc
	p.Users["ana"] = ana
	w.Adapter.policy = func() oncall.Policy { return p }
	return w
}

// chose chooses from a menu of a message and returns what the person was told in private.
func (w *workspace) chose(t *testing.T, m slacktest.Message, menu, option, user string) string {
	t.Helper()
	before := len(w.private(user))
	if a, err := w.slack.SelectAsSeen(t.Context(), tocsinURL, m, menu, option, user); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %+v, %v", option, a, err)
	}
	return strings.Join(w.private(user)[before:], "; ")
}

func TestMenus(t *testing.T) {
	quiet := []string{"Snooze for 30m", "Snooze for 1h", "Snooze for 4h", "Snooze until morning", "Snooze until it clears", "Snooze…",
		"Silence for 15m", "Silence for 1h", "Silence for 4h", "Silence until morning", "Silence…"}
	more := []string{"Assign…", "Add a responder…", "Merge into…", "Add a note…", "Why?"}
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newWorkspace(t, a, nil)
		for _, c := range []struct {
			do          oncall.CommandKind
			buttons     []string
			quiet, more []string
		}{
			{"", []string{actionAcknowledge, actionResolve, actionEscalate}, quiet, more},
			{oncall.CmdAcknowledge, []string{actionUnacknowledge, actionResolve}, quiet, more},
			{oncall.CmdResolve, nil, nil, more[3:]},
		} {
			if c.do != "" {
				if _, err := a.Act(t.Context(), 42, oncall.Command{Kind: c.do, Actor: "bo"}, string(c.do)); err != nil {
					t.Fatal(err)
				}
			}
			m := w.posted(t, 42)
			if got := m.Buttons(); !slices.Equal(got, c.buttons) {
				t.Errorf("after %q: the buttons are %q", c.do, got)
			}
			if got := m.Menus(); !slices.Equal(got[actionQuiet], c.quiet) || !slices.Equal(got[actionMore], c.more) {
				t.Errorf("after %q: the menus are %q", c.do, got)
			}
		}
	})
}

func TestSnoozeMenu(t *testing.T) {
	for option, want := range map[string]string{
		"Snooze for 30m":         "2000-01-01 00:30",
		"Snooze for 4h":          "2000-01-01 04:00",
		"Snooze until morning":   "2000-01-01 08:00", // nine in Madrid
		"Snooze until it clears": "0001-01-01 00:00",
	} {
		t.Run(option, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := inMadrid(t, newActs(open(42, time.Now(), fire(1, time.Now()))))
				m := w.posted(t, 42)
				if s := w.chose(t, m, actionQuiet, option, "U09EVE"); !strings.Contains(s, "does not know you") {
					t.Errorf("eve was told %q", s)
				}
				if s := w.chose(t, m, actionQuiet, option, "U02ANA"); s != "" {
					t.Errorf("told %q", s)
				}
				done := w.acts.committed()
				if len(done) != 1 || done[0].Kind != oncall.CmdSnooze || done[0].Actor != "ana" || done[0].Until.UTC().Format("2006-01-02 15:04") != want {
					t.Fatalf("committed %+v", done)
				}
				if clear := done[0].UntilClear.String(); (option == "Snooze until it clears") != (clear == `{service="session"}`) {
					t.Errorf("until %s clears", clear)
				}
				// The message is of before: bo sees what became of it, and nothing happens.
				if s := w.chose(t, m, actionQuiet, "Snooze for 1h", "U03BO"); !strings.Contains(s, "#42 is snoozed by now, until <!date^") {
					t.Errorf("bo was told %q", s)
				}
				// As it is shown now, it can be changed, and its menus have forgotten what was chosen.
				now := w.posted(t, 42)
				if string(now.Blocks) == string(m.Blocks) || !strings.Contains(string(now.Blocks), `"block_id":"tocsin_actions_2"`) {
					t.Errorf("the block keeps its name: %s", now.Blocks)
				}
				if s := w.chose(t, now, actionQuiet, "Snooze for 1h", "U03BO"); s != "" || len(w.acts.committed()) != 2 {
					t.Errorf("told %q", s)
				}
			})
		})
	}
}

func TestWhyInPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		for _, user := range []string{"U02ANA", "U09EVE"} { // looking is for everybody
			if s := w.chose(t, w.posted(t, 42), actionMore, "Why?", user); !strings.Contains(s, "#42 went to session-oncall") {
				t.Errorf("%s was told %q", user, s)
			}
		}
	})
}

// dialogCases is what is filled in, and what follows.
var dialogCases = map[string]struct {
	menu, option string
	before       oncall.CommandKind // by bo, between the opening and the sending
	fill         map[string]string
	complaint    string // at the dialog's field
	done         string // kind, user, number or text of the command
	fallback     string // what to type instead
}{
	"snooze":         {actionQuiet, "Snooze…", "", map[string]string{blockFor: "until 9:00"}, "", "snooze 2000-01-01T08:00:00Z", "snooze #42 2h"},
	"snooze wrong":   {actionQuiet, "Snooze…", "", map[string]string{blockFor: "a while"}, "Write for how long", "", "snooze #42 2h"},
	"snooze long":    {actionQuiet, "Snooze…", "", map[string]string{blockFor: "60d"}, "at most 30d", "", "snooze #42 2h"},
	"snooze stale":   {actionQuiet, "Snooze…", oncall.CmdAcknowledge, map[string]string{blockFor: "2h"}, "#42 is acknowledged by now, by bo. So nothing was changed.", "", "snooze #42 2h"},
	"assign":         {actionMore, "Assign…", "", map[string]string{blockUser: "U03BO"}, "", "assign bo", "assign #42 @user"},
	"assign nobody":  {actionMore, "Assign…", "", map[string]string{}, "Choose somebody", "", "assign #42 @user"},
	"assign unknown": {actionMore, "Assign…", "", map[string]string{blockUser: "U09EVE"}, "is no user of tocsin", "", "assign #42 @user"},
	"assign stale":   {actionMore, "Assign…", oncall.CmdAcknowledge, map[string]string{blockUser: "U02ANA"}, "by bo", "", "assign #42 @user"},
	"add":            {actionMore, "Add a responder…", "", map[string]string{blockUser: "U03BO"}, "", "add bo", "add #42 @user"},
	"add to another": {actionMore, "Add a responder…", oncall.CmdAcknowledge, map[string]string{blockUser: "U03BO"}, "", "add bo", "add #42 @user"},
	"add too late":   {actionMore, "Add a responder…", oncall.CmdResolve, map[string]string{blockUser: "U03BO"}, "already resolved by bo", "", "add #42 @user"},
	"note":           {actionMore, "Add a note…", oncall.CmdAcknowledge, map[string]string{blockComment: "it was <the> cache"}, "", "note it was <the> cache", "note #42 text"},
	"note empty":     {actionMore, "Add a note…", "", map[string]string{blockComment: " "}, "needs a text", "", "note #42 text"},
	"merge":          {actionMore, "Merge into…", "", map[string]string{blockInto: "#41"}, "", "merge 41", "merge #42 into #n"},
	"merge nothing":  {actionMore, "Merge into…", "", map[string]string{}, "Choose an incident", "", "merge #42 into #n"},
	"merge stale":    {actionMore, "Merge into…", oncall.CmdAcknowledge, map[string]string{blockInto: "#41"}, "by bo", "", "merge #42 into #n"},
}

func shown(c oncall.Command) string {
	switch c.Kind {
	case oncall.CmdSnooze:
		return "snooze " + c.Until.UTC().Format(time.RFC3339)
	case oncall.CmdMerge:
		return "merge " + string(rune('0'+c.Into/10)) + string(rune('0'+c.Into%10))
	}
	return string(c.Kind) + " " + c.User + c.Text
}

func TestDialogs(t *testing.T) {
	for name, c := range dialogCases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newActs(two()...)
				w := inMadrid(t, a)
				m := w.posted(t, 42)
				if s := w.chose(t, m, c.menu, c.option, "U02ANA"); s != "" {
					t.Fatalf("told %q", s)
				}
				v := w.slack.Views()[0]
				if len(a.committed()) != 0 || !strings.HasSuffix(v.Title, "#42") {
					t.Errorf("%+v, committed %+v", v, a.committed())
				}
				skip := 0
				if c.before != "" {
					if _, err := a.Act(t.Context(), 42, oncall.Command{Kind: c.before, Actor: "bo"}, "bo"); err != nil {
						t.Fatal(err)
					}
					skip = 1
				}
				for i := range 2 { // Slack, or an impatient thumb, sends it twice
					if i == 1 && name == "snooze" {
						c.complaint = "#42 is snoozed by now, until 08:00 UTC" // it is seen before the request is
					}
					_, complaints, err := w.slack.Submit(t.Context(), tocsinURL, v, c.fill, "U02ANA")
					if err != nil {
						t.Fatal(err)
					}
					got := strings.Join(slices.Collect(mapsValues(complaints)), "; ")
					if (c.complaint == "") != (got == "") || !strings.Contains(got, c.complaint) || strings.ContainsAny(got, "`*<") {
						t.Errorf("complained %q", got)
					}
					if c.complaint != "" {
						break
					}
				}
				done := a.committed()[skip:]
				if c.done == "" && len(done) != 0 || c.done != "" && (len(done) != 1 || shown(done[0]) != c.done || done[0].Actor != "ana") {
					t.Errorf("committed %+v", done)
				}
				if c.done != "" && c.complaint == "" && !strings.Contains(string(w.slack.Views()[0].Replaced), "answered before") {
					t.Errorf("the second time it shows %s", w.slack.Views()[0].Replaced)
				}
				// Eve may not, and where Slack opens nothing, the slash command is offered.
				if s := w.chose(t, m, c.menu, c.option, "U09EVE"); !strings.Contains(s, "does not know you") {
					t.Errorf("eve was told %q", s)
				}
				w.slack.Fail(slacktest.Fault{Method: "views.open", Stage: slacktest.Before, Error: "expired_trigger_id"})
				if s := w.chose(t, m, c.menu, c.option, "U02ANA"); !strings.Contains(s, "/tocsin "+c.fallback) && !strings.Contains(s, "resolved by now") {
					t.Errorf("told %q", s)
				}
			})
		})
	}
}

func mapsValues(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// TestDialogCorrected shows that a refusal does not use up the dialog.
func TestDialogCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(two()...)
		w := newWorkspace(t, a, nil)
		w.chose(t, w.posted(t, 42), actionMore, "Assign…", "U02ANA")
		v := w.slack.Views()[0]
		for user, want := range map[string]string{"U09EVE": "no user", "U03BO": ""} {
			_, complaints, err := w.slack.Submit(t.Context(), tocsinURL, v, map[string]string{blockUser: user}, "U02ANA")
			if err != nil || !strings.Contains(complaints[blockUser], want) || (want == "") != (len(complaints) == 0) {
				t.Errorf("%s: %v, %v", user, complaints, err)
			}
		}
		// What could not be written down may be sent again.
		w.chose(t, w.posted(t, 42), actionMore, "Add a note…", "U02ANA")
		v = w.slack.Views()[1]
		a.fail = oncall.Errorf(oncall.CodeUnavailable, "disk full at /var/lib")
		for _, want := range []string{"not confirmed", ""} {
			_, complaints, err := w.slack.Submit(t.Context(), tocsinURL, v, map[string]string{blockComment: "x"}, "U02ANA")
			if got := complaints[blockComment]; err != nil || !strings.Contains(got, want) || (want == "") != (got == "") || strings.Contains(got, "/var") {
				t.Errorf("%q, %v", got, err)
			}
			a.fail = nil
		}
		if n := len(a.committed()); n != 2 {
			t.Errorf("committed %+v", a.committed())
		}
	})
}

func TestMergeWithNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(two()[:1]...), nil)
		if s := w.chose(t, w.posted(t, 41), actionMore, "Merge into…", "U02ANA"); !strings.Contains(s, "no other incident is open") {
			t.Errorf("told %q", s)
		}
	})
}

func TestSilenceUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMadrid(t, newActs(two()...))
		m := w.posted(t, 42)
		w.chose(t, m, actionQuiet, "Silence until morning", "U02ANA")
		w.chose(t, m, actionQuiet, "Silence…", "U02ANA")
		views := w.slack.Views()
		<-time.After(time.Minute) // what was chosen holds, however long the reason takes
		if _, c, err := w.slack.Submit(t.Context(), tocsinURL, views[0], map[string]string{blockComment: "night"}, "U02ANA"); err != nil || len(c) != 0 {
			t.Errorf("%v, %v", c, err)
		}
		if _, c, err := w.slack.Submit(t.Context(), tocsinURL, views[1], map[string]string{blockComment: "x", blockFor: "soon"}, "U02ANA"); err != nil || c[blockFor] == "" {
			t.Errorf("%v, %v", c, err)
		}
		if _, c, err := w.slack.Submit(t.Context(), tocsinURL, views[1], map[string]string{blockComment: "x", blockFor: "90 min"}, "U02ANA"); err != nil || len(c) != 0 {
			t.Errorf("%v, %v", c, err)
		}
		want := []string{`#42 7h59m0s {service="session"} ana: night`, `#42 1h30m0s {service="session"} ana: x`}
		if got := w.acts.silences(); !slices.Equal(got, want) {
			t.Errorf("silenced %q", got)
		}
	})
}

func FuzzChoice(f *testing.F) {
	for _, s := range []string{`{"n":42,"do":"snooze","for":"30m"}`, `{"n":1}`, `{"n":-1}`, `null`, `{"n":1,"do":"x"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := choiceOf(s)
		if err == nil && (c.Number <= 0 || c.Do == "") {
			t.Errorf("nonsense was understood: %+v", c)
		}
	})
}
