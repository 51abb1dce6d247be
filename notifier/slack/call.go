package slack

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// One place for calls of Slack's Web API: Adapter.call makes them, the gate (gate.go) paces them, the table in
// methods.go knows them, and classify says what became of them.

const (
	maxAnswer  = 4 << 20 // a page of a large workspace's channels is over a megabyte
	maxExcerpt = 200     // characters
	maxError   = 500     // bytes
)

// callError is a call that did not succeed. Its text is for people, on one line and without secrets.
type callError struct {
	method     string
	code       string // Slack's, "" where it did not come to one
	outcome    oncall.Outcome
	status     int           // of HTTP; 0: no answer
	retryAfter time.Duration // 0: Slack said nothing
	text       string
	excerpt    string // of what was answered
}

func (e *callError) Error() string { return e.text }

// call calls a method once and decodes its answer (into may be nil). Values that are lists or objects are given as
// JSON. The error is a *callError. It waits where the method's tier asks for it, never for a Retry-After: such a call
// fails at once.
func (a *Adapter) call(ctx context.Context, method string, args url.Values, into any) error {
	if e := a.exchange(ctx, method, args, into); e != nil {
		return e
	}
	return nil
}

// exchange is call with its error's type.
func (a *Adapter) exchange(ctx context.Context, method string, args url.Values, into any) *callError {
	rec := &recorder{client: a.http}
	err := a.request(ctx, rec, method, args, into)
	at := oncall.Attempt{Outcome: oncall.OutcomeDelivered}
	if err != nil {
		classify(method, err, rec, &at)
	}
	a.sent.WithLabelValues(method, string(at.Outcome)).Inc()
	if err == nil {
		return nil
	}
	e := &callError{method: method, outcome: at.Outcome, status: rec.status, retryAfter: at.RetryAfter,
		text:    bounded(clean(a.redact(at.Error))),
		excerpt: excerpt(a.redact(string(rec.body)))} // redacted before it is cut: half a token is a secret too
	if s, ok := errors.AsType[goslack.SlackErrorResponse](err); ok {
		e.code = s.Err
	}
	return e
}

// request sends one call. Its errors are for classify.
func (a *Adapter) request(ctx context.Context, rec *recorder, method string, args url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.APIURL+method, strings.NewReader(args.Encode()))
	if err != nil {
		return err
	}
	token := a.cfg.BotToken
	if methods[method].ofApp {
		token = a.cfg.AppToken
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := rec.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if rec.status != http.StatusOK {
		return fmt.Errorf("HTTP status %d", rec.status)
	}
	return decodeAnswer(rec.body, into)
}

// decodeAnswer reads what Slack answered: its error as goslack.SlackErrorResponse.
func decodeAnswer(body []byte, into any) error {
	var head struct {
		answerHead
		Errors   []json.RawMessage `json:"errors"` // texts, or objects
		Provided string            `json:"provided"`
		Metadata struct {
			Messages []string `json:"messages"`
		} `json:"response_metadata"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return err
	}
	if head.OK {
		if into == nil {
			return nil
		}
		return json.Unmarshal(body, into)
	}
	if head.Error == "" {
		return errors.New("the answer is neither a success nor an error of Slack's")
	}
	e := goslack.SlackErrorResponse{Err: head.Error, Needed: head.Needed, Provided: head.Provided,
		ResponseMetadata: goslack.ResponseMetadata{Messages: head.Metadata.Messages}}
	for _, raw := range head.Errors {
		var text string
		if len(e.ResponseMetadata.Messages) == 0 && json.Unmarshal(raw, &text) == nil {
			e.ResponseMetadata.Messages = append(e.ResponseMetadata.Messages, text)
		}
	}
	return e
}

// recorder does one request and keeps what was answered. It is used by one goroutine.
type recorder struct {
	client     *http.Client
	status     int
	header     http.Header
	body       []byte
	retryAfter time.Duration
}

// Do reads the whole answer, so that a connection that breaks in the middle of it shows as such.
func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r.status, r.header = resp.StatusCode, resp.Header
	r.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	// slack-go fails over a Retry-After that is no whole number before it looks at the status.
	if resp.StatusCode == http.StatusTooManyRequests {
		resp.Header.Del("Retry-After")
	}
	resp.Body = io.NopCloser(bytes.NewReader(r.body))
	return resp, nil
}

// excerpt is the start of an answer, on one line.
func excerpt(body string) string {
	if len(body) > 8*maxExcerpt {
		body = body[:8*maxExcerpt]
	}
	return shorten(clean(body), maxExcerpt)
}

// bounded keeps an error short enough for a timeline.
func bounded(s string) string {
	s = shorten(s, maxError)
	for n := maxError; len(s) > maxError; n -= 20 {
		s = shorten(s, n)
	}
	return s
}

// classify says what a failed request means for the delivery.
func classify(method string, err error, rec *recorder, at *oncall.Attempt) {
	if e, ok := errors.AsType[goslack.SlackErrorResponse](err); ok {
		at.Outcome, at.Error = slackError(method, e)
		if at.Outcome == oncall.OutcomeRetry {
			at.RetryAfter = rec.retryAfter
			if limited(e.Err) {
				at.RetryAfter = max(at.RetryAfter, time.Second)
			}
		}
		return
	}
	switch s := rec.status; {
	case s == http.StatusTooManyRequests:
		at.Outcome, at.RetryAfter = oncall.OutcomeRetry, max(rec.retryAfter, time.Second)
		at.Error = method + ": Slack's rate limit was reached"
	case s >= 500 || s == http.StatusRequestTimeout:
		at.Outcome, at.RetryAfter = oncall.OutcomeRetry, rec.retryAfter
		at.Error = fmt.Sprintf("%s: Slack answered %d %s", method, s, http.StatusText(s))
	case s >= 300 && s < 400:
		at.Outcome = oncall.OutcomeRefused
		at.Error = fmt.Sprintf("%s: Slack answered with a redirect (%d); check slack.api_url", method, s)
	case s >= 400:
		// A 410 too: Slack's API knows none, so it says nothing about the channel.
		at.Outcome = oncall.OutcomeRefused
		at.Error = fmt.Sprintf("%s: %d %s; check slack.api_url and what stands between here and Slack", method, s, http.StatusText(s))
	case s != 0:
		at.Outcome = oncall.OutcomeUnknown
		at.Error = fmt.Sprintf("%s: Slack's answer could not be understood; the message may have been posted", method)
	default:
		at.Outcome, at.Error = transportError(method, err)
	}
}

// transportError tells a request that never left from one that may have been acted on.
func transportError(method string, err error) (oncall.Outcome, string) {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the address, which may hold credentials
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return oncall.OutcomeRetry, fmt.Sprintf("%s: no connection to Slack: %v", method, op)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return oncall.OutcomeRetry, fmt.Sprintf("%s: no connection to Slack: %v", method, cert)
	}
	what := "the connection broke"
	if t, ok := errors.AsType[net.Error](err); (ok && t.Timeout()) || errors.Is(err, context.DeadlineExceeded) {
		what = "no answer in time"
	} else if errors.Is(err, context.Canceled) {
		what = "given up"
	}
	if method == "chat.postMessage" { // what is done twice is seen twice
		what += ", so the message may have been posted"
	}
	return oncall.OutcomeUnknown, fmt.Sprintf("%s: %s: %v", method, what, err)
}

// retried are Slack's own troubles, which pass.
var retried = map[string]bool{
	"ratelimited": true, "rate_limited": true, "internal_error": true, "service_unavailable": true, "fatal_error": true,
	"request_timeout": true, "accesslimited": true, "update_failed": true, "team_added_to_org": true,
}

// remedies say what to do about a refusal, to the person who runs tocsin.
var remedies = map[string]string{
	"message_not_found":      "the message was deleted, or another app posted it",
	"cant_update_message":    "the message was posted by another app; was the bot token changed?",
	"edit_window_closed":     "the workspace does not allow edits any more; ask its admins",
	"thread_not_found":       "the message was deleted",
	"channel_not_found":      "check the channel's name; a private channel is found only by its ID, and once the app was invited",
	"not_in_channel":         "invite the app to the channel (/invite @tocsin), or give it the scope chat:write.public",
	"is_archived":            "the channel is archived; unarchive it or name another",
	"invalid_auth":           "check slack.bot_token_file",
	"not_authed":             "check slack.bot_token_file",
	"account_inactive":       "the app or its bot user was removed; install it again and renew slack.bot_token_file",
	"token_revoked":          "install the app again and renew slack.bot_token_file",
	"token_expired":          "renew slack.bot_token_file",
	"missing_scope":          "add the scope under OAuth & Permissions and install the app again",
	"restricted_action":      "the workspace does not let the app post there; ask its admins",
	"permission_denied":      "the workspace lets only admins edit user groups: under Settings & administration, Permissions, User groups, let the app's owner or everyone edit them",
	"invalid_users":          "one of the people on call is deactivated in Slack, or a bot; check their slack IDs",
	"user_not_found":         "check the user's slack ID",
	"user_disabled":          "the user's account is deactivated",
	"messages_tab_disabled":  "enable the app's messages tab, so that it can send direct messages",
	"cannot_dm_bot":          "the ID belongs to a bot; check the user's slack ID",
	"msg_too_long":           "this is a defect of tocsin: please report it",
	"msg_blocks_too_long":    "this is a defect of tocsin: please report it",
	"invalid_blocks":         "this is a defect of tocsin: please report it",
	"no_text":                "this is a defect of tocsin: please report it",
	"org_login_required":     "the workspace is being migrated; wait until its admins are done",
	"ekm_access_denied":      "the workspace's admins suspended access",
	"not_allowed_token_type": "slack.bot_token_file must hold a bot token (xoxb-…), slack.app_token_file an app-level token (xapp-…)",
	"method_not_supported":   "check slack.api_url",
	"unknown_method":         "check slack.api_url",
}

// slackError says what one of Slack's error codes means.
func slackError(method string, e goslack.SlackErrorResponse) (oncall.Outcome, string) {
	text := method + ": " + shorten(clean(e.Err), 80)
	if retried[e.Err] {
		return oncall.OutcomeRetry, text
	}
	if e.Needed != "" {
		text += " (needs " + shorten(clean(e.Needed), 80) + ")"
	}
	if m := e.ResponseMetadata.Messages; len(m) > 0 {
		text += " (" + shorten(clean(strings.Join(m, "; ")), 200) + ")"
	}
	if fix := remedies[e.Err]; fix != "" {
		text += ": " + fix
	}
	return oncall.OutcomeRefused, text
}
