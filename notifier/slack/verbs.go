package slack

import (
	"fmt"
	"slices"
	"strings"

	"tocsin/oncall"
)

// verb describes a subcommand.
type verb struct {
	name  string
	usage string
	does  string
	more  string             // what the help on it says beside that; mrkdwn
	group string             // its heading in the help
	kind  oncall.CommandKind // "" for those that only answer
	looks bool               // changes nothing: for those too who may not act
}

// optional reports that it takes no incident to be named.
func (v verb) optional() bool { return strings.Contains(v.usage, "[#n]") }

// verbs in the order of the help.
var verbs = []verb{
	{name: "ack", group: "Have it", usage: "ack [#n]", does: "you have it; paging stops", kind: oncall.CmdAcknowledge,
		more: "Alone it takes the one incident that waits for you; if several do, it lists them and acts on none. Who has it already keeps it: `assign` takes over. Words after the incident are a note."},
	{name: "unack", group: "Have it", usage: "unack [#n]", does: "you do not have it any more; paging begins anew", kind: oncall.CmdUnacknowledge},
	{name: "resolve", group: "Have it", usage: "resolve [#n]", does: "it is over", kind: oncall.CmdResolve,
		more: "If its alerts go on firing, a new incident opens after a while, linked to this one. Words after the incident are a note."},
	{name: "list", group: "Look", usage: "list [mine|all|service=x]", does: "open incidents", looks: true,
		more: "`mine`: those you were told of or have. `all`: the newest, ended ones too. A state (`triggered`, `acked`, `snoozed`, `resolved`) or matchers of labels narrow it."},
	{name: "why", group: "Look", usage: "why [#n]", does: "how it came about, and who was told", looks: true},
	{name: "who", group: "Look", usage: "who [schedule]", does: "who is on call, and until when", looks: true},
	{name: "silences", group: "Look", usage: "silences", does: "what is silenced, until when, and why", looks: true},
	{name: "snooze", group: "Quiet", usage: "snooze #n 30m", does: "nobody is paged until then", kind: oncall.CmdSnooze,
		more: "For how long: `30m`, `2h`, `1d`, `until 9:00`, `tomorrow`, `until monday 10:00`. `until clear` ends it when none of its alerts fires any more, " +
			"`until clear alertname=Deploy` when none that matches does; at the latest after 24 h."},
	{name: "silence", group: "Quiet", usage: "silence #n 2h why", does: "mute its alerts until then, with a reason",
		more: "Instead of an incident it takes matchers: `silence service=session 2h deploying`. The end as for `snooze`."},
	{name: "unsilence", group: "Quiet", usage: "unsilence id", does: "end a silence now", more: "The beginning of its ID will do, as `silences` shows it."},
	{name: "escalate", group: "People", usage: "escalate #n", does: "tell the next tier now", kind: oncall.CmdEscalate},
	{name: "assign", group: "People", usage: "assign #n @user", does: "somebody else has it", kind: oncall.CmdAssign,
		more: "A mention, a name in tocsin, or `me`. Nobody is paged by this; `add` pages."},
	{name: "add", group: "People", usage: "add #n @user", does: "ask somebody to help; they are told at once", kind: oncall.CmdAddResponder},
	{name: "page", group: "People", usage: "page @user|escalation what is wrong", does: "open an incident by hand, and tell them now",
		more: "A name of several words goes in quotes."},
	{name: "override", group: "People", usage: "override schedule @user 2h [why]", does: "they are on call instead, from now on",
		more: "The end as for `snooze`: `2h`, `until 9:00`, `until monday`."},
	{name: "drill", group: "People", usage: "drill [@user]", does: "a marked test page by every contact, to find out which work",
		more: "Alone it drills you. Nobody else is told, and it ends by itself. `/drills` of tocsin's page shows what each contact did."},
	{name: "note", group: "Record", usage: "note #n text", does: "write it on the timeline", kind: oncall.CmdNote},
	{name: "merge", group: "Record", usage: "merge #n into #m", does: "end #n; its alerts go on in #m", kind: oncall.CmdMerge},
	{name: "help", group: "Record", usage: "help [ack]", does: "this, or what one of them does", looks: true},
}

// synonyms are forgiven.
var synonyms = map[string]string{
	"acknowledge": "ack", "acked": "ack", "unacknowledge": "unack", "ls": "list", "incidents": "list", "open": "list", "show": "why",
	"close": "resolve", "?": "help", "-h": "help", "--help": "help", "explain": "why", "comment": "note", "oncall": "who", "on-call": "who",
	"schedule": "who", "schedules": "who", "mute": "silence", "unmute": "unsilence", "responder": "add", "invite": "add", "reassign": "assign",
	"unacked": "unack", "unsnooze": "unack", "wake": "unack", "resolved": "resolve", "esc": "escalate",
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

// help lists what there is, a line for each kind of thing, so that all of it is on one screen of a phone; or it
// explains one of them.
func help(command, topic string) string {
	if topic != "" {
		return explainVerb(command, topic)
	}
	var b strings.Builder
	b.WriteString("*tocsin* pages until somebody says “I have it”.")
	group := ""
	for _, v := range verbs {
		if v.group != group {
			group = v.group
			fmt.Fprintf(&b, "\n*%s*", group)
		}
		b.WriteString(" · " + code(v.usage, 80))
	}
	fmt.Fprintf(&b, "\n#n is #42, 42 or INC-42, or %s; in brackets: may be left out.", code("last", 10))
	fmt.Fprintf(&b, "\n%s explains one of them.", code(command+" help ack", 60))
	return b.String()
}

func explainVerb(command, topic string) string {
	v, ok := verbNamed(strings.ToLower(topic))
	if !ok {
		return unknownVerb(command, topic)
	}
	s := code(command+" "+v.usage, 80) + ": " + v.does + "."
	if v.more != "" {
		s += "\n" + v.more
	}
	var also []string
	for word, name := range synonyms {
		if name == v.name && strings.IndexFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) < 0 {
			also = append(also, code(word, 20))
		}
	}
	if slices.Sort(also); len(also) > 0 {
		s += "\nAlso: " + strings.Join(also, ", ")
	}
	return s
}

// unknownVerb answers a word that is no subcommand.
func unknownVerb(command, word string) string {
	s := "There is no " + code(command+" "+plainly(word), 60) + "."
	if near := nearest(strings.ToLower(plainly(word))); near != "" {
		s += " Did you mean " + code(command+" "+near, 60) + "?"
	}
	return s + " " + code(command+" help", 60) + " lists what there is."
}

// nearest is the subcommand that a mistyped one most likely means, "" for none.
func nearest(word string) string {
	if len(word) > 40 {
		return ""
	}
	best, at := "", 3
	if len(word) <= 3 {
		at = 2
	}
	try := func(candidate, name string) {
		if d := distance(word, candidate); d < at {
			best, at = name, d
		}
	}
	for _, v := range verbs {
		try(v.name, v.name)
	}
	for _, s := range sortedSynonyms() {
		if len(s) > 3 {
			try(s, synonyms[s])
		}
	}
	return best
}

func sortedSynonyms() []string {
	var all []string
	for s := range synonyms {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
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
