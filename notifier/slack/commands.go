package slack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tocsin/oncall"
)

// CommandHandler serves /slack/commands: the slash command. Answers go to the caller alone; what was done
// shows in the incident's message and thread.
func (a *Adapter) CommandHandler() http.Handler {
	return a.callback("commands", func(w http.ResponseWriter, r *http.Request, s signed) {
		form, err := url.ParseQuery(string(s.body))
		if err != nil || !form.Has("text") && !form.Has("command") {
			fail(w, http.StatusBadRequest, "the body is no form of a slash command")
			return
		}
		// The commit must not be given up because Slack hung up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTimeout)
		defer cancel()
		a.command(ctx, form, s.id).write(w)
	})
}

// run carries out one slash command. An error means that it is not known what was committed, or that
// nothing could be read.
func (a *Adapter) run(ctx context.Context, text string, who person, request string) (string, error) {
	now := time.Now().In(who.loc)
	t, complaint := parse(text, a.cfg.Command, now)
	if complaint != "" {
		return complaint, nil
	}
	v, _ := verbNamed(t.verb)
	switch {
	case t.verb == "help":
		return help(a.cfg.Command, t.subject), nil
	case who.foreign || !who.may && !v.looks:
		return refusal(who), nil
	}
	switch t.verb {
	case "list":
		return a.list(ctx, t, who)
	case "who":
		t.group = nearestSchedule(t.group, a.policy().ScheduleNames())
		return a.who(t), nil
	case "silences":
		return a.listSilences(now), nil
	case "unsilence":
		return a.unsilence(ctx, t.subject, who, request)
	case "override":
		t.group = nearestSchedule(t.group, a.policy().ScheduleNames())
		return a.override(ctx, t, who, request)
	case "page":
		return a.pageByHand(ctx, t, who, request)
	case "drill":
		return a.drill(ctx, t, who, request)
	case "silence":
		if len(t.match) > 0 {
			return a.silenceMatching(ctx, t, who, request, now)
		}
	}
	number, answer, err := a.number(ctx, t.which, v, who)
	if err != nil || answer != "" {
		return answer, err
	}
	switch t.verb {
	case "why":
		return a.why(ctx, number)
	case "silence":
		return a.silence(ctx, number, t, who, request)
	}
	return a.act(ctx, number, t, v, who, request)
}

// number finds the incident that is meant, or answers why none is.
func (a *Adapter) number(ctx context.Context, n numbered, v verb, who person) (number int64, answer string, err error) {
	switch {
	case n.last:
		return a.last(ctx, v, who)
	case n.number == 0:
		return a.theOne(ctx, v, who)
	}
	return n.number, "", nil
}

// act commits one command and answers with what the core says about it.
func (a *Adapter) act(ctx context.Context, number int64, t typed, v verb, who person, request string) (answer string, err error) {
	if v.takesNote() && t.text != "" {
		return a.actAndNote(ctx, number, t, v, who, request)
	}
	c := oncall.Command{Kind: v.kind, Actor: who.name, Via: "slack", Text: t.text, UntilClear: t.match}
	switch v.kind {
	case oncall.CmdSnooze:
		if !t.length.isZero() {
			c.Until = t.length.end(time.Now())
		} else if len(c.UntilClear) == 0 {
			if c.UntilClear, err = a.allOf(ctx, number); err != nil {
				return a.settle(err)
			}
		}
	case oncall.CmdAssign, oncall.CmdAddResponder:
		if c.User, answer = a.named(ctx, t.user, who); answer != "" {
			return answer, nil
		}
	case oncall.CmdMerge:
		if c.Into, answer, err = a.number(ctx, t.into, v, who); err != nil || answer != "" {
			return answer, err
		}
	}
	d, seen, err := a.commit(ctx, number, c, request)
	if err != nil {
		return a.settle(err)
	}
	if seen {
		return a.present(ctx, number)
	}
	if d.Reply == "" {
		return fmt.Sprintf("Done: %s #%d.", t.verb, number), nil
	}
	answer = prose(d.Reply, 1000)
	if !c.Until.IsZero() && d.Changed { // the sentence is for everybody, and in UTC
		answer += " (" + when(c.Until, true) + " for you)"
	}
	return answer, nil
}

// actAndNote commits a command and then the words that came with it, each once, whichever of them a repeated request
// finds done already.
func (a *Adapter) actAndNote(ctx context.Context, number int64, t typed, v verb, who person, request string) (answer string, err error) {
	note := oncall.Command{Kind: oncall.CmdNote, Actor: who.name, Via: "slack", Text: t.text}
	t.text = ""
	if answer, err = a.act(ctx, number, t, v, who, request); err != nil {
		return answer, err
	}
	if !strings.HasSuffix(answer, ".") {
		answer += "."
	}
	d, seen, err := a.commit(ctx, number, note, request+"/note")
	switch {
	case err != nil:
		return answer + " Your note was not added: type it again.", nil
	case !seen && (d.Refused || !d.Changed):
		return answer + " Your note was not added: " + prose(d.Reply, 300), nil
	}
	return answer + " Your note was added.", nil
}

// present answers a request that was handled before from how things stand.
func (a *Adapter) present(ctx context.Context, number int64) (string, error) {
	in, err := a.acts.Incident(ctx, number)
	if err != nil {
		return a.settle(err)
	}
	return "This was done before. " + a.line(in, time.Now()), nil
}

func (a *Adapter) why(ctx context.Context, number int64) (string, error) {
	text, err := a.acts.Why(ctx, number)
	if err != nil {
		return a.settle(err)
	}
	s := codeBlock(text, maxAnswerText-400)
	if page := a.page(number); page != "" {
		s += "\n" + page
	}
	return s, nil
}

func (a *Adapter) page(number int64) string {
	base := a.policy().ExternalURL
	if base == "" {
		return ""
	}
	return link(fmt.Sprintf("%s/incidents/%d", strings.TrimRight(base, "/"), number), fmt.Sprintf("Incident #%d", number))
}

// candidates are the incidents that a command may mean, newest first: those that wait for who typed, else all.
func (a *Adapter) candidates(ctx context.Context, v verb, who person) ([]oncall.Incident, error) {
	states := []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed}
	switch v.kind {
	case oncall.CmdAcknowledge:
		states = states[:1]
	case oncall.CmdUnacknowledge:
		states = states[1:]
	}
	all, err := a.incidents(ctx, states...)
	if err != nil {
		return nil, err
	}
	mine := all[:0:0]
	for _, in := range all {
		if concerns(in, who, v.kind) {
			mine = append(mine, in)
		}
	}
	if len(mine) == 0 {
		return all, nil
	}
	return mine, nil
}

// last finds the newest incident that a command may mean. What only looks or writes finds an ended one too, where
// none is open.
func (a *Adapter) last(ctx context.Context, v verb, who person) (int64, string, error) {
	all, err := a.candidates(ctx, v, who)
	if err == nil && len(all) == 0 && (v.looks || v.kind == oncall.CmdNote) {
		all, err = a.acts.Incidents(ctx, oncall.IncidentFilter{Limit: 1})
	}
	if err != nil {
		answer, err := a.settle(err)
		return 0, answer, err
	}
	if len(all) == 0 {
		return 0, nothing(v.kind), nil
	}
	return all[0].Number, "", nil
}

// theOne finds the one incident that a command without a number means. Where it is not exactly one, nothing
// is acted on and the answer says why.
func (a *Adapter) theOne(ctx context.Context, v verb, who person) (int64, string, error) {
	mine, err := a.candidates(ctx, v, who)
	if err != nil {
		answer, err := a.settle(err)
		return 0, answer, err
	}
	switch len(mine) {
	case 1:
		return mine[0].Number, "", nil
	case 0:
		return 0, nothing(v.kind), nil
	}
	return 0, fmt.Sprintf("Which one? %s, and nothing was changed. %s\n%s", plural(len(mine), "incident"),
		"Name it: "+code(a.cfg.Command+" "+v.name+" #"+fmt.Sprint(mine[0].Number), 60), a.lines(mine)), nil
}

func nothing(kind oncall.CommandKind) string {
	switch kind {
	case oncall.CmdAcknowledge:
		return "No incident waits for an acknowledgement."
	case oncall.CmdUnacknowledge:
		return "No incident is acknowledged."
	}
	return "No incident is open."
}

// concerns reports whether an incident waits for somebody: they were told of it, or they have it.
func concerns(in oncall.Incident, who person, kind oncall.CommandKind) bool {
	if who.user != "" && in.State != oncall.IncidentTriggered && (in.AcknowledgedBy == who.user || in.Assignee == who.user) {
		return true
	}
	if kind == oncall.CmdUnacknowledge {
		return false
	}
	for _, t := range in.Told {
		if (who.user != "" && t.User == who.user) || (who.id != "" && t.Endpoint == oncall.SlackEndpoint(oncall.JoinWorkspace(who.place, who.id))) {
			return true
		}
	}
	return false
}
