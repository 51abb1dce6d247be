package slack

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
)

// In a storm one message stands for several incidents: the first ones each with its state, its title and a button of its
// own, others as lines, and counts that are exact. Redrawn, it shows all of them as they stand then, in the same order:
// nothing moves under a finger.

const (
	maxBundleButtons = 20     // incidents with a section of their own
	maxBundleTitle   = 110    // of one with a section
	maxBundleLine    = 70     // of one that has a line
	maxBundleBlocks  = 11_500 // of all blocks together, as JSON; Slack takes about 13,000
	maxReplies       = 2800   // of a reply that speaks for several incidents
)

// DrawBundle writes the message of several incidents. It fits Slack's limits, however many there are.
func DrawBundle(b oncall.Bundle, p oncall.Policy, now time.Time) Drawing {
	head := bundleHead(b)
	blocks := []goslack.Block{
		&goslack.HeaderBlock{Type: goslack.MBTHeader, Text: &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: head}},
		section(bundleCounts(b) + "\nThey came within moments of each other and are shown together. What happens to each is in the thread and on its own page."),
	}
	room := maxBundleBlocks
	for _, block := range blocks {
		room -= jsonSize(block)
	}
	listed := 0
	for _, m := range b.Members[:min(len(b.Members), maxBundleButtons)] {
		block := bundleSection(m.Incident, p, now)
		size := jsonSize(block)
		if room-size < 600 { // for the lines
			break
		}
		room -= size
		listed++
		blocks = append(blocks, block)
	}
	lines, n := bundleLines(b.Members[listed:], p, min(room-300, 2900))
	listed += n
	if more := b.Count - listed; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	if len(lines) > 0 {
		blocks = append(blocks, section(strings.Join(lines, "\n")))
	}
	return Drawing{Blocks: blocks, Text: head + " · " + bundleCounts(b)}
}

func jsonSize(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		return maxBundleBlocks // not to be sent
	}
	return len(text) + 1
}

// bundleHead is the worst state, how many, and the first of them.
func bundleHead(b oncall.Bundle) string {
	emoji := "✅"
	for _, s := range []oncall.IncidentState{oncall.IncidentSnoozed, oncall.IncidentAcknowledged, oncall.IncidentTriggered} {
		if b.States[s] > 0 {
			emoji, _ = stateWord(s)
		}
	}
	s := fmt.Sprintf("%s %d incidents", emoji, b.Count)
	if len(b.Members) > 0 {
		first := b.Members[0].Incident
		s += fmt.Sprintf(", first #%d: ", first.Number)
		s += fit(first.Title, maxHeader-utf8.RuneCountInString(s))
	}
	return s
}

// bundleCounts is how many are in which state, in words.
func bundleCounts(b oncall.Bundle) string {
	var parts []string
	for _, s := range []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed, oncall.IncidentResolved} {
		if n := b.States[s]; n > 0 {
			emoji, word := stateWord(s)
			parts = append(parts, fmt.Sprintf("%s %d %s", emoji, n, strings.ToLower(word)))
		}
	}
	return strings.Join(parts, " · ")
}

// bundleSection is one incident with its state, and its button while nobody has it.
func bundleSection(in oncall.Incident, p oncall.Policy, now time.Time) goslack.Block {
	emoji, word := standing(in)
	facts := []string{emoji + " *" + word + "*"}
	if in.Severity != "" {
		facts = append(facts, prose(in.Severity, 24))
	}
	switch {
	case in.State == oncall.IncidentResolved:
		facts = append(facts, "at "+moment(in.ResolvedAt, now))
	case in.AcknowledgedBy != "":
		facts = append(facts, actor(in.AcknowledgedBy)+" has it")
	default:
		facts = append(facts, "since "+moment(in.TriggeredAt, now))
	}
	b := &goslack.SectionBlock{Type: goslack.MBTSection, BlockID: fmt.Sprintf("tocsin_bundled_%d", in.Number),
		Text: mrkdwn(bundleName(in, p, maxBundleTitle) + "\n" + strings.Join(facts, " · "))}
	if in.State == oncall.IncidentTriggered {
		b.Accessory = goslack.NewAccessory(button(in, actionAcknowledge, "Acknowledge", goslack.StylePrimary))
	}
	return b
}

// bundleName is an incident's number, which leads to its page, and its title.
func bundleName(in oncall.Incident, p oncall.Policy, most int) string {
	number := fmt.Sprintf("#%d", in.Number)
	if l := link(pageOf(in, p), number); l != "" {
		number = l
	}
	return number + " " + prose(in.Title, most)
}

// bundleLines are incidents of a line each, as many as fit.
func bundleLines(members []oncall.BundleMember, p oncall.Policy, room int) (lines []string, n int) {
	for _, m := range members {
		emoji, word := standing(m.Incident)
		line := emoji + " " + word + " " + bundleName(m.Incident, p, maxBundleLine)
		if room -= jsonSize(line); room < 0 {
			break
		}
		lines = append(lines, line)
	}
	return lines, len(lines)
}

// bundleReply is a reply in the thread of a message of several incidents: it names the one that it is about, or those of
// which the same is to be said.
func bundleReply(b oncall.Bundle) (text string, broadcast bool) {
	type said struct{ what, text string }
	var order []said
	of := map[said][]oncall.Incident{}
	listed := 0
	for _, m := range b.Members {
		var r oncall.Reply
		if err := json.Unmarshal(m.Body, &r); err != nil {
			continue
		}
		s := said{r.What, strings.ReplaceAll(r.Text, m.Incident.Title, "it")}
		if of[s] == nil {
			order = append(order, s)
		}
		of[s] = append(of[s], m.Incident)
		broadcast = broadcast || r.Broadcast
	}
	var lines []string
	room := maxReplies
	for _, s := range order {
		line := replyText(oncall.Reply{What: s.what, Text: s.text})
		room -= utf8.RuneCountInString(line) + 2
		var names []string
		for _, in := range of[s] {
			name := fmt.Sprintf("#%d", in.Number)
			if len(of[s]) == 1 {
				name += " " + prose(in.Title, maxBundleLine)
			}
			if room -= utf8.RuneCountInString(name) + 2; room < 0 {
				break
			}
			names = append(names, name)
		}
		if len(names) == 0 {
			break
		}
		listed += len(names)
		lines = append(lines, line+" · "+strings.Join(names, ", "))
	}
	if more := b.Count - listed; more > 0 {
		lines = append(lines, fmt.Sprintf("… and the like of %s; each is on its own page", plural(more, "more incident")))
	}
	return strings.Join(lines, "\n"), broadcast
}

// drawing is the message of an incident, or of the bundle that stands for it.
func (a *Adapter) drawing(m notifier.Message) Drawing {
	if m.Bundle != nil {
		return DrawBundle(*m.Bundle, a.policy(), time.Now())
	}
	return Draw(m.Incident, a.policy(), time.Now())
}

// stillOpen reports whether something of a message is not over yet.
func stillOpen(m notifier.Message) bool {
	if m.Bundle != nil {
		return m.Bundle.States[oncall.IncidentResolved] < m.Bundle.Count
	}
	return m.Incident.Open()
}
