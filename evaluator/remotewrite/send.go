package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	promconfig "github.com/prometheus/common/config"
)

const (
	// maxAnswer is how much of an answer is read: a few words why.
	maxAnswer = 2 << 10
	// maxExcerpt is how much of it is shown.
	maxExcerpt = 300
	// maxRetryAfter bounds what a far end may ask for: it shall not switch us off.
	maxRetryAfter = 5 * time.Minute
)

// verdict is what became of a request.
type verdict string

const (
	sent    verdict = "sent"    // acknowledged
	refused verdict = "refused" // the far end will never take it
	failed  verdict = "failed"  // to be tried again; it may have arrived all the same
)

// result is a verdict with what is to know about it.
type result struct {
	verdict    verdict
	retryAfter time.Duration // when failed: what the far end asked for
	arrived    bool          // when failed: it may have arrived
	err        error         // nil when sent
}

// far is the far end of one configuration. It is safe for concurrent use.
type far struct {
	api     *remote.API
	http    *http.Client
	shown   string // without credentials
	timeout time.Duration
}

// newFar makes a client. transport, if it is not nil, replaces the network.
func newFar(cfg Config, transport http.RoundTripper) (*far, error) {
	f := &far{timeout: cfg.Timeout}
	if f.timeout <= 0 {
		f.timeout = DefaultTimeout
	}
	if transport == nil {
		c, err := promconfig.NewClientFromConfig(cfg.HTTP, "remote_write")
		if err != nil {
			return nil, fmt.Errorf("remote_write: %w", err)
		}
		transport = c.Transport
	}
	u := *cfg.URL
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	f.shown = u.String()
	f.http = &http.Client{
		Transport: &wire{next: transport, url: cfg.URL, headers: cfg.Headers},
		// A redirect would turn the POST into a GET, or carry credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var err error
	// The library shall try once: when to try again depends on the queue. (0 means for ever there.)
	f.api, err = remote.NewAPI(cfg.URL.String(), remote.WithAPIHTTPClient(f.http), remote.WithAPIPath(""),
		remote.WithAPIBackoff(remote.BackoffConfig{MaxRetries: -1}))
	if err != nil {
		return nil, fmt.Errorf("remote_write: %w", err)
	}
	return f, nil
}

func (f *far) close() { f.http.CloseIdleConnections() }

// send sends one request, once.
func (f *far) send(ctx context.Context, m message) result {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var seen answer
	_, err := f.api.Write(context.WithValue(ctx, answerKey{}, &seen), remote.WriteV1MessageType, m)
	switch status := seen.status; {
	case status/100 == 2:
		return result{verdict: sent} // even if the rest of the answer was lost
	case status == 0:
		return result{verdict: failed, arrived: seen.asked, err: f.explain(ctx, seen.err)}
	case retryable(status):
		return result{verdict: failed, arrived: status/100 == 5, retryAfter: seen.retryAfter, err: f.answered(err, status)}
	default:
		return result{verdict: refused, err: f.answered(err, status)}
	}
}

// retryable tells what may be mended from what is about the data. An expired password, a path that leads
// elsewhere or a receiver that is not switched on says nothing about the data: people mend it, and the
// queue keeps what was evaluated meanwhile.
func retryable(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status/100 != 4
}

// answered words what the far end said: the library's error ends with the answer's text.
func (f *far) answered(err error, status int) error {
	text := ""
	if err != nil {
		if _, after, ok := strings.Cut(err.Error(), http.StatusText(status)+": "); ok {
			text = ": " + short(after)
		}
	}
	return fmt.Errorf("%s answered %d %s%s", f.shown, status, http.StatusText(status), text)
}

// explain words an error of the network. It is that which the wire saw: the library's holds the URL, in which
// there may be a token, and cannot be taken apart.
func (f *far) explain(ctx context.Context, err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	ne, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && ne.Timeout():
		return fmt.Errorf("%s did not answer in time", f.shown)
	case ctx.Err() != nil:
		return fmt.Errorf("writing to %s was broken off", f.shown)
	case err == nil:
		return fmt.Errorf("%s did not answer", f.shown)
	}
	return fmt.Errorf("%s cannot be reached: %s", f.shown, short(err.Error()))
}

// short makes text from outside fit for one line.
func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxExcerpt {
		s = string(r[:maxExcerpt]) + "…"
	}
	return s
}

// answer is what a wire saw of one request. It is written by the request's goroutine only.
type answer struct {
	asked      bool  // the request went out
	err        error // why there is no answer
	status     int   // 0: no answer
	retryAfter time.Duration
}

type answerKey struct{}

// wire adds what the library does not: headers, the URL exactly as configured, a bound on the answer. And
// it notes what the library does not tell.
type wire struct {
	next    http.RoundTripper
	url     *url.URL
	headers map[string]string
}

// RoundTrip sends r.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	seen, _ := r.Context().Value(answerKey{}).(*answer)
	if seen == nil {
		seen = &answer{}
	}
	r = r.Clone(r.Context())
	r.URL = w.url
	r.Host = ""
	r.Header.Set("User-Agent", "tocsin")
	for name, value := range w.headers {
		r.Header.Set(name, value)
	}
	seen.asked = true
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			seen.asked = false
		}
		seen.err = err
		return nil, err
	}
	seen.status = resp.StatusCode
	seen.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	resp.Body = bounded{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// CloseIdleConnections lets the client close those of the network.
func (w *wire) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type bounded struct {
	io.Reader
	io.Closer
}

// retryAfter reads the header Retry-After: seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	} else if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	}
	return min(max(d, 0), maxRetryAfter)
}
