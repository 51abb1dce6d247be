package slack

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/oncall"
)

// typed is what somebody typed after the slash command, understood.
type typed struct {
	verb    string            // a key of verbs
	which   numbered          // the incident
	into    numbered          // merge: the one that goes on
	length  lasting           // snooze, silence, override
	clear   bool              // snooze: until no alert that matches fires any more, those of matching or all
	match   amlabels.Matchers // silence: instead of an incident; list: what is shown; snooze: see clear
	states  []oncall.IncidentState
	mine    bool   // list
	all     bool   // list: ended ones too
	user    string // assign, add, page, override: "<@U02ANA>", "ana" or "me", as typed but for the @
	group   string // page: what may be an escalation, "" where a user was named by @; who, override: the schedule
	text    string // note, silence, page, override
	subject string // help: on what; unsilence: the ID
}

// numbered is an incident as people name it.
type numbered struct {
	number int64 // 0: none was named
	last   bool  // the newest that waits for who typed, else the newest
}

const (
	maxSnooze = 30 * 24 * time.Hour
	maxNote   = 2000
)

// parse understands the text of a slash command, or says in mrkdwn what is wrong and what was expected.
// The text is as Slack sends it: escaped, people as <@U…|name> where the app asks for that. now is on the clocks of
// who typed.
func parse(text, command string, now time.Time) (t typed, complaint string) {
	word, rest := cutWord(text)
	if strings.EqualFold(word, command) { // copied together with what is typed before it
		word, rest = cutWord(rest)
	}
	if word == "" {
		return typed{verb: "help"}, ""
	}
	v, ok := verbNamed(strings.ToLower(word))
	if !ok {
		return t, unknownVerb(command, word)
	}
	t.verb = v.name
	usage := " Usage: " + code(command+" "+v.usage, 80)
	switch v.name {
	case "help", "unsilence":
		t.subject, _ = cutWord(plainly(rest))
		if v.name == "unsilence" && t.subject == "" {
			return t, "Which silence?" + usage
		}
		return t, ""
	case "silences":
		return t, ""
	case "list":
		return parseList(t, rest, usage)
	case "page":
		return parsePage(t, rest, usage)
	case "drill":
		return parseDrill(t, rest, usage)
	case "who":
		t.group = plainly(rest)
		return t, ""
	case "override":
		return parseOverride(t, rest, usage, now)
	case "assign", "add":
		return parseUser(t, rest, usage)
	case "merge":
		return parseMerge(t, rest, usage)
	}
	if v.name == "silence" {
		ms, after, complaint := cutMatchers(rest)
		if complaint != "" {
			return t, complaint + usage
		}
		if t.match = ms; len(ms) > 0 {
			return parseSilence(t, after, usage, now)
		}
	}
	arg, rest := cutWord(rest)
	if arg == "" {
		if !v.optional() {
			return t, "Which incident?" + usage
		}
		return t, ""
	}
	if t.which, ok = parseNumber(arg); !ok {
		complaint = code(plainly(arg), 60) + " is no incident."
		if v.name == "silence" && alertName.MatchString(arg) {
			complaint += " For alerts of that name: " + code(command+" silence alertname="+shorten(arg, 60)+" 2h why", 100) + "."
		}
		return t, complaint + usage
	}
	return parseRest(t, v, rest, usage, now)
}

// alertName is what may be meant as an alert's name.
var alertName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_:.-]*$`)

// parseRest reads what follows the incident's number.
func parseRest(t typed, v verb, rest, usage string, now time.Time) (typed, string) {
	rest = strings.TrimSpace(rest)
	if v.name == "silence" {
		return parseSilence(t, rest, usage, now)
	}
	switch v.kind {
	case oncall.CmdSnooze:
		return parseSnooze(t, rest, usage, now)
	case oncall.CmdNote:
		if t.text = plainly(rest); t.text == "" {
			return t, "What is the note?" + usage
		}
		if utf8.RuneCountInString(t.text) > maxNote {
			return t, fmt.Sprintf("The note is too long: at most %d characters.", maxNote)
		}
	default:
		if rest != "" && !(v.takesNote() && notelike(rest)) {
			return t, "What is " + code(plainly(rest), 60) + "?" + usage
		}
		if t.text = plainly(rest); utf8.RuneCountInString(t.text) > maxNote {
			return t, fmt.Sprintf("The note is too long: at most %d characters.", maxNote)
		}
	}
	return t, ""
}

// takesNote reports that what is typed after the incident is a note: who writes "ack #42 on my way" at three in the
// morning has it, and must not be paged on over the words.
func (v verb) takesNote() bool {
	return v.kind == oncall.CmdAcknowledge || v.kind == oncall.CmdUnacknowledge || v.kind == oncall.CmdResolve
}

// notelike tells words from what may be meant as another incident, or as a length.
func notelike(rest string) bool {
	first, _ := utf8.DecodeRuneInString(plainly(rest))
	word, _ := cutWord(rest)
	_, incident := parseNumber(word)
	return unicode.IsLetter(first) && !incident
}

var clearForm = regexp.MustCompile(`(?i)^(?:(?:until|till|til)\s+)?(?:it\s+|it's\s+|they\s+)?(?:is\s+|are\s+)?(?:all\s+)?clears?(?:ed)?(?:\s+|$)`)

// parseSnooze reads until when.
func parseSnooze(t typed, rest, usage string, now time.Time) (typed, string) {
	if m := clearForm.FindString(rest); m != "" {
		ms, after, complaint := cutMatchers(rest[len(m):])
		switch {
		case complaint != "":
			return t, complaint + usage
		case after != "":
			return t, "What is " + code(plainly(after), 60) + "?" + usage
		}
		t.clear, t.match = true, ms
		return t, ""
	}
	if rest == "" {
		return t, "For how long?" + usage
	}
	l, complaint := wholeSpan(strings.TrimSpace(plainly(rest)), now)
	if complaint != "" {
		return t, complaint + usage
	}
	t.length = l
	return t, ""
}

// parseSilence reads for how long, and why.
func parseSilence(t typed, rest, usage string, now time.Time) (typed, string) {
	l, why, complaint := cutSpan(rest, now)
	switch {
	case complaint != "":
		return t, complaint + usage
	case l.isZero() && rest == "":
		return t, "For how long, and why?" + usage
	case l.isZero():
		if _, err := oncall.ParseSilenceDuration(plainly(rest)); err != nil {
			return t, prose(err.Error(), 400) + "." + usage
		}
		return t, "For how long?" + usage
	case l.from(now) > oncall.MaxSilence:
		return t, "That is too long: at most 30d. For hours that come back, use time_intervals in the configuration." + usage
	}
	t.length = l
	if t.text = plainly(why); t.text == "" {
		return t, "Why? A silence needs a reason, for those who wonder why no page came." + usage
	}
	if utf8.RuneCountInString(t.text) > maxNote {
		return t, fmt.Sprintf("The reason is too long: at most %d characters.", maxNote)
	}
	return t, ""
}

// parseUser reads an incident and a person, in either order.
func parseUser(t typed, rest, usage string) (typed, string) {
	words := strings.Fields(strings.ReplaceAll(rest, "\u00a0", " "))
	words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains([]string{"to", "on", "for", "with"}, strings.ToLower(w)) })
	if len(words) == 0 {
		return t, "Which incident?" + usage
	}
	ok := false
	if t.which, ok = parseNumber(words[0]); ok {
		words = words[1:]
	} else if t.which, ok = parseNumber(words[len(words)-1]); ok && len(words) > 1 {
		words = words[:len(words)-1]
	} else {
		return t, code(plainly(words[0]), 60) + " is no incident." + usage
	}
	if len(words) != 1 {
		if len(words) == 0 {
			return t, "Whom?" + usage
		}
		return t, "One person at a time." + usage
	}
	if t.user = strings.TrimPrefix(words[0], "@"); t.user == "" {
		return t, "Whom?" + usage
	}
	return t, ""
}

// parseMerge reads two incidents.
func parseMerge(t typed, rest, usage string) (typed, string) {
	words := strings.Fields(strings.ReplaceAll(rest, "\u00a0", " "))
	words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains([]string{"into", "in", "to", "with"}, strings.ToLower(w)) })
	if len(words) != 2 {
		return t, "Which incident into which?" + usage
	}
	for i, to := range []*numbered{&t.which, &t.into} {
		n, ok := parseNumber(words[i])
		if !ok {
			return t, code(plainly(words[i]), 60) + " is no incident." + usage
		}
		*to = n
	}
	return t, ""
}

// listed are the words that narrow a list.
var listed = map[string][]oncall.IncidentState{
	"open": nil, "triggered": {oncall.IncidentTriggered}, "acknowledged": {oncall.IncidentAcknowledged}, "acked": {oncall.IncidentAcknowledged},
	"snoozed": {oncall.IncidentSnoozed}, "resolved": {oncall.IncidentResolved},
}

func parseList(t typed, rest, usage string) (typed, string) {
	for rest != "" {
		word, after := cutWord(rest)
		states, ok := listed[strings.ToLower(word)]
		switch {
		case strings.EqualFold(word, "mine") || strings.EqualFold(word, "me"):
			t.mine = true
		case strings.EqualFold(word, "all"):
			t.all = true
		case ok:
			t.states = append(t.states, states...)
		default:
			ms, after, complaint := cutMatchers(rest)
			if complaint != "" {
				return t, complaint + usage
			}
			if len(ms) == 0 {
				return t, "What is " + code(plainly(word), 60) + "?" + usage
			}
			t.match, rest = append(t.match, ms...), after
			continue
		}
		rest = after
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

// parseNumber takes #42, 42, INC-42 and their like, and last.
func parseNumber(s string) (numbered, bool) {
	switch strings.ToLower(strings.Trim(s, "#.,:")) {
	case "last", "latest", "newest":
		return numbered{last: true}, true
	}
	m := numberForm.FindStringSubmatch(s)
	if m == nil {
		return numbered{}, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return numbered{number: n}, err == nil && n > 0
}
