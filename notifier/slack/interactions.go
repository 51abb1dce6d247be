package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

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
	Team       place `json:"team"`       // where the press was made
	Enterprise place `json:"enterprise"` // of that, where it has one
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

// press does what a button asks for. The text is for the presser alone, "" where the message says it all;
// an error means that nothing is known to be committed.
func (a *Adapter) press(ctx context.Context, in interaction, request string) (text string, err error) {
	act := in.Actions[0]
	if act.ActionID == actionSilence {
		if who := a.identify(ctx, in.from()); who.may {
			return a.askWhy(ctx, in, who), nil
		} else {
			return refusal(who), nil
		}
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
	if stale, err := a.stale(ctx, p, c.Kind); err != nil {
		return a.settle(err)
	} else if stale != "" {
		return stale, nil
	}
	d, seen, err := a.commit(ctx, p.Number, c, request)
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

// settle tells errors that are an answer from those after which nothing is known.
func (a *Adapter) settle(err error) (string, error) {
	switch oncall.ErrorCode(err) {
	case oncall.CodeNotFound, oncall.CodeInvalid, oncall.CodeConflict, oncall.CodeForbidden:
		return explain(err), nil
	}
	return "", err
}

// stale answers a press on a message drawn for another state. Acknowledge acts on any triggered incident
// and Escalate is checked by the core against what was seen; the other two act only on the state that they
// were drawn for. Where that is reached already, the core says by whom.
func (a *Adapter) stale(ctx context.Context, p press, kind oncall.CommandKind) (string, error) {
	if kind != oncall.CmdResolve && kind != oncall.CmdUnacknowledge {
		return "", nil
	}
	in, err := a.acts.Incident(ctx, p.Number)
	if err != nil {
		return "", err
	}
	if !in.Open() || in.State == p.State {
		return "", nil
	}
	s := fmt.Sprintf("Nothing was changed: the message was out of date. #%d is %s by now", in.Number, prose(string(in.State), 20))
	if in.State == oncall.IncidentAcknowledged {
		s += " by " + actor(in.AcknowledgedBy)
	}
	return s + "; press again if you still want it.", nil
}
