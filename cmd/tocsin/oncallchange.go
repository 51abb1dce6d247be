package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"tocsin/oncall"
)

// oncallOverrideCmd is the commands about overrides.
type oncallOverrideCmd struct {
	Add  overrideAddCmd  `cmd:"" default:"withargs" help:"Put somebody on call for a while: override session-primary bo 2h --reason dentist."`
	List overrideListCmd `cmd:"" help:"List the overrides that are not over."`
	End  overrideEndCmd  `cmd:"" aliases:"rm,cancel" help:"End an override now, or cancel it before it begins."`
}

// overriding is what the API says after a change.
type overriding struct {
	Reply string `json:"reply"`
	Mind  string `json:"mind"`
}

func (o overriding) print(s streams) {
	fmt.Fprintln(s.Out, printable(o.Reply))
	if o.Mind != "" {
		fmt.Fprintln(s.Err, "Mind:", printable(o.Mind))
	}
}

type overrideAddCmd struct {
	clientFlags
	Actor    string `name:"user" env:"TOCSIN_USER" help:"Who asks, where the server authenticates nobody. Default: your login name."`
	Reason   string `help:"Why, for those who wonder."`
	Replaces string `help:"Instead of whom. Default: whoever is on call."`
	Also     bool   `help:"On call beside the others, instead of in their place." xor:"kind"`
	Off      bool   `help:"Take the person off call, and put nobody in their place." xor:"kind"`
	From     string `help:"When it begins, as 2026-03-02T14:00 on the schedule's clocks, or RFC 3339. Default: now."`
	To       string `help:"When it ends, instead of how long."`
	Schedule string `arg:"" help:"The schedule."`
	Who      string `arg:"" help:"Who is on call."`
	For      string `arg:"" optional:"" help:"How long: 2h, 1d."`
}

// Run makes an override.
func (a overrideAddCmd) Run(ctx context.Context, s streams) error {
	if (a.For == "") == (a.To == "") {
		return &failure{exitUsage, errors.New("say how long it lasts (2h), or until when (--to)")}
	}
	if a.Replaces != "" && (a.Also || a.Off) {
		return &failure{exitUsage, errors.New("--replaces goes neither with --also nor with --off")}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	kind := oncall.OverrideReplace
	switch {
	case a.Also:
		kind = oncall.OverrideAdd
	case a.Off:
		kind = oncall.OverrideRemove
	}
	body := map[string]string{"schedule": a.Schedule, "who": strings.TrimPrefix(a.Who, "@"), "kind": string(kind)}
	for field, value := range map[string]string{"for": a.For, "to": a.To, "from": a.From, "replaces": a.Replaces, "reason": a.Reason, "user": c.actor(a.Actor)} {
		if value != "" {
			body[field] = value
		}
	}
	return c.override(ctx, s, a.Output, "POST", "overrides", body)
}

// override asks for a change and prints what came of it.
func (c *client) override(ctx context.Context, s streams, output, method, path string, body map[string]string) error {
	var done overriding
	answer, err := c.do(ctx, method, path, nil, body, &done)
	if err != nil {
		return err
	}
	if output == "json" {
		return printJSON(s.Out, answer)
	}
	done.print(s)
	return nil
}

type overrideListCmd struct {
	clientFlags
	All      bool   `help:"Those that are over too."`
	Schedule string `arg:"" optional:"" help:"Only of this schedule."`
}

// Run lists overrides.
func (l overrideListCmd) Run(ctx context.Context, s streams) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	q := url.Values{}
	if l.All {
		q.Set("all", "true")
	}
	if l.Schedule != "" {
		q.Set("schedule", l.Schedule)
	}
	var list []oncall.Override
	answer, err := c.do(ctx, "GET", "overrides", q, nil, &list)
	if err != nil {
		return err
	}
	if l.Output == "json" {
		return printJSON(s.Out, answer)
	}
	if len(list) == 0 {
		fmt.Fprintln(s.Err, "No overrides.")
		return nil
	}
	return printOverrides(s.Out, list, nil)
}

// printOverrides lists overrides, and beside those that are pointless why.
func printOverrides(w io.Writer, list []oncall.Override, pointless []oncall.PointlessOverride) error {
	why := map[string]string{}
	for _, p := range pointless {
		why[p.Override.ID] = "POINTLESS: " + p.Why
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OVERRIDE\tSCHEDULE\tFROM\tTO\tWHAT\t")
	for _, o := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(o.ID), printable(o.Schedule), moment(o.From), moment(o.To), printable(o.String()), printable(why[o.ID]))
	}
	return t.Flush()
}

type overrideEndCmd struct {
	clientFlags
	Actor string   `name:"user" env:"TOCSIN_USER" help:"Who asks, where the server authenticates nobody. Default: your login name."`
	IDs   []string `arg:"" name:"id" help:"Overrides, as list prints them."`
}

// Run ends overrides, and goes on after a refusal: the others are meant too.
func (e overrideEndCmd) Run(ctx context.Context, s streams) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	body := map[string]string{}
	if name := c.actor(e.Actor); name != "" {
		body["user"] = name
	}
	var failed error
	for _, id := range e.IDs {
		failed = errors.Join(failed, c.override(ctx, s, e.Output, "DELETE", "overrides/"+url.PathEscape(id), body))
	}
	return failed
}

type oncallSwapCmd struct {
	clientFlags
	Actor    string `name:"user" env:"TOCSIN_USER" help:"Who asks, where the server authenticates nobody. Default: your login name."`
	Reason   string `help:"Why."`
	Schedule string `arg:"" help:"The schedule."`
	Mine     string `arg:"" help:"Whose shift, and the day it begins: ana@2026-03-02 (or an instant in it: ana@2026-03-02T14:00)."`
	Theirs   string `arg:"" help:"For whose, in the same way."`
}

// Run swaps two shifts.
func (sw oncallSwapCmd) Run(ctx context.Context, s streams) error {
	body := map[string]string{"schedule": sw.Schedule}
	for arg, fields := range map[string][2]string{sw.Mine: {"who", "at"}, sw.Theirs: {"with", "with_at"}} {
		who, at, ok := strings.Cut(strings.TrimPrefix(arg, "@"), "@")
		if !ok || who == "" || at == "" {
			return &failure{exitUsage, fmt.Errorf("%q names no shift: write who, and the day it begins, such as ana@%s", arg, time.Now().Format(time.DateOnly))}
		}
		body[fields[0]], body[fields[1]] = who, at
	}
	c, err := sw.client()
	if err != nil {
		return err
	}
	if sw.Reason != "" {
		body["reason"] = sw.Reason
	}
	if name := c.actor(sw.Actor); name != "" {
		body["user"] = name
	}
	return c.override(ctx, s, sw.Output, "POST", "swaps", body)
}

type oncallCoverageCmd struct {
	rotaFlags
	Days     int    `default:"90" help:"So many days from now on."`
	Strict   bool   `help:"Fail where nobody is on call at some time."`
	Schedule string `arg:"" optional:"" help:"Only this schedule."`
}

// Run adds up coverage.
func (cc oncallCoverageCmd) Run(ctx context.Context, s streams) error {
	if cc.Days < 1 || cc.Days > int(oncall.Horizon/(24*time.Hour)) {
		return &failure{exitUsage, fmt.Errorf("--days must be from 1 to %d", int(oncall.Horizon/(24*time.Hour)))}
	}
	from := time.Now().Truncate(time.Minute)
	to := from.AddDate(0, 0, cc.Days)
	p, offline, err := cc.offline(s)
	if err != nil {
		return err
	}
	gaps := 0
	if offline {
		names := p.ScheduleNames()
		if cc.Schedule != "" {
			names = []string{cc.Schedule}
		}
		for _, name := range names {
			schedule, err := p.Schedule(name)
			if err != nil {
				return err
			}
			gaps += printCoverage(s.Out, name, schedule.TimeZone.String(), schedule.Coverage(nil, from, to, p.Zones()))
		}
		return cc.uncovered(gaps)
	}
	c, err := cc.client()
	if err != nil {
		return err
	}
	var views []rotaView
	if _, err := c.do(ctx, "GET", "schedules", nil, nil, &views); err != nil {
		return err
	}
	var only []string
	if cc.Schedule != "" {
		only = []string{cc.Schedule}
	}
	if views, err = chosen(views, only); err != nil {
		return err
	}
	for _, v := range views {
		var cov oncall.Coverage
		answer, err := c.do(ctx, "GET", "schedules/"+url.PathEscape(v.Name)+"/coverage", url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}, nil, &cov)
		if err != nil {
			return err
		}
		if cc.Output == "json" {
			gaps += len(cov.Gaps)
			if err := printJSON(s.Out, answer); err != nil {
				return err
			}
			continue
		}
		gaps += printCoverage(s.Out, v.Name, v.TimeZone, cov)
	}
	return cc.uncovered(gaps)
}

func (cc oncallCoverageCmd) uncovered(gaps int) error {
	if cc.Strict && gaps > 0 {
		return fmt.Errorf("nobody is on call at %s", plural(gaps, "time"))
	}
	return nil
}

// printCoverage prints what a schedule asks of people and returns the number of its gaps.
func printCoverage(w io.Writer, name, zone string, c oncall.Coverage) int {
	fmt.Fprintf(w, "%s, from %s until %s:\n", printable(name), wall(c.From, zone), wall(c.To, zone))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tSHIFTS\tHOURS\tNIGHT\tWEEKEND\t  WHO")
	hours := func(d time.Duration) string { return fmt.Sprintf("%.0f", d.Hours()) }
	for _, l := range c.People {
		fmt.Fprintf(t, "\t%d\t%s\t%s\t%s\t  %s\n", l.Shifts, hours(l.Time), hours(l.Nights), hours(l.Weekends), printable(l.User))
	}
	_ = t.Flush() // the terminal is gone: nobody is left to tell
	if i := c.Imbalance; i.Time > 0 {
		fmt.Fprintf(w, "Whoever carries most has %.2f times the average of all hours, %.2f of the nights, %.2f of the weekends.\n", i.Time, i.Nights, i.Weekends)
	}
	const most = 10
	for i, g := range c.Gaps {
		if i == most {
			fmt.Fprintf(w, "… and %d more\n", len(c.Gaps)-most)
			break
		}
		fmt.Fprintf(w, "NOBODY is on call from %s until %s\n", wall(g.From, zone), wall(g.To, zone))
	}
	for _, x := range c.Pointless {
		fmt.Fprintf(w, "The override %s (%s) changes nothing: %s\n", printable(x.Override.ID), printable(x.Override.String()), printable(x.Why))
	}
	fmt.Fprintln(w)
	return len(c.Gaps)
}

type oncallCalendarCmd struct {
	clientFlags
	Schedule bool   `help:"The name is a schedule's."`
	Revoke   bool   `help:"First make all its addresses bad that were given out so far: for one that came into wrong hands."`
	Name     string `arg:"" help:"Whose calendar: a user, or with --schedule a schedule."`
}

// Run prints the address of a feed.
func (cc oncallCalendarCmd) Run(ctx context.Context, s streams) error {
	c, err := cc.client()
	if err != nil {
		return err
	}
	q := url.Values{"user": {cc.Name}}
	if cc.Schedule {
		q = url.Values{"schedule": {cc.Name}}
	}
	var v struct {
		URL string `json:"url"`
	}
	method := http.MethodGet
	if cc.Revoke {
		method, c.request = http.MethodDelete, rand.Text()
	}
	answer, err := c.do(ctx, method, "calendar", q, nil, &v)
	if err != nil {
		return err
	}
	if cc.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprintln(s.Out, printable(v.URL))
	return nil
}
