// Package alertmanagertest is a strict Alertmanager for tests: it takes alerts as API v2 does, refuses what
// it would refuse, and fails in all the ways in which far ends fail.
//
// Start reading at Server.
package alertmanagertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is what happens to one request. The zero Fault is none.
type Fault struct {
	Status int  // answered instead of taking the request; 0: none
	Reset  bool // no answer, and nothing taken
	Hang   bool // no answer until the client gives up, and nothing taken
	After  bool // the fault comes after the request was taken
}

// Alert is an alert as it was sent.
type Alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// Server keeps the newest state of each alert. It is an http.Handler, and an http.RoundTripper for tests in
// a bubble of fake time.
type Server struct {
	mu       sync.Mutex
	fault    func(n int) Fault
	requests int
	largest  int
	agent    string
	alerts   map[string]Alert
	history  []string
	refused  []string
}

// New returns a Server without alerts.
func New() *Server { return &Server{alerts: map[string]Alert{}} }

// SetFault says what happens to the nth request, from 0 on; nil for nothing.
func (s *Server) SetFault(fault func(n int) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Firing lists the alertnames (or instances, where the name says nothing) that fire at now, sorted.
func (s *Server) Firing(now time.Time, label string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []string{}
	for _, a := range s.alerts {
		if a.EndsAt.After(now) {
			out = append(out, a.Labels[label])
		}
	}
	slices.Sort(out)
	return out
}

// Alert returns the newest state of the alert whose label has that value.
func (s *Server) Alert(label, value string) (Alert, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.alerts {
		if a.Labels[label] == value {
			return a, true
		}
	}
	return Alert{}, false
}

// History lists what was taken, in order: "alertname firing" or "alertname resolved".
func (s *Server) History() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}

// Refused returns why requests were refused.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// Requests returns how many requests came, and how many alerts the largest had.
func (s *Server) Requests() (n, largest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.largest
}

// Agent is the User-Agent of the last request.
func (s *Server) Agent() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agent
}

// ServeHTTP takes one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := s.requests
	s.requests++
	s.agent = r.UserAgent()
	var f Fault
	if s.fault != nil {
		f = s.fault(n)
	}
	s.mu.Unlock()
	if (f == Fault{}) || f.After {
		if status, err := s.take(r); err != nil {
			s.mu.Lock()
			s.refused = append(s.refused, err.Error())
			s.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(err.Error())
			return
		}
	}
	switch {
	case f.Hang:
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Reset:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		w.WriteHeader(f.Status)
	}
}

// RoundTrip hands r to ServeHTTP without a network.
func (s *Server) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			if err = r.Context().Err(); err == nil {
				err = errors.New("read: connection reset by peer")
			}
		}
	}()
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// take checks a request as the API does: a wrong form refuses it whole, a wrong alert only that alert.
func (s *Server) take(r *http.Request) (status int, err error) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/api/v2/alerts") {
		return http.StatusNotFound, fmt.Errorf("%s %s", r.Method, r.URL.Path)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, fmt.Errorf("content type %q", r.Header.Get("Content-Type"))
	}
	var alerts []Alert
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&alerts); err != nil {
		return http.StatusBadRequest, err
	}
	for _, a := range alerts {
		if a.Labels == nil {
			return http.StatusUnprocessableEntity, errors.New("labels in body is required")
		}
		if u, err := url.ParseRequestURI(a.GeneratorURL); a.GeneratorURL != "" && (err != nil || u.Host == "") {
			return http.StatusUnprocessableEntity, fmt.Errorf("generatorURL in body must be of type uri: %q", a.GeneratorURL)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, len(alerts))
	for _, a := range alerts {
		if a.StartsAt.IsZero() {
			a.StartsAt = a.EndsAt
		}
		if verr := validate(a); verr != nil {
			err = errors.Join(err, verr)
			continue
		}
		s.alerts[fmt.Sprint(a.Labels)] = a
		state := "resolved"
		if a.EndsAt.After(time.Now()) {
			state = "firing"
		}
		s.history = append(s.history, a.Labels["alertname"]+" "+state)
	}
	return http.StatusBadRequest, err
}

// validate refuses what Alertmanager refuses, and what it would mend silently.
func validate(a Alert) error {
	switch {
	case len(a.Labels) == 0:
		return errors.New("at least one label pair required")
	case a.Labels["alertname"] == "":
		return errors.New("no alertname")
	case a.EndsAt.IsZero():
		return errors.New("end time missing")
	case a.EndsAt.Before(a.StartsAt):
		return errors.New("start time must be before end time")
	}
	for name, value := range a.Labels {
		if name == "" || value == "" {
			return fmt.Errorf("invalid label %q=%q", name, value)
		}
	}
	return nil
}
