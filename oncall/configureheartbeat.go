package oncall

import (
	"crypto/sha256"
	"regexp"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

type heartbeatBlock struct {
	Name       problem.At[string]                        `yaml:"name"`
	Every      problem.At[time.Duration]                 `yaml:"every"`
	Grace      problem.At[time.Duration]                 `yaml:"grace"`
	Escalation problem.At[string]                        `yaml:"escalation"`
	Labels     map[problem.At[string]]problem.At[string] `yaml:"labels"`
	TokenFile  problem.At[string]                        `yaml:"token_file"`
	TokenEnv   problem.At[string]                        `yaml:"token_env"`
}

// ExplainKey refuses secrets in the file, and knows what other systems call the same things.
func (heartbeatBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "token":
		return problem.LiteralSecret(key)
	case "interval", "period", "timeout":
		return `unknown key "` + key + `"`, "every says how often it beats, grace how late a beat may be"
	case "severity":
		return `unknown key "severity"`, "it is a label: labels: {severity: critical}"
	case "cron", "schedule":
		return `unknown key "` + key + `"`, "every takes the longest time from one beat to the next, such as 24h"
	}
	return "", ""
}

// heartbeatName is what needs no escaping in the path of a URL.
var heartbeatName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// DecodeHeartbeats decodes the heartbeats section: each at the place of its name, in order of the file. The refs are
// to escalations.
func DecodeHeartbeats(d *problem.Document, n *yaml.Node) (heartbeats []problem.At[Heartbeat], refs []Ref, problems problem.List) {
	var nodes []*yaml.Node
	problems = d.Decode(n, &nodes)
	for _, node := range nodes {
		h, ref, l := decodeHeartbeat(d, node)
		heartbeats, problems = append(heartbeats, h), append(problems, l...)
		if ref.Name != "" {
			refs = append(refs, ref)
		}
	}
	return heartbeats, refs, append(problems, Unique("heartbeat", heartbeats, func(h Heartbeat) string { return h.Name })...)
}

func decodeHeartbeat(d *problem.Document, node *yaml.Node) (problem.At[Heartbeat], Ref, problem.List) {
	var b heartbeatBlock
	problems := d.Decode(node, &b)
	sound := len(problems.Errors()) == 0
	problems = append(problems, checkName(d.At(node), b.Name, "heartbeat")...)
	h := Heartbeat{Name: b.Name.Value, Every: b.Every.Value, Grace: DefaultGrace, Escalation: b.Escalation.Value}
	if h.Name != "" && !heartbeatName.MatchString(h.Name) {
		problems = append(problems, b.Name.Place.Errorf("%q is no name for a heartbeat: it is part of a URL", h.Name).
			WithHint("letters, digits, dots, dashes and underscores, 100 at most"))
	}
	switch {
	case !b.Every.IsSet():
		problems = append(problems, d.At(node).Errorf("the heartbeat %q has no every", h.Name).WithHint("how often it beats, such as every: 24h"))
	case b.Every.IsValid() && h.Every < time.Second:
		problems = append(problems, b.Every.Place.Errorf("every must be at least 1s"))
	}
	if b.Grace.IsSet() {
		if h.Grace = b.Grace.Value; h.Grace < 0 {
			problems = append(problems, b.Grace.Place.Errorf("grace must not be below 0"))
		}
	}
	if !b.Escalation.IsSet() || b.Escalation.Value == "" {
		problems = append(problems, d.At(node).Errorf("the heartbeat %q names no escalation: a missing beat would page nobody", h.Name).
			WithHint("add escalation: …"))
	}
	ls, l := b.labels()
	h.Labels, problems = ls, append(problems, l...)
	if sound && (b.TokenFile.IsSet() || b.TokenEnv.IsSet()) {
		token, l := d.Secret(d.At(node), "token", b.TokenFile, b.TokenEnv)
		sum := sha256.Sum256([]byte(token))
		h.Token, problems = sum[:], append(problems, l...)
	}
	return problem.At[Heartbeat]{Value: h, Place: b.Name.Place}, Ref{Kind: RefEscalation, Name: h.Escalation, At: b.Escalation.Place}, problems
}

func (b heartbeatBlock) labels() (labels.Labels, problem.List) {
	var problems problem.List
	ls := map[string]string{}
	for name, value := range b.Labels {
		switch {
		case name.Value == model.AlertNameLabel || name.Value == HeartbeatLabel:
			problems = append(problems, name.Place.Errorf("the label %q is given by tocsin", name.Value).WithHint("remove it, or choose another name"))
		case !model.UTF8Validation.IsValidLabelName(name.Value) || name.Value == model.MetricNameLabel:
			problems = append(problems, name.Place.Errorf("invalid label name %q", name.Value))
		}
		if value.Value != "" {
			ls[name.Value] = value.Value
		}
	}
	return labels.FromMap(ls), problems
}
