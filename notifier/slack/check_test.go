package slack

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// checked runs a check and shows it as lines.
func checked(t *testing.T, p oncall.Policy, change func(*Config, *slacktest.Options), arrange func(*slacktest.Server), transport func(http.RoundTripper) http.RoundTripper, also ...string) string {
	t.Helper()
	o := slacktest.Options{Token: secretToken, Channels: []string{"#session-alerts"}, Users: []slacktest.User{{ID: "U02ANA", Name: "ana"}, {ID: "U03BO", Name: "bo"}}}
	cfg := Config{BotToken: secretToken, SigningSecret: "hush-hush", APIURL: "http://slack.test/api/"}
	if change != nil {
		change(&cfg, &o)
	}
	s := slacktest.New(o)
	if arrange != nil {
		arrange(s)
	}
	var rt http.RoundTripper = slacktest.Transport{"slack.test": s}
	if transport != nil {
		rt = transport(rt)
	}
	w := NewWorkspaces([]Config{cfg}, Options{Policy: func() oncall.Policy { return p }, HTTPClient: &http.Client{Transport: rt}}, nil)
	defer w.Close()
	var b strings.Builder
	for _, c := range w.Check(t.Context(), also...) {
		fmt.Fprintf(&b, "%v %s: %s", c.OK, c.What, c.Text)
		if c.Fix != "" {
			fmt.Fprintf(&b, " → %s", c.Fix)
		}
		if c.OK != (c.Fix == "") {
			t.Errorf("a fix where all is well, or none where it is not: %+v", c)
		}
		b.WriteString("\n")
	}
	if strings.Contains(b.String(), secretToken) || strings.Contains(b.String(), "hush-hush") {
		t.Errorf("a secret was shown:\n%s", b.String())
	}
	return b.String()
}

// dated sets the clock of the far end.
type dated struct {
	next http.RoundTripper
	at   time.Time
}

func (d dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(r)
	if resp != nil {
		resp.Header.Set("Date", d.at.UTC().Format(http.TimeFormat))
	}
	return resp, err
}

// TestCheck: everything that can be missing in Slack is found, and the line says what to do.
func TestCheck(t *testing.T) {
	policy := func(change func(*oncall.Policy)) oncall.Policy {
		p := testPolicy()
		if change != nil {
			change(&p)
		}
		return p
	}
	ana := func(u oncall.User) func(*oncall.Policy) {
		return func(p *oncall.Policy) { u.Name = "ana"; p.Users["ana"] = u }
	}
	group := func(p *oncall.Policy) {
		p.Schedules = map[string]oncall.Schedule{"s": {SlackUserGroup: "@session-oncall"}}
	}
	topic := func(p *oncall.Policy) {
		p.Schedules = map[string]oncall.Schedule{"s": {SlackTopic: "#session-alerts"}}
	}
	without := func(scopes ...string) func(*slacktest.Server) {
		return func(s *slacktest.Server) {
			s.SetScopes(slices.DeleteFunc(BotScopes(), func(one string) bool { return slices.Contains(scopes, one) })...)
			s.AddUserGroup(slacktest.UserGroup{ID: "S1", Handle: "session-oncall"})
		}
	}
	for name, c := range map[string]struct {
		policy    func(*oncall.Policy)
		change    func(*Config, *slacktest.Options)
		arrange   func(*slacktest.Server)
		also      []string // channels that the policy does not name
		transport func(http.RoundTripper) http.RoundTripper
		want      []string // each must be in the output
		fine      bool
	}{
		"all is well":              {fine: true, want: []string{"true bot token: tocsin in Slacktest (T0TEST)", "true scopes: all that are used", "true channel #session-alerts: found", "true user ana: found by U02ANA", "true user bo", "over HTTP"}},
		"socket mode":              {fine: true, change: func(c *Config, _ *slacktest.Options) { c.AppToken = "xapp-test" }, want: []string{"true app token: Socket Mode can be used"}},
		"bot token":                {change: func(c *Config, _ *slacktest.Options) { c.BotToken = "xoxb-other" }, want: []string{"false bot token: auth.test: invalid_auth", "→ in Slack: api.slack.com/apps, your app, OAuth & Permissions"}},
		"away":                     {change: func(c *Config, _ *slacktest.Options) { c.APIURL = "http://elsewhere.test/api/" }, want: []string{"false bot token: auth.test: no connection", "elsewhere.test"}},
		"app token":                {change: func(c *Config, _ *slacktest.Options) { c.AppToken = "xapp-other" }, want: []string{"false app token: apps.connections.open: invalid_auth", "Enable Socket Mode"}},
		"kinds of tokens mixed up": {change: func(c *Config, _ *slacktest.Options) { c.AppToken = secretToken }, want: []string{"false app token", "not_allowed_token_type"}},
		"scopes": {arrange: func(s *slacktest.Server) { s.SetScopes("chat:write", "commands", "admin") },
			want: []string{"false scopes: missing: channels:read, channels:write.topic, files:write, groups:read, ", "Reinstall", "false channels: they cannot be listed", "false user ana: users.info: missing_scope (needs users:read)"}},
		"spare scopes":            {fine: true, arrange: func(s *slacktest.Server) { s.SetScopes(append(BotScopes(), "admin")...) }, want: []string{"not needed: admin"}},
		"no channel":              {policy: func(p *oncall.Policy) { p.Schedules = map[string]oncall.Schedule{"s": {NotifySlack: "#nowhere"}} }, want: []string{"false channel #nowhere: Slack knows none"}},
		"no channel for a digest": {also: []string{"#digets", "elsewhere/#digest"}, want: []string{"false channel #digets: Slack knows none"}},
		"Slack has trouble": {arrange: func(s *slacktest.Server) {
			s.Fail(slacktest.Fault{Method: "conversations.list", Stage: slacktest.Before, Times: -1})
		},
			want: []string{"false channels: they cannot be listed: conversations.list: Slack answered 500", "→ run this again"}},
		"of another company": {arrange: func(s *slacktest.Server) { s.AddUser(slacktest.User{ID: "U02ANA", Stranger: true}) }, want: []string{"false user ana: U02ANA is of another Slack workspace"}},
		"archived":           {arrange: func(s *slacktest.Server) { s.AddChannel(slacktest.Channel{Name: "session-alerts", Archived: true}) }, want: []string{"false channel #session-alerts: it is archived", "Unarchive"}},
		"not invited":        {arrange: func(s *slacktest.Server) { s.AddChannel(slacktest.Channel{Name: "session-alerts", NotMember: true}) }, want: []string{"→ in #session-alerts type /invite @tocsin"}},
		"private":            {fine: true, arrange: func(s *slacktest.Server) { s.AddChannel(slacktest.Channel{Name: "session-alerts", Private: true}) }},
		"private and not invited": {arrange: func(s *slacktest.Server) {
			s.AddChannel(slacktest.Channel{Name: "session-alerts", Private: true, NotMember: true})
		}, want: []string{"where it is private, type /invite @tocsin"}},
		"by ID": {fine: true, policy: func(p *oncall.Policy) { p.Schedules = map[string]oncall.Schedule{"s": {NotifySlack: "C0PRIV"}} },
			arrange: func(s *slacktest.Server) { s.AddChannel(slacktest.Channel{ID: "C0PRIV", Name: "quiet", Private: true}) }, want: []string{"true channel C0PRIV"}},
		"many channels": {fine: true, arrange: func(s *slacktest.Server) {
			for i := range 2500 {
				s.AddChannel(slacktest.Channel{ID: fmt.Sprintf("A%d", i), Name: fmt.Sprintf("other-%d", i)})
			}
		}},
		"user group": {fine: true, policy: group, arrange: func(s *slacktest.Server) {
			s.AddUserGroup(slacktest.UserGroup{ID: "S1", Handle: "session-oncall", Users: []string{"U02ANA"}})
		}, want: []string{"true user group @session-oncall: found, with 1 member"}},
		"no user group": {policy: group, arrange: func(s *slacktest.Server) {
			s.AddUserGroup(slacktest.UserGroup{ID: "S1", Handle: "session-on-call"})
		}, want: []string{"false user group @session-oncall: Slack has none by that name (", "session-on-call", "→ in Slack: Directories, User groups, Create"}},
		"disabled user group": {policy: group, arrange: func(s *slacktest.Server) {
			s.AddUserGroup(slacktest.UserGroup{ID: "S1", Handle: "session-oncall", Disabled: true})
		}, want: []string{"false user group @session-oncall: it is disabled", "Enable"}},
		"user groups without scopes": {policy: group, arrange: without("usergroups:read", "usergroups:write"),
			want: []string{"false user groups: @session-oncall cannot be kept to who is on call without usergroups:read and usergroups:write"}},
		"user group not to be written": {policy: group, arrange: without("usergroups:write"),
			want: []string{"false user groups: @session-oncall cannot be kept to who is on call without usergroups:write", "true user group @session-oncall"}},
		"topic":               {fine: true, policy: topic, want: []string{"true topic of #session-alerts: it may be set"}},
		"topic without scope": {policy: topic, arrange: without("channels:write.topic"), want: []string{"false topic of #session-alerts: it cannot be set without channels:write.topic"}},
		"private topic without scope": {policy: topic, arrange: func(s *slacktest.Server) {
			without("groups:write.topic")(s)
			s.AddChannel(slacktest.Channel{Name: "session-alerts", Private: true})
		}, want: []string{"false topic of #session-alerts: it cannot be set without groups:write.topic"}},
		"topic of an archived channel": {policy: topic, arrange: func(s *slacktest.Server) {
			s.AddChannel(slacktest.Channel{Name: "session-alerts", Archived: true})
		}, want: []string{"false topic of #session-alerts"}},
		"topic that is full": {policy: topic, arrange: func(s *slacktest.Server) {
			s.AddChannel(slacktest.Channel{Name: "session-alerts", Topic: strings.Repeat("t", 230)})
		}, want: []string{"false topic of #session-alerts: the channel's topic has no room", "Edit topic"}},
		"nobody":      {policy: ana(oncall.User{Slack: "U0GONE"}), want: []string{"false user ana: Slack knows nobody by U0GONE", "Copy member ID"}},
		"deactivated": {arrange: func(s *slacktest.Server) { s.AddUser(slacktest.User{ID: "U02ANA", Deleted: true}) }, want: []string{"false user ana: U02ANA is a deactivated account"}},
		"bot":         {arrange: func(s *slacktest.Server) { s.AddUser(slacktest.User{ID: "U02ANA", Bot: true}) }, want: []string{"false user ana: U02ANA is a bot"}},
		"e-mail": {fine: true, policy: ana(oncall.User{Email: "Ana@shop.example"}),
			arrange: func(s *slacktest.Server) { s.AddUser(slacktest.User{ID: "U7", Name: "ana", Email: "ana@shop.example"}) }, want: []string{"true user ana: found by Ana@shop.example"}},
		"no such e-mail": {policy: ana(oncall.User{Email: "ana@shop.example"}), want: []string{"false user ana: Slack knows nobody by ana@shop.example"}},
		"unverified": {policy: ana(oncall.User{Email: "ana@shop.example"}),
			arrange: func(s *slacktest.Server) {
				s.AddUser(slacktest.User{ID: "U7", Email: "ana@shop.example", Unconfirmed: true})
			}, want: []string{"has not verified", "slack: U7"}},
		"limited for a while": {fine: true, arrange: func(s *slacktest.Server) {
			s.Fail(slacktest.Fault{Method: "users.info", Stage: slacktest.Before, Status: 429, RetryAfter: 20 * time.Second})
		}},
		"clock far off": {transport: func(rt http.RoundTripper) http.RoundTripper { return dated{rt, time.Now().Add(-6 * time.Minute)} }, want: []string{"false clock: this machine's clock is 6m0s off Slack's", "NTP"}},
		"clock off":     {fine: true, transport: func(rt http.RoundTripper) http.RoundTripper { return dated{rt, time.Now().Add(time.Minute)} }, want: []string{"true clock: -1m0s off"}},
		"clock right":   {fine: true, transport: func(rt http.RoundTripper) http.RoundTripper { return dated{rt, time.Now()} }, want: []string{"true clock: agrees"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := checked(t, policy(c.policy), c.change, c.arrange, c.transport, c.also...)
				for _, want := range c.want {
					if !strings.Contains(got, want) {
						t.Errorf("%q is not in\n%s", want, got)
					}
				}
				if c.fine == strings.Contains("\n"+got, "\nfalse ") {
					t.Errorf("fine: %v, and it says\n%s", !c.fine, got)
				}
			})
		})
	}
}
