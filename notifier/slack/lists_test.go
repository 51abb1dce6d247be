package slack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/oncall"
)

// shelf is what the notifier's Silences is to the adapter.
type shelf struct {
	all  []oncall.Silence
	seen map[string]bool
	fail error
}

func (s *shelf) List(time.Time) []oncall.Silence { return s.all }

func (s *shelf) SetOnce(_ context.Context, sil oncall.Silence, request string) (string, []string, error) {
	if s.fail != nil {
		return "", nil, s.fail
	}
	if s.seen[request] {
		return "", nil, oncall.ErrRequestSeen
	}
	if err := oncall.CheckSilence(sil, oncall.MatchersFallback, time.Now()); err != nil {
		return "", nil, err
	}
	s.seen[request] = true
	sil.ID = fmt.Sprintf("%08x-0000", 0xabc0+len(s.all))
	s.all = append(s.all, sil)
	return sil.ID, oncall.SilenceWarnings(sil), nil
}

func (s *shelf) Expire(_ context.Context, id string) (oncall.Silence, error) {
	for i := range s.all {
		if s.all[i].ID == id {
			s.all[i].EndsAt = time.Now()
			return s.all[i], nil
		}
	}
	return oncall.Silence{}, oncall.SilenceNotFound(id)
}

func TestSilencesByMatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(two()...), nil)
		s := &shelf{seen: map[string]bool{}}
		w.Adapter.silences = s
		say := func(text, user, want string) string {
			t.Helper()
			a, err := w.slack.Command(t.Context(), tocsinURL, text, user)
			if err != nil || !strings.Contains(a.Text, want) {
				t.Errorf("%s: %v, answered %q", text, err, a.Text)
			}
			return a.Text
		}
		say("silences", "U09EVE", "Nothing is silenced.")
		say("silence service=session 2h deploying 4.2", "U09EVE", "does not know you")
		say("silence service=session", "U02ANA", "For how long, and why?")
		say("silence service=session 2h", "U02ANA", "Why?")
		say("silence service= 2h why", "U02ANA", "") // whatever it is taken for, it mutes nothing
		say(`silence service=~"(" 2h why`, "U02ANA", "are no matchers")
		say(`silence service=~".*" 2h why`, "U02ANA", "Nothing was changed")
		say("silence {service=“session”} 40d why", "U02ANA", "at most 30d")
		if len(s.all) != 0 {
			t.Fatalf("silenced %+v", s.all)
		}
		say("silence service=session 2h deploying 4.2 <!channel>", "U02ANA", "To take it back: `/tocsin unsilence 0000abc0`")
		say("silence {instance=~“db-.+”, team!=shop} until 9:00 disks &amp; all", "U02ANA", "Silenced until")
		if len(s.all) != 2 || s.all[0].Comment != "deploying 4.2 <!channel>" || s.all[0].CreatedBy != "ana" || s.all[0].EndsAt.Sub(s.all[0].StartsAt) != 2*time.Hour ||
			s.all[1].Matchers.String() != `{instance=~"db-.+",team!="shop"}` || s.all[1].Comment != "disks & all" {
			t.Fatalf("silenced %+v", s.all)
		}
		first, err := w.slack.Command(t.Context(), tocsinURL, "silence service=cart 1h x", "U02ANA")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := w.slack.Send(t.Context(), first.Request); err != nil || !strings.Contains(again.Body, "handled before") || len(s.all) != 3 {
			t.Errorf("%+v, %v", again, err)
		}
		list := say("silences", "U09EVE", "3 silences; `/tocsin unsilence id` ends one:")
		if !strings.Contains(list, "`0000abc2` until") || strings.Index(list, "cart") > strings.Index(list, "db-") || strings.Contains(list, "<!channel>") {
			t.Errorf("listed %q", list)
		}
		say("unsilence 0000", "U02ANA", "3 silences begin with `0000`")
		say("unsilence ffff", "U02ANA", "no silence that is in force begins with `ffff`")
		say("unsilence", "U02ANA", "Which silence?")
		say("unsilence 0000abc1", "U09EVE", "does not know you")
		s.all[1].Incident = 42
		say("unsilence 0000ABC1", "U02ANA", "Ended:")
		say("unsilence 0000abc1", "U02ANA", "no silence that is in force")
		if done := w.acts.committed(); len(done) != 1 || done[0].Kind != oncall.CmdNote || done[0].Actor != "ana" || !strings.Contains(done[0].Text, "ended the silence of {instance") {
			t.Errorf("committed %+v", done)
		}
		s.fail = oncall.Errorf(oncall.CodeUnavailable, "disk full at /var/lib")
		if a, err := w.slack.Command(t.Context(), tocsinURL, "silence service=cart 1h x", "U02ANA"); err != nil || !strings.Contains(a.Text, "not confirmed") {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestCutMatchers(t *testing.T) {
	for text, want := range map[string]string{
		"service=session 2h x":              `{service="session"}|2h x`,
		"service=session, team=shop x":      `{service="session",team="shop"}|x`,
		"service = session 2h":              `{service="session"}|2h`,
		`{a="b}c", d=~"e.*"} 2h x`:          `{a="b}c",d=~"e.*"}|2h x`,
		"a=“b c” 2h":                        `{a="b c"}|2h`,
		"instance!~web.+ 1h":                `{instance!~"web.+"}|1h`,
		"a=b c=d":                           `{a="b",c="d"}|`,
		"i=<http://db:9100|db:9100> 2h":     `{i="db:9100"}|2h`,
		"#42 2h a=b":                        "{}|#42 2h a=b",
		"42 2h x":                           "{}|42 2h x",
		"":                                  "{}|",
		"{a=b":                              "The braces do not close.",
		"{} 2h":                             "Name at least one label",
		"a=~*x 2h":                          "are no matchers",
		"because x = y":                     "{}|because x = y",
		"&lt;!channel&gt;=x &amp; <!here>=": "{}|&lt;!channel&gt;=x &amp; <!here>=",
	} {
		ms, rest, complaint := cutMatchers(text)
		if got := ms.String() + "|" + rest; got != want && (complaint == "" || !strings.Contains(complaint, want)) {
			t.Errorf("%q: %q, %q", text, got, complaint)
		}
	}
}
