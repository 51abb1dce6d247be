package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/config"
	"tocsin/evaluator"
	promquery "tocsin/evaluator/prometheus"
	"tocsin/notifier"
	"tocsin/notifier/alertmanager"
	"tocsin/notifier/pager"
	"tocsin/notifier/slack"
	"tocsin/notifier/watchdog"
	"tocsin/oncall"
	"tocsin/problem"
)

// generation is everything that one load of the configuration brings to life. It is built whole before
// anything of it is used, and never changed.
type generation struct {
	plan     *config.Plan
	policy   oncall.Policy
	eval     evaluator.Plan
	backends map[string]*promquery.Client
	slack    *slack.Workspaces // nil: no Slack
	pager    *pager.Pager
	duty     *pager.PagerDuty
	genie    *pager.Opsgenie
	phone    *pager.Phone
	ntfy     *pager.Ntfy
	senders  *alertmanager.Senders
	pulse    *watchdog.Target // nil: no pulse is sent
	metrics  *lateMetrics     // of slack
	sending  *lateMetrics     // of senders
}

// loadPlan reads the configuration. Problems come back as one error that prints them with their places;
// warnings are returned beside a plan.
func loadPlan(file string) (*config.Plan, problem.List, error) {
	if err := readable(file); err != nil {
		return nil, nil, &failure{exitUsage, fmt.Errorf("the configuration cannot be read: %w", err)}
	}
	plan, problems := config.Load(file)
	if plan == nil {
		return nil, nil, &invalid{problems}
	}
	return plan, problems, nil
}

// invalid is a configuration with errors.
type invalid struct{ problems problem.List }

func (i *invalid) Error() string {
	var b strings.Builder
	i.problems.Print(&b)
	return strings.TrimRight(b.String(), "\n")
}

// build makes a generation of a plan, taking over what has not changed of the one before (nil: none). It
// touches nothing that is live.
func (d *daemon) build(plan *config.Plan, before *generation) (*generation, error) {
	g := &generation{plan: plan, policy: plan.Policy, metrics: &lateMetrics{}, sending: &lateMetrics{}}
	g.policy.ExternalURL = strings.TrimSuffix(d.external.String(), "/")
	g.policy.LinkKey = d.linkKey
	g.policy.Addresses = addresses(plan, d.linkKey)
	for _, w := range plan.Workspaces {
		g.policy.Charts = g.policy.Charts || !w.NoCharts
	}
	var err error
	if g.backends, err = backends(plan); err != nil {
		return nil, err
	}
	if err := checkOutputs(plan); err != nil {
		closeBackends(g.backends)
		return nil, err
	}
	g.eval = evaluation(plan, g.backends, g.policy.ExternalURL)
	if g.pager, err = pager.New(plan.Pages, pager.Options{Version: version.Version, Outgoing: plan.Outgoing}); err != nil {
		return nil, err
	}
	if g.senders, err = alertmanager.NewSenders(plan.Alertmanager, alertmanager.Options{
		ExternalURL: d.external, AckURL: g.policy.AckURL, Logger: d.log.With("component", "alertmanager"), Registerer: g.sending,
	}); err != nil {
		return nil, err
	}
	if err := g.accounts(plan); err != nil {
		return nil, err
	}
	if plan.Watchdog != nil {
		if g.pulse, err = watchdog.NewTarget(*plan.Watchdog, nil); err != nil {
			return nil, err
		}
	}
	switch {
	case plan.Slack == nil:
	case before != nil && before.slack != nil && reflect.DeepEqual(plan.Workspaces, before.plan.Workspaces) && reflect.DeepEqual(plan.Outgoing, before.plan.Outgoing):
		g.slack, g.metrics = before.slack, before.metrics
	default:
		g.slack = slack.NewWorkspaces(plan.Workspaces, slack.Options{Acts: d.acts, Overrides: d.overrides, Openings: d.acts, Drills: d.drills, Silences: d.silences, Series: chartSource{d}, Policy: d.policy, Revoked: d.store.CalendarRevoked, Logger: d.log.With("component", "slack"), Registerer: g.metrics}, slackClients(plan))
	}
	return g, nil
}

// accounts makes the senders that bring incidents to PagerDuty and Opsgenie, where Alertmanager's own notifiers send what
// they cannot serve, and those that reach people by telephone.
func (g *generation) accounts(plan *config.Plan) (err error) {
	o := pager.AccountOptions{Version: version.Version, ExternalURL: g.policy.ExternalURL, Words: g.senders.Words, Others: g.senders, Outgoing: plan.Outgoing}
	if g.duty, err = pager.NewPagerDuty(plan.PagerDuty, o); err != nil {
		return err
	}
	if g.genie, err = pager.NewOpsgenie(plan.Opsgenie, o); err != nil {
		return err
	}
	own := pager.PhoneOptions{Version: version.Version, Outgoing: plan.Outgoing}
	if g.phone, err = pager.NewPhone(plan.Twilio, own); err != nil {
		return err
	}
	g.ntfy, err = pager.NewNtfy(plan.Ntfy, own)
	return err
}

// enact makes g the generation in force. It cannot fail. The senders come first: once a policy is in force
// it may ask for an endpoint that only they know. What was claimed before is sent by the sender of then.
func (d *daemon) enact(g *generation) {
	d.enacting.Lock()
	defer d.enacting.Unlock()
	g.policy = g.policy.WithOverrides(d.overrides.Current(), time.Now())
	d.warnPointless(g.policy)
	senders := map[string]notifier.Sender{"page": g.pager, notifier.Integrations: g.senders, "pagerduty_configs": g.duty, "opsgenie_configs": g.genie,
		"call": g.phone, "sms": g.phone, "ntfy": g.ntfy}
	if g.slack != nil {
		senders["slack"], senders["chart"] = g.slack, g.slack
	}
	d.deliveries.Apply(g.policy, senders)
	before := d.live.Swap(g)
	if before == nil || before.slack != g.slack {
		if before != nil {
			before.metrics.retire(d.registry)
		}
		g.metrics.activate(d.registry)
		if g.slack != nil {
			g.slack.Start()
		}
	}
	if before != nil {
		before.sending.retire(d.registry)
	}
	g.sending.activate(d.registry)
	d.incidents.Apply(g.policy)
	d.handoffs.Apply(g.policy, g.announcer())
	d.drills.Apply(g.plan.Jobs, g.digester())
	d.presence.Apply(g.policy, g.presenter())
	d.dispatcher.Apply(g.policy, g.senders)
	d.redirect(g.plan)
	d.evaluator.Apply(g.eval)
	d.heartbeats.Apply(g.plan.Heartbeats, g.plan.ExternalLabels)
	d.hooks.Apply(g.plan.Hooks)
	d.phones.Apply(g.plan.Twilio)
	d.onWatch()
	d.watchdog.Apply(g.pulse)
	d.incidents.Wake()
	d.deliveries.Wake()
	if before != nil {
		before.close(g)
	}
}

// close ends what the next generation has not taken over. Messages under way are not cut off.
func (g *generation) close(next *generation) {
	if g.slack != nil && (next == nil || next.slack != g.slack) {
		g.slack.Close()
	}
	g.pager.Close()
	g.duty.Close()
	g.genie.Close()
	g.phone.Close()
	g.ntfy.Close()
	g.pulse.Close()
	g.senders.Close()
	closeBackends(g.backends)
}

// reload loads the configuration anew. If that fails the generation in force stays, whole.
func (d *daemon) reload() error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	err := d.tryReload()
	if err != nil {
		d.reloadOK.Set(0)
		d.log.Error("The new configuration was not loaded; the one before stays in force", "file", d.flags.ConfigFile, "err", err)
		return err
	}
	d.reloaded()
	d.log.Info("The configuration was loaded", "file", d.flags.ConfigFile)
	return nil
}

func (d *daemon) reloaded() {
	d.reloadOK.Set(1)
	d.reloadedAt.SetToCurrentTime()
}

func (d *daemon) tryReload() error {
	plan, warnings, err := loadPlan(d.flags.ConfigFile)
	if err != nil {
		return err
	}
	listener, err := readListener(d.flags.Web.ConfigFile)
	if err != nil {
		return err
	}
	if err := d.flags.Web.checkCallbacks(listener, plan); err != nil {
		return err
	}
	g, err := d.build(plan, d.live.Load())
	if err != nil {
		return err
	}
	d.warn(warnings)
	d.enact(g)
	return nil
}

func (d *daemon) warn(warnings problem.List) {
	for _, w := range warnings {
		d.log.Warn(w.Error())
	}
}

// policy is the one in force.
func (d *daemon) policy() oncall.Policy {
	if g := d.live.Load(); g != nil {
		return g.policy
	}
	return oncall.Policy{}
}

// receivers are those in force, in the order of the file.
func (d *daemon) receivers() []oncall.Receiver {
	if g := d.live.Load(); g != nil && g.plan.Alertmanager != nil {
		return g.plan.Alertmanager.Receivers()
	}
	return nil
}

// original is the configuration in force as Alertmanager would show it.
func (d *daemon) original() string {
	if g := d.live.Load(); g != nil {
		return g.plan.Alertmanager.Original()
	}
	return ""
}

// routeLabels are those of a group, rendered by the senders in force.
func (d *daemon) routeLabels(g notifier.GroupView) map[string]string {
	if live := d.live.Load(); live != nil && live.senders != nil {
		return live.senders.RouteLabels(g)
	}
	return nil
}

// externalLabels are those in force.
func (d *daemon) externalLabels() labels.Labels {
	if g := d.live.Load(); g != nil {
		return g.plan.ExternalLabels
	}
	return labels.EmptyLabels()
}

// slackHandlers are those of the adapter in force.
func (d *daemon) slackHandlers() (commands, interactions http.Handler) {
	if g := d.live.Load(); g != nil && g.slack != nil {
		return g.slack.CommandHandler(), g.slack.InteractionHandler()
	}
	return nil, nil
}

// slackEvents is the one of events of the adapter in force.
func (d *daemon) slackEvents() http.Handler {
	if g := d.live.Load(); g != nil && g.slack != nil {
		return g.slack.EventHandler()
	}
	return nil
}

// redacted is an address for people: without a user and a password.
func redacted(u *url.URL) string {
	shown := *u
	shown.User = nil
	return strings.TrimSuffix(shown.String(), "/")
}

// lateMetrics holds back the metrics of a part until the part goes live, so that a part and the one that
// replaces it can both exist for a moment. The zero value is ready.
type lateMetrics struct {
	mu         sync.Mutex // guards collectors
	collectors []prometheus.Collector
}

// Register keeps c for activate.
func (l *lateMetrics) Register(c prometheus.Collector) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collectors = append(l.collectors, c)
	return nil
}

// MustRegister is Register of several.
func (l *lateMetrics) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = l.Register(c) // it cannot fail
	}
}

// Unregister is not possible: a part lives as long as its metrics.
func (l *lateMetrics) Unregister(prometheus.Collector) bool { return false }

func (l *lateMetrics) activate(r *prometheus.Registry) {
	for _, c := range l.collectors {
		if err := r.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			panic(err) // two parts claim one name: a defect that the first start shows
		}
	}
}

func (l *lateMetrics) retire(r *prometheus.Registry) {
	for _, c := range l.collectors {
		r.Unregister(c)
	}
}
