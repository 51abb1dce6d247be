package slack

import (
	"fmt"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// maxDrillLines is how many contacts a drill's message names.
const maxDrillLines = 12

// drawDrill writes a drill's message, which nobody may take for an incident's: it has another mark, other words and other
// buttons, says first that nothing is wrong, and then what each contact did.
func drawDrill(in oncall.Incident, p oncall.Policy, now time.Time) Drawing {
	d := in.Drill
	word, lead := "under way", fmt.Sprintf("*Nothing is wrong.* %s tries whether you, %s, can be reached by each of your contacts. Answer wherever it reaches you; it ends by itself at %s.",
		actor(drilledBy(*d)), actor(d.User), moment(in.TriggeredAt.Add(oncall.DrillLasts), now))
	if !in.Open() {
		word, lead = "over", "*Nothing is wrong.* "+drillVerdict(*d)
	}
	head := fit(fmt.Sprintf("🧪 DRILL · %s · #%d %s", word, in.Number, clean(d.User)), maxHeader)
	shown := true
	b := []goslack.Block{
		&goslack.HeaderBlock{Type: goslack.MBTHeader, Text: &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: head, Emoji: &shown}},
		section(lead),
	}
	if lines := drillLines(d.Contacts); lines != "" {
		b = append(b, section(lines))
	}
	if in.Open() {
		var set []goslack.BlockElement
		if waitsForSlack(d.Contacts) {
			set = append(set, button(in, actionAcknowledge, "It reached me", goslack.StylePrimary))
		}
		set = append(set, button(in, actionResolve, "End the drill", ""))
		b = append(b, &goslack.ActionBlock{Type: goslack.MBTAction, BlockID: fmt.Sprintf("tocsin_actions_%d", in.Revision),
			Elements: &goslack.BlockElements{ElementSet: set}})
	}
	if base := strings.TrimRight(p.ExternalURL, "/"); base != "" {
		b = append(b, &goslack.ContextBlock{Type: goslack.MBTContext, ContextElements: goslack.ContextElements{
			Elements: []goslack.MixedElement{mrkdwn(link(base+"/drills", "All drills, and whose contacts failed"))}}})
	}
	text := fmt.Sprintf("🧪 DRILL #%d, nothing is wrong: ", in.Number)
	switch {
	case !in.Open():
		text += drillVerdict(*d)
	case waitsForSlack(d.Contacts):
		text += "press “It reached me”"
	default:
		text += "it goes on with the other contacts"
	}
	return Drawing{Blocks: b, Text: text}
}

func drilledBy(d oncall.Drill) string {
	if d.Job != "" {
		return "the job " + d.Job
	}
	return d.By
}

// drillVerdict is what a drill that is over found out.
func drillVerdict(d oncall.Drill) string {
	failed, unknown := 0, 0
	for _, c := range d.Contacts {
		switch c.Result {
		case oncall.CheckFailed:
			failed++
		case oncall.CheckUnknown:
			unknown++
		}
	}
	switch {
	case failed > 0:
		return fmt.Sprintf("%d of %s failed: mend it, and drill again.", failed, plural(len(d.Contacts), "contact"))
	case unknown > 0:
		return fmt.Sprintf("It was ended before %s of %d were heard of.", plural(unknown, "contact"), len(d.Contacts))
	case len(d.Contacts) == 1:
		return "The one contact works."
	}
	return fmt.Sprintf("All %s work.", plural(len(d.Contacts), "contact"))
}

// drillLines says what each contact did, by words and a mark.
func drillLines(all []oncall.ContactCheck) string {
	var b strings.Builder
	for i, c := range all {
		if i == maxDrillLines {
			fmt.Fprintf(&b, "… and %d more", len(all)-i)
			break
		}
		mark, says := "⏳", "waits for an answer of the far end"
		switch {
		case c.Result == oncall.CheckFailed || c.Refused:
			mark, says = "❌", "*failed*: "+prose(c.Failure, 200)
		case !c.AnsweredAt.IsZero():
			mark, says = "✅", "*answered* after "+spanFine(c.AnsweredAt.Sub(c.At))
		case c.Result == oncall.CheckUnknown:
			mark, says = "❔", "not heard of before the end"
		case c.Taken || c.Result == oncall.CheckOK:
			mark, says = "✅", "arrived"
		case !c.AcceptedAt.IsZero():
			says = "taken, not confirmed yet"
		case c.Failure != "":
			says = prose(c.Failure, 200)
		}
		fmt.Fprintf(&b, "%s %s (%s): %s\n", mark, prose(c.Contact, 80), prose(string(c.Endpoint), 80), says)
	}
	return strings.TrimRight(b.String(), "\n")
}

// waitsForSlack reports whether a press here would tell something new.
func waitsForSlack(all []oncall.ContactCheck) bool {
	for _, c := range all {
		if c.Endpoint.Kind() == "slack" && c.AnsweredAt.IsZero() {
			return true
		}
	}
	return false
}
