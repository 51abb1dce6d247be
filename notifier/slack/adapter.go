// Package slack shows incidents in Slack and takes what people do there: messages that are redrawn in
// place, replies in their threads, buttons, and the slash command.
//
// It decides nothing about incidents: buttons and commands become oncall.Command values that Acts commits,
// and a message is drawn from the incident as it stands. It does not queue, pace or retry either; that is
// the delivery loop's, which calls Send once for each attempt.
//
// Slack takes no idempotency key: a crash between Slack's answer and our commit may repeat a message
// there. (Its metadata field and client_msg_id do not suppress duplicates.)
//
// Start reading at Adapter.Send (send.go) for what goes out, Draw (blocks.go) for what it looks like, and
// Adapter.InteractionHandler (interactions.go) and Adapter.CommandHandler (commands.go) for what comes in.
package slack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Acts is the way in for what people do in Slack. The package notifier implements it.
type Acts interface {
	// Act commits a command once for each request: with a request seen before it changes nothing, and
	// says so by notifier.AlreadyDone as the reply, or by oncall.ErrRequestSeen.
	Act(ctx context.Context, number int64, c oncall.Command, request string) (oncall.Decision, error)
	// Incident returns one incident with all its rows.
	Incident(ctx context.Context, number int64) (oncall.Incident, error)
	// Incidents lists incidents, newest first.
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
	// Silence silences the alerts of an incident, once for each request: one seen before is notifier.AlreadyDone.
	Silence(ctx context.Context, number int64, w oncall.SilenceWish, request string) (notifier.Silenced, error)
	// Why explains in plain lines how the incident came about and whom it told.
	Why(ctx context.Context, number int64) (string, error)
}

// Openings opens incidents by hand. The package notifier implements it.
type Openings interface {
	// Open opens an incident, once for each request: one seen before finds what it opened.
	Open(ctx context.Context, o oncall.Opening, request string) (notifier.Opened, error)
}

// Options are what the adapter needs besides its configuration.
type Options struct {
	Acts      Acts
	Overrides Overrides            // nil: who is on call cannot be changed from Slack
	Openings  Openings             // nil: nobody can page by hand from Slack
	Drills    Drills               // nil: nobody can begin a drill from Slack
	Silences  Silences             // nil: silences are made from incidents only
	Series    Series               // where the data of charts comes from; nil: no charts
	Policy    func() oncall.Policy // the present one; called for each message and request
	// Revoked returns how often the addresses of a calendar were revoked; nil: never.
	Revoked    func(context.Context, oncall.CalendarOf) (int64, error)
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
	HTTPClient *http.Client          // for all requests to Slack; nil: one with a timeout of 10 s. It is copied and follows no redirects.
	Dial       Dialer                // opens the connections of Socket Mode; nil: as the machine does
}

const (
	sendTimeout   = 10 * time.Second
	answerTimeout = 2500 * time.Millisecond // Slack waits for 3 s
	maxPrivate    = 32                      // private answers under way at once
)

// Adapter speaks with one Slack workspace. It is safe for use by many goroutines. Close it when done.
type Adapter struct {
	cfg       Config
	acts      Acts
	overrides Overrides
	opens     Openings // nil: nobody can
	drills    Drills   // nil: nobody can
	silences  Silences // nil: they cannot be seen
	series    Series   // nil: no charts
	policy    func() oncall.Policy
	revoked   func(context.Context, oncall.CalendarOf) (int64, error) // nil: never
	log       *slog.Logger
	http      *http.Client
	idle      func()   // closes idle connections, where the transport is our own
	api       *url.URL // of cfg.APIURL

	sent, asked, private *prometheus.CounterVec

	place               string // in addresses: the workspace's name, "" for the first one
	dial                Dialer // nil: as the machine does
	sockets             sockets
	links               prometheus.Gauge       // connections of Socket Mode
	unlinked, envelopes *prometheus.CounterVec // ends of them, by reason; requests over them, by type and outcome

	// Private answers go on beside the requests that caused them. stop ends them; slots bounds them.
	stopping context.Context
	stop     context.CancelFunc
	slots    chan struct{}
	mu       sync.Mutex // guards closed against wg.Add after Close
	closed   bool
	wg       sync.WaitGroup
	members  members
	token    tokenState
	homes    homes
}

// New returns an adapter for a workspace. The configuration is taken to be valid; an empty APIURL or
// Command means Slack's own and /tocsin.
func New(cfg Config, o Options) *Adapter {
	if cfg.APIURL == "" {
		cfg.APIURL = DefaultAPIURL
	}
	if !strings.HasSuffix(cfg.APIURL, "/") {
		cfg.APIURL += "/"
	}
	if cfg.Command == "" {
		cfg.Command = DefaultCommand
	}
	a := &Adapter{cfg: cfg, acts: o.Acts, overrides: o.Overrides, opens: o.Openings, drills: o.Drills, series: o.Series, silences: o.Silences, policy: o.Policy, revoked: o.Revoked, log: o.Logger, slots: make(chan struct{}, maxPrivate), dial: o.Dial}
	if a.log == nil {
		a.log = slog.Default()
	}
	if a.policy == nil {
		a.policy = func() oncall.Policy { return oncall.Policy{} }
	}
	client := http.Client{Timeout: sendTimeout}
	if o.HTTPClient != nil {
		client, a.idle = *o.HTTPClient, o.HTTPClient.CloseIdleConnections
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		client.Transport, a.idle = t, t.CloseIdleConnections
	}
	// A redirect would carry the token, or a private answer, to a host that nobody configured.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if u, err := url.Parse(cfg.APIURL); err == nil {
		a.api = u
	} else {
		a.api = &url.URL{}
	}
	client.Transport = newGate(client.Transport, a.api, func(method string, h answerHead) { a.token.learn(method, h, time.Now()) })
	a.http = &client
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.register(o.Registerer)
	return a
}

func (a *Adapter) register(r prometheus.Registerer) {
	a.sent = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_api_requests_total",
		Help: "Requests to Slack's API, by method and by what became of them (delivered, retry, unknown, refused).",
	}, []string{"method", "outcome"})
	a.asked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_callbacks_total",
		Help: "Requests from Slack, by endpoint (commands, interactions, events) and HTTP status of the answer.",
	}, []string{"endpoint", "code"})
	a.private = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_private_answers_total",
		Help: "Private answers through a response_url, by what became of them (sent, failed, dropped).",
	}, []string{"outcome"})
	a.links = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tocsin_slack_socket_connections",
		Help: "Connections of Socket Mode over which requests can come.",
	})
	a.unlinked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_socket_ends_total",
		Help: "Connections of Socket Mode that ended or could not be opened, by reason (Slack's word, broken, not_opened, other).",
	}, []string{"reason"})
	a.envelopes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_socket_requests_total",
		Help: "Requests over Socket Mode, by type (commands, interactions, events, others) and whether they were acknowledged.",
	}, []string{"type", "outcome"})
	if r != nil {
		r = prometheus.WrapRegistererWith(prometheus.Labels{"workspace": a.cfg.Name}, r)
		r.MustRegister(a.sent, a.asked, a.private, a.links, a.unlinked, a.envelopes)
	}
}

// Close stops private answers that are under way and waits for them. Requests that come later are still
// served, without private answers. It may be called more than once.
func (a *Adapter) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.wg.Wait()
	if a.idle != nil {
		a.idle()
	}
	return nil
}

// String shows a configuration without its secrets.
func (c Config) String() string {
	api := "?"
	if u, err := url.Parse(c.APIURL); err == nil {
		u.User = nil
		api = u.String()
	}
	return fmt.Sprintf("slack api %s, command %s, allow_unknown %v", api, c.Command, c.AllowUnknown)
}

// GoString is String: %#v must not show the secrets either.
func (c Config) GoString() string { return c.String() }

// String says what this is, and nothing of what it knows: adapters end up in logs.
func (a *Adapter) String() string { return "slack adapter for " + a.api.Host }

// redact takes our secrets out of what others say.
func (a *Adapter) redact(s string) string {
	for _, secret := range []string{a.cfg.BotToken, a.cfg.SigningSecret, a.cfg.AppToken} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "<secret>")
			s = strings.ReplaceAll(s, url.QueryEscape(secret), "<secret>")
		}
	}
	return s
}

// commit has a command committed. seen says that the request was handled before, whichever way Acts says it.
func (a *Adapter) commit(ctx context.Context, number int64, c oncall.Command, request string) (d oncall.Decision, seen bool, err error) {
	d, err = a.acts.Act(ctx, number, c, request)
	if errors.Is(err, oncall.ErrRequestSeen) || (err == nil && !d.Changed && d.Reply == notifier.AlreadyDone) {
		return d, true, nil
	}
	return d, false, err
}
