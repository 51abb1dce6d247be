package notifier

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"tocsin/oncall"
)

// What the two loops share: waking, waiting, and a core that may not bring them down.

// decide calls the core. A panic there is a defect of ours in one decision; it comes back as a
// *panicError, so that it stops that decision and nothing else. The store may call it in a goroutine of
// its own, which is why it is caught here and not in the loop.
func decide(now time.Time, in oncall.Incident, ev oncall.Event, p oncall.Policy) (d oncall.Decision, err error) {
	defer func() {
		if v := recover(); v != nil {
			d, err = oncall.Decision{}, &panicError{value: v, stack: string(debug.Stack())}
		}
	}()
	return core(now, in, ev, p), nil
}

// core is replaced by tests of what happens when it panics.
var core = oncall.Decide

// panicError is a panic of the core, caught.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("the decision panicked: %v", e.value) }

// backoff is the pause after failures of the store: it grows to a second and no further, because a page
// may be waiting.
type backoff struct {
	wait  time.Duration
	until time.Time
}

func (b *backoff) next() time.Duration {
	b.wait = min(max(2*b.wait, 50*time.Millisecond), time.Second)
	b.until = time.Now().Add(b.wait)
	return b.wait
}

func (b *backoff) reset() { *b = backoff{} }

// ready reports that the pause is over.
func (b *backoff) ready() bool { return !b.until.After(time.Now()) }

// sleep waits for d, or until wake, and returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// poke leaves one wake-up in c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// earlier returns the earlier of two instants, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
