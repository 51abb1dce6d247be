package slack

import (
	"regexp"
	"strings"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/oncall"
)

// How Slack writes what people type, and what is read of it: names of people, and matchers of labels.

var (
	escapedUser = regexp.MustCompile(`<@([A-Z0-9]+)(?:\|([^>]*))?>`)
	escapedRef  = regexp.MustCompile(`<[#!][^|>]*\|([^>]*)>`)
	escapedLink = regexp.MustCompile(`<((?:https?|mailto):[^|>]*)(?:\|([^>]*))?>`)
	unescaper   = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
	// Phones curl quotes.
	straighter = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "«", `"`, "»", `"`)
)

// plainly undoes Slack's escaping: what is left is what the person saw when typing.
func plainly(s string) string {
	s = escapedUser.ReplaceAllStringFunc(s, func(m string) string {
		p := escapedUser.FindStringSubmatch(m)
		if p[2] != "" {
			return "@" + p[2]
		}
		return "@" + p[1]
	})
	s = escapedRef.ReplaceAllString(s, "$1")
	s = escapedLink.ReplaceAllStringFunc(s, func(m string) string {
		p := escapedLink.FindStringSubmatch(m)
		if p[2] != "" && (p[1] == "mailto:"+p[2] || p[1] == "http://"+p[2] || p[1] == "https://"+p[2]) {
			return p[2] // Slack found an address in it
		}
		return p[1]
	})
	return strings.TrimSpace(unescaper.Replace(s))
}

// findUser returns the configured user that somebody named: escaped (<@U02ANA>), by name, or me.
func findUser(named string, users map[string]oncall.User, me person) (string, bool) {
	if m := escapedUser.FindStringSubmatch(named); m != nil && m[0] == named {
		for _, u := range users {
			if u.Slack == m[1] {
				return u.Name, true
			}
		}
		return "", false
	}
	named = plainly(named)
	if strings.EqualFold(named, "me") {
		return me.user, me.user != ""
	}
	if u, ok := users[named]; ok {
		return u.Name, true
	}
	found := ""
	for _, u := range users {
		if strings.EqualFold(u.Name, named) || (u.Slack != "" && strings.EqualFold(u.Slack, named)) || (u.Email != "" && strings.EqualFold(u.Email, named)) {
			if found != "" {
				return "", false // two names that differ in case only
			}
			found = u.Name
		}
	}
	return found, found != ""
}

// matcherForm is one matcher, its value in quotes or without blanks.
var matcherForm = regexp.MustCompile(`^("(?:[^"\\]|\\.)*"|[\pL_][\pL\pN_.:/-]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s,{}"]+)(?:\s*,\s*|\s+|$)`)

// cutMatchers reads the matchers that a text begins with, {in braces} or one after the other, and returns what
// follows. A text that begins with none has none.
func cutMatchers(text string) (ms amlabels.Matchers, rest, complaint string) {
	rest = straighter.Replace(plainly(text))
	var pieces []string
	if strings.HasPrefix(rest, "{") {
		end := closing(rest)
		if end < 0 {
			return nil, text, "The braces do not close."
		}
		pieces, rest = append(pieces, rest[:end+1]), strings.TrimLeft(rest[end+1:], " ,")
	} else {
		for {
			m := matcherForm.FindStringSubmatch(rest)
			if m == nil {
				break
			}
			pieces = append(pieces, m[1]+m[2]+m[3])
			rest = rest[len(m[0]):]
		}
	}
	if len(pieces) == 0 {
		return nil, text, ""
	}
	ms, err := oncall.ParseMatchers(strings.Join(pieces, ","), oncall.MatchersFallback)
	switch {
	case err != nil:
		return nil, text, code(strings.Join(pieces, ","), 100) + " are no matchers such as " + code(`service=session`, 40) + ": " + prose(err.Error(), 200) + "."
	case len(ms) == 0:
		return nil, text, "Name at least one label, such as " + code("service=session", 40) + "."
	}
	return ms, strings.TrimSpace(rest), ""
}

// closing is where the brace closes that a text begins with, -1 for nowhere.
func closing(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == '}':
			return i
		}
	}
	return -1
}
