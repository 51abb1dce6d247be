// Package outgoing makes the HTTP clients that tocsin's own senders speak with, and holds what all of them must
// do alike: where they may connect to, how long they wait, how much of an answer they read, what an error means
// for a delivery, and which texts people may see. It knows no wire format and decides nothing about retries.
//
// A client connects to no private address that nobody has allowed, whatever a name resolves to at that moment
// (guard.go). It follows no redirect of a POST, and of other requests only those to the same origin. What a far
// end says is read up to a bound, and shown only after Redactor.Clean (redact.go).
//
// Alertmanager's integrations do not use it: they connect as they do in Alertmanager.
//
// Start reading at Client, then Exchange.Do (exchange.go), which makes one attempt of a delivery.
package outgoing

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	promconfig "github.com/prometheus/common/config"
)

const (
	dialTimeout     = 10 * time.Second
	maxRedirects    = 3
	defaultMaxBytes = 4 << 20 // of any answer, whoever reads it
)

// Options say what a client may do beside its HTTP settings.
type Options struct {
	// URLs are those that the configuration names. A literal private address, or localhost, in one of them is
	// allowed: whoever wrote it meant it.
	URLs []*url.URL
	// AllowPrivate is allow_private of this entry's http_config: names may resolve to private addresses.
	AllowPrivate bool
	// Policy is what the configuration allows everywhere.
	Policy Policy
	// Timeout bounds a request with its answer; 0: the caller bounds it by the request's context.
	Timeout time.Duration
	// MaxBytes bounds an answer's body, 4 MiB where it is 0. Reading beyond is an error.
	MaxBytes int64
	// Resolver looks names up; nil: as the machine does.
	Resolver *net.Resolver
	// Transport replaces the network, the guard included, in tests; nil: by the settings.
	Transport http.RoundTripper
}

// Client makes a client by the settings c, TLS, proxy and authentication included. name is the client's, for the metrics
// of connections. It opens no connection; the caller calls CloseIdleConnections when done. Its errors hold no secrets.
func Client(name string, c promconfig.HTTPClientConfig, o Options) (*http.Client, error) {
	transport := o.Transport
	if transport == nil {
		var err error
		g := newGuard(c, o)
		if transport, err = promconfig.NewRoundTripperFromConfig(c, name, promconfig.WithDialContextFunc(g.dial)); err != nil {
			return nil, fmt.Errorf("HTTP settings: %w", err)
		}
	}
	most := o.MaxBytes
	if most <= 0 {
		most = defaultMaxBytes
	}
	follow := c.FollowRedirects
	return &http.Client{
		Transport: &bounded{transport, most},
		Timeout:   o.Timeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if !follow || len(via) > maxRedirects || !redirectable(req, via[0]) {
				return http.ErrUseLastResponse // the answer is the redirect itself, for the caller to judge
			}
			return nil
		},
	}, nil
}

// redirectable reports whether a redirect leads to where the first request went, and carries nothing on that a far
// end may act on: to anybody else it would hand over the credentials, and the page.
func redirectable(to, first *http.Request) bool {
	if first.Method != http.MethodGet && first.Method != http.MethodHead {
		return false
	}
	return to.URL.Scheme == first.URL.Scheme && origin(to.URL) == origin(first.URL)
}

// origin is a URL's host and port, the port also where it is the scheme's own.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(normalHost(u.Hostname()), port)
}

// bounded is a transport whose answers end.
type bounded struct {
	next http.RoundTripper
	most int64
}

// RoundTrip bounds the answer's body.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: b.most, most: b.most}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client asks.
func (b *bounded) CloseIdleConnections() {
	if c, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// boundedBody fails where an answer is longer than the bound, instead of ending as if it were whole.
type boundedBody struct {
	io.ReadCloser
	left, most int64
}

// Read reads up to the bound.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", b.most)
	}
	if int64(len(p)) > b.left+1 { // one more tells an answer of just that length from a longer one
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, fmt.Errorf("the answer is longer than %d bytes", b.most)
	}
	return n, err
}
