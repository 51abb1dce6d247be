package notifier

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/problem"
)

// HeartbeatStore is what heartbeats need of the store.
type HeartbeatStore interface {
	// Beat notes that a heartbeat was heard at w.Now; it needs no lease.
	Beat(ctx context.Context, w oncall.Write, name string) error
	// Heartbeats returns what is on record of all heartbeats.
	Heartbeats(ctx context.Context) ([]oncall.HeartbeatState, error)
	// UpdateHeartbeats loads all heartbeats so that no beat comes in between, and commits what decide says under w's
	// lease: the records, and the changes at the end of the dispatcher's log. decide is pure and may run again.
	UpdateHeartbeats(ctx context.Context, w oncall.Write,
		decide func([]oncall.HeartbeatState) oncall.HeartbeatDecision) (oncall.HeartbeatDecision, error)
}

// HeartbeatOptions are what Heartbeats needs.
type HeartbeatOptions struct {
	Store      HeartbeatStore
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Heartbeats hears dead man's switches, and hands those that are missing to the dispatcher as alerts. Whoever hears
// only writes it down; the loop in Run decides.
type Heartbeats struct {
	store   HeartbeatStore
	log     *slog.Logger
	metrics *heartbeatMetrics
	applied atomic.Pointer[heartbeatSetup] // nil until Apply
	wake    chan struct{}
}

// heartbeatSetup is one load of the configuration. It never changes.
type heartbeatSetup struct {
	all      []oncall.Heartbeat
	external labels.Labels
}

// NewHeartbeats makes the loop. It does nothing before Apply and Run.
func NewHeartbeats(o HeartbeatOptions) *Heartbeats {
	return &Heartbeats{store: o.Store, log: logger(o.Logger), metrics: newHeartbeatMetrics(o.Registerer), wake: make(chan struct{}, 1)}
}

// Apply sets which heartbeats there are, and the labels that their alerts carry beside their own.
func (l *Heartbeats) Apply(all []oncall.Heartbeat, external labels.Labels) {
	before := l.applied.Swap(&heartbeatSetup{all: all, external: external})
	l.metrics.forget(before, all)
	l.Wake()
}

// Wake makes the loop look at the store now: after a beat. It never blocks.
func (l *Heartbeats) Wake() { poke(l.wake) }

// Beat notes a beat. After nil it is on disk. Codes: not_found (no such heartbeat), forbidden (not its token),
// unavailable: send it again.
func (l *Heartbeats) Beat(ctx context.Context, name, token string) error {
	setup := l.applied.Load()
	if setup == nil {
		return oncall.Errorf(oncall.CodeUnavailable, "tocsin is starting")
	}
	i := slices.IndexFunc(setup.all, func(h oncall.Heartbeat) bool { return h.Name == name })
	if i < 0 {
		text := ""
		var open []string // names that a stranger may learn
		for _, h := range setup.all {
			if h.Token == nil {
				open = append(open, h.Name)
			}
		}
		if near := problem.Nearest(name, open); near != "" {
			text = "; did you mean " + near + "?"
		}
		return oncall.Errorf(oncall.CodeNotFound, "no heartbeat of that name is configured%s", text)
	}
	if !setup.all[i].Admits(token) {
		return oncall.Errorf(oncall.CodeForbidden, "this heartbeat wants its token: Authorization: Bearer …, or ?token=…")
	}
	if err := l.store.Beat(ctx, oncall.Write{Now: time.Now(), Urgent: true}, name); err != nil {
		l.log.ErrorContext(ctx, "A beat could not be kept; its sender is told to send it again", "heartbeat", name, "err", err)
		return err
	}
	l.metrics.beats.WithLabelValues(name).Inc()
	return nil
}

// List returns the configured heartbeats as they stand, in the order of the file.
func (l *Heartbeats) List(ctx context.Context) ([]oncall.HeartbeatView, error) {
	setup := l.applied.Load()
	if setup == nil || len(setup.all) == 0 {
		return []oncall.HeartbeatView{}, nil
	}
	states, err := l.store.Heartbeats(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]oncall.HeartbeatView, 0, len(setup.all))
	for _, h := range setup.all {
		var st oncall.HeartbeatState
		if i := slices.IndexFunc(states, func(s oncall.HeartbeatState) bool { return s.Name == h.Name }); i >= 0 {
			st = states[i]
		}
		views = append(views, oncall.ViewHeartbeat(h, st))
	}
	return views, nil
}

// Run works until ctx ends (nil) or the lease is lost (oncall.ErrLeaseLost). Any other failure of the store is
// logged, counted and tried again within a second. aliveAt is when a process last listened before this one, zero:
// never. Run may be called again afterwards, not twice at once.
func (l *Heartbeats) Run(ctx context.Context, lease oncall.Lease, aliveAt time.Time) error {
	var down oncall.Downtime
	if !aliveAt.IsZero() {
		down = oncall.Downtime{From: aliveAt, To: time.Now()}
	}
	var b backoff
	for {
		next, err := l.turn(ctx, lease, &down)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case err != nil:
			l.metrics.errors.Inc()
			l.log.ErrorContext(ctx, "the heartbeats could not use the store; they go on trying", "err", err)
			if !sleep(ctx, b.next(), nil) {
				return nil
			}
			continue
		}
		b.reset()
		if !sleep(ctx, max(0, time.Until(next)), l.wake) {
			return nil
		}
	}
}

// turn decides what there is to decide now, and returns when to look again. down is done with once it is committed.
func (l *Heartbeats) turn(ctx context.Context, lease oncall.Lease, down *oncall.Downtime) (time.Time, error) {
	setup := l.applied.Load()
	if setup == nil {
		return time.Now().Add(poll), nil
	}
	states, err := l.store.Heartbeats(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if len(setup.all)+len(states) == 0 {
		*down = oncall.Downtime{}
		return time.Now().Add(time.Hour), nil // Apply wakes
	}
	now := time.Now()
	decide := func(states []oncall.HeartbeatState) oncall.HeartbeatDecision {
		return oncall.DecideHeartbeats(now, setup.all, states, *down, setup.external)
	}
	d := decide(states)
	if !d.Empty() {
		if d, err = l.store.UpdateHeartbeats(ctx, oncall.Write{Now: now, Lease: &lease, Urgent: true}, decide); err != nil {
			return time.Time{}, err
		}
		for _, c := range d.Changes {
			l.log.InfoContext(ctx, "a heartbeat changed", "heartbeat", c.Labels.Get(oncall.HeartbeatLabel), "status", c.Status, "reason", c.Reason)
		}
	}
	*down = oncall.Downtime{}
	l.metrics.show(setup.all, states, d)
	next := now.Add(poll)
	if !d.NextAt.IsZero() && d.NextAt.Before(next) {
		next = d.NextAt
	}
	return next, nil
}

type heartbeatMetrics struct {
	beats  *prometheus.CounterVec // by heartbeat
	missed *prometheus.GaugeVec   // by heartbeat
	last   *prometheus.GaugeVec   // by heartbeat
	errors prometheus.Counter
}

func newHeartbeatMetrics(r prometheus.Registerer) *heartbeatMetrics {
	f := promauto.With(r)
	return &heartbeatMetrics{
		beats: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_heartbeat_beats_total", Help: "Beats that this process has heard, by heartbeat.",
		}, []string{"heartbeat"}),
		missed: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_heartbeat_missed", Help: "Whether the heartbeat is missing (1) or not (0).",
		}, []string{"heartbeat"}),
		last: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_heartbeat_last_beat_timestamp_seconds", Help: "When the heartbeat was last heard; 0: never.",
		}, []string{"heartbeat"}),
		errors: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_heartbeat_store_errors_total", Help: "Times that the heartbeats could not use the store.",
		}),
	}
}

// show sets the gauges to what was decided.
func (m *heartbeatMetrics) show(all []oncall.Heartbeat, states []oncall.HeartbeatState, d oncall.HeartbeatDecision) {
	for _, h := range all {
		var st oncall.HeartbeatState
		for _, list := range [][]oncall.HeartbeatState{states, d.Put} {
			if i := slices.IndexFunc(list, func(s oncall.HeartbeatState) bool { return s.Name == h.Name }); i >= 0 {
				st = list[i]
			}
		}
		missed, last := 0.0, 0.0
		if st.Missed != nil {
			missed = 1
		}
		if !st.LastAt.IsZero() {
			last = float64(st.LastAt.UnixMicro()) / 1e6
		}
		m.missed.WithLabelValues(h.Name).Set(missed)
		m.last.WithLabelValues(h.Name).Set(last)
	}
}

// forget takes back the series of heartbeats that are not configured any more.
func (m *heartbeatMetrics) forget(before *heartbeatSetup, now []oncall.Heartbeat) {
	if before == nil {
		return
	}
	for _, h := range before.all {
		if !slices.ContainsFunc(now, func(x oncall.Heartbeat) bool { return x.Name == h.Name }) {
			m.beats.DeleteLabelValues(h.Name)
			m.missed.DeleteLabelValues(h.Name)
			m.last.DeleteLabelValues(h.Name)
		}
	}
}
