package alertmanager

import "github.com/prometheus/alertmanager/config"

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
	if !c.routed {
		shown.Receivers = append(shown.Receivers[:len(shown.Receivers):len(shown.Receivers)], config.Receiver{Name: shown.Route.Receiver})
	}
	return shown.String()
}
