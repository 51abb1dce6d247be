package slack

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"tocsin/oncall"
)

// What people do arrives over HTTP, signed, or over a socket that we opened. Both ways end here: a request is
// carried out, and response says what Slack is answered.

// response is the answer to one press, dialog or slash command.
type response struct {
	body any // as JSON; nil: an empty answer
	// err says that nothing is known to be committed: a 503 over HTTP, and over a socket no acknowledgement, so that
	// Slack shows its warning and sends the request again. It is not for people.
	err error
}

// command carries out a slash command, given as Slack's form. id is the identity of the request.
func (a *Adapter) command(ctx context.Context, form url.Values, id string) response {
	team, enterprise := form.Get("team_id"), form.Get("enterprise_id")
	if a.elsewhere(ctx, team, enterprise) {
		return response{body: answer{ResponseType: "ephemeral", Text: notHere}}
	}
	who := a.identify(ctx, caller{form.Get("user_id"), form.Get("user_name"), team, enterprise})
	text, err := a.run(ctx, form.Get("text"), who, id)
	if err != nil {
		a.log.Error("A slash command was not carried out", "err", a.redact(err.Error()))
		text = explain(err)
	}
	return response{body: answer{ResponseType: "ephemeral", Text: shorten(text, maxAnswerText)}}
}

// interact carries out a press, a choice from a menu, or a dialog that was sent off. A press is committed, then
// answered; the delivery loop then redraws the message.
func (a *Adapter) interact(ctx context.Context, in interaction, id string) response {
	if a.elsewhere(ctx, in.Team.ID, in.Enterprise.ID) {
		a.log.Warn("A press from another Slack workspace was turned away", "team", shorten(clean(in.Team.ID), 20))
		a.privately(in.ResponseURL, notHere)
		return response{}
	}
	if in.Type == "view_submission" {
		return response{body: a.submit(ctx, in, id)}
	}
	if in.Type != "block_actions" || len(in.Actions) == 0 {
		return response{} // shortcuts and other dialogs are none of ours
	}
	text, err := a.press(ctx, in, id)
	if err != nil {
		a.log.Error("A press was not committed", "err", a.redact(err.Error()))
		a.tell(in, explain(err))
		return response{err: oncall.Errorf(oncall.CodeUnavailable, "the press was not committed")}
	}
	a.tell(in, text)
	a.mendCopy(in)
	return response{}
}

// tell says something to whoever pressed, and to nobody else: by Slack's address for that, or at the top of their home,
// which has none.
func (a *Adapter) tell(in interaction, text string) {
	if in.View.Type == "home" {
		a.tellHome(in.User.ID, text)
		return
	}
	a.privately(in.ResponseURL, text)
}

// write answers over HTTP.
func (r response) write(w http.ResponseWriter) {
	switch {
	case r.err != nil:
		fail(w, http.StatusServiceUnavailable, r.err.Error()) // Slack shows a warning at the button
	case r.body != nil:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		// The peer may be gone: there is nobody left to tell, and the timeline has what was done.
		_ = json.NewEncoder(w).Encode(r.body)
	}
}
