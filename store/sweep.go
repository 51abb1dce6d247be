package store

import (
	"context"

	"tocsin/oncall"
)

// sweepBatch is how many rows of the log one transaction deletes. They hold some hundred kilobytes each at
// most, and pages must not wait for them.
const sweepBatch = 64

// sweeper deletes the rows of the log that a checkpoint has made superfluous, few at a time, behind
// everything else that wants to write.
type sweeper struct {
	s    *Store
	wake chan struct{} // capacity 1
	end  context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
}

func startSweeper(s *Store) *sweeper {
	ctx, cancel := context.WithCancel(context.Background())
	w := &sweeper{s: s, wake: make(chan struct{}, 1), end: cancel, done: make(chan struct{})}
	go w.loop(ctx)
	return w
}

// poke says that there may be something to delete.
func (w *sweeper) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close returns when the goroutine has ended. What is left is deleted after the next start.
func (w *sweeper) close() {
	w.end()
	<-w.done
}

func (w *sweeper) loop(ctx context.Context) {
	defer close(w.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for {
			n, err := do(ctx, w.s, oncall.Write{}, sweep)
			if err != nil && ctx.Err() == nil {
				w.s.log.Warn("The log of received alerts could not be trimmed; the next checkpoint tries again", "err", err)
			}
			if err != nil || n < sweepBatch {
				break
			}
		}
	}
}

// sweep deletes the oldest rows that are not needed any more, and returns how many.
func sweep(t *tx) (int, error) {
	return t.exec(`delete from received where seq in (
		select r.seq from received r where r.seq <= (select value from counters where name = 'trimmed') order by r.seq limit $1)`, sweepBatch)
}
