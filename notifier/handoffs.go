package notifier

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/oncall"
)

// HandoffStore is what announcing handoffs needs of the store.
type HandoffStore interface {
	// Handoffs returns the latest handoff of each schedule.
	Handoffs(ctx context.Context) ([]oncall.Handoff, error)
	// CommitHandoffs writes the latest handoffs of their schedules, in place of those before.
	CommitHandoffs(ctx context.Context, w oncall.Write, all []oncall.Handoff) error
	// Incidents lists incidents with their alerts, newest first.
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
	// ContactChecks returns the latest check of each user's contacts.
	ContactChecks(ctx context.Context) ([]oncall.ContactCheck, error)
}

// HandoffSender makes one attempt to announce a handoff in a channel, with the incidents that are open for who comes
// on call. Like Sender it always returns an outcome, and never retries by itself.
type HandoffSender interface {
	SendHandoff(ctx context.Context, channel string, h oncall.Handoff, open []oncall.Incident) oncall.Attempt
	// SendShift makes one attempt to tell a person of their shift, or a channel where nobody can tell the person.
	SendShift(ctx context.Context, to string, n ShiftMessage) oncall.Attempt
}

// HandoffOptions are what Handoffs needs.
type HandoffOptions struct {
	Store HandoffStore
	// Page makes one attempt to tell somebody by an endpoint that is not Slack's. nil: nobody can be told so.
	Page       func(ctx context.Context, d oncall.Delivery, in oncall.Incident) oncall.Attempt
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Handoffs announces who comes on call. What is announced is on disk before it is sent, and what was not confirmed
// is sent again, unless other people have come on call since.
type Handoffs struct {
	store HandoffStore
	page  func(ctx context.Context, d oncall.Delivery, in oncall.Incident) oncall.Attempt // nil: nobody can be told by pages
	log   *slog.Logger
	sent  *prometheus.CounterVec
	told  *prometheus.CounterVec
	setup atomic.Pointer[handoffSetup] // nil until Apply
	wake  chan struct{}
}

// handoffSetup is one policy with who sends. It never changes.
type handoffSetup struct {
	policy oncall.Policy
	sender HandoffSender // nil: nobody
}

// NewHandoffs makes the loop. It does nothing before Apply and Run.
func NewHandoffs(o HandoffOptions) *Handoffs {
	l := &Handoffs{store: o.Store, page: o.Page, log: logger(o.Logger), wake: make(chan struct{}, 1)}
	l.sent = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_handoff_notices_total",
		Help: "Attempts to announce who comes on call, by what became of them (delivered, retry, unknown, refused, gone).",
	}, []string{"outcome"})
	l.told = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_shift_notices_total",
		Help: "Attempts to tell a person of their shift, by what they were told (ahead, on, off) and what became of it.",
	}, []string{"kind", "outcome"})
	return l
}

// Apply sets the policy and who sends (nil: nobody) from the next look on. It may be called from any goroutine.
func (l *Handoffs) Apply(p oncall.Policy, sender HandoffSender) {
	l.setup.Store(&handoffSetup{p, sender})
	poke(l.wake)
}

// handoffPoll bounds how long the loop sleeps: the end of a shift that lies far away may move without a word.
const handoffPoll = time.Minute

// Run works until ctx ends (nil) or the lease is lost (oncall.ErrLeaseLost). Any other failure of the store is
// logged and tried again within a second.
func (l *Handoffs) Run(ctx context.Context, lease oncall.Lease) error {
	r := handoffRun{Handoffs: l, lease: lease}
	var b backoff
	for {
		wait, wake := time.Duration(0), l.wake
		next, err := r.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case err != nil:
			l.log.ErrorContext(ctx, "handoffs could not use the store; this is tried again", "err", err)
			r.latest = nil // after a failed or unknown commit memory follows the store
			wait, wake = b.next(), nil
		default:
			b.reset()
			wait = max(0, min(handoffPoll, time.Until(next)))
		}
		if !sleep(ctx, wait, wake) {
			return nil
		}
	}
}

// handoffRun is one Run. Its fields belong to the goroutine in turn.
type handoffRun struct {
	*Handoffs
	lease   oncall.Lease
	latest  map[string]oncall.Handoff // by schedule, as in the store; nil: not known
	using   *handoffSetup
	changes map[string]oncall.Shift // with which other people come on call next, by schedule; zero From: with none that is known
}

// turn writes down what has changed, sends what is due, and returns when there is more to do.
func (r *handoffRun) turn(ctx context.Context) (next time.Time, err error) {
	s := r.setup.Load()
	if s == nil {
		return time.Now().Add(poll), nil
	}
	if r.latest == nil {
		all, err := r.store.Handoffs(ctx)
		if err != nil {
			return next, err
		}
		r.latest = map[string]oncall.Handoff{}
		for _, h := range all {
			r.latest[h.Schedule] = h
		}
	}
	if s != r.using {
		r.using, r.changes = s, map[string]oncall.Shift{}
	}
	if err := r.see(ctx, s); err != nil {
		return next, err
	}
	if err := r.send(ctx, s); err != nil {
		return next, err
	}
	if err := r.tell(ctx, s); err != nil {
		return next, err
	}
	next = time.Now().Add(handoffPoll)
	for name, schedule := range s.policy.Schedules {
		if !schedule.Announced() {
			continue
		}
		next = earlier(next, r.changes[name].From)
		h := r.latest[name]
		if h.State == oncall.DeliveryQueued && s.sender != nil {
			next = earlier(next, h.NextAt)
		}
		for _, n := range h.Notices {
			if n.State == oncall.DeliveryQueued && s.sender != nil {
				next = earlier(next, n.NextAt)
			}
		}
	}
	return next, nil
}

// see commits the handoffs that have happened, and who is to be told of what comes.
func (r *handoffRun) see(ctx context.Context, s *handoffSetup) error {
	now := stored(time.Now())
	var seen []oncall.Handoff
	for _, name := range s.policy.ScheduleNames() {
		schedule := s.policy.Schedules[name]
		if !schedule.Announced() {
			continue
		}
		h, changed := r.latest[name], false
		// What was looked at under this policy is so until somebody comes on call.
		if next, ok := r.changes[name]; !ok || !next.From.IsZero() && !now.Before(next.From) {
			var other oncall.Handoff
			if other, changed = s.policy.HandoffAt(name, h, now); changed {
				h = other
			}
			r.changes[name], _ = schedule.NextChange(s.policy.Overrides, now)
		}
		h, ahead := s.policy.LookAhead(h, r.changes[name], now)
		if changed || ahead {
			seen = append(seen, h)
		}
		if changed && h.Key != "" && r.latest[name].Key == "" {
			r.log.InfoContext(ctx, "handoffs are announced from now on", "schedule", h.Schedule, "on_call", h.On)
		}
	}
	if len(seen) == 0 {
		return nil
	}
	err := r.commit(ctx, seen...)
	if err != nil {
		r.changes = map[string]oncall.Shift{} // all of it is seen again
	}
	return err
}

func (r *handoffRun) commit(ctx context.Context, all ...oncall.Handoff) error {
	if err := r.store.CommitHandoffs(ctx, oncall.Write{Now: stored(time.Now()), Lease: &r.lease}, all); err != nil {
		return err
	}
	for _, h := range all {
		r.latest[h.Schedule] = h
	}
	return nil
}

// send announces what is due, side by side: one slow channel does not hold up the others.
func (r *handoffRun) send(ctx context.Context, s *handoffSetup) error {
	if s.sender == nil {
		return nil
	}
	now := time.Now()
	var due []oncall.Handoff
	for name, schedule := range s.policy.Schedules {
		if h := r.latest[name]; schedule.NotifySlack != "" && h.State == oncall.DeliveryQueued && !h.NextAt.After(now) {
			due = append(due, h)
		}
	}
	if len(due) == 0 {
		return nil
	}
	open, err := openIncidents(ctx, r.store)
	if err != nil {
		return err
	}
	checks, err := r.store.ContactChecks(ctx)
	if err != nil {
		return err
	}
	// An attempt is on disk before it is made: a store that takes nothing must not make us repeat ourselves.
	begun := make([]oncall.Handoff, len(due))
	for i, h := range due {
		begun[i] = h.After(now, oncall.Attempt{Number: h.Attempts + 1, Outcome: oncall.OutcomeUnknown, Error: "what became of the attempt is not known"})
	}
	if err := r.commit(ctx, begun...); err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, hardTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i := range due {
		wg.Go(func() {
			h := &due[i]
			said := *h
			if len(h.On) > 0 { // for nobody it would be those of everybody
				said.Failed = s.policy.FailedChecks(checks, h.On...)
			}
			a := s.sender.SendHandoff(sending, s.policy.Schedules[h.Schedule].NotifySlack, said, concerning(s.policy, h.Schedule, open))
			a.Number = h.Attempts + 1
			*h = h.After(stored(time.Now()), a)
			r.sent.WithLabelValues(string(a.Outcome)).Inc()
			level := slog.LevelInfo
			if a.Outcome != oncall.OutcomeDelivered {
				level = slog.LevelWarn
			}
			r.log.Log(ctx, level, "a handoff was announced", "schedule", h.Schedule, "on_call", h.On, "outcome", a.Outcome, "state", h.State, "err", a.Error)
		})
	}
	wg.Wait()
	if ctx.Err() != nil { // what was delivered before the end is written down all the same
		committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
		defer cancel()
		ctx = committing
	}
	return r.commit(ctx, due...)
}

// incidentLister lists incidents, newest first.
type incidentLister interface {
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
}

// openIncidents returns all open incidents, newest first.
func openIncidents(ctx context.Context, store incidentLister) ([]oncall.Incident, error) {
	const page = 500
	var all []oncall.Incident
	f := oncall.IncidentFilter{Limit: page, States: []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed}}
	for {
		got, err := store.Incidents(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if len(got) < page {
			return all, nil
		}
		f.Before = got[len(got)-1].Number
	}
}

// concerning returns the incidents that may page whoever is on call by a schedule.
func concerning(p oncall.Policy, schedule string, open []oncall.Incident) (mine []oncall.Incident) {
	for _, in := range open {
		if p.Escalations[in.Escalation].NamesSchedule(schedule) {
			mine = append(mine, in)
		}
	}
	return mine
}
