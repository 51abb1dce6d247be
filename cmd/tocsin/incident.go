package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"tocsin/oncall"
)

// incidentCmd is the commands about incidents.
type incidentCmd struct {
	Open    openCmd    `cmd:"" help:"Open an incident by hand: tell an escalation, or page one user."`
	List    listCmd    `cmd:"" help:"List incidents, newest first; the open ones unless told otherwise."`
	Show    showCmd    `cmd:"" help:"Show one incident with its alerts, deliveries and timeline."`
	Ack     ackCmd     `cmd:"" help:"Acknowledge: say that you have it, and stop the paging."`
	Unack   unackCmd   `cmd:"" help:"Give an acknowledged incident back: its tiers are told anew."`
	Resolve resolveCmd `cmd:"" help:"End an incident by hand."`

	Snooze   snoozeCmd   `cmd:"" help:"Be quiet for a while, or until an alert clears."`
	Escalate escalateCmd `cmd:"" help:"Tell the next tier now."`
	Assign   assignCmd   `cmd:"" help:"Say whose it is."`
	Add      addCmd      `cmd:"" help:"Ask somebody to help: they are told at once."`
	Merge    mergeCmd    `cmd:"" help:"End an incident in favour of another, which takes its alerts."`
	Note     noteCmd     `cmd:"" help:"Write something on the timeline."`
	Silence  muteCmd     `cmd:"" help:"Mute its alerts for a while, with a reason."`
}

type listCmd struct {
	clientFlags
	State []string `help:"Only these states: triggered, acknowledged, snoozed, resolved, or open for all but resolved." enum:"open,triggered,acknowledged,snoozed,resolved" default:"open"`
	All   bool     `help:"Ended incidents too."`
	Limit int      `default:"100" help:"At most so many."`
}

// Run lists incidents.
func (l listCmd) Run(ctx context.Context, s streams) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	q := url.Values{"limit": {strconv.Itoa(l.Limit)}}
	if !l.All {
		q["state"] = l.State
	}
	var list []oncall.IncidentView
	answer, err := c.do(ctx, "GET", "incidents", q, nil, &list)
	if err != nil {
		return err
	}
	if l.Output == "json" {
		return printJSON(s.Out, answer)
	}
	if len(list) == 0 {
		fmt.Fprintln(s.Err, "No incidents.")
		return nil
	}
	t := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tSTATE\tSEVERITY\tTRIGGERED\tALERTS\tTITLE")
	for _, v := range list {
		fmt.Fprintf(t, "#%d\t%s\t%s\t%s\t%d/%d\t%s\n", v.Number, v.State, orDash(v.Severity), moment(v.TriggeredAt), v.AlertsFiring, v.AlertsTotal, printable(v.Title))
	}
	return t.Flush()
}

type showCmd struct {
	clientFlags
	Number string `arg:"" help:"The incident's number: 42 or #42."`
}

// Run shows one incident.
func (sc showCmd) Run(ctx context.Context, s streams) error {
	c, err := sc.client()
	if err != nil {
		return err
	}
	path, err := incidentPath(sc.Number)
	if err != nil {
		return err
	}
	var v oncall.IncidentView
	answer, err := c.do(ctx, "GET", path, nil, nil, &v)
	if err != nil {
		return err
	}
	if sc.Output == "json" {
		return printJSON(s.Out, answer)
	}
	return printIncident(s.Out, v)
}

// actFlags are those of the commands that change incidents.
type actFlags struct {
	clientFlags
	User    string   `name:"user" env:"TOCSIN_USER" help:"Who acts, where the server authenticates nobody. Default: your login name."`
	Request string   `name:"request" placeholder:"ID" help:"Identity of this request: repeated within a day, it changes nothing. Default: none."`
	Numbers []string `arg:"" name:"number" help:"Incident numbers: 42 or #42."`
}

type (
	ackCmd     struct{ actFlags }
	unackCmd   struct{ actFlags }
	resolveCmd struct{ actFlags }
)

// Run acknowledges.
func (a ackCmd) Run(ctx context.Context, s streams) error {
	return a.act(ctx, s, oncall.CmdAcknowledge, nil)
}

// Run un-acknowledges.
func (a unackCmd) Run(ctx context.Context, s streams) error {
	return a.act(ctx, s, oncall.CmdUnacknowledge, nil)
}

// Run resolves.
func (a resolveCmd) Run(ctx context.Context, s streams) error {
	return a.act(ctx, s, oncall.CmdResolve, nil)
}

// act gives one command for each number, and goes on after a refusal: the others are meant too. fields are what the
// command needs beside who acts.
func (a actFlags) act(ctx context.Context, s streams, kind oncall.CommandKind, fields map[string]any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	c.request = a.Request
	paths := make([]string, 0, len(a.Numbers))
	for _, n := range a.Numbers {
		p, err := incidentPath(n)
		if err != nil {
			return err
		}
		paths = append(paths, p)
	}
	body := map[string]any{}
	maps.Copy(body, fields)
	if name := c.actor(a.User); name != "" {
		body["user"] = name
	}
	var failed error
	for _, p := range paths {
		var done struct {
			Reply string `json:"reply"`
		}
		answer, err := c.do(ctx, "POST", p+"/"+string(kind), nil, body, &done)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case a.Output == "json":
			failed = errors.Join(failed, printJSON(s.Out, answer))
		default:
			fmt.Fprintln(s.Out, printable(done.Reply))
		}
	}
	return failed
}

type whyCmd struct {
	clientFlags
	Number string `arg:"" help:"The incident's number: 42 or #42."`
}

// Run explains an incident.
func (w whyCmd) Run(ctx context.Context, s streams) error {
	c, err := w.client()
	if err != nil {
		return err
	}
	path, err := incidentPath(w.Number)
	if err != nil {
		return err
	}
	var answer struct {
		Text string `json:"text"`
	}
	raw, err := c.do(ctx, "GET", path+"/why", nil, nil, &answer)
	if err != nil {
		return err
	}
	if w.Output == "json" {
		return printJSON(s.Out, raw)
	}
	for line := range strings.Lines(answer.Text) {
		fmt.Fprintln(s.Out, printable(strings.TrimRight(line, "\n")))
	}
	return nil
}

// incidentPath turns a number as people write it into the path of its incident.
func incidentPath(n string) (string, error) {
	number, err := strconv.ParseInt(strings.TrimPrefix(n, "#"), 10, 64)
	if err != nil || number < 1 {
		return "", &failure{exitUsage, fmt.Errorf("%q is no incident number such as 42", n)}
	}
	return "incidents/" + strconv.FormatInt(number, 10), nil
}

// printIncident writes an incident for a person at a terminal.
func printIncident(w io.Writer, v oncall.IncidentView) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "#%d %s\n\n", v.Number, printable(v.Title))
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s:\t%s\n", name, printable(value))
		}
	}
	fact("State", string(v.State))
	fact("Severity", v.Severity)
	fact("Triggered", moment(v.TriggeredAt))
	fact("Acknowledged", at(v.AcknowledgedAt, v.AcknowledgedBy))
	fact("Snoozed until", snoozed(v))
	fact("Resolved", at(v.ResolvedAt, v.ResolvedBy))
	fact("Assigned to", v.Assignee)
	fact("Urgency", v.Urgency)
	fact("Responders", responders(v.Responders))
	fact("Merged into", number(v.MergedInto))
	fact("Continues", number(v.LinkedFrom))
	fact("Escalation", v.Escalation)
	fact("Next", strings.TrimSpace(v.Next+" "+moment(v.NextAt)))
	fact("Page", v.URL)
	fmt.Fprintf(t, "\nAlerts (%d of %d firing):\n", v.AlertsFiring, v.AlertsTotal)
	for _, a := range v.Alerts {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", a.State, printable(a.Labels.String()), printable(a.Value))
	}
	fmt.Fprintln(t, "\nDeliveries:")
	for _, d := range v.Deliveries {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", d.State, d.Kind, d.Endpoint, printable(d.Error))
		for _, a := range d.Attempts {
			fmt.Fprintf(t, "    %s\tattempt %d: %s\t%s\t%s\n", moment(a.At), a.Number, a.Outcome, httpStatus(a.Status), printable(a.Error))
		}
	}
	fmt.Fprintln(t, "\nTimeline:")
	for _, e := range v.Timeline {
		text := printable(e.Text)
		if e.Actor != "" {
			text += " (" + printable(e.Actor) + ")"
		}
		fmt.Fprintf(t, "  %s\t%s\n", moment(e.At), text)
	}
	return t.Flush()
}

func httpStatus(code int) string {
	if code == 0 {
		return ""
	}
	return "HTTP " + strconv.Itoa(code)
}

// moment writes a time in UTC, as every other tool of an incident does.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func at(t time.Time, by string) string {
	if by == "" {
		return moment(t)
	}
	return moment(t) + " by " + by
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable drops control characters: a label must not be able to redraw a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
