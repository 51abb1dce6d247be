package slack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
)

var _ notifier.HandoffSender = (*Adapter)(nil)

// Overrides is the way in for what people do to schedules in Slack. The package notifier implements it.
type Overrides interface {
	// Add makes the override that somebody wishes, once for each request.
	Add(ctx context.Context, w oncall.OverrideWish, request string) (notifier.Overridden, error)
}

// parseOverride reads whom, for how long, and why, after the schedule's name.
func parseOverride(t typed, rest, usage string, now time.Time) (typed, string) {
	word, who, rest := cutOverride(rest, now)
	if word == "" {
		return t, "Which schedule?" + usage
	}
	t.group = plainly(word)
	if t.user = strings.TrimPrefix(who, "@"); t.user == "" {
		return t, "Who is on call instead?" + usage
	}
	l, why, complaint := cutSpan(rest, now)
	switch {
	case complaint != "":
		return t, complaint + usage
	case l.isZero():
		return t, "For how long?" + usage
	case l.from(now) > oncall.MaxOverride:
		return t, "That is too long: change the schedule instead." + usage
	}
	t.length = l
	t.text = plainly(why)
	return t, ""
}

// cutOverride splits a schedule, a user and what follows. Where the user has an @ before them the schedule may be of
// several words, and how long may stand before the user.
func cutOverride(text string, now time.Time) (schedule, user, rest string) {
	schedule, rest = cutName(text)
	if isMention(schedule) {
		return "", schedule, rest
	}
	words := strings.Fields(strings.ReplaceAll(rest, "\u00a0", " "))
	at := slices.IndexFunc(words, isMention)
	if at < 0 {
		user, rest = cutWord(rest)
		return schedule, user, rest
	}
	between, after := words[:at], strings.Join(words[at+1:], " ")
	for i := range between {
		span := strings.Join(between[i:], " ")
		if l, left, complaint := cutSpan(span, now); !l.isZero() && left == "" && complaint == "" {
			between, after = between[:i], strings.TrimSpace(span+" "+after)
			break
		}
	}
	return strings.Join(append([]string{schedule}, between...), " "), words[at], after
}

func isMention(word string) bool { return strings.HasPrefix(word, "@") || slackID(word) != "" }

// who answers who is on call, by one schedule or by all.
func (a *Adapter) who(t typed) string {
	p, now := a.policy(), time.Now()
	if len(p.Schedules) == 0 {
		return "There is no schedule in the configuration."
	}
	names := p.ScheduleNames()
	if t.group != "" {
		if _, err := p.Schedule(t.group); err != nil {
			return explain(err)
		}
		names = []string{t.group}
	}
	var b strings.Builder
	for i, name := range names {
		s := p.Schedules[name]
		line := "• " + onCallLine(&s, p, now, len(names) == 1) + "\n"
		if b.Len()+len(line) > maxAnswerText-100 {
			fmt.Fprintf(&b, "… and %d more", len(names)-i)
			break
		}
		b.WriteString(line)
	}
	return strings.TrimRight(b.String(), "\n")
}

// onCallLine says who is on call by a schedule, until when, who is next, and, in full, why.
func onCallLine(s *oncall.Schedule, p oncall.Policy, now time.Time, full bool) string {
	shift := s.ShiftAt(p.Overrides, now)
	line := fmt.Sprintf("*%s*: %s", prose(s.Name, 80), crowd(shift.Users))
	if len(shift.Shadows) > 0 {
		line += " (shadowed by " + crowd(shift.Shadows) + ")"
	}
	if next, ok := s.NextChange(p.Overrides, now); ok {
		line += fmt.Sprintf(" until %s, then %s", when(next.From, true), crowd(next.Users))
	}
	if full {
		line += "\n" + prose(shift.Why(), 500)
	}
	return line
}

// crowd names users, nobody perhaps.
func crowd(users []string) string {
	if len(users) == 0 {
		return "nobody"
	}
	names := make([]string, 0, len(users))
	for _, u := range users {
		names = append(names, actor(u))
	}
	return shorten(strings.Join(names, ", "), 300)
}

// override carries out the slash command.
func (a *Adapter) override(ctx context.Context, t typed, who person, request string) (string, error) {
	if a.overrides == nil {
		return "Nothing was changed: overrides cannot be made here.", nil
	}
	user, complaint := a.named(ctx, t.user, who)
	if complaint != "" {
		return complaint, nil
	}
	done, err := a.overrides.Add(ctx, oncall.OverrideWish{Schedule: t.group, User: user, For: t.length.length, To: t.length.until, Actor: who.name, Reason: t.text}, request)
	if err != nil {
		return a.settle(err)
	}
	answer := prose(done.Reply, 1000) + "."
	if done.Mind != "" {
		answer += " ⚠️ Mind: " + prose(done.Mind, 300) + "."
	}
	if len(done.Overrides) > 0 {
		answer += " To take it back: " + code("tocsin oncall override end "+done.Overrides[0].ID, 80)
	}
	return answer, nil
}

// SendHandoff makes one attempt to announce a handoff in a channel. Who comes on call is addressed, so that Slack
// tells them.
func (a *Adapter) SendHandoff(ctx context.Context, channel string, h oncall.Handoff, open []oncall.Incident) oncall.Attempt {
	now := time.Now()
	return a.sayTo(ctx, channel, a.handoffText(h, open, now), h.Attempts+1, now)
}

// sayTo makes one attempt to post a text, in a channel or to a person.
func (a *Adapter) sayTo(ctx context.Context, to, text string, attempt int, now time.Time) oncall.Attempt {
	at := oncall.Attempt{At: now, Number: attempt}
	a.post(ctx, to, []goslack.MsgOption{goslack.MsgOptionParse(false), goslack.MsgOptionLinkNames(false),
		goslack.MsgOptionDisableLinkUnfurl(), goslack.MsgOptionDisableMediaUnfurl(), goslack.MsgOptionText(text, false)}, "chat.postMessage", &at)
	at.Took = time.Since(at.At)
	at.Error = bounded(clean(a.redact(at.Error)))
	return at
}

// handoffText says who comes, who goes, and what is open.
func (a *Adapter) handoffText(h oncall.Handoff, open []oncall.Incident, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "📟 *%s*: ", prose(h.Schedule, 80))
	if len(h.On) == 0 {
		b.WriteString("nobody is on call")
	} else {
		var names []string
		for _, u := range h.On {
			names = append(names, a.mention(u))
		}
		verb := " is on call"
		if len(names) > 1 {
			verb = " are on call"
		}
		b.WriteString(strings.Join(names, ", ") + verb)
	}
	if !h.Until.IsZero() {
		b.WriteString(" until " + when(h.Until, true))
	}
	if len(h.Off) > 0 {
		b.WriteString("; " + crowd(h.Off) + cmp.Or(map[bool]string{true: " goes"}[len(h.Off) == 1], " go") + " off")
	}
	fmt.Fprintf(&b, " (%s).\n", prose(h.Why, 300))
	for _, c := range h.Failed[:min(5, len(h.Failed))] {
		fmt.Fprintf(&b, "⚠️ %s\n", prose(c.String(), 300))
	}
	if more := len(h.Failed) - 5; more > 0 {
		fmt.Fprintf(&b, "⚠️ and %d more of their contacts failed in their last drill\n", more)
	}
	if len(open) == 0 {
		b.WriteString("Nothing is open.")
		return b.String()
	}
	b.WriteString(plural(len(open), "incident") + map[bool]string{true: " is", false: " are"}[len(open) == 1] + " open:\n")
	b.WriteString(a.someLines(open, now))
	return strings.TrimRight(b.String(), "\n")
}

// someLines lists incidents, as many as one reads.
func (a *Adapter) someLines(open []oncall.Incident, now time.Time) string {
	const most = 10
	var b strings.Builder
	for _, in := range open[:min(most, len(open))] {
		b.WriteString("• " + a.line(in, now) + "\n")
	}
	if len(open) > most {
		fmt.Fprintf(&b, "… and %d more", len(open)-most)
	}
	return b.String()
}

// mention addresses a user where Slack knows them.
func (a *Adapter) mention(user string) string {
	if u := a.users()[user]; u.Slack != "" {
		return "<@" + u.Slack + ">"
	}
	return actor(user)
}

// nearestSchedule completes what somebody typed of a schedule's name, where only one can be meant.
func nearestSchedule(typed string, names []string) string {
	if slices.Contains(names, typed) || utf8.RuneCountInString(typed) < 2 {
		return typed
	}
	fold := func(s string) string { return strings.NewReplacer(" ", "-", "_", "-").Replace(strings.ToLower(s)) }
	var found, same []string
	for _, n := range names {
		if fold(n) == fold(typed) {
			same = append(same, n)
		}
		if strings.HasPrefix(fold(n), fold(typed)) {
			found = append(found, n)
		}
	}
	switch {
	case len(same) == 1:
		return same[0]
	case len(found) == 1:
		return found[0]
	}
	return typed
}
