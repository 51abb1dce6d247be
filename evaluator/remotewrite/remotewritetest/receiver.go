// Package remotewritetest is a strict far end of remote write for tests: it takes nothing that Prometheus
// would not take, and fails in all the ways in which far ends fail.
//
// Start reading at Receiver.
package remotewritetest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/golang/snappy"
)

// Fault is what happens to one request. The zero Fault is none.
type Fault struct {
	Status     int    // answered instead of taking the request; 0: none
	RetryAfter string // header of that answer
	Text       string // body of that answer
	Reset      bool   // no answer, and nothing taken
	Hang       bool   // no answer until the client gives up, and nothing taken
	After      bool   // the fault comes after the request was taken: an unknown outcome for the client
}

// Point is one sample, its value as bits: staleness markers are told from other NaNs.
type Point struct {
	T    int64
	Bits uint64
}

// Receiver takes remote write 1.0 requests: whole or not at all, and of each series nothing older than it
// has. It is an http.Handler, and an http.RoundTripper for tests in a bubble of fake time.
type Receiver struct {
	mu       sync.Mutex
	fault    func(n int) Fault
	requests int
	series   map[string][]Point
	refused  []string // why requests were refused
	headers  http.Header
}

// New returns a Receiver. fault says what happens to the nth request, from 0 on; nil for nothing.
func New(fault func(n int) Fault) *Receiver {
	return &Receiver{fault: fault, series: map[string][]Point{}}
}

// SetFault replaces the fault function.
func (r *Receiver) SetFault(fault func(n int) Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// Series returns what was taken: labels in PromQL's notation to samples, in order.
func (r *Receiver) Series() map[string][]Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string][]Point{}
	for k, v := range r.series {
		out[k] = slices.Clone(v)
	}
	return out
}

// Refused returns why requests were refused, one text each.
func (r *Receiver) Refused() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused)
}

// Requests counts all requests.
func (r *Receiver) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// Headers are those of the last request.
func (r *Receiver) Headers() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.headers.Clone()
}

// ServeHTTP takes one request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	n := r.requests
	r.requests++
	r.headers = req.Header.Clone()
	var f Fault
	if r.fault != nil {
		f = r.fault(n)
	}
	r.mu.Unlock()
	faulty := f != Fault{}
	if !faulty || f.After {
		if err := r.take(req); err != nil {
			r.mu.Lock()
			r.refused = append(r.refused, err.Error())
			r.mu.Unlock()
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	switch {
	case f.Hang:
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Reset:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		http.Error(w, f.Text, f.Status)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// RoundTrip hands req to ServeHTTP without a network.
func (r *Receiver) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			if err = req.Context().Err(); err == nil {
				err = fmt.Errorf("read: connection reset by peer")
			}
		}
	}()
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, req)
	return rec.Result(), nil
}

// take checks a request as the protocol demands and keeps its samples.
func (r *Receiver) take(req *http.Request) error {
	for name, want := range map[string]string{
		"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0",
	} {
		if got := req.Header.Get(name); got != want {
			return fmt.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if req.Method != http.MethodPost || req.Header.Get("User-Agent") == "" {
		return fmt.Errorf("method %s, user agent %q", req.Method, req.Header.Get("User-Agent"))
	}
	packed, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	body, err := snappy.Decode(nil, packed)
	if err != nil {
		return err
	}
	request, err := decode(body)
	if err != nil {
		return err
	}
	if len(request) == 0 {
		return fmt.Errorf("an empty request")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[string][]Point{}
	for _, ts := range request {
		name, err := seriesName(ts.labels)
		if err != nil {
			return err
		}
		if _, twice := next[name]; twice {
			return fmt.Errorf("series %s twice in one request", name)
		}
		if next[name], err = appended(r.series[name], ts.samples); err != nil {
			return fmt.Errorf("series %s: %w", name, err)
		}
	}
	for name, points := range next {
		r.series[name] = points
	}
	return nil
}

// seriesName checks labels: sorted, each once, none empty, one of them the metric's name.
func seriesName(ls []label) (string, error) {
	var b strings.Builder
	named := false
	for i, l := range ls {
		if l.name == "" || l.value == "" || i > 0 && ls[i-1].name >= l.name {
			return "", fmt.Errorf("labels are not sorted, or empty: %v", ls)
		}
		named = named || l.name == "__name__"
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%q", l.name, l.value)
	}
	if !named {
		return "", fmt.Errorf("no metric name: %v", ls)
	}
	return "{" + b.String() + "}", nil
}

// appended adds samples as Prometheus' head does: nothing older, and for the same instant only the same.
func appended(have []Point, samples []Point) ([]Point, error) {
	have = slices.Clone(have)
	if len(samples) == 0 {
		return nil, fmt.Errorf("no samples")
	}
	for i, p := range samples {
		if i > 0 && samples[i-1].T >= p.T {
			return nil, fmt.Errorf("samples in one request are not in order")
		}
		if n := len(have); n > 0 {
			last := have[n-1]
			switch {
			case last == p:
				continue
			case last.T == p.T:
				return nil, fmt.Errorf("duplicate sample for timestamp")
			case last.T > p.T:
				return nil, fmt.Errorf("out of order sample")
			}
		}
		have = append(have, p)
	}
	return have, nil
}
