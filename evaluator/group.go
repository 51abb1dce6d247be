package evaluator

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"tocsin/oncall"
)

// dueGrace is how long the extra evaluation waits where the end of a for falls on the group's grid: most
// often the grid has asked by then, and one query is saved.
const dueGrace = 20 * time.Millisecond

// generation is one plan being evaluated. A new plan ends it; what it remembers lives in the ruleStates.
type generation struct {
	e         *Evaluator
	plan      *Plan
	lease     oncall.Lease
	fail      context.CancelCauseFunc // ends Run
	recorder  Recorder                // nil: nowhere
	forwarder Forwarder               // nil: nobody
	rules     []*bound
	watchWake chan struct{} // tells the watch that some rule's health changed
	wg        sync.WaitGroup
}

// generation evaluates the plan that was applied last until another is applied or ctx ends.
func (e *Evaluator) generation(ctx context.Context, lease oncall.Lease, fail context.CancelCauseFunc) {
	select {
	case <-e.applied:
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, groups, orphans := e.bind(lease, fail)
	for _, gr := range groups {
		g.wg.Go(func() { gr.grid(ctx) })
		g.wg.Go(func() { gr.extras(ctx) })
	}
	w := &watch{gen: g, orphans: orphans}
	g.wg.Go(func() { w.run(ctx) })
	select {
	case <-ctx.Done():
	case <-e.applied:
		wake(e.applied)
	}
	cancel()
	g.wg.Wait()
}

// bind connects the plan's rules with their states. No generation runs meanwhile.
func (e *Evaluator) bind(lease oncall.Lease, fail context.CancelCauseFunc) (*generation, []*groupRun, []*ruleState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := &generation{e: e, plan: e.plan, lease: lease, fail: fail, recorder: e.recorder, forwarder: e.forwarder,
		watchWake: make(chan struct{}, 1)}
	made, written := map[string]*asking{}, writtenBy(g.plan)
	var groups []*groupRun
	live := map[oncall.RuleID]bool{}
	clocks, keys := map[string]groupClock{}, map[string]bool{}
	for gi := range g.plan.Groups {
		group := &g.plan.Groups[gi]
		interval := g.plan.interval(group)
		gr := &groupRun{gen: g, key: groupKey(group), slots: newSlots(group, interval), clock: groupClock{interval: interval}, wake: make(chan struct{}, 1),
			kept: map[string]*Reuse{}}
		from, asks := e.asking(g.plan, group, made), questions(group)
		keys[gr.key] = true
		if c, ok := e.evaluated[gr.key]; ok {
			gr.resume(c)
			clocks[gr.key] = gr.clock
		}
		for ri := range group.Rules {
			r := &group.Rules[ri]
			live[r.ID] = true
			b := &bound{plan: g.plan, group: group, rule: r, ask: asks[ri], from: from, state: e.stateLocked(r.ID), reads: readsWritten(r.Expr, written)}
			b.remind()
			gr.rules = append(gr.rules, b)
			g.rules = append(g.rules, b)
		}
		gr.due = make([]time.Time, len(gr.rules))
		groups = append(groups, gr)
	}
	e.evaluated = clocks
	maps.DeleteFunc(e.times, func(key string, _ groupTime) bool { return !keys[key] })
	e.metrics.keepGroups(groups)
	e.ready = e.ready || len(clocks) == len(groups)
	var orphans []*ruleState
	for id, s := range e.states {
		if !live[id] && !strings.HasPrefix(string(id), builtinPrefix) {
			orphans = append(orphans, s)
		}
	}
	return g, groups, orphans
}

// remind finds the next end of a for anew: this plan may have another for. What is over by it is due now.
func (b *bound) remind() {
	s := b.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextAt = oncall.NextDue(b.timing(), s.alerts.lean(), time.Time{})
	if now := wallNow(); !s.nextAt.IsZero() && s.nextAt.Before(now) {
		s.nextAt = now
	}
}

// groupRun evaluates one group in one generation.
type groupRun struct {
	gen   *generation
	key   string
	slots slots
	clock groupClock // owned by grid
	rules []*bound
	kept  map[string]*Reuse // of the grid's questions; owned by grid
	due   []time.Time       // of each rule: the end of a for that extras was told of last; owned by grid
	wake  chan struct{}     // tells extras that the end of some for may have changed
}

// resume goes on where the grid of an earlier generation stood.
func (gr *groupRun) resume(c groupClock) {
	if c.interval == gr.clock.interval {
		gr.clock = c
		return
	}
	gr.clock.last = gr.slots.floor(time.Now())
}

// grid evaluates the group once at once and then at every slot. A slot that passes while the group is
// still busy is skipped and counted, but for the last one, which is evaluated late.
func (gr *groupRun) grid(ctx context.Context) {
	if gr.clock.last.IsZero() {
		if !sleep(ctx, gr.slots.firstDelay()) {
			return
		}
		at := time.Now().UTC().Round(0).Truncate(time.Millisecond)
		if !gr.iterate(ctx, at) {
			return
		}
		gr.done(gr.slots.floor(at), at)
	}
	for {
		now := time.Now()
		next := gr.clock.last.Add(gr.clock.interval)
		if next.Sub(now) > gr.clock.interval { // the wall clock was set back
			next = gr.slots.after(now)
		}
		if !sleep(ctx, time.Until(next)) {
			return
		}
		if late := gr.slots.floor(time.Now()); late.After(next) {
			gr.gen.e.metrics.missed(gr.key, int(late.Sub(next)/gr.clock.interval))
			next = late
		}
		if !gr.iterate(ctx, next) {
			return
		}
		gr.done(next, next)
	}
}

// done records that a slot was evaluated completely.
func (gr *groupRun) done(slot, at time.Time) {
	gr.clock.last = slot
	e := gr.gen.e
	e.metrics.lastEvaluation(gr.key, at)
	e.mu.Lock()
	e.evaluated[gr.key] = gr.clock
	e.ready = e.ready || len(e.evaluated) == len(gr.gen.plan.Groups)
	e.mu.Unlock()
	e.forgetLoad()
}

// iterate evaluates the rules in order, and fetches answers ahead of it. Once the backend has let a query wait to its timeout, the rest of
// the group shares what is left of the interval, so that one hanging backend costs about one interval and
// not one timeout per rule. It reports whether it came to its end.
func (gr *groupRun) iterate(ctx context.Context, at time.Time) bool {
	g := gr.gen
	hung, failed := false, 0
	end := at.Add(gr.clock.interval)
	it := &iteration{at: at, began: time.Now(), answers: map[string]*answered{}, kept: gr.kept}
	later := newLookahead(ctx, gr, it)
	defer later.close()
	for i, b := range gr.rules {
		timeout := g.plan.queryTimeout(b.group)
		if hung {
			share := time.Until(end) / time.Duration(len(gr.rules)-i)
			timeout = min(timeout, max(share, time.Second))
		}
		later.fetch(i)
		start := time.Now()
		err := g.evaluate(ctx, b, at, it, timeout)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			failed++
		}
		if err != nil && kindOf(err) == BackendError {
			later.stop()
			hung = hung || later.hangs() || time.Since(start) >= timeout*9/10
		}
		if _, _, due := b.state.read(); !due.Equal(gr.due[i]) {
			gr.due[i] = due
			wake(gr.wake)
		}
	}
	took := time.Since(it.began)
	g.e.metrics.group.iterated(gr, took, failed)
	g.e.mu.Lock()
	g.e.times[gr.key] = groupTime{began: it.began, took: took}
	g.e.mu.Unlock()
	return true
}

// extras asks single rules again where a for ends between two slots: each in a goroutine of its own, so
// that no due alert waits behind another rule's slow query.
func (gr *groupRun) extras(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	asked := make([]time.Time, len(gr.rules)) // per rule: the last end of a for that was asked for
	for {
		now := time.Now()
		var next time.Time
		for i, b := range gr.rules {
			_, _, due := b.state.read()
			if due.IsZero() || due.Equal(asked[i]) {
				continue
			}
			start := due
			if due.Equal(gr.slots.floor(due)) {
				start = due.Add(dueGrace)
			}
			if start.After(now) {
				if next.IsZero() || start.Before(next) {
					next = start
				}
				continue
			}
			asked[i] = due
			wg.Go(func() { gr.extra(ctx, b, due) })
		}
		if !await(ctx, next, gr.wake) {
			return
		}
	}
}

// extra is one extra evaluation. Another pending alert of the rule may be due next.
func (gr *groupRun) extra(ctx context.Context, b *bound, due time.Time) {
	err := gr.gen.evaluate(ctx, b, due, nil, gr.gen.plan.queryTimeout(b.group))
	if err != nil && !errors.Is(err, context.Canceled) {
		gr.gen.e.log.Warn("The extra evaluation at the end of a for failed; the group's next one asks again",
			"rule", b.rule.ID, "err", err)
	}
	wake(gr.wake)
}

// await waits until next (zero: for ever) or for a token in poke. It is false when ctx has ended.
func await(ctx context.Context, next time.Time, poke <-chan struct{}) bool {
	var fired <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		fired = t.C
	}
	select {
	case <-fired:
	case <-poke:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
