package slack

import (
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
	var mine, waiting []oncall.Incident
	for _, in := range seen.open {
		switch {
		case who.user != "" && (has(in, who) || concerns(in, who, "")):
			mine = append(mine, in)
		case in.State == oncall.IncidentTriggered && in.PausedSince.IsZero():
			waiting = append(waiting, in)
		}
	}
	if who.user != "" {
		b = append(b, homeTitle("Your open incidents"))
		b = append(b, homeIncidents(mine, who, seen, "✅ None is yours.")...)
	}
	b = append(b, homeTitle("Waiting for somebody"))
	b = append(b, homeIncidents(waiting, who, seen, "✅ Nothing waits.")...)
	if who.user != "" {
		b = append(b, homeTitle("Your next shifts"), section(shiftsOf(seen, who)))
		if link := calendarOf(seen.policy, who.user, seen.revoked); link != "" {
			b = append(b, &goslack.ContextBlock{Type: goslack.MBTContext, ContextElements: goslack.ContextElements{Elements: []goslack.MixedElement{mrkdwn(link)}}})
		}
	}
	b = append(b, homeTitle("On call now"), section(homeLines(seen.onCall, "There is no schedule in the configuration.")))
	b = append(b, &goslack.ContextBlock{Type: goslack.MBTContext, ContextElements: goslack.ContextElements{
		Elements: []goslack.MixedElement{mrkdwn("Times are on your clocks. " + code(seen.command+" help", 60) + " lists what can be typed.")}}})
	return goslack.HomeTabViewRequest{Type: goslack.VTHomeTab, Blocks: goslack.Blocks{BlockSet: b}}
}

func homeTitle(text string) goslack.Block {
	return &goslack.HeaderBlock{Type: goslack.MBTHeader, Text: plainText(text)}
}

// homeIncidents shows incidents, newest first, with what can be pressed.
func homeIncidents(ins []oncall.Incident, who person, seen around, none string) []goslack.Block {
	if len(ins) == 0 {
		return []goslack.Block{section(none)}
	}
	var b []goslack.Block
	for _, in := range ins[:min(maxHomeOpen, len(ins))] {
		text := homeLine(in, seen)
		b = append(b, section(shorten(text, maxHomeText)))
		if in.State == oncall.IncidentTriggered && who.may {
			b = append(b, &goslack.ActionBlock{Type: goslack.MBTAction, BlockID: fmt.Sprintf("tocsin_home_%d", in.Number),
				Elements: &goslack.BlockElements{ElementSet: []goslack.BlockElement{button(in, actionAcknowledge, "Acknowledge", goslack.StylePrimary)}}})
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

// shiftsOf lists somebody's turns, those that go on first.
func shiftsOf(seen around, who person) string {
	type turn struct {
		schedule string
		shift    oncall.Shift
		shadow   bool
	}
	var turns []turn
	for name, shifts := range seen.shifts {
		for _, s := range shifts {
			on, shadow := slices.Contains(s.Users, who.user), slices.Contains(s.Shadows, who.user)
			if !on && !shadow || !s.To.After(seen.now) {
				continue
			}
			// One turn may be several shifts, where those beside somebody change.
			if n := len(turns); n > 0 && turns[n-1].schedule == name && turns[n-1].shadow == !on && turns[n-1].shift.To.Equal(s.From) {
				turns[n-1].shift.To = s.To
				continue
			}
			turns = append(turns, turn{name, s, !on})
		}
	}
	slices.SortFunc(turns, func(x, y turn) int {
		if c := x.shift.From.Compare(y.shift.From); c != 0 {
			return c
		}
		return strings.Compare(x.schedule, y.schedule)
	})
	end := seen.now.Truncate(time.Hour).Add(homeAhead)
	var lines []string
	for i, t := range turns {
		if i == maxHomeShifts {
			lines = append(lines, fmt.Sprintf("… and %d more", len(turns)-i))
			break
		}
		line := "• *" + prose(t.schedule, 80) + "*"
		if t.shadow {
			line += " (shadow)"
		}
		switch {
		case !t.shift.From.After(seen.now) && !t.shift.To.Before(end):
			line += " now, for longer than two weeks"
		case !t.shift.From.After(seen.now):
			line += " *now*, until " + when(t.shift.To, true)
		case !t.shift.To.Before(end):
			line += " from " + when(t.shift.From, true)
		default:
			line += " " + when(t.shift.From, true) + " to " + when(t.shift.To, true)
		}
		lines = append(lines, line)
	}
	return homeLines(lines, "You are not on call in the next two weeks.")
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

// calendarOf links somebody's calendar, "" where there are none. The address is a secret of theirs: nobody else sees
// their home.
func calendarOf(p oncall.Policy, user string, revoked int64) string {
	if revoked < 0 || p.ExternalURL == "" || len(p.LinkKey) == 0 || len(p.Schedules) == 0 {
		return ""
	}
	return "<" + p.ExternalURL + "/calendar/" + oncall.CalendarToken(p.LinkKey, oncall.CalendarOf{User: user}, revoked) + ".ics|Your shifts as a calendar> (keep the address to yourself)"
}
