package oncall

import "time"

// QueuedSeries is a batch of series that the far end of remote_write could not take yet. What is in it, the
// writer alone knows.
type QueuedSeries struct {
	Seq     int64     // order, given by the store
	At      time.Time // when it was queued
	Samples int
	Body    []byte
}

// QueueSize is how much a queue holds, or how much was taken out of it.
type QueueSize struct {
	Batches int
	Samples int
	Bytes   int64
	Oldest  time.Time // zero: empty
}
