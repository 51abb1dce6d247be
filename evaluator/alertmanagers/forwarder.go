package alertmanagers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/oncall"
)

const (
	// resendEvery is how often what fires is sent again; an Alertmanager that starts knows nothing.
	resendEvery = time.Minute
	// resolvedFor is how long a resolved alert is sent again.
	resolvedFor = 15 * time.Minute
	// firstLook is how often Run looks for what fired before the start, and lookFor how long.
	firstLook = time.Second
	lookFor   = time.Minute
	// maxAlerts bounds what is remembered of resolved alerts, and what waits for one Alertmanager.
	maxAlerts = 250_000
)

// Options are what a Forwarder needs besides its configuration. Logger, Registerer and Resolved may be nil.
type Options struct {
	// Active returns what fires now, for sending it again.
	Active func() []evaluator.Forwarded
	// Resolved returns the steps by which alerts resolved since an instant, for sending those again that
	// resolved before the start.
	Resolved       func(ctx context.Context, since time.Time) ([]oncall.Transition, error)
	ExternalLabels labels.Labels // of what Resolved returns
	Logger         *slog.Logger
	Registerer     prometheus.Registerer
	Version        string // of tocsin, for the User-Agent

	transport http.RoundTripper // of tests; nil: the network
}

// Forwarder sends alerts to a set of Alertmanagers: changes at once, what fires again each minute, and what
// resolved for a quarter of an hour. It is one for the life of the process: Apply changes the set, Run sends.
// Nothing is stored: what fires is known to the evaluator, and a lost message is made up for by the next.
//
// Each Alertmanager has a goroutine and a queue of its own, in which an alert stands once, in its newest
// state: one that is slow or away delays nobody, and costs no more memory than there are alerts.
type Forwarder struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	applied chan struct{} // holds a token while Run must take over another set

	mu       sync.Mutex // guards the fields below; before that of an end
	ends     []*end
	external labels.Labels
	resolved map[uint64]evaluator.Forwarded // hash of labels → what resolved lately; without Interval, before the start

	logMu  sync.Mutex
	logged map[string]time.Time // when each kind of loss was logged last; guarded by logMu
}

var _ evaluator.Forwarder = (*Forwarder)(nil)

// New returns a Forwarder to the Alertmanagers of configs, which may be none. The error is about the HTTP
// client settings.
func New(configs []Config, o Options) (*Forwarder, error) {
	f := &Forwarder{o: o, log: o.Logger, applied: make(chan struct{}, 1), resolved: map[uint64]evaluator.Forwarded{}}
	if f.log == nil {
		f.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	f.metrics = newMetrics(o.Registerer, f.waiting)
	if err := f.Apply(configs, o.ExternalLabels); err != nil {
		return nil, err
	}
	return f, nil
}

// Apply replaces the set of Alertmanagers. All of them are told at once what fires. After an error nothing
// has changed.
func (f *Forwarder) Apply(configs []Config, external labels.Labels) error {
	var ends []*end
	for _, c := range configs {
		e, err := newEnd(c, f)
		if err != nil {
			return err
		}
		ends = append(ends, e)
	}
	f.mu.Lock()
	old := f.ends
	f.ends, f.external = ends, external
	f.mu.Unlock()
	f.metrics.keep(old, ends)
	select {
	case f.applied <- struct{}{}:
	default:
	}
	return nil
}

// Forward sends alerts that began to fire or resolved. It does not wait.
func (f *Forwarder) Forward(alerts []evaluator.Forwarded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ends) == 0 {
		return
	}
	for _, a := range alerts {
		key := a.Labels.Hash()
		switch {
		case a.EndsAt.IsZero():
			delete(f.resolved, key)
		case len(f.resolved) < maxAlerts:
			f.resolved[key] = a
		}
	}
	for _, e := range f.ends {
		e.changed(alerts)
	}
}

// Run sends until ctx ends, and returns nil. It may be called again after it returned.
func (f *Forwarder) Run(ctx context.Context) error {
	f.recall(ctx)
	for ctx.Err() == nil {
		f.serve(ctx)
	}
	return nil
}

// serve works for the present set of Alertmanagers, until there is another or ctx ends.
func (f *Forwarder) serve(ctx context.Context) {
	select {
	case <-f.applied:
	default:
	}
	f.mu.Lock()
	ends := f.ends
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
	}()
	for _, e := range ends {
		wg.Go(func() { e.run(ctx) })
	}
	began := time.Now()
	found := false // what fired before the start
	for {
		if len(ends) > 0 {
			found = f.again(ends, time.Now()) || found
		}
		// The evaluator may need a moment to remember what fired before the start.
		wait := resendEvery
		if !found && time.Since(began) < lookFor && len(ends) > 0 {
			wait = firstLook
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-f.applied:
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// again queues everything that fires, or resolved lately, once more. It reports whether there was anything.
func (f *Forwarder) again(ends []*end, now time.Time) bool {
	active := f.o.Active() // before the lock: the evaluator may be waiting for it in Forward
	f.mu.Lock()
	defer f.mu.Unlock()
	alerts := make([]evaluator.Forwarded, 0, len(active)+len(f.resolved))
	for _, a := range active {
		key := a.Labels.Hash()
		switch r, ok := f.resolved[key]; {
		case ok && r.Interval == 0:
			delete(f.resolved, key) // it resolved before the start, and fires by another rule
		case ok && !a.StartsAt.After(r.EndsAt):
			continue // it resolved since Active looked
		}
		alerts = append(alerts, a)
	}
	for key, a := range f.resolved {
		if now.Sub(a.EndsAt) > resolvedFor {
			delete(f.resolved, key)
			continue
		}
		alerts = append(alerts, a)
	}
	for _, e := range ends {
		e.again(alerts, now)
	}
	return len(active) > 0
}

// recall remembers what resolved shortly before the start: perhaps nobody was told.
func (f *Forwarder) recall(ctx context.Context) {
	if f.o.Resolved == nil {
		return
	}
	steps, err := f.o.Resolved(ctx, time.Now().Add(-resolvedFor))
	if err != nil {
		if ctx.Err() == nil {
			f.log.Warn("What resolved before the start is not known; Alertmanagers resolve it by themselves when its endsAt has passed", "err", err)
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range steps {
		if s.To != oncall.StateResolved || len(f.resolved) >= maxAlerts {
			continue
		}
		a := evaluator.Forwarded{Labels: withExternal(s.Labels, f.external), EndsAt: s.At}
		if key := a.Labels.Hash(); !f.resolved[key].EndsAt.After(a.EndsAt) {
			f.resolved[key] = a
		}
	}
}

// withExternal adds external labels where ls has none of that name.
func withExternal(ls, external labels.Labels) labels.Labels {
	b := labels.NewBuilder(ls)
	external.Range(func(l labels.Label) {
		if ls.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	return b.Labels()
}

// waiting returns how many alerts wait for each Alertmanager.
func (f *Forwarder) waiting() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]int{}
	for _, e := range f.ends {
		out[e.shown] += e.waiting()
	}
	return out
}

// quiet logs a loss, once a minute at most for each Alertmanager.
func (f *Forwarder) quiet(e *end, what string, err error) {
	f.logMu.Lock()
	now := time.Now()
	pass := now.Sub(f.logged[e.shown]) >= time.Minute
	if pass {
		if f.logged == nil {
			f.logged = map[string]time.Time{}
		}
		f.logged[e.shown] = now
	}
	f.logMu.Unlock()
	if pass {
		f.log.Error(what, "alertmanager", e.shown, "err", err)
	}
}

// errTooMany is why an alert was not queued.
var errTooMany = errors.New("too many alerts wait for it")
