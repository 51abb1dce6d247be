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
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

// DefaultTimeout bounds an attempt where the configuration sets nothing.
const DefaultTimeout = 10 * time.Second

// Options are what all endpoints share.
type Options struct {
	Version   string            // of tocsin, for User-Agent; "" is shown as "dev"
	Outgoing  outgoing.Policy   // what may be connected to, beside what an endpoint's own configuration allows
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
	options outgoing.Options
	outgoing.Exchange
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
		e, err := newEndpoint(name, c, o)
		if err != nil {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: %v", name, err)
		}
		p.endpoints[name] = e
	}
	return p, nil
}

func newEndpoint(name oncall.Endpoint, c Config, o Options) (*endpoint, error) {
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
	e.options = outgoing.Options{URLs: []*url.URL{c.URL}, AllowPrivate: c.AllowPrivate, Policy: o.Outgoing, Transport: o.Transport}
	client, err := outgoing.Client(string(name), c.HTTP, e.options)
	if err != nil {
		return nil, err
	}
	e.Exchange = outgoing.Exchange{Client: client, Redact: outgoing.NewRedactor(c.URL, c.Secrets...), Timeout: c.Timeout}
	return e, nil
}

// Close closes idle connections. Attempts that are under way end on their own.
func (p *Pager) Close() {
	for _, e := range p.endpoints {
		e.Client.CloseIdleConnections()
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
	req, err := e.request(ctx, d, agent, a.At)
	if err != nil {
		a.Outcome, a.Error = oncall.OutcomeRefused, "the request could not be written: "+e.Redact.Clean(err.Error())
		return
	}
	if answer := e.Do(ctx, req, a); answer != nil {
		outgoing.Judge(answer, a)
	}
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
