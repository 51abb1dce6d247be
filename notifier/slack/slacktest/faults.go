package slacktest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Stage says when a fault strikes.
type Stage string

// The stages.
const (
	Before Stage = "before" // nothing is recorded; the answer is Status or Error
	During Stage = "during" // it is recorded; the connection is reset instead of an answer
	After  Stage = "after"  // it is recorded; the answer is late by Delay, or never comes
	Refuse Stage = "refuse" // the connection is refused (Transport only)
)

// Fault is a failure to inject.
type Fault struct {
	Method     string // "chat.postMessage"; "" for any, "response_url" for private answers
	Channel    string // as the request names it; "" for any
	Stage      Stage
	Times      int           // how many requests it strikes; 0 for one, negative for all
	Status     int           // Before: HTTP status; 500 by default
	Error      string        // Before: Slack's error code in a 200 instead of Status
	Body       string        // Before: the body beside Status; may be nonsense
	RetryAfter time.Duration // Before: in the header, in whole seconds
	Delay      time.Duration // After: 0 waits until the client gives up
}

// Fail injects a fault. Of several that match, the one injected first strikes first.
func (s *Server) Fail(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal takes back all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// strike returns the fault that hits a request, and counts it.
func (s *Server) strike(method, channel string, refused bool) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if (f.Stage == Refuse) != refused || (f.Method != "" && f.Method != method) || (f.Channel != "" && channel != "" && f.Channel != channel) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return *f, true
	}
	return Fault{}, false
}

// before answers a request that fails before anything is recorded.
func (f Fault) before(w http.ResponseWriter) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Round(time.Second)/time.Second)))
	}
	if f.Error != "" {
		writeJSON(w, http.StatusOK, map[string]any{"ok": false, "error": f.Error})
		return
	}
	status := f.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	io.WriteString(w, f.Body)
}

// after spoils the answer to a request that was recorded. It returns false where none is to be written.
func (f Fault) after(r *http.Request) bool {
	switch {
	case f.Stage == During:
		panic(http.ErrAbortHandler)
	case f.Delay > 0:
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-r.Context().Done():
		}
		return false
	}
	<-r.Context().Done()
	return false
}

// Transport carries requests to handlers by host, in memory: for tests in a synctest bubble, where a
// listener would block. A handler that aborts looks like a reset connection; a host that is missing refuses
// the connection.
type Transport map[string]http.Handler

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := t[r.URL.Host]
	if !ok {
		return nil, refused()
	}
	if s, is := h.(*Server); is {
		if _, hit := s.strike(methodOf(r.URL.Path), "", true); hit {
			return nil, refused()
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	// The server side has a context and a request of its own, as over a network.
	ctx, hangUp := context.WithCancel(context.Background())
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:1"
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	type result struct {
		resp *http.Response
		err  error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				err, _ := p.(error)
				if !errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				done <- result{err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}}
			}
		}()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, in)
		done <- result{resp: w.Result()}
	}()
	defer hangUp()
	select {
	case got := <-done:
		if got.resp != nil {
			got.resp.Request = r
		}
		return got.resp, got.err
	case <-r.Context().Done():
		hangUp()
		<-done // so that no goroutine outlives the request
		return nil, r.Context().Err()
	}
}

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}
