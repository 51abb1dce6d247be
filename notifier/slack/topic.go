package slack

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"tocsin/notifier"
	"tocsin/oncall"
)

// maxTopic is how long Slack lets a topic be, in characters.
const maxTopic = 250

// ownTopic is the part of a topic that is ours, with what parts it from the rest.
var ownTopic = regexp.MustCompile(`\s*\|?\s*\[On call: [^\]]*\]`)

// SetTopic makes a channel's topic say who is on call, in brackets behind the rest of it, which stays as it is.
func (a *Adapter) SetTopic(ctx context.Context, channel, says string) notifier.TopicSync {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	changed, err := a.setTopic(ctx, channel, says)
	if err == nil {
		return notifier.TopicSync{Outcome: oncall.OutcomeDelivered, Changed: changed}
	}
	if e, ok := errors.AsType[*callError](err); ok {
		return notifier.TopicSync{Outcome: e.outcome, RetryAfter: e.retryAfter, Error: e.text}
	}
	return notifier.TopicSync{Outcome: oncall.OutcomeRefused, Error: bounded(clean(err.Error()))}
}

func (a *Adapter) setTopic(ctx context.Context, channel, says string) (changed bool, err error) {
	id, err := a.channelID(ctx, channel)
	if err != nil {
		return false, err
	}
	var is struct {
		Channel struct {
			Topic struct {
				Value string `json:"value"`
			} `json:"topic"`
		} `json:"channel"`
	}
	if err := a.call(ctx, "conversations.info", url.Values{"channel": {id}}, &is); err != nil {
		return false, err
	}
	old := typedTopic(is.Channel.Topic.Value)
	topic, err := topicWith(old, says)
	if err != nil || topic == old {
		return false, err
	}
	return true, a.call(ctx, "conversations.setTopic", url.Values{"channel": {id}, "topic": {topic}}, nil)
}

// topicWith puts who is on call into a topic.
func topicWith(old, says string) (string, error) {
	rest := strings.TrimSpace(ownTopic.ReplaceAllString(old, ""))
	own := "[On call: " + strings.NewReplacer("[", "(", "]", ")").Replace(fit(says, 200)) + "]"
	topic := own
	if rest != "" {
		topic = rest + " | " + own
	}
	if n := utf8.RuneCountInString(topic); n > maxTopic {
		return "", oncall.Errorf(oncall.CodeInvalid, "the channel's topic has no room for who is on call: it would have %d characters, and Slack takes %d; shorten the rest of it", n, maxTopic)
	}
	return topic, nil
}

// topicLink is an address as Slack writes it into a topic that it shows us.
var topicLink = regexp.MustCompile(`<((?:https?|mailto):[^|>]*)(?:\|([^>]*))?>`)

// typedTopic is a topic as a person types it: Slack shows it with its control characters escaped and addresses marked.
func typedTopic(s string) string {
	s = topicLink.ReplaceAllStringFunc(s, func(l string) string {
		m := topicLink.FindStringSubmatch(l)
		if m[2] != "" && strings.HasSuffix(m[1], m[2]) {
			return m[2] // example.org became a link by itself
		}
		return m[1]
	})
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

// channelID finds the ID of a channel that may be given by its name.
func (a *Adapter) channelID(ctx context.Context, channel string) (string, error) {
	name, byName := strings.CutPrefix(channel, "#")
	if !byName {
		return channel, nil
	}
	cursor := ""
	for {
		var page struct {
			Channels []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"channels"`
			Metadata struct {
				Next string `json:"next_cursor"`
			} `json:"response_metadata"`
		}
		args := url.Values{"types": {"public_channel,private_channel"}, "exclude_archived": {"true"}, "limit": {"999"}}
		if cursor != "" {
			args.Set("cursor", cursor)
		}
		if err := a.call(ctx, "conversations.list", args, &page); err != nil {
			return "", err
		}
		for _, c := range page.Channels {
			if c.Name == name {
				return c.ID, nil
			}
		}
		if cursor = page.Metadata.Next; cursor == "" {
			return "", oncall.Errorf(oncall.CodeNotFound, "Slack shows no channel %s: is it archived, or private and the app not invited?", channel)
		}
	}
}
