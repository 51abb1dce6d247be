package slack

import (
	"context"
	"errors"
	"slices"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// badTokens are Slack's words for a bot token that will not work again by itself.
var badTokens = []string{"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission",
	"missing_scope", "not_allowed_token_type", "org_login_required", "ekm_access_denied", "access_denied", "team_access_not_granted"}

// TestToken asks Slack whether the bot token is good. CodeForbidden: it is not, and the message says what to do.
// CodeUnavailable: that is not known, because Slack cannot be asked just now.
func (a *Adapter) TestToken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	rec := &recorder{client: a.http}
	api := goslack.New(a.cfg.BotToken, goslack.OptionHTTPClient(rec), goslack.OptionAPIURL(a.cfg.APIURL))
	_, err := api.AuthTestContext(ctx)
	at := oncall.Attempt{At: time.Now(), Outcome: oncall.OutcomeDelivered}
	if err != nil {
		classify("auth.test", err, rec, &at)
	}
	a.sent.WithLabelValues("auth.test", string(at.Outcome)).Inc()
	if err == nil {
		return nil
	}
	text := bounded(clean(a.redact(at.Error)))
	if e, ok := errors.AsType[goslack.SlackErrorResponse](err); ok && slices.Contains(badTokens, e.Err) {
		return oncall.Errorf(oncall.CodeForbidden, "%s", text)
	}
	return oncall.Errorf(oncall.CodeUnavailable, "%s", text)
}
