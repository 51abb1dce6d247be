package alertmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/webhook"
	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Options are what senders need beside the configuration.
type Options struct {
	ExternalURL *url.URL // base of links in messages; required
	// AckURL returns the acknowledge link of a delivery of an incident, by its key. nil: messages carry none.
	AckURL     func(deliveryKey string) string
	Version    string                // of tocsin, for User-Agent; "" is shown as "dev"
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Senders sends through the integrations of all receivers: notifications of groups for the dispatcher, and
// messages of incidents whose endpoint is an integration for the delivery loop. It is made anew at each
// reload and never changes.
type Senders struct {
	integrations map[oncall.Endpoint]*integration
	texts        *texts // with the user's template files
	plain        *texts // with Alertmanager's own only
	theirs       *amtemplate.Template
	theirPlain   *amtemplate.Template
	none         *amtemplate.Template // for messages in which nothing is one
	agent        string
	ackURL       func(deliveryKey string) string // nil: no links
	log          *slog.Logger
	metrics      *metrics
}

var (
	_ notifier.GroupSender = (*Senders)(nil)
	_ notifier.Sender      = (*Senders)(nil)
)

// integration is one entry of a receiver's lists, ready to be used.
type integration struct {
	endpoint oncall.Endpoint
	list     string
	receiver string
	conf     reflect.Value // pointer to its configuration; only read
	words    reflect.Value // copy of conf as loaded, of entries that are served directly: Alertmanager's notifier writes to its own
	sender   notify.Integration
	files    bool // there are template files
	custom   bool // its texts are not only Alertmanager's: they are tried before they are used
	hanging  atomic.Int32
}

// NewSenders builds the integrations of c. It opens no connection. c may be nil: then nothing is configured,
// and every attempt is refused saying so.
func NewSenders(c *Config, o Options) (*Senders, error) {
	s := &Senders{integrations: map[oncall.Endpoint]*integration{}, agent: "tocsin/" + cmp.Or(o.Version, "dev"), ackURL: o.AckURL, log: o.Logger}
	if s.log == nil {
		s.log = promslog.NewNopLogger()
	}
	s.metrics = newMetrics(o.Registerer)
	if c == nil {
		return s, nil
	}
	if o.ExternalURL == nil {
		return nil, errors.New("the external URL is not known")
	}
	var err error
	if s.texts, s.theirs, err = newTexts(c.config.Templates); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if s.plain, s.theirPlain, err = newTexts(nil); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if s.none, err = amtemplate.New(); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	s.theirs.ExternalURL, s.theirPlain.ExternalURL, s.none.ExternalURL = o.ExternalURL, o.ExternalURL, o.ExternalURL
	for _, r := range c.config.Receivers {
		if err := s.add(r, len(c.templates) > 0); err != nil {
			return nil, fmt.Errorf("receiver %q: %w", r.Name, err)
		}
	}
	return s, nil
}

// add builds the integrations of one receiver.
func (s *Senders) add(r config.Receiver, files bool) error {
	built, err := s.build(r, s.theirs)
	if err != nil {
		return err
	}
	textless, err := s.build(config.Receiver{Name: r.Name, WebhookConfigs: r.WebhookConfigs}, s.none)
	if err != nil {
		return err
	}
	for _, b := range built {
		if b.Name() == "webhook" && withoutTexts(r.WebhookConfigs[b.Index()]) {
			b = textless[b.Index()]
		}
		list := b.Name() + "_configs"
		i := &integration{
			endpoint: oncall.IntegrationEndpoint(list, r.Name, b.Index()), list: list, receiver: r.Name,
			conf: listOf(&r, list).Index(b.Index()), sender: b, files: files,
		}
		i.custom = files || custom(list, i.conf)
		if _, ok := directOf(i.conf); ok {
			i.words = rewrite(i.conf, nil, func(_ []any, s string) string { return s })
		}
		s.integrations[i.endpoint] = i
	}
	return nil
}

// withoutTexts reports that a webhook's address is no template, and its body Alertmanager's own. Its notifier copies all
// templates for each message, to render the address: where it names none, it gets a set that has none.
func withoutTexts(c *webhook.WebhookConfig) bool {
	return c.Payload == nil && c.URLFile == "" && c.URL != "" && !strings.Contains(string(c.URL), "{{")
}

// build makes a receiver's integrations with a set of templates, each with a tap in its HTTP client.
func (s *Senders) build(r config.Receiver, t *amtemplate.Template) ([]notify.Integration, error) {
	// Their notifier fills in a severity that is not set while it sends, from many goroutines at once.
	own := slices.Clone(r.PagerdutyConfigs)
	for i, c := range own {
		set := *c
		set.Severity = cmp.Or(set.Severity, "error")
		own[i] = &set
	}
	r.PagerdutyConfigs = own
	built, err := receiver.BuildReceiverIntegrations(r, t, s.log.With("receiver", r.Name))
	if err != nil {
		return nil, err
	}
	for i := range built {
		tapInto(&built[i], s.agent)
	}
	return built, nil
}

// Close closes idle connections. Attempts under way end on their own.
func (s *Senders) Close() {
	for _, i := range s.integrations {
		if c := clientOf(&i.sender); c != nil {
			c.CloseIdleConnections()
		}
	}
}

// String names the senders without what they hold.
func (s *Senders) String() string {
	return fmt.Sprintf("senders of %d integrations", len(s.integrations))
}

// GoString keeps configured secrets out of dumps.
func (s *Senders) GoString() string { return s.String() }

// Format keeps configured secrets out of every verb.
func (s *Senders) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// SendGroup makes one attempt to notify the integration d.Endpoint of a group.
func (s *Senders) SendGroup(ctx context.Context, d oncall.GroupDelivery, route *oncall.Route, previous oncall.Notice) oncall.Attempt {
	n := notice{
		groupKey: d.GroupKey, groupLabels: labelSet(d.GroupLabels), reason: reasonOf(d.Reason), attempt: d.Attempts,
		alerts: alertsOf(d.Alerts),
	}
	if route != nil {
		n.labels, n.repeat, n.routeID = route.Labels, route.RepeatInterval, route.ID
	}
	if d.Reason != oncall.ReasonFirstNotification {
		n.remote = previous.Remote
	}
	return s.send(ctx, d.Endpoint, n)
}
