package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"tocsin/config"
	"tocsin/notifier/slack"
	"tocsin/oncall"
)

// slackCmd is about Slack's side of tocsin.
type slackCmd struct {
	Check    slackCheckCmd    `cmd:"" help:"Ask Slack whether everything is there: tokens, scopes, channels, people. Says what to click or type where it is not."`
	Manifest slackManifestCmd `cmd:"" help:"Print the manifest of a Slack app with exactly the scopes in use."`
}

type slackCheckCmd struct {
	ConfigFile string        `name:"config.file" default:"tocsin.yml" placeholder:"FILE" help:"Configuration whose slack section, channels and users are looked at."`
	Timeout    time.Duration `default:"2m" help:"How long all of it may take."`
}

// Run asks Slack and prints what it found, one line each. It changes nothing in Slack.
func (c slackCheckCmd) Run(ctx context.Context, s streams) error {
	plan, _, err := loadPlan(c.ConfigFile)
	if err != nil {
		return printed(err, s)
	}
	if plan.Slack == nil {
		return &failure{exitUsage, fmt.Errorf("%s has no section slack", c.ConfigFile)}
	}
	w := slack.NewWorkspaces(plan.Workspaces, slack.Options{Policy: func() oncall.Policy { return plan.Policy }, Logger: slog.New(slog.DiscardHandler)}, slackClients(plan))
	defer w.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if missing := printChecks(s.Out, w.Check(ctx, digestChannels(plan)...)); missing > 0 {
		fmt.Fprintf(s.Out, "%s.\n", plural(missing, "problem"))
		return &failure{exitFailed, nil}
	}
	fmt.Fprintln(s.Out, "Slack has everything that tocsin needs.")
	return nil
}

// digestChannels are where digests are posted.
func digestChannels(plan *config.Plan) (channels []string) {
	for _, j := range plan.Jobs {
		if j.Digest != nil {
			channels = append(channels, j.Digest.Slack)
		}
	}
	return channels
}

// printChecks prints what was found and counts what is missing.
func printChecks(w io.Writer, found []slack.Checked) (missing int) {
	for _, f := range found {
		if f.OK {
			fmt.Fprintf(w, "ok    %s: %s\n", f.What, f.Text)
			continue
		}
		missing++
		fmt.Fprintf(w, "FAIL  %s: %s\n      → %s\n", f.What, f.Text, f.Fix)
	}
	return missing
}

type slackManifestCmd struct {
	Socket  bool   `help:"For Socket Mode, which needs no address that Slack can reach."`
	URL     string `name:"url" placeholder:"URL" help:"Address under which Slack reaches tocsin, such as https://tocsin.example."`
	Command string `default:"/tocsin" help:"The slash command."`
}

// Run prints a manifest.
func (c slackManifestCmd) Run(s streams) error {
	usage := func(err error) error { return &failure{exitUsage, err} }
	if c.Socket == (c.URL != "") {
		return usage(errors.New("expected either --socket or --url=https://…, the address under which Slack reaches tocsin"))
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return usage(fmt.Errorf("--url: expected an address such as https://tocsin.example (Slack takes https only), found %q", c.URL))
		}
	}
	if !slack.ValidCommand(c.Command) {
		return usage(fmt.Errorf("--command: expected a slash command such as /tocsin, found %q", c.Command))
	}
	_, err := io.WriteString(s.Out, slack.Manifest(strings.TrimRight(c.URL, "/"), c.Command))
	return err
}
