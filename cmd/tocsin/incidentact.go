package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"tocsin/oncall"
)

// What people do with incidents beside having them: commands that need more than a number.

type snoozeCmd struct {
	actFlags
	For        string `help:"For so long: 30m, 2h."`
	Until      string `help:"Until this time: 2026-01-05T09:00:00Z, or with an offset."`
	UntilClear string `help:"Until none of its firing alerts matches any more, such as 'alertname=\"DeployRunning\"'; at the latest after --for, --until or 24 hours."`
}

// Run snoozes.
func (c snoozeCmd) Run(ctx context.Context, s streams) error {
	fields := map[string]any{}
	for name, value := range map[string]string{"for": c.For, "until": c.Until, "until_clear": c.UntilClear} {
		if value != "" {
			fields[name] = value
		}
	}
	switch {
	case len(fields) == 0:
		return &failure{exitUsage, errors.New("for how long? Give --for, --until or --until-clear")}
	case c.For != "" && c.Until != "":
		return &failure{exitUsage, errors.New("--for and --until exclude each other")}
	}
	if c.Until != "" {
		if _, err := time.Parse(time.RFC3339, c.Until); err != nil {
			return &failure{exitUsage, errors.New("--until: expected a time such as 2026-01-05T09:00:00Z")}
		}
	}
	return c.act(ctx, s, oncall.CmdSnooze, fields)
}

type escalateCmd struct{ actFlags }

// Run escalates.
func (c escalateCmd) Run(ctx context.Context, s streams) error {
	return c.act(ctx, s, oncall.CmdEscalate, nil)
}

type assignCmd struct {
	actFlags
	To string `required:"" help:"Whose it is from now on, by name."`
}

// Run assigns.
func (c assignCmd) Run(ctx context.Context, s streams) error {
	return c.act(ctx, s, oncall.CmdAssign, map[string]any{"assignee": c.To})
}

type addCmd struct {
	actFlags
	Responder string `required:"" help:"Who is asked to help, by name."`
}

// Run asks somebody to help.
func (c addCmd) Run(ctx context.Context, s streams) error {
	return c.act(ctx, s, oncall.CmdAddResponder, map[string]any{"responder": c.Responder})
}

type mergeCmd struct {
	actFlags
	Into string `required:"" help:"The incident that goes on: 42 or #42."`
}

// Run merges.
func (c mergeCmd) Run(ctx context.Context, s streams) error {
	path, err := incidentPath(c.Into)
	if err != nil {
		return err
	}
	into, err := strconv.ParseInt(strings.TrimPrefix(path, "incidents/"), 10, 64)
	if err != nil {
		return err
	}
	return c.act(ctx, s, oncall.CmdMerge, map[string]any{"into": into})
}

type noteCmd struct {
	actFlags
	Text string `required:"" short:"t" help:"What to write."`
}

// Run writes on the timeline.
func (c noteCmd) Run(ctx context.Context, s streams) error {
	return c.act(ctx, s, oncall.CmdNote, map[string]any{"text": c.Text})
}

type muteCmd struct {
	actFlags
	For    string `help:"For so long: 30m, 2h."`
	Until  string `help:"Until this time: 2026-01-05T09:00:00Z, or with an offset."`
	Reason string `required:"" short:"c" help:"Why, for those who wonder why no page came."`
}

// Run silences the alerts of incidents. The server knows which alerts those are.
func (c muteCmd) Run(ctx context.Context, s streams) error {
	fields := map[string]any{"comment": c.Reason}
	switch {
	case (c.For == "") == (c.Until == ""):
		return &failure{exitUsage, errors.New("for how long? Give either --for or --until")}
	case c.For != "":
		fields["duration"] = c.For
	default:
		if _, err := time.Parse(time.RFC3339, c.Until); err != nil {
			return &failure{exitUsage, errors.New("--until: expected a time such as 2026-01-05T09:00:00Z")}
		}
		fields["until"] = c.Until
	}
	return c.act(ctx, s, "silence", fields)
}

// snoozed says until when an incident is snoozed.
func snoozed(v oncall.IncidentView) string {
	if v.UntilClear == "" {
		return moment(v.SnoozedUntil)
	}
	return "no firing alert matches " + v.UntilClear + ", at the latest " + moment(v.SnoozedUntil)
}

func responders(rs []oncall.Responder) string {
	names := make([]string, len(rs))
	for i, r := range rs {
		names[i] = r.User + " (asked by " + r.By + ")"
	}
	return strings.Join(names, ", ")
}

// number writes an incident's number, "" for none.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return "#" + strconv.FormatInt(n, 10)
}
