package evaluator

import (
	"tocsin/oncall"
)

// Groups returns what is known of the groups of the plan that is evaluated, in its order. It is cheap, and
// does not wait for evaluations under way.
func (e *Evaluator) Groups() []GroupStatus {
	e.mu.Lock()
	plan := e.plan
	states := make(map[oncall.RuleID]*ruleState, len(e.states))
	for id, s := range e.states {
		states[id] = s
	}
	e.mu.Unlock()
	if plan == nil {
		return nil
	}
	out := make([]GroupStatus, len(plan.Groups))
	for i := range plan.Groups {
		g := &plan.Groups[i]
		out[i] = GroupStatus{Name: g.Name, File: g.File, Interval: plan.interval(g), Limit: g.Limit}
		for j := range g.Rules {
			r := &g.Rules[j]
			status := RuleStatus{ID: r.ID, Type: Alerting, Name: r.Alert, Query: r.Expr.String(), For: r.For, KeepFiringFor: r.KeepFiringFor,
				Labels: r.Labels, Annotations: r.Annotations, Health: HealthUnknown, State: oncall.StateInactive}
			if s := states[r.ID]; s != nil {
				s.describe(&status)
			}
			out[i].Rules = append(out[i].Rules, status)
		}
	}
	return out
}

// describe fills in what changes from one evaluation to the next.
func (s *ruleState) describe(status *RuleStatus) {
	alerts, health, _ := s.read()
	status.LastError = health.LastError
	if !health.FailingSince.IsZero() {
		status.Health = HealthErr
	}
	for i := range alerts {
		a := &alerts[i]
		status.Alerts = append(status.Alerts, AlertStatus{Labels: a.Labels, Annotations: a.Annotations, State: a.State, ActiveAt: a.ActiveAt,
			FiredAt: a.FiredAt, KeepFiringSince: a.KeepFiringSince, UnknownSince: a.UnknownSince, Value: a.Value})
		if a.State == oncall.StateFiring || status.State == oncall.StateInactive {
			status.State = a.State
		}
	}
}

// Active returns every alert that fires, for a Forwarder that sends them again.
func (e *Evaluator) Active() []Forwarded {
	var out []Forwarded
	e.mu.Lock()
	plan := e.plan
	e.mu.Unlock()
	if plan == nil {
		return nil
	}
	for i := range plan.Groups {
		g := &plan.Groups[i]
		for j := range g.Rules {
			e.mu.Lock()
			s := e.states[g.Rules[j].ID]
			e.mu.Unlock()
			if s == nil {
				continue
			}
			alerts, _, _ := s.read()
			for k := range alerts {
				a := &alerts[k]
				if a.State != oncall.StateFiring {
					continue
				}
				out = append(out, Forwarded{Labels: withExternal(a.Labels, a.External), Annotations: a.Annotations, StartsAt: a.FiredAt,
					GeneratorURL: generatorURL(plan.GraphURL, a.Evidence.Expr), Interval: plan.interval(g)})
			}
		}
	}
	return out
}
