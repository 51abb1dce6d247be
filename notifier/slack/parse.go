package slack

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"tocsin/oncall"
)

// typed is what somebody typed after the slash command, understood.
type typed struct {
	verb   string        // a key of verbs
	number int64         // 0: none was named
	until  time.Duration // snooze, silence, override
	user   string        // assign, page, override: "<@U02ANA>", "ana" or "me", as typed but for the @
	group  string        // page: what may be an escalation, "" where a user was named by @; who, override: the schedule
	text   string        // note, silence, page, override
}

// verb describes a subcommand.
type verb struct {
	name  string
	usage string
	does  string
	kind  oncall.CommandKind // "" for those that only answer
	looks bool               // changes nothing: for those too who may not act
}

// verbs in the order of the help.
var verbs = []verb{
	{name: "help", usage: "help", does: "this list"},
	{name: "list", usage: "list", does: "open incidents", looks: true},
	{name: "ack", usage: "ack [#n]", does: "you have it; without a number, the one that waits for you", kind: oncall.CmdAcknowledge},
	{name: "unack", usage: "unack [#n]", does: "you do not have it any more; paging goes on", kind: oncall.CmdUnacknowledge},
	{name: "resolve", usage: "resolve [#n]", does: "it is over", kind: oncall.CmdResolve},
	{name: "why", usage: "why [#n]", does: "how it came about, and who was told", kind: "", looks: true},
	{name: "escalate", usage: "escalate #n", does: "tell the next tier now", kind: oncall.CmdEscalate},
	{name: "snooze", usage: "snooze #n 30m", does: "be quiet until then", kind: oncall.CmdSnooze},
	{name: "assign", usage: "assign #n @user", does: "somebody else has it", kind: oncall.CmdAssign},
	{name: "note", usage: "note #n text", does: "write it on the timeline", kind: oncall.CmdNote},
	{name: "silence", usage: "silence #n 2h why", does: "mute its alerts until then, with a reason"},
	{name: "page", usage: "page @user|escalation what is wrong", does: "open an incident by hand, and tell them now"},
	{name: "who", usage: "who [schedule]", does: "who is on call, and until when", looks: true},
	{name: "override", usage: "override schedule @user 2h [why]", does: "they are on call instead, from now on"},
}

// synonyms are forgiven.
var synonyms = map[string]string{
	"acknowledge": "ack", "unacknowledge": "unack", "ls": "list", "incidents": "list", "show": "why",
	"close": "resolve", "?": "help", "-h": "help", "--help": "help", "explain": "why", "comment": "note", "oncall": "who", "mute": "silence",
}

func verbNamed(name string) (verb, bool) {
	if s, ok := synonyms[name]; ok {
		name = s
	}
	i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == name })
	if i < 0 {
		return verb{}, false
	}
	return verbs[i], true
}

const (
	maxSnooze = 30 * 24 * time.Hour
	maxNote   = 2000
)

// parse understands the text of a slash command, or says in mrkdwn what is wrong and what was expected.
// The text is as Slack sends it: escaped, people as <@U…|name> where the app asks for that.
func parse(text, command string) (t typed, complaint string) {
	word, rest := cutWord(text)
	if word == "" {
		return typed{verb: "help"}, ""
	}
	v, ok := verbNamed(strings.ToLower(word))
	if !ok {
		s := "There is no " + code(command+" "+plainly(word), 60) + "."
		if near := nearest(strings.ToLower(plainly(word))); near != "" {
			s += " Did you mean " + code(command+" "+near, 60) + "?"
		}
		return t, s + " " + code(command+" help", 60) + " lists what there is."
	}
	t.verb = v.name
	if v.name == "help" || v.name == "list" {
		return t, ""
	}
	usage := " Usage: " + code(command+" "+v.usage, 80)
	switch v.name {
	case "page":
		return parsePage(t, rest, usage)
	case "who":
		t.group = plainly(rest)
		return t, ""
	case "override":
		return parseOverride(t, rest, usage)
	}
	arg, rest := cutWord(rest)
	if arg == "" {
		if !strings.Contains(v.usage, "[#n]") {
			return t, "Which incident?" + usage
		}
		return t, ""
	}
	if t.number, ok = parseNumber(arg); !ok {
		return t, code(plainly(arg), 60) + " is no incident." + usage
	}
	return parseRest(t, v, rest, usage)
}

// parseRest reads what follows the incident's number.
func parseRest(t typed, v verb, rest, usage string) (typed, string) {
	rest = strings.TrimSpace(rest)
	if v.name == "silence" {
		return parseSilence(t, rest, usage)
	}
	switch v.kind {
	case oncall.CmdSnooze:
		d, err := model.ParseDuration(strings.ToLower(strings.TrimPrefix(rest, "for ")))
		if err != nil || d <= 0 {
			return t, "For how long?" + usage
		}
		if t.until = time.Duration(d); t.until > maxSnooze {
			return t, "That is too long: at most 30d." + usage
		}
	case oncall.CmdAssign:
		if t.user = strings.TrimPrefix(strings.TrimPrefix(rest, "to "), "@"); t.user == "" || strings.ContainsAny(t.user, " \t\n") {
			return t, "To whom?" + usage
		}
	case oncall.CmdNote:
		if t.text = plainly(rest); t.text == "" {
			return t, "What is the note?" + usage
		}
		if utf8.RuneCountInString(t.text) > maxNote {
			return t, fmt.Sprintf("The note is too long: at most %d characters.", maxNote)
		}
	default:
		if rest != "" {
			return t, "What is " + code(plainly(rest), 60) + "?" + usage
		}
	}
	return t, ""
}

// parseSilence reads for how long, and why.
func parseSilence(t typed, rest, usage string) (typed, string) {
	length, why, ok := cutLength(rest)
	if !ok || length <= 0 {
		if rest == "" {
			return t, "For how long, and why?" + usage
		}
		if _, err := oncall.ParseSilenceDuration(plainly(rest)); err != nil {
			return t, prose(err.Error(), 400) + "." + usage
		}
		return t, "For how long?" + usage
	}
	if t.until = length; t.until > oncall.MaxSilence {
		return t, "That is too long: at most 30d. For hours that come back, use time_intervals in the configuration." + usage
	}
	if t.text = plainly(why); t.text == "" {
		return t, "Why? A silence needs a reason, for those who wonder why no page came." + usage
	}
	if utf8.RuneCountInString(t.text) > maxNote {
		return t, fmt.Sprintf("The reason is too long: at most %d characters.", maxNote)
	}
	return t, ""
}

func cutWord(s string) (word, rest string) {
	s = strings.TrimSpace(s)
	if i := strings.IndexFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\u00a0' }); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

var numberForm = regexp.MustCompile(`^(?i:#|inc[-#]?|incident[-#]?)?([0-9]{1,18})[.,:]?$`)

// parseNumber takes #42, 42, INC-42 and their like.
func parseNumber(s string) (int64, bool) {
	m := numberForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil && n > 0
}

var (
	escapedUser = regexp.MustCompile(`<@([A-Z0-9]+)(?:\|([^>]*))?>`)
	escapedRef  = regexp.MustCompile(`<[#!][^|>]*\|([^>]*)>`)
	escapedLink = regexp.MustCompile(`<((?:https?|mailto):[^|>]*)(?:\|[^>]*)?>`)
	unescaper   = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
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
	s = escapedLink.ReplaceAllString(s, "$1")
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
		if strings.EqualFold(u.Name, named) || (u.Slack != "" && strings.EqualFold(u.Slack, named)) {
			if found != "" {
				return "", false // two names that differ in case only
			}
			found = u.Name
		}
	}
	return found, found != ""
}

// nearest is the subcommand that a mistyped one most likely means, "" for none.
func nearest(word string) string {
	best, at := "", 3
	if len(word) <= 3 {
		at = 2
	}
	for _, v := range verbs {
		if d := distance(word, v.name); d < at {
			best, at = v.name, d
		}
	}
	if best == "" && len(word) > 40 {
		return ""
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap.
func distance(a, b string) int {
	x, y := []rune(shorten(a, 40)), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
