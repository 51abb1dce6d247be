package web

import (
	"context"
	"embed"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tocsin/notifier"
	"tocsin/oncall"
)

// apiBase is where the own API lives, below the route prefix.
const apiBase = "/api/tocsin/v1"

//go:embed static templates openapi.yaml
var files embed.FS

// Acts is the way in for people: what they may do to incidents and ask about them. All methods may be
// called from many goroutines.
type Acts interface {
	// Act commits a command once. A refusal is no error: Decision.Refused says so and Reply why.
	Act(ctx context.Context, number int64, c oncall.Command, request string) (oncall.Decision, error)
	// Incident returns one incident with all its rows, or not_found.
	Incident(ctx context.Context, number int64) (oncall.Incident, error)
	// Incidents lists incidents, newest first, without timeline and deliveries.
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
	// Silence silences the alerts of an incident. Codes: invalid, not_found, unavailable.
	Silence(ctx context.Context, number int64, w oncall.SilenceWish, request string) (notifier.Silenced, error)
	// Why explains an incident in plain text, from the stored evidence.
	Why(ctx context.Context, number int64) (string, error)
}

// Store is what the probes and the acknowledge links need of the store.
type Store interface {
	// Healthy returns why the store does not work, nil if it does.
	Healthy(ctx context.Context) error
	// Delivery returns one delivery by its key, or not_found.
	Delivery(ctx context.Context, key string) (oncall.Delivery, error)
}

// Options are the parts that the HTTP surface stands on. The functions are called for each request, so that
// a reload takes effect without a new handler; they must be safe for concurrent use.
type Options struct {
	Acts      Acts
	Bundles   Bundles // nil: no page goes for several incidents
	Store     Store
	Rules     RuleSource           // what is evaluated; nil shows no rules
	Evaluated func() bool          // the first evaluation of every group is done
	Standby   func() bool          // another process has the watch, or none yet; nil: this one always has it
	Policy    func() oncall.Policy // the policy in force
	Reload    func() error         // loads the configuration anew; its error tells a person what is wrong with it

	// User returns the name that the listener has authenticated. required says that users are configured
	// at all; nil means that none are.
	User func(*http.Request) (name string, required bool)
	// Slack returns the handlers of /slack/commands and /slack/interactions, nil without Slack.
	Slack func() (commands, interactions http.Handler)
	// SlackEvents returns the handler of /slack/events, nil without Slack.
	SlackEvents func() http.Handler

	// Hooks returns what takes the reports of a vendor ("pagerduty", "opsgenie") for a receiver, nil where none is
	// configured. nil: none is.
	Hooks func(vendor, receiver string) http.Handler
	// Phone takes what Twilio reports, and what people write to it, below /hooks/twilio/; nil: nobody does.
	Phone http.Handler

	Openings   Openings   // opens incidents by hand; nil: nobody can
	Heartbeats Heartbeats // hears dead man's switches; nil: there are none
	Watchdog   Watchdog   // tocsin's own pulse; nil: none

	Calendars Calendars // never nil
	Overrides Overrides // nil: who is on call cannot be changed here
	Drills    Drills    // tries whether contacts work; nil: nobody can
	Endpoints Endpoints // what is sent where; nil: nothing is sent from here

	Alertmanager *Alertmanager // what stands behind Alertmanager's API; nil: there is no such API

	ExternalURL *url.URL // for people; its origin may send forms. Never nil.
	RoutePrefix string   // "" or "/prefix": prepended to every path
	Logger      *slog.Logger
	Registry    *prometheus.Registry // its metrics are shown at /metrics; the package adds its own
}

// Web holds the two handlers. It starts no goroutine.
type Web struct {
	o        Options
	duration *prometheus.HistogramVec
	received *prometheus.CounterVec
	started  time.Time
	large    chan struct{} // a place for each large post that is held in memory
	pages    *pages
	main     http.Handler
	callback http.Handler
}

// route is one method of one path, below the route prefix.
type route struct {
	method  string // "" for every method
	path    string
	handler http.HandlerFunc
}

// New builds the handlers. It panics only on a defect of its own (a template that does not parse).
func New(o Options) *Web {
	if o.User == nil {
		o.User = func(*http.Request) (string, bool) { return "", false }
	}
	if o.SlackEvents == nil {
		o.SlackEvents = func() http.Handler { return nil }
	}
	if o.Slack == nil {
		o.Slack = func() (http.Handler, http.Handler) { return nil, nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	w := &Web{o: o, pages: newPages(), started: now(), large: make(chan struct{}, 2), duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tocsin_http_request_duration_seconds",
		Help:    "How long HTTP requests took, by the route that answered and the status code.",
		Buckets: []float64{.001, .005, .025, .1, .5, 1, 3, 10},
	}, []string{"handler", "code"})}
	w.received = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_http_posted_alerts_total",
		Help: "Alerts that were posted: taken, or refused as invalid.",
	}, []string{"outcome"})
	o.Registry.MustRegister(w.duration, w.received)
	callbacks := w.callbackRoutes()
	w.main = w.serve(slices.Concat(w.apiRoutes(), w.alertmanagerRoutes(), w.prometheusRoutes(), w.probeRoutes(), w.consoleRoutes(), callbacks))
	w.callback = w.serve(callbacks)
	return w
}

// Handler is the whole surface, callbacks included.
func (w *Web) Handler() http.Handler { return w.main }

// CallbackHandler is only what far ends and links need, /slack/* and /hooks/*: for the one port that is
// exposed to the outside. Its requests are authenticated by signatures and tokens.
func (w *Web) CallbackHandler() http.Handler { return w.callback }

func (w *Web) apiRoutes() []route {
	one := apiBase + "/incidents/{number}"
	routes := []route{
		{"GET", apiBase + "/incidents", w.listIncidents},
		{"POST", apiBase + "/incidents", w.openIncident},
		{"GET", one, w.getIncident},
		{"GET", one + "/why", w.getWhy},
		{"GET", apiBase + "/notifications", w.listNotifications},
		{"GET", apiBase + "/heartbeats", w.listHeartbeats},
		{"GET", apiBase + "/openapi.yaml", w.getOpenAPI},
	}
	for _, a := range actions {
		routes = append(routes, route{"POST", one + "/" + string(a.kind), w.actHandler(a)})
	}
	return slices.Concat(routes, []route{{"POST", one + "/silence", w.silenceIncident}}, w.deliveryRoutes(), w.drillRoutes(), w.scheduleRoutes())
}

// scheduleRoutes are those of the own API that are about who is on call.
func (w *Web) scheduleRoutes() []route {
	schedule, overrides := apiBase+"/schedules/{name}", apiBase+"/overrides"
	return []route{
		{"GET", apiBase + "/schedules", w.listSchedules},
		{"GET", schedule, w.getSchedule},
		{"GET", schedule + "/coverage", w.getCoverage},
		{"GET", apiBase + "/oncall", w.getOnCall},
		{"GET", apiBase + "/calendar", w.getCalendar},
		{"DELETE", apiBase + "/calendar", w.revokeCalendar},
		{"GET", overrides, w.listOverrides},
		{"POST", overrides, w.changeOverrides(overrideAction, http.StatusCreated, w.addOverride)},
		{"POST", apiBase + "/swaps", w.changeOverrides(swapAction, http.StatusCreated, w.swapShifts)},
		{"DELETE", overrides + "/{id}", w.changeOverrides(endAction, http.StatusOK, w.endOverride)},
	}
}

func (w *Web) probeRoutes() []route {
	metrics := promhttp.HandlerFor(w.o.Registry, promhttp.HandlerOpts{Registry: w.o.Registry, EnableOpenMetrics: true})
	return []route{
		{"GET", "/-/healthy", w.healthy},
		{"GET", "/-/ready", w.ready},
		{"GET", "/-/watchdog", w.watchdog},
		{"POST", "/-/reload", w.reload},
		{"PUT", "/-/reload", w.reload},
		{"GET", "/metrics", metrics.ServeHTTP},
	}
}

func (w *Web) consoleRoutes() []route {
	routes := []route{
		{"GET", "/{$}", w.showIncidents},
		{"GET", "/schedules", w.showSchedules},
		{"GET", "/incidents/{number}", w.showIncident},
		{"POST", "/incidents/{number}/{action}", w.pressed},
		{"GET", "/static/tocsin.css", w.stylesheet},
	}
	routes = append(append(routes, w.deliveryPages()...), w.drillPages()...)
	if w.o.Alertmanager == nil {
		return routes
	}
	return append(routes,
		route{"GET", "/static/oldlinks.js", w.oldLinks},
		route{"GET", "/alerts", w.showAlerts},
		route{"GET", "/silences", w.showSilences},
		route{"POST", "/silences", w.setSilence},
		route{"GET", "/silences/new", w.newSilence},
		route{"POST", "/silences/{id}/expire", w.endSilence},
	)
}

func (w *Web) callbackRoutes() []route {
	return []route{
		{"", "/slack/commands", w.slackCommand},
		{"", "/slack/interactions", w.slackInteraction},
		{"", "/slack/events", w.slackEvent},
		{"GET", "/hooks/ack/{token}", w.askAck},
		{"POST", "/hooks/ack/{token}", w.ackByLink},
		{"GET", "/hooks/escalate/{token}", w.askEscalate},
		{"POST", "/hooks/escalate/{token}", w.escalateByLink},
		{"GET", "/hooks/heartbeat/{name}", w.beat},
		{"POST", "/hooks/heartbeat/{name}", w.beat},
		{"POST", "/hooks/pagerduty/{name}", w.vendorReports("pagerduty")},
		{"POST", "/hooks/opsgenie/{name}", w.vendorReports("opsgenie")},
		{"POST", "/hooks/twilio/sms", w.phoneReports},
		{"POST", "/hooks/twilio/{token}/{what}", w.phoneReports},
		{"GET", "/calendar/{token}", w.calendar},
		{"GET", "/hooks/tocsin.css", w.stylesheet}, // the page of a link needs it where only /hooks/* is exposed
	}
}

// serve puts routes behind a mux whose refusals are JSON below /api/, and behind what every request passes:
// the check of its origin and the headers of its answer.
func (w *Web) serve(routes []route) http.Handler {
	prefix := strings.TrimSuffix(w.o.RoutePrefix, "/")
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range routes {
		methods[r.path] = append(methods[r.path], r.method)
		mux.Handle(strings.TrimSpace(r.method+" "+prefix+r.path), w.measured(r.path, r.handler))
	}
	for p, allowed := range methods {
		if !slices.Contains(allowed, "") {
			mux.Handle(prefix+p, w.measured(p, w.methodNotAllowed(allowed)))
		}
	}
	mux.Handle("/", w.measured("other", w.notFound))
	if prefix != "" && methods["/{$}"] != nil {
		mux.Handle("GET /{$}", http.RedirectHandler(prefix+"/", http.StatusFound))
	}
	return w.guarded(mux)
}

// now is the instant of a request: the one place of the package that reads the clock.
func now() time.Time { return time.Now() }
