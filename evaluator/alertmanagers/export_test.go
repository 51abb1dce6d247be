package alertmanagers

import "net/http"

// WithTransport replaces the network.
func (o Options) WithTransport(rt http.RoundTripper) Options { o.transport = rt; return o }

// Form is the form of an alert as it is sent.
var Form = form
