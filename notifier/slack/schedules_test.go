package slack

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// rota adds two schedules to a policy: ana's and bo's, in turns of an hour from midnight, and one of nobody.
func rota(p oncall.Policy) oncall.Policy {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Schedules = map[string]oncall.Schedule{
		"session-primary": {Name: "session-primary", NotifySlack: "#session-alerts", Layers: []oncall.Layer{{Name: "hourly", Rosters: []oncall.Roster{{
			From: start, Users: [][]string{{"ana"}, {"bo"}}, Shadows: []string{"cy"}, Rotation: oncall.Rotation{Every: time.Hour, Anchor: start}}}}}},
		"empty": {Name: "empty"},
	}
	return p
}

// overrides answers as the notifier's Overrides does, by the real core.
type overrides struct {
	policy oncall.Policy
	made   []oncall.Override
	seen   map[string]bool
}

func (o *overrides) Add(_ context.Context, w oncall.OverrideWish, request string) (notifier.Overridden, error) {
	if o.seen[request] {
		return notifier.Overridden{Overrides: o.made, Reply: notifier.AlreadyDone}, nil
	}
	made, err := o.policy.PlanOverride(w, time.Now())
	if err != nil {
		return notifier.Overridden{}, err
	}
	made.ID = "ov1"
	o.made, o.seen = append(o.made, made), map[string]bool{request: true}
	s := o.policy.Schedules[w.Schedule]
	return notifier.Overridden{Overrides: []oncall.Override{made}, Reply: s.Said(made)}, nil
}

func TestScheduleCommands(t *testing.T) {
	for typed, want := range map[string][]string{
		"who":                 {"• *empty*: nobody", "• *session-primary*: ana (shadowed by cy) until <!date^946688400^", "then bo"},
		"oncall SESSION":      {"*session-primary*: ana", "layer hourly"},
		"who session-primray": {`there is no schedule "session-primray" (did you mean "session-primary"?)`},
		"override session <@U03BO|bo> 30m the dentist": {"bo is on call instead of whoever would be from Sat 1 Jan 2000 00:00 UTC until Sat 1 Jan 2000 00:30 UTC", "tocsin oncall override end ov1"},
		"override session-primary @bo 2h":              {"bo is on call instead"},
		"override session-primary me 2h":               {"bo is on call instead of whoever"},
		"override session-primary @ana 30m":            {"Nothing was changed: nothing would change: ana is on call anyway"},
		"override session-primary @carla 30m":          {"`carla` is no user"},
		"override nothing @bo 30m":                     {`there is no schedule "nothing"`},
		"who session primary":                          {"*session-primary*: ana", "layer hourly"},
		"override session primary @bo 2h":              {"bo is on call instead"},
		"override “session-primary” <@U03BO|bo> 2h":    {"bo is on call instead"},
		"override session-primary 2h @bo":              {"bo is on call instead"},
		"override for session 2h @bo":                  {`there is no schedule "for session"`},
		"override @bo 2h":                              {"Which schedule?"},
		"override":                                     {"Which schedule?", "override schedule @user 2h [why]"},
		"override session-primary":                     {"Who is on call instead?"},
		"override session-primary @bo":                 {"For how long?"},
		"override session-primary @bo forever":         {"For how long?"},
		"override session-primary @bo 2000d":           {"too long"},
		"help":                                         {"`who [schedule]`", "`override schedule @user 2h [why]`"},
	} {
		t.Run(typed, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkspace(t, newActs(), nil)
				o := &overrides{policy: rota(testPolicy())}
				w.policy, w.overrides = func() oncall.Policy { return o.policy }, o
				caller := "U02ANA"
				if strings.Contains(typed, " me ") {
					caller = "U03BO"
				}
				a, err := w.slack.Command(t.Context(), tocsinURL, typed, caller)
				if err != nil || a.Status != http.StatusOK {
					t.Fatalf("%+v, %v", a, err)
				}
				for _, part := range want {
					if !strings.Contains(a.Text, part) {
						t.Errorf("%q is not in the answer:\n%s", part, a.Text)
					}
				}
				if len(o.made) > 0 && strings.Contains(typed, "dentist") && (o.made[0].Reason != "the dentist" || o.made[0].Author != "ana") {
					t.Errorf("%+v", o.made[0])
				}
				// The same request again does not override again.
				again, err := w.slack.Send(t.Context(), a.Request)
				if err != nil || again.Status != http.StatusOK || len(o.made) > 1 {
					t.Errorf("%+v, %v, %d overrides", again, err, len(o.made))
				}
			})
		})
	}
}

// TestShiftText: what somebody is told of their shift, and what to do about a contact that failed.
func TestShiftText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		now := time.Now()
		failed := []oncall.ContactCheck{{User: "bo", Contact: "receiver bo-phone", Endpoint: "page:bo-phone/0", Result: oncall.CheckFailed, Drill: 7, At: now, Failure: "refused <!here>"}}
		notice := func(kind oncall.NoticeKind) notifier.ShiftMessage {
			return notifier.ShiftMessage{Schedule: "session-primary", ShiftNotice: oncall.ShiftNotice{Kind: kind, User: "bo", From: now, Until: now.Add(time.Hour), With: []string{"ana"}, Why: "layer weekly"}}
		}
		ahead, on, off := notice(oncall.NoticeAhead), notice(oncall.NoticeOn), notice(oncall.NoticeOff)
		refused := ahead
		refused.Channel, refused.Refused = true, []oncall.NoticeRefusal{{By: "slack:U03BO", Why: "channel_not_found"}}
		off.Until, off.Why = time.Time{}, ""
		broken, channel, busy := ahead, ahead, on
		broken.Failed, channel.Failed, channel.Channel = failed, failed, true
		busy.Open, busy.Failed = []oncall.Incident{open(7, now, fire(1, now))}, failed
		offBusy := off
		offBusy.Open, offBusy.Failed = busy.Open, failed
		for name, c := range map[string]struct {
			n    notifier.ShiftMessage
			want string // * is anything
		}{
			"ahead":    {ahead, "📟 *Your shift* by *session-primary* begins <!date^946684800^*> until <!date^946688400^*>, after ana (layer weekly)."},
			"broken":   {broken, "📟 *Your shift* by *\n⚠️ bo: receiver bo-phone (page:bo-phone/0) failed in the drill #7 of 1 Jan 2000 00:00 UTC: refused &lt;!here&gt;\nMend that before it begins, and try it with `/tocsin drill`."},
			"channel":  {channel, "📟 *The next shift* of <@U03BO> by *⚠️ bo: *\nNone of their contacts can be used to tell them: please do.*`/tocsin drill`."},
			"refused":  {refused, "📟 *The next shift* of <@U03BO> by *⚠️ bo: slack:U03BO refused this message: channel_not_found\nNone of their contacts can be used to tell them: please do.*`/tocsin drill`."},
			"on":       {on, "📟 *You are on call* by *session-primary* until <!date^946688400^*>; you take over from ana (layer weekly).\nNothing is open: nothing is handed over."},
			"busy":     {busy, "*⚠️ bo: *You may not be reached by that: mend it, and try it with `/tocsin drill`.\n1 open incident is handed over:\n• 🔴 *#7*"},
			"off":      {off, "📟 *Your shift is over* by *session-primary*: ana takes over.\nNothing is open: nothing is handed over."},
			"off busy": {offBusy, "*ana takes over.\n1 open incident is handed over:\n• 🔴 *#7*"},
		} {
			a := w.SendShift(t.Context(), "U03BO", c.n)
			if a.Outcome != oncall.OutcomeDelivered {
				t.Fatalf("%s: %+v", name, a)
			}
			dm, ts, _ := strings.Cut(a.Remote, "/")
			m, _ := w.slack.Message(dm, ts)
			rest := m.Text
			for part := range strings.SplitSeq(strings.ReplaceAll(c.want, "*", "\x00"), "\x00") {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Errorf("%s: %q is not in its place:\n%s", name, part, m.Text)
				}
				rest = after
			}
		}
	})
}

func TestSendHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		now := time.Now()
		h := oncall.Handoff{Key: "k", Schedule: "session-primary", At: now, On: []string{"bo", "eva <!here>"}, Off: []string{"ana"}, Why: "layer hourly", Until: now.Add(time.Hour), Attempts: 2}
		var open12 []oncall.Incident
		for n := int64(12); n > 0; n-- {
			open12 = append(open12, open(n, now, fire(1, now)))
		}
		for _, c := range []struct {
			open []oncall.Incident
			want []string
		}{
			{nil, []string{"📟 *session-primary*: <@U03BO>, eva &lt;!here&gt; are on call until <!date^946688400^", "; ana goes off (layer hourly).\nNothing is open."}},
			{open12, []string{"12 incidents are open:\n• 🔴 *#12*", "*#3*", "… and 2 more"}},
		} {
			a := w.SendHandoff(t.Context(), "#session-alerts", h, c.open)
			if a.Outcome != oncall.OutcomeDelivered || a.Number != 3 {
				t.Fatalf("%+v", a)
			}
			channel, ts, _ := strings.Cut(a.Remote, "/")
			m, _ := w.slack.Message(channel, ts)
			for _, part := range c.want {
				if !strings.Contains(m.Text, part) {
					t.Errorf("%q is not in the message:\n%s", part, m.Text)
				}
			}
		}
		h.Failed = []oncall.ContactCheck{{User: "bo", Contact: "receiver bo-phone", Endpoint: "page:bo-phone/0", Result: oncall.CheckFailed, Drill: 7, At: now, Failure: "refused <!here>"}}
		if got := w.handoffText(h, nil, now); !strings.Contains(got, "\n⚠️ bo: receiver bo-phone (page:bo-phone/0) failed in the drill #7 of 1 Jan 2000 00:00 UTC: refused &lt;!here&gt;\n") {
			t.Error(got)
		}
		h.Failed = nil
		if got := w.handoffText(oncall.Handoff{Schedule: "s", Off: []string{"ana", "bo"}, Why: "no layer has anybody"}, nil, now); !strings.Contains(got, "nobody is on call; ana, bo go off") {
			t.Error(got)
		}
		w.slack.Fail(slacktest.Fault{Stage: slacktest.Before, Status: 429, RetryAfter: 30 * time.Second})
		if a := w.SendHandoff(t.Context(), "#session-alerts", h, nil); a.Outcome != oncall.OutcomeRetry || a.RetryAfter != 30*time.Second {
			t.Errorf("%+v", a)
		}
		if a := w.SendHandoff(t.Context(), "#nowhere", h, nil); a.Outcome != oncall.OutcomeRefused {
			t.Errorf("%+v", a)
		}
	})
}
