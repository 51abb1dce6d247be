// Package alertmanagertest is the far ends of Alertmanager's integrations as strict fakes: each refuses what the
// vendor refuses, and can be told how to behave. Start reading at New.
package alertmanagertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"tocsin/notifier/sendertest"
)

// Far is a far end over HTTP. Its methods may be called from any goroutine.
type Far struct {
	check   func(r *http.Request, body []byte) (key string, problems []string)
	accept  func(w http.ResponseWriter)
	arrived chan struct{}

	mu        sync.Mutex // guards what follows
	behaviour sendertest.Behaviour
	keys      []string
	bodies    [][]byte
	problems  []string
}

func far(check func(*http.Request, []byte) (string, []string), accept func(http.ResponseWriter)) *Far {
	return &Far{check: check, accept: accept, behaviour: sendertest.Accept, arrived: make(chan struct{}, 64)}
}

// Behave sets what the far end does from now on.
func (f *Far) Behave(b sendertest.Behaviour) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behaviour = b
}

// Keys are the keys of what was recorded, in order.
func (f *Far) Keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.keys)
}

// Bodies are the bodies of what was recorded, in order.
func (f *Far) Bodies() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bodies)
}

// Problems are the vendor's complaints about what arrived, recorded or not.
func (f *Far) Problems() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.problems)
}

// Arrived receives for each request before it is answered.
func (f *Far) Arrived() <-chan struct{} { return f.arrived }

func (f *Far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	select {
	case f.arrived <- struct{}{}:
	default:
	}
	key, problems := f.check(r, body)
	f.mu.Lock()
	behaviour := f.behaviour
	f.problems = append(f.problems, problems...)
	if len(problems) == 0 && slices.Contains([]sendertest.Behaviour{sendertest.Accept, sendertest.Reset, sendertest.Hang}, behaviour) {
		f.keys, f.bodies = append(f.keys, key), append(f.bodies, body)
	}
	f.mu.Unlock()
	if len(problems) > 0 {
		http.Error(w, strings.Join(problems, "; "), http.StatusBadRequest)
		return
	}
	f.answer(w, r, body, behaviour)
}

func (f *Far) answer(w http.ResponseWriter, r *http.Request, body []byte, b sendertest.Behaviour) {
	switch b {
	case sendertest.Accept:
		f.accept(w)
	case sendertest.Refuse:
		http.Error(w, "no", http.StatusForbidden)
	case sendertest.Busy:
		http.Error(w, "later", http.StatusServiceUnavailable)
	case sendertest.Limited:
		w.Header().Set("Retry-After", fmt.Sprint(int(sendertest.RetryAfter.Seconds())))
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case sendertest.Garbage:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "<html>\x00\x1b[31m"+strings.Repeat("oops\r\n", 500))
	case sendertest.Echo:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, r.URL.String(), r.Header)
		_, _ = w.Write(body)
	case sendertest.Hang:
		<-r.Context().Done()
	case sendertest.Reset:
		panic(http.ErrAbortHandler)
	}
}

// strictly decodes JSON, and complains about what the target does not name.
func strictly(body []byte, into any) []string {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return []string{"body: " + err.Error()}
	}
	return nil
}

// complaint adds a complaint where something is not as it must be.
func complaint(list []string, ok bool, format string, args ...any) []string {
	if ok {
		return list
	}
	return append(list, fmt.Sprintf(format, args...))
}
