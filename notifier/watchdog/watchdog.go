// Package watchdog sends tocsin's own pulse to a dead man's switch elsewhere: somebody else must notice when tocsin
// cannot page. A pulse goes out only after a full self-check, so that a tocsin that runs and does not work falls
// silent too. It mends nothing, and pages nobody.
//
// What is checked is given by whoever makes a Watchdog. Start reading at Watchdog.Run.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	promconfig "github.com/prometheus/common/config"

	"tocsin/oncall"
)

const (
	checkTimeout = 15 * time.Second // of one self-check, all parts side by side
	againAfter   = 10 * time.Second // after a failure, if a pulse is not due sooner
)

// Check is one part of the self-check. An error says why the pulse must not be sent, to the person who must act.
type Check struct {
	Name string
	Hold time.Duration // for how long a result stands; 0: it is asked before each pulse
	Run  func(ctx context.Context, lease oncall.Lease) error
}

// Options are what a Watchdog needs.
type Options struct {
	Checks     []Check
	Version    string                // for the User-Agent
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Target is where pulses go. It never changes.
type Target struct {
	cfg    Config
	client *http.Client
}

// NewTarget makes a target of a configuration. transport is for tests; nil: by the configuration.
func NewTarget(cfg Config, transport http.RoundTripper) (*Target, error) {
	if transport != nil {
		return &Target{cfg, &http.Client{Transport: transport, Timeout: cfg.Timeout}}, nil
	}
	client, err := promconfig.NewClientFromConfig(cfg.HTTP, "watchdog")
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	client.Timeout = cfg.Timeout
	return &Target{cfg, client}, nil
}

// Close drops idle connections; a pulse under way is not cut off.
func (t *Target) Close() {
	if t != nil {
		t.client.CloseIdleConnections()
	}
}

// result is what came of a check.
type result struct {
	err   error
	asked time.Time // zero: never
	since time.Time // when it began to be as it is
}

// Watchdog is the loop. It may be used from any goroutine.
type Watchdog struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}

	mu      sync.Mutex
	target  *Target           // nil: no pulse is configured
	running bool              // this process has the watch
	results map[string]result // by check
	sentAt  time.Time         // the last pulse that the far end took
	sendErr string            // why the last one was not taken, "" if it was
}

type metrics struct {
	ok     *prometheus.GaugeVec   // by check
	pulses *prometheus.CounterVec // by outcome
	last   prometheus.Gauge
}

// New makes a Watchdog. It does nothing before Apply and Run.
func New(o Options) *Watchdog {
	f := promauto.With(o.Registerer)
	w := &Watchdog{o: o, log: o.Logger, wake: make(chan struct{}, 1), results: map[string]result{}, metrics: &metrics{
		ok: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_watchdog_ok", Help: "Whether a part of the self-check before each pulse was well (1) or not (0).",
		}, []string{"check"}),
		pulses: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_watchdog_pulses_total", Help: "Attempts at a pulse: sent, failed at the far end, or withheld because a check failed.",
		}, []string{"outcome"}),
		last: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_watchdog_last_pulse_timestamp_seconds", Help: "When the far end last took a pulse; 0: never.",
		}),
	}}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	return w
}

// Apply sets where pulses go from now on; nil: nowhere. Everything is checked anew.
func (w *Watchdog) Apply(t *Target) {
	w.mu.Lock()
	w.target, w.results = t, map[string]result{} // what was wrong may be mended
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run sends pulses until ctx ends. Only who has the watch runs it: a standby that is well says nothing about paging.
func (w *Watchdog) Run(ctx context.Context, lease oncall.Lease) {
	w.setRunning(true)
	defer w.setRunning(false)
	var loud time.Time // when a pulse that was not sent was last complained about
	for {
		w.mu.Lock()
		t := w.target
		w.mu.Unlock()
		wait := time.Hour // Apply wakes
		if t != nil {
			began := time.Now()
			ok := w.pulse(ctx, t, lease, &loud)
			if ctx.Err() != nil {
				return
			}
			if wait = time.Until(began.Add(t.cfg.Every)); !ok {
				wait = min(wait, againAfter)
			}
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (w *Watchdog) setRunning(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = is
	w.results, w.sendErr = map[string]result{}, ""
}

// pulse checks everything, and sends a pulse if all is well. It complains once for each pulse that is due, not each
// time it tries.
func (w *Watchdog) pulse(ctx context.Context, t *Target, lease oncall.Lease, loud *time.Time) (ok bool) {
	failed := w.check(ctx, lease)
	if ctx.Err() != nil {
		return false
	}
	complain := time.Since(*loud) >= t.cfg.Every
	if len(failed) > 0 {
		w.metrics.pulses.WithLabelValues("withheld").Inc()
		if complain {
			*loud = time.Now()
			w.log.Error("The pulse of tocsin was withheld: the self-check failed", "reasons", strings.Join(failed, "; "))
		}
		return false
	}
	err := t.send(ctx, w.o.Version)
	if ctx.Err() != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.sendErr = err.Error()
		w.metrics.pulses.WithLabelValues("failed").Inc()
		if complain {
			*loud = time.Now()
			w.log.Error("The pulse of tocsin did not arrive", "to", t.cfg.String(), "err", err)
		}
		return false
	}
	if !loud.IsZero() {
		w.log.Info("The pulse of tocsin is sent again", "to", t.cfg.String())
	}
	*loud, w.sentAt, w.sendErr = time.Time{}, time.Now(), ""
	w.metrics.pulses.WithLabelValues("sent").Inc()
	w.metrics.last.SetToCurrentTime()
	return true
}

// check asks all checks whose result does not stand any more, side by side, and returns what is wrong.
func (w *Watchdog) check(ctx context.Context, lease oncall.Lease) (failed []string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range w.o.Checks {
		w.mu.Lock()
		stands := !w.results[c.Name].asked.IsZero() && time.Since(w.results[c.Name].asked) < c.Hold
		w.mu.Unlock()
		if !stands {
			wg.Go(func() { w.ask(ctx, c, lease) })
		}
	}
	wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.o.Checks {
		if err := w.results[c.Name].err; err != nil {
			failed = append(failed, c.Name+": "+err.Error())
		}
	}
	return failed
}

// ask runs one check. A panic there is a defect of ours, and one more reason to fall silent.
func (w *Watchdog) ask(ctx context.Context, c Check, lease oncall.Lease) {
	err := func() (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("the check failed by a defect of tocsin: %v", v)
			}
		}()
		return c.Run(ctx, lease)
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	r := result{err: err, asked: now, since: now}
	if before := w.results[c.Name]; !before.asked.IsZero() && (before.err == nil) == (err == nil) {
		r.since = before.since
	}
	w.results[c.Name] = r
	value := 1.0
	if err != nil {
		value = 0
	}
	w.metrics.ok.WithLabelValues(c.Name).Set(value)
}

// send makes one request. The error holds nothing of the address but its host.
func (t *Target) send(ctx context.Context, version string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.cfg.URL.String(), nil)
	if err != nil {
		return errors.New("the address cannot be used")
	}
	for name, value := range t.cfg.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("User-Agent", "tocsin/"+version)
	resp, err := t.client.Do(req)
	if err != nil {
		for u, ok := errors.AsType[*url.Error](err); ok; u, ok = errors.AsType[*url.Error](err) {
			if u.Timeout() {
				return errors.New("no answer in time")
			}
			err = u.Err // without the address; one of a token's may be within
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the far end answered %s", resp.Status)
	}
	return nil
}

// Report says in lines of text how tocsin is, as far as the last self-check knows. ok is false where a pulse is
// configured and was not taken last.
func (w *Watchdog) Report() (text string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.target == nil:
		return "No watchdog is configured: nobody notices when tocsin cannot page. See docs/operations.md.\n", true
	case !w.running:
		return "This process does not have the watch: it sends no pulse. Ask the one that has it.\n", true
	}
	var b strings.Builder
	ok = true
	names := make([]string, 0, len(w.o.Checks))
	for _, c := range w.o.Checks {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := w.results[name]
		switch {
		case r.asked.IsZero():
			fmt.Fprintf(&b, "%s: not checked yet\n", name)
			ok = false
		case r.err != nil:
			fmt.Fprintf(&b, "%s: FAILED since %s: %s\n", name, r.since.UTC().Format(time.RFC3339), r.err)
			ok = false
		default:
			fmt.Fprintf(&b, "%s: well since %s\n", name, r.since.UTC().Format(time.RFC3339))
		}
	}
	switch {
	case !ok:
		fmt.Fprintln(&b, "The pulse is withheld.")
	case w.sendErr != "":
		fmt.Fprintf(&b, "The pulse does not arrive: %s.\n", w.sendErr)
		ok = false
	}
	if w.sentAt.IsZero() {
		fmt.Fprintln(&b, "No pulse has arrived since this process began.")
	} else {
		fmt.Fprintf(&b, "The last pulse arrived at %s.\n", w.sentAt.UTC().Format(time.RFC3339))
	}
	return b.String(), ok
}
