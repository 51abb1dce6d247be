package remotewrite

import "net/http"

// WithTransport replaces the network.
func (o Options) WithTransport(rt http.RoundTripper) Options { o.transport = rt; return o }

// Retryable is the table of statuses.
var Retryable = retryable

// RetryAfter reads the header.
var RetryAfter = retryAfter
