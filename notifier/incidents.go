package notifier

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

const (
	changeBatch = 500         // alert changes in one transaction
	dueBatch    = 500         // incidents ticked in one turn
	tickers     = 32          // ticks under way at once: they share commits
	maxTicks    = 64          // ticks of one incident in one turn
	poll        = time.Second // the safety net under every wake-up
)

// IncidentOptions are what the incident loop needs.
type IncidentOptions struct {
	Store      IncidentStore
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Incidents runs incidents through the core: it consumes alert changes and ticks what is due. It holds
// nothing that is not in the store but the policy and a short memory of what went wrong.
type Incidents struct {
	store   IncidentStore
	log     *slog.Logger
	metrics *incidentMetrics
	policy  atomic.Pointer[oncall.Policy] // nil until Apply
	recheck atomic.Bool                   // every open incident is to be ticked under a new policy
	wake    chan struct{}

	// What follows belongs to the goroutine in Run.
	cursor  int64     // recheck goes on below this number; 0: at the newest
	drills  bool      // recheck is done with the incidents, and looks at the drills
	stale   []int64   // those that recheck found and has not ticked yet
	setOff  []string  // changes set aside in this turn
	resting time.Time // changes are left alone until then, because one was set aside

	mending []oncall.Mended // being made up for, with
	mended  int64           // the number below which incidents are looked at for it; 0: at the newest

	mu   sync.Mutex      // also taken by tick's goroutines
	mend []oncall.Mended // told since
	held map[int64]hold  // incidents whose decision panicked
}

// hold keeps an incident out of the loop for a while.
type hold struct {
	until time.Time
	tries int
}

// NewIncidents makes the loop. It does nothing before Apply and Run.
func NewIncidents(o IncidentOptions) *Incidents {
	return &Incidents{
		store: o.Store, log: logger(o.Logger), metrics: newIncidentMetrics(o.Registerer),
		wake: make(chan struct{}, 1), held: map[int64]hold{},
	}
}

// Apply sets the policy from the next decision on, and has every open incident looked at under it. It may
// be called at any time, from any goroutine.
func (l *Incidents) Apply(p oncall.Policy) {
	l.policy.Store(&p)
	l.recheck.Store(true)
	l.Wake()
}

// ApplyOverrides is Apply for a policy that differs from the one before in its overrides alone. No incident is looked
// at for that: who is on call is asked when a tier is told, and no timer depends on it.
func (l *Incidents) ApplyOverrides(p oncall.Policy) { l.policy.Store(&p) }

// Wake makes the loop look at the store now: after commits that wrote alert changes or incidents. It never
// blocks.
func (l *Incidents) Wake() { poke(l.wake) }

// Run works until ctx ends (nil) or the lease is lost (oncall.ErrLeaseLost). Any other failure of the
// store is logged, counted and tried again within a second. Run may be called again afterwards, not twice
// at once.
func (l *Incidents) Run(ctx context.Context, lease oncall.Lease) error {
	l.recheck.Store(true)
	l.cursor, l.drills, l.stale, l.mended = 0, false, nil, 0
	var b backoff
	for {
		next, err := l.turn(ctx, lease)
		wait := max(0, time.Until(next))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case err != nil:
			wait = b.next()
			if !sleep(ctx, wait, nil) { // not woken early: a broken store is asked at its own pace
				return nil
			}
			continue
		}
		b.reset()
		if !sleep(ctx, min(wait, poll), l.wake) {
			return nil
		}
	}
}

// turn does what there is to do now and returns when there is more. Its steps are independent: one that
// fails does not keep the others from running.
func (l *Incidents) turn(ctx context.Context, lease oncall.Lease) (next time.Time, err error) {
	if l.policy.Load() == nil {
		return time.Now().Add(poll), nil
	}
	more, changesErr := l.consume(ctx, lease)
	next, dueErr := l.runDue(ctx, lease)
	if l.resting.After(time.Now()) {
		next = earlier(next, l.resting)
	}
	again, recheckErr := l.recheckOpen(ctx, lease)
	made, mendErr := l.makeUp(ctx, lease)
	if more || again || made {
		next = time.Now()
	}
	if next.IsZero() {
		next = time.Now().Add(poll)
	}
	return next, errors.Join(changesErr, dueErr, recheckErr, mendErr)
}

// runDue ticks the incidents that are due and returns when the next one is.
func (l *Incidents) runDue(ctx context.Context, lease oncall.Lease) (time.Time, error) {
	now := time.Now()
	due, next, err := l.store.DueIncidents(ctx, now, dueBatch+l.holding())
	if err != nil {
		return next, l.failed(ctx, "due", err)
	}
	free := due[:0:0]
	for _, number := range due {
		if until, ok := l.heldUntil(number, now); ok {
			next = earlier(next, until)
			continue
		}
		free = append(free, number)
	}
	again, err := l.tickAll(ctx, lease, free, true)
	if again || len(free) >= dueBatch {
		next = now
	}
	return next, err
}

// tickAll ticks incidents side by side, those that are urgent before other work. again says that one of them is still due.
func (l *Incidents) tickAll(ctx context.Context, lease oncall.Lease, numbers []int64, urgent bool) (again bool, err error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards again and err
		slots = make(chan struct{}, tickers)
	)
	for _, number := range numbers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			more, tickErr := l.tick(ctx, lease, number, urgent)
			mu.Lock()
			defer mu.Unlock()
			again = again || more
			if err == nil || errors.Is(tickErr, oncall.ErrLeaseLost) {
				err = errors.Join(tickErr) // one stands for all: a store that is down fails them alike
			}
		})
	}
	wg.Wait()
	return again, err
}

// tick ticks one incident until nothing is due. One tick runs at most one tier, and each is committed by
// itself, so that tiers which came due during a downtime go out one after the other.
func (l *Incidents) tick(ctx context.Context, lease oncall.Lease, number int64, urgent bool) (again bool, err error) {
	for range maxTicks {
		now := time.Now()
		var due time.Time
		d, err := l.store.UpdateIncident(ctx, oncall.Write{Now: now, Lease: &lease, Urgent: urgent}, number,
			func(in oncall.Incident) (oncall.Decision, error) {
				due = in.NextAt
				return decide(now, in, oncall.Tick{}, *l.policy.Load())
			})
		if p, ok := errors.AsType[*panicError](err); ok {
			l.metrics.panics.Inc()
			l.log.ErrorContext(ctx, "deciding about an incident failed; it is left alone for a while and then tried again",
				"incident", number, "for", l.hold(number, now), "err", p.Error(), "stack", p.stack)
			return false, nil
		}
		if oncall.ErrorCode(err) == oncall.CodeNotFound {
			l.release(number)
			return false, nil // removed by retention in between
		}
		if err != nil {
			return false, l.failed(ctx, "tick", err)
		}
		l.release(number)
		if d.Changed {
			l.metrics.decisions.WithLabelValues("tick").Inc()
			if !due.IsZero() {
				l.metrics.lag.WithLabelValues("timer").Observe(now.Sub(due).Seconds())
			}
		}
		if at := d.Incident.NextAt; at.IsZero() || at.After(time.Now()) {
			return false, nil
		}
		if !d.Changed { // due, and nothing follows: a defect, and it must not spin
			l.log.ErrorContext(ctx, "an incident is due but nothing follows; it is left alone for a while", "incident", number, "for", l.hold(number, now))
			return false, nil
		}
	}
	return true, nil
}

// failed makes a store error loud. A lost lease and an ended context are no failures.
func (l *Incidents) failed(ctx context.Context, step string, err error) error {
	if errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
		return err
	}
	l.metrics.errors.WithLabelValues(step).Inc()
	l.log.ErrorContext(ctx, "the incident loop could not use the store; it goes on trying", "step", step, "err", err)
	return err
}

// hold leaves an incident alone for 1, 2, 4 … 60 seconds and returns for how long.
func (l *Incidents) hold(number int64, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[number]
	wait := min(time.Minute, time.Second<<min(h.tries, 6))
	l.held[number] = hold{until: now.Add(wait), tries: h.tries + 1}
	return wait
}

func (l *Incidents) heldUntil(number int64, now time.Time) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.held[number]
	return h.until, ok && h.until.After(now)
}

func (l *Incidents) release(number int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, number)
}

func (l *Incidents) holding() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}
