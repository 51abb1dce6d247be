package main

import (
	"net/http"
	"net/url"
	"time"

	"tocsin/config"
	"tocsin/notifier/outgoing"
	"tocsin/notifier/slack"
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
