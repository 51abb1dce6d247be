package slack

import (
	"strings"
	"testing"
	"testing/synctest"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// TestToken tells a token that is not good any more from a Slack that cannot be asked.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			change func(*Config, *slacktest.Options)
			code   oncall.Code
		}{
			"good":    {nil, ""},
			"revoked": {func(cfg *Config, _ *slacktest.Options) { cfg.BotToken = "xoxb-hunter2" }, oncall.CodeForbidden},
			"away":    {func(cfg *Config, _ *slacktest.Options) { cfg.APIURL = "http://elsewhere.test/api/" }, oncall.CodeUnavailable},
		} {
			err := newWorkspace(t, newActs(), c.change).TestToken(t.Context())
			if oncall.ErrorCode(err) != c.code || err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v (%s)", name, err, oncall.ErrorCode(err))
			}
		}
	})
}
