package config

import (
	"maps"
	"slices"

	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/prometheus"
	"tocsin/evaluator/remotewrite"
	"tocsin/oncall"
	"tocsin/problem"
)

// farEnds decodes the sections about what the evaluator asks and where it writes.
func (l *loading) farEnds(b *block) {
	l.plan.Backends = map[string]prometheus.Config{}
	if b.Prometheus == nil && (b.Route != nil || b.Heartbeats != nil) && len(b.RuleFiles) == 0 {
		// Somebody else evaluates, and posts the alerts; or only heartbeats are watched.
	} else if b.Prometheus == nil {
		l.add(l.doc.At(nil).Errorf("the section prometheus is missing").WithHint("such as prometheus: {url: http://127.0.0.1:9090}"))
	} else {
		backends, p := prometheus.DecodeConfigs(l.doc, b.Prometheus)
		l.problems = append(l.problems, p...)
		for i, c := range backends {
			if i == 0 {
				l.plan.Prometheus = c
			}
			if c.Name != "" {
				l.plan.Backends[c.Name] = c
			}
		}
	}
	if b.RemoteWrite != nil {
		c, p := remotewrite.DecodeConfig(l.doc, b.RemoteWrite)
		l.plan.RemoteWrite, l.problems = &c, append(l.problems, p...)
	}
	if b.Alertmanagers != nil {
		c, p := alertmanagers.DecodeConfigs(l.doc, b.Alertmanagers)
		l.plan.Alertmanagers, l.problems = c, append(l.problems, p...)
	}
}

// checkBackend looks at the backend that a rule group names.
func (l *loading) checkBackend(ref oncall.Ref) {
	if _, ok := l.plan.Backends[ref.Name]; ok || ref.Name == "" {
		return
	}
	p := ref.At.Errorf("unknown backend %q", ref.Name)
	if names := slices.Sorted(maps.Keys(l.plan.Backends)); len(names) == 1 && names[0] == prometheus.DefaultName {
		p = p.WithHint("name it in the configuration: prometheus: [{name: %s, url: …}]", ref.Name)
	} else {
		p = p.WithHint("%s", problem.DidYouMean(ref.Name, names))
	}
	l.add(p)
}

// checkRecord looks at a recording rule: what it computes must be written where its readers ask.
func (l *loading) checkRecord(ref oncall.Ref) {
	if l.plan.RemoteWrite == nil {
		l.add(ref.At.Errorf("a recording rule needs remote_write: there is nowhere to write %s to", ref.Name).
			WithHint("add remote_write: {url: …/api/v1/write} to the configuration, or leave the rule to Prometheus"))
	}
}
