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
	"strconv"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
)

var _ notifier.Sender = (*Adapter)(nil)

const (
	maxAnswer  = 1 << 20
	maxExcerpt = 200 // characters
	maxError   = 500 // bytes
)

// Send makes one attempt at a message, an edit or a reply.
func (a *Adapter) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	at := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts}
	method := "chat.postMessage"
	if m.Delivery.Kind == oncall.KindEdit {
		method = "chat.update"
	}
	a.attempt(ctx, m, method, &at)
	at.Took = time.Since(at.At)
	at.Error = bounded(clean(a.redact(at.Error)))
	a.sent.WithLabelValues(method, string(at.Outcome)).Inc()
	return at
}

// attempt fills in the result of one try.
func (a *Adapter) attempt(ctx context.Context, m notifier.Message, method string, at *oncall.Attempt) {
	channel, options, err := a.compose(m)
	if err != nil {
		at.Outcome, at.Error = oncall.OutcomeRefused, err.Error()
		return
	}
	if ok := a.post(ctx, channel, options, method, at); ok && m.Delivery.Kind != oncall.KindReply {
		at.Revision = m.Incident.Revision
	}
}

// post makes one request that posts or edits a message, and fills in what became of it. ok: it was delivered.
func (a *Adapter) post(ctx context.Context, channel string, options []goslack.MsgOption, method string, at *oncall.Attempt) (ok bool) {
	// A client costs nothing, and its own recorder keeps what this one attempt was answered.
	rec := &recorder{client: a.http}
	api := goslack.New(a.cfg.BotToken, goslack.OptionHTTPClient(rec), goslack.OptionAPIURL(a.cfg.APIURL))
	gotChannel, ts, _, err := api.SendMessageContext(ctx, channel, options...)
	at.Status = rec.status
	if err == nil && (gotChannel == "" || ts == "") {
		err = errors.New("the answer names no message")
	}
	if err != nil {
		classify(method, err, rec, at)
		at.Excerpt = excerpt(a.redact(string(rec.body))) // redacted before it is cut: half a token is a secret too
		return false
	}
	at.Outcome = oncall.OutcomeDelivered // no excerpt: what Slack answers to a success is our own message
	at.Remote = gotChannel + "/" + ts
	return true
}

// compose says where a message goes and what it holds. Its errors are final.
func (a *Adapter) compose(m notifier.Message) (channel string, o []goslack.MsgOption, err error) {
	to := m.Delivery.Endpoint.Address()
	if m.Delivery.Endpoint.Kind() != "slack" || to == "" {
		return "", nil, fmt.Errorf("%q is no Slack endpoint", m.Delivery.Endpoint)
	}
	o = []goslack.MsgOption{goslack.MsgOptionParse(false), goslack.MsgOptionLinkNames(false),
		goslack.MsgOptionDisableLinkUnfurl(), goslack.MsgOptionDisableMediaUnfurl()}
	switch m.Delivery.Kind {
	case oncall.KindMessage:
		return to, append(o, a.draw(m.Incident)...), nil
	case oncall.KindEdit:
		channel, ts, ok := strings.Cut(m.Thread, "/")
		if !ok || channel == "" || ts == "" {
			return "", nil, errors.New("there is no message to edit")
		}
		return channel, append(append(o, a.draw(m.Incident)...), goslack.MsgOptionUpdate(ts)), nil
	case oncall.KindReply:
		channel, ts, ok := strings.Cut(m.Thread, "/")
		if !ok || channel == "" || ts == "" {
			return "", nil, errors.New("there is no message to reply to")
		}
		var r oncall.Reply
		if err := json.Unmarshal(m.Delivery.Body, &r); err != nil {
			return "", nil, fmt.Errorf("the reply cannot be read: %w", err)
		}
		o = append(o, goslack.MsgOptionText(replyText(r), false), goslack.MsgOptionTS(ts))
		if r.Broadcast {
			o = append(o, goslack.MsgOptionBroadcast())
		}
		return channel, o, nil
	}
	return "", nil, fmt.Errorf("a delivery of kind %q cannot be sent to Slack", m.Delivery.Kind)
}

func (a *Adapter) draw(in oncall.Incident) []goslack.MsgOption {
	d := Draw(in, a.policy(), time.Now())
	return []goslack.MsgOption{goslack.MsgOptionText(d.Text, false), goslack.MsgOptionBlocks(d.Blocks...)}
}

// replyText is a thread reply: a mark for the eye, then the sentence.
func replyText(r oncall.Reply) string {
	marks := map[string]string{
		string(oncall.EntryTriggered): "🔴", string(oncall.EntryEscalated): "⏫", string(oncall.EntryAcknowledged): "✋", string(oncall.EntryUnacknowledged): "🔴",
		string(oncall.EntryResolved): "✅", string(oncall.EntrySnoozed): "💤", string(oncall.EntryExhausted): "🆘",
		string(oncall.EntryNotDelivered): "⚠️", string(oncall.EntryAlertUnknown): "⚠️", string(oncall.EntryNote): "📝",
		string(oncall.EntryPaused): "🔇", string(oncall.EntryResumed): "▶️", string(oncall.EntrySilenced): "🔇", string(oncall.EntrySilenceEnding): "⏳",
	}
	text := prose(r.Text, 2900)
	if text == "" {
		text = prose(strings.ReplaceAll(r.What, "_", " "), 100)
	}
	if mark := marks[r.What]; mark != "" {
		return mark + " " + text
	}
	return "• " + text
}

// recorder does one request and keeps what was answered. It is used by one goroutine.
type recorder struct {
	client     *http.Client
	status     int
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
	r.status = resp.StatusCode
	r.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"))
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

func parseRetryAfter(h string) time.Duration {
	s, err := strconv.ParseFloat(strings.TrimSpace(h), 64)
	if err != nil || !(s > 0) {
		return 0
	}
	return time.Duration(min(s, 3600) * float64(time.Second))
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
	return oncall.OutcomeUnknown, fmt.Sprintf("%s: %s, so the message may have been posted: %v", method, what, err)
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
	"not_in_channel":         "invite the app to the channel, or give it the scope chat:write.public",
	"is_archived":            "the channel is archived; unarchive it or name another",
	"invalid_auth":           "check slack.bot_token_file",
	"not_authed":             "check slack.bot_token_file",
	"account_inactive":       "the app or its bot user was removed; install it again and renew slack.bot_token_file",
	"token_revoked":          "install the app again and renew slack.bot_token_file",
	"token_expired":          "renew slack.bot_token_file",
	"missing_scope":          "give the app the scope chat:write and install it again",
	"restricted_action":      "the workspace does not let the app post there; ask its admins",
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
	"not_allowed_token_type": "slack.bot_token_file must hold a bot token (xoxb-…)",
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
