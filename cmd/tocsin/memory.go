package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// What is kept for alerts is large and does not change; what an evaluation throws away is small. A heap that
	// may grow to the double of what it keeps would be half empty. So the collector runs more often, the more
	// there is to keep: it costs least where little is thrown away.
	gcPercent      = 50
	gcPercentLarge = 25
	// largeHeap is from where on a heap counts as large.
	largeHeap = 40 << 20
	gcLook    = time.Second
	// A storm throws away much at once. Then the collector would take a third of the time that alerts and pages
	// need, so the heap may grow by so much as it keeps, within stormRoom, until it is over.
	gcPercentStorm = 100
	stormCycles    = 2         // collections within gcLook that make a storm
	stormRoom      = 192 << 20 // bytes
	stormLasts     = 10        // looks without one that end it
)

// tendHeap keeps memory close to what is needed until ctx ends, unless GOGC says what to do.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	tend := heapTender{cycles: sample[1].Value.Uint64()}
	now := gcPercent
	before := debug.SetGCPercent(now)
	defer debug.SetGCPercent(before)
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(sample)
		if next := tend.percent(sample[0].Value.Uint64(), sample[1].Value.Uint64()); next != now {
			now = next
			debug.SetGCPercent(now)
		}
	}
}

// heapTender remembers how often the collector ran, and for how many more looks a storm counts as one.
type heapTender struct {
	cycles uint64
	storm  int
}

// percent is how much the heap may grow before it is collected, in percent of what is live. cycles counts the
// collections so far; live is in bytes.
func (h *heapTender) percent(live, cycles uint64) int {
	h.storm = max(h.storm-1, 0)
	if cycles-h.cycles >= stormCycles {
		h.storm = stormLasts
	}
	h.cycles = cycles
	calm := gcPercent
	if live >= largeHeap {
		calm = gcPercentLarge
	}
	if h.storm == 0 {
		return calm
	}
	return max(calm, min(gcPercentStorm, int(stormRoom*100/max(live, 1))))
}
