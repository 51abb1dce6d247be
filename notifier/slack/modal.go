package slack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// Dialogs: what they show. What is done with them once they are sent off is in modalsubmit.go.

// callbackPrefix begins a dialog's callback ID; what it does follows. These and the names of the fields are a
// contract with the dialogs that are open while tocsin is restarted.
const callbackPrefix = "tocsin_"

// The fields.
const (
	blockComment = "tocsin_comment"
	inputComment = "comment"
	blockFor     = "tocsin_for"
	inputFor     = "for"
	blockUser    = "tocsin_user"
	inputUser    = "user"
	blockInto    = "tocsin_into"
	inputInto    = "into"
)

const maxMergeTargets = 100 // Slack's limit on the options of a menu

// dialog is what differs between the dialogs.
type dialog struct {
	title, submit string
	field         string // where what is wrong is shown
	usage         string // the slash command that does the same, after the incident's number
	verb          string
	kind          oncall.CommandKind
}

var dialogs = map[string]dialog{
	doSilence: {title: "Silence", submit: "Silence", field: blockComment, verb: "silence", usage: "2h why"},
	doSnooze:  {title: "Snooze", submit: "Snooze", field: blockFor, verb: "snooze", usage: "2h", kind: oncall.CmdSnooze},
	doAssign:  {title: "Assign", submit: "Assign", field: blockUser, verb: "assign", usage: "@user", kind: oncall.CmdAssign},
	doAdd:     {title: "Help with", submit: "Ask", field: blockUser, verb: "add", usage: "@user", kind: oncall.CmdAddResponder},
	doNote:    {title: "Note on", submit: "Write", field: blockComment, verb: "note", usage: "text", kind: oncall.CmdNote},
	doMerge:   {title: "Merge", submit: "Merge", field: blockInto, verb: "merge", usage: "into #n", kind: oncall.CmdMerge},
}

// askMore opens the dialog of a choice that needs more than a press. The text is for the presser alone where none was
// opened.
func (a *Adapter) askMore(ctx context.Context, trigger string, c choice, who person) string {
	d := dialogs[c.Do]
	in, err := a.acts.Incident(ctx, c.Number)
	if err != nil {
		return explain(err)
	}
	if !in.Open() && c.Do != doNote {
		return fmt.Sprintf("Nothing was changed: #%d is resolved by now.", c.Number)
	}
	now := time.Now().In(who.loc)
	if c.For == forMorning {
		c.Until = nextMorning(now).Unix()
	}
	view := goslack.ModalViewRequest{
		Type: goslack.VTModal, CallbackID: callbackPrefix + c.Do, PrivateMetadata: marshalled(c),
		Title: plainText(d.title + " #" + strconv.FormatInt(c.Number, 10)), Submit: plainText(d.submit), Close: plainText("Cancel"),
	}
	var complaint string
	if view.Blocks.BlockSet, complaint = a.fields(ctx, c, in, who, now); complaint != "" {
		return complaint
	}
	if err := a.openDialog(ctx, trigger, view); err != nil {
		a.log.Warn("A dialog was not opened", "dialog", c.Do, "err", a.redact(err.Error()))
		usage := d.usage
		if c.Do == doSilence && c.For != "" && c.For != forMorning {
			usage = c.For + " why"
		}
		return fmt.Sprintf("Nothing was changed: Slack did not open the dialog. Try again, or type %s",
			code(fmt.Sprintf("%s %s #%d %s", a.cfg.Command, d.verb, c.Number, usage), 80))
	}
	return ""
}

// fields draws the inside of a dialog, or says why it is not worth opening.
func (a *Adapter) fields(ctx context.Context, c choice, in oncall.Incident, who person, now time.Time) (blocks []goslack.Block, complaint string) {
	switch c.Do {
	case doSilence:
		return silenceFields(c, in, who, now)
	case doSnooze:
		return append(about(a, in, now), lengthField("Until then nobody is paged; the incident stays open.")), ""
	case doNote:
		return append(about(a, in, now), textField("Note", "It goes on the timeline and into the thread.", "such as: the deploy of 12:40 is rolled back")), ""
	case doMerge:
		return a.mergeFields(ctx, in, now)
	}
	user := &goslack.SelectBlockElement{Type: goslack.OptTypeUser, ActionID: inputUser, Placeholder: plainText("Somebody who uses tocsin")}
	label, hint := "Whose is it?", "They have it from now on. Nobody is paged by this."
	if in.State == oncall.IncidentTriggered {
		hint = "Nobody is paged by this, and its tiers are told on until somebody acknowledges."
	}
	if c.Do == doAdd {
		label, hint = "Who is to help?", "They are told at once, by their own contact rules. Who has it goes on having it."
	} else {
		user.InitialUser = who.id
	}
	return append(about(a, in, now), &goslack.InputBlock{Type: goslack.MBTInput, BlockID: blockUser, Label: plainText(label), Hint: plainText(hint), Element: user}), ""
}

// about says which incident a dialog is for.
func about(a *Adapter, in oncall.Incident, now time.Time) []goslack.Block {
	return []goslack.Block{section(a.line(in, now))}
}

func silenceFields(c choice, in oncall.Incident, who person, now time.Time) (blocks []goslack.Block, complaint string) {
	wish, err := c.silence(now)
	if c.For == "" {
		wish.For, err = time.Hour, nil
	}
	if err != nil {
		return nil, "Nothing was changed: " + err.Error() + "."
	}
	wish.Comment, wish.Actor = "?", who.name
	// Drawn as it would be set, so that people see what they are about to mute.
	s, err := oncall.SilenceOf(in, wish, now)
	if err != nil {
		return nil, explain(err)
	}
	matchers := code(s.Matchers.String(), 2000)
	reason := textField("Why?", "For those who wonder why no page came.", "such as: deploying 4.2, the restart takes ten minutes")
	switch {
	case c.For == "":
		return []goslack.Block{section("Nobody is told of any alert with\n" + matchers), lengthField("At most 30 days."), reason}, ""
	case c.Until != 0:
		return []goslack.Block{section("Until *" + when(s.EndsAt, true) + "* nobody is told of any alert with\n" + matchers), reason}, ""
	}
	return []goslack.Block{section(fmt.Sprintf("For *%s* nobody is told of any alert with\n%s", prose(c.For, 20), matchers)), reason}, ""
}

func lengthField(hint string) goslack.Block {
	return &goslack.InputBlock{Type: goslack.MBTInput, BlockID: blockFor, Label: plainText("For how long?"), Hint: plainText(hint),
		Element: &goslack.PlainTextInputBlockElement{Type: goslack.METPlainTextInput, ActionID: inputFor, MaxLength: 100,
			Placeholder: plainText("2h, 1h30m, until 9:00, tomorrow, until monday 10:00")}}
}

func textField(label, hint, example string) goslack.Block {
	return &goslack.InputBlock{Type: goslack.MBTInput, BlockID: blockComment, Label: plainText(label), Hint: plainText(hint),
		Element: &goslack.PlainTextInputBlockElement{Type: goslack.METPlainTextInput, ActionID: inputComment,
			Multiline: true, MaxLength: maxNote, Placeholder: plainText(example)}}
}

// mergeFields offers the other open incidents, those of the same escalation first.
func (a *Adapter) mergeFields(ctx context.Context, in oncall.Incident, now time.Time) (blocks []goslack.Block, complaint string) {
	open, err := a.incidents(ctx, oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed)
	if err != nil {
		return nil, explain(err)
	}
	var near, far []*goslack.OptionBlockObject
	for _, o := range open {
		if o.Number == in.Number {
			continue
		}
		emoji, _ := standing(o)
		option := &goslack.OptionBlockObject{Value: strconv.FormatInt(o.Number, 10), Text: plainText(fit(fmt.Sprintf("%s #%d %s", emoji, o.Number, o.Title), 75))}
		if o.Escalation == in.Escalation {
			near = append(near, option)
		} else {
			far = append(far, option)
		}
	}
	all := append(near, far...)
	if len(all) == 0 {
		return nil, fmt.Sprintf("Nothing was changed: no other incident is open that #%d could be merged into.", in.Number)
	}
	hint := "It takes the alerts; this one ends."
	if len(all) > maxMergeTargets {
		hint += fmt.Sprintf(" The newest %d of %d are shown; type %s merge #%d into #n for the others.", maxMergeTargets, len(all), a.cfg.Command, in.Number)
		all = all[:maxMergeTargets]
	}
	return append(about(a, in, now), &goslack.InputBlock{Type: goslack.MBTInput, BlockID: blockInto, Label: plainText("Into which incident?"), Hint: plainText(hint),
		Element: &goslack.SelectBlockElement{Type: goslack.OptTypeStatic, ActionID: inputInto, Placeholder: plainText("An open incident"), Options: all}}), ""
}

// silence is what a choice of the menu asks for, but for the reason and by whom.
func (c choice) silence(now time.Time) (w oncall.SilenceWish, err error) {
	switch {
	case c.Until != 0:
		w.Until = time.Unix(c.Until, 0)
		return w, nil
	case c.For == forMorning:
		w.Until = nextMorning(now)
		return w, nil
	}
	w.For, err = oncall.ParseSilenceDuration(c.For)
	if err != nil || w.For > oncall.MaxSilence {
		return w, errors.New("this menu does not say for how long")
	}
	return w, nil
}

// openDialog shows a dialog to whoever pressed: Slack takes that for three seconds.
func (a *Adapter) openDialog(ctx context.Context, trigger string, view goslack.ModalViewRequest) error {
	return a.call(ctx, "views.open", url.Values{"trigger_id": {trigger}, "view": {marshalled(view)}}, nil)
}
