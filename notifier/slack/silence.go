package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Silencing an incident's alerts: by the slash command, or by a menu of durations at the message, which opens a
// dialog that asks why. Nothing is silenced without a reason.

// The names in the menu and in the dialog. They are a contract with the messages that are out there already.
const (
	actionSilence = "tocsin_silence" // the menu's action ID, and the dialog's callback ID
	blockComment  = "tocsin_comment"
	inputComment  = "comment"
)

// menuDurations are what the menu offers.
var menuDurations = []string{"15m", "1h", "4h", "24h"}

// wanted is what an option of the menu and the dialog carry.
type wanted struct {
	Number int64  `json:"n"`
	For    string `json:"for"` // as in menuDurations
}

func silenceMenu(in oncall.Incident) *goslack.SelectBlockElement {
	menu := &goslack.SelectBlockElement{Type: goslack.OptTypeStatic, ActionID: actionSilence,
		Placeholder: &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: "Silence…"}}
	for _, d := range menuDurations {
		menu.Options = append(menu.Options, &goslack.OptionBlockObject{Value: marshalled(wanted{in.Number, d}),
			Text: &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: "Silence for " + d}})
	}
	return menu
}

// marshalled writes what Slack keeps for us.
func marshalled(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // integers and words: cannot happen
		panic(err)
	}
	return string(b)
}

// wantedOf reads what an option or a dialog carries.
func wantedOf(value string) (w wanted, length time.Duration, err error) {
	if json.Unmarshal([]byte(value), &w) != nil || w.Number <= 0 {
		return w, 0, errors.New("this menu does not say which incident it is for")
	}
	length, err = oncall.ParseSilenceDuration(w.For)
	if err != nil || length > oncall.MaxSilence {
		return w, 0, errors.New("this menu does not say for how long")
	}
	return w, length, nil
}

// askWhy opens the dialog that asks why, for somebody who chose a duration. The text is for them alone where none
// was opened.
func (a *Adapter) askWhy(ctx context.Context, in interaction, who person) string {
	w, length, err := wantedOf(in.Actions[0].SelectedOption.Value)
	if err != nil {
		return "Nothing was changed: " + err.Error() + "."
	}
	incident, err := a.acts.Incident(ctx, w.Number)
	if err != nil {
		return explain(err)
	}
	if !incident.Open() {
		return fmt.Sprintf("Nothing was changed: #%d is resolved by now.", w.Number)
	}
	// Drawn as it would be set, so that people see what they are about to mute.
	s, err := oncall.SilenceOf(incident, oncall.SilenceWish{For: length, Comment: "?", Actor: who.name}, time.Now())
	if err != nil {
		return explain(err)
	}
	if err := a.openDialog(ctx, in.TriggerID, silenceDialog(w, s)); err != nil {
		a.log.Warn("The dialog for a silence was not opened", "err", a.redact(err.Error()))
		return fmt.Sprintf("Nothing was changed: Slack did not open the dialog. Try again, or type %s",
			code(fmt.Sprintf("%s silence #%d %s why", a.cfg.Command, w.Number, w.For), 80))
	}
	return ""
}

func (a *Adapter) openDialog(ctx context.Context, trigger string, view goslack.ModalViewRequest) error {
	rec := &recorder{client: a.http}
	api := goslack.New(a.cfg.BotToken, goslack.OptionHTTPClient(rec), goslack.OptionAPIURL(a.cfg.APIURL))
	_, err := api.OpenViewContext(ctx, trigger, view)
	outcome := oncall.OutcomeDelivered
	if err != nil {
		at := oncall.Attempt{}
		classify("views.open", err, rec, &at)
		outcome, err = at.Outcome, errors.New(at.Error)
	}
	a.sent.WithLabelValues("views.open", string(outcome)).Inc()
	return err
}

func silenceDialog(w wanted, s oncall.Silence) goslack.ModalViewRequest {
	text := func(s string) *goslack.TextBlockObject {
		return &goslack.TextBlockObject{Type: goslack.PlainTextType, Text: s}
	}
	return goslack.ModalViewRequest{
		Type: goslack.VTModal, CallbackID: actionSilence, PrivateMetadata: marshalled(w),
		Title: text("Silence #" + strconv.FormatInt(w.Number, 10)), Submit: text("Silence"), Close: text("Cancel"),
		Blocks: goslack.Blocks{BlockSet: []goslack.Block{
			section(fmt.Sprintf("For *%s* nobody is told of any alert with\n%s", w.For, code(s.Matchers.String(), 2000))),
			&goslack.InputBlock{Type: goslack.MBTInput, BlockID: blockComment, Label: text("Why?"),
				Hint: text("For those who wonder why no page came."),
				Element: &goslack.PlainTextInputBlockElement{Type: goslack.METPlainTextInput, ActionID: inputComment,
					Multiline: true, MaxLength: 2000, Placeholder: text("such as: deploying 4.2, the restart takes ten minutes")}},
		}},
	}
}

// submitted is the part of a view_submission that we read beside an interaction's.
type submitted struct {
	ID              string `json:"id"`
	CallbackID      string `json:"callback_id"`
	PrivateMetadata string `json:"private_metadata"`
	State           struct {
		Values map[string]map[string]struct {
			Value string `json:"value"`
		} `json:"values"`
	} `json:"state"`
}

// submit carries out a dialog that was sent off: the silence is committed, then the dialog closes. What went wrong is
// shown in it, at its one field.
func (a *Adapter) submit(ctx context.Context, in interaction, request string) any {
	complaint := a.silenceFromDialog(ctx, in, request)
	if complaint == "" {
		return nil // an empty answer closes it
	}
	return map[string]any{"response_action": "errors", "errors": map[string]string{blockComment: complaint}}
}

// silenceFromDialog returns what was wrong, as plain text, "" if the silence is set.
func (a *Adapter) silenceFromDialog(ctx context.Context, in interaction, request string) string {
	who := a.identify(ctx, in.from())
	if !who.may {
		return plainAnswer(refusal(who))
	}
	w, length, err := wantedOf(in.View.PrivateMetadata)
	if err != nil {
		return "Nothing was changed: " + err.Error() + "."
	}
	wish := oncall.SilenceWish{For: length, Comment: in.View.State.Values[blockComment][inputComment].Value, Actor: who.name, Via: "slack"}
	if in.View.ID != "" { // a dialog is sent off once: whatever the number of times that it arrives, it is the same request
		request = "slack view " + in.View.ID
	}
	if _, err = a.acts.Silence(ctx, w.Number, wish, request); err != nil {
		a.log.Error("A silence was not set from Slack", "incident", w.Number, "err", a.redact(err.Error()))
		return plainAnswer(explain(err))
	}
	return ""
}

// plainAnswer takes the markup out of an answer for a place that has none.
func plainAnswer(s string) string {
	return shorten(strings.NewReplacer("*", "", "`", "", "&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(s), 500)
}

// silence carries out the slash command.
func (a *Adapter) silence(ctx context.Context, t typed, who person, request string) (string, error) {
	done, err := a.acts.Silence(ctx, t.number, oncall.SilenceWish{For: t.until, Comment: t.text, Actor: who.name, Via: "slack"}, request)
	switch {
	case err != nil:
		return a.settle(err)
	case done.Reply == notifier.AlreadyDone:
		return a.present(ctx, t.number)
	}
	return prose(done.Reply, 1500) + ".", nil
}
