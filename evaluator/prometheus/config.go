package prometheus

import (
	"net/url"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// Config is the prometheus section: any Prometheus-compatible query API.
type Config struct {
	URL         *url.URL // without a trailing slash
	ExternalURL *url.URL // for people: graph links; URL by default
	Timeout     time.Duration
	Headers     map[string]string
	HTTP        promconfig.HTTPClientConfig
}
