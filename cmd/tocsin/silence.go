package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// silenceCmd is the commands about silences. All but the one that starts from an incident speak Alertmanager's API.
type silenceCmd struct {
	Add     silenceAddCmd     `cmd:"" help:"Mute the alerts that match, or those of an incident (--incident 42 2h)."`
	List    silenceListCmd    `cmd:"" aliases:"query" help:"List silences, those that end first first."`
	Preview silencePreviewCmd `cmd:"" help:"Show which alerts a silence would mute now."`
	Expire  silenceExpireCmd  `cmd:"" help:"End silences."`
}

// silencesPath is where Alertmanager's API keeps them.
const silencesPath = "api/v2/silences"

type apiMatcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual *bool  `json:"isEqual,omitempty"`
}

type apiSilence struct {
	ID        string       `json:"id,omitempty"`
	Matchers  []apiMatcher `json:"matchers"`
	StartsAt  time.Time    `json:"startsAt"`
	EndsAt    time.Time    `json:"endsAt"`
	CreatedBy string       `json:"createdBy"`
	Comment   string       `json:"comment"`
	Status    *struct {
		State oncall.SilenceState `json:"state"`
	} `json:"status,omitempty"`
}

// matchers shows them as they are typed.
func (s apiSilence) matchers() string {
	var ms amlabels.Matchers
	for _, m := range s.Matchers {
		equal := m.IsEqual == nil || *m.IsEqual
		t := map[[2]bool]amlabels.MatchType{{false, true}: amlabels.MatchEqual, {false, false}: amlabels.MatchNotEqual,
			{true, true}: amlabels.MatchRegexp, {true, false}: amlabels.MatchNotRegexp}[[2]bool{m.IsRegex, equal}]
		ms = append(ms, &amlabels.Matcher{Type: t, Name: m.Name, Value: m.Value})
	}
	return ms.String()
}

func (s apiSilence) state() oncall.SilenceState {
	if s.Status == nil {
		return ""
	}
	return s.Status.State
}

// parseMatchers reads matchers as amtool does: a first word that is none is the alertname.
func parseMatchers(args []string) (amlabels.Matchers, error) {
	var ms amlabels.Matchers
	for i, arg := range args {
		if i == 0 && !strings.ContainsAny(arg, "=~{") {
			ms = append(ms, &amlabels.Matcher{Type: amlabels.MatchEqual, Name: "alertname", Value: arg})
			continue
		}
		found, err := oncall.ParseMatchers(arg, oncall.MatchersFallback)
		if err != nil {
			return nil, &failure{exitUsage, fmt.Errorf("%q is no matcher such as team=shop or instance=~\"web-.+\": %w", arg, err)}
		}
		ms = append(ms, found...)
	}
	return ms, nil
}

type silenceAddCmd struct {
	clientFlags
	Incident string   `help:"Silence the alerts of this incident: what made them one, or what they share." placeholder:"42"`
	Author   string   `short:"a" name:"author" env:"TOCSIN_USER" help:"Who silences. Default: your login name."`
	Comment  string   `short:"c" required:"" help:"Why, for those who wonder why no page came."`
	Duration string   `short:"d" help:"How long: 30m, 2h, 1d. Default: 1h, where --end is not given."`
	Start    string   `help:"When it starts, as 2026-03-01T22:00:00Z. Default: now; later makes a maintenance window."`
	End      string   `help:"When it ends, instead of --duration."`
	Args     []string `arg:"" optional:"" name:"matchers" help:"Matchers (team=shop, instance=~\"web-.+\"; a first bare word is the alertname), or the duration with --incident."`
}

// Run sets a silence and prints its ID.
func (a silenceAddCmd) Run(ctx context.Context, s streams) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if strings.TrimSpace(a.Comment) == "" {
		return &failure{exitUsage, errors.New("a silence needs a comment: say why, for those who wonder why no page came")}
	}
	if a.Incident != "" {
		return a.fromIncident(ctx, s, c)
	}
	ms, err := parseMatchers(a.Args)
	if err != nil {
		return err
	}
	if len(ms) == 0 {
		return &failure{exitUsage, errors.New("name what is to be muted: matchers such as alertname=DiskFull team=shop, or --incident 42")}
	}
	sil := apiSilence{Comment: a.Comment, CreatedBy: a.author(c)}
	if sil.StartsAt, sil.EndsAt, err = a.span(time.Now()); err != nil {
		return err
	}
	for _, m := range ms {
		equal := m.Type == amlabels.MatchEqual || m.Type == amlabels.MatchRegexp
		sil.Matchers = append(sil.Matchers, apiMatcher{m.Name, m.Value, m.Type == amlabels.MatchRegexp || m.Type == amlabels.MatchNotRegexp, &equal})
	}
	for _, w := range oncall.SilenceWarnings(oncall.Silence{Matchers: ms}) {
		fmt.Fprintln(s.Err, "Mind:", w)
	}
	var done struct {
		SilenceID string `json:"silenceID"`
	}
	answer, err := c.ask(ctx, "POST", silencesPath, nil, sil, &done)
	if err != nil {
		return err
	}
	if a.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprintln(s.Out, printable(done.SilenceID))
	return nil
}

// fromIncident leaves to the server what to mute, because it knows the alerts.
func (a silenceAddCmd) fromIncident(ctx context.Context, s streams, c *client) error {
	path, err := incidentPath(a.Incident)
	if err != nil {
		return err
	}
	switch {
	case a.Start != "":
		return &failure{exitUsage, errors.New("a silence from an incident starts now: leave --start out")}
	case len(a.Args) > 1 || len(a.Args) == 1 && a.Duration != "":
		return &failure{exitUsage, errors.New("with --incident the only argument is how long: --incident 42 2h -c why")}
	case len(a.Args) == 1:
		a.Duration = a.Args[0]
	case a.Duration == "" && a.End == "":
		return &failure{exitUsage, errors.New("for how long? --incident 42 2h -c why")}
	}
	_, ends, err := a.span(time.Now())
	if err != nil {
		return err
	}
	body := map[string]string{"comment": a.Comment, "duration": a.Duration}
	if a.End != "" {
		body = map[string]string{"comment": a.Comment, "until": ends.Format(time.RFC3339)}
	}
	if name := c.actor(a.Author); name != "" {
		body["user"] = name
	}
	var done struct {
		Reply string `json:"reply"`
	}
	answer, err := c.do(ctx, "POST", path+"/silence", nil, body, &done)
	if err != nil {
		return err
	}
	if a.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprintln(s.Out, printable(done.Reply))
	return nil
}

// author is who the silence says made it: the alert API does not ask who is authenticated.
func (a silenceAddCmd) author(c *client) string {
	if a.Author == "" && c.base.User != nil && c.base.User.Username() != "" {
		return c.base.User.Username()
	}
	unknown := *c
	unknown.auth = false
	return unknown.actor(a.Author)
}

// span is from when until when.
func (a silenceAddCmd) span(now time.Time) (starts, ends time.Time, err error) {
	if a.Duration != "" && a.End != "" {
		return starts, ends, &failure{exitUsage, errors.New("give --duration or --end, not both")}
	}
	starts = now
	if a.Start != "" {
		if starts, err = time.Parse(time.RFC3339, a.Start); err != nil {
			return starts, ends, &failure{exitUsage, fmt.Errorf("--start: %q is no time such as %s", a.Start, now.UTC().Format(time.RFC3339))}
		}
	}
	if a.End != "" {
		if ends, err = time.Parse(time.RFC3339, a.End); err != nil {
			return starts, ends, &failure{exitUsage, fmt.Errorf("--end: %q is no time such as %s", a.End, now.Add(time.Hour).UTC().Format(time.RFC3339))}
		}
		return starts, ends, nil
	}
	length := time.Hour
	if a.Duration != "" {
		if length, err = oncall.ParseSilenceDuration(a.Duration); err != nil {
			return starts, ends, &failure{exitUsage, err}
		}
	}
	return starts, starts.Add(length), nil
}

type silenceListCmd struct {
	clientFlags
	Expired bool     `help:"Those that have ended instead of those that stand."`
	Args    []string `arg:"" optional:"" name:"matchers" help:"Only silences with these matchers."`
}

// Run lists silences.
func (l silenceListCmd) Run(ctx context.Context, s streams) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	ms, err := parseMatchers(l.Args)
	if err != nil {
		return err
	}
	var all []apiSilence
	answer, err := c.ask(ctx, "GET", silencesPath, url.Values{"filter": filters(ms)}, nil, &all)
	if err != nil {
		return err
	}
	if l.Output == "json" {
		return printJSON(s.Out, answer)
	}
	t := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tSTARTS\tENDS\tBY\tMATCHERS\tCOMMENT")
	shown := 0
	for _, sil := range all {
		if (sil.state() == oncall.SilenceExpired) != l.Expired {
			continue
		}
		shown++
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(sil.ID), sil.state(), moment(sil.StartsAt), moment(sil.EndsAt),
			orDash(printable(sil.CreatedBy)), printable(sil.matchers()), printable(sil.Comment))
	}
	if shown == 0 {
		fmt.Fprintln(s.Err, "No silences.")
		return nil
	}
	return t.Flush()
}

func filters(ms amlabels.Matchers) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.String())
	}
	return out
}

type silencePreviewCmd struct {
	clientFlags
	Args []string `arg:"" name:"matchers" help:"As for add."`
}

// Run shows what would be muted.
func (p silencePreviewCmd) Run(ctx context.Context, s streams) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	ms, err := parseMatchers(p.Args)
	if err != nil {
		return err
	}
	var alerts []struct {
		Labels   map[string]string `json:"labels"`
		StartsAt time.Time         `json:"startsAt"`
		Status   struct {
			State string `json:"state"`
		} `json:"status"`
	}
	answer, err := c.ask(ctx, "GET", "api/v2/alerts", url.Values{"filter": filters(ms)}, nil, &alerts)
	if err != nil {
		return err
	}
	if p.Output == "json" {
		return printJSON(s.Out, answer)
	}
	for _, w := range oncall.SilenceWarnings(oncall.Silence{Matchers: ms}) {
		fmt.Fprintln(s.Err, "Mind:", w)
	}
	if len(alerts) == 0 {
		fmt.Fprintln(s.Err, "Matches no alert that fires now.")
		return nil
	}
	t := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ALERT\tSTATE\tSINCE\tLABELS")
	for _, a := range alerts {
		name := a.Labels["alertname"]
		delete(a.Labels, "alertname")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", orDash(printable(name)), a.Status.State, moment(a.StartsAt), printable(labelText(a.Labels)))
	}
	return t.Flush()
}

type silenceExpireCmd struct {
	clientFlags
	IDs []string `arg:"" name:"id" help:"IDs of silences, as add and list print them."`
}

// Run ends silences, and goes on after a refusal: the others are meant too.
func (e silenceExpireCmd) Run(ctx context.Context, _ streams) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	var failed error
	for _, id := range e.IDs {
		if _, err := c.ask(ctx, "DELETE", "api/v2/silence/"+url.PathEscape(id), nil, nil, nil); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", id, err))
		}
	}
	return failed
}

func labelText(ls map[string]string) string { return labels.FromMap(ls).String() }
