package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"tocsin/config"
	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/rules"
)

type checkCmd struct {
	Files      []string `arg:"" optional:"" name:"rulefile" help:"Rule files, each by itself."`
	ConfigFile string   `name:"config.file" placeholder:"FILE" help:"Configuration to check, with everything that it names. Default without rule files: tocsin.yml."`
	Strict     bool     `help:"Warnings fail too."`
	Against    string   `placeholder:"URL" help:"Address of a running tocsin: count its overrides in, and warn of those that this configuration would make pointless, and of schedules that it would rewrite."`
	Web        webFlags `embed:""`

	featureFlags `embed:""`
}

// Run checks files and prints what is wrong with them, each problem with its place.
func (c checkCmd) Run(ctx context.Context, s streams) error {
	if err := c.Web.validate(); err != nil {
		return &failure{exitUsage, err}
	}
	if err := c.validateFeatures(); err != nil {
		return &failure{exitUsage, err}
	}
	c.useFeatures(nil)
	if len(c.Files) == 0 && c.ConfigFile == "" {
		c.ConfigFile = "tocsin.yml"
	}
	ok := true
	if c.ConfigFile != "" {
		good, err := c.checkConfig(ctx, s)
		if err != nil {
			return err
		}
		ok = good
	}
	for _, file := range c.Files {
		if err := readable(file); err != nil {
			return &failure{exitUsage, fmt.Errorf("the rule file cannot be read: %w", err)}
		}
		set, problems := rules.Check(file)
		if !c.passed(problems, s.Err) {
			ok = false
			continue
		}
		fmt.Fprintf(s.Out, "%s: %s\n", file, ruleSummary(set))
	}
	if !ok {
		return &failure{exitFailed, nil}
	}
	return nil
}

// readable says why a file cannot be read at all, a folder included. What it holds is not looked at.
func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// checkConfig checks a configuration, and the listener's file against it.
func (c checkCmd) checkConfig(ctx context.Context, s streams) (bool, error) {
	plan, problems, err := loadPlan(c.ConfigFile)
	if i, ok := errors.AsType[*invalid](err); ok {
		problems = i.problems
	} else if err != nil {
		return false, err
	}
	at := ""
	if c.Against != "" && plan != nil {
		r, err := against(ctx, c.Against)
		if err != nil {
			return false, err
		}
		plan.Policy, at = plan.Policy.WithOverrides(r.overrides, time.Now()), " --against "+r.base.Redacted()
		more, err := r.edited(ctx, plan)
		if err != nil {
			return false, err
		}
		problems = append(problems, more...)
	}
	if !c.passed(problems, s.Err) {
		return false, nil
	}
	listener, err := readListener(c.Web.ConfigFile)
	if err != nil {
		return false, err
	}
	if err := c.Web.checkCallbacks(listener, plan); err != nil {
		return false, err
	}
	if broken := brokenPromises(plan, time.Now(), at); !c.passed(broken, s.Err) {
		return false, nil
	}
	fmt.Fprintf(s.Out, "%s: %s\n", c.ConfigFile, planSummary(plan))
	return true, nil
}

// passed prints the problems and tells whether they let a file pass.
func (c checkCmd) passed(problems problem.List, w io.Writer) bool {
	problems.Print(w)
	return len(problems.Errors()) == 0 && (!c.Strict || len(problems.Warnings()) == 0)
}

func planSummary(p *config.Plan) string {
	parts := []string{ruleSummary(p.Rules),
		plural(len(p.Policy.Escalations), "escalation"), plural(len(p.Policy.Users), "user"), plural(len(p.Policy.Receivers), "receiver")}
	if n := len(p.Policy.Schedules); n > 0 {
		parts = append(parts, plural(n, "schedule"))
	}
	if root := p.Policy.Routing.Root; root != nil {
		routes := 0
		root.Walk(func(*oncall.Route) { routes++ })
		parts = append(parts, plural(routes, "route"), plural(len(p.Policy.Routing.InhibitRules), "inhibition rule"), plural(len(p.Alertmanager.TemplateFiles()), "template file"))
	}
	return "fine. " + strings.Join(parts, ", ") + "."
}

func ruleSummary(set rules.Set) string {
	n := 0
	for _, g := range set.Groups {
		n += len(g.Rules)
	}
	return fmt.Sprintf("%s in %s", plural(n, "rule"), plural(len(set.Groups), "group"))
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
