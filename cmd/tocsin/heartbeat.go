package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"tocsin/oncall"
)

// beatsCmd is the commands about dead man's switches.
type beatsCmd struct {
	List heartbeatListCmd `cmd:"" help:"List the heartbeats: which were heard when, and which are missing."`
	Beat heartbeatBeatCmd `cmd:"" help:"Send a beat: for jobs without an HTTP client, and to try one."`
}

type heartbeatListCmd struct {
	clientFlags
	Missing bool `help:"Fail (exit code 1) where one is missing."`
}

// Run prints the heartbeats.
func (l heartbeatListCmd) Run(ctx context.Context, s streams) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	var list []oncall.HeartbeatView
	answer, err := c.do(ctx, http.MethodGet, "heartbeats", nil, nil, &list)
	if err != nil {
		return err
	}
	if l.Output == "json" {
		err = printJSON(s.Out, answer)
	} else {
		err = printHeartbeats(s, list)
	}
	if err != nil || !l.Missing {
		return err
	}
	for _, h := range list {
		if h.State == "missed" {
			return &failure{code: exitFailed}
		}
	}
	return nil
}

func printHeartbeats(s streams, list []oncall.HeartbeatView) error {
	if len(list) == 0 {
		fmt.Fprintln(s.Out, "No heartbeats are configured.")
		return nil
	}
	w := tabwriter.NewWriter(s.Out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tEVERY\tGRACE\tLAST BEAT\tMISSING SINCE, OR FROM\tESCALATION")
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.DateTime)
	}
	for _, h := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.State, h.Every, h.Grace, at(h.LastAt), at(h.MissedAt), h.Escalation)
	}
	return w.Flush()
}

type heartbeatBeatCmd struct {
	clientFlags
	Name      string `arg:"" help:"The heartbeat."`
	TokenFile string `name:"token-file" type:"path" placeholder:"FILE" help:"Where the heartbeat's token stands, if it wants one. TOCSIN_HEARTBEAT_TOKEN may hold it instead."`
}

// Run beats, and says nothing where it was heard: it may run from cron.
func (b heartbeatBeatCmd) Run(ctx context.Context, s streams) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	token := os.Getenv("TOCSIN_HEARTBEAT_TOKEN")
	if b.TokenFile != "" {
		text, err := os.ReadFile(b.TokenFile)
		if err != nil {
			return &failure{exitUsage, fmt.Errorf("--token-file: %w", err)}
		}
		token = string(text)
	}
	token = strings.TrimSpace(token)
	if token != "" && c.auth {
		return &failure{exitUsage, fmt.Errorf("a token and a password cannot be sent both: beat at the address of --web.callback-address, which wants no user")}
	}
	c.bearer = token
	if _, err := c.ask(ctx, http.MethodPost, "hooks/heartbeat/"+url.PathEscape(b.Name), nil, nil, nil); err != nil {
		return err
	}
	if b.Output == "json" {
		fmt.Fprintln(s.Out, `{"heard": true}`)
	}
	return nil
}
