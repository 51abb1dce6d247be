package e2etest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hooks is the far end of webhook receivers: what is posted to /NAME is a notification of that name.
type hooks struct {
	url string

	mu    sync.Mutex
	fault func(name string, n int, body []byte) fault
	seen  map[string]int // requests by name
	got   []notification
}

// fault is how a request of a receiver goes wrong. The zero value is none.
type fault struct {
	status int           // answered instead of 200; the notification is not recorded
	wait   time.Duration // before the answer, or until the client goes away
	after  time.Duration // sent as Retry-After
}

// notification is what arrived.
type notification struct {
	hook   string
	at     time.Time
	body   []byte
	Alerts []notified
	Group  string `json:"groupKey"`
	Reason string `json:"notification_reason"`
}

// notified is an alert of a notification.
type notified struct {
	Status      string
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
	EndsAt      time.Time
}

func newHooks(t testing.TB) *hooks {
	h := &hooks{seen: map[string]int{}}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

// config returns the configuration with each $NAME: replaced, where a receiver's address belongs.
func (h *hooks) config(text string) string { return strings.ReplaceAll(text, "$HOOK", h.url) }

// failWith decides the fault of the n-th request (from 0) to a name.
func (h *hooks) failWith(f func(name string, n int, body []byte) fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

func (h *hooks) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	at := time.Now()
	name := strings.TrimPrefix(r.URL.Path, "/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	h.mu.Lock()
	n := h.seen[name]
	h.seen[name]++
	var f fault
	if h.fault != nil {
		f = h.fault(name, n, body)
	}
	h.mu.Unlock()
	if f.wait > 0 {
		select {
		case <-time.After(f.wait):
		case <-r.Context().Done():
			return
		}
	}
	if f.after > 0 {
		rw.Header().Set("Retry-After", f.after.String()[:len(f.after.String())-1])
	}
	if f.status != 0 {
		rw.WriteHeader(f.status)
		return
	}
	note := notification{hook: name, at: at, body: body}
	_ = json.Unmarshal(body, &note) // receivers that are no webhooks have another body
	h.mu.Lock()
	h.got = append(h.got, note)
	h.mu.Unlock()
}

// all returns what arrived at a name, in order.
func (h *hooks) all(name string) []notification {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []notification
	for _, n := range h.got {
		if n.hook == name {
			list = append(list, n)
		}
	}
	return list
}

// requests returns how many requests a name had, failed ones included.
func (h *hooks) requests(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[name]
}

// last returns for each alert that a name was told of, by the value of a label, how it was last told.
func (h *hooks) last(name, label string) map[string]string {
	out := map[string]string{}
	for _, n := range h.all(name) {
		for _, a := range n.Alerts {
			out[a.Labels[label]] = a.Status
		}
	}
	return out
}

// text writes labels in order, for comparing and for messages.
func text(ls map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(ls)) {
		b.WriteString(k + "=" + ls[k] + " ")
	}
	return b.String()
}
