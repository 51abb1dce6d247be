package evaluator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/rules"
)

// ruleState is what is held in memory of one rule, or of all built-in alerts. It outlives plans.
type ruleState struct {
	id   oncall.RuleID // builtinPrefix for the built-in alerts
	eval sync.Mutex    // held over a whole evaluation, query and commit included

	// Guarded by eval.
	begun      int       // counts evaluations: a retry of an earlier one gives way
	lastAt     time.Time // timestamp of the last evaluation
	staleSince time.Time // when a commit failed; zero: memory is what the store has
	yielded    int       // samples of the last evaluation
	memory     *memory   // of a rule with no_data: alert; nil before its first evaluation

	writing chan struct{}            // holds a token while its series are written
	series  map[uint64]labels.Labels // written last and not ended; guarded by writing
	wroteAt time.Time                // timestamp of the last write; guarded as series is
	offset  time.Duration            // its group's query_offset, for the end of its series

	mu     sync.Mutex // the fields below are written with eval and mu held, and read with either
	alerts alertSet
	health oncall.RuleHealth
	nextAt time.Time // earliest end of a for; zero: none

	evaluatedAt time.Time     // when the last evaluation began
	took        time.Duration // how long it lasted
	samples     int           // how many it yielded
	writeError  string        // why its series could not be written; "" if they were
}

func newState(id oncall.RuleID) *ruleState {
	return &ruleState{id: id, writing: make(chan struct{}, 1)}
}

func (s *ruleState) owns(id oncall.RuleID) bool {
	return id == s.id || s.id == builtinPrefix && strings.HasPrefix(string(id), builtinPrefix)
}

// swap replaces what is remembered. s.eval is held.
func (s *ruleState) swap(alerts alertSet, health oncall.RuleHealth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alerts, s.health = alerts, health
}

// read returns what others may look at while an evaluation runs.
func (s *ruleState) read() (alerts alertSet, health oncall.RuleHealth, nextAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alerts, s.health, s.nextAt
}

// timed notes an evaluation that began at start.
func (s *ruleState) timed(start time.Time, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evaluatedAt, s.took, s.samples = start, took, s.yielded
}

// outcome is what an evaluation would make of a state.
type outcome struct {
	ev       oncall.Evaluation
	alerts   alertSet
	health   oncall.RuleHealth
	nextAt   time.Time
	interval time.Duration // of the group; 0: of none
	// parts are ev, in parts that are committed one after the other; nil: ev is small enough to be one. A part
	// has all that was decided of its alerts. Where a part fails, those before it stand, and what is decided
	// anew of the state that the store then has is the rest.
	parts []oncall.Evaluation
}

// evaluate asks for one rule at the instant at, and commits what follows. it is the group's evaluation that
// this is a part of; nil for the extra evaluation at the end of a for. It returns the error of the query, nil
// if there was none.
func (g *generation) evaluate(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration) error {
	s := b.state
	s.eval.Lock()
	if it == nil && !at.Equal(s.nextAt) {
		s.eval.Unlock()
		return nil // the grid was faster
	}
	if it != nil {
		it.early = 0
	}
	start := time.Now()
	gap := !s.lastAt.IsZero() && at.Sub(s.lastAt) > max(oncall.ForgetAfter, 2*g.plan.interval(b.group))
	if at.Before(s.lastAt) && s.lastAt.Sub(start) < g.plan.interval(b.group) {
		at = s.lastAt // the extra evaluation of a later instant overtook the grid; else the clock was set back
	}
	var err error
	var written []Series
	if b.rule.Record != "" {
		err = g.record(ctx, b, at, it, timeout)
	} else {
		written, err = g.alert(ctx, b, at, it, timeout, gap)
	}
	if ctx.Err() == nil {
		s.timed(start, time.Since(start)+it.headStart())
	}
	s.eval.Unlock()
	if written != nil {
		// Without eval: a slow writer must not keep a due alert waiting.
		g.writeAlerts(ctx, b, at, written, timeout-time.Since(start))
	}
	return err
}

// alert evaluates an alerting rule, and returns the series to write of it. s.eval is held.
func (g *generation) alert(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration, gap bool) ([]Series, error) {
	s := b.state
	s.begun++
	start := time.Now()
	obs, x, stop, err := g.observe(ctx, b, at, it, timeout)
	defer stop()
	if ctx.Err() != nil {
		return nil, nil // broken off: a new plan, or the end. Nothing was learned.
	}
	obs.DueOnly, obs.Gap = it == nil, gap
	s.yielded = len(obs.Samples)
	g.e.metrics.evaluated(time.Since(start)+it.headStart(), err)
	s.lastAt = at
	settle := func() bool {
		return g.settle(ctx, s, func() outcome { return decide(b, obs, x, s.alerts, s.health) })
	}
	if begun := s.begun; !settle() {
		g.wg.Go(func() { g.retry(ctx, s, begun, settle) })
		return nil, err
	}
	if err != nil || g.recorder == nil {
		return nil, err
	}
	return alertSeries(s.alerts.lean(), at.Add(-b.group.QueryOffset)), nil
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
func (g *generation) observe(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration) (oncall.Observation, *expander, context.CancelFunc, error) {
	obs := oncall.Observation{At: at, Evidence: b.evidence(at), External: b.plan.ExternalLabels}
	fail := func(err error) (oncall.Observation, *expander, context.CancelFunc, error) {
		obs.Failed = err.Error()
		return obs, nil, func() {}, err
	}
	behind := b.reads && g.recorder != nil && g.recorder.Behind() // what rules wrote may not be there yet
	ans, gone, err := g.answer(ctx, b, at, it, timeout)
	if err != nil {
		return fail(err)
	}
	if behind && ans.partial == "" {
		ans.partial = "it may read what rules recorded and what waits for the far end of remote_write"
	}
	budget := min(timeout, templateBudget)
	// Templates ask about the evaluation timestamp itself, without query_offset, as in Prometheus.
	x := newExpander(ctx, b, at, budget, func(ctx context.Context, expr string, at time.Time) (Answer, error) {
		return g.ask(ctx, b, expr, at, terms{timeout: budget, since: it.since()})
	})
	if err = x.observe(&obs, ans, gone); err != nil {
		obs.Failed = err.Error()
		return obs, x, x.release, err
	}
	if b.rule.NoData == rules.NoDataHold && it != nil && !ans.whole && missing(b.state.alerts.lean(), &obs) {
		// Somebody is missing: only the vector tells below the threshold from gone.
		if whole, err := g.vector(ctx, b, at, it, timeout); err != nil {
			obs.Partial = "it cannot be told whether a series is below the threshold or gone: " + err.Error()
		} else if err = x.observe(&obs, whole, nil); err != nil {
			obs.Failed = err.Error()
			return obs, x, x.release, err
		}
	}
	return obs, x, x.release, nil
}

// answer asks what the rule needs to know now.
func (g *generation) answer(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration) (picked, []remembered, error) {
	switch {
	case b.rule.NoData == rules.NoDataAlert && b.ask.vector != "":
		if err := g.mayLookBack(ctx, b, at, it, timeout); err != nil {
			return picked{}, nil, err
		}
		p, err := g.vector(ctx, b, at, it, timeout)
		if err != nil || p.partial != "" {
			return p, nil, err
		}
		return p, b.state.memory.remember(p.all, at), nil
	case b.rule.NoData == rules.NoDataHold && b.ask.vector != "" && it != nil && b.state.alerts.anyGone():
		p, err := g.vector(ctx, b, at, it, timeout)
		return p, nil, err
	case it == nil:
		ans, err := g.ask(ctx, b, b.ask.exact, at.Add(-b.group.QueryOffset), terms{timeout: timeout})
		return asIs(ans), nil, err
	}
	ans, err := g.asked(ctx, b, b.ask.shared, at, it, timeout)
	if b.ask.shared == b.ask.exact {
		return asIs(ans), nil, err
	}
	if err != nil && kindOf(err) == RuleError && b.ask.recover == nil {
		// The looser query may be too much where the rule's own is not.
		ans, err = g.asked(ctx, b, b.ask.exact, at, it, timeout)
	}
	return b.ask.pick(ans), nil, err
}

// vector asks for the vector side alone.
func (g *generation) vector(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration) (picked, error) {
	ans, err := g.asked(ctx, b, b.ask.vector, at, it, timeout)
	p := b.ask.pick(ans)
	p.whole, p.all = true, ans.Samples
	return p, err
}

// asked asks once per text and evaluation of the group.
func (g *generation) asked(ctx context.Context, b *bound, text string, at time.Time, it *iteration, timeout time.Duration) (Answer, error) {
	t := terms{timeout: timeout, since: it.since()}
	if it == nil || !at.Equal(it.at) {
		return g.ask(ctx, b, text, at.Add(-b.group.QueryOffset), t)
	}
	if b.ask.alone {
		t.reuse = it.reuse(string(b.rule.ID) + text)
		return g.ask(ctx, b, text, at.Add(-b.group.QueryOffset), t)
	}
	from := time.Now()
	if it.fetching(text) {
		it.later.waits()
	}
	a, _ := g.once(ctx, b, text, it, timeout)
	if !a.counted {
		a.counted = true
		it.early += max(min(a.took, from.Sub(a.began)), 0)
	}
	return a.ans, a.err
}

// mayLookBack makes the memory of a rule that has none yet.
func (g *generation) mayLookBack(ctx context.Context, b *bound, at time.Time, it *iteration, timeout time.Duration) error {
	s := b.state
	if s.memory != nil && s.memory.vector == b.ask.vector {
		return nil
	}
	m, err := g.lookBack(ctx, b, at, terms{timeout: timeout, since: it.since()})
	if err != nil && kindOf(err) == BackendError {
		return err
	}
	if err != nil {
		g.e.log.Warn("Cannot look back for no_data: series that vanished before this start are not noticed", "rule", b.rule.ID, "err", err)
	}
	if s.memory == nil {
		m.recall(s.alerts.lean(), b.ask.exact)
	}
	s.memory = m
	return nil
}

// breaching counts the samples that breach.
func breaching(samples []oncall.Sample) int {
	n := 0
	for i := range samples {
		if !samples[i].Band {
			n++
		}
	}
	return n
}

// decide is what one observation makes of a rule: alerts, health, and the changes for the incidents.
func decide(b *bound, obs oncall.Observation, x *expander, alerts alertSet, health oncall.RuleHealth) outcome {
	step := alerts.step(b.timing(), obs)
	// What the answer has now counts, not what keep_firing_for still holds: counting both, a rule whose series
	// changed would exceed its limit for ever, since a failed step ends nothing.
	if n := breaching(obs.Samples); b.group.Limit > 0 && n > b.group.Limit && obs.Failed == "" && !obs.DueOnly {
		obs.Failed = fmt.Sprintf("exceeded the group's limit of %d with %d alerts", b.group.Limit, n)
		step = alerts.step(b.timing(), obs)
	}
	alerts.annotate(&step)
	if x != nil {
		step.Annotate(func(a oncall.Alert) map[string]string { return sayGone(a, x.annotations(a)) })
	}
	out := outcome{alerts: alerts.next(step.Alerts, step.Upserts, false), health: health, nextAt: step.NextAt, interval: b.plan.interval(b.group)}
	out.ev = evaluation(step, obs.At, b.source())
	out.parts = split(step, out.ev)
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
	if err := g.e.commitAll(ctx, g.lease, out.ev, out.parts); err != nil {
		s.staleSince = time.Now()
		return err
	}
	g.logHealth(s, out.health)
	failed := !out.health.FailingSince.Equal(s.health.FailingSince)
	s.mu.Lock()
	s.alerts, s.health, s.nextAt = out.alerts, out.health, out.nextAt
	s.mu.Unlock()
	g.forward(s, out)
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
