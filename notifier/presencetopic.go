package notifier

import (
	"context"
	"strings"
	"time"

	"tocsin/oncall"
)

// TopicSync is what became of an attempt to say in a channel's topic who is on call.
type TopicSync struct {
	Outcome    oncall.Outcome // delivered: the topic says it
	Changed    bool           // it did not before
	RetryAfter time.Duration  // what the far end asked for
	Error      string         // for people, without secrets
}

// topicState is what is remembered of a channel.
type topicState struct {
	says string    // what its topic was last made to say, or was tried to
	next time.Time // when that is tried again; zero: it was done
	said string    // what was last complained of
}

// topicTurn brings the topics of channels up to date: once for each change, so that whoever takes it out by hand is not
// fought. It returns when there is more to do, zero for never.
func (r *presenceRun) topicTurn(ctx context.Context, s *presenceSetup, now time.Time) (next time.Time) {
	for channel := range r.topics {
		if s.topics[channel] == nil {
			delete(r.topics, channel)
		}
	}
	for channel, schedules := range s.topics {
		_, change := whoever(s.policy, schedules, now)
		next = earlier(next, change)
		says := topicOf(s.policy, schedules, now)
		t := r.topics[channel]
		if t == nil {
			t = &topicState{}
			r.topics[channel] = t
		} else if says == t.says && (t.next.IsZero() || now.Before(t.next)) {
			next = earlier(next, t.next)
			continue
		}
		r.say(ctx, s, channel, says, t)
		next = earlier(next, t.next)
	}
	return next
}

// say sets one topic.
func (r *presenceRun) say(ctx context.Context, s *presenceSetup, channel, says string, t *topicState) {
	done := s.sender.SetTopic(ctx, channel, says)
	if ctx.Err() != nil {
		return
	}
	t.says, t.next = says, time.Time{}
	outcome := "unchanged"
	switch done.Outcome {
	case oncall.OutcomeDelivered:
		if done.Changed {
			outcome = "changed"
			r.log.InfoContext(ctx, "The topic of a Slack channel says who is on call", "channel", channel, "topic", says)
		}
	case oncall.OutcomeRefused, oncall.OutcomeGone:
		outcome, t.next = string(oncall.OutcomeRefused), time.Now().Add(presenceRefused)
	default:
		outcome, t.next = string(done.Outcome), time.Now().Add(max(presenceRetry, done.RetryAfter))
	}
	if done.Error != "" && done.Error != t.said {
		r.log.WarnContext(ctx, "The topic of a Slack channel does not say who is on call", "channel", channel, "err", done.Error)
	}
	t.said = done.Error
	r.told.WithLabelValues(outcome).Inc()
}

// topicOf says who is on call by each of the schedules, and until when on the schedule's clocks.
func topicOf(p oncall.Policy, schedules []string, now time.Time) string {
	var parts []string
	for _, name := range schedules {
		s := p.Schedules[name]
		users, _ := s.OnCall(p.Overrides, now)
		part := oncall.Shift{Users: users}.Who()
		if next, ok := s.NextChange(p.Overrides, now); ok {
			until := next.From
			if s.TimeZone != nil {
				until = until.In(s.TimeZone)
			}
			part += " until " + until.Format("Mon 2 Jan 15:04 MST")
		}
		if len(schedules) > 1 {
			part = name + " " + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
