package pager

import (
	"sync"
	"time"
)

// order knows of each incident when what was reported last was done, by the far end's clock: reports may overtake each
// other on their way, and an acknowledgement that was taken back there in between must not count here. It is what this
// process has heard; what was delayed for longer than a round oncall sees by itself. Any goroutine may use it.
type order struct {
	mu     sync.Mutex
	latest map[string]time.Time
	keys   []string // of latest, oldest first
}

// overtaken reports that something was done there later than at, and was told earlier.
func (o *order) overtaken(key string, at time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return at.Before(o.latest[key])
}

// told takes note of a report that was dealt with.
func (o *order) told(key string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latest == nil {
		o.latest = map[string]time.Time{}
	}
	if _, ok := o.latest[key]; !ok {
		if len(o.keys) >= maxKnown {
			delete(o.latest, o.keys[0])
			o.keys = o.keys[1:]
		}
		o.keys = append(o.keys, key)
	}
	if at.After(o.latest[key]) {
		o.latest[key] = at
	}
}
