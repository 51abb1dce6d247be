package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/config"
	"tocsin/oncall"
)

// configCmd is the commands about a configuration as a whole.
type configCmd struct {
	Show   configShowCmd   `cmd:"" help:"Print the configuration as Alertmanager's API shows it: with defaults, without secrets."`
	Routes configRoutesCmd `cmd:"" help:"Print the routes, or where an alert would go."`
}

// configFlags are those of every command that reads a configuration by itself.
type configFlags struct {
	ConfigFile   string `name:"config.file" default:"tocsin.yml" placeholder:"FILE" help:"Configuration file. Default: tocsin.yml."`
	featureFlags `embed:""`
}

// load reads the configuration. Problems are printed.
func (f configFlags) load(s streams) (*config.Plan, error) {
	if err := f.validateFeatures(); err != nil {
		return nil, &failure{exitUsage, err}
	}
	f.useFeatures(nil)
	plan, warnings, err := loadPlan(f.ConfigFile)
	if err != nil {
		return nil, printed(err, s)
	}
	warnings.Print(s.Err)
	return plan, nil
}

type configShowCmd struct {
	configFlags `embed:""`
}

// Run prints the configuration.
func (c configShowCmd) Run(s streams) error {
	plan, err := c.load(s)
	if err != nil {
		return err
	}
	fmt.Fprint(s.Out, plan.Alertmanager.Original())
	return nil
}

type configRoutesCmd struct {
	Show configRoutesShowCmd `cmd:"" default:"withargs" help:"Print the tree of routes."`
	Test configRoutesTestCmd `cmd:"" help:"Print where an alert with these labels would go, and who would be told."`
}

type configRoutesShowCmd struct {
	configFlags `embed:""`
}

// Run prints the tree.
func (c configRoutesShowCmd) Run(s streams) error {
	root, _, err := c.root(s)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Out, "Routing tree:")
	routeTree(root, func(r *oncall.Route) []*oncall.Route { return r.Routes }, func(r *oncall.Route) string {
		return routeText(r, true)
	}).print(s.Out)
	return nil
}

// root reads the configuration and returns its root route, which it must have.
func (f configFlags) root(s streams) (*oncall.Route, *config.Plan, error) {
	plan, err := f.load(s)
	if err != nil {
		return nil, nil, err
	}
	if plan.Policy.Routing.Root == nil {
		return nil, nil, fmt.Errorf("%s has no route: alerts go to the escalations that their rules name, and to %s", f.ConfigFile, oncall.DefaultEscalation)
	}
	return plan.Policy.Routing.Root, plan, nil
}

type configRoutesTestCmd struct {
	configFlags `embed:""`
	Verify      string    `name:"verify.receivers" placeholder:"NAMES" help:"Fail unless the receivers are these, separated by commas."`
	Tree        bool      `help:"Print the routes that match, as a tree."`
	At          time.Time `placeholder:"TIME" help:"Show who would be told at this time (RFC 3339). Default: now."`
	Labels      []string  `arg:"" optional:"" placeholder:"name=value" help:"Labels of the alert."`
}

// Run prints the receivers as amtool does, and then what follows from them.
func (c configRoutesTestCmd) Run(s streams) error {
	root, plan, err := c.root(s)
	if err != nil {
		return err
	}
	alert, err := parseLabels(c.matcherMode(), c.Labels)
	if err != nil {
		return &failure{exitUsage, err}
	}
	routes := root.Match(alert)
	if c.Tree {
		fmt.Fprintln(s.Out, "Matching routes:")
		matchingTree(root, alert).print(s.Out)
		fmt.Fprintln(s.Out)
	}
	var receivers []string
	for _, r := range routes {
		receivers = append(receivers, r.Receiver)
	}
	found := strings.Join(receivers, ",")
	fmt.Fprintln(s.Out, found)
	at := c.At
	if at.IsZero() {
		at = time.Now()
	}
	andThen(s.Out, plan.Policy, routes, at)
	if c.Verify != "" && c.Verify != found {
		fmt.Fprintln(s.Out, "WARNING: Expected receivers did not match resolved receivers.")
		return &failure{exitFailed, nil}
	}
	return nil
}

// parseLabels reads name=value pairs, with the parser of matchers: values may be quoted.
func parseLabels(mode oncall.MatcherMode, pairs []string) (labels.Labels, error) {
	b := labels.NewScratchBuilder(len(pairs))
	seen := map[string]bool{}
	for _, p := range pairs {
		m, err := oncall.ParseMatcher(p, mode)
		if err != nil {
			return labels.EmptyLabels(), fmt.Errorf("%q is no label: %w", p, err)
		}
		if m.Type.String() != "=" {
			return labels.EmptyLabels(), fmt.Errorf("%q is no label: expected name=value", p)
		}
		if seen[m.Name] {
			return labels.EmptyLabels(), fmt.Errorf("the label %s is given twice", m.Name)
		}
		seen[m.Name] = true
		b.Add(m.Name, m.Value)
	}
	b.Sort()
	return b.Labels(), nil
}

// andThen prints what comes after the receivers: when a group is told, and which people.
func andThen(w io.Writer, p oncall.Policy, routes []*oncall.Route, at time.Time) {
	fmt.Fprintln(w, "\nand then:")
	told := false
	for _, route := range routes {
		r := p.Receivers[route.Receiver]
		var muted string
		if names := mutedBy(p, route, at); len(names) > 0 {
			muted = ", but not at " + at.Format(time.RFC3339) + " (" + strings.Join(names, ", ") + ")"
		}
		if len(r.Integrations) > 0 {
			told = true
			var lists []string
			for _, i := range r.Integrations {
				lists = append(lists, string(i.Endpoint))
			}
			fmt.Fprintf(w, "  receiver %s: %s, %s after the first alert of a group, changes every %s, repeated after %s%s\n", r.Name, strings.Join(lists, ", "),
				model.Duration(route.GroupWait), model.Duration(route.GroupInterval), model.Duration(route.RepeatInterval), muted)
		}
		if r.Escalation != "" {
			told = true
			fmt.Fprintf(w, "  receiver %s: an incident of the escalation %s, at once%s\n", r.Name, r.Escalation, muted)
			tiers(w, p, p.Escalations[r.Escalation], at)
		}
	}
	if !told {
		fmt.Fprintln(w, "  nobody is told, unless the alert's rule names an escalation")
	}
}

// tiers prints an escalation's tiers, and the people behind them.
func tiers(w io.Writer, p oncall.Policy, e oncall.Escalation, at time.Time) {
	for _, t := range e.Tiers {
		for _, target := range t.Targets {
			fmt.Fprintf(w, "    after %s: %s%s\n", model.Duration(t.After), target, behind(p, target, at))
		}
	}
}

// behind says who is reached through a target, and how.
func behind(p oncall.Policy, t oncall.Target, at time.Time) string {
	switch t.Kind {
	case oncall.TargetUser:
		var ways []string
		for _, c := range p.Users[t.Name].Contacts {
			way := "Slack " + c.Slack
			if c.Receiver != "" {
				way = "receiver " + c.Receiver
			}
			if c.After > 0 {
				way += " after " + model.Duration(c.After).String()
			}
			ways = append(ways, way)
		}
		return " (" + strings.Join(ways, ", then ") + ")"
	case oncall.TargetReceiver:
		var ends []string
		for _, e := range p.Receivers[t.Name].Endpoints {
			ends = append(ends, string(e))
		}
		for _, i := range p.Receivers[t.Name].Integrations {
			ends = append(ends, string(i.Endpoint))
		}
		return " (" + strings.Join(ends, ", ") + ")"
	case oncall.TargetSchedule:
		users, why := p.OnCall(t.Name, at)
		if len(users) == 0 {
			return " (nobody is on call then: " + why + ")"
		}
		var reached []string
		for _, u := range users {
			reached = append(reached, u+behind(p, oncall.Target{Kind: oncall.TargetUser, Name: u}, at))
		}
		return " (" + strings.Join(reached, ", ") + "; " + why + ")"
	}
	return ""
}

// mutedBy says which intervals keep a route quiet at an instant.
func mutedBy(p oncall.Policy, r *oncall.Route, at time.Time) []string {
	within := func(name string) bool {
		for _, i := range p.Routing.TimeIntervals[name] {
			if i.ContainsTime(at.UTC()) {
				return true
			}
		}
		return false
	}
	var names []string
	for _, name := range r.MuteTimeIntervals {
		if within(name) {
			names = append(names, "muted by "+name)
		}
	}
	if len(r.ActiveTimeIntervals) > 0 && !slices.ContainsFunc(r.ActiveTimeIntervals, within) {
		names = append(names, "active only in "+strings.Join(r.ActiveTimeIntervals, ", "))
	}
	return names
}
