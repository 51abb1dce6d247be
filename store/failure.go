package store

import "time"

// fullFor is how long after its last failure a full disk is taken for full. It is longer than any loop waits
// before it tries again: while one keeps failing, small writes that still find room in a page must not make
// the store look well.
const fullFor = 10 * time.Second

// failure is why writing fails now. The zero value: it does not.
type failure struct {
	err  error
	full bool      // for want of room, so that smaller writes may still go through
	at   time.Time // of the last one
}

// failure returns why writing fails now, nil if it works.
func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed.err
}

// failedWith notes a write that failed.
func (w *writer) failedWith(err error) {
	w.mu.Lock()
	w.failed = failure{err: err, full: w.d.full(err), at: time.Now()}
	w.mu.Unlock()
	w.m.failures.Inc()
	w.log.Error("The store cannot write", "err", err)
}

// wrote notes a write that went through.
func (w *writer) wrote() {
	w.mu.Lock()
	f := w.failed
	over := f.err != nil && (!f.full || time.Since(f.at) > w.fullFor)
	if over {
		w.failed = failure{}
	}
	w.mu.Unlock()
	if over {
		w.log.Info("The store writes again")
	}
}
