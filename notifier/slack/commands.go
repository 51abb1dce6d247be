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
	t, complaint := parse(text, a.cfg.Command)
	if complaint != "" {
		return complaint, nil
	}
	v, _ := verbNamed(t.verb)
	switch {
	case t.verb == "help":
		return a.help(), nil
	case who.foreign || !who.may && !v.looks:
		return refusal(who), nil
	case t.verb == "list":
		return a.list(ctx)
	case t.verb == "who":
		t.group = nearestSchedule(t.group, a.policy().ScheduleNames())
		return a.who(t), nil
	case t.verb == "override":
		t.group = nearestSchedule(t.group, a.policy().ScheduleNames())
		return a.override(ctx, t, who, request)
	}
	if t.verb == "page" {
		return a.pageByHand(ctx, t, who, request)
	}
	if t.number == 0 {
		n, answer, err := a.which(ctx, v, who)
		if err != nil || answer != "" {
			return answer, err
		}
		t.number = n
	}
	if t.verb == "why" {
		return a.why(ctx, t.number)
	}
	if t.verb == "silence" {
		return a.silence(ctx, t, who, request)
	}
	return a.act(ctx, t, v, who, request)
}

func (a *Adapter) help() string {
	var b strings.Builder
	b.WriteString("*tocsin* pages until somebody says “I have it”.\n")
	for _, v := range verbs {
		fmt.Fprintf(&b, "• %s %s\n", code(a.cfg.Command+" "+v.usage, 80), v.does)
	}
	b.WriteString("An incident may be written #42, 42 or INC-42.")
	return b.String()
}

// act commits one command and answers with what the core says about it.
func (a *Adapter) act(ctx context.Context, t typed, v verb, who person, request string) (string, error) {
	c := oncall.Command{Kind: v.kind, Actor: who.name, Via: "slack", Text: t.text}
	if t.until > 0 {
		c.Until = time.Now().Add(t.until)
	}
	if v.kind == oncall.CmdAssign {
		user, complaint := a.named(ctx, t.user, who)
		if complaint != "" {
			return complaint, nil
		}
		c.User = user
	}
	d, seen, err := a.commit(ctx, t.number, c, request)
	if err != nil {
		return a.settle(err)
	}
	if seen {
		return a.present(ctx, t.number)
	}
	if d.Reply == "" {
		return fmt.Sprintf("Done: %s #%d.", t.verb, t.number), nil
	}
	return prose(d.Reply, 1000), nil
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

func (a *Adapter) list(ctx context.Context) (string, error) {
	open, err := a.incidents(ctx, oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed)
	if err != nil {
		return a.settle(err)
	}
	if len(open) == 0 {
		return "No incident is open.", nil
	}
	verb := "are"
	if len(open) == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%s %s open:\n%s", plural(len(open), "incident"), verb, a.lines(open)), nil
}

// lines lists incidents, as many as an answer takes.
func (a *Adapter) lines(ins []oncall.Incident) string {
	now := time.Now()
	var b strings.Builder
	for i, in := range ins {
		l := "• " + a.line(in, now) + "\n"
		if b.Len()+len(l) > maxAnswerText-300 {
			fmt.Fprintf(&b, "… and %d more", len(ins)-i)
			break
		}
		b.WriteString(l)
	}
	return strings.TrimRight(b.String(), "\n")
}

// line is one incident on one line.
func (a *Adapter) line(in oncall.Incident, now time.Time) string {
	emoji, word := standing(in)
	s := fmt.Sprintf("%s *#%d* %s", emoji, in.Number, strings.ToLower(word))
	switch in.State {
	case oncall.IncidentSnoozed:
		s += " until " + moment(in.SnoozedUntil, now)
	case oncall.IncidentAcknowledged:
		s += " by " + actor(in.AcknowledgedBy)
	case oncall.IncidentResolved:
		if in.ResolvedBy != "" {
			s += " by " + actor(in.ResolvedBy)
		}
	}
	if in.Severity != "" {
		s += " · " + prose(in.Severity, 40)
	}
	return s + " · " + prose(in.Title, 150) + " · since " + moment(in.TriggeredAt, now)
}

// incidents reads all incidents in the given states: counts are exact.
func (a *Adapter) incidents(ctx context.Context, states ...oncall.IncidentState) ([]oncall.Incident, error) {
	const page = 500
	var all []oncall.Incident
	f := oncall.IncidentFilter{States: states, Limit: page}
	for {
		got, err := a.acts.Incidents(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if len(got) < page {
			return all, nil
		}
		f.Before = got[len(got)-1].Number
	}
}

// which finds the one incident that a command without a number means. Where it is not exactly one, nothing
// is acted on and the answer says why.
func (a *Adapter) which(ctx context.Context, v verb, who person) (int64, string, error) {
	states := []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed}
	switch v.kind {
	case oncall.CmdAcknowledge:
		states = states[:1]
	case oncall.CmdUnacknowledge:
		states = states[1:]
	}
	all, err := a.incidents(ctx, states...)
	if err != nil {
		answer, err := a.settle(err)
		return 0, answer, err
	}
	mine := all[:0:0]
	for _, in := range all {
		if concerns(in, who, v.kind) {
			mine = append(mine, in)
		}
	}
	if len(mine) == 0 {
		mine = all
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
		if (who.user != "" && t.User == who.user) || (who.id != "" && t.Endpoint == oncall.SlackEndpoint(who.id)) {
			return true
		}
	}
	return false
}
