package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// Slack's chat.postMessage takes no key by which it would know a message again. Where its answer is lost after it took
// the message, the second attempt posts another; only that one is known here and kept true. Where the first one stands
// is learned when somebody presses something on it: it is then turned into a line that leads to the other.

// container is what was pressed on.
type container struct {
	Type      string `json:"type"` // "message", or "view" for the home
	Channel   string `json:"channel_id"`
	TS        string `json:"message_ts"`
	Ephemeral bool   `json:"is_ephemeral"`
}

// mendCopy looks, in the background, whether a press was made on a copy of an incident's message.
func (a *Adapter) mendCopy(in interaction) {
	at := in.Container
	if at.Type != "message" || at.Ephemeral || at.Channel == "" || at.TS == "" {
		return
	}
	var of struct {
		Number int64 `json:"n"`
	}
	value := in.Actions[0].Value
	if value == "" {
		value = in.Actions[0].SelectedOption.Value
	}
	if json.Unmarshal([]byte(value), &of) != nil || of.Number <= 0 {
		return
	}
	a.background(func(ctx context.Context) {
		incident, err := a.acts.Incident(ctx, of.Number)
		if err != nil {
			return
		}
		if !isCopy(incident, at.Channel, at.TS) {
			return
		}
		text := fmt.Sprintf("A copy of the message of #%d: it was posted twice, because Slack's answer to the first was lost. This one is not kept true any more; the other one in this channel is.",
			of.Number)
		if page := link(pageOf(incident, a.policy()), fmt.Sprintf("Incident #%d", of.Number)); page != "" {
			text += " " + page
		}
		options := append(quiet(), goslack.MsgOptionUpdate(at.TS), goslack.MsgOptionText(text, false), goslack.MsgOptionBlocks(section(text)))
		var result oncall.Attempt
		if e := a.post(ctx, at.Channel, options, "chat.update", &result); e != nil {
			a.log.Warn("A copy of an incident's message could not be marked as one", "incident", of.Number, "err", e.text)
		}
	})
}

// isCopy reports whether a message that was pressed on is none that is known of the incident, where another one in the same
// channel is. While a post is still under way nothing can be told.
func isCopy(in oncall.Incident, channel, ts string) (copied bool) {
	for _, d := range in.Deliveries {
		if d.Endpoint.Kind() != "slack" || d.Kind != oncall.KindMessage && d.Kind != oncall.KindEdit {
			continue
		}
		if d.Remote == channel+"/"+ts || d.Kind == oncall.KindMessage && !d.State.Final() {
			return false
		}
		copied = copied || d.State == oncall.DeliveryDelivered && strings.HasPrefix(d.Remote, channel+"/")
	}
	return copied
}

// background runs something that nobody waits for, unless too much is under way or the adapter ends.
func (a *Adapter) background(do func(context.Context)) bool {
	select {
	case a.slots <- struct{}{}:
	default:
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		<-a.slots
		return false
	}
	a.wg.Go(func() {
		defer func() { <-a.slots }()
		ctx, cancel := context.WithTimeout(a.stopping, 5*time.Second)
		defer cancel()
		do(ctx)
	})
	return true
}
