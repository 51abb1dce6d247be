package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/replay"
)

// simulateCmd plays an incident through before it happens.
type simulateCmd struct {
	configFlags `embed:""`

	Escalation string         `required:"" placeholder:"NAME" help:"Which escalation takes the alert."`
	At         string         `placeholder:"TIME" help:"When the alert fires: RFC 3339, or a local time such as 2026-01-05T17:30. Default: now."`
	TimeZone   string         `name:"time-zone" placeholder:"ZONE" help:"Zone of a local --at, and of what is printed, such as Europe/Madrid. Default: UTC."`
	Severity   string         `default:"critical" help:"Severity of the alert; empty: none. Default: critical."`
	Label      []string       `placeholder:"NAME=VALUE" sep:"none" help:"More labels of the alert; repeatable."`
	Number     int64          `placeholder:"N" help:"Number of the incident: it says who begins in a round robin. Default: 1."`
	Ack        []string       `placeholder:"USER@DURATION" help:"Acknowledge so long after the trigger: ana@7m; repeatable."`
	For        model.Duration `default:"2h" help:"How long to watch; the alert fires all the time. Default: 2h."`
	Fail       []string       `placeholder:"NAME" help:"A receiver, user, channel, or slack, that does not answer; NAME=refused: that refuses; repeatable."`
	Against    string         `placeholder:"URL" help:"Address of a running tocsin: its overrides of schedules count."`
	JSON       bool           `name:"json" help:"Print JSON."`
}

// Run prints the timeline that the incident would have. Only a running tocsin knows of overrides.
func (c simulateCmd) Run(ctx context.Context, s streams) error {
	scenario, err := c.scenario()
	if err != nil {
		return &failure{exitUsage, err}
	}
	plan, err := c.load(s)
	if err != nil {
		return err
	}
	scenario.Policy = plan.Policy
	if c.Against != "" {
		r, err := against(ctx, c.Against)
		if err != nil {
			return err
		}
		scenario.Policy = scenario.Policy.WithOverrides(r.overrides, time.Now())
	}
	if err := c.complete(&scenario); err != nil {
		return &failure{exitUsage, err}
	}
	run, err := replay.Simulate(scenario)
	if err != nil {
		return err
	}
	report := replay.NewReport(scenario, run)
	if c.JSON {
		return report.WriteJSON(s.Out)
	}
	return report.WriteText(s.Out)
}

// scenario is what the flags say by themselves.
func (c simulateCmd) scenario() (replay.Scenario, error) {
	out := replay.Scenario{Escalation: c.Escalation, For: time.Duration(c.For), Number: c.Number}
	if c.Number < 0 {
		return out, fmt.Errorf("--number=%d: incidents are counted from 1", c.Number)
	}
	var err error
	if out.At, err = c.instant(time.Now()); err != nil {
		return out, err
	}
	for _, text := range c.Ack {
		user, after, ok := strings.Cut(text, "@")
		d, err := model.ParseDuration(after)
		if !ok || user == "" || err != nil {
			return out, fmt.Errorf("--ack=%s: expected who, and how long after the trigger, such as ana@7m", text)
		}
		out.Acks = append(out.Acks, replay.Ack{User: user, After: time.Duration(d)})
	}
	more, err := parseLabels(c.matcherMode(), c.Label)
	if err != nil {
		return out, err
	}
	b := labels.NewBuilder(more)
	if more.Get(model.AlertNameLabel) == "" {
		b.Set(model.AlertNameLabel, "Simulated")
	}
	if c.Severity != "" && more.Get("severity") == "" {
		b.Set("severity", c.Severity)
	}
	out.Labels = b.Labels()
	return out, nil
}

// instant reads --at.
func (c simulateCmd) instant(now time.Time) (time.Time, error) {
	loc, err := time.LoadLocation(c.TimeZone)
	if err != nil || c.TimeZone == "Local" {
		return now, fmt.Errorf("--time-zone=%s: expected a name such as Europe/Madrid", c.TimeZone)
	}
	if c.At == "" {
		return now.In(loc).Truncate(time.Second), nil
	}
	if at, err := time.Parse(time.RFC3339, c.At); err == nil {
		if c.TimeZone != "" {
			at = at.In(loc)
		}
		return at, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, c.At, loc); err == nil {
			return at, nil
		}
	}
	return now, fmt.Errorf("--at=%s: expected a time such as 2026-01-05T17:30:00Z, or 2026-01-05T17:30 in the zone of --time-zone", c.At)
}

// complete adds what must fit the configuration.
func (c simulateCmd) complete(s *replay.Scenario) error {
	if _, ok := s.Policy.Escalation(c.Escalation); !ok {
		return unknownName("escalation", c.Escalation, slices.Sorted(maps.Keys(s.Policy.Escalations)))
	}
	for _, a := range s.Acks {
		if _, ok := s.Policy.Users[a.User]; !ok {
			return unknownName("user", a.User, slices.Sorted(maps.Keys(s.Policy.Users)))
		}
	}
	ends := replay.FarEnds(s.Policy)
	for _, f := range c.Fail {
		if name, _, _ := strings.Cut(f, "="); !slices.Contains(ends, name) {
			return unknownName("receiver, user or channel", name, ends)
		}
	}
	var err error
	s.Answers, err = replay.Failing(s.Policy, c.Fail)
	return err
}

func unknownName(what, name string, known []string) error {
	hint := problem.DidYouMean(name, known)
	if hint != "" {
		hint = ": " + hint
	}
	return oncall.Errorf(oncall.CodeNotFound, "there is no %s named %q%s", what, name, hint)
}
