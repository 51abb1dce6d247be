package pagertest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
)

// vendor is what the fakes of PagerDuty and Opsgenie have in common: faults on request, and what they minded.
type vendor struct {
	notify chan struct{}

	mu       sync.Mutex // guards what follows, and the state of the fake around it
	fault    func() Fault
	next     []Fault
	requests int
	problems []string
}

func newVendor() vendor { return vendor{notify: make(chan struct{}, 1024)} }

// FailWith has every request from now on fail as fault says; nil: none does.
func (v *vendor) FailWith(fault func() Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fault = fault
}

// Fail has the next requests fail, one each.
func (v *vendor) Fail(faults ...Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next = append(v.next, faults...)
}

// Requests returns how many requests arrived, whatever became of them.
func (v *vendor) Requests() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.requests
}

// Problems returns what a strict far end minded, one sentence each. A test ends by asking for it.
func (v *vendor) Problems() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.problems)
}

// Arrived receives once for each request, before it is answered. Values that nobody reads are dropped after the first
// 1,024.
func (v *vendor) Arrived() <-chan struct{} { return v.notify }

// draw takes the fault of a request. mu is held.
func (v *vendor) draw() Fault {
	v.requests++
	if len(v.next) > 0 {
		f := v.next[0]
		v.next = v.next[1:]
		return f
	}
	if v.fault != nil {
		return v.fault()
	}
	return Fault{}
}

// mind puts down what is wrong with a request. mu is held.
func (v *vendor) mind(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	v.problems = append(v.problems, text)
	return text
}

func (v *vendor) arrived() {
	select {
	case v.notify <- struct{}{}:
	default:
	}
}

// failed answers as a fault says, and reports whether it did.
func failed(w http.ResponseWriter, r *http.Request, f Fault, body []byte) bool {
	switch {
	case f.Hang:
		<-r.Context().Done()
	case f.Reset:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		answer(w, r, f, body)
	default:
		return false
	}
	return true
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone
}
