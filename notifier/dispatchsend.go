package notifier

import (
	"context"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"tocsin/oncall"
)

// How notifications are sent: each integration takes a few at a time, in the order in which they were
// decided, so that a slow or dead one delays no other. What is sent was committed before; a first attempt needs
// no second commit. Attempts go on while the loop commits, so that its pace does not limit theirs.

// groupLanes are the integrations with what waits for them. Its fields are guarded by mu.
type groupLanes struct {
	mu      sync.Mutex
	of      map[oncall.Endpoint]*groupLane
	flying  map[string]bool // keys between the start of an attempt and the loop's hearing of its end
	workers int
	closed  bool // nothing more is begun
}

type groupLane struct {
	workers int
	waiting []groupJob
	held    time.Time // Retry-After: nothing is sent before
	off     string    // why nothing is sent any more under the setup offBy; "" if it is not off
	offBy   *dispatchSetup
}

// groupJob is an attempt to make. It holds copies of what belongs to the loop.
type groupJob struct {
	of     *sending
	number int // of.jobs, unless it was withdrawn since
	d      oncall.GroupDelivery
	route  *oncall.Route
	last   oncall.Notice
	setup  *dispatchSetup
}

// groupResult is what came of an attempt.
type groupResult struct {
	key      string
	endpoint oncall.Endpoint
	attempt  oncall.Attempt
}

// What a notification is doing. Who moves it from waiting does so once.
const (
	sendingIdle int32 = iota // known to the loop only
	sendingWaits
	sendingFlies
)

func newGroupLanes() *groupLanes {
	return &groupLanes{of: map[oncall.Endpoint]*groupLane{}, flying: map[string]bool{}}
}

// room reports whether an integration would take one more right away.
func (l *groupLanes) room(e oncall.Endpoint, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.of[e]
	return lane == nil || len(lane.waiting) == 0 && lane.workers < groupsPerTarget && !lane.held.After(now)
}

// restart forgets what waits: it is read from the store again. It returns what is under way.
func (l *groupLanes) restart() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lane := range l.of {
		lane.waiting = nil
	}
	return maps.Clone(l.flying)
}

// close has nothing more begun.
func (l *groupLanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

func (l *groupLanes) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.workers
}

// take hands a worker of an integration its next job; false: there is none, and the worker is gone.
func (l *groupLanes) take(e oncall.Endpoint) (groupJob, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.of[e]
	for !l.closed && len(lane.waiting) > 0 && !lane.held.After(time.Now()) {
		job := lane.waiting[0]
		lane.waiting[0] = groupJob{}
		lane.waiting = lane.waiting[1:]
		if job.number == job.of.jobs && job.of.state.CompareAndSwap(sendingWaits, sendingFlies) { // else it was overtaken
			l.flying[job.d.Key] = true
			return job, true
		}
	}
	lane.workers--
	l.workers--
	return groupJob{}, false
}

// enqueue has an attempt made as soon as its integration takes it. The delivery must be committed.
func (r *dispatchRun) enqueue(t *sending) {
	l := r.lanes
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.state.CompareAndSwap(sendingIdle, sendingWaits) {
		return
	}
	t.jobs++
	job := groupJob{number: t.jobs, of: t, d: t.d, route: t.group.route, setup: r.s.setup}
	job.d.Attempts++
	if t.d.Reason != oncall.ReasonFirstNotification {
		job.last = t.group.record.Notified[t.d.Endpoint]
	}
	lane := l.of[t.d.Endpoint]
	if lane == nil {
		lane = &groupLane{}
		l.of[t.d.Endpoint] = lane
	}
	lane.waiting = append(lane.waiting, job)
	if lane.held.After(time.Now()) {
		r.heldUntil = earlier(r.heldUntil, lane.held)
	}
	r.staff(t.d.Endpoint, lane)
}

// staff gives an integration the workers that it may have. It is called with lanes.mu held.
func (r *dispatchRun) staff(e oncall.Endpoint, lane *groupLane) {
	l := r.lanes
	now := time.Now()
	for more := len(lane.waiting); more > 0 && !l.closed && lane.workers < groupsPerTarget && !lane.held.After(now); more-- {
		if l.workers >= groupAttempts && lane.workers > 0 { // one is for each, however many others hang
			return
		}
		lane.workers++
		l.workers++
		go r.attemptAll(e)
	}
}

// attemptAll makes one attempt after the other at an integration, until nothing waits for it.
func (r *dispatchRun) attemptAll(e oncall.Endpoint) {
	for {
		job, ok := r.lanes.take(e)
		if !ok {
			return
		}
		r.metrics.inFlight.Inc()
		res := groupResult{key: job.d.Key, endpoint: e, attempt: r.attempt(job)}
		r.metrics.inFlight.Dec()
		r.lanes.heed(e, res.attempt, job.setup)
		r.results <- res
	}
}

// heed does as an integration asked: it holds off for so long before the next attempt there, whoever makes it, and after
// a 410 until the next reload.
func (l *groupLanes) heed(e oncall.Endpoint, a oncall.Attempt, setup *dispatchSetup) {
	if a.RetryAfter <= 0 && a.Outcome != oncall.OutcomeGone {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.of[e]
	if a.Outcome == oncall.OutcomeGone {
		lane.off, lane.offBy = goneText(a), setup
		return
	}
	lane.held = later(lane.held, a.At.Add(a.Took).Add(min(a.RetryAfter, time.Hour)))
}

// off returns why nothing is to be sent to an integration under a setup, "" where it is.
func (l *groupLanes) off(e oncall.Endpoint, setup *dispatchSetup) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane := l.of[e]; lane != nil && lane.offBy == setup {
		return lane.off
	}
	return ""
}

// withdraw takes a notification back that waits for its integration; false: it does not wait.
func (t *sending) withdraw() bool { return t.state.CompareAndSwap(sendingWaits, sendingIdle) }

func (t *sending) inFlight() bool { return t.state.Load() == sendingFlies }

// begin has the notification sent once this turn is committed.
func (r *dispatchRun) begin(t *sending, now time.Time) {
	if r.lanes.room(t.d.Endpoint, now) {
		t.d.State, t.d.Attempts, t.d.FirstAttemptAt = oncall.DeliverySending, 1, now
	}
	r.batch.launches = append(r.batch.launches, t)
}

// retryAt has the notification tried again at an instant.
func (s *dispatchState) retryAt(t *sending, at time.Time) {
	t.queued = 0
	if !at.IsZero() {
		t.queued = ceilMicro(at)
	}
	s.retries.push(t.queued, t)
}

// retryDue tries again what is due, and goes on where an integration asked for a pause.
func (r *dispatchRun) retryDue(now time.Time) {
	for {
		at, t, ok := r.s.retries.pop(now.UnixMicro())
		if !ok {
			break
		}
		if !t.gone && at == t.queued && !r.putOff(t, now) {
			r.enqueue(t)
		}
	}
	r.lanes.mu.Lock()
	defer r.lanes.mu.Unlock()
	r.heldUntil = time.Time{}
	for e, lane := range r.lanes.of {
		if len(lane.waiting) > 0 {
			if lane.held.After(now) {
				r.heldUntil = earlier(r.heldUntil, lane.held)
			}
			r.staff(e, lane)
		}
	}
}

// putOff leaves a notification to the next flush of its group, which drops it, if a time interval mutes the
// route by now.
func (r *dispatchRun) putOff(t *sending, now time.Time) bool {
	if _, muted := r.s.routing.MutedAt(t.group.route, now); !muted {
		return false
	}
	t.group.soilAt(now)
	r.s.schedule(t.group)
	return true
}

// launch sends what was committed.
func (r *dispatchRun) launch(all []*sending) {
	for _, t := range all {
		if !t.gone {
			if t.d.State == oncall.DeliverySending && t.d.Attempts == 1 {
				t.d.Attempts = 0 // counted by the attempt itself
			}
			r.enqueue(t)
		}
	}
}

// attempt makes one attempt, and puts right what a sender must not do.
func (r *dispatchRun) attempt(job groupJob) (a oncall.Attempt) {
	start, d := time.Now(), &job.d
	defer func() {
		if v := recover(); v != nil {
			r.metrics.panics.Inc()
			r.log.Error("a sender panicked", "endpoint", d.Endpoint, "group", d.GroupKey, "err", v, "stack", string(debug.Stack()))
			a = oncall.Attempt{Outcome: oncall.OutcomeUnknown, Error: "tocsin failed while sending (a defect: see its log)"}
		}
		if a.At.IsZero() {
			a.At, a.Took = start, time.Since(start)
		}
		a.Number = d.Attempts
	}()
	if off := r.lanes.off(d.Endpoint, job.setup); off != "" {
		return oncall.Attempt{Outcome: oncall.OutcomeRefused, Error: off}
	}
	if job.setup.sender == nil {
		return oncall.Attempt{Outcome: oncall.OutcomeRefused, Error: "no longer configured: nothing here sends to " + string(d.Endpoint)}
	}
	ctx, cancel := context.WithTimeout(r.sending, hardTimeout)
	defer cancel()
	a = job.setup.sender.SendGroup(ctx, *d, job.route, job.last)
	switch a.Outcome {
	case oncall.OutcomeDelivered, oncall.OutcomeRetry, oncall.OutcomeUnknown, oncall.OutcomeRefused, oncall.OutcomeGone:
	default:
		a.Outcome = oncall.OutcomeUnknown
	}
	return a
}

// collect takes in the results that are there.
func (r *dispatchRun) collect() {
	for {
		select {
		case res := <-r.results:
			r.landed(res)
		default:
			return
		}
	}
}

func (r *dispatchRun) landed(res groupResult) {
	r.lanes.mu.Lock()
	delete(r.lanes.flying, res.key)
	r.lanes.mu.Unlock()
	r.metrics.notifications.WithLabelValues(res.endpoint.Kind(), string(res.attempt.Outcome)).Inc()
	r.metrics.attemptSeconds.WithLabelValues(res.endpoint.Kind()).Observe(res.attempt.Took.Seconds())
	r.unsettled = append(r.unsettled, res)
}

// report logs an attempt: quietly if it arrived, loudly if it was refused.
func (r *dispatchRun) report(t *sending, a oncall.Attempt) {
	d := &t.d
	if d.State == oncall.DeliveryDelivered {
		r.log.Debug("notified", "group", d.GroupKey, "endpoint", d.Endpoint, "reason", d.Reason, "attempt", a.Number, "took", a.Took)
		return
	}
	args := []any{
		"group", d.GroupKey, "endpoint", d.Endpoint, "reason", d.Reason, "notification", d.Key, "attempt", a.Number,
		"outcome", a.Outcome, "status", a.Status, "took", a.Took, "err", a.Error,
	}
	if d.State == oncall.DeliveryRefused {
		r.log.Error("a notification was refused; the group tries again at its next flush", args...)
		return
	}
	r.log.Warn("a notification is not confirmed; it is tried again", append(args, "next", d.NextAt)...)
}
