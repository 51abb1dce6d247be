package slack

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"tocsin/oncall"
)

// badTokens are Slack's words for a bot token that will not work again by itself.
var badTokens = []string{"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired",
	"org_login_required", "ekm_access_denied", "access_denied", "team_access_not_granted", "team_not_found"}

// badGrants are Slack's words for a token that works, but not for what it is used for. Whether that mutes tocsin
// depends on the method.
var badGrants = []string{"missing_scope", "no_permission", "not_allowed_token_type"}

// Trouble says that nothing can be posted to a workspace until a person mends it.
type Trouble struct {
	Since time.Time
	Why   string // for people, without secrets: Slack's word and what to do
}

// tokenState is what Slack's answers have told about the bot token. Its zero value is a token that nothing is known of.
type tokenState struct {
	mu      sync.Mutex
	trouble *Trouble // nil: none
	grant   bool     // the trouble is about what the token may do
}

// learn takes in what a method answered.
func (s *tokenState) learn(method string, a answerHead, now time.Time) {
	if methods[method].ofApp {
		return
	}
	posts := strings.HasPrefix(method, "chat.")
	s.mu.Lock()
	defer s.mu.Unlock()
	mayPost := a.Scopes == "" || slices.Contains(scopesOf(a.Scopes), "chat:write")
	switch {
	case a.OK && !mayPost:
		s.set("the bot token lacks the scope chat:write: "+remedies["missing_scope"], true, now)
	case a.OK && (posts || !s.grant || a.Scopes != ""):
		s.trouble, s.grant = nil, false
	case slices.Contains(badTokens, a.Error):
		s.set(wordOf(a.Error), false, now)
	case posts && slices.Contains(badGrants, a.Error):
		s.set(wordOf(a.Error), true, now)
	}
}

// set needs mu.
func (s *tokenState) set(why string, grant bool, now time.Time) {
	if s.trouble == nil {
		s.trouble = &Trouble{Since: now}
	}
	s.trouble.Why, s.grant = why, grant
}

func wordOf(code string) string {
	if fix := remedies[code]; fix != "" {
		return code + ": " + fix
	}
	return code
}

// scopesOf reads Slack's list of scopes.
func scopesOf(header string) []string {
	return strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ' ' })
}

// Unusable reports what keeps tocsin from posting to the workspace at all, as far as Slack's answers have told; nil:
// nothing that is known.
func (a *Adapter) Unusable() *Trouble {
	a.token.mu.Lock()
	defer a.token.mu.Unlock()
	if a.token.trouble == nil {
		return nil
	}
	t := *a.token.trouble
	return &t
}

// TestToken asks Slack whether the bot token is good. CodeForbidden: it is not, and the message says what to do.
// CodeUnavailable: that is not known, because Slack cannot be asked just now.
func (a *Adapter) TestToken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	e := a.exchange(ctx, "auth.test", url.Values{}, nil)
	if t := a.Unusable(); t != nil {
		return oncall.Errorf(oncall.CodeForbidden, "%s", t.Why)
	}
	if e != nil {
		return oncall.Errorf(oncall.CodeUnavailable, "%s", e.text)
	}
	return nil
}
