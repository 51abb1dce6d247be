package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"

	"tocsin/evaluator"
	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/watchdog"
	"tocsin/store"
	"tocsin/web"
)

const (
	// shard is the one that all work belongs to.
	shard = "0"
	// shutdownTime bounds a clean end; within it loops have workTime to finish what is in flight.
	shutdownTime = 10 * time.Second
	workTime     = 7 * time.Second
	pruneEvery   = time.Hour
)

type serveCmd struct{ serveFlags }

// Run serves until it is told to end.
func (c serveCmd) Run(ctx context.Context, k *kong.Context, s streams) error {
	log := c.logger(s)
	warnIgnored(k, log)
	c.warnIgnored(log)
	return serve(ctx, c.serveFlags, log, s, nil)
}

// daemon is a running tocsin. Its fields are set once, before anything runs, but for live.
type daemon struct {
	flags    serveFlags
	log      *slog.Logger
	registry *prometheus.Registry
	external *url.URL
	linkKey  []byte
	hup      <-chan os.Signal

	store      *store.Store
	evaluator  *evaluator.Evaluator
	outputs    outputs
	silences   *notifier.Silences
	overrides  *notifier.Overrides
	handoffs   *notifier.Handoffs
	drills     *notifier.Drills
	presence   *notifier.Presence
	dispatcher *notifier.Dispatcher
	incidents  *notifier.Incidents
	deliveries *notifier.Deliveries
	endpoints  *notifier.Endpoints
	heartbeats *notifier.Heartbeats
	builtins   *notifier.Builtins
	watchdog   *watchdog.Watchdog
	watchSince atomic.Int64 // nanoseconds: when this process took over, or a plan came into force
	watching   atomic.Bool  // this process has the watch
	acts       *notifier.Acts
	hooks      *pager.Hooks
	phones     *pager.PhoneHooks
	web        *web.Web

	live       atomic.Pointer[generation]
	enacting   sync.Mutex // held while live changes
	reloading  sync.Mutex // one reload at a time
	reloadOK   prometheus.Gauge
	reloadedAt prometheus.Gauge
	loops      atomic.Pointer[loops] // what the store wakes; nil until they exist
}

// loops are those that a commit may wake.
type loops struct {
	dispatcher *notifier.Dispatcher
	incidents  *notifier.Incidents
	deliveries *notifier.Deliveries
	overridden chan struct{} // capacity 1: wakes followOverrides
	heartbeats *notifier.Heartbeats
}

// serve runs tocsin until ctx ends. ready is called once with the address of the first listener (nil: not
// wanted). What is wrong with the configuration is printed with its place.
func serve(ctx context.Context, f serveFlags, log *slog.Logger, s streams, ready func(address string)) error {
	if err := f.validate(); err != nil {
		return &failure{exitUsage, err}
	}
	// From the first moment on: whoever asks for a reload while tocsin starts must not end it.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	log.Info("Starting tocsin", "version", version.Info(), "build", version.BuildContext())
	f.useFeatures(log)
	plan, warnings, err := loadPlan(f.ConfigFile)
	if err != nil {
		return printed(err, s)
	}
	listener, err := readListener(f.Web.ConfigFile)
	if err != nil {
		return err
	}
	if err := f.Web.checkCallbacks(listener, plan); err != nil {
		return err
	}
	f.Web.warnLinks(listener, plan, log)
	ports, err := f.Web.listen()
	if err != nil {
		return err
	}
	defer ports.close()
	d := &daemon{flags: f, log: log, hup: hup, registry: prometheus.NewRegistry()}
	if d.external, err = f.Web.externalURL(ports, listener); err != nil {
		return err
	}
	d.ownMetrics()
	if err := d.openStore(ctx); err != nil {
		return err
	}
	defer d.closeStore()
	if err := d.openOutputs(); err != nil {
		return err
	}
	defer d.outputs.close()
	d.wire(ports)
	first, err := d.build(plan, nil)
	if err != nil {
		return err
	}
	if err := d.overrides.Refresh(ctx); err != nil { // who is on call must be known before anybody is told
		return fmt.Errorf("the overrides of schedules cannot be read: %w", err)
	}
	d.warn(warnings)
	d.enact(first)
	d.reloaded()
	site := f.Web.serve(ports, d.web.Handler(), d.web.CallbackHandler(), log)
	if ready != nil {
		ready(ports.main[0].Addr().String())
	}
	return d.run(ctx, site)
}

// printed prints what is wrong with a configuration by itself, without a program's name before its first
// line, and passes other errors on.
func printed(err error, s streams) error {
	if i, ok := errors.AsType[*invalid](err); ok {
		i.problems.Print(s.Err)
		return &failure{exitFailed, nil}
	}
	return err
}

// ownMetrics registers what belongs to no package: the process, the build and the configuration.
func (d *daemon) ownMetrics() {
	d.reloadOK = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tocsin_config_last_reload_successful",
		Help: "Whether the last attempt to load the configuration succeeded (1) or not (0)."})
	d.reloadedAt = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tocsin_config_last_reload_success_timestamp_seconds",
		Help: "When the configuration was last loaded successfully."})
	d.registry.MustRegister(d.reloadOK, d.reloadedAt, versioncollector.NewCollector("tocsin"),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

func (d *daemon) openStore(ctx context.Context) (err error) {
	o := store.Options{Logger: d.log.With("component", "store"), Registerer: d.registry, Committed: d.committed}
	if d.flags.StorageURL != "" {
		d.store, err = store.OpenPostgres(ctx, d.flags.StorageURL, o)
	} else {
		d.store, err = store.OpenSQLite(ctx, d.flags.Storage, o)
	}
	if err != nil {
		return fmt.Errorf("the store cannot be opened: %w", err)
	}
	d.linkKey, err = d.store.Secret(ctx, "link", 32)
	if err != nil {
		d.closeStore()
		return fmt.Errorf("the store cannot be used: %w", err)
	}
	return nil
}

func (d *daemon) closeStore() {
	if err := d.store.Close(); err != nil {
		d.log.Error("The store was not closed cleanly; what was committed is safe", "err", err)
	}
}

// committed wakes the loops that have something to do. It is called by the store and must not wait.
func (d *daemon) committed(t store.Topics) {
	l := d.loops.Load()
	if l == nil {
		return
	}
	if t.Received || t.Silences {
		l.dispatcher.Wake()
	}
	if t.AlertChanges || t.Incidents {
		l.incidents.Wake()
	}
	if t.Deliveries {
		l.deliveries.Wake()
	}
	if t.Overrides {
		select {
		case l.overridden <- struct{}{}:
		default:
		}
	}
	if t.Heartbeats {
		l.heartbeats.Wake()
	}
}

// wire makes the parts and hands each what it needs of the others.
func (d *daemon) wire(ports *listeners) {
	d.evaluator = evaluator.New(evaluator.Options{Store: d.store, Logger: d.log.With("component", "evaluator"), Registerer: d.registry})
	d.incidents = notifier.NewIncidents(notifier.IncidentOptions{Store: d.store, Logger: d.log.With("component", "incidents"), Registerer: d.registry})
	d.deliveries = notifier.NewDeliveries(notifier.DeliveryOptions{Store: d.store, Logger: d.log.With("component", "deliveries"), Registerer: d.registry, Mended: d.incidents.Mended})
	d.endpoints = notifier.NewEndpoints(notifier.EndpointOptions{Store: d.store, Deliveries: d.deliveries, Policy: d.policy, Logger: d.log.With("component", "endpoints"), Registerer: d.registry})
	d.silences = notifier.NewSilences(notifier.SilencesOptions{Store: d.store, Mode: d.flags.matcherMode(), Max: d.flags.MaxSilences, Registerer: d.registry,
		Changed: func() {
			if l := d.loops.Load(); l != nil {
				l.dispatcher.Wake()
			}
		}})
	d.acts = notifier.NewActs(notifier.ActOptions{Store: d.store, Policy: d.policy, Transitions: d.store.Transitions,
		ExternalLabels: d.externalLabels, Silences: d.silences, Openings: d.store, Bundles: d.store, Logger: d.log.With("component", "acts")})
	d.dispatcher = notifier.NewDispatcher(notifier.DispatcherOptions{Store: d.store, Silences: d.silences, Remind: d.acts.Remind,
		StartDelay: time.Duration(d.flags.StartDelay), Logger: d.log.With("component", "dispatcher"), Registerer: d.registry})
	d.overrides = notifier.NewOverrides(notifier.OverridesOptions{Store: d.store, Policy: d.policy, Changed: d.overridden,
		Logger: d.log.With("component", "overrides"), Registerer: d.registry})
	d.handoffs = notifier.NewHandoffs(notifier.HandoffOptions{Store: d.store, Page: d.deliveries.SendOutside, Logger: d.log.With("component", "handoffs"), Registerer: d.registry})
	d.presence = notifier.NewPresence(notifier.PresenceOptions{Logger: d.log.With("component", "presence"), Registerer: d.registry})
	d.drills = notifier.NewDrills(notifier.DrillOptions{Store: d.store, Policy: d.policy, Logger: d.log.With("component", "drills"), Registerer: d.registry})
	d.heartbeats = notifier.NewHeartbeats(notifier.HeartbeatOptions{Store: d.store, Logger: d.log.With("component", "heartbeats"), Registerer: d.registry})
	d.builtins = notifier.NewBuiltins(notifier.BuiltinOptions{Store: d.store, Findings: d.findings, Ended: d.slackMended, External: d.externalLabels, Logger: d.log.With("component", "builtins")})
	d.watchdog = watchdog.New(watchdog.Options{Checks: d.selfChecks(), Version: version.Version, Logger: d.log.With("component", "watchdog"), Registerer: d.registry})
	d.loops.Store(&loops{d.dispatcher, d.incidents, d.deliveries, make(chan struct{}, 1), d.heartbeats})
	d.hooks = pager.NewHooks(pager.HookOptions{Acts: d.acts, Policy: d.policy, Logger: d.log.With("component", "hooks"), Registerer: d.registry})
	d.phones = pager.NewPhoneHooks(pager.PhoneHookOptions{Acts: d.acts, Delivery: d.store.Delivery, Policy: d.policy, Logger: d.log.With("component", "phone"), Registerer: d.registry})
	d.web = web.New(web.Options{
		Acts: d.acts, Overrides: d.overrides, Endpoints: d.endpoints, Drills: d.drills, Openings: d.acts, Heartbeats: d.heartbeats, Watchdog: d.watchdog, Calendars: d.store,
		Store: d.store, Rules: d.evaluator, Evaluated: d.evaluator.Ready, Standby: func() bool { return !d.watching.Load() }, Policy: d.policy, Reload: d.reload,
		User: d.flags.Web.user, Slack: d.slackHandlers, Hooks: d.hooks.Handler, Phone: d.phones,
		Alertmanager: &web.Alertmanager{Dispatch: d.dispatcher, Store: d.store, Silences: d.silences, Mode: d.flags.matcherMode(),
			Receivers: d.receivers, Original: d.original, RouteLabels: d.routeLabels,
			Peers: func() []web.Peer { return []web.Peer{{Name: hostname(), Address: ports.main[0].Addr().String()}} }},
		ExternalURL: d.external, RoutePrefix: d.flags.Web.prefix(d.external), Bundles: d.acts,
		SlackEvents: d.slackEvents,
		Logger:      d.log.With("component", "web"), Registry: d.registry,
	})
}

// run works until ctx ends or something fails for good, then ends cleanly: first the loops, which finish
// what is in flight, then the listeners, then (by the caller) the store.
func (d *daemon) run(ctx context.Context, site *server) error {
	working, stopWork := context.WithCancel(ctx)
	defer stopWork()
	worked := make(chan error, 1)
	go func() { worked <- d.work(working) }()
	var err error
	ended := false
	select {
	case <-ctx.Done():
		d.log.Info("Told to end: finishing what is in flight")
	case err = <-site.failed:
		err = fmt.Errorf("the listener failed: %w", err)
	case err = <-worked:
		ended = true
	}
	deadline := time.Now().Add(shutdownTime)
	stopWork()
	if !ended {
		select {
		case werr := <-worked:
			err = errors.Join(err, werr)
		case <-time.After(workTime):
			d.log.Warn("Some work did not end in time; it is on disk and goes on at the next start")
		}
	}
	closing, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	site.shutdown(closing)
	d.live.Load().close(nil)
	if err == nil {
		d.log.Info("Ended")
	}
	return err
}
