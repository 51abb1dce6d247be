package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"tocsin/oncall"
)

// oncallCmd is the commands about who is on call.
type oncallCmd struct {
	Show     oncallShowCmd     `cmd:"" help:"Show who is on call by each schedule, until when, who is next, and the overrides that stand."`
	Week     oncallWeekCmd     `cmd:"" help:"Draw seven days of a schedule."`
	Who      oncallWhoCmd      `cmd:"" help:"Say who is on call at an instant, and why."`
	Override oncallOverrideCmd `cmd:"" help:"Change who is on call for a while, list such changes, and end them."`
	Swap     oncallSwapCmd     `cmd:"" help:"Have two people take each other's shifts."`
	Coverage oncallCoverageCmd `cmd:"" help:"Add up what schedules ask of people, and find the times when nobody is on call."`
	Calendar oncallCalendarCmd `cmd:"" help:"Print the secret address of a calendar feed (iCalendar)."`
}

// rotaFlags are those of commands that look at schedules: in a running tocsin, or in a file.
type rotaFlags struct {
	clientFlags
	ConfigFile string `name:"config.file" placeholder:"FILE" help:"Read the schedules from this configuration instead of asking a running tocsin. Overrides are not in it."`
}

// offline reads the schedules of a file. ok is false where a running tocsin is to be asked.
func (f rotaFlags) offline(s streams) (p oncall.Policy, ok bool, err error) {
	if f.ConfigFile == "" {
		return p, false, nil
	}
	plan, problems, err := loadPlan(f.ConfigFile)
	if err != nil {
		return p, true, printed(err, s)
	}
	if err := problems.Print(s.Err); err != nil {
		return p, true, err
	}
	if len(plan.Policy.Schedules) == 0 {
		return p, true, fmt.Errorf("%s has no schedules", f.ConfigFile)
	}
	return plan.Policy, true, nil
}

// pick returns the schedule with a name, or the only one where none is named.
func pick(p oncall.Policy, name string) (oncall.Schedule, error) {
	if names := p.ScheduleNames(); name == "" && len(names) == 1 {
		name = names[0]
	}
	return p.Schedule(name)
}

// rotaView is what commands need of a schedule as the API shows it.
type rotaView struct {
	Name     string       `json:"name"`
	TimeZone string       `json:"time_zone"`
	OnCall   oncall.Shift `json:"on_call"`
	Next     *struct {
		At    time.Time `json:"at"`
		Users []string  `json:"users"`
	} `json:"next"`
	Shifts    []oncall.Shift             `json:"shifts"`
	Pointless []oncall.PointlessOverride `json:"pointless"`
}

type oncallShowCmd struct {
	rotaFlags
	Schedules []string `arg:"" optional:"" name:"schedule" help:"Only these schedules."`
}

// Run shows who is on call now.
func (sc oncallShowCmd) Run(ctx context.Context, s streams) error {
	p, offline, err := sc.offline(s)
	if err != nil {
		return err
	}
	if offline {
		return sc.showFile(p, s)
	}
	c, err := sc.client()
	if err != nil {
		return err
	}
	var views []rotaView
	answer, err := c.do(ctx, "GET", "schedules", nil, nil, &views)
	if err != nil {
		return err
	}
	if sc.Output == "json" {
		return printJSON(s.Out, answer)
	}
	var overrides []oncall.Override
	if _, err := c.do(ctx, "GET", "overrides", nil, nil, &overrides); err != nil {
		return err
	}
	if views, err = chosen(views, sc.Schedules); err != nil {
		return err
	}
	if len(views) == 0 {
		fmt.Fprintln(s.Err, "No schedules.")
		return nil
	}
	if err := printRota(s.Out, views); err != nil {
		return err
	}
	var pointless []oncall.PointlessOverride
	for _, v := range views {
		var full rotaView
		if _, err := c.do(ctx, "GET", "schedules/"+url.PathEscape(v.Name), url.Values{"to": {time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)}}, nil, &full); err != nil {
			return err
		}
		pointless = append(pointless, full.Pointless...)
	}
	if err := c.footnotes(ctx, s.Out, usersOf(views)...); err != nil {
		return err
	}
	if len(overrides) > 0 {
		fmt.Fprintln(s.Out)
		return printOverrides(s.Out, overrides, pointless)
	}
	return nil
}

func (sc oncallShowCmd) showFile(p oncall.Policy, s streams) error {
	if sc.Output == "json" {
		return &failure{exitUsage, errors.New("-o json needs a running tocsin: leave --config.file out")}
	}
	var views []rotaView
	now := time.Now()
	for _, name := range p.ScheduleNames() {
		schedule := p.Schedules[name]
		v := rotaView{Name: name, TimeZone: schedule.TimeZone.String(), OnCall: schedule.ShiftAt(nil, now)}
		if next, ok := schedule.NextChange(nil, now); ok {
			v.Next = &struct {
				At    time.Time `json:"at"`
				Users []string  `json:"users"`
			}{next.From, next.Users}
		}
		views = append(views, v)
	}
	views, err := chosen(views, sc.Schedules)
	if err != nil {
		return err
	}
	return printRota(s.Out, views)
}

// chosen keeps the schedules that were named, or all.
func chosen(views []rotaView, names []string) ([]rotaView, error) {
	if len(names) == 0 {
		return views, nil
	}
	p := oncall.Policy{Schedules: map[string]oncall.Schedule{}}
	at := map[string]rotaView{}
	for _, v := range views {
		p.Schedules[v.Name], at[v.Name] = oncall.Schedule{Name: v.Name}, v
	}
	var kept []rotaView
	for _, n := range names {
		if _, err := p.Schedule(n); err != nil {
			return nil, err
		}
		kept = append(kept, at[n])
	}
	return kept, nil
}

func printRota(w io.Writer, views []rotaView) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SCHEDULE\tON CALL\tUNTIL\tTHEN\tWHY")
	for _, v := range views {
		until, then := "-", "-"
		if v.Next != nil {
			until, then = wall(v.Next.At, v.TimeZone), oncall.Shift{Users: v.Next.Users}.Who()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(v.Name), printable(v.OnCall.Who()), until, printable(then), printable(v.OnCall.Why()))
	}
	return t.Flush()
}

// wall is an instant on a schedule's clocks.
func wall(t time.Time, zone string) string {
	if loc, err := time.LoadLocation(zone); err == nil {
		t = t.In(loc)
	}
	return t.Format("Mon 2 Jan 15:04 MST")
}

type oncallWeekCmd struct {
	rotaFlags
	From     string `help:"First day, as 2026-03-02. Default: Monday of this week."`
	Schedule string `arg:"" optional:"" help:"The schedule. Not needed where there is only one."`
}

// Run draws a week.
func (wc oncallWeekCmd) Run(ctx context.Context, s streams) error {
	p, offline, err := wc.offline(s)
	if err != nil {
		return err
	}
	now := time.Now()
	if offline {
		schedule, err := pick(p, wc.Schedule)
		if err != nil {
			return err
		}
		from, err := wc.monday(&schedule, now)
		if err != nil {
			return err
		}
		fmt.Fprint(s.Out, lines(schedule.RenderWeek(nil, from, now)))
		return nil
	}
	c, err := wc.client()
	if err != nil {
		return err
	}
	name, zone, err := c.theSchedule(ctx, wc.Schedule)
	if err != nil {
		return err
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return err
	}
	from, err := wc.monday(&oncall.Schedule{TimeZone: loc}, now)
	if err != nil {
		return err
	}
	var v rotaView
	answer, err := c.do(ctx, "GET", "schedules/"+url.PathEscape(name), url.Values{"from": {from.Format(time.DateOnly)}, "to": {from.AddDate(0, 0, 8).Format(time.DateOnly)}}, nil, &v)
	if err != nil {
		return err
	}
	if wc.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprint(s.Out, lines(oncall.RenderShifts(v.Name, loc, v.Shifts, from, now)))
	var users []string
	for _, shift := range v.Shifts {
		users = append(users, shift.Users...)
	}
	return c.footnotes(ctx, s.Out, users...)
}

// monday is the first day that is drawn.
func (wc oncallWeekCmd) monday(schedule *oncall.Schedule, now time.Time) (time.Time, error) {
	if wc.From != "" {
		at, _, err := schedule.ParseWhen(wc.From)
		return at, err
	}
	loc := schedule.TimeZone
	if loc == nil {
		loc = time.UTC
	}
	y, m, d := now.In(loc).Date()
	back := (int(now.In(loc).Weekday()) + 6) % 7
	return time.Date(y, m, d-back, 12, 0, 0, 0, loc), nil // noon: there is one on every day
}

// lines makes a drawing safe for a terminal.
func lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}

// theSchedule finds the schedule with a name, or the only one, and its zone.
func (c *client) theSchedule(ctx context.Context, name string) (found, zone string, err error) {
	var views []rotaView
	if _, err := c.do(ctx, "GET", "schedules", nil, nil, &views); err != nil {
		return "", "", err
	}
	p := oncall.Policy{Schedules: map[string]oncall.Schedule{}}
	zones := map[string]string{}
	for _, v := range views {
		p.Schedules[v.Name], zones[v.Name] = oncall.Schedule{Name: v.Name}, v.TimeZone
	}
	schedule, err := pick(p, name)
	return schedule.Name, zones[schedule.Name], err
}

type oncallWhoCmd struct {
	rotaFlags
	At       string `help:"When, as 2026-03-02T14:00 on the schedule's clocks, or RFC 3339. Default: now."`
	Schedule string `arg:"" optional:"" help:"Only this schedule."`
}

// Run says who is on call.
func (wc oncallWhoCmd) Run(ctx context.Context, s streams) error {
	p, offline, err := wc.offline(s)
	if err != nil {
		return err
	}
	if offline {
		return wc.whoInFile(p, s)
	}
	c, err := wc.client()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, value := range map[string]string{"at": wc.At, "schedule": wc.Schedule} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var views []struct {
		Schedule string `json:"schedule"`
		TimeZone string `json:"time_zone"`
		oncall.Shift
	}
	answer, err := c.do(ctx, "GET", "oncall", q, nil, &views)
	if err != nil {
		return err
	}
	if wc.Output == "json" {
		return printJSON(s.Out, answer)
	}
	var users []string
	for _, v := range views {
		schedule := oncall.Schedule{Name: v.Schedule}
		if loc, err := time.LoadLocation(v.TimeZone); err == nil {
			schedule.TimeZone = loc
		}
		fmt.Fprintln(s.Out, printable(schedule.RenderShift(v.Shift)))
		users = append(users, v.Users...)
	}
	return c.footnotes(ctx, s.Out, users...)
}

func (wc oncallWhoCmd) whoInFile(p oncall.Policy, s streams) error {
	names := p.ScheduleNames()
	if wc.Schedule != "" {
		names = []string{wc.Schedule}
	}
	for _, name := range names {
		schedule, err := p.Schedule(name)
		if err != nil {
			return err
		}
		at := time.Now()
		if wc.At != "" {
			if at, _, err = schedule.ParseWhen(wc.At); err != nil {
				return &failure{exitUsage, err}
			}
		}
		fmt.Fprintln(s.Out, printable(schedule.RenderShift(schedule.ShiftAt(nil, at))))
	}
	return nil
}
