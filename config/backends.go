package config

import (
	"maps"
	"slices"

	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/prometheus"
	"tocsin/evaluator/remotewrite"
	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/rules"
)

// pending is what rule files and sections may hold that is decoded, but not carried out by this build yet, and
// what would be lost if it were passed over.
var pending = map[string]string{
	"headers": "the group would ask without them",
}

// isPending reports what this build does not do yet, at the place where somebody asks for it.
func (l *loading) isPending(what string, at problem.Place) bool {
	hint, ok := pending[what]
	if ok {
		l.add(at.Errorf("%q is not supported by this build yet", what).WithHint("%s", hint))
	}
	return ok
}

// farEnds decodes the sections about what the evaluator asks and where it writes.
func (l *loading) farEnds(b *block) {
	l.plan.Backends = map[string]prometheus.Config{}
	if b.Prometheus == nil {
		l.add(l.doc.At(nil).Errorf("the section prometheus is missing").WithHint("such as prometheus: {url: http://127.0.0.1:9090}"))
	} else {
		backends, p := prometheus.DecodeConfigs(l.doc, b.Prometheus)
		l.problems = append(l.problems, p...)
		for i, c := range backends {
			if i == 0 {
				l.plan.Prometheus = c
			}
			l.plan.Backends[c.Name] = c
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

// checkPending refuses what the rules ask for too early.
func (l *loading) checkPending(set rules.Set) {
	for _, g := range set.Groups {
		for _, r := range g.Rules {
			at := problem.Place{File: g.File, Line: r.Line, Column: 1}
			if len(g.Headers) > 0 {
				l.isPending("headers", at)
			}
		}
	}
}
