package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

const (
	maxInFlight = 256              // deliveries being sent at once, over all endpoints
	claimBatch  = 64               // deliveries in one claim
	maxSettlers = 2                // bundles being settled at once: the store does one at a time, and first pages wait behind it
	settleBatch = 20               // members of a bundle that are settled in one use case
	hardTimeout = 30 * time.Second // a bound on any attempt, whatever its sender allows
	grace       = 5 * time.Second  // at the end, for attempts under way
	commitGrace = 2 * time.Second  // after that, for committing what they came to
	leaveWithin = 10 * time.Second // after a claim of unknown outcome, once the store works again
)

// DeliveryOptions are what the delivery loop needs.
type DeliveryOptions struct {
	Store      DeliveryStore
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
	// Mended is told of an endpoint that takes things again after it took nothing until a person mended that. It must not
	// wait. nil: nobody is told.
	Mended func(oncall.Mended)
}

// Deliveries sends what is due. Each claimed delivery has a goroutine of its own from the claim to the
// commit of its result, so that a slow far end, or a slow commit, delays nobody else; how many an endpoint
// may have is decided before the claim (lanes.go).
type Deliveries struct {
	store   DeliveryStore
	log     *slog.Logger
	metrics *deliveryMetrics
	setup   atomic.Pointer[setup] // nil until Apply
	wake    chan struct{}
	running atomic.Pointer[lanes] // of the Run under way, nil without one
	past    pasts
	applied func() // called by Apply; set before the first
	mended  func(oncall.Mended)
}

// setup is one load of the configuration. It never changes.
type setup struct {
	policy  oncall.Policy
	senders map[string]Sender // by Endpoint.Kind(), or under Integrations
	load    *byte             // which load of the senders this is
}

// Integrations is the key of the sender that serves all endpoints which are Alertmanager's integrations and have no
// sender of their own.
const Integrations = "*_configs"

// sender returns who sends to an endpoint, nil for nobody.
func (s *setup) sender(e oncall.Endpoint) Sender {
	if sender := s.senders[e.Kind()]; sender != nil || !e.Integration() {
		return sender
	}
	return s.senders[Integrations]
}

// NewDeliveries makes the loop. It does nothing before Apply and Run.
func NewDeliveries(o DeliveryOptions) *Deliveries {
	mended := o.Mended
	if mended == nil {
		mended = func(oncall.Mended) {}
	}
	return &Deliveries{
		mended: mended,
		store:  o.Store, log: logger(o.Logger), metrics: newDeliveryMetrics(o.Registerer),
		wake: make(chan struct{}, 1), applied: func() {},
	}
}

// Apply sets the policy and the senders, by the kind of endpoint that they serve (Integrations for those of
// Alertmanager), from the next attempt on, and enables the endpoints again that answered 410. Attempts under way end with the senders that they
// began with. The map must not be changed afterwards.
func (l *Deliveries) Apply(p oncall.Policy, senders map[string]Sender) {
	l.setup.Store(&setup{policy: p, senders: senders, load: new(byte)})
	l.applied()
	l.Wake()
}

// ApplyPolicy sets another policy under the senders of the last Apply, which it must follow: for what changes without
// a new configuration. Endpoints that are disabled stay so.
func (l *Deliveries) ApplyPolicy(p oncall.Policy) {
	before := l.setup.Load()
	l.setup.Store(&setup{policy: p, senders: before.senders, load: before.load})
	l.Wake()
}

// Wake makes the loop look at the store now: after commits that wrote deliveries. It never blocks.
func (l *Deliveries) Wake() { poke(l.wake) }

// Run claims and sends until ctx ends (nil) or the lease is lost (an error that is oncall.ErrLeaseLost).
// Any other failure of the store is logged, counted and tried again within a second; but after a claim
// that may have been committed without our knowledge, the lease is given up too, because only a new epoch
// claims those deliveries again. When ctx ends, nothing more is claimed,
// and what is under way gets some seconds to end and to be committed; what does not is sent again under
// the same key by whoever comes next. Run may be called again afterwards, with a new lease.
func (l *Deliveries) Run(ctx context.Context, lease oncall.Lease) error {
	r := newDeliveryRun(l, lease, context.WithoutCancel(ctx))
	l.running.Store(r.lanes)
	defer l.running.Store(nil)
	err := r.loop(ctx)
	r.stop(err)
	return err
}

// errAcquireAnew gives up a lease that is still ours.
var errAcquireAnew = fmt.Errorf("%w, by intent: a claim may have been committed without our knowledge", oncall.ErrLeaseLost)

// deliveryRun is one Run. Its fields belong to the goroutine in loop and stop, but for the channel.
type deliveryRun struct {
	*Deliveries
	lease oncall.Lease
	lanes *lanes
	using *setup // that the lanes know of

	sending    context.Context // of attempts
	stopSend   context.CancelFunc
	committing context.Context // of results
	stopCommit context.CancelFunc
	settling   context.Context // of members of bundles; ends with the run
	stopSettle context.CancelFunc

	flying   map[string]bool // keys between claim and result, and bundles that are being settled
	settlers int             // of those
	results  chan result     // as large as maxInFlight and maxSettlers: it never blocks
	pace     pace            // of claims
	unsure   bool            // a claim failed: the store may have marked what nobody sends
	leaveBy  time.Time       // the store works again after that: leave when nothing is under way, at the latest then
}

// result is what the goroutine of one delivery reports when it is through.
type result struct {
	key      string
	endpoint oncall.Endpoint
	attempt  oncall.Attempt
	sent     bool  // a sender was asked
	drill    bool  // the delivery was of a drill
	settled  bool  // no delivery: members of a bundle were settled
	err      error // ErrLeaseLost ends the run
}

func newDeliveryRun(l *Deliveries, lease oncall.Lease, base context.Context) *deliveryRun {
	r := &deliveryRun{
		Deliveries: l, lease: lease, lanes: newLanes(), flying: map[string]bool{},
		results: make(chan result, maxInFlight+maxSettlers),
	}
	r.committing, r.stopCommit = context.WithCancel(base)
	r.sending, r.stopSend = context.WithCancel(r.committing)
	r.settling, r.stopSettle = context.WithCancel(r.committing)
	return r
}

func (r *deliveryRun) loop(ctx context.Context) error {
	var b backoff
	for ctx.Err() == nil {
		if err := r.collect(); err != nil {
			return err
		}
		if !r.leaveBy.IsZero() && (len(r.flying) == 0 || !time.Now().Before(r.leaveBy)) {
			return errAcquireAnew
		}
		if !b.ready() {
			if err := r.wait(ctx, b.until, false); err != nil {
				return err
			}
			continue
		}
		if r.pace.next.After(time.Now()) {
			if err := r.wait(ctx, r.pace.next, false); err != nil {
				return err
			}
			continue
		}
		began := time.Now()
		next, err := r.claim(ctx)
		r.pace.spend(began, time.Now())
		switch {
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.unsure = true
			r.metrics.errors.WithLabelValues("claim").Inc()
			r.log.ErrorContext(ctx, "deliveries could not be claimed; this is tried again", "err", err)
			b.next()
			continue
		}
		b.reset()
		if r.unsure && r.leaveBy.IsZero() {
			r.leaveBy = time.Now().Add(leaveWithin)
		}
		if err := r.wait(ctx, next, true); err != nil {
			return err
		}
	}
	return nil
}

// claim takes what is due and free to go, and starts it. It returns when there may be more.
func (r *deliveryRun) claim(ctx context.Context) (next time.Time, err error) {
	now := time.Now()
	s := r.setup.Load()
	limit := min(claimBatch, maxInFlight-len(r.flying))
	if s == nil || limit <= 0 {
		return now.Add(poll), nil
	}
	if r.using == nil || s.load != r.using.load {
		r.lanes.enable()
	}
	r.using = s
	got, err := r.store.ClaimDeliveries(ctx, oncall.Write{Now: now, Lease: &r.lease, Urgent: true}, oncall.ClaimRequest{
		Limit:  limit,
		Free:   func(e oncall.Endpoint, target string) int { return r.lanes.free(e, target, now) },
		Freeze: func(d oncall.Delivery, b oncall.Bundle) []byte { return oncall.FreezeBundle(now, s.policy, d, b) },
	})
	if err != nil {
		return got.Next, err
	}
	for _, c := range got.Claims {
		r.start(s, c, now)
	}
	for _, key := range got.Ended {
		r.settle(key)
	}
	if len(got.Claims) == limit {
		return now, nil
	}
	next = got.Next
	if !next.After(now) {
		next = time.Time{} // due, but its endpoint is not free: a result or a lane says when it is
	}
	return earlier(next, r.lanes.next(now)), nil
}

func (r *deliveryRun) start(s *setup, c oncall.Claim, now time.Time) {
	d := c.Delivery
	r.flying[d.Key] = true
	r.metrics.inFlight.Inc()
	if !d.NextAt.IsZero() && !d.Drill {
		r.metrics.lag.WithLabelValues(d.Endpoint.Kind()).Observe(now.Sub(d.NextAt).Seconds())
	}
	if d.Bundled > 0 && d.Attempts == 1 {
		r.metrics.bundles.WithLabelValues(d.Endpoint.Kind()).Inc()
		r.metrics.bundled.WithLabelValues(d.Endpoint.Kind()).Add(float64(d.Bundled))
	}
	f := flight{Deliveries: r.Deliveries, setup: s, lease: r.lease, claim: c, off: r.lanes.start(&c, now)}
	go func() {
		res := f.run(r.sending, r.committing)
		r.metrics.inFlight.Dec()
		r.results <- res
	}()
}

// collect takes in the results that are there.
func (r *deliveryRun) collect() error {
	for {
		select {
		case res := <-r.results:
			if err := r.landed(res); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (r *deliveryRun) landed(res result) error {
	delete(r.flying, res.key)
	if res.settled {
		r.settlers--
		if errors.Is(res.err, oncall.ErrLeaseLost) {
			return oncall.ErrLeaseLost
		}
		return nil
	}
	if r.lanes.done(res) {
		r.mended(oncall.Mended{Endpoint: res.endpoint})
	}
	if res.sent {
		r.past.take(res.endpoint, res.attempt)
	}
	if errors.Is(res.err, oncall.ErrLeaseLost) {
		return oncall.ErrLeaseLost
	}
	return nil
}

// wait waits until something may have become possible: a result, a wake-up (where it counts), an instant.
func (r *deliveryRun) wait(ctx context.Context, until time.Time, wakes bool) error {
	d := poll
	if !until.IsZero() {
		d = min(poll, max(0, time.Until(until)))
	}
	var wake <-chan struct{}
	if wakes {
		wake = r.wake
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case res := <-r.results:
		return r.landed(res)
	case <-wake:
	case <-timer.C:
	}
	return nil
}

// stop ends what is under way: at once if the lease was lost, because somebody else may be sending the
// same by now, else after the grace.
func (r *deliveryRun) stop(err error) {
	defer r.stopCommit()
	defer r.stopSend()
	r.stopSettle()
	if err != nil && !errors.Is(err, errAcquireAnew) {
		r.stopCommit() // ends the attempts too
	} else {
		defer time.AfterFunc(grace, r.stopSend).Stop()
		defer time.AfterFunc(grace+commitGrace, r.stopCommit).Stop()
	}
	limit := time.NewTimer(grace + 2*commitGrace)
	defer limit.Stop()
	for len(r.flying) > 0 {
		select {
		case res := <-r.results:
			_ = r.landed(res) // the run is ending as it is
		case <-limit.C:
			r.log.Error("attempts did not end when they were told to; they are left behind", "deliveries", len(r.flying))
			return
		}
	}
}
