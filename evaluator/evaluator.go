// Package evaluator turns rules into alerts: it evaluates rule groups on their grid, asks the backend, lets
// the core step the alerts of each rule, and commits what follows before it believes it. It does not know
// how a query travels (package evaluator/prometheus), nor who is told (package notifier, which consumes the
// alert changes that are committed here).
//
// What is held in memory follows the store. Every step is computed on the side, committed, and only then
// swapped in; after a commit that failed or whose outcome is unknown that state is loaded again first.
//
// Start reading at Evaluator.Run, then groupRun.grid (group.go), generation.evaluate (rule.go), and
// oncall.StepRule, which has all the rules of the game. What is asked, and what rules may ask together, is in
// share.go; what is asked before its turn, in ahead.go; how a backend in trouble is spared, in asking.go; series
// that are gone, in nodata.go; series that are written, in record.go.
package evaluator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

const (
	// commitTimeout bounds a commit that outlives the cancellation of what asked for it.
	commitTimeout = 10 * time.Second
	// The wait after a failed commit or load doubles from the first to the last.
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
	// defaultConcurrency is how many queries may be in flight, per backend.
	defaultConcurrency = 8
)

// Options are what an Evaluator needs. Logger and Registerer may be nil.
type Options struct {
	Store      Store
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Evaluator evaluates the rules of the plan that was applied last, while Run runs.
type Evaluator struct {
	store   Store
	log     *slog.Logger
	metrics *metrics
	applied chan struct{} // holds a token while a plan waits to be taken over

	mu        sync.Mutex // guards the fields below
	plan      *Plan
	states    map[oncall.RuleID]*ruleState // of the plan's rules, and of removed ones until they are retired
	evaluated map[string]groupClock        // group key → where its grid stands
	ready     bool
	times     map[string]groupTime // group key → its last evaluation
	troubles  map[string]*trouble  // by sourceKey
	recorder  Recorder             // nil: series are written nowhere
	forwarder Forwarder            // nil: alerts are sent on to nobody

	builtin *ruleState // the built-in alerts; replaced by restore, before any generation runs

	loadMu sync.Mutex // guards the fields below; one load at a time
	loaded oncall.EvaluatorState
	loadAt time.Time // when the load of loaded began
}

// groupClock remembers a group's grid over reloads.
type groupClock struct {
	interval time.Duration
	last     time.Time // last slot whose evaluation was completed
}

// New returns an Evaluator that evaluates nothing until a plan is applied and Run is called.
func New(o Options) *Evaluator {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	e := &Evaluator{
		store: o.Store, log: log, applied: make(chan struct{}, 1),
		states: map[oncall.RuleID]*ruleState{}, evaluated: map[string]groupClock{},
		times: map[string]groupTime{}, troubles: map[string]*trouble{}, builtin: newState(builtinPrefix),
	}
	e.metrics = newMetrics(o.Registerer, e.countAlerts)
	return e
}

// Apply makes p the plan to follow, at start and at each reload. It does not wait: a running evaluation is
// broken off and repeated, alerts keep their state by RuleID, groups keep their timers, and alerts of rules
// that are gone resolve.
func (e *Evaluator) Apply(p Plan) {
	p.templates = newTemplates(&p)
	e.mu.Lock()
	e.plan = &p
	e.mu.Unlock()
	select {
	case e.applied <- struct{}{}:
	default:
	}
}

// Ready reports that every group was evaluated once since Run began, whether or not its queries worked.
func (e *Evaluator) Ready() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ready
}

// Run evaluates until ctx ends (it then returns nil) or the lease is lost (oncall.ErrLeaseLost). aliveAt is
// when a process last held the shard, zero for never. It may be called again after it returned.
func (e *Evaluator) Run(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !e.awaitPlan(ctx) {
		return nil
	}
	if err := e.restore(ctx, lease, aliveAt); err != nil || ctx.Err() != nil {
		return lostOnly(err)
	}
	for ctx.Err() == nil {
		e.generation(ctx, lease, cancel)
	}
	e.mu.Lock()
	e.ready = false
	e.mu.Unlock()
	return lostOnly(context.Cause(ctx))
}

// lostOnly keeps the one error that the caller of Run must know.
func lostOnly(err error) error {
	if errors.Is(err, oncall.ErrLeaseLost) {
		return err
	}
	return nil
}

func (e *Evaluator) awaitPlan(ctx context.Context) bool {
	e.mu.Lock()
	have := e.plan != nil
	e.mu.Unlock()
	if have {
		return true
	}
	select {
	case <-e.applied:
		return true
	case <-ctx.Done():
		return false
	}
}

// restore loads the state as committed and forgets pending time that is too old. It tries until it
// succeeds: an evaluator without its memory would resolve or repeat what it should not.
func (e *Evaluator) restore(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
	for delay := retryFirst; ; delay = min(2*delay, retryLast) {
		err := e.tryRestore(ctx, lease, aliveAt)
		if err == nil || errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
			return err
		}
		e.metrics.commitFailures.Inc()
		e.log.Error("Cannot restore the alerts from the store, will try again", "err", err, "in", delay)
		if !sleep(ctx, delay) {
			return ctx.Err()
		}
	}
}

func (e *Evaluator) tryRestore(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
	st, err := e.store.LoadEvaluator(ctx)
	if err != nil {
		return err
	}
	now := wallNow()
	if aliveAt.IsZero() {
		aliveAt = st.AliveAt
	}
	step := oncall.ForgetPending(st.Alerts, aliveAt, now)
	ev := oncall.Evaluation{At: now, Deletes: step.Deletes, Transitions: step.Transitions}
	if err := e.commitAll(ctx, lease, ev, split(step, ev)); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states = map[oncall.RuleID]*ruleState{}
	e.evaluated = map[string]groupClock{}
	builtin := newState(builtinPrefix)
	for id, alerts := range byRule(step.Alerts) {
		if id == builtinPrefix {
			builtin.alerts = packAlerts(alerts)
			continue
		}
		s := e.stateLocked(id)
		s.alerts = packAlerts(alerts)
		if e.recorder != nil {
			s.wrote(alertSeries(alerts, now))
		}
	}
	for _, h := range st.Health {
		e.stateLocked(h.Rule).health = h
	}
	e.builtin = builtin
	return nil
}

// byRule sorts loaded alerts by their rules; those that no rule file names are of builtinPrefix.
func byRule(loaded []oncall.Alert) map[oncall.RuleID][]oncall.Alert {
	out := map[oncall.RuleID][]oncall.Alert{}
	metrics := map[uint64]labels.Labels{} // rules that share a series share its labels
	for _, a := range loaded {
		a.Latest = a.Value
		hash := a.Evidence.Metric.Hash()
		if m, ok := metrics[hash]; ok && labels.Equal(m, a.Evidence.Metric) {
			a.Evidence.Metric = m
		} else {
			metrics[hash] = a.Evidence.Metric
		}
		id := a.Rule
		if strings.HasPrefix(string(id), builtinPrefix) {
			id = builtinPrefix
		}
		out[id] = append(out[id], a)
	}
	return out
}

// stateLocked returns the state of a rule, which may be new. e.mu is held.
func (e *Evaluator) stateLocked(id oncall.RuleID) *ruleState {
	s := e.states[id]
	if s == nil {
		s = newState(id)
		e.states[id] = s
	}
	return s
}

// commitAll writes an evaluation, by its parts where it has some. Health goes with the last one.
func (e *Evaluator) commitAll(ctx context.Context, lease oncall.Lease, ev oncall.Evaluation, parts []oncall.Evaluation) error {
	if len(parts) > 0 {
		parts[len(parts)-1].Health = ev.Health
	} else if !ev.Empty() {
		parts = []oncall.Evaluation{ev}
	}
	for _, part := range parts {
		if err := e.commit(ctx, lease, part); err != nil {
			return err
		}
	}
	return nil
}

// commit writes one evaluation. It is not broken off with ctx: a commit that is under way ends with a known
// outcome, within commitTimeout.
func (e *Evaluator) commit(ctx context.Context, lease oncall.Lease, ev oncall.Evaluation) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	urgent := slices.ContainsFunc(ev.Changes, func(c oncall.AlertChange) bool { return c.Status == oncall.ChangeFiring })
	return e.store.CommitEvaluation(ctx, oncall.Write{Now: wallNow(), Lease: &lease, Urgent: urgent}, ev)
}

// reload puts the committed state back into s, whose last commit failed at s.staleSince. One load serves
// all states that became stale before it began.
func (e *Evaluator) reload(ctx context.Context, s *ruleState) error {
	e.loadMu.Lock()
	defer e.loadMu.Unlock()
	if !e.loadAt.After(s.staleSince) {
		began := time.Now()
		st, err := e.store.LoadEvaluator(ctx)
		if err != nil {
			return err
		}
		e.loaded, e.loadAt = st, began
	}
	var alerts []oncall.Alert
	for _, a := range e.loaded.Alerts {
		if s.owns(a.Rule) {
			a.Latest = a.Value
			alerts = append(alerts, a)
		}
	}
	health := oncall.RuleHealth{}
	for _, h := range e.loaded.Health {
		if s.owns(h.Rule) {
			health = h
		}
	}
	s.swap(packAlerts(alerts), health)
	s.staleSince = time.Time{}
	return nil
}

// forgetLoad drops the last load, which may be large, when it is too old to serve anybody soon.
func (e *Evaluator) forgetLoad() {
	if !e.loadMu.TryLock() {
		return
	}
	defer e.loadMu.Unlock()
	if time.Since(e.loadAt) > retryLast {
		e.loaded, e.loadAt = oncall.EvaluatorState{}, time.Time{}
	}
}

// wallNow is now as it is stored and sent: UTC, without a monotonic reading.
func wallNow() time.Time { return time.Now().UTC().Round(0).Truncate(time.Microsecond) }

// sleep waits for d and reports whether it did so undisturbed.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
