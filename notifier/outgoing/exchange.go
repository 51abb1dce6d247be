package outgoing

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"tocsin/oncall"
)

const (
	defaultAnswer     = 4 << 10       // bytes of an answer that are read
	defaultAnswerTime = time.Second   // how long the rest of an answer may take once its status is known
	maxRetryAfter     = 1 * time.Hour // a far end that asks for more is asked again after this
)

// Exchange makes attempts at one endpoint. It may be used from many goroutines.
type Exchange struct {
	Client     *http.Client
	Redact     *Redactor     // of this endpoint; never nil
	Timeout    time.Duration // of an attempt; above 0
	MaxAnswer  int64         // bytes of an answer that are read; 0: 4 KiB
	AnswerTime time.Duration // how long the rest of an answer may take once its status is known; 0: 1 s
}

// Answer is what a far end said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // its start, unredacted: never shown as it is
}

// Do sends req under ctx and writes into a what came of it: Status, Excerpt, Sent, and where no answer came (nil) also Outcome
// and Error. The caller judges an answer, by Judge or by what it knows of the far end. a.At must be set.
func (x Exchange) Do(ctx context.Context, req *http.Request, a *oncall.Attempt) *Answer {
	if err := ctx.Err(); err != nil {
		a.Outcome, a.Error = oncall.OutcomeRetry, "not sent: "+err.Error()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	w := &wire{headers: map[string]string{}}
	a.Sent = &oncall.Sent{Method: req.Method, URL: Masked(req.URL)}
	res, err := x.Client.Do(req.WithContext(w.trace(ctx)))
	if err != nil {
		a.Sent.Headers = w.shown()
		a.Outcome, a.Error = x.explain(ctx, err, req.URL.Host, w)
		return nil
	}
	defer res.Body.Close()
	answer := &Answer{Status: res.StatusCode, Header: res.Header, Body: x.read(res.Body, cancel)}
	a.Sent.Headers = w.shown()
	a.Status = res.StatusCode
	a.Excerpt = x.Redact.Clean(string(answer.Body), w.secrets()...)
	return answer
}

// read reads the start of an answer. The status is known by then, so a body that trickles is cut off rather than
// waited for.
func (x Exchange) read(r io.Reader, cancel context.CancelFunc) []byte {
	most, within := x.MaxAnswer, x.AnswerTime
	if most <= 0 {
		most = defaultAnswer
	}
	if within <= 0 {
		within = defaultAnswerTime
	}
	stop := time.AfterFunc(within, cancel)
	defer stop.Stop()
	b, _ := io.ReadAll(io.LimitReader(r, most)) // what did arrive is excerpt enough
	return b
}

// explain says what went wrong before an answer came, and what it means. The URL is left out: its path may be a secret.
func (x Exchange) explain(ctx context.Context, err error, host string, w *wire) (oncall.Outcome, string) {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		// For good, so that the next contact is asked at once: only an edit of the configuration mends it.
		return oncall.OutcomeRefused, "not sent: " + r.Error()
	}
	outcome, where := oncall.OutcomeUnknown, "no answer from "+host
	if w.stayed() {
		outcome, where = oncall.OutcomeRetry, "could not reach "+host
	}
	timeout := errors.Is(err, context.DeadlineExceeded)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		timeout = true
	}
	text := where + ": " + err.Error()
	switch {
	case timeout && errors.Is(ctx.Err(), context.DeadlineExceeded):
		text = where + " within " + x.Timeout.String()
	case errors.Is(err, context.Canceled):
		text = where + ": the attempt was cut short"
	}
	return outcome, x.Redact.Clean(text, w.secrets()...)
}

// Judge says what the status of an answer means where a far end follows HTTP's own sense of them.
func Judge(ans *Answer, a *oncall.Attempt) {
	s := ans.Status
	switch {
	case s >= 200 && s < 300:
		a.Outcome = oncall.OutcomeDelivered
		return
	case s == http.StatusGone:
		a.Outcome = oncall.OutcomeGone
		a.Error = "answered 410 Gone: it wants no more pages; this endpoint is off until the next reload"
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		a.Outcome = oncall.OutcomeRetry
		a.Error = "answered " + statusText(s)
		a.RetryAfter = RetryAfter(ans.Header.Get("Retry-After"), a.At)
	case s >= 300 && s < 400:
		a.Outcome = oncall.OutcomeRefused
		a.Error = "answered " + statusText(s) + ": redirects are not followed, set the final URL"
	default:
		a.Outcome = oncall.OutcomeRefused
		a.Error = "refused with " + statusText(s)
	}
}

func statusText(s int) string {
	return strings.TrimSpace(strconv.Itoa(s) + " " + http.StatusText(s))
}

// RetryAfter reads the header's two forms, seconds and an HTTP date; zero where it says nothing usable, at most an hour.
func RetryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	var d time.Duration
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		if n > int64(maxRetryAfter/time.Second) {
			n = int64(maxRetryAfter / time.Second)
		}
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// Masked is a URL for people: its host, and nothing that could be a secret.
func Masked(u *url.URL) string {
	s := u.Scheme + "://" + u.Host
	if p := u.EscapedPath(); p != "" && p != "/" || u.RawQuery != "" {
		s += "/…"
	}
	return s
}

// harmless are the headers whose values people may see; of all others only that they were sent.
var harmless = map[string]bool{
	"host": true, "user-agent": true, "content-type": true, "content-length": true, "accept": true, "accept-encoding": true,
	"webhook-id": true, "webhook-timestamp": true, "idempotency-key": true, "transfer-encoding": true,
}

// wire is what is known of one request's way out.
type wire struct {
	mu      sync.Mutex // the transport's goroutines write
	asked   bool       // a connection was asked for: the transport reports its steps
	written bool       // the request's head was written: the far end may have acted
	auth    []string
	headers map[string]string
}

func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked = true
			clear(w.headers) // those of a token's request before this one
		},
		WroteHeaders: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.written = true
		},
		WroteHeaderField: func(key string, values []string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			k := strings.ToLower(key)
			if k == "authorization" || k == "proxy-authorization" {
				w.auth = append(w.auth, values...)
			}
			switch {
			case strings.HasPrefix(k, ":"):
			case harmless[k]:
				w.headers[k] = Excerpt(strings.Join(values, ", "))
			default:
				w.headers[k] = "<masked>"
			}
		},
	})
}

// stayed reports that the request surely did not leave: only that is a plain retry.
func (w *wire) stayed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked && !w.written
}

// secrets are what the HTTP client put into the request's head.
func (w *wire) secrets() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return credentials(w.auth)
}

// shown are the headers as people may see them, nil where none was written.
func (w *wire) shown() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.headers) == 0 {
		return nil
	}
	return maps.Clone(w.headers)
}
