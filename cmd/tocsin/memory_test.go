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
	if gcPercentFor(largeHeap-1) != gcPercent || gcPercentFor(largeHeap) != gcPercentLarge {
		t.Error("the limits are not where they are said to be")
	}
}
