package notifier

import (
	"sync"
	"time"

	"tocsin/oncall"
)

// LaneView is what the delivery loop of this process knows of an endpoint at one instant.
type LaneView struct {
	InFlight  int
	HeldUntil time.Time // the far end asked for a pause, or its limit does; zero: none
	Failing   bool      // the last attempt was not confirmed: one is made at a time
	Off       string    // why nothing is sent until the next reload; "" if it is not off
}

// goneText says why an endpoint that answered 410 is off.
func goneText(a oncall.Attempt) string {
	return "this endpoint answered 410 Gone at " + a.At.UTC().Format(time.RFC3339) + " and is off until the next reload"
}

// views are the lanes that have something to say.
func (l *lanes) views(now time.Time) map[oncall.Endpoint]LaneView {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[oncall.Endpoint]LaneView, len(l.of))
	for e, n := range l.of {
		v := LaneView{InFlight: n.flying, Failing: n.failing, Off: n.off}
		if n.held.After(now) {
			v.HeldUntil = n.held
		}
		all[e] = v
	}
	return all
}

// Lanes returns what the loop knows of the endpoints now, and whether it runs in this process at all.
func (l *Deliveries) Lanes() (all map[oncall.Endpoint]LaneView, running bool) {
	lanes := l.running.Load()
	if lanes == nil {
		return nil, false
	}
	return lanes.views(time.Now()), true
}

// Past is how an endpoint answered this process last. Zero times: not since it began.
type Past struct {
	SuccessAt time.Time
	FailureAt time.Time
	Failure   string // without secrets
	Status    int    // of the failure, 0 where no answer came
}

// pasts remembers how each endpoint answered.
type pasts struct {
	mu sync.Mutex
	of map[oncall.Endpoint]Past // guarded by mu
}

// take remembers how an attempt ended, if one was made.
func (p *pasts) take(e oncall.Endpoint, a oncall.Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[oncall.Endpoint]Past{}
	}
	now := p.of[e]
	if a.Error == "" {
		now.SuccessAt = a.At.Add(a.Took)
	} else {
		now.FailureAt, now.Failure, now.Status = a.At.Add(a.Took), a.Error, a.Status
	}
	p.of[e] = now
}

func (p *pasts) get(e oncall.Endpoint) Past {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[e]
}
