package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/oncall"
)

const (
	// chunkBytes is how much of the queue, compressed, is sent with one request.
	chunkBytes = 256 << 10
	// The wait after a failure doubles from the first to the last.
	retryFirst = 250 * time.Millisecond
	retryLast  = 30 * time.Second
)

// Run sends what waits, in order, until ctx ends (it then returns nil) or the lease is lost
// (oncall.ErrLeaseLost). It may be called again after it returned. Writes that are under way when it
// returns are queued.
func (w *Writer) Run(ctx context.Context, lease oncall.Lease) error {
	if err := w.count(ctx, lease); err != nil || ctx.Err() != nil {
		return lostOnly(err)
	}
	defer func() {
		w.mu.Lock()
		w.running = false
		w.mu.Unlock()
	}()
	d := drainer{w: w, lease: lease, begun: true}
	for ctx.Err() == nil {
		wait, err := d.step(ctx)
		if err := lostOnly(err); err != nil {
			return err
		}
		d.pause(ctx, wait)
	}
	if d.through > 0 {
		_, err := d.delete(ctx)
		return lostOnly(err)
	}
	return nil
}

func lostOnly(err error) error {
	if errors.Is(err, oncall.ErrLeaseLost) {
		return err
	}
	return nil
}

// count learns how much an earlier process left. Until then nothing is written: it must arrive first.
func (w *Writer) count(ctx context.Context, lease oncall.Lease) error {
	w.mu.Lock()
	if lease != w.lease {
		select {
		case <-w.counted:
			w.counted = make(chan struct{})
		default:
		}
	}
	w.lease = lease
	w.mu.Unlock()
	for delay := retryFirst; ; delay = min(2*delay, retryLast) {
		size, err := w.o.Queue.QueuedSeries(ctx)
		if err == nil {
			w.mu.Lock()
			w.size, w.unsure, w.running = size, false, true
			select {
			case <-w.counted:
			default:
				close(w.counted)
			}
			w.mu.Unlock()
			if size.Batches > 0 {
				w.log.Info("Series of an earlier process wait to be written", "samples", size.Samples, "oldest", size.Oldest)
			}
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		w.log.Error("Cannot read the queue of remote_write, will try again", "err", err, "in", delay)
		if !sleep(ctx, delay, nil, nil) {
			return ctx.Err()
		}
	}
}

// drainer empties the queue. It belongs to Run's goroutine.
type drainer struct {
	w     *Writer
	lease oncall.Lease

	chunk    []oncall.QueuedSeries // being sent; taken out of the queue when that has an outcome
	alone    bool                  // one batch at a time: the far end refused one of several
	begun    bool                  // chunk may have been sent before
	overflow int                   // Writer.overflow when chunk was read
	through  int64                 // to be taken out of the queue; 0: nothing
	delay    time.Duration         // after the last failure; 0: it went well
	down     time.Time             // when the far end began to fail; zero: it does not
}

// step does the next thing, and returns how long to wait then; idle: until something happens.
func (d *drainer) step(ctx context.Context) (wait time.Duration, err error) {
	if d.through > 0 {
		return d.delete(ctx)
	}
	d.w.mu.Lock()
	f, after, appends, overflow := d.w.far, d.w.after, d.w.appends, d.w.overflow
	d.w.mu.Unlock()
	if overflow != d.overflow { // the chunk may hold what is counted as lost by now
		d.chunk, d.overflow = nil, overflow
	}
	if f == nil {
		return idle, nil
	}
	if wait := time.Until(after); wait > 0 {
		return wait, nil
	}
	if len(d.chunk) == 0 {
		d.chunk, err = d.w.o.Queue.PeekSeries(ctx, chunkBytes)
		if err != nil {
			if ctx.Err() == nil {
				d.w.log.Error("Cannot read the queue of remote_write, will try again", "err", err)
			}
			return d.backoff(0), err
		}
		if len(d.chunk) == 0 {
			d.empty(appends)
			return idle, nil
		}
		d.w.mu.Lock()
		d.w.size.Oldest = d.chunk[0].At
		d.w.mu.Unlock()
	}
	if n := d.expired(time.Now()); n > 0 {
		return 0, nil
	}
	return d.send(ctx, f), nil
}

// idle is a wait until something happens.
const idle = time.Duration(-1)

// pause waits as step said. A new far end ends every wait; new batches end only that for them.
func (d *drainer) pause(ctx context.Context, wait time.Duration) {
	var wake <-chan struct{}
	switch {
	case wait == 0:
		return
	case wait == idle:
		wait, wake = time.Minute, d.w.wake
	}
	sleep(ctx, wait, wake, d.w.applied)
}

// empty notes that nothing waits, unless something was appended meanwhile.
func (d *drainer) empty(appends int) {
	d.begun = false
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if d.w.appends == appends && d.w.pending == 0 {
		d.w.size, d.w.unsure = oncall.QueueSize{}, false
	}
}

// expired drops the batches at the beginning of the chunk that waited too long.
func (d *drainer) expired(now time.Time) int {
	n, samples := 0, 0
	for n < len(d.chunk) && now.Sub(d.chunk[n].At) > d.w.o.MaxAge {
		samples += d.chunk[n].Samples
		n++
	}
	if n > 0 {
		d.w.drop(dropExpired, samples, fmt.Errorf("they waited for more than %s", d.w.o.MaxAge))
		d.finish(n)
	}
	return n
}

// finish ends the first n batches of the chunk: they have an outcome.
func (d *drainer) finish(n int) {
	d.through = d.chunk[n-1].Seq
	d.chunk = d.chunk[n:]
	if len(d.chunk) == 0 {
		d.chunk, d.alone, d.begun = nil, false, false
	}
}

// send sends the chunk, or its first batch if it goes alone.
func (d *drainer) send(ctx context.Context, f *far) time.Duration {
	n := len(d.chunk)
	if d.alone {
		n = 1
	}
	r, n := d.request(n)
	if r.samples == 0 {
		return 0
	}
	res := d.w.try(ctx, f, r)
	switch res.verdict {
	case sent:
		d.well()
		d.finish(n)
		return 0
	case refused:
		d.well()
		d.refused(n, r.samples, res.err)
		return 0
	}
	if ctx.Err() != nil {
		return 0
	}
	d.begun = d.begun || res.arrived
	if d.down.IsZero() {
		d.down = time.Now()
		d.w.log.Warn("The far end of remote_write does not take series; they wait in the store", "err", res.err)
	}
	return d.backoff(res.retryAfter)
}

// request makes one request of the first n batches, or of fewer where that would be too large. A batch that
// cannot be read is dropped.
func (d *drainer) request(n int) (request, int) {
	var ms []message
	samples, bytes := 0, 0
	for i := range n {
		m, err := unpack(d.chunk[i].Body)
		if err == nil {
			err = eachSeries(m, func(_, s []byte) error { return eachSample(s, func(int64, uint64) {}) })
		}
		if err != nil && i == 0 {
			d.w.drop(dropStore, d.chunk[0].Samples, fmt.Errorf("a batch in the queue cannot be read: %w", err))
			d.finish(1)
			return request{}, 0
		}
		if err != nil || i > 0 && (samples+d.chunk[i].Samples > maxSamples || bytes+len(m) > maxMessage) {
			n = i
			break
		}
		ms = append(ms, m)
		samples, bytes = samples+d.chunk[i].Samples, bytes+len(m)
	}
	r, err := merged(ms)
	if err != nil || r.samples == 0 { // an empty batch: nobody writes one
		d.finish(n)
		return request{}, 0
	}
	return r, n
}

// refused drops a batch that the far end will never take. Of several it may mean any one: they are sent one
// by one then.
func (d *drainer) refused(n, samples int, err error) {
	if n > 1 {
		d.alone = true
		return
	}
	reason := dropRefused
	if d.begun {
		reason = dropArrived
	}
	d.w.drop(reason, samples, err)
	d.finish(1)
}

// well notes that the far end answers.
func (d *drainer) well() {
	d.delay = 0
	if !d.down.IsZero() {
		d.w.log.Info("The far end of remote_write takes series again", "was_away_for", time.Since(d.down).Round(time.Second))
		d.down = time.Time{}
	}
}

// backoff returns the next wait, at least least.
func (d *drainer) backoff(least time.Duration) time.Duration {
	d.delay = min(max(2*d.delay, retryFirst), retryLast)
	return max(d.delay, least)
}

// delete takes what has an outcome out of the queue.
func (d *drainer) delete(ctx context.Context) (time.Duration, error) {
	// Not broken off with ctx: what was sent would be sent again.
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	gone, err := d.w.o.Queue.DeleteSeries(dctx, oncall.Write{Now: wallNow(), Lease: &d.lease}, d.through)
	if err != nil {
		if !errors.Is(err, oncall.ErrLeaseLost) {
			d.w.log.Error("Cannot take written series out of the queue, will try again", "err", err)
		}
		return d.backoff(0), err
	}
	d.through, d.delay = 0, 0
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	s := &d.w.size
	s.Batches, s.Samples, s.Bytes = s.Batches-gone.Batches, s.Samples-gone.Samples, s.Bytes-gone.Bytes
	if s.Batches <= 0 {
		s.Oldest = time.Time{}
	}
	return 0, nil
}

// sleep waits for d, a token in one of the channels, or the end of ctx, and is false for the last.
func sleep(ctx context.Context, d time.Duration, wake, applied <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-wake:
	case <-applied:
	}
	return ctx.Err() == nil
}
