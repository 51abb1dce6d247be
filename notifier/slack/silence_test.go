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

func TestSilenceCommand(t *testing.T) {
	const session = `{service="session"}`
	for text, c := range map[string]struct {
		answer   string
		silenced string
	}{
		"silence #42 2h deploying 4.2":                   {"#42 is silenced", "#42 2h0m0s " + session + " ana: deploying 4.2"},
		"silence 42 for 90 minutes: <@U03BO|bo> &amp; I": {"#42 is silenced", "#42 1h30m0s " + session + " ana: @bo & I"},
		"MUTE 42 1h30m restarting":                       {"#42 is silenced", "#42 1h30m0s " + session + " ana: restarting"},
		"silence 42 1 day 2 hrs, 3 days of work":         {"#42 is silenced", "#42 26h0m0s " + session + " ana: 3 days of work"},
		"silence 42 0.5h x":                              {"#42 is silenced", "#42 30m0s " + session + " ana: x"},
		"silence 42 2h":                                  {"Why? A silence needs a reason", ""},
		"silence 42":                                     {"For how long, and why?", ""},
		"silence":                                        {"Which incident?", ""},
		"silence 2h deploy":                              {"`2h` is no incident", ""},
		"silence 42 deploy":                              {"is no duration", ""},
		"silence 42 0h deploy":                           {"is no duration", ""},
		"silence 42 40d deploy":                          {"at most 30d", ""},
		"silence 42 99999999999999999999w deploy":        {"at most 30d", ""},
		"silence 42 every monday 02:00 for a while":      {"time_intervals", ""},
		"silence 99 2h deploy":                           {"there is no incident #99", ""},
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
				a, err := w.slack.Command(t.Context(), tocsinURL, text, "U02ANA")
				if err != nil || !strings.Contains(a.Text, c.answer) {
					t.Errorf("%v, answered %q", err, a.Text)
				}
				if got := strings.Join(w.acts.silences(), "; "); got != c.silenced {
					t.Errorf("silenced %q", got)
				}
			})
		})
	}
}

func TestSilenceReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		first, err := w.slack.Command(t.Context(), tocsinURL, "silence 42 1h deploy", "U02ANA")
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.slack.Send(t.Context(), first.Request)
		if err != nil || !strings.Contains(again.Body, "done before") || len(w.acts.silences()) != 1 {
			t.Errorf("%v, %s, silenced %q", err, again.Body, w.acts.silences())
		}
		if a, err := w.slack.Command(t.Context(), tocsinURL, "silence 42 1h deploy", "U09EVE"); err != nil || !strings.Contains(a.Text, "does not know you") {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// opened chooses a duration from the menu and returns the dialog.
func (w *workspace) opened(t *testing.T, m slacktest.Message) slacktest.View {
	t.Helper()
	if _, err := w.slack.Select(t.Context(), tocsinURL, m, actionQuiet, "Silence for 4h", "U02ANA"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	views := w.slack.Views()
	if len(views) == 0 {
		t.Fatalf("no dialog was opened; told %q", w.private("U02ANA"))
	}
	return views[len(views)-1]
}

func TestSilenceDialog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(42, time.Now(), fire(1, time.Now()))), nil)
		m := w.posted(t, 42)
		v := w.opened(t, m)
		if v.Title != "Silence #42" || !strings.Contains(string(v.Blocks), `service=`) || len(w.acts.silences()) != 0 {
			t.Errorf("%+v", v)
		}
		submit := func(v slacktest.View, why, user string) string {
			t.Helper()
			a, complaints, err := w.slack.Submit(t.Context(), tocsinURL, v, map[string]string{blockComment: why}, user)
			if err != nil || a.Status != http.StatusOK {
				t.Errorf("%+v, %v", a, err)
			}
			return complaints[blockComment]
		}
		if s := submit(v, " ", "U02ANA"); !strings.Contains(s, "needs a comment") {
			t.Errorf("told %q", s)
		}
		if s := submit(v, "deploy", "U09EVE"); !strings.Contains(s, "does not know you") || strings.ContainsAny(s, "*`") {
			t.Errorf("told %q", s)
		}
		w.acts.fail = oncall.Errorf(oncall.CodeUnavailable, "disk full at /var/lib")
		if s := submit(v, "deploy", "U02ANA"); !strings.Contains(s, "not confirmed") || strings.Contains(s, "/var/lib") {
			t.Errorf("told %q", s)
		}
		w.acts.fail = nil
		for range 2 { // the second time it is the same dialog
			if s := submit(v, "deploy <!channel>", "U02ANA"); s != "" {
				t.Errorf("told %q", s)
			}
		}
		if got := w.acts.silences(); !slices.Equal(got, []string{`#42 4h0m0s {service="session"} ana: deploy <!channel>`}) {
			t.Errorf("silenced %q", got)
		}
		// Somebody else's dialog, and one from another version.
		other := v
		other.Callback = "something"
		if s := submit(other, "x", "U02ANA"); s != "" || len(w.acts.silences()) != 1 {
			t.Errorf("told %q", s)
		}
		for _, metadata := range []string{"", "{}", `{"n":42,"for":"1y"}`, `{"n":42,"for":"-1h"}`, `{"n":0,"for":"1h"}`} {
			other = v
			other.ID, other.Metadata = "V9"+metadata, metadata
			if s := submit(other, "x", "U02ANA"); !strings.Contains(s, "Nothing was changed") {
				t.Errorf("%s: told %q", metadata, s)
			}
		}
	})
}

func TestSilenceMenuThatOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newWorkspace(t, a, nil)
		m := w.posted(t, 42)
		choose := func(user string) string {
			t.Helper()
			before := len(w.private(user))
			if _, err := w.slack.SelectAsSeen(t.Context(), tocsinURL, m, actionQuiet, "Silence for 15m", user); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return strings.Join(w.private(user)[before:], "; ")
		}
		if s := choose("U09EVE"); !strings.Contains(s, "does not know you") {
			t.Errorf("told %q", s)
		}
		w.slack.Fail(slacktest.Fault{Method: "views.open", Stage: slacktest.Before, Error: "internal_error"})
		if s := choose("U02ANA"); !strings.Contains(s, "did not open the dialog") || !strings.Contains(s, "/tocsin silence #42 15m why") {
			t.Errorf("told %q", s)
		}
		w.slack.Fail(slacktest.Fault{Method: "views.open", Stage: slacktest.After})
		if s := choose("U02ANA"); !strings.Contains(s, "did not open the dialog") {
			t.Errorf("told %q", s)
		}
		if _, err := a.Act(t.Context(), 42, oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"}, "r1"); err != nil {
			t.Fatal(err)
		}
		if s := choose("U02ANA"); !strings.Contains(s, "#42 is resolved by now") {
			t.Errorf("told %q", s)
		}
		if len(a.silences()) != 0 {
			t.Errorf("silenced %q", a.silences())
		}
	})
}

func FuzzCutLength(f *testing.F) {
	for _, s := range []string{"2h x", "for 1h30m", "1 day 2 hrs", "2h 3 days", "9e9w", "0.0000001s", "1h1h1h", "٣h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		length, rest, ok := cutLength(s)
		if length < 0 || len(rest) > len(s) || !ok && length != 0 {
			t.Errorf("%q: %s, %q, %v", s, length, rest, ok)
		}
	})
}
