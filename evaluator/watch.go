package evaluator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// builtinPrefix begins the RuleIDs of alerts that no rule file names.
const builtinPrefix = "builtin:"

// CannotEvaluate is the alertname of the built-in alert that fires when rules of a backend have not been
// evaluated for unknown_after.
const CannotEvaluate = "TocsinCannotEvaluate"

// listedRules bounds how many blinded rules the built-in alert names.
const listedRules = 30

// watch looks after what belongs to no group: the built-in alerts, and the alerts of rules that are gone.
type watch struct {
	gen     *generation
	orphans []*ruleState // rules that are in the store, but not in the plan
	delay   time.Duration
}

func (w *watch) run(ctx context.Context) {
	for {
		next := w.check(ctx)
		if !await(ctx, next, w.gen.watchWake) {
			return
		}
	}
}

// check retires what is gone and steps the built-in alerts. It returns when to look again.
func (w *watch) check(ctx context.Context) time.Time {
	now := wallNow()
	next, ok := w.stepBuiltin(ctx, now)
	w.orphans = slices.DeleteFunc(w.orphans, func(s *ruleState) bool {
		retired := w.retire(ctx, s, now)
		ok = ok && retired
		return retired
	})
	if ok {
		w.delay = 0
		return next
	}
	w.delay = min(max(2*w.delay, retryFirst), retryLast)
	return time.Now().Add(w.delay)
}

// retire ends the alerts of one removed rule, and forgets the rule.
func (w *watch) retire(ctx context.Context, s *ruleState, now time.Time) bool {
	s.eval.Lock()
	defer s.eval.Unlock()
	ok := w.gen.settle(ctx, s, func() outcome {
		reason := "rule removed"
		alerts := s.alerts.full()
		if len(alerts) > 0 && alerts[0].Evidence.File != "" {
			reason = "rule removed from " + alerts[0].Evidence.File
		}
		step := oncall.RetireRule(alerts, now, reason)
		out := outcome{ev: evaluation(step, now, source{name: "rule:" + string(s.id), graphURL: w.gen.plan.GraphURL})}
		out.parts = split(step, out.ev)
		if !s.health.FailingSince.IsZero() {
			out.ev.Health = []oncall.RuleHealth{{Rule: s.id}}
		}
		return out
	})
	if ok {
		if err := w.gen.endSeries(ctx, s, now); err != nil {
			w.gen.e.log.Warn("Cannot end the series of a removed rule, will try again", "rule", s.id, "err", err)
			return false
		}
		e := w.gen.e
		e.mu.Lock()
		delete(e.states, s.id)
		e.mu.Unlock()
	}
	return ok
}

// blind is what the built-in alert says about the rules of one escalation that cannot be evaluated.
type blind struct {
	since   time.Time // first failure
	after   time.Duration
	due     bool   // some rule has failed for its unknown_after
	err     string // its rule's last error
	rules   []string
	ruleID  oncall.RuleID
	backend string
	labels  labels.Labels
	source  source
}

// blinded collects the failing rules by escalation, and returns when the next of them is due.
func (g *generation) blinded(now time.Time) (map[oncall.RuleID]*blind, time.Time) {
	found := map[oncall.RuleID]*blind{}
	var next time.Time
	for _, b := range g.rules {
		_, health, _ := b.state.read()
		if health.FailingSince.IsZero() {
			continue
		}
		escalation := g.plan.escalation(b.rule)
		backend := b.from.BackendName
		id := oncall.RuleID(builtinPrefix + "cannot-evaluate:" + backend + ":" + escalation)
		f := found[id]
		if f == nil {
			f = &blind{ruleID: id, backend: backend, labels: labels.FromStrings(labels.AlertName, CannotEvaluate,
				"backend", backend, "severity", "critical")}
			f.source = source{name: string(id), escalation: escalation, groupBy: []string{labels.AlertName, "backend"}}
			found[id] = f
		}
		if f.since.IsZero() || health.FailingSince.Before(f.since) {
			f.since, f.err, f.after = health.FailingSince, health.LastError, g.plan.unknownAfter(b.group)
		}
		f.rules = append(f.rules, fmt.Sprintf("%s (group %s)", b.rule.Name(), b.group.Name))
		due := health.FailingSince.Add(g.plan.unknownAfter(b.group))
		if !due.After(now) {
			f.due = true
		} else if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return found, next
}

// stepBuiltin fires and resolves the built-in alerts.
func (w *watch) stepBuiltin(ctx context.Context, now time.Time) (next time.Time, ok bool) {
	g, s := w.gen, w.gen.e.builtin
	s.eval.Lock()
	defer s.eval.Unlock()
	found, next := g.blinded(now)
	ok = g.settle(ctx, s, func() outcome {
		var out outcome
		out.ev.At = now
		standing := map[oncall.RuleID]bool{}
		var alerts []oncall.Alert
		for _, a := range s.alerts.full() {
			if found[a.Rule] != nil {
				standing[a.Rule] = true
				alerts = append(alerts, a)
				continue
			}
			step := oncall.RetireRule([]oncall.Alert{a}, now, g.whyNotBlind(a))
			out.ev.Append(evaluation(step, now, source{name: string(a.Rule), groupBy: []string{labels.AlertName, "backend"}}))
		}
		for _, f := range sorted(found) {
			if !f.due || standing[f.ruleID] {
				continue
			}
			step := f.fire(g, now)
			alerts = append(alerts, step.Alerts...)
			out.ev.Append(evaluation(step, now, f.source))
		}
		out.alerts = packAlerts(alerts)
		return out
	})
	return next, ok
}

func sorted(found map[oncall.RuleID]*blind) []*blind {
	var list []*blind
	for _, f := range found {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *blind) int { return cmp.Compare(a.ruleID, b.ruleID) })
	return list
}

// fire makes the built-in alert, by the same step as any rule without a for.
func (f *blind) fire(g *generation, now time.Time) oncall.Step {
	step := oncall.StepRule(oncall.RuleTiming{Rule: f.ruleID}, nil, oncall.Observation{
		At: now, External: g.plan.ExternalLabels,
		Samples:  []oncall.Sample{{Labels: f.labels, Value: float64(len(f.rules))}},
		Evidence: oncall.Evidence{Backend: f.backend, At: now},
	})
	n := fmt.Sprintf("%d rules", len(f.rules))
	if len(f.rules) == 1 {
		n = "1 rule"
	}
	lasted := model.Duration(now.Sub(f.since).Round(time.Second)).String()
	list := f.rules
	if len(list) > listedRules {
		list = append(slices.Clone(list[:listedRules]), fmt.Sprintf("and %d more", len(f.rules)-listedRules))
	}
	step.Annotate(func(oncall.Alert) map[string]string {
		return map[string]string{
			"summary": fmt.Sprintf("%s cannot be evaluated on %s: %s", n, f.backend, f.err),
			"description": fmt.Sprintf("Since %s (%s; unknown_after is %s) the alerts of these rules can neither fire nor resolve: %s. Last error: %s",
				f.since.UTC().Format(time.RFC3339), lasted, model.Duration(f.after), strings.Join(list, ", "), f.err),
		}
	})
	step.Explain(fmt.Sprintf("%s could not be evaluated for %s: %s", n, lasted, f.err))
	return step
}

// whyNotBlind says why a built-in alert ends.
func (g *generation) whyNotBlind(a oncall.Alert) string {
	known := false
	for _, b := range g.rules {
		if a.Labels.Get("backend") != b.from.BackendName {
			continue
		}
		known = true
		if strings.HasSuffix(string(a.Rule), ":"+g.plan.escalation(b.rule)) {
			return "all its rules are evaluated again"
		}
	}
	if !known && a.Labels.Get("backend") != g.plan.BackendName {
		return "no rule asks this backend any more"
	}
	return "the rules that failed were removed"
}
