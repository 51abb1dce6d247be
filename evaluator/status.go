package evaluator

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/oncall"
	"tocsin/rules"
)

// groupTime is when a group was evaluated last, and how long that took.
type groupTime struct {
	began time.Time
	took  time.Duration
}

// Groups returns what is known of the groups of the plan that is evaluated, in its order. It is cheap, and
// does not wait for evaluations under way.
func (e *Evaluator) Groups() []GroupStatus {
	plan, states, times := e.snapshot()
	if plan == nil {
		return nil
	}
	out := make([]GroupStatus, len(plan.Groups))
	for i := range plan.Groups {
		g := &plan.Groups[i]
		t := times[groupKey(g)]
		out[i] = GroupStatus{Name: g.Name, File: g.File, Interval: plan.interval(g), Limit: g.Limit,
			LastEvaluation: t.began, EvaluationTime: t.took, Rules: make([]RuleStatus, len(g.Rules))}
		for j := range g.Rules {
			r := &g.Rules[j]
			status := RuleStatus{ID: r.ID, Type: Alerting, Name: r.Name(), Query: r.Expr.String(), For: r.For, KeepFiringFor: r.KeepFiringFor,
				Labels: r.Labels, Annotations: r.Annotations, Health: HealthUnknown, State: oncall.StateInactive}
			if r.Record != "" {
				status.Type, status.State, status.Annotations = Recording, "", nil
			}
			if s := states[r.ID]; s != nil {
				s.describe(plan, r, &status)
			}
			out[i].Rules[j] = status
		}
	}
	return out
}

// snapshot returns the plan, and what holds the state of its rules.
func (e *Evaluator) snapshot() (*Plan, map[oncall.RuleID]*ruleState, map[string]groupTime) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.plan, maps.Clone(e.states), maps.Clone(e.times)
}

// describe fills in what changes from one evaluation to the next.
func (s *ruleState) describe(plan *Plan, r *rules.Rule, status *RuleStatus) {
	s.mu.Lock()
	set, health, writeError := s.alerts, s.health, s.writeError
	status.LastEvaluation, status.EvaluationTime = s.evaluatedAt, s.took
	s.mu.Unlock()
	alerts := set.full()
	switch {
	case !health.FailingSince.IsZero():
		status.Health, status.LastError = HealthErr, health.LastError
	case writeError != "":
		status.Health, status.LastError = HealthErr, writeError
	case !status.LastEvaluation.IsZero():
		status.Health = HealthOK
	}
	if len(alerts) > 0 {
		status.Alerts = make([]AlertStatus, len(alerts))
	}
	for i := range alerts {
		a := &alerts[i]
		status.Alerts[i] = AlertStatus{Labels: a.Labels, Annotations: plan.refreshed(r, a), State: a.State, ActiveAt: a.ActiveAt,
			FiredAt: a.FiredAt, KeepFiringSince: a.KeepFiringSince, UnknownSince: a.UnknownSince, Value: a.Latest}
		if a.State == oncall.StateFiring || status.State == oncall.StateInactive {
			status.State = a.State
		}
	}
}

// refreshed returns an alert's annotations with the value that was seen last, and as the rule has them now, as
// Prometheus shows them, at the cost of whoever asks. What incidents were told is the value at the transition. A
// text that asks a query or wants the time is left as it was.
func (p *Plan) refreshed(r *rules.Rule, a *oncall.Alert) map[string]string {
	edited := a.Evidence.RuleHash != r.Hash
	if a.Latest == a.Value && a.Histogram == nil && !edited || p.templates == nil {
		return a.Annotations
	}
	moves := func(text string) bool { return strings.Contains(text, "{{") && !p.templates.of(text).stable }
	if !edited && !slices.ContainsFunc(slices.Collect(maps.Values(r.Annotations)), moves) {
		return a.Annotations
	}
	out := make(map[string]string, len(r.Annotations)+1)
	if was, ok := a.Annotations[noDataAnnotation]; ok && !a.NoDataSince.IsZero() {
		out[noDataAnnotation] = was
	}
	for name, text := range r.Annotations {
		was, known := a.Annotations[name]
		c := p.templates.of(text)
		switch {
		case known && (c.fast == nil && strings.Contains(text, "{{") || c.stable && !edited):
			out[name] = was
		case c.fast != nil || !strings.Contains(text, "{{"):
			out[name] = p.templates.expand(text, expansion{ctx: context.Background(), name: "__alert_" + r.Alert, metric: a.Evidence.Metric.Map(), value: a.Latest, histogram: a.Histogram})
		}
	}
	return out
}

// Active returns every alert that fires, for a Forwarder that sends them again.
func (e *Evaluator) Active() []Forwarded {
	plan, states, _ := e.snapshot()
	if plan == nil {
		return nil
	}
	var out []Forwarded
	add := func(s *ruleState, graph string, interval time.Duration, annotations func(*oncall.Alert) map[string]string) {
		set, _, _ := s.read()
		alerts := set.full()
		for k := range alerts {
			if a := &alerts[k]; a.State == oncall.StateFiring {
				out = append(out, Forwarded{Labels: withExternal(a.Labels, a.External), Annotations: annotations(a), StartsAt: a.FiredAt,
					GeneratorURL: generatorURL(graph, a.Evidence.Expr), Interval: interval})
			}
		}
	}
	for i := range plan.Groups {
		g := &plan.Groups[i]
		graph := plan.source(g).GraphURL
		for j := range g.Rules {
			if s := states[g.Rules[j].ID]; s != nil {
				add(s, graph, plan.interval(g), func(a *oncall.Alert) map[string]string { return plan.refreshed(&g.Rules[j], a) })
			}
		}
	}
	e.mu.Lock()
	builtin := e.builtin
	e.mu.Unlock()
	add(builtin, "", plan.interval(&rules.Group{}), func(a *oncall.Alert) map[string]string { return a.Annotations })
	return out
}
