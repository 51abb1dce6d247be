// Package pagertest is a strict far end for pages: a paging webhook receiver that checks everything a real
// one may check, records what it acted on, and fails on request before, during or after it has acted.
//
// It shares no code with package pager: what both get wrong in the same way would otherwise pass. Start
// reading at New.
package pagertest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tocsin/docs"
)

const (
	maxPage = 20_000 // bytes
	window  = 5 * time.Minute
)

// Fault is how one request goes wrong. The zero value is none.
type Fault struct {
	// Status, if not 0, is answered instead of 204. The page is not recorded, unless Record is set.
	Status int
	Header http.Header // added to the answer: Retry-After, Location
	Body   string      // of the answer
	Echo   bool        // the answer repeats the request: its URL, headers and body
	Record bool        // act on the page all the same, then answer Status
	Reset  bool        // act on the page, then break the connection
	Hang   bool        // act on the page, then say nothing until the client goes away
}

// Failures before the page was acted on.
var (
	Busy     = Fault{Status: http.StatusServiceUnavailable}
	Error    = Fault{Status: http.StatusInternalServerError, Body: "<html><body>\x00\x1b[31mInternal\r\nError"}
	NotFound = Fault{Status: http.StatusNotFound}
	Gone     = Fault{Status: http.StatusGone}
	Redirect = Fault{Status: http.StatusFound, Header: http.Header{"Location": {"http://elsewhere.invalid/"}}}
)

// Failures after the page was acted on: the sender cannot know that it was.
var (
	ResetAfter = Fault{Reset: true}
	HangAfter  = Fault{Hang: true}
	ErrorAfter = Fault{Status: http.StatusInternalServerError, Record: true}
)

// Limited refuses with 429 and a Retry-After in whole seconds.
func Limited(after time.Duration) Fault {
	return Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {strconv.Itoa(int(after / time.Second))}}}
}

// Page is a page that the far end acted on.
type Page struct {
	At        time.Time // arrival
	Path      string
	Key       string // webhook-id
	Type      string // incident.triggered, …
	Timestamp time.Time
	Number    int64  // of the incident
	Incident  string // its key
	State     string
	Title     string
	Tier      int
	Round     int
	Target    string
	AckURL    string
	Numbers   []int64  // of all incidents that it names: of Number alone, but for a bundle's
	Count     int      // how many it goes for
	AckURLs   []string // of each of Numbers
	each      []Page   // of a bundle: what it says of each of Numbers
	Body      []byte
}

// Server is the receiver. It is an http.Handler for a listener of the caller's, and an http.RoundTripper
// for tests that have no network. All methods may be called from any goroutine.
type Server struct {
	schema *Schema
	keys   [][]byte
	notify chan struct{}

	mu       sync.Mutex
	fault    func(Page) Fault
	next     []Fault
	pages    []Page
	requests int
	bodies   map[string][]byte // by key, recorded or not
	problems []string
}

// New makes a receiver that accepts signatures made with any of the secrets (whsec_…). It panics over a
// secret that is none, as that is a mistake in the test.
func New(secrets ...string) *Server {
	schema, err := ParseSchema(docs.PageSchema)
	if err != nil {
		panic(err)
	}
	s := &Server{schema: schema, bodies: map[string][]byte{}, notify: make(chan struct{}, 1024)}
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			panic("pagertest: a secret is not base64: " + err.Error())
		}
		s.keys = append(s.keys, key)
	}
	return s
}

// Fail makes the next requests go wrong, one fault each, in order; a zero Fault lets one through.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, faults...)
}

// FailWith decides the fault of every request for which Fail has none left; nil ends that. It is called
// with the page as received, under the server's lock: it must not call the server.
func (s *Server) FailWith(f func(Page) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Pages returns what was acted on, in order of arrival, repeats included.
func (s *Server) Pages() []Page {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pages)
}

// ByIncident returns, for each incident's number, its pages in order of arrival, only the first of each key.
func (s *Server) ByIncident() map[int64][]Page {
	seen := map[string]bool{}
	all := map[int64][]Page{}
	for _, p := range s.Pages() {
		if !seen[p.Key] {
			seen[p.Key] = true
			for _, n := range p.Numbers {
				all[n] = append(all[n], p)
			}
		}
	}
	return all
}

// Requests returns how many requests arrived, whatever became of them.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Problems returns what a strict receiver minded, one sentence each. A test ends by asking for it.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

// Arrived receives once for each request, after a page was recorded and before it is answered. Values
// that nobody reads are dropped after the first 1,024.
func (s *Server) Arrived() <-chan struct{} { return s.notify }

// ServeHTTP receives one page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client went away
	}
	fault, refusal := s.take(r, body)
	select {
	case s.notify <- struct{}{}:
	default:
	}
	switch {
	case refusal != nil:
		http.Error(w, refusal.Error(), http.StatusBadRequest)
	case fault.Hang:
		<-r.Context().Done()
	case fault.Reset:
		panic(http.ErrAbortHandler)
	default:
		answer(w, r, fault, body)
	}
}

func answer(w http.ResponseWriter, r *http.Request, f Fault, body []byte) {
	for k, v := range f.Header {
		w.Header()[k] = v
	}
	if f.Status == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.WriteHeader(f.Status)
	text := f.Body
	if f.Echo {
		text += fmt.Sprintf("you sent %s %s as %v with %v: %s", r.Method, r.URL, r.Header["Authorization"], r.Header["Webhook-Signature"], body)
	}
	_, _ = io.WriteString(w, text) // the client may be gone
}

// take checks one request and records it, if the fault that it draws lets it be acted on.
func (s *Server) take(r *http.Request, body []byte) (Fault, error) {
	now := time.Now()
	p, err := s.read(r, body, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if err != nil {
		s.problems = append(s.problems, err.Error())
		return Fault{}, err
	}
	if first, ok := s.bodies[p.Key]; ok && !bytes.Equal(first, body) {
		s.problems = append(s.problems, p.Key+": the body differs from that of an earlier attempt")
	}
	s.bodies[p.Key] = body
	var f Fault
	if len(s.next) > 0 {
		f, s.next = s.next[0], s.next[1:]
	} else if s.fault != nil {
		f = s.fault(p)
	}
	if f.Status == 0 || f.Record {
		s.pages = append(s.pages, p)
	}
	return f, nil
}

// read checks all that a receiver can check of one request.
func (s *Server) read(r *http.Request, body []byte, now time.Time) (Page, error) {
	p := Page{At: now, Path: r.URL.Path, Key: r.Header.Get("webhook-id"), Body: body}
	if err := s.verify(r, body, now); err != nil {
		return p, fmt.Errorf("%s: %w", p.Key, err)
	}
	if problems := s.schema.Check(body); len(problems) > 0 {
		return p, fmt.Errorf("%s: the body breaks docs/page.schema.json: %s", p.Key, strings.Join(problems, "; "))
	}
	var payload struct {
		Type      string
		Timestamp time.Time
		Data      struct {
			Number            int64
			Key, State, Title string
			Page              struct {
				Tier, Round int
				Target      string
				AckURL      string `json:"ack_url"`
				Bundle      *struct {
					Count     int
					Incidents []bundled
				}
			}
		}
	}
	if err := json.Unmarshal(body, &payload); err != nil {
		return p, fmt.Errorf("%s: %w", p.Key, err)
	}
	d := payload.Data
	p.Type, p.Timestamp, p.Number, p.Incident = payload.Type, payload.Timestamp, d.Number, d.Key
	p.State, p.Title = d.State, d.Title
	p.Tier, p.Round, p.Target, p.AckURL = d.Page.Tier, d.Page.Round, d.Page.Target, d.Page.AckURL
	p.Numbers, p.AckURLs, p.Count = []int64{p.Number}, []string{p.AckURL}, 1
	if b := d.Page.Bundle; b != nil {
		p.Count = b.Count
		if err := p.unbundle(b.Incidents); err != nil {
			return p, fmt.Errorf("%s: the bundle %w", p.Key, err)
		}
	}
	return p, nil
}

// Each returns a page for each incident that the page names, as if it had gone for that one alone; but its key and body
// are those of the page.
func (p Page) Each() []Page {
	if p.each == nil {
		return []Page{p}
	}
	return p.each
}

// bundled is one incident of a page that goes for several.
type bundled struct {
	Number      int64
	Key, Title  string
	Tier, Round int
	AckURL      string `json:"ack_url"`
}

// unbundle takes in the incidents of a bundle.
func (p *Page) unbundle(all []bundled) error {
	switch {
	case len(all) > p.Count || len(all) == 0:
		return fmt.Errorf("names %d incidents and goes for %d", len(all), p.Count)
	case all[0].Number != p.Number || all[0].Key != p.Incident:
		return fmt.Errorf("begins with #%d, and the page is about #%d", all[0].Number, p.Number)
	case p.Type != "incident.triggered":
		return errors.New("is in a page of the type " + p.Type)
	case !strings.HasPrefix(p.Title, fmt.Sprintf("%d incidents, first: ", p.Count)):
		return errors.New("is not in the title: " + p.Title)
	}
	var each []Page
	p.Numbers, p.AckURLs = nil, nil
	links := map[string]bool{p.AckURL: true}
	for _, b := range all {
		if slices.Contains(p.Numbers, b.Number) || links[b.AckURL] {
			return fmt.Errorf("names #%d or its link twice", b.Number)
		}
		links[b.AckURL] = true
		p.Numbers, p.AckURLs = append(p.Numbers, b.Number), append(p.AckURLs, b.AckURL)
		one := *p
		one.Number, one.Incident, one.Title, one.Tier, one.Round, one.AckURL = b.Number, b.Key, b.Title, b.Tier, b.Round, b.AckURL
		one.Numbers, one.AckURLs, one.Count, one.each = []int64{b.Number}, []string{b.AckURL}, 1, nil
		each = append(each, one)
	}
	p.each = each
	return nil
}

func (s *Server) verify(r *http.Request, body []byte, now time.Time) error {
	h := r.Header
	switch {
	case r.Method != http.MethodPost:
		return errors.New("the method is " + r.Method + ", must be POST")
	case h.Get("Content-Type") != "application/json":
		return errors.New("the content type is " + strconv.Quote(h.Get("Content-Type")) + ", must be application/json")
	case !strings.HasPrefix(h.Get("User-Agent"), "tocsin/"):
		return errors.New("the user agent is " + strconv.Quote(h.Get("User-Agent")) + ", must begin with tocsin/")
	case len(body) >= maxPage:
		return fmt.Errorf("the body has %d bytes, must be below %d", len(body), maxPage)
	case h.Get("webhook-id") == "":
		return errors.New("there is no webhook-id")
	}
	stamp := h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp " + strconv.Quote(stamp) + " is no unix time")
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > window {
		return fmt.Errorf("webhook-timestamp is off by %s", off)
	}
	return s.signed(h.Get("webhook-id")+"."+stamp+"."+string(body), h.Get("webhook-signature"))
}

func (s *Server) signed(content, header string) error {
	for _, field := range strings.Fields(header) {
		version, text, _ := strings.Cut(field, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version != "v1" || err != nil {
			return errors.New("webhook-signature has a field that is not v1,<base64>")
		}
		for _, key := range s.keys {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(content))
			if hmac.Equal(got, mac.Sum(nil)) {
				return nil
			}
		}
	}
	return errors.New("no signature matches")
}
