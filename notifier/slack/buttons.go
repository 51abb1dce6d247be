package slack

import (
	"encoding/json"
	"fmt"
	"strconv"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// The buttons' action IDs. They are a contract with the messages that are out there already.
const (
	actionAcknowledge   = "tocsin_acknowledge"
	actionUnacknowledge = "tocsin_unacknowledge"
	actionResolve       = "tocsin_resolve"
	actionEscalate      = "tocsin_escalate"
	actionQuiet         = "tocsin_quiet" // the menu of snoozes and silences
	actionMore          = "tocsin_more"  // the menu of everything else
)

// press is what a button carries: which incident it was drawn for, and what its reader saw.
type press struct {
	Number int64                `json:"n"`
	State  oncall.IncidentState `json:"state"`
	Seen   *oncall.Seen         `json:"seen,omitempty"` // escalate
}

// choice is what an option of a menu carries, and a dialog until it is sent off.
type choice struct {
	Number int64                `json:"n"`
	State  oncall.IncidentState `json:"state,omitempty"`
	Do     string               `json:"do,omitempty"`    // "" in messages of before: silence
	For    string               `json:"for,omitempty"`   // "30m", forMorning, forClear; "": the dialog asks
	Until  int64                `json:"until,omitempty"` // in a dialog: what forMorning meant when it was chosen, in Unix seconds
}

// What the menus do.
const (
	doSnooze  = "snooze"
	doSilence = "silence"
	doAssign  = "assign"
	doAdd     = "add"
	doNote    = "note"
	doMerge   = "merge"
	doWhy     = "why"
)

// For how long, beside durations.
const (
	forMorning = "morning"
	forClear   = "clear"
)

// buttons is the row below what a message says: five elements, so that a phone shows all of them.
func buttons(in oncall.Incident, a summary) goslack.Block {
	var set []goslack.BlockElement
	switch in.State {
	case oncall.IncidentTriggered:
		set = append(set, button(in, actionAcknowledge, "Acknowledge", goslack.StylePrimary),
			resolveButton(in, a), button(in, actionEscalate, "Escalate now", ""), quietMenu(in), moreMenu(in))
	case oncall.IncidentAcknowledged, oncall.IncidentSnoozed:
		set = append(set, button(in, actionUnacknowledge, "Unacknowledge", ""), resolveButton(in, a), quietMenu(in), moreMenu(in))
	default:
		set = append(set, moreMenu(in))
	}
	// Slack keeps showing what was chosen from a menu, and takes the same choice for none, until the block has another name.
	return &goslack.ActionBlock{Type: goslack.MBTAction, BlockID: "tocsin_actions_" + strconv.FormatInt(in.Revision, 10),
		Elements: &goslack.BlockElements{ElementSet: set}}
}

func button(in oncall.Incident, action, text string, style goslack.Style) *goslack.ButtonBlockElement {
	v := press{Number: in.Number, State: in.State}
	if action == actionEscalate {
		v.Seen = &oncall.Seen{Round: in.Round, Tier: in.NextTier - 1}
	}
	return &goslack.ButtonBlockElement{Type: goslack.METButton, ActionID: action, Value: marshalled(v), Style: style, Text: plainText(text)}
}

// resolveButton asks before it closes an incident whose alerts still fire: a thumb slips easily.
func resolveButton(in oncall.Incident, a summary) *goslack.ButtonBlockElement {
	b := button(in, actionResolve, "Resolve", "")
	if a.firing > 0 {
		b.Confirm = &goslack.ConfirmationBlockObject{
			Title:   plainText(fmt.Sprintf("Resolve #%d?", in.Number)),
			Text:    plainText(plural(a.firing, "alert") + " still firing. If that goes on, a new incident opens."),
			Confirm: plainText("Resolve"),
			Deny:    plainText("Keep open"),
			Style:   goslack.StyleDanger,
		}
	}
	return b
}

// quietMenu offers two kinds of quiet: the incident's own, and that of its alerts wherever they lead.
func quietMenu(in oncall.Incident) *goslack.SelectBlockElement {
	menu := &goslack.SelectBlockElement{Type: goslack.OptTypeStatic, ActionID: actionQuiet, Placeholder: plainText("Snooze, silence…")}
	option := func(text, do, length string) *goslack.OptionBlockObject {
		return &goslack.OptionBlockObject{Text: plainText(text), Value: marshalled(choice{Number: in.Number, State: in.State, Do: do, For: length})}
	}
	snoozes := &goslack.OptionGroupBlockObject{Label: plainText("Snooze: paging waits"), Options: []*goslack.OptionBlockObject{
		option("Snooze for 30m", doSnooze, "30m"), option("Snooze for 1h", doSnooze, "1h"), option("Snooze for 4h", doSnooze, "4h"),
		option("Snooze until morning", doSnooze, forMorning), option("Snooze until it clears", doSnooze, forClear), option("Snooze…", doSnooze, ""),
	}}
	silences := &goslack.OptionGroupBlockObject{Label: plainText("Silence: its alerts are muted"), Options: []*goslack.OptionBlockObject{
		option("Silence for 15m", doSilence, "15m"), option("Silence for 1h", doSilence, "1h"), option("Silence for 4h", doSilence, "4h"),
		option("Silence until morning", doSilence, forMorning), option("Silence…", doSilence, ""),
	}}
	menu.OptionGroups = []*goslack.OptionGroupBlockObject{snoozes, silences}
	return menu
}

// moreMenu is what is needed less often. Slack takes five options there.
func moreMenu(in oncall.Incident) *goslack.OverflowBlockElement {
	menu := &goslack.OverflowBlockElement{Type: goslack.METOverflow, ActionID: actionMore}
	for _, o := range []struct {
		text, do string
		ended    bool // makes sense after the end too
	}{
		{"Assign…", doAssign, false}, {"Add a responder…", doAdd, false}, {"Merge into…", doMerge, false}, {"Add a note…", doNote, true}, {"Why?", doWhy, true},
	} {
		if o.ended || in.Open() {
			menu.Options = append(menu.Options, &goslack.OptionBlockObject{Text: plainText(o.text),
				Value: marshalled(choice{Number: in.Number, State: in.State, Do: o.do})})
		}
	}
	return menu
}

func plainText(s string) *goslack.TextBlockObject {
	return &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: s}
}

// marshalled writes what Slack keeps for us.
func marshalled(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // integers and words: cannot happen
		panic(err)
	}
	return string(b)
}
