package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/oncall"
)

// submitted is the part of a view_submission that we read beside an interaction's.
type submitted struct {
	ID              string `json:"id"`
	Type            string `json:"type"` // "home" where somebody pressed in the app's home
	CallbackID      string `json:"callback_id"`
	PrivateMetadata string `json:"private_metadata"`
	State           struct {
		Values map[string]map[string]field `json:"values"`
	} `json:"state"`
}

// field is what somebody filled in: one of the three, by the kind of field.
type field struct {
	Value          string `json:"value"`
	SelectedUser   string `json:"selected_user"`
	SelectedOption struct {
		Value string `json:"value"`
	} `json:"selected_option"`
}

// text is what a field holds, "" where there is no such field.
func (s submitted) text(block, input string) string {
	f := s.State.Values[block][input]
	return strings.TrimSpace(f.Value + f.SelectedUser + f.SelectedOption.Value)
}

// dialog is the one that was sent off, ok false for one that is none of ours.
func (s submitted) dialog() (do string, d dialog, ok bool) {
	do, ours := strings.CutPrefix(s.CallbackID, callbackPrefix)
	d, ok = dialogs[do]
	return do, d, ours && ok
}

// request identifies what was sent off: the same dialog with the same words is the same request, however often it
// arrives. With other words it is another one, because a refusal uses up a request.
func (s submitted) request(otherwise string) string {
	if s.ID == "" {
		return otherwise
	}
	b, err := json.Marshal(s.State.Values)
	if err != nil { // strings: cannot happen
		return otherwise
	}
	sum := sha256.Sum256(b)
	return "slack view " + shorten(clean(s.ID), 60) + " " + hex.EncodeToString(sum[:8])
}

// problems is what a dialog shows at its fields, as plain text, by block ID.
type problems map[string]string

// closed is a dialog's answer where nothing is wrong: nil closes it.
const closed = ""

// submit serves a dialog that was sent off: it is committed, then the dialog closes. What went wrong is shown in it, at
// the field, and it stays open.
func (a *Adapter) submit(ctx context.Context, in interaction, request string) any {
	do, d, ok := in.View.dialog()
	if !ok {
		return nil // somebody else's
	}
	block, complaint, shown := a.filledIn(ctx, do, d, in, in.View.request(request))
	switch {
	case shown != nil:
		return map[string]any{"response_action": "update", "view": shown}
	case complaint == closed:
		return nil
	case block == "":
		block = d.field
	}
	return map[string]any{"response_action": "errors", "errors": problems{block: plainAnswer(complaint)}}
}

// filledIn commits what a dialog asks for. block is where the complaint belongs, "" for the dialog's usual field; shown
// is a view to show instead of both.
func (a *Adapter) filledIn(ctx context.Context, do string, d dialog, in interaction, request string) (block, complaint string, shown *goslack.ModalViewRequest) {
	who := a.identify(ctx, in.from())
	if !who.may {
		return "", refusal(who), nil
	}
	c, err := choiceOf(in.View.PrivateMetadata)
	if err != nil {
		return "", "Nothing was changed: " + err.Error() + ".", nil
	}
	if do == doSilence {
		block, complaint = a.silenceFromDialog(ctx, in.View, c, who, request)
		return block, complaint, nil
	}
	cmd := oncall.Command{Kind: d.kind, Actor: who.name, Via: "slack"}
	if complaint := a.fill(ctx, &cmd, in.View, who); complaint != "" {
		return "", complaint, nil
	}
	if stale, err := a.stale(ctx, c.Number, c.State, d.kind); err != nil {
		return "", explain(err), nil
	} else if stale != "" {
		return "", stale + " So nothing was changed. Close this, and open it again if you still want it.", nil
	}
	decision, seen, err := a.commit(ctx, c.Number, cmd, request)
	switch {
	case err != nil:
		a.log.Error("A dialog was not carried out", "dialog", do, "incident", c.Number, "err", a.redact(err.Error()))
		return "", explain(err), nil
	case seen:
		return "", "", a.before(ctx, c.Number, d)
	case decision.Refused || !decision.Changed:
		return "", "Nothing was changed: " + prose(decision.Reply, 500) + ".", nil
	}
	return "", closed, nil
}

// fill reads the fields into a command.
func (a *Adapter) fill(ctx context.Context, cmd *oncall.Command, v submitted, who person) (complaint string) {
	switch cmd.Kind {
	case oncall.CmdSnooze:
		now := time.Now().In(who.loc)
		l, complaint := wholeSpan(v.text(blockFor, inputFor), now)
		if complaint != "" {
			return complaint
		}
		cmd.Until = l.end(now)
	case oncall.CmdAssign, oncall.CmdAddResponder:
		id := v.text(blockUser, inputUser)
		if id == "" {
			return "Choose somebody."
		}
		cmd.User, complaint = a.named(ctx, "<@"+id+">", who)
		return complaint
	case oncall.CmdNote:
		if cmd.Text = v.text(blockComment, inputComment); cmd.Text == "" {
			return "A note needs a text."
		}
	case oncall.CmdMerge:
		n, err := strconv.ParseInt(v.text(blockInto, inputInto), 10, 64)
		if err != nil || n <= 0 {
			return "Choose an incident."
		}
		cmd.Into = n
	}
	return ""
}

// wholeSpan reads how long from a field that holds nothing else.
func wholeSpan(text string, now time.Time) (l lasting, complaint string) {
	l, rest, complaint := cutSpan(text, now)
	switch {
	case complaint != "":
		return l, complaint
	case l.isZero() || strings.Trim(rest, " .!") != "":
		return l, "Write for how long, such as 30m, 2h or 1d, or until when, such as until 9:00 or tomorrow."
	case l.from(now) > maxSnooze:
		return l, "That is too long: at most 30d."
	}
	return l, ""
}

// silenceFromDialog returns what was wrong, and at which field; "" if the silence is set.
func (a *Adapter) silenceFromDialog(ctx context.Context, v submitted, c choice, who person, request string) (block, complaint string) {
	now := time.Now().In(who.loc)
	var wish oncall.SilenceWish
	var err error
	if c.For == "" {
		l, complaint := wholeSpan(v.text(blockFor, inputFor), now)
		if complaint != "" {
			return blockFor, complaint
		}
		wish.For, wish.Until = l.length, l.until
	} else if wish, err = c.silence(now); err != nil {
		return "", "Nothing was changed: " + err.Error() + "."
	}
	wish.Comment, wish.Actor, wish.Via = v.text(blockComment, inputComment), who.name, "slack"
	if _, err := a.acts.Silence(ctx, c.Number, wish, request); err != nil {
		a.log.Error("A silence was not set from Slack", "incident", c.Number, "err", a.redact(err.Error()))
		return "", explain(err)
	}
	return "", closed
}

// before shows how things stand to somebody who sends off again what was decided before: it was done and the answer
// was lost, or it was refused then.
func (a *Adapter) before(ctx context.Context, number int64, d dialog) *goslack.ModalViewRequest {
	text := "This was answered before. Look at the incident for how it stands."
	if in, err := a.acts.Incident(ctx, number); err == nil {
		text = "This was answered before. It stands so:\n" + a.line(in, time.Now())
	}
	return &goslack.ModalViewRequest{Type: goslack.VTModal, Title: plainText(fmt.Sprintf("%s #%d", d.title, number)), Close: plainText("Close"),
		Blocks: goslack.Blocks{BlockSet: []goslack.Block{section(text)}}}
}

// dateForm is an instant that Slack writes on the reader's clocks, where it reads markup.
var dateForm = regexp.MustCompile(`<!date\^[^|>]*\|([^>]*)>`)

// plainAnswer takes the markup out of an answer for a place that has none.
func plainAnswer(s string) string {
	s = dateForm.ReplaceAllString(s, "$1")
	return shorten(strings.NewReplacer("*", "", "`", "", "&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(s), 500)
}
