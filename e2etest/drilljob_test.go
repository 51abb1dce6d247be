package e2etest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/slack/slacktest"
)

// drillConfig: a job drills ana, whose three contacts answer in three ways, when the next minute begins.
const drillConfig = `
slack: {bot_token_file: bot, signing_secret_file: signing, api_url: $SLACK}
users:
- name: ana
  slack: U02ANA
  contacts: [{slack: dm}, {after: 2m, receiver: ana-ntfy}, {after: 5m, receiver: ana-call}]
escalations:
- {name: default, tiers: [{user: ana}]}
route: {receiver: team}
receivers:
- {name: team, escalation: default}
- name: ana-call
  twilio_configs: [{account_sid: $SID, auth_token_file: token, from: '+15005550006', to: '+34600123456', api_url: $TWILIO}]
- name: ana-ntfy
  ntfy_configs: [{url: $NTFY, topic: ana-pages, token_file: ntfy}]
jobs:
- {name: daily-drill, cron: $CRON, time_zone: UTC, drill: {users: [ana]}}
`

// TestDrillJob runs the program until a job's instant has come: Slack takes the message, ntfy the notification, and the
// telephone is answered with a 4.
func TestDrillJob(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the next full minute: cron knows no shorter one")
	}
	t.Parallel()
	space := slacktest.New(slacktest.Options{Token: botToken, SigningSecret: signingSecret, Users: []slacktest.User{{ID: "U02ANA", Name: "ana"}}})
	twilio, ntfy := pagertest.NewTwilio(twilioAccount, twilioToken), pagertest.NewNtfy("tk_secret")
	var urls []string
	for _, far := range []http.Handler{space, twilio, ntfy} {
		s := httptest.NewServer(far)
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	space.SetURL(urls[0])
	at := time.Now().UTC().Add(80 * time.Second).Truncate(time.Minute) // at least 20 s ahead: it may take a while until it runs
	d := prepare(t, ours(), "", strings.NewReplacer("$SLACK", space.APIURL(), "$SID", twilioAccount, "$TWILIO", urls[1], "$NTFY", urls[2], "$CRON", at.Format(`"4 15 * * *"`)).Replace(drillConfig),
		"--web.external-url", phonesAt)
	for name, text := range map[string]string{"bot": botToken, "signing": signingSecret, "token": twilioToken, "ntfy": "tk_secret"} {
		d.write(name, text+"\n")
	}
	d.start()

	drill := func(done func(drilledUser) bool) (got drilledUser) {
		t.Helper()
		if !until(2*patience, func() bool {
			var all []drilledUser
			if d.status(http.MethodGet, "/api/tocsin/v1/drills", nil, &all); len(all) == 1 {
				got = all[0]
			}
			return done(got)
		}) {
			t.Fatalf("the drill stands at %+v; the far ends: %q %q", got, twilio.Problems(), ntfy.Problems())
		}
		return got
	}
	got := drill(func(x drilledUser) bool {
		return len(x.Contacts) == 3 && !x.Contacts[0].Accepted.IsZero() && !x.Contacts[1].Accepted.IsZero() && !x.Contacts[2].Accepted.IsZero()
	})
	if late := got.Contacts[0].At.Sub(at); late < 0 || late > 10*time.Second || got.Job != "daily-drill" || got.Drilled != "ana" {
		t.Errorf("begun %s after it was due: %+v", late, got)
	}
	said := func() string { return space.Messages("U02ANA")[0].Text + string(space.Messages("U02ANA")[0].Blocks) }
	if text := said(); !strings.Contains(text, "Nothing is wrong") || !strings.Contains(text, "the job daily-drill tries whether you, ana") {
		t.Errorf("Slack says %s", text)
	}
	if m := ntfy.Shown()[0]; !strings.Contains(m.Title+m.Message, "DRILL") || !strings.HasPrefix(m.Message, "Nothing is wrong.") {
		t.Errorf("ntfy shows %+v", m)
	}

	answerAll(t, d, space, twilio, ntfy)
	got = drill(func(x drilledUser) bool { return !x.Ended.IsZero() })
	for _, c := range got.Contacts {
		if c.Result != "ok" || c.Answered.IsZero() {
			t.Errorf("%+v", c)
		}
	}
	if !until(patience, func() bool { return strings.Contains(said(), "All 3 contacts work") }) {
		t.Errorf("at the end Slack says %s", said())
	}
	if !until(patience, func() bool { return ntfy.Shown()[0].Message == "The drill is over. Nothing was wrong." }) {
		t.Errorf("at the end ntfy shows %+v", ntfy.Shown())
	}
	showsAllWell(t, d)
	for _, p := range append(twilio.Problems(), ntfy.Problems()...) {
		t.Error(p)
	}
}

// showsAllWell looks at the page of drills and the metrics after a drill in which all contacts worked.
func showsAllWell(t *testing.T, d *daemon) {
	t.Helper()
	_, page := d.call(http.MethodGet, "/drills", nil)
	if !strings.Contains(string(page), "All 3 contacts worked in their last drill.") {
		t.Errorf("the page says %s", page)
	}
	_, metrics := d.call(http.MethodGet, "/metrics", nil)
	for _, e := range []string{"slack:U02ANA", "ntfy:ana-ntfy/0", "call:ana-call/0"} {
		if want := fmt.Sprintf("tocsin_contact_last_drill_success{contact=%q,user=\"ana\"} 1\n", e); !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// answerAll answers a drill in Slack, on the telephone and in ntfy.
func answerAll(t *testing.T, d *daemon, space *slacktest.Server, twilio *pagertest.Twilio, ntfy *pagertest.Ntfy) {
	t.Helper()
	call := twilio.Asked()[0]
	if twiml := strings.ToLower(call.Form.Get("Twiml")); !strings.Contains(twiml, "drill 1") || !strings.Contains(twiml, "nothing is wrong") || strings.Contains(twiml, "escalate") {
		t.Errorf("the telephone says %s", twiml)
	}
	for _, r := range []*http.Request{twilio.Press(t.Context(), call, "4"), twilio.Ended(t.Context(), call, "completed")} {
		if status, answer := d.reach(r); status/100 != 2 {
			t.Errorf("%s was answered %d %s", r.URL.Path, status, answer)
		}
	}
	for _, a := range ntfy.Shown()[0].Actions {
		if status, answer := d.open(a.Method, a.URL); a.Label == "Acknowledge" && status != http.StatusOK {
			t.Errorf("ntfy's button was answered %d %s", status, answer)
		}
	}
	if a, err := space.Press(t.Context(), d.url(), space.Messages("U02ANA")[0], "tocsin_acknowledge", "U02ANA"); err != nil || a.Status != http.StatusOK {
		t.Errorf("Slack's button was answered %+v, %v", a, err)
	}
}

// drilledUser is a drill as the API shows it.
type drilledUser struct {
	Number       int
	Drilled, Job string
	Ended        time.Time `json:"ended_at"`
	Contacts     []struct {
		Contact, Endpoint, Result, Failure string
		At                                 time.Time
		Accepted                           time.Time `json:"accepted_at"`
		Confirmed                          time.Time `json:"confirmed_at"`
		Answered                           time.Time `json:"answered_at"`
	}
}
