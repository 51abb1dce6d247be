package evaluator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/strutil"

	"tocsin/oncall"
)

// ruleState is what is held in memory of one rule, or of all built-in alerts. It outlives plans.
type ruleState struct {
	id   oncall.RuleID // builtinPrefix for the built-in alerts
	eval sync.Mutex    // held over a whole evaluation, query and commit included

	// Guarded by eval.
	begun      int       // counts evaluations: a retry of an earlier one gives way
	lastAt     time.Time // timestamp of the last evaluation
	staleSince time.Time // when a commit failed; zero: memory is what the store has
	reuse      Reuse     // of the rule's own query

	mu     sync.Mutex // the fields below are written with eval and mu held, and read with either
	alerts []oncall.Alert
	health oncall.RuleHealth
	nextAt time.Time // earliest end of a for; zero: none
}

func (s *ruleState) owns(id oncall.RuleID) bool {
	return id == s.id || s.id == builtinPrefix && strings.HasPrefix(string(id), builtinPrefix)
}

// swap replaces what is remembered. s.eval is held.
func (s *ruleState) swap(alerts []oncall.Alert, health oncall.RuleHealth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alerts, s.health = alerts, health
}

// read returns what others may look at while an evaluation runs.
func (s *ruleState) read() (alerts []oncall.Alert, health oncall.RuleHealth, nextAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alerts, s.health, s.nextAt
}

// outcome is what an evaluation would make of a state.
type outcome struct {
	ev     oncall.Evaluation
	alerts []oncall.Alert
	health oncall.RuleHealth
	nextAt time.Time
}

// evaluate asks for one rule at the instant at, and commits what follows. dueOnly is the extra evaluation
// at the end of a for. It returns the error of the query, nil if there was none.
func (g *generation) evaluate(ctx context.Context, b *bound, at time.Time, dueOnly bool, timeout time.Duration) error {
	s := b.state
	s.eval.Lock()
	defer s.eval.Unlock()
	if dueOnly && !at.Equal(s.nextAt) {
		return nil // the grid was faster
	}
	if at.Before(s.lastAt) {
		at = s.lastAt // the extra evaluation of a later instant overtook the grid
	}
	s.begun++
	start := time.Now()
	obs, x, stop, err := g.observe(ctx, b, at, timeout)
	defer stop()
	if ctx.Err() != nil {
		return nil // broken off: a new plan, or the end. Nothing was learned.
	}
	obs.DueOnly = dueOnly
	g.e.metrics.evaluated(time.Since(start), err)
	s.lastAt = at
	settle := func() bool {
		return g.settle(ctx, s, func() outcome { return decide(b, obs, x, s.alerts, s.health) })
	}
	if begun := s.begun; !settle() {
		g.wg.Go(func() { g.retry(ctx, s, begun, settle) })
	}
	return err
}

// retry goes on with an evaluation whose commit failed, beside the other rules of the group, until it
// succeeds or the rule is evaluated anew.
func (g *generation) retry(ctx context.Context, s *ruleState, begun int, settle func() bool) {
	for delay := retryFirst; sleep(ctx, delay); delay = min(2*delay, retryLast) {
		s.eval.Lock()
		done := s.begun != begun || settle()
		s.eval.Unlock()
		if done {
			return
		}
	}
}

// observe asks the backend and prepares the answer for the core. stop releases the expander.
func (g *generation) observe(ctx context.Context, b *bound, at time.Time, timeout time.Duration) (oncall.Observation, *expander, context.CancelFunc, error) {
	obs := oncall.Observation{At: at, Evidence: b.evidence(at), External: b.plan.ExternalLabels}
	ans, err := g.ask(ctx, b.expr, at.Add(-b.group.QueryOffset), timeout, &b.state.reuse)
	if err != nil {
		obs.Failed = err.Error()
		return obs, nil, func() {}, err
	}
	obs.Partial = ans.Partial
	budget := min(timeout, templateBudget)
	xctx, stop := context.WithTimeout(ctx, budget)
	// Templates ask about the evaluation timestamp itself, without query_offset, as in Prometheus.
	x := newExpander(xctx, b, at, func(ctx context.Context, expr string, at time.Time) (Answer, error) {
		return g.ask(ctx, expr, at, budget, nil)
	})
	if obs.Samples, err = x.samples(ans); err != nil {
		obs.Failed = err.Error()
	}
	return obs, x, stop, err
}

// ask queries the backend, which has at most Concurrency queries of ours in flight. Waiting for a place
// does not count against the timeout: our own queue must not look like a slow backend.
func (g *generation) ask(ctx context.Context, expr string, at time.Time, timeout time.Duration, r *Reuse) (Answer, error) {
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	defer func() { <-g.places }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ans, err := queryInto(ctx, g.plan.Backend, expr, at, r)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		// Without the time, which differs: a text that changes would be committed with each evaluation.
		err = &QueryError{Kind: BackendError, Cause: err, Message: "no answer in time (the query's timeout, at most the group's interval)"}
	}
	return ans, err
}

// decide is what one observation makes of a rule: alerts, health, and the changes for the incidents.
func decide(b *bound, obs oncall.Observation, x *expander, alerts []oncall.Alert, health oncall.RuleHealth) outcome {
	step := oncall.StepRule(b.timing(), alerts, obs)
	if n := len(step.Alerts); b.group.Limit > 0 && n > b.group.Limit && obs.Failed == "" && !obs.DueOnly {
		obs.Failed = fmt.Sprintf("exceeded the group's limit of %d with %d alerts", b.group.Limit, n)
		step = oncall.StepRule(b.timing(), alerts, obs)
	}
	if x != nil {
		step.Annotate(x.annotations)
	}
	out := outcome{alerts: step.Alerts, health: health, nextAt: step.NextAt}
	out.ev = evaluation(step, obs.At, b.source())
	if obs.DueOnly {
		return out
	}
	switch {
	case obs.Failed != "":
		out.health = failing(b.rule.ID, health, obs.At, obs.Failed)
	case obs.Partial != "":
		out.health = failing(b.rule.ID, health, obs.At, "the answer is partial: "+obs.Partial)
	default:
		out.health = oncall.RuleHealth{Rule: b.rule.ID}
	}
	if !out.health.FailingSince.Equal(health.FailingSince) || out.health.LastError != health.LastError {
		out.ev.Health = []oncall.RuleHealth{out.health}
	}
	return out
}

func failing(id oncall.RuleID, was oncall.RuleHealth, at time.Time, err string) oncall.RuleHealth {
	h := oncall.RuleHealth{Rule: id, FailingSince: was.FailingSince, LastError: err}
	if h.FailingSince.IsZero() {
		h.FailingSince = at
	}
	return h
}

// source is what the changes of one rule have in common.
type source struct {
	name       string
	escalation string
	groupBy    []string
	graphURL   string // "": none
}

func (b *bound) source() source {
	return source{name: "rule:" + string(b.rule.ID), escalation: b.rule.Escalation, graphURL: b.plan.GraphURL}
}

// evaluation turns a step into what is committed.
func evaluation(step oncall.Step, at time.Time, src source) oncall.Evaluation {
	ev := oncall.Evaluation{At: at, Deletes: step.Deletes, Transitions: step.Transitions}
	for _, i := range step.Upserts {
		ev.Upserts = append(ev.Upserts, step.Alerts[i])
	}
	now := wallNow()
	for _, c := range step.Changes {
		change := oncall.AlertChange{
			At: now, Source: src.name, Status: c.Status,
			Labels:      withExternal(c.Alert.Labels, c.Alert.External),
			Annotations: c.Alert.Annotations,
			Value:       c.Evidence.Value,
			StartsAt:    c.Alert.FiredAt,
			Escalation:  src.escalation,
			GroupBy:     src.groupBy,
			Reason:      c.Reason,
			Evidence:    c.Evidence,
		}
		if change.Value == "" {
			change.Value = oncall.FormatValue(c.Alert.Value)
		}
		change.GeneratorURL = generatorURL(src.graphURL, c.Evidence.Expr)
		ev.Changes = append(ev.Changes, change)
	}
	return ev
}

// generatorURL is where people see expr as a graph; "" if either is unknown.
func generatorURL(base, expr string) string {
	if base == "" || expr == "" {
		return ""
	}
	return base + strutil.TableLinkForExpression(expr)
}

// withExternal adds external labels where the alert has none of that name.
func withExternal(ls, external labels.Labels) labels.Labels {
	if external.IsEmpty() {
		return ls
	}
	lb := labels.NewBuilder(ls)
	external.Range(func(l labels.Label) {
		if ls.Get(l.Name) == "" {
			lb.Set(l.Name, l.Value)
		}
	})
	return lb.Labels()
}

// settle commits what decide makes of s, and swaps it in; where the last commit failed it loads s again
// first. s.eval is held. It reports whether there is nothing left to try.
func (g *generation) settle(ctx context.Context, s *ruleState, decide func() outcome) bool {
	err := g.commitOnce(ctx, s, decide)
	switch {
	case err == nil:
		return true
	case errors.Is(err, oncall.ErrLeaseLost):
		g.fail(err)
		return true
	}
	g.e.metrics.commitFailures.Inc()
	g.e.log.Error("Cannot commit an evaluation, will load the state again and retry", "rule", s.id, "err", err)
	return false
}

func (g *generation) commitOnce(ctx context.Context, s *ruleState, decide func() outcome) error {
	if !s.staleSince.IsZero() {
		if err := g.e.reload(ctx, s); err != nil {
			return fmt.Errorf("loading the state again: %w", err)
		}
		wake(g.watchWake) // the health may be another than the watch saw last
	}
	out := decide()
	if !out.ev.Empty() {
		if err := g.e.commit(ctx, g.lease, out.ev); err != nil {
			s.staleSince = time.Now()
			return err
		}
	}
	g.logHealth(s, out.health)
	failed := !out.health.FailingSince.Equal(s.health.FailingSince)
	s.mu.Lock()
	s.alerts, s.health, s.nextAt = out.alerts, out.health, out.nextAt
	s.mu.Unlock()
	if failed {
		wake(g.watchWake)
	}
	return nil
}

func (g *generation) logHealth(s *ruleState, now oncall.RuleHealth) {
	was := s.health
	switch {
	case was.FailingSince.IsZero() && !now.FailingSince.IsZero():
		g.e.log.Warn("Rule cannot be evaluated, its alerts are unknown", "rule", s.id, "err", now.LastError)
	case !was.FailingSince.IsZero() && now.FailingSince.IsZero():
		g.e.log.Info("Rule is evaluated again", "rule", s.id, "failed_for", time.Since(was.FailingSince).Round(time.Second))
	}
}

// wake puts a token where a loop waits for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
