package main

import (
	"context"
	"runtime/debug"
	"testing"
)

// TestTendHeap: the collector is set while tocsin works, and as it was afterwards; GOGC has the last word.
func TestTendHeap(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	before := percent()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("GOGC", "")
	tendHeap(ctx)
	if now := percent(); now != before {
		t.Errorf("left at %d, was %d", now, before)
	}
	t.Setenv("GOGC", "80")
	tendHeap(context.Background()) // returns at once
}

// TestHeapInAStorm: the heap gets room while much is thrown away, and not for longer; what one collection now and
// then costs is no storm.
func TestHeapInAStorm(t *testing.T) {
	var h heapTender
	cycles := uint64(0)
	look := func(live, collections uint64) int {
		cycles += collections
		return h.percent(live, cycles)
	}
	for _, c := range []struct {
		live, collections uint64
		want              int
	}{
		{largeHeap - 1, 0, gcPercent},
		{largeHeap, 1, gcPercentLarge},
		{largeHeap, stormCycles, gcPercentStorm},
		{largeHeap, 0, gcPercentStorm},
		{2 * stormRoom, 0, 50},
		{100 * stormRoom, 0, gcPercentLarge},
	} {
		if got := look(c.live, c.collections); got != c.want {
			t.Errorf("%d bytes, %d collections: %d %%, want %d", c.live, c.collections, got, c.want)
		}
	}
	for range stormLasts {
		look(largeHeap, 1)
	}
	if got := look(largeHeap, 1); got != gcPercentLarge {
		t.Errorf("after the storm: %d %%", got)
	}
}
