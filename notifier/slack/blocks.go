package slack

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// How much of what goes into a message. Slack allows 3,000 characters a section and about 13,000 for all
// blocks together, JSON included; these add up to less.
const (
	maxHeader    = 150
	maxSummaries = 3
	maxSummary   = 300
	maxTold      = 900
	maxLinks     = 2000
	maxInstances = 6
	maxList      = 2500
	maxLabels    = 1500
	maxText      = 300
)

// Drawing is an incident as Slack shows it.
type Drawing struct {
	Blocks []goslack.Block
	Text   string // what a notification on a phone shows, and clients without blocks
}

// Draw writes the incident's message: what, how bad, since when, who has it, what happens next, then the
// buttons, then the details. It fits Slack's limits whatever the alerts carry.
func Draw(in oncall.Incident, p oncall.Policy, now time.Time) Drawing {
	if in.Drill != nil {
		return drawDrill(in, p, now)
	}
	alerts := summarise(in.Alerts)
	b := []goslack.Block{header(in), section(facts(in, alerts, now))}
	if s := summaries(in, alerts); s != "" {
		b = append(b, plain(s))
	}
	b = append(b, section(people(in, now)))
	if l := links(in, alerts, p); l != "" {
		b = append(b, section(l))
	}
	if buttons := buttons(in, alerts); buttons != nil {
		b = append(b, buttons)
	}
	if s := instances(in, alerts, p, now); s != "" {
		b = append(b, section(s))
	}
	if s := shownLabels(in, alerts); s != "" {
		b = append(b, &goslack.ContextBlock{Type: goslack.MBTContext, ContextElements: goslack.ContextElements{
			Elements: []goslack.MixedElement{mrkdwn(s)}}})
	}
	return Drawing{Blocks: b, Text: fallback(in, alerts)}
}

func stateWord(s oncall.IncidentState) (emoji, word string) {
	switch s {
	case oncall.IncidentTriggered:
		return "🔴", "Triggered"
	case oncall.IncidentAcknowledged:
		return "🟡", "Acknowledged"
	case oncall.IncidentSnoozed:
		return "💤", "Snoozed"
	case oncall.IncidentResolved:
		return "✅", "Resolved"
	}
	return "❔", fit(string(s), 20)
}

// standing is the state in a word. One that nobody has and that pauses is not burning.
func standing(in oncall.Incident) (emoji, word string) {
	if in.State == oncall.IncidentTriggered && !in.PausedSince.IsZero() {
		return "🔇", "Paused"
	}
	return stateWord(in.State)
}

func header(in oncall.Incident) goslack.Block {
	emoji, word := standing(in)
	start := emoji + " " + word + " · "
	if in.Severity != "" {
		start += fit(in.Severity, 24) + " · "
	}
	start += fmt.Sprintf("#%d ", in.Number)
	title := fit(in.Title, maxHeader-utf8.RuneCountInString(start))
	shown := true
	return &goslack.HeaderBlock{Type: goslack.MBTHeader, Text: &goslack.TextBlockObject{
		Type: goslack.PlainTextType, Text: strings.TrimSpace(start + title), Emoji: &shown}}
}

// fallback is what a locked telephone shows: state, severity, number, title, and the value unless the title has it.
func fallback(in oncall.Incident, a summary) string {
	emoji, word := standing(in)
	s := emoji + " " + word
	if in.Severity != "" {
		s += " " + prose(in.Severity, 30)
	}
	s += fmt.Sprintf(" #%d: ", in.Number)
	tail := ""
	m := measureOf(a)
	switch {
	case a.firing > 1 && m.value != "":
		tail = fmt.Sprintf(" · %d alerts, worst %s", a.firing, prose(m.value, 30))
	case a.firing > 1:
		tail = fmt.Sprintf(" · %d alerts", a.firing)
	case a.firing == 1 && m.value != "" && !strings.Contains(in.Title, m.value):
		tail = " · " + prose(m.value, 30)
	}
	if tail != "" && m.threshold != "" {
		tail += " (fires " + prose(m.threshold, 60) + ")"
	}
	return s + prose(in.Title, maxText-utf8.RuneCountInString(s+tail)) + tail
}

// facts is how bad it is, how many, and since when.
func facts(in oncall.Incident, a summary, now time.Time) string {
	var parts []string
	m := measureOf(a)
	switch {
	case a.total == 0:
		parts = append(parts, "no alerts yet")
	case a.total == 1 && a.firing == 1:
		if m.value == "" {
			parts = append(parts, "1 alert firing")
		}
	case a.firing == a.total:
		parts = append(parts, fmt.Sprintf("*%d alerts* firing", a.total))
	case a.firing == 0:
		parts = append(parts, plural(a.total, "alert")+" resolved")
	default:
		parts = append(parts, fmt.Sprintf("*%d of %s* firing", a.firing, plural(a.total, "alert")))
	}
	if a.firing > 0 && m.value != "" {
		parts = append(parts, m.words(a))
	}
	if a.muted > 0 && in.PausedSince.IsZero() {
		parts = append(parts, fmt.Sprintf("%d muted", a.muted))
	}
	since := "since "
	if in.State == oncall.IncidentResolved {
		since = "began "
	}
	parts = append(parts, since+moment(in.TriggeredAt, now))
	s := strings.Join(parts, " · ")
	if a.unknown > 0 && in.State != oncall.IncidentResolved {
		what := "It *cannot be evaluated*"
		if a.total > 1 {
			what = fmt.Sprintf("%d of %d *cannot be evaluated*", a.unknown, a.total)
		}
		s += fmt.Sprintf("\n⚠️ %s since %s: what is shown is the last that is known.", what, moment(a.unknownSince, now))
	}
	if in.LinkedFrom > 0 {
		s += fmt.Sprintf("\nContinues #%d, which was closed by hand while its alerts fired.", in.LinkedFrom)
	}
	return s
}

// summaries is what the alerts say, one line for each kind of alert, where the title does not say it.
func summaries(in oncall.Incident, a summary) string {
	var lines []string
	seen := map[string]bool{clean(in.Title): utf8.RuneCountInString(clean(in.Title)) < 100}
	for _, al := range a.kinds {
		s := al.Annotations["summary"]
		if s == "" {
			s = al.Annotations["description"]
		}
		if s = clean(s); s == "" || seen[s] {
			continue
		}
		seen[s] = true
		if len(lines) == maxSummaries {
			break
		}
		lines = append(lines, fit(s, maxSummary))
	}
	return strings.Join(lines, "\n")
}

// people is who has it, who was told, and what happens next.
func people(in oncall.Incident, now time.Time) string {
	var lines []string
	switch in.State {
	case oncall.IncidentSnoozed:
		line := "💤 *Snoozed* until " + moment(in.SnoozedUntil, now)
		if in.AcknowledgedBy != "" {
			line += "; " + actor(in.AcknowledgedBy) + " has it"
		}
		lines = append(lines, line)
	case oncall.IncidentAcknowledged:
		lines = append(lines, fmt.Sprintf("✋ *%s has it*, since %s", actor(in.AcknowledgedBy), moment(in.AcknowledgedAt, now)))
	case oncall.IncidentResolved:
		by := "its alerts recovered"
		if in.ResolvedBy != "" {
			by = "by " + actor(in.ResolvedBy)
		}
		line := fmt.Sprintf("Resolved at %s, %s, after %s", moment(in.ResolvedAt, now), by, span(in.ResolvedAt.Sub(in.TriggeredAt)))
		if in.AcknowledgedBy != "" && in.AcknowledgedBy != in.ResolvedBy {
			line += "; " + actor(in.AcknowledgedBy) + " had it"
		}
		lines = append(lines, line)
	}
	if !in.PausedSince.IsZero() {
		lines = append(lines, pausedLine(in, now))
	}
	if in.Assignee != "" && in.Assignee != in.AcknowledgedBy {
		lines = append(lines, "Assigned to "+actor(in.Assignee))
	}
	if told := toldLine(in); told != "" {
		lines = append(lines, told)
	}
	if next := nextLine(in, now); next != "" {
		lines = append(lines, next)
	}
	return strings.Join(lines, "\n")
}

// pausedLine is why nobody is told of an open incident.
func pausedLine(in oncall.Incident, now time.Time) string {
	line := "🔇 *Paused* since " + moment(in.PausedSince, now) + ": " + prose(strings.TrimPrefix(in.Next, "paused: "), 200)
	for _, al := range in.Alerts {
		if al.State == oncall.StateFiring && al.MutedWhy != "" {
			return line + " · " + prose(al.MutedWhy, 400)
		}
	}
	return line
}

func actor(name string) string {
	if name == "" {
		return "somebody"
	}
	return prose(name, 80)
}

// toldLine lists who was asked for attention, and marks whom it did not reach.
func toldLine(in oncall.Incident) string {
	var names []string
	seen := map[string]bool{}
	used := 0
	for i, t := range in.Told {
		if seen[t.Target] {
			continue
		}
		seen[t.Target] = true
		name := prose(targetName(t.Target), 80)
		if unreached(in, t) {
			name += " (not reached)"
		}
		if used += utf8.RuneCountInString(name) + 2; used > maxTold-20 {
			names = append(names, fmt.Sprintf("%d more", len(in.Told)-i))
			break
		}
		names = append(names, name)
	}
	s := ""
	if len(names) > 0 {
		s = "Told: " + strings.Join(names, ", ")
	}
	if in.NextTier > 1 {
		s += fmt.Sprintf(" · escalated to the %s tier", oncall.Nth(in.NextTier-1))
	}
	if in.Round > 0 {
		s += fmt.Sprintf(" · %s round", oncall.Nth(in.Round))
	}
	return strings.TrimPrefix(s, " · ")
}

// targetName is a target as people call it: "#session-alerts", "shop/#alerts", "ana", "receiver pagerduty".
func targetName(target string) string {
	if channel, ok := strings.CutPrefix(target, "slack "); ok {
		if workspace, name, named := oncall.CutWorkspace(channel); named {
			return oncall.JoinWorkspace(workspace, "#"+strings.TrimPrefix(name, "#"))
		}
		return "#" + strings.TrimPrefix(channel, "#")
	}
	return strings.TrimPrefix(target, "user ")
}

// unreached reports whether all that was sent to a target so far has failed for good.
func unreached(in oncall.Incident, t oncall.Told) (failed bool) {
	failed = t.Failed
	for _, d := range in.Deliveries {
		if d.Target != t.Target {
			continue
		}
		if d.State != oncall.DeliveryRefused {
			return false
		}
		failed = true
	}
	return failed
}

// nextLine is what happens by itself, as the core worked it out.
func nextLine(in oncall.Incident, now time.Time) string {
	if !in.PausedSince.IsZero() {
		return "*Next*: nothing while that lasts; then it goes on where it stood"
	}
	if in.Next == "" {
		switch in.State {
		case oncall.IncidentTriggered:
			return "🆘 *Nobody is left to tell*; it waits for an acknowledgement"
		case oncall.IncidentResolved:
			return ""
		}
		return "*Next*: nothing, until it is resolved or handed back"
	}
	at := "now"
	if in.NextStepAt.After(now) {
		at = "at " + moment(in.NextStepAt, now)
	}
	line := "*Next*, " + at + ": " + prose(in.Next, 400)
	if in.State == oncall.IncidentTriggered {
		line += ", unless acknowledged"
	}
	return line
}

// pageOf is the address of the incident's own page, "" where nobody knows how tocsin is reached.
func pageOf(in oncall.Incident, p oncall.Policy) string {
	if p.ExternalURL == "" {
		return ""
	}
	return fmt.Sprintf("%s/incidents/%d", strings.TrimRight(p.ExternalURL, "/"), in.Number)
}

// links are the runbooks, the graphs, and the incident's own page.
func links(in oncall.Incident, a summary, p oncall.Policy) string {
	var all []string
	used := 0
	seen := map[string]bool{"": true}
	add := func(target, text string) {
		l := link(target, text)
		if n := utf8.RuneCountInString(l); !seen[target] && l != "" && used+n+3 <= maxLinks {
			seen[target] = true
			used += n + 3
			all = append(all, l)
		}
	}
	// The own page comes last for the eye, but first in the budget.
	page := ""
	if p.ExternalURL != "" {
		page = link(pageOf(in, p), fmt.Sprintf("Incident #%d", in.Number))
		used += utf8.RuneCountInString(page)
	}
	for i, al := range a.kinds {
		if i == 3 {
			break
		}
		which := ""
		if len(a.kinds) > 1 {
			which = " (" + prose(al.Labels.Get("alertname"), 40) + ")"
			which = strings.NewReplacer("|", "∣", "\n", " ").Replace(which)
		}
		add(al.Annotations["runbook_url"], "📖 Runbook"+which)
		add(al.GeneratorURL, "📈 Graph"+which)
		add(al.Annotations["dashboard_url"], "Dashboard"+which)
	}
	if page != "" {
		all = append(all, page)
	}
	return strings.Join(all, " · ")
}

func section(text string) goslack.Block {
	return &goslack.SectionBlock{Type: goslack.MBTSection, Text: mrkdwn(text)}
}

// plain is a section in which Slack formats nothing: for sentences that somebody else wrote.
func plain(text string) goslack.Block {
	return &goslack.SectionBlock{Type: goslack.MBTSection, Text: &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: text}}
}

// mrkdwn is verbatim: Slack then turns no channel name, address or @word of its own accord into a link.
func mrkdwn(text string) *goslack.TextBlockObject {
	return &goslack.TextBlockObject{Type: goslack.MarkdownType, Text: text, Verbatim: true}
}
