// Package pager sends pages over HTTP to programs that wake people: signed webhooks, as the Standard
// Webhooks specification describes them. One attempt per call; when to try again is not decided here.
//
// It writes no payloads: a page's body is frozen when the core decides it, so that every attempt of one
// delivery carries the same bytes under the same webhook-id. How a receiver verifies a page is in
// docs/paging-webhook.md. Start reading at Pager.Send.
package pager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/common/config"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tocsin/notifier"
	"tocsin/oncall"
)

// DefaultTimeout bounds an attempt where the configuration sets nothing.
const DefaultTimeout = 10 * time.Second

const (
	maxAnswer     = 4 << 10       // bytes of an answer that are read
	answerTime    = time.Second   // how long the rest of an answer may take once its status is known
	maxRetryAfter = 1 * time.Hour // a far end that asks for more is asked again after this
)

// Options are what all endpoints share.
type Options struct {
	Version   string            // of tocsin, for User-Agent; "" is shown as "dev"
	Transport http.RoundTripper // replaces the network in tests; nil: as each endpoint's configuration says
}

// Pager is the notifier.Sender for endpoints of the kind "page".
type Pager struct {
	endpoints map[oncall.Endpoint]*endpoint
	agent     string
}

var _ notifier.Sender = (*Pager)(nil)

// endpoint is one entry of a receiver's page_configs, ready to be used. It never changes.
type endpoint struct {
	config  Config
	signers []*standardwebhooks.Webhook
	client  *http.Client
}

// New makes a Pager for the given endpoints. Its errors name the endpoint and never its secrets. It opens
// no connection. The caller calls Close when a reload has replaced it.
func New(endpoints map[oncall.Endpoint]Config, o Options) (*Pager, error) {
	version := o.Version
	if version == "" {
		version = "dev"
	}
	p := &Pager{endpoints: make(map[oncall.Endpoint]*endpoint, len(endpoints)), agent: "tocsin/" + version}
	for name, c := range endpoints {
		e, err := newEndpoint(name, c, o.Transport)
		if err != nil {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: %v", name, err)
		}
		p.endpoints[name] = e
	}
	return p, nil
}

func newEndpoint(name oncall.Endpoint, c Config, transport http.RoundTripper) (*endpoint, error) {
	if c.URL == nil || (c.URL.Scheme != "http" && c.URL.Scheme != "https") || c.URL.Host == "" {
		return nil, errors.New("the URL must be http or https and name a host")
	}
	if len(c.Secrets) == 0 {
		return nil, errors.New("no secret is set: a page must be signed (secret_file)")
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	e := &endpoint{config: c}
	for i, s := range c.Secrets {
		signer, err := standardwebhooks.NewWebhook(strings.TrimSpace(s))
		if err != nil || strings.TrimSpace(strings.TrimPrefix(s, "whsec_")) == "" {
			return nil, fmt.Errorf("secret %d is no base64 text after whsec_", i+1)
		}
		e.signers = append(e.signers, signer)
	}
	if transport == nil {
		var err error
		if transport, err = promconfig.NewRoundTripperFromConfig(c.HTTP, string(name)); err != nil {
			return nil, fmt.Errorf("HTTP settings: %w", err)
		}
	}
	e.client = &http.Client{
		Transport: transport,
		// A redirect would send the page, with its signature, to somebody who was not configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

// Close closes idle connections. Attempts that are under way end on their own.
func (p *Pager) Close() {
	for _, e := range p.endpoints {
		e.client.CloseIdleConnections()
	}
}

// String names the sender without what it holds.
func (p *Pager) String() string { return fmt.Sprintf("pager with %d endpoints", len(p.endpoints)) }

// Send makes one attempt to deliver m's body. It returns within the endpoint's timeout.
func (p *Pager) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	start := time.Now()
	a := oncall.Attempt{At: start, Number: m.Delivery.Attempts}
	e := p.endpoints[m.Delivery.Endpoint]
	if e == nil {
		a.Outcome = oncall.OutcomeRefused
		a.Error = "no longer configured: " + string(m.Delivery.Endpoint) + " is in no receiver's page_configs"
		return a
	}
	e.attempt(ctx, m.Delivery, p.agent, &a)
	a.Took = time.Since(start)
	return a
}

// attempt sends d and writes into a what came of it.
func (e *endpoint) attempt(ctx context.Context, d oncall.Delivery, agent string, a *oncall.Attempt) {
	if err := ctx.Err(); err != nil {
		a.Outcome, a.Error = oncall.OutcomeRetry, "not sent: "+err.Error()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	var w wire
	req, err := e.request(w.trace(ctx), d, agent, a.At)
	if err != nil {
		a.Outcome, a.Error = oncall.OutcomeRefused, "the request could not be written: "+e.clean(err.Error(), &w)
		return
	}
	res, err := e.client.Do(req)
	if err != nil {
		a.Outcome, a.Error = w.outcome(), e.explain(ctx, err, &w)
		return
	}
	defer res.Body.Close()
	a.Status = res.StatusCode
	a.Excerpt = e.clean(readAnswer(res.Body, cancel), &w)
	judge(res, a)
}

func (e *endpoint) request(ctx context.Context, d oncall.Delivery, agent string, now time.Time) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.config.URL.String(), bytes.NewReader(d.Body))
	if err != nil {
		return nil, err
	}
	signatures := make([]string, len(e.signers))
	for i, s := range e.signers {
		if signatures[i], err = s.Sign(d.Key, now, d.Body); err != nil {
			return nil, err
		}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", agent)
	req.Header.Set(standardwebhooks.HeaderWebhookID, d.Key)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return req, nil
}

// readAnswer reads the start of an answer. The status is known by then, so a body that trickles is cut off
// rather than waited for.
func readAnswer(r io.Reader, cancel context.CancelFunc) string {
	stop := time.AfterFunc(answerTime, cancel)
	defer stop.Stop()
	b, _ := io.ReadAll(io.LimitReader(r, maxAnswer)) // what did arrive is excerpt enough
	return string(b)
}

// judge says what an answer means.
func judge(res *http.Response, a *oncall.Attempt) {
	s := res.StatusCode
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
		a.RetryAfter = retryAfter(res.Header.Get("Retry-After"), a.At)
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

// retryAfter reads the header's two forms, seconds and an HTTP date; zero where it says nothing usable.
func retryAfter(v string, now time.Time) time.Duration {
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

// wire is what is known of one request's way out. Its fields are written by the transport's goroutines.
type wire struct {
	asked   atomic.Bool // a connection was asked for: the transport reports its steps
	written atomic.Bool // the request's head was written: the far end may have acted
	auth    atomic.Pointer[[]string]
}

func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.asked.Store(true) },
		WroteHeaders: func() { w.written.Store(true) },
		WroteHeaderField: func(key string, values []string) {
			if strings.EqualFold(key, "Authorization") || strings.EqualFold(key, "Proxy-Authorization") {
				v := append([]string(nil), values...)
				w.auth.Store(&v)
			}
		},
	})
}

// outcome is what an error means: only a request that surely stayed here is a plain retry.
func (w *wire) outcome() oncall.Outcome {
	if w.asked.Load() && !w.written.Load() {
		return oncall.OutcomeRetry
	}
	return oncall.OutcomeUnknown
}
