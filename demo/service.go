package demo

import (
	"math"
	"time"
)

// The physics of the session service. Fractions are of the memory limit.
const (
	memoryLimit  = 4 << 30 // bytes per instance
	restingLevel = 0.48    // live sessions of an ordinary day
	freshLevel   = 0.40    // after a restart, expired sessions dropped
	leakPerMin   = 0.0109  // growth per minute while expired sessions stay
	healPerMin   = 0.03    // fall per minute once they are cleared again
	gcHeight     = 0.012   // what a garbage collection gives back
	gcPeriod     = 150 * time.Second
	painFrom     = 0.86 // above this, collections stall requests and sessions are lost
	painAtLimit  = 0.35 // failed share of an instance's requests at the limit
	failedIfDown = 0.60 // failed share of the requests of an instance that is down: carts are lost, the rest retries
	restartTakes = 35 * time.Second
	checkoutRate = 40.0 // requests per second
)

// leakStart is when the session handler stops clearing expired sessions.
var leakStart = time.Date(2024, 9, 23, 12, 29, 15, 0, time.UTC)

// never is when an instance that crashed comes back by itself.
var never = storyStart.AddDate(1, 0, 0)

// service is the web shop's session service, its checkout and its database, as a step function of story
// time. It holds no clock and starts nothing; the same steps always give the same curve.
type service struct {
	now       time.Time
	instances []instance
	patched   bool
	requests  map[string]float64 // checkout requests by status code, counted since the beginning
	badFor    time.Duration      // time with more than 5 % failed checkouts since the story's outage began
}

// instance is one of the processes behind the session service.
type instance struct {
	name     string
	level    float64       // share of the limit, without the sawtooth
	phase    time.Duration // of its garbage collections
	pace     float64       // its share of the leak: load is never quite even
	downTill time.Time     // in the past: up
	drained  bool          // its requests went elsewhere before it went down
	restarts int           // wanted ones and crashes
	crashes  int
	restart  time.Time // a wanted restart that is due, zero if none
}

// newService returns the service as it was at the given story time, before anything went wrong.
func newService(at time.Time) *service {
	return &service{
		now: at,
		instances: []instance{
			{name: "session-1", level: restingLevel, phase: 20 * time.Second, pace: 1.03},
			{name: "session-2", level: restingLevel - 0.01, phase: 95 * time.Second, pace: 0.98},
		},
		requests: map[string]float64{"200": 0, "500": 0},
	}
}

// step moves the service to the story time at. Long steps are cut, so that a stalled machine does not
// jump over a crash.
func (s *service) step(at time.Time) {
	for s.now.Before(at) {
		next := s.now.Add(5 * time.Second)
		if next.After(at) {
			next = at
		}
		s.advance(next.Sub(s.now))
	}
}

func (s *service) advance(dt time.Duration) {
	s.now = s.now.Add(dt)
	for i := range s.instances {
		s.advanceInstance(&s.instances[i], dt)
	}
	failed := s.errorRatio()
	n := checkoutRate * dt.Seconds()
	s.requests["500"] += n * failed
	s.requests["200"] += n * (1 - failed)
	if failed > 0.05 && !s.now.Before(outageStart) {
		s.badFor += dt
	}
}

func (s *service) advanceInstance(in *instance, dt time.Duration) {
	if !in.restart.IsZero() && !s.now.Before(in.restart) {
		in.restart = time.Time{}
		s.stop(in, s.now.Add(restartTakes), in.up(s.now))
	}
	if !in.up(s.now) {
		return
	}
	minutes := dt.Minutes()
	switch {
	case s.patched:
		in.level = max(in.level-healPerMin*minutes, freshLevel+0.04)
	case s.now.After(leakStart):
		in.level += leakPerMin * in.pace * minutes
	}
	if in.ratio(s.now) >= 1 {
		in.crashes++
		s.stop(in, never, false)
	}
}

// stop takes the instance down until a moment; it comes back with the memory of a fresh process.
func (s *service) stop(in *instance, until time.Time, drained bool) {
	in.restarts++
	in.drained = drained
	in.downTill = until
	in.level = freshLevel
}

// rollingRestart restarts one instance after the other, a minute after the first is back, so that one is
// always up and no rule takes the restart for lost redundancy.
func (s *service) rollingRestart() {
	at := s.now
	for i := range s.instances {
		s.instances[i].restart = at
		at = at.Add(restartTakes + time.Minute)
	}
}

// patch makes the session handler clear expired sessions again.
func (s *service) patch() { s.patched = true }

func (in *instance) up(now time.Time) bool { return !now.Before(in.downTill) }

// ratio is the memory in use as a share of the limit, sawtooth included; 0 while down.
func (in *instance) ratio(now time.Time) float64 {
	if !in.up(now) {
		return 0
	}
	t := now.Add(in.phase).Unix() % int64(gcPeriod.Seconds())
	frac := float64(t) / gcPeriod.Seconds()
	return in.level + gcHeight*(frac-0.5)
}

// errorRatio is the share of checkout requests that fail now.
func (s *service) errorRatio() float64 {
	var sum float64
	for i := range s.instances {
		in := &s.instances[i]
		if !in.up(s.now) {
			if !in.drained {
				sum += failedIfDown
			}
			continue
		}
		pain := max(in.ratio(s.now)-painFrom, 0) / (1 - painFrom)
		sum += painAtLimit * min(pain*pain, 1)
	}
	return 0.002 + sum/float64(len(s.instances))
}

// databaseLatency is the 95th percentile of query durations in seconds: an innocent bystander.
func (s *service) databaseLatency() float64 {
	t := s.now.Sub(leakStart).Minutes()
	return 0.021 + 0.003*math.Sin(t/3) + 0.002*math.Sin(t/0.7)
}
