package alertmanager

import (
	"slices"

	"github.com/prometheus/alertmanager/config"
)

// Original is the file as Alertmanager would show it: complete with defaults, secrets as <secret>, without
// what is only tocsin's, and with a route even where the file has none, so that Alertmanager's own parser
// reads it. c may be nil.
func (c *Config) Original() string {
	if c == nil {
		global := config.DefaultGlobalConfig()
		return config.Config{Global: &global, Route: &config.Route{Receiver: Nobody},
			Receivers: []config.Receiver{{Name: Nobody}}, Templates: []string{}}.String()
	}
	shown := *c.config
	shown.Receivers = slices.Clone(shown.Receivers)
	if !c.routed {
		shown.Receivers = append(shown.Receivers, config.Receiver{Name: shown.Route.Receiver})
	}
	if g := *shown.Global; g.SlackAppToken != "" || g.SlackAppTokenFile != "" {
		g.SlackAPIURL = nil // it equals the app's URL then, and could not be compared when it is masked
		shown.Global = &g
	}
	for i, r := range shown.Receivers {
		if len(r.SlackConfigs) > 0 {
			shown.Receivers[i].SlackConfigs = slackOriginals(r.SlackConfigs)
		}
	}
	return shown.String()
}

// slackOriginals are Slack's integrations without what Alertmanager's parser makes of an app token: it refuses
// its own making.
func slackOriginals(configs []*config.SlackConfig) []*config.SlackConfig {
	out := make([]*config.SlackConfig, len(configs))
	for i, c := range configs {
		out[i] = c
		if c.AppToken == "" && c.AppTokenFile == "" {
			continue
		}
		one, http := *c, *c.HTTPConfig
		http.Authorization = nil
		one.APIURL, one.HTTPConfig = nil, &http
		out[i] = &one
	}
	return out
}
