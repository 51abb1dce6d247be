package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/config"
	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/notifier/slack"
	"tocsin/oncall"
)

// slackTimeout bounds one request to Slack.
const slackTimeout = 10 * time.Second

// slackClients makes what a workspace's adapter speaks with: by the proxy of the environment, and to no private address
// that nobody allowed.
func slackClients(plan *config.Plan) func(slack.Config) (*http.Client, slack.Dialer) {
	settings := outgoing.DefaultSettings().HTTP
	settings.ProxyFromEnvironment = true
	return func(cfg slack.Config) (*http.Client, slack.Dialer) {
		o := outgoing.Options{Policy: plan.Outgoing, Timeout: slackTimeout}
		if u, err := url.Parse(cfg.APIURL); err == nil {
			o.URLs = []*url.URL{u}
		}
		client, err := outgoing.Client("slack", settings, o)
		if err != nil {
			panic(err) // the settings are ours: no input can cause it
		}
		return client, outgoing.Dial(settings, o)
	}
}

// findings is what is wrong with our own ways of telling people.
func (d *daemon) findings() []notifier.Finding {
	if g := d.live.Load(); g != nil && g.slack != nil {
		return g.slack.Findings()
	}
	return nil
}

// slackMended is told that a finding is none any more: where it was about a workspace, what incidents owe it can go there.
func (d *daemon) slackMended(ls labels.Labels) {
	if ls.Get(labels.AlertName) != slack.UnusableAlert {
		return
	}
	name := ls.Get("workspace")
	if g := d.live.Load(); g != nil && g.slack != nil && g.slack.First() == name {
		name = "" // addresses do not name the first one
	}
	d.incidents.Mended(oncall.Mended{Workspace: name})
}

// probeSlack tests the tokens of the workspaces in force until ctx ends.
func (d *daemon) probeSlack(ctx context.Context) {
	tick := time.NewTicker(time.Second) // a reload is seen so soon
	defer tick.Stop()
	var probed *slack.Workspaces
	stop := func() {}
	defer func() { stop() }()
	for {
		if g := d.live.Load(); g != nil && g.slack != probed {
			stop()
			probed, stop = g.slack, func() {}
			if probed != nil {
				probing, cancel := context.WithCancel(ctx)
				done := make(chan struct{})
				go func() { defer close(done); probed.Probe(probing) }()
				stop = func() { cancel(); <-done }
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
