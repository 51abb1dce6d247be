package slack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// How much a home shows: it is read on a phone, and Slack takes 100 blocks.
const (
	homeAhead     = 14 * 24 * time.Hour
	maxHomeShifts = 20
	maxHomeOpen   = 10 // of each kind
	maxHomeText   = 2900
)

// around is what homes show, read once for all of them.
type around struct {
	now     time.Time
	policy  oncall.Policy
	open    []oncall.Incident         // newest first
	shifts  map[string][]oncall.Shift // by schedule, as far as homes look ahead
	onCall  []string                  // a line for each schedule
	command string
	revoked int64 // how often the addresses of the visitor's calendar were revoked; negative: nobody knows just now
}

// lookAround reads what homes show.
func (a *Adapter) lookAround(ctx context.Context, now time.Time) (around, error) {
	seen := around{now: now, policy: a.policy(), shifts: map[string][]oncall.Shift{}, command: a.cfg.Command}
	var err error
	if seen.open, err = a.incidents(ctx, oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed); err != nil {
		return seen, err
	}
	// What lasts is cut at whole hours, so that a home changes when something did.
	from := now.Truncate(time.Hour)
	for _, name := range seen.policy.ScheduleNames() {
		s := seen.policy.Schedules[name]
		seen.shifts[name] = s.Shifts(seen.policy.Overrides, from, from.Add(homeAhead))
		seen.onCall = append(seen.onCall, "• "+onCallLine(&s, seen.policy, now, false))
	}
	return seen, nil
}

// homeView draws somebody's home. The notice, mrkdwn, stands at the top.
func homeView(seen around, who person, notice string) goslack.HomeTabViewRequest {
	var b []goslack.Block
	if notice != "" {
		b = append(b, section(shorten(notice, maxHomeText)), goslack.NewDividerBlock())
	}
	switch {
	case who.foreign:
		b = []goslack.Block{section("You are of another Slack workspace than this tocsin, so there is nothing here for you.")}
		return goslack.HomeTabViewRequest{Type: goslack.VTHomeTab, Blocks: goslack.Blocks{BlockSet: b}}
	case who.user == "" && who.unsure:
		b = append(b, section("👋 Slack could not tell just now who you are. Open this tab again in a moment."))
	case who.user == "":
		b = append(b, section("👋 *You are not known to tocsin.* Ask for `slack: "+strings.Trim(code(who.id, 20), "`")+"` in your entry of `users` in its configuration. You may look until then."))
	}
	if who.user != "" && len(seen.shifts) > 0 {
		b = append(b, homeStatus(seen, who)...)
		b = append(b, goslack.NewDividerBlock())
	}
	b = append(b, homeOpen(seen, who)...)
	b = append(b, goslack.NewDividerBlock(), homeTitle("Who is on call"), section(homeLines(seen.onCall, "The configuration has no schedule: nobody is on call by turns.")))
	if who.user != "" && len(seen.shifts) > 0 {
		_, next := turnsOf(seen, who)
		b = append(b, goslack.NewDividerBlock(), homeTitle("Your next shifts"), section(nextShifts(seen, next)))
		if link := calendarOf(seen.policy, who.user, seen.revoked); link != "" {
			b = append(b, homeSmall(link))
		}
	}
	b = append(b, homeSmall("Times are on your clocks. "+code(seen.command+" help", 60)+" lists what can be typed."))
	return goslack.HomeTabViewRequest{Type: goslack.VTHomeTab, Blocks: goslack.Blocks{BlockSet: b}}
}

func homeTitle(text string) goslack.Block {
	return &goslack.HeaderBlock{Type: goslack.MBTHeader, Text: plainText(text)}
}

func homeSmall(text string) goslack.Block {
	return &goslack.ContextBlock{Type: goslack.MBTContext, ContextElements: goslack.ContextElements{Elements: []goslack.MixedElement{mrkdwn(text)}}}
}

// homeOpen shows what is open: what is theirs, what nobody has, and how much others have.
func homeOpen(seen around, who person) []goslack.Block {
	var mine, waiting []oncall.Incident
	others := 0
	for _, in := range seen.open {
		switch {
		case who.user != "" && (has(in, who) || concerns(in, who, "")):
			mine = append(mine, in)
		case in.State == oncall.IncidentTriggered && in.PausedSince.IsZero():
			waiting = append(waiting, in)
		default:
			others++
		}
	}
	// What asks for somebody comes before what somebody has; each newest first.
	slices.SortStableFunc(mine, func(x, y oncall.Incident) int { return cmp.Compare(asking(y), asking(x)) })
	var b []goslack.Block
	if len(mine)+len(waiting) == 0 {
		text := "✅ None waits for anybody."
		if who.user != "" {
			text = "✅ None is yours, and none waits for anybody."
		}
		b = append(b, homeTitle("Open incidents"), section(text))
	}
	if len(mine) > 0 {
		b = append(b, homeTitle(fmt.Sprintf("Your open incidents: %d", len(mine))))
		b = append(b, homeIncidents(mine, who, seen)...)
	}
	if len(waiting) > 0 {
		if len(mine) > 0 {
			b = append(b, goslack.NewDividerBlock())
		} else if who.user != "" {
			b = append(b, homeTitle("Your open incidents"), section("✅ None is yours."), goslack.NewDividerBlock())
		}
		b = append(b, homeTitle(fmt.Sprintf("Waiting for somebody: %d", len(waiting))))
		b = append(b, homeIncidents(waiting, who, seen)...)
	}
	if others > 0 {
		b = append(b, homeSmall(fmt.Sprintf("Open besides, and in somebody’s hands or paused: %d. %s shows all.", others, code(seen.command+" list", 60))))
	}
	return b
}

// asking is 1 for an incident that still asks for somebody.
func asking(in oncall.Incident) int {
	if in.State == oncall.IncidentTriggered && in.PausedSince.IsZero() {
		return 1
	}
	return 0
}

// homeIncidents shows incidents in their order, with what can be pressed.
func homeIncidents(ins []oncall.Incident, who person, seen around) []goslack.Block {
	var b []goslack.Block
	for _, in := range ins[:min(maxHomeOpen, len(ins))] {
		text := homeLine(in, seen)
		b = append(b, section(shorten(text, maxHomeText)))
		if in.State == oncall.IncidentTriggered && who.may {
			b = append(b, &goslack.ActionBlock{Type: goslack.MBTAction, BlockID: fmt.Sprintf("tocsin_home_%d", in.Number),
				Elements: &goslack.BlockElements{ElementSet: []goslack.BlockElement{button(in, actionAcknowledge, fmt.Sprintf("Acknowledge #%d", in.Number), goslack.StylePrimary)}}})
		}
	}
	if more := len(ins) - maxHomeOpen; more > 0 {
		b = append(b, section(fmt.Sprintf("… and %d more: %s", more, code(seen.command+" list", 60))))
	}
	return b
}

// homeLine is one incident: what, who has it, where it is shown in full.
func homeLine(in oncall.Incident, seen around) string {
	emoji, word := standing(in)
	s := fmt.Sprintf("%s *#%d %s*", emoji, in.Number, word)
	switch in.State {
	case oncall.IncidentSnoozed:
		s += " until " + when(in.SnoozedUntil, true)
	case oncall.IncidentAcknowledged:
		s += " by " + actor(in.AcknowledgedBy)
	}
	if in.Severity != "" {
		s += " · " + prose(in.Severity, 40)
	}
	s += "\n" + prose(in.Title, 200) + "\nsince " + when(in.TriggeredAt, true)
	if base := seen.policy.ExternalURL; base != "" {
		s += fmt.Sprintf(" · <%s/incidents/%d|open>", base, in.Number)
	}
	return s
}

// homeLines joins as many lines as a section takes.
func homeLines(lines []string, none string) string {
	if len(lines) == 0 {
		return none
	}
	var b strings.Builder
	for i, l := range lines {
		if b.Len()+len(l) > maxHomeText-40 {
			fmt.Fprintf(&b, "… and %d more", len(lines)-i)
			break
		}
		b.WriteString(l + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
