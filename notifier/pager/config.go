package pager

import (
	"net/url"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// Config is one entry of a receiver's page_configs, secrets already read.
type Config struct {
	URL     *url.URL
	Secrets []string // whsec_…; each signs, so that a secret can be rotated; never printed
	Timeout time.Duration
	HTTP    promconfig.HTTPClientConfig
}
