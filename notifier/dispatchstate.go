package notifier

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// dispatchState is what the dispatcher keeps in memory. It is written by the loop, under Dispatcher.mu.
type dispatchState struct {
	setup     *dispatchSetup
	routing   *oncall.Routing
	inhibitor *oncall.Inhibitor
	prefix    map[*oncall.Route]string // begins the ids of the route's groups

	alerts     map[uint64]*dispatched        // by fingerprint
	groups     map[string]*group             // by id
	deliveries map[string]*sending           // by key: what is neither confirmed nor given up
	records    map[string]oncall.GroupRecord // of groups that have no alert yet, while the log is read again

	talking []*dispatched // have something to say to the incidents
	left    []uint64      // alerts whose rows are to go

	seq       int64 // of the log: all up to here is taken in
	cursor    int64 // what the store knows of that
	atLoad    int64 // the cursor when it was read: the consequences of older rows are committed
	trimmed   int64
	replayed  int   // alerts taken in since the last checkpoint began
	intervals int64 // when the time intervals of a route next change, µs; 0: never

	watched queue[*dispatched] // alerts that end by themselves, or that are held back
	due     queue[*group]      // groups by their next flush
	retries queue[*sending]    // by their next attempt

	dirty        []*dispatched // differ from their rows
	checkpoint   []*dispatched // being written behind, up to checkpointTo
	checkpointTo int64         // 0: none is under way
	checkpointAt time.Time     // when the last one began
}

// dispatched is an alert, and where it stands.
type dispatched struct {
	a      *oncall.ActiveAlert // replaced, never changed
	groups []*group
	marked int64 // the row of the log that is being taken in has touched it
	watch  int64 // µs: when watched brings it up; 0: it does not
	hold   int64 // µs: incidents are not told before; 0: not held back

	out []oncall.AlertChange // for the next commit

	firing    bool
	posted    bool // by somebody, and it has not ended
	heldBack  bool // somebody would have been told, were it not muted
	silenced  bool // when last looked at
	inhibited bool // when last looked at
	dirty     bool
	stored    bool // has a row
	gone      bool
}

// group is the alerts of one label set under one route.
type group struct {
	id     string // unique, also where two routes have the same key
	route  *oncall.Route
	to     []oncall.Integration // of the route's receiver, as of when it was last scheduled
	key    string               // Alertmanager's
	labels labels.Labels

	members map[uint64]*dispatched
	record  oncall.GroupRecord
	stored  bool // has a row

	startAt time.Time // of the first flush
	dirtyAt time.Time // something happened that a flush must look at; zero: nothing did
	openAt  time.Time // the last flush was muted by time intervals, which change then; zero: it was not
	alive   bool      // an alert fired and was not muted at the last flush

	sending  map[oncall.Endpoint]*sending
	deferred []oncall.Endpoint // a flush fell into an attempt
	queued   int64             // µs: when due brings it up; 0: it does not
	gone     bool
}

// sending is a notification that is neither confirmed nor given up.
type sending struct {
	d           oncall.GroupDelivery
	group       *group
	jobs        int          // how often it was put into its lane; guarded by groupLanes.mu
	state       atomic.Int32 // sendingIdle, sendingWaits, sendingFlies
	queued      int64        // µs: when retries brings it up
	unconfirmed bool         // an attempt may have arrived
	gone        bool
}

func newDispatchState(setup *dispatchSetup) *dispatchState {
	return &dispatchState{
		setup: setup, alerts: map[uint64]*dispatched{}, groups: map[string]*group{}, deliveries: map[string]*sending{},
	}
}

// soil has the alert written behind.
func (s *dispatchState) soil(e *dispatched) {
	if !e.dirty {
		e.dirty = true
		s.dirty = append(s.dirty, e)
	}
}

// watchAt has the alert brought up at an instant, unless that happens earlier anyway.
func (s *dispatchState) watchAt(e *dispatched, at int64) {
	if e.watch == 0 || at < e.watch {
		e.watch = at
		s.watched.push(at, e)
	}
}

// schedule has the group brought up when it is due.
func (s *dispatchState) schedule(g *group) {
	g.to = s.setup.policy.Receivers[g.route.Receiver].Integrations
	at := g.next()
	if at.IsZero() {
		return
	}
	if us := ceilMicro(at); g.queued == 0 || us < g.queued {
		g.queued = us
		s.due.push(us, g)
	}
}

// ceilMicro is an instant in microseconds, never earlier than it is.
func ceilMicro(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Sub(time.UnixMicro(us)) > 0 {
		us++
	}
	return us
}

// soilAt has the next flush look at the group.
func (g *group) soilAt(at time.Time) {
	if g.dirtyAt.IsZero() || at.Before(g.dirtyAt) {
		g.dirtyAt = at
	}
}

// next is when the group next can have anything to do, zero: never, until something happens. A group that
// only holds what it was told has no timer.
func (g *group) next() time.Time {
	if g.record.Anchor.IsZero() {
		if len(g.members) == 0 {
			return time.Time{}
		}
		return g.startAt
	}
	var at time.Time
	tick := func(t time.Time) {
		if after := g.record.Flushed.Add(time.Microsecond); t.Before(after) {
			t = after
		}
		at = earlier(at, oncall.NextTick(g.record.Anchor, g.route.GroupInterval, t))
	}
	if !g.dirtyAt.IsZero() {
		tick(g.dirtyAt)
	}
	if !g.openAt.IsZero() {
		tick(g.openAt)
		return at
	}
	if g.alive {
		for _, i := range g.to {
			n := g.record.Notified[i.Endpoint]
			if _, busy := g.sending[i.Endpoint]; !busy && !n.At.IsZero() {
				tick(n.At.Add(g.route.RepeatInterval))
			}
		}
	}
	return at
}

// queue holds values by the instants at which they are wanted, the earliest first. Instants are not
// changed: who moves one pushes it again and knows which counts.
type queue[T any] struct{ items []queued[T] }

type queued[T any] struct {
	at int64 // µs
	v  T
}

func (q *queue[T]) push(at int64, v T) {
	q.items = append(q.items, queued[T]{at, v})
	i := len(q.items) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if q.items[parent].at <= q.items[i].at {
			return
		}
		q.items[parent], q.items[i] = q.items[i], q.items[parent]
		i = parent
	}
}

// pop takes the earliest, if it is not after until.
func (q *queue[T]) pop(until int64) (at int64, v T, ok bool) {
	if len(q.items) == 0 || q.items[0].at > until {
		return 0, v, false
	}
	first := q.items[0]
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items[last] = queued[T]{}
	q.items = q.items[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.items[child].at < q.items[least].at {
				least = child
			}
		}
		if least == i {
			return first.at, first.v, true
		}
		q.items[i], q.items[least] = q.items[least], q.items[i]
		i = least
	}
}

// next is the earliest instant, zero: none.
func (q *queue[T]) next() time.Time {
	if len(q.items) == 0 {
		return time.Time{}
	}
	return time.UnixMicro(q.items[0].at)
}
