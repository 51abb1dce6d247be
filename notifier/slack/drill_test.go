package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// drills remembers who was to be drilled.
type drills struct {
	asked  []string
	answer notifier.DrillStarted
	err    error
}

func (d *drills) Start(_ context.Context, w notifier.DrillWish, request string) ([]notifier.DrillStarted, error) {
	if request == "" {
		return nil, oncall.Errorf(oncall.CodeInvalid, "a drill from Slack has an identity")
	}
	d.asked = append(d.asked, fmt.Sprint(w.Users, " by ", w.Actor, " via ", w.Via))
	d.answer.User = w.Users[0]
	return []notifier.DrillStarted{d.answer}, d.err
}

// TestDrill begins drills: of oneself, of others, of nobody on a guess, and never by somebody who may not act.
func TestDrill(t *testing.T) {
	began := notifier.DrillStarted{Number: 9}
	for name, c := range map[string]struct {
		typed, by string
		answer    notifier.DrillStarted
		err       error
		want      string
		asked     string
	}{
		"oneself":   {"drill", "U02ANA", began, nil, "The drill #9 of ana has begun", "[ana] by ana via slack"},
		"another":   {"drill @bo", "U02ANA", began, nil, "The drill #9 of bo has begun", "[bo] by ana via slack"},
		"escaped":   {"drill <@U03BO|bobby>", "U02ANA", began, nil, "#9 of bo", "[bo] by ana via slack"},
		"misspelt":  {"drill @anna", "U02ANA", began, nil, "Nobody was drilled: `anna` is no user of tocsin. Did you mean \"ana\"?", ""},
		"two":       {"drill ana bo", "U02ANA", began, nil, "One user at a time", ""},
		"not now":   {"drill", "U02ANA", notifier.DrillStarted{Refused: "a drill of ana is under way: #8 <!here>"}, nil, "Nobody was drilled: a drill of ana is under way: #8 &lt;!here&gt;.", "[ana] by ana via slack"},
		"no user":   {"drill", "U77", began, nil, "not", ""},
		"too early": {"drill", "U02ANA", began, oncall.Errorf(oncall.CodeInvalid, "nobody can be reached"), "Nobody was drilled: nobody can be reached.", "[ana] by ana via slack"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &drills{answer: c.answer, err: c.err}
				w := newWorkspace(t, newActs(), nil)
				w.drills = d
				a, err := w.slack.Command(t.Context(), tocsinURL, c.typed, c.by)
				if err != nil || !strings.Contains(a.Text, c.want) || strings.Contains(a.Text, "<!") {
					t.Errorf("answered %q, %v", a.Text, err)
				}
				if got := strings.Join(d.asked, "; "); got != c.asked {
					t.Errorf("asked %q", got)
				}
			})
		})
	}
}

// TestDrawDrill: nobody takes a drill's message for an incident's, and it says of each contact what it did.
func TestDrawDrill(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	check := func(contact string, e oncall.Endpoint) oncall.ContactCheck {
		return oncall.ContactCheck{User: "ana", Contact: contact, Endpoint: e, At: now}
	}
	slack, phone, call := check("Slack direct message", "slack:U02ANA"), check("receiver <!here>", "page:p/0"), check("receiver call", "call:c/0")
	in := open(7, now, fire(1, now))
	in.Title, in.Drill = "DRILL: x", &oncall.Drill{User: "ana <!here>", By: "bo", Contacts: []oncall.ContactCheck{slack, phone, call}}
	drawn := func() string {
		t.Helper()
		d := Draw(in, oncall.Policy{ExternalURL: tocsinURL}, now)
		b, err := json.Marshal(d.Blocks)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b)) + d.Text
	}
	in.Drill.Contacts[1].Refused, in.Drill.Contacts[1].Failure = true, "HTTP 404 <!here>"
	in.Drill.Contacts[2].AcceptedAt = now
	for what, c := range map[string]struct {
		change  func()
		want    []string
		without []string
	}{
		"under way": {func() {}, []string{"🧪 DRILL · under way · #7 ana", "*Nothing is wrong.*", "It reached me", "End the drill", "⏳ Slack direct message",
			"❌ receiver &lt;!here&gt; (page:p/0): *failed*: HTTP 404 &lt;", "taken, not confirmed yet", "press “It reached me”", tocsinURL + "/drills"}, nil},
		"answered":         {func() { in.Drill.Contacts[0].AnsweredAt = now.Add(3 * time.Second) }, []string{"✅ Slack direct message (slack:U02ANA): *answered* after 3s"}, []string{"It reached me"}},
		"answered at once": {func() { in.Drill.Contacts[0].AnsweredAt = now.Add(13 * time.Millisecond) }, []string{"*answered* after 13 ms"}, []string{"It reached me"}},
		"over": {func() {
			in.State, in.ResolvedAt = oncall.IncidentResolved, now.Add(time.Minute)
			in.Drill.Contacts[1].Result, in.Drill.Contacts[2].Result = oncall.CheckFailed, oncall.CheckOK
		}, []string{"DRILL · over", "1 of 3 contacts failed: mend it, and drill again."}, []string{"End the drill", "It reached me"}},
	} {
		before := in
		before.Drill = &oncall.Drill{User: in.Drill.User, By: in.Drill.By, Contacts: slices.Clone(in.Drill.Contacts)}
		c.change()
		got := drawn()
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is missing:\n%s", what, w, got)
			}
		}
		for _, w := range append(c.without, "🔴", "Escalate", "Silence", "Snooze", "<!here") {
			if strings.Contains(got, w) {
				t.Errorf("%s: %q is in it:\n%s", what, w, got)
			}
		}
		in = before
	}
}
