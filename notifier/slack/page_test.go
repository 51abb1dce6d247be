package slack

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"tocsin/notifier"
	"tocsin/oncall"
)

// openings remembers what was asked for, checks it as the core does, and opens #7.
type openings struct {
	mu       sync.Mutex
	asked    []oncall.Opening
	requests map[string]bool
	policy   oncall.Policy
}

func (o *openings) Open(_ context.Context, x oncall.Opening, request string) (notifier.Opened, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, _, err := x.Open(t0, request, o.policy); err != nil {
		return notifier.Opened{}, err
	}
	if o.requests[request] {
		return notifier.Opened{Incident: oncall.Incident{Number: 7}, Reply: "#7 was opened by the same request before"}, nil
	}
	o.requests[request] = true
	o.asked = append(o.asked, x)
	return notifier.Opened{Incident: oncall.Incident{Number: 7}, New: true, Reply: "#7 is opened"}, nil
}

// TestPage pages by hand: whom it reaches, what they read, and that nobody is paged on a guess.
func TestPage(t *testing.T) {
	long := strings.Repeat("ä ", 150)
	for name, c := range map[string]struct {
		typed string
		want  string // in the answer
		asked string // escalation/user/title of the opening, "" for none
	}{
		"escaped":         {"page <@U03BO|bobby> the queue &amp; the till <!channel>", "#7 is opened", "/bo/the queue & the till <!channel>"},
		"by name":         {"page @Bo it is down", "#7 is opened", "/bo/it is down"},
		"without at":      {"page bo it is down", "#7 is opened", "/bo/it is down"},
		"oneself":         {"page me test", "#7 is opened", "/ana/test"},
		"escalation":      {"PAGE session-oncall checkout is slow", "#7 is opened in", "session-oncall//checkout is slow"},
		"in quotes":       {"page “two words” slow", "#7 is opened", "two words//slow"},
		"both":            {"page twin slow", "is a user and an escalation", ""},
		"both, by at":     {"page @twin slow", "#7 is opened", "/twin/slow"},
		"long":            {"page bo " + long, "#7 is opened", "/bo/" + shorten(strings.TrimSpace(long), maxTitle)},
		"too long":        {"page bo " + strings.Repeat("x", 2001), "too long", ""},
		"nobody":          {"page", "Whom?", ""},
		"without a cause": {"page bo", "What is wrong?", ""},
		"misspelt":        {"page sesion-oncall x", "no escalation and no user of tocsin. Did you mean \"session-oncall\"?", ""},
		"stranger":        {"page <@U77> x", "Nobody was paged", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &openings{policy: testPolicy(), requests: map[string]bool{}}
				o.policy.Escalations["two words"] = oncall.Escalation{Name: "two words"}
				o.policy.Escalations["twin"] = oncall.Escalation{Name: "twin"}
				o.policy.Users["twin"] = oncall.User{Name: "twin", Slack: "U0TWIN"}
				w := newWorkspace(t, newActs(), nil)
				w.opens, w.Adapter.policy = o, func() oncall.Policy { return o.policy }
				a, err := w.slack.Command(t.Context(), tocsinURL, c.typed, "U02ANA")
				if err != nil || !strings.Contains(a.Text, strings.TrimSuffix(c.want, " in")) || strings.Contains(a.Text, "<!channel>") {
					t.Errorf("answered %q, %v", a.Text, err)
				}
				got := ""
				for _, x := range o.asked {
					got += x.Escalation + "/" + x.User + "/" + x.Title
					if x.Actor != "ana" || x.Via != "slack" || x.Details != "" && !strings.HasPrefix(x.Details, strings.TrimSuffix(x.Title, "…")) {
						t.Errorf("opened %+v", x)
					}
				}
				if got != c.asked {
					t.Errorf("opened %q, want %q", got, c.asked)
				}
			})
		})
	}
}

// TestPageMayNot: strangers page nobody, and neither does anybody where nothing can be opened.
func TestPageMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		for user, want := range map[string]string{"U02ANA": "Nobody can be paged by hand here", "U09EVE": "not"} {
			a, err := w.slack.Command(t.Context(), tocsinURL, "page bo x", user)
			if err != nil || !strings.Contains(a.Text, want) {
				t.Errorf("%s: %q, %v", user, a.Text, err)
			}
		}
	})
}

func FuzzParsePage(f *testing.F) {
	for _, s := range []string{"@ana x", `"a b" x`, "“a” ", "<@U1|x> y", "'", "'' ''", "\u00a0x y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, complaint := parse("page "+s, "/tocsin", t0)
		if complaint == "" && (got.text == "" || got.user == "") && got.verb == "page" {
			t.Errorf("%q is understood as %+v", s, got)
		}
	})
}
