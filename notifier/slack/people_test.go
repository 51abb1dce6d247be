package slack

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// withEmails is a workspace in which carla is configured by her e-mail address alone.
func withEmails(t *testing.T, a *acts, people ...slacktest.User) *workspace {
	t.Helper()
	w := newWorkspace(t, a, func(_ *Config, o *slacktest.Options) { o.Users = append(o.Users, people...) })
	p := testPolicy()
	p.Users = maps.Clone(p.Users)
	p.Users["carla"] = oncall.User{Name: "carla", Email: "Carla@shop.example", Contacts: []oncall.Contact{{Receiver: "ana-phone"}}}
	w.Adapter.policy = func() oncall.Policy { return p }
	a.policy = w.Adapter.policy
	return w
}

func TestRecognisedByEmail(t *testing.T) {
	for name, c := range map[string]struct {
		who  slacktest.User
		want string // actor, or what they are told
	}{
		"verified":    {slacktest.User{Email: "carla@SHOP.example"}, "carla"},
		"unverified":  {slacktest.User{Email: "carla@shop.example", Unconfirmed: true}, "does not know you"},
		"other":       {slacktest.User{Email: "carl@shop.example"}, "does not know you"},
		"none":        {slacktest.User{}, "does not know you"},
		"gone":        {slacktest.User{Email: "carla@shop.example", Deleted: true}, "does not know you"},
		"bot":         {slacktest.User{Email: "carla@shop.example", Bot: true}, "does not know you"},
		"a stranger":  {slacktest.User{Email: "carla@shop.example", Stranger: true}, "of another Slack workspace"},
		"a guest":     {slacktest.User{Email: "carla@shop.example", Team: "T9OTHER"}, "of another Slack workspace"},
		"not a known": {slacktest.User{ID: "U08GONE"}, "does not know you"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id := c.who.ID
				if id == "" {
					id, c.who.ID, c.who.Name = "U04CARLA", "U04CARLA", "carla"
				}
				w := withEmails(t, newActs(open(42, time.Now(), fire(1, time.Now()))))
				if name != "not a known" {
					w.slack.AddUser(c.who)
				}
				if a, err := w.slack.Press(t.Context(), tocsinURL, w.posted(t, 42), actionAcknowledge, id); err != nil || a.Status != http.StatusOK {
					t.Fatalf("%+v, %v", a, err)
				}
				got := strings.Join(w.private(id), "; ")
				if done := w.acts.committed(); len(done) == 1 {
					got = done[0].Actor
				}
				if !strings.Contains(got, c.want) || c.want == "carla" && got != "carla" {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestRecognisedFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carla := slacktest.User{ID: "U04CARLA", Name: "carla", Email: "carla@shop.example"}
		w := withEmails(t, newActs(two()...), carla)
		type4 := func(text string) string {
			t.Helper()
			a, err := w.slack.Command(t.Context(), tocsinURL, text, carla.ID)
			if err != nil || a.Took > answerTimeout {
				t.Fatalf("%+v, %v", a, err)
			}
			return a.Text
		}
		for range 3 {
			if s := type4("note 42 x"); !strings.Contains(s, "noted on #42") {
				t.Errorf("answered %q", s)
			}
		}
		if n := len(w.slack.Calls("users.info")); n != 1 {
			t.Errorf("Slack was asked %d times", n)
		}
		// She loses her address; ten minutes later that is known.
		carla.Email = "other@shop.example"
		w.slack.AddUser(carla)
		<-time.After(memberFresh + time.Second)
		if s := type4("note 42 x"); !strings.Contains(s, "does not know you") {
			t.Errorf("answered %q", s)
		}
		// Slack is silent: nobody waits for it longer than a press may take, and nobody acts on a guess.
		<-time.After(memberFresh)
		w.slack.Fail(slacktest.Fault{Method: "users.info", Stage: slacktest.After})
		start := time.Now()
		if s := type4("note 42 x"); !strings.Contains(s, "could not tell just now who you are") {
			t.Errorf("answered %q", s)
		}
		if took := time.Since(start); took != memberWait {
			t.Errorf("it took %s", took)
		}
		if s := type4("list"); !strings.Contains(s, "2 incidents are open") {
			t.Errorf("answered %q", s)
		}
		// Somebody who is known by their ID does not wait.
		if a, err := w.slack.Command(t.Context(), tocsinURL, "ack 41", "U02ANA"); err != nil || a.Took != 0 || !strings.Contains(a.Text, "is acknowledged by ana") {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestNamedByMention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withEmails(t, newActs(two()...), slacktest.User{ID: "U04CARLA", Name: "carla", Email: "carla@shop.example"})
		for _, c := range [][2]string{
			{"assign 42 <@U04CARLA|carlita>", "#42 is assigned to carla"},
			{"assign 41 <@U09EVE|carla>", "is no user of tocsin"},
			{"add 41 carla@shop.example", "carla is told of #41"},
			{"add 41 <mailto:carla@shop.example|carla@shop.example>", "carla was already asked"},
		} {
			if a, err := w.slack.Command(t.Context(), tocsinURL, c[0], "U02ANA"); err != nil || !strings.Contains(a.Text, c[1]) {
				t.Errorf("%s: %+v, %v", c[0], a, err)
			}
		}
	})
}

// TestClocks has a day begin where people are: as configured, else where Slack says.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withEmails(t, newActs(two()...), slacktest.User{ID: "U04CARLA", Name: "carla", Email: "carla@shop.example", TimeZone: "Asia/Tokyo"})
		for user, want := range map[string]string{"U04CARLA": "2000-01-02 00:00 UTC", "U02ANA": "2000-01-02 09:00 UTC"} {
			a, err := w.slack.Command(t.Context(), tocsinURL, "snooze 42 until tomorrow", user)
			if err != nil || !strings.Contains(a.Text, "|"+want+"> for you)") {
				t.Errorf("%s: %+v, %v", user, a, err)
			}
		}
	})
}

func TestOtherWorkspaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(two()...), func(c *Config, _ *slacktest.Options) { c.AllowUnknown = true })
		send := func(team, enterprise, user, text string) string {
			t.Helper()
			form := url.Values{"command": {"/tocsin"}, "team_id": {team}, "enterprise_id": {enterprise}, "user_id": {user}, "text": {text}}
			a, err := w.slack.Send(t.Context(), w.slack.Sign(tocsinURL+"/slack/commands", []byte(form.Encode()), time.Now()))
			if err != nil {
				t.Fatal(err)
			}
			return a.Body
		}
		// Whoever uses the same ID elsewhere is somebody else.
		for _, text := range []string{"ack 42", "list", "help"} {
			if s := send("T9OTHER", "", "U02ANA", text); !strings.Contains(s, "another Slack workspace") {
				t.Errorf("%s: answered %s", text, s)
			}
		}
		payload := url.Values{"payload": {`{"type":"block_actions","team":{"id":"T0TEST"},"user":{"id":"U77","team_id":"T9OTHER"},"response_url":"http://slack.test/none",
			"actions":[{"action_id":"tocsin_acknowledge","value":"{\"n\":42}"}]}`}}
		if a, err := w.slack.Send(t.Context(), w.slack.Sign(tocsinURL+"/slack/interactions", []byte(payload.Encode()), time.Now())); err != nil || a.Status != http.StatusOK {
			t.Errorf("%+v, %v", a, err)
		}
		if done := w.acts.committed(); len(done) != 0 {
			t.Errorf("committed %+v", done)
		}
		if s := send("T0TEST", "", "U77", "ack 42"); !strings.Contains(s, "is acknowledged by Slack user U77") {
			t.Errorf("answered %s", s)
		}
	})
}

// TestUnknownWorkspace shows what happens while Slack does not say whose token it is.
func TestUnknownWorkspace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(two()...), func(c *Config, _ *slacktest.Options) { c.AllowUnknown = true })
		w.slack.Fail(slacktest.Fault{Method: "auth.test", Stage: slacktest.Before, Error: "internal_error"})
		if a, err := w.slack.Command(t.Context(), tocsinURL, "ack 41", "U09EVE"); err != nil || !strings.Contains(a.Text, "could not tell just now") {
			t.Errorf("%+v, %v", a, err)
		}
		if a, err := w.slack.Command(t.Context(), tocsinURL, "ack 41", "U02ANA"); err != nil || !strings.Contains(a.Text, "is acknowledged by ana") {
			t.Errorf("%+v, %v", a, err)
		}
		<-time.After(homeRetry)
		if a, err := w.slack.Command(t.Context(), tocsinURL, "ack 42", "U09EVE"); err != nil || !strings.Contains(a.Text, "is acknowledged by Slack user U09EVE") {
			t.Errorf("%+v, %v", a, err)
		}
		if n := len(w.slack.Calls("auth.test")); n != 2 {
			t.Errorf("Slack was asked %d times", n)
		}
	})
}

// TestEnterprise holds the two IDs and the many workspaces of an Enterprise Grid.
func TestEnterprise(t *testing.T) {
	home := workplace{team: "T1", enterprise: "E1"}
	grid := memberOf(&goslack.User{ID: "U5", TeamID: "T2", IsEmailConfirmed: true, Profile: goslack.UserProfile{Email: "dee@shop.example"},
		TZ: "Asia/Tokyo", Enterprise: goslack.EnterpriseUser{ID: "W5", EnterpriseID: "E1"}})
	users := map[string]oncall.User{"dee": {Name: "dee", Slack: "W5"}, "eve": {Name: "eve", Email: "dee@shop.example"}}
	if u, ok := userOf(users, grid, home); !ok || u.Name != "dee" {
		t.Errorf("by the ID of the enterprise: %+v, %v", u, ok)
	}
	delete(users, "dee")
	if u, ok := userOf(users, grid, home); !ok || u.Name != "eve" {
		t.Errorf("by the address: %+v, %v", u, ok)
	}
	if _, ok := userOf(users, grid, workplace{team: "T1", enterprise: "E2"}); ok {
		t.Error("an address of another enterprise counts")
	}
	if _, ok := userOf(users, grid, workplace{team: "T1"}); ok {
		t.Error("an address of another workspace counts")
	}
	if !home.has(caller{id: "U5", team: "T2"}, grid) || home.has(caller{id: "U5", team: "T2"}, member{}) {
		t.Error("who belongs to the enterprise is not told by what Slack says of them")
	}
	if grid.loc.String() != "Asia/Tokyo" {
		t.Errorf("their zone is %v", grid.loc)
	}
	for _, c := range []struct {
		team, enterprise string
		want             bool
	}{{"T1", "E1", true}, {"T2", "E1", true}, {"", "E1", true}, {"E1", "", true}, {"T2", "", false}, {"T2", "E2", false}, {"", "", true}} {
		if got := home.is(c.team, c.enterprise); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestMembersAreBounded(t *testing.T) {
	var s members
	for i := range maxMembers + 10 {
		s.remember("U"+strings.Repeat("X", i%7)+time.Duration(i).String(), &lookup{})
	}
	if len(s.byID) != maxMembers || len(s.order) != maxMembers {
		t.Errorf("%d and %d are remembered", len(s.byID), len(s.order))
	}
}

// TestSlackHangs shows what a press costs at worst while Slack answers nothing: the three questions that it may need
// leave time for the commit.
func TestSlackHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withEmails(t, newActs(two()...))
		for _, method := range []string{"users.info", "auth.test"} {
			w.slack.Fail(slacktest.Fault{Method: method, Stage: slacktest.After, Times: 8})
		}
		for i, want := range []time.Duration{2 * memberWait, memberWait, 0} {
			a, err := w.slack.Command(t.Context(), tocsinURL, []string{"ack 41", "assign 41 <@U04CARLA>", "ack 42"}[i], []string{"U04CARLA", "U02ANA", "U02ANA"}[i])
			if err != nil || a.Took > want {
				t.Errorf("%d: it took %s, not %s: %q, %v", i, a.Took, want, a.Text, err)
			}
		}
		if done := w.acts.committed(); len(done) != 1 || done[0].Actor != "ana" {
			t.Errorf("committed %+v", done)
		}
	})
}
