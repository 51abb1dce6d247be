package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/oncall"
)

// interaction is the part of Slack's payload that we read.
type interaction struct {
	Type        string `json:"type"`
	TriggerID   string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	User        struct {
		ID       string `json:"id"`
		Username string `json:"username"`
		Name     string `json:"name"`
		TeamID   string `json:"team_id"`
	} `json:"user"`
	Container  container `json:"container"`
	Team       place     `json:"team"`       // where the press was made
	Enterprise place     `json:"enterprise"` // of that, where it has one
	Actions    []struct {
		ActionID string `json:"action_id"`
		Value    string `json:"value"`

		SelectedOption struct {
			Value string `json:"value"`
		} `json:"selected_option"` // of a menu
	} `json:"actions"`
	View submitted `json:"view"` // of a dialog that was sent off
}

// place is one of Slack's: a workspace, or an enterprise.
type place struct {
	ID string `json:"id"`
}

// from is who pressed. Slack says of which workspace they are, but not of which enterprise.
func (in interaction) from() caller {
	c := caller{id: in.User.ID, called: in.User.Username, team: in.User.TeamID}
	if c.called == "" {
		c.called = in.User.Name
	}
	return c
}

// parseInteraction reads the form that carries the payload. A payload of another type than block_actions
// is no error.
func parseInteraction(body []byte) (interaction, error) {
	var in interaction
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return in, errors.New("the body is no form")
	}
	payload := form.Get("payload")
	if payload == "" {
		return in, errors.New("the form has no payload")
	}
	if err := json.Unmarshal([]byte(payload), &in); err != nil {
		return in, errors.New("the payload is no JSON of Slack's")
	}
	return in, nil
}

// commandOf says what a button asks for.
func commandOf(actionID, value string) (press, oncall.Command, error) {
	kinds := map[string]oncall.CommandKind{
		actionAcknowledge: oncall.CmdAcknowledge, actionUnacknowledge: oncall.CmdUnacknowledge,
		actionResolve: oncall.CmdResolve, actionEscalate: oncall.CmdEscalate,
	}
	var p press
	kind, ok := kinds[actionID]
	if !ok {
		return p, oncall.Command{}, fmt.Errorf("this button is unknown here; it may be from another version of tocsin")
	}
	if err := json.Unmarshal([]byte(value), &p); err != nil || p.Number <= 0 {
		return p, oncall.Command{}, fmt.Errorf("this button does not say which incident it is for")
	}
	c := oncall.Command{Kind: kind, Via: "slack"}
	if kind == oncall.CmdEscalate {
		if p.Seen == nil {
			return p, oncall.Command{}, fmt.Errorf("this button does not say what was seen")
		}
		c.Seen = p.Seen
	}
	return p, c, nil
}

// choiceOf reads what an option of a menu or a dialog carries.
func choiceOf(value string) (choice, error) {
	var c choice
	if json.Unmarshal([]byte(value), &c) != nil || c.Number <= 0 {
		return c, errors.New("this menu does not say which incident it is for")
	}
	if c.Do == "" {
		c.Do = doSilence
	}
	if _, ok := dialogs[c.Do]; !ok && c.Do != doWhy {
		return c, errors.New("this choice is unknown here; it may be from another version of tocsin")
	}
	return c, nil
}

// InteractionHandler serves /slack/interactions: the buttons, the menu of silences and its dialog.
func (a *Adapter) InteractionHandler() http.Handler {
	return a.callback("interactions", func(w http.ResponseWriter, r *http.Request, s signed) {
		in, err := parseInteraction(s.body)
		if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		// The commit must not be given up because Slack hung up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTimeout)
		defer cancel()
		a.interact(ctx, in, s.id).write(w)
	})
}

// press does what a button or a menu asks for. The text is for the presser alone, "" where the message says it all;
// an error means that nothing is known to be committed.
func (a *Adapter) press(ctx context.Context, in interaction, request string) (text string, err error) {
	act := in.Actions[0]
	if act.SelectedOption.Value != "" {
		return a.choose(ctx, in, request)
	}
	p, c, err := commandOf(act.ActionID, act.Value)
	if err != nil {
		return "Nothing was changed: " + err.Error() + ".", nil
	}
	who := a.identify(ctx, in.from())
	if !who.may {
		return refusal(who), nil
	}
	c.Actor = who.name
	return a.pressed(ctx, p.Number, p.State, c, request)
}

// choose does what was chosen from a menu: at once, or by a dialog that asks for the rest.
func (a *Adapter) choose(ctx context.Context, in interaction, request string) (text string, err error) {
	c, err := choiceOf(in.Actions[0].SelectedOption.Value)
	if err != nil {
		return "Nothing was changed: " + err.Error() + ".", nil
	}
	who := a.identify(ctx, in.from())
	switch {
	case c.Do == doWhy && !who.foreign:
		return a.why(ctx, c.Number)
	case !who.may:
		return refusal(who), nil
	case c.Do != doSnooze || c.For == "":
		return a.askMore(ctx, in.TriggerID, c, who), nil
	}
	cmd := oncall.Command{Kind: oncall.CmdSnooze, Actor: who.name, Via: "slack"}
	now := time.Now().In(who.loc)
	switch c.For {
	case forMorning:
		cmd.Until = nextMorning(now)
	case forClear:
		if cmd.UntilClear, err = a.allOf(ctx, c.Number); err != nil {
			return a.settle(err)
		}
	default:
		length, _, ok := cutLength(c.For)
		if !ok {
			return "Nothing was changed: this menu does not say for how long.", nil
		}
		cmd.Until = now.Add(length)
	}
	return a.pressed(ctx, c.Number, c.State, cmd, request)
}

// pressed commits what a press asks for, unless the message was drawn for another state.
func (a *Adapter) pressed(ctx context.Context, number int64, state oncall.IncidentState, c oncall.Command, request string) (text string, err error) {
	if stale, err := a.stale(ctx, number, state, c.Kind); err != nil {
		return a.settle(err)
	} else if stale != "" {
		return "Nothing was changed: the message was out of date. " + stale + " Press again if you still want it.", nil
	}
	d, seen, err := a.commit(ctx, number, c, request)
	if err != nil {
		return a.settle(err)
	}
	if seen {
		return "", nil
	}
	// What changed shows in the message. Where nothing did, the presser is told why.
	if d.Refused || !d.Changed {
		return prose(d.Reply, 500), nil
	}
	return "", nil
}

// allOf matches the alerts of an incident, by what made them one.
func (a *Adapter) allOf(ctx context.Context, number int64) (amlabels.Matchers, error) {
	in, err := a.acts.Incident(ctx, number)
	if err != nil {
		return nil, err
	}
	s, err := oncall.SilenceOf(in, oncall.SilenceWish{For: time.Hour, Comment: "?"}, time.Now())
	return s.Matchers, err
}

// settle tells errors that are an answer from those after which nothing is known.
func (a *Adapter) settle(err error) (string, error) {
	switch oncall.ErrorCode(err) {
	case oncall.CodeNotFound, oncall.CodeInvalid, oncall.CodeConflict, oncall.CodeForbidden:
		return explain(err), nil
	}
	return "", err
}

// stale says what has become of an incident whose message or dialog was drawn for another state, "" where that does not
// matter. Acknowledge acts on any triggered incident, Escalate is checked by the core against what was seen, and notes
// and calls for help are never too late; the others act only on the state that they were drawn for. Where the end is
// reached, the core says by whom.
func (a *Adapter) stale(ctx context.Context, number int64, state oncall.IncidentState, kind oncall.CommandKind) (string, error) {
	checked := []oncall.CommandKind{oncall.CmdResolve, oncall.CmdUnacknowledge, oncall.CmdSnooze, oncall.CmdAssign, oncall.CmdMerge}
	if !slices.Contains(checked, kind) {
		return "", nil
	}
	in, err := a.acts.Incident(ctx, number)
	if err != nil {
		return "", err
	}
	if !in.Open() || in.State == state {
		return "", nil
	}
	s := fmt.Sprintf("#%d is %s by now", in.Number, prose(string(in.State), 20))
	switch in.State {
	case oncall.IncidentAcknowledged:
		s += ", by " + actor(in.AcknowledgedBy)
	case oncall.IncidentSnoozed:
		s += ", until " + moment(in.SnoozedUntil, time.Now())
	}
	return s + ".", nil
}
