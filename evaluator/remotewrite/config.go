// Package remotewrite writes the evaluator's series (recording rules, ALERTS, ALERTS_FOR_STATE) to a server
// that speaks Prometheus' remote write, and keeps them in a durable, bounded queue while that server is away.
// It does not know what is evaluated when (package evaluator), nor how the queue is stored (package store).
//
// Start reading at Writer and Writer.Write, then Writer.Run (drain.go), which empties the queue.
package remotewrite

import (
	"time"

	"go.yaml.in/yaml/v3"

	"tocsin/evaluator/httpconf"
	"tocsin/problem"
)

// DefaultTimeout bounds one write where the configuration sets nothing.
const DefaultTimeout = 30 * time.Second

// Config is the remote_write section.
type Config struct {
	httpconf.Config // URL is the whole address, a query (?…) included
}

type block struct {
	httpconf.Block `yaml:",inline"`
}

// ExplainKey knows the keys that people bring from prometheus.yml.
func (b *block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "remote_timeout":
		return `unknown key "remote_timeout"`, "it is called timeout here"
	case "write_relabel_configs", "queue_config", "metadata_config", "sigv4", "azuread", "google_iam", "protobuf_message", "send_exemplars", "send_native_histograms":
		return `unknown key "` + key + `"`, "tocsin writes what its rules say as it is: remove it"
	}
	return b.Block.ExplainKey(key)
}

// DecodeConfig decodes the remote_write section. The Config is usable only where there are no errors.
func DecodeConfig(d *problem.Document, n *yaml.Node) (Config, problem.List) {
	if n.Kind == yaml.SequenceNode {
		return Config{}, problem.List{d.At(n).Errorf("remote_write is one far end here, not a list").WithHint("such as remote_write: {url: http://127.0.0.1:9090/api/v1/write}")}
	}
	b := block{httpconf.NewBlock()}
	problems := d.Decode(n, &b)
	c, l := b.Config(d, n, httpconf.Need{Section: "remote_write", Example: "http://127.0.0.1:9090/api/v1/write", Timeout: DefaultTimeout}, len(problems.Errors()) == 0)
	return Config{c}, append(problems, l...)
}
