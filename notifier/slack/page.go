package slack

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"tocsin/oncall"
	"tocsin/problem"
)

// maxTitle is how much of what somebody typed becomes the incident's title; the rest are its details.
const maxTitle = 200

// parsePage reads who is to be told, and what is wrong. A name of several words is written in quotes.
func parsePage(t typed, rest, usage string) (typed, string) {
	to, what := cutName(rest)
	if to == "" {
		return t, "Whom?" + usage
	}
	if user, named := strings.CutPrefix(to, "@"); named || escapedUser.MatchString(to) {
		t.user = user
	} else {
		t.user, t.group = to, plainly(to)
	}
	if t.text = plainly(what); t.text == "" {
		return t, "What is wrong? It is what they read first." + usage
	}
	if utf8.RuneCountInString(t.text) > maxNote {
		return t, fmt.Sprintf("That is too long: at most %d characters.", maxNote)
	}
	return t, ""
}

// cutName takes the first word, or what stands in quotes, straight or curled as telephones write them.
func cutName(s string) (name, rest string) {
	s = strings.TrimSpace(s)
	for _, q := range [][2]string{{`"`, `"`}, {"“", "”"}, {"„", "“"}, {"'", "'"}, {"‘", "’"}} {
		if after, ok := strings.CutPrefix(s, q[0]); ok {
			if name, rest, ok := strings.Cut(after, q[1]); ok {
				return strings.TrimSpace(name), strings.TrimSpace(rest)
			}
		}
	}
	return cutWord(s)
}

// pageByHand opens an incident for an escalation or for one user.
func (a *Adapter) pageByHand(ctx context.Context, t typed, who person, request string) (string, error) {
	if a.opens == nil {
		return "Nobody can be paged by hand here.", nil
	}
	o := oncall.Opening{Title: t.text, Actor: who.name, Via: "slack"}
	if utf8.RuneCountInString(t.text) > maxTitle {
		o.Title, o.Details = shorten(t.text, maxTitle), t.text
	}
	var complaint string
	if o.Escalation, o.User, complaint = a.whom(ctx, t, who); complaint != "" {
		return complaint, nil
	}
	done, err := a.opens.Open(ctx, o, request)
	if err != nil {
		return a.settle(err)
	}
	answer := prose(done.Reply, 300) + "."
	if page := a.page(done.Incident.Number); page != "" {
		answer += " " + page
	}
	return answer, nil
}

// whom finds who is meant. Nobody is paged on a guess.
func (a *Adapter) whom(ctx context.Context, t typed, who person) (escalation, user, complaint string) {
	p := a.policy()
	user, isUser := findUser(t.user, a.users(), who)
	_, isEscalation := p.Escalations[t.group]
	isEscalation = isEscalation && t.group != ""
	switch {
	case isUser && isEscalation:
		return "", "", fmt.Sprintf("Nobody was paged: %s is a user and an escalation. Write %s for the user, or choose another escalation.",
			code(t.group, 60), code("@"+user, 60))
	case isEscalation:
		return t.group, "", ""
	case isUser:
		return "", user, ""
	case t.group == "":
		user, complaint = a.named(ctx, t.user, who)
		return "", user, strings.Replace(complaint, "Nothing was changed", "Nobody was paged", 1)
	}
	names := make([]string, 0, len(p.Escalations)+len(p.Users))
	for name := range p.Escalations {
		names = append(names, name)
	}
	for name := range p.Users {
		names = append(names, name)
	}
	complaint = "Nobody was paged: " + code(t.group, 60) + " is no escalation and no user of tocsin."
	if hint := problem.DidYouMean(t.group, names); hint != "" {
		complaint += " " + prose(strings.ToUpper(hint[:1])+hint[1:], 500)
	}
	return "", "", complaint
}
