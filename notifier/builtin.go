package notifier

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// What tocsin finds wrong with its own ways of telling people becomes an alert, which takes the way of every other one:
// into the log, through routes and silences, to an incident. It is posted as a Prometheus would post it, again and
// again while it lasts, so that nothing has to be remembered: one whose tocsin is gone ends by itself.

const (
	builtinAgain = time.Minute     // an alert that lasts is posted again
	builtinEnds  = 5 * time.Minute // and ends so long after it was posted last
)

// Finding is something that is wrong with tocsin's own ways of telling people.
type Finding struct {
	Labels      labels.Labels // its identity, alertname included
	Annotations labels.Labels
	Since       time.Time
}

// BuiltinStore is what Builtins needs of the store.
type BuiltinStore interface {
	// Receive puts posted alerts at the end of the dispatcher's log.
	Receive(ctx context.Context, w oncall.Write, posted []oncall.PostedAlert) error
}

// BuiltinOptions are what Builtins needs.
type BuiltinOptions struct {
	Store BuiltinStore
	// Findings returns what is wrong now. It is called each second and must not wait.
	Findings func() []Finding
	// Ended is told of a finding that is none any more, by its labels; it must not wait. nil: nobody is told.
	Ended    func(labels.Labels)
	External func() labels.Labels // added to each alert
	Logger   *slog.Logger         // nil: silent
}

// Builtins posts an alert for each finding.
type Builtins struct {
	o   BuiltinOptions
	log *slog.Logger
}

// NewBuiltins makes the loop. It does nothing before Run.
func NewBuiltins(o BuiltinOptions) *Builtins { return &Builtins{o: o, log: logger(o.Logger)} }

// standing is an alert that was posted.
type standing struct {
	alert  oncall.PostedAlert
	posted time.Time
}

// Run works until ctx ends (nil) or the lease is lost (oncall.ErrLeaseLost). Any other failure of the store is tried
// again a second later. Run may be called again afterwards, not twice at once.
func (l *Builtins) Run(ctx context.Context, lease oncall.Lease) error {
	stand := map[uint64]standing{}
	for {
		next, err := l.turn(ctx, lease, stand, time.Now())
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case err != nil:
			l.log.ErrorContext(ctx, "an alert about tocsin itself could not be stored; this is tried again", "err", err)
		default:
			stand = next
		}
		if !sleep(ctx, poll, nil) {
			return nil
		}
	}
}

// turn posts what is new, lasts, or has ended, and returns what stands after that.
func (l *Builtins) turn(ctx context.Context, lease oncall.Lease, before map[uint64]standing, now time.Time) (map[uint64]standing, error) {
	after := map[uint64]standing{}
	var due []oncall.PostedAlert
	for _, f := range l.o.Findings() {
		a := oncall.PostedAlert{Labels: l.complete(f.Labels), Annotations: f.Annotations, StartsAt: f.Since, EndsAt: now.Add(builtinEnds)}
		id := a.Labels.Hash()
		was, known := before[id]
		after[id] = was
		if known && now.Sub(was.posted) < builtinAgain && labels.Equal(was.alert.Annotations, a.Annotations) {
			continue
		}
		if !known {
			l.log.ErrorContext(ctx, "Something is wrong with tocsin's own ways of telling people", "alert", a.Labels.Get(model.AlertNameLabel),
				"summary", a.Annotations.Get("summary"))
		}
		after[id] = standing{a, now}
		due = append(due, a)
	}
	for id, was := range before {
		if _, lasts := after[id]; lasts {
			continue
		}
		if l.o.Ended != nil {
			l.o.Ended(was.alert.Labels)
		}
		was.alert.EndsAt = now
		due = append(due, was.alert)
		l.log.InfoContext(ctx, "What was wrong with tocsin's own ways of telling people is mended", "alert", was.alert.Labels.Get(model.AlertNameLabel))
	}
	if len(due) == 0 {
		return after, nil
	}
	slices.SortFunc(due, func(a, b oncall.PostedAlert) int { return labels.Compare(a.Labels, b.Labels) })
	return after, l.o.Store.Receive(ctx, oncall.Write{Now: now, Lease: &lease, Urgent: true}, due)
}

// complete adds the external labels that the finding does not have itself.
func (l *Builtins) complete(ls labels.Labels) labels.Labels {
	if l.o.External == nil {
		return ls
	}
	b := labels.NewBuilder(ls)
	l.o.External().Range(func(e labels.Label) {
		if ls.Get(e.Name) == "" {
			b.Set(e.Name, e.Value)
		}
	})
	return b.Labels()
}
