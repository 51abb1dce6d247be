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
	gcLook    = 5 * time.Second
)

// tendHeap keeps memory close to what is needed until ctx ends, unless GOGC says what to do.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
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
		if next := gcPercentFor(sample[0].Value.Uint64()); next != now {
			now = next
			debug.SetGCPercent(now)
		}
	}
}

func gcPercentFor(live uint64) int {
	if live >= largeHeap {
		return gcPercentLarge
	}
	return gcPercent
}
