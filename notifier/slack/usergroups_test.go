package slack

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

func TestSyncGroup(t *testing.T) {
	type want struct {
		outcome  oncall.Outcome
		changed  bool
		unmapped string
		err      string
		group    string // who is in it then
	}
	for name, c := range map[string]struct {
		group string
		users []string
		fault *slacktest.Fault
		want  want
	}{
		"by handle":                {"@session-oncall", []string{"bo"}, nil, want{"delivered", true, "", "", "U03BO"}},
		"by ID":                    {"S0ONCALL", []string{"bo", "ana"}, nil, want{"delivered", true, "", "", "U02ANA U03BO"}},
		"as it is":                 {"@session-oncall", []string{"ana"}, nil, want{"delivered", false, "", "", "U02ANA"}},
		"by address":               {"@session-oncall", []string{"cy"}, nil, want{"delivered", true, "", "", "U04CY"}},
		"an unverified address":    {"@session-oncall", []string{"bo", "dee"}, nil, want{"delivered", true, "dee", "", "U03BO"}},
		"an unknown address":       {"@session-oncall", []string{"bo", "fay"}, nil, want{"delivered", true, "fay", "", "U03BO"}},
		"nobody":                   {"@session-oncall", nil, nil, want{"delivered", false, "", "", "U02ANA"}},
		"nobody who is known":      {"@session-oncall", []string{"dee", "gus"}, nil, want{"delivered", false, "dee gus", "", "U02ANA"}},
		"no such group":            {"@session-onc", []string{"bo"}, nil, want{"refused", false, "", `no user group @session-onc (did you mean "session-oncall"?): create it`, "U02ANA"}},
		"a disabled group":         {"@retired", []string{"bo"}, nil, want{"refused", false, "", "is disabled in Slack", "U02ANA"}},
		"Slack cannot say who":     {"@session-oncall", []string{"ana", "cy"}, &slacktest.Fault{Method: "users.lookupByEmail", Stage: slacktest.Before}, want{"retry", false, "", "500", "U02ANA"}},
		"no scope":                 {"@session-oncall", []string{"bo"}, &slacktest.Fault{Method: "usergroups.users.update", Stage: slacktest.Before, Error: "missing_scope"}, want{"refused", false, "", "add the scope", "U02ANA"}},
		"only admins":              {"@session-oncall", []string{"bo"}, &slacktest.Fault{Method: "usergroups.users.update", Stage: slacktest.Before, Error: "permission_denied"}, want{"refused", false, "", "lets only admins", "U02ANA"}},
		"a limit":                  {"@session-oncall", []string{"bo"}, &slacktest.Fault{Method: "usergroups.list", Stage: slacktest.Before, Status: 429, RetryAfter: 90 * time.Second}, want{"retry", false, "", "rate limit", "U02ANA"}},
		"done, but nobody said so": {"@session-oncall", []string{"bo"}, &slacktest.Fault{Method: "usergroups.users.update", Stage: slacktest.During}, want{"unknown", false, "", "broke", "U03BO"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkspace(t, newActs(), func(_ *Config, o *slacktest.Options) {
					o.Users = append(o.Users, slacktest.User{ID: "U04CY", Name: "cy", Email: "cy@shop.example"},
						slacktest.User{ID: "U05DEE", Name: "dee", Email: "dee@shop.example", Unconfirmed: true})
				})
				p := testPolicy()
				for _, user := range []string{"cy", "dee", "fay"} {
					p.Users[user] = oncall.User{Name: user, Email: user + "@shop.example"}
				}
				w.policy = func() oncall.Policy { return p }
				w.slack.AddUserGroup(slacktest.UserGroup{ID: "S0ONCALL", Handle: "session-oncall", Users: []string{"U02ANA"}})
				w.slack.AddUserGroup(slacktest.UserGroup{ID: "S0OLD", Handle: "retired", Users: []string{"U02ANA"}, Disabled: true})
				if c.fault != nil {
					w.slack.Fail(*c.fault)
				}
				got := w.SyncGroup(t.Context(), c.group, c.users)
				if got.Outcome != c.want.outcome || got.Changed != c.want.changed || strings.Join(got.Unmapped, " ") != c.want.unmapped || !strings.Contains(got.Error, c.want.err) || (c.want.err == "") != (got.Error == "") {
					t.Errorf("%+v", got)
				}
				if c.fault != nil && got.RetryAfter != c.fault.RetryAfter {
					t.Errorf("again after %s", got.RetryAfter)
				}
				if g, _ := w.slack.UserGroup("S0ONCALL"); strings.Join(g.Users, " ") != c.want.group {
					t.Errorf("the group is %q", g.Users)
				}
				if written := slices.ContainsFunc(w.slack.Calls("usergroups.users.update"), func(c slacktest.Call) bool { return c.Error == "" && c.Status != 0 }); written != c.want.changed && got.Outcome == oncall.OutcomeDelivered {
					t.Errorf("written: %v", written)
				}
			})
		})
	}
}
