package notifier

// Progress returns the last row of the log that the dispatcher has read. ok is false where this process does not
// dispatch, or has not read yet what it must know.
func (d *Dispatcher) Progress() (seq int64, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.state == nil {
		return 0, false
	}
	return d.state.seq, true
}
