// Package alertmanagers sends the evaluator's alerts to Alertmanagers, beside tocsin's own incidents: for a
// team that moves over step by step. It decides nothing: what fires is the evaluator's to say.
//
// Start reading at Forwarder, then end.run (end.go), the loop of one Alertmanager.
package alertmanagers

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tocsin/evaluator/httpconf"
	"tocsin/problem"
)

// DefaultTimeout bounds one request where the configuration sets nothing.
const DefaultTimeout = 10 * time.Second

// Config is one Alertmanager of the alertmanagers section.
type Config struct {
	httpconf.Config // URL is the base, without a trailing slash: /api/v2/alerts is appended
}

type block struct {
	httpconf.Block `yaml:",inline"`
}

// ExplainKey knows the keys that people bring from prometheus.yml.
func (b *block) ExplainKey(key string) (message, hint string) {
	switch {
	case key == "static_configs" || strings.HasSuffix(key, "_sd_configs"):
		return `unknown key "` + key + `"`, "list each Alertmanager with its url"
	case key == "scheme", key == "path_prefix":
		return `unknown key "` + key + `"`, "it is part of the url here"
	case key == "api_version":
		return `unknown key "api_version"`, "it is always v2: remove it"
	case key == "alert_relabel_configs", key == "relabel_configs":
		return `unknown key "` + key + `"`, "alerts are sent as they are: set labels in the rules or in external_labels"
	}
	return b.Block.ExplainKey(key)
}

// DecodeConfigs decodes the alertmanagers section, a list. The result is usable only where there are no
// errors.
func DecodeConfigs(d *problem.Document, n *yaml.Node) ([]Config, problem.List) {
	var nodes []*yaml.Node
	problems := d.Decode(n, &nodes)
	configs := make([]Config, 0, len(nodes))
	first := map[string]int{}
	for _, n := range nodes {
		b := block{httpconf.NewBlock()}
		l := d.Decode(n, &b)
		c, more := b.Config(d, n, httpconf.Need{Section: "an Alertmanager", Example: "http://127.0.0.1:9093", Base: true, Timeout: DefaultTimeout}, len(l.Errors()) == 0)
		problems = append(append(problems, l...), more...)
		if c.URL == nil {
			continue
		}
		if strings.HasSuffix(c.URL.Path, "/api/v2/alerts") || strings.HasSuffix(c.URL.Path, "/api/v2") {
			problems = append(problems, b.URL.Place.Errorf("the URL must end before /api/v2: it is appended"))
		}
		if line, ok := first[c.URL.String()]; ok {
			problems = append(problems, b.URL.Place.Errorf("this Alertmanager is given twice: it would get every alert twice").WithHint("the first one is on line %d", line))
		} else {
			first[c.URL.String()] = b.URL.Place.Line
		}
		configs = append(configs, Config{c})
	}
	return configs, problems
}
