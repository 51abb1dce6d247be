package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
)

var _ notifier.Sender = (*Adapter)(nil)

// maxPlain is how much text an edit without blocks may have, in characters.
const maxPlain = 3900

// lost are Slack's words for a message that cannot be edited any more.
var lost = map[string]bool{"message_not_found": true, "cant_update_message": true, "edit_window_closed": true}

// unmendable are Slack's words for what no person can mend so that the same is taken later: it is about the message.
var unmendable = map[string]bool{"message_not_found": true, "thread_not_found": true, "cant_update_message": true, "edit_window_closed": true,
	"no_text": true, "invalid_arguments": true, "invalid_metadata_format": true, "cannot_reply_to_message": true, "restricted_action_thread_locked": true}

// undrawn are Slack's words for blocks, or a text, that it does not take.
var undrawn = map[string]bool{"invalid_blocks": true, "invalid_blocks_format": true, "msg_blocks_too_long": true, "msg_too_long": true}

// Send makes one attempt at a message, an edit, a reply or a chart.
func (a *Adapter) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	if m.Delivery.Kind == oncall.KindChart {
		return a.chart(ctx, m)
	}
	at := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts}
	method := "chat.postMessage"
	if m.Delivery.Kind == oncall.KindEdit {
		method = "chat.update"
	}
	a.attempt(ctx, m, method, &at)
	at.Took = time.Since(at.At)
	at.Error = bounded(clean(a.redact(at.Error)))
	return at
}

// attempt fills in the result of one try.
func (a *Adapter) attempt(ctx context.Context, m notifier.Message, method string, at *oncall.Attempt) {
	channel, options, err := a.compose(m)
	if err != nil {
		at.Outcome, at.Error = oncall.OutcomeRefused, err.Error()
		return
	}
	e := a.post(ctx, channel, options, method, at)
	if e != nil && m.Delivery.Kind == oncall.KindEdit {
		at.OwnHold = true // Slack counts edits by themselves
		if lost[e.code] {
			e = a.replace(ctx, m, channel, e, at)
		}
	}
	at.Mendable = e != nil && at.Outcome == oncall.OutcomeRefused && !unmendable[e.code] && !undrawn[e.code]
	if at.Mendable && m.Delivery.Kind == oncall.KindEdit {
		// Nobody waits for an edit, so there is nothing to move on to: it comes when a person has mended what Slack minds.
		at.Outcome = oncall.OutcomeRetry
	}
	if e == nil && m.Delivery.Kind != oncall.KindReply {
		at.Revision = m.Incident.Revision
	}
	at.Closed = at.Outcome == oncall.OutcomeRefused // what it minds about blocks it takes as plain text: it is the channel, or we
}

// post makes one attempt to post or edit a message, and fills in what became of it; nil: it was delivered. Where Slack
// does not take the blocks, the text goes out without them: a page that looks plain is better than none.
func (a *Adapter) post(ctx context.Context, channel string, options []goslack.MsgOption, method string, at *oncall.Attempt) *callError {
	values, err := formOf(ctx, channel, options)
	if err != nil {
		at.Outcome, at.Error = oncall.OutcomeRefused, bounded(clean(err.Error()))
		return &callError{method: method, outcome: at.Outcome, text: at.Error}
	}
	e := a.postValues(ctx, method, values, at)
	if e == nil || !undrawn[e.code] || strings.TrimSpace(values.Get("text")) == "" {
		return e
	}
	a.log.Error("Slack did not take the blocks of a message; it goes out as plain text. This is a defect of tocsin: please report it", "err", e.text)
	values.Set("text", shorten(values.Get("text"), maxPlain))
	values.Del("blocks")
	if method == "chat.update" {
		values.Set("blocks", "[]") // else those of before would stay
	}
	if again := a.postValues(ctx, method, values, at); again != nil {
		return again
	}
	at.Error = bounded("sent as plain text, because Slack did not take the blocks: " + e.text)
	return nil
}

func (a *Adapter) postValues(ctx context.Context, method string, values url.Values, at *oncall.Attempt) *callError {
	var posted struct {
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	e := a.exchange(ctx, method, values, &posted)
	if e == nil && (posted.Channel == "" || posted.TS == "") {
		e = &callError{method: method, outcome: oncall.OutcomeUnknown, status: 200,
			text: method + ": Slack's answer names no message; it may have been posted"}
	}
	if e != nil {
		at.Outcome, at.Error, at.Excerpt, at.Status, at.RetryAfter = e.outcome, e.text, e.excerpt, e.status, e.retryAfter
		return e
	}
	// No excerpt: what Slack answers to a success is our own message.
	at.Outcome, at.Error, at.Excerpt, at.Status, at.RetryAfter = oncall.OutcomeDelivered, "", "", 200, 0
	at.Remote = posted.Channel + "/" + posted.TS
	return nil
}

// replace posts a message in the place of one that cannot be edited any more. From then on it is the incident's
// message there. An incident that is over needs none: nothing wrong is shown.
func (a *Adapter) replace(ctx context.Context, m notifier.Message, channel string, why *callError, at *oncall.Attempt) *callError {
	if !stillOpen(m) && why.code != "edit_window_closed" && why.code != "cant_update_message" {
		*at = oncall.Attempt{At: at.At, Number: at.Number, Outcome: oncall.OutcomeDelivered, Status: at.Status,
			Error: "nothing was posted in the place of the message that was deleted: the incident is over"}
		return nil
	}
	note := "The message that stood here cannot be edited any more; this one takes its place."
	if why.code == "message_not_found" {
		note = "The message that stood here was deleted; this one takes its place."
	}
	d := a.drawing(m)
	blocks := append([]goslack.Block{section("_" + note + "_")}, d.Blocks...)
	if len(blocks) > 50 {
		blocks = d.Blocks
	}
	options := append(quiet(), goslack.MsgOptionText(d.Text, false), goslack.MsgOptionBlocks(blocks...))
	if e := a.post(ctx, channel, options, "chat.postMessage", at); e != nil {
		at.OwnHold = false
		return e
	}
	at.Error = bounded(strings.TrimSuffix("a new message took the place of the one before ("+why.code+"); "+at.Error, "; "))
	return nil
}

// formOf writes a message as the form that Slack takes. slack-go shows a form with its blocks to none but its client.
func formOf(ctx context.Context, channel string, options []goslack.MsgOption) (url.Values, error) {
	var c formCatcher
	_, _, _, err := goslack.New("", goslack.OptionHTTPClient(&c)).SendMessageContext(ctx, channel, options...)
	if c.form == nil {
		return nil, fmt.Errorf("the message cannot be written: %w", err)
	}
	c.form.Del("token")
	return c.form, nil
}

// formCatcher stands where a client would, and sends nothing.
type formCatcher struct{ form url.Values }

func (c *formCatcher) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if c.form, err = url.ParseQuery(string(body)); err != nil {
		return nil, err
	}
	return nil, errCaught
}

var errCaught = errors.New("caught")

// quiet are the options of all that we post: nothing in it pings anybody, nothing unfolds.
func quiet() []goslack.MsgOption {
	return []goslack.MsgOption{goslack.MsgOptionParse(false), goslack.MsgOptionLinkNames(false),
		goslack.MsgOptionDisableLinkUnfurl(), goslack.MsgOptionDisableMediaUnfurl()}
}

// compose says where a message goes and what it holds. Its errors are final.
func (a *Adapter) compose(m notifier.Message) (channel string, o []goslack.MsgOption, err error) {
	to := m.Delivery.Endpoint.Address()
	if m.Delivery.Endpoint.Kind() != "slack" || to == "" {
		return "", nil, fmt.Errorf("%q is no Slack endpoint", m.Delivery.Endpoint)
	}
	o = quiet()
	switch m.Delivery.Kind {
	case oncall.KindMessage:
		return to, append(o, a.draw(m)...), nil
	case oncall.KindEdit:
		channel, ts, ok := strings.Cut(m.Thread, "/")
		if !ok || channel == "" || ts == "" {
			return "", nil, errors.New("there is no message to edit")
		}
		return channel, append(append(o, a.draw(m)...), goslack.MsgOptionUpdate(ts)), nil
	case oncall.KindReply:
		channel, ts, ok := strings.Cut(m.Thread, "/")
		if !ok || channel == "" || ts == "" {
			return "", nil, errors.New("there is no message to reply to")
		}
		var r oncall.Reply
		if err := json.Unmarshal(m.Delivery.Body, &r); err != nil {
			return "", nil, fmt.Errorf("the reply cannot be read: %w", err)
		}
		text, broadcast := replyText(r), r.Broadcast
		if m.Bundle != nil {
			text, broadcast = bundleReply(*m.Bundle)
		}
		o = append(o, goslack.MsgOptionText(text, false), goslack.MsgOptionTS(ts))
		if broadcast {
			o = append(o, goslack.MsgOptionBroadcast())
		}
		return channel, o, nil
	}
	return "", nil, fmt.Errorf("a delivery of kind %q cannot be sent to Slack", m.Delivery.Kind)
}

func (a *Adapter) draw(m notifier.Message) []goslack.MsgOption {
	d := a.drawing(m)
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
	if r.What == string(oncall.EntryResent) { // a list
		lines := strings.Split(r.Text, "\n")
		for i := range lines {
			lines[i] = prose(lines[i], 2900/len(lines))
		}
		text = strings.Join(lines, "\n• ")
	}
	if text == "" {
		text = prose(strings.ReplaceAll(r.What, "_", " "), 100)
	}
	if mark := marks[r.What]; mark != "" {
		return mark + " " + text
	}
	return "• " + text
}
