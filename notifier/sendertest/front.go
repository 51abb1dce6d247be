package sendertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tocsin/oncall"
)

// Front stands before a far end that speaks HTTP, whatever its format is, and does to requests what any server on the
// internet may do: send elsewhere, answer without end, answer nonsense. It keeps the bodies of requests, so that the
// attempts of one delivery can be compared. Put it before the fake, and name it in Harness.Front.
type Front struct {
	next   http.Handler
	mu     sync.Mutex
	act    func(http.ResponseWriter, *http.Request) // nil: pass on to next; guarded by mu
	bodies []string                                 // of all requests; guarded by mu
}

// NewFront returns a Front before next.
func NewFront(next http.Handler) *Front { return &Front{next: next} }

// ServeHTTP passes on, or does what the suite has it do.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	f.bodies = append(f.bodies, string(body))
	act := f.act
	f.mu.Unlock()
	if act != nil {
		act(w, r)
		return
	}
	f.next.ServeHTTP(w, r)
}

func (f *Front) does(act func(http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.act, f.bodies = act, nil
}

func (f *Front) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.bodies...)
}

// frontTests need a Front.
var frontTests = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"410 is for good", gone},
	{"Retry-After may be a date", limitedUntil},
	{"a redirect is not followed", redirected},
	{"an answer without end is cut off", endless},
	{"nonsense is no defect of ours", nonsense},
	{"the body is the same in every attempt", bodies},
}

// status answers a status and header, and acts on nothing.
func status(code int, pairs ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(pairs); i += 2 {
			w.Header().Set(pairs[i], pairs[i+1])
		}
		w.WriteHeader(code)
	}
}

func gone(t *testing.T, h Harness) {
	h.Front.does(status(http.StatusGone))
	a := send(t, t.Context(), h, "msg_a")
	if a.Outcome != oncall.OutcomeGone && a.Outcome != oncall.OutcomeRefused { // some far ends know no 410: then it is any refusal
		t.Errorf("outcome %q of a 410", a.Outcome)
	}
	if a.Status != http.StatusGone {
		t.Errorf("status %d of a 410", a.Status)
	}
}

func limitedUntil(t *testing.T, h Harness) {
	h.Front.does(status(http.StatusTooManyRequests, "Retry-After", time.Now().Add(RetryAfter+time.Second).UTC().Format(http.TimeFormat)))
	a := send(t, t.Context(), h, "msg_a")
	want(t, a, oncall.OutcomeRetry)
	if a.RetryAfter <= 0 || a.RetryAfter > RetryAfter+2*time.Second {
		t.Errorf("RetryAfter is %s", a.RetryAfter)
	}
}

func redirected(t *testing.T, h Harness) {
	if h.Follows {
		t.Skip("this sender follows redirects by its own definition")
	}
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stolen.Add(1)
		_, _ = io.WriteString(w, "{}") // it does not matter whether it arrives
	}))
	defer thief.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		h.Front.does(status(code, "Location", thief.URL+"/take"))
		want(t, send(t, t.Context(), h, fmt.Sprintf("msg_%d", code)), oncall.OutcomeRefused)
	}
	if n := stolen.Load(); n > 0 {
		t.Errorf("%d redirects were followed to another host", n)
	}
}

func endless(t *testing.T, h Harness) {
	const most = 64 << 20
	for _, code := range []int{http.StatusOK, http.StatusBadRequest, http.StatusServiceUnavailable} {
		var written atomic.Int64
		h.Front.does(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			block := []byte(strings.Repeat("endless ", 4<<10))
			for written.Load() < most && r.Context().Err() == nil {
				n, err := w.Write(block)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		began := time.Now()
		a := send(t, ctx, h, "msg_a")
		cancel()
		if code != http.StatusOK && (a.Outcome == oncall.OutcomeDelivered || a.Outcome == oncall.OutcomeAccepted) {
			t.Errorf("an endless %d counts as delivered", code)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("an endless %d took %s", code, took)
		}
	}
}

func nonsense(t *testing.T, h Harness) {
	for name, answer := range map[string]string{
		"null": "null", "a number": "7", "a list": "[]", "half a document": `{"ok": tr`, "wrong types": `{"ok": "yes", "status": [], "result": 7, "ts": {}, "errors": "no"}`,
		"no text": "\xff\xfe\x00\x1b[2J", "deep": strings.Repeat("[", 10_000), "wide": `{"ok":false,"error":"` + strings.Repeat("e", 10_000) + `"}`,
	} {
		for _, code := range []int{200, 202, 400, 500} {
			h.Front.does(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Retry-After", "\x01soon")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, answer)
			})
			a := send(t, t.Context(), h, "msg_a")
			if code >= 400 && (a.Outcome == oncall.OutcomeDelivered || a.Outcome == oncall.OutcomeAccepted) {
				t.Errorf("%s with %d counts as delivered", name, code)
			}
		}
	}
	h.Front.does(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler) // without a network the connection just breaks
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n\r\n")
	})
	a := send(t, t.Context(), h, "msg_a")
	if a.Outcome != oncall.OutcomeUnknown && a.Outcome != oncall.OutcomeRetry {
		t.Errorf("outcome %q of an answer that is no HTTP", a.Outcome)
	}
}

func bodies(t *testing.T, h Harness) {
	h.Front.does(nil)
	h.Behave(Busy)
	m := h.Message("msg_stable")
	h.Sender.Send(t.Context(), m)
	first := h.Front.seen()
	h.Front.does(nil)
	m.Delivery.Attempts++
	h.Sender.Send(t.Context(), m)
	second := h.Front.seen()
	normal := h.Normal
	if normal == nil {
		normal = func(s string) string { return s }
	}
	if len(first) == 0 || len(second) == 0 || normal(first[0]) != normal(second[0]) {
		t.Errorf("two attempts of one delivery differ:\n%q\n%q", first, second)
	}
}
