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

// The dispatcher consumes the log of what was received and decides what follows: changes for the incidents,
// and notifications of groups to Alertmanager's integrations.
//
// It is one goroutine (dispatchRun) that works in turns: it takes in what was received and what attempts
// came to, does what is due, has all of that committed, and only then sends. What it keeps in memory
// (dispatchState) is ahead of the store by one commit under way and the decisions since: after a commit that failed, or
// whose outcome is unknown, it is read again from there, so that nothing needs to be undone. Read on at
// dispatchRun.turn (dispatchturn.go).

const (
	dispatchRows    = 64                    // rows of the log read at once
	dispatchCommit  = 256                   // rows that are enough for a commit
	intakeTime      = 10 * time.Millisecond // of a turn go into taking in rows, where there are so many …
	flushTime       = 20 * time.Millisecond // … and into flushing groups
	groupAttempts   = 1024                  // attempts under way at once
	groupsPerTarget = 16                    // of these to one integration
	startUp         = time.Minute           // after a start alerts are held back for sources that inhibit them …
	startHold       = 5 * time.Second       // … for so long
	gatherResults   = 10 * time.Millisecond
	checkpointEvery = 30 * time.Second // alerts are written behind at least so often, while there is something to write
)

// SilenceReader is what the dispatcher needs of Silences.
type SilenceReader interface {
	Current() (set *oncall.SilenceSet, version int64)
	Refresh(ctx context.Context) error
	Committed(changed []oncall.Silence)
}

// DispatcherOptions are what the dispatcher needs.
type DispatcherOptions struct {
	Store    DispatchStore
	Silences SilenceReader
	// Remind tells people that silences end soon. It is called in a goroutine of its own, once what it is
	// called for is on disk. nil: they are logged only.
	Remind     func(context.Context, []oncall.SilenceReminder)
	StartDelay time.Duration         // nothing is flushed for so long after Run began
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Dispatcher is the loop between what is received and those who are told.
type Dispatcher struct {
	o       DispatcherOptions
	log     *slog.Logger
	metrics *dispatcherMetrics
	applied atomic.Pointer[dispatchSetup] // nil until Apply
	wake    chan struct{}

	mu    sync.RWMutex   // what the loop holds is written under it, and read by the API
	state *dispatchState // nil: nothing can be said yet
}

// dispatchSetup is one load of the configuration. It never changes.
type dispatchSetup struct {
	policy oncall.Policy
	sender GroupSender
}

var _ DispatchView = (*Dispatcher)(nil)

// NewDispatcher makes the loop. It does nothing before Apply and Run.
func NewDispatcher(o DispatcherOptions) *Dispatcher {
	return &Dispatcher{
		o: o, log: logger(o.Logger), metrics: newDispatcherMetrics(o.Registerer), wake: make(chan struct{}, 1),
	}
}

// Apply sets the policy and who sends, from the next decision and the next attempt on. Groups whose route is
// still there keep their timers and what is on record of them; all alerts are routed anew.
func (d *Dispatcher) Apply(p oncall.Policy, sender GroupSender) {
	d.applied.Store(&dispatchSetup{policy: p, sender: sender})
	d.Wake()
}

// Wake makes the loop look at the store now: after commits that wrote to the log, and when silences changed.
// It never blocks.
func (d *Dispatcher) Wake() { poke(d.wake) }

// Run works until ctx ends (nil) or the lease is lost (oncall.ErrLeaseLost). Any other failure of the store
// is logged, counted and tried again within a second. aliveAt is when a process last dispatched before this
// one, zero: unknown; what nobody could report again since does not end for that. When ctx ends, attempts
// under way get some seconds to end and to be committed; what does not is sent again under the same key by
// whoever comes next. Run may be called again afterwards, not twice at once.
func (d *Dispatcher) Run(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
	r := newDispatchRun(d, lease, aliveAt, context.WithoutCancel(ctx))
	err := r.loop(ctx)
	r.stop(err)
	d.mu.Lock()
	d.state = nil
	d.mu.Unlock()
	return err
}

// dispatchRun is one Run. Its fields belong to the goroutine in loop, but for the channel; what d.state
// leads to is written under d.mu.
type dispatchRun struct {
	*Dispatcher
	lease   oncall.Lease
	started time.Time
	aliveAt time.Time
	s       *dispatchState
	fresh   bool // s was read from the store and holds what is there
	caught  bool // the log was read up to the start: from then on the clock counts

	silences        *oncall.SilenceSet
	silencesVersion int64
	boundary        time.Time // when a silence next starts or ends
	remindAt        time.Time // when to look for silences that end soon
	refreshedAt     time.Time // when the store was last asked for silences
	polledAt        time.Time // when it was last asked for rows of the log
	observedAt      time.Time // when the metrics last counted
	sweptAt         time.Time // what silences mute is known as of then, or of a later instant
	turnedAt        time.Time // the last turn, by the wall's clock

	rows []oncall.Received // of the log, read and not taken in
	more bool              // there may be more of them

	batch      *dispatchBatch // what was decided since the last commit began
	committing *dispatchBatch // being written; nil: nothing is
	committed  chan error     // how that ended
	commitErr  error          // how the last one failed, until the next turn

	lanes     *groupLanes
	heldUntil time.Time     // an integration that asked for a pause is to be asked again
	unsettled []groupResult // of attempts, not decided on yet
	results   chan groupResult

	sending   context.Context // of attempts
	stopSend  context.CancelFunc
	writing   context.Context // of commits: outlives the loop's, so that results are not lost
	stopWrite context.CancelFunc
	helpers   sync.WaitGroup
}

func newDispatchRun(d *Dispatcher, lease oncall.Lease, aliveAt time.Time, base context.Context) *dispatchRun {
	r := &dispatchRun{
		Dispatcher: d, lease: lease, started: time.Now(), aliveAt: aliveAt,
		batch: &dispatchBatch{}, committed: make(chan error, 1),
		lanes: newGroupLanes(), results: make(chan groupResult, groupAttempts),
	}
	r.sending, r.stopSend = context.WithCancel(base)
	r.writing, r.stopWrite = context.WithCancel(base)
	return r
}

func (r *dispatchRun) loop(ctx context.Context) error {
	var b backoff
	for {
		next, err := r.turn(ctx)
		switch {
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.fresh = false // what was not committed must not stay in memory
			if !sleep(ctx, b.next(), nil) {
				return nil
			}
			continue
		}
		b.reset()
		if !r.wait(ctx, next) {
			return nil
		}
	}
}

// wait waits until an instant, a wake-up or the end of an attempt, and returns false if ctx ended. Attempts
// that end soon after one another are committed together.
func (r *dispatchRun) wait(ctx context.Context, until time.Time) bool {
	d := poll
	if !until.IsZero() {
		d = min(poll, time.Until(until))
	}
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	gathering := false
	for {
		select {
		case <-ctx.Done():
			return false
		case res := <-r.results:
			r.landed(res)
			if !gathering {
				if r.lanes.underWay() == 0 {
					return true
				}
				gathering = true
				timer.Reset(min(d, gatherResults))
			}
			continue
		case err := <-r.committed:
			r.ended(err)
		case <-r.wake:
			r.polledAt = time.Time{}
		case <-timer.C:
		}
		return true
	}
}

// failed makes a store error loud. A lost lease and an ended context are no failures.
func (r *dispatchRun) failed(ctx context.Context, step string, err error) error {
	if err == nil || errors.Is(err, oncall.ErrLeaseLost) || ctx.Err() != nil {
		return err
	}
	r.metrics.errors.WithLabelValues(step).Inc()
	r.log.ErrorContext(ctx, "the dispatcher could not use the store; it goes on trying", "step", step, "err", err)
	return err
}

// stop ends what is under way: at once if the lease was lost, because somebody else may be sending the same
// by now, else after the grace. What came of it is committed.
func (r *dispatchRun) stop(err error) {
	defer r.helpers.Wait()
	defer r.stopSend()
	defer r.stopWrite()
	r.lanes.close()
	if err != nil {
		r.stopSend()
	}
	defer time.AfterFunc(grace, r.stopSend).Stop()
	defer time.AfterFunc(grace+2*commitGrace, r.stopWrite).Stop()
	limit := time.NewTimer(grace + commitGrace)
	defer limit.Stop()
	r.drain(limit.C)
	if werr := r.awaitCommit(r.writing); err == nil && werr != nil {
		_ = r.failed(r.writing, "commit", werr) // what was sent is sent again under the same key
	}
	if err != nil || !r.fresh {
		return
	}
	r.mu.Lock()
	r.settle(time.Now())
	r.mu.Unlock()
	if !r.seal() {
		return
	}
	ctx, cancel := context.WithTimeout(r.writing, commitGrace)
	defer cancel()
	if err := r.write(ctx, r.committing); err != nil {
		_ = r.failed(ctx, "commit", err)
	}
}

// drain waits for the attempts under way.
func (r *dispatchRun) drain(limit <-chan time.Time) {
	check := time.NewTicker(10 * time.Millisecond) // a worker that is through says so to nobody
	defer check.Stop()
	for {
		r.collect()
		n := r.lanes.underWay()
		if n == 0 {
			r.collect()
			return
		}
		select {
		case res := <-r.results:
			r.landed(res)
		case <-check.C:
		case <-limit:
			r.log.Error("attempts did not end when they were told to; they are left behind", "notifications", n)
			return
		}
	}
}
