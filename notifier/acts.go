package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// ActOptions are what Acts needs.
type ActOptions struct {
	Store  IncidentStore
	Policy func() oncall.Policy // the policy in force; called for each act, from any goroutine
	// Transitions returns the record of the alerts with these fingerprints between two instants, oldest
	// first. nil: explanations go without it.
	Transitions func(ctx context.Context, alerts []oncall.Fingerprint, from, to time.Time, limit int) ([]oncall.Transition, error)
	// ExternalLabels returns the labels that were added to alerts on their way to incidents, so that an
	// explanation finds the alerts as they were evaluated. nil: none.
	ExternalLabels func() labels.Labels
	Silences       Silencer     // nil: nobody can silence from an incident
	Openings       OpeningStore // nil: nobody can open an incident by hand
	Bundles        BundleStore  // nil: no page goes for several incidents
	Logger         *slog.Logger // nil: silent
}

// Acts is how people reach incidents: what they ask for, and what they ask about. It may be used from any
// goroutine. Its errors are oncall's, with a code.
type Acts struct {
	o   ActOptions
	log *slog.Logger

	silencing chan struct{} // holds a token while a silence is made from an incident
}

// NewActs makes an Acts.
func NewActs(o ActOptions) *Acts {
	return &Acts{o: o, log: logger(o.Logger), silencing: make(chan struct{}, 1)}
}

// AlreadyDone is the reply to a request that was committed before.
const AlreadyDone = "already done"

// Act commits what a person asked for, once per request ("" for requests without an identity). It needs no
// lease: any replica may take an acknowledgement. That the command was refused is no error:
// Decision.Refused says so, and Decision.Reply why. After an error with the code unavailable the caller may
// send the same request again.
func (a *Acts) Act(ctx context.Context, number int64, c oncall.Command, request string) (oncall.Decision, error) {
	if c.Kind == oncall.CmdMerge {
		if d, err := a.mayMerge(ctx, number, c.Into); err != nil || d.Refused {
			return d, err
		}
	}
	now := time.Now()
	d, err := a.o.Store.UpdateIncident(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, number,
		func(in oncall.Incident) (oncall.Decision, error) {
			d, err := decide(now, in, c, a.o.Policy())
			if err == nil && d.Refused {
				err = &refusal{d}
			}
			return d, err
		})
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.d, nil
	}
	switch {
	case errors.Is(err, oncall.ErrRequestSeen):
		in, err := a.Incident(ctx, number)
		return oncall.Decision{Incident: in, Reply: AlreadyDone}, err
	case oncall.ErrorCode(err) == oncall.CodeNotFound:
		return d, notFound(number)
	case err != nil:
		if p, ok := errors.AsType[*panicError](err); ok {
			a.log.ErrorContext(ctx, "an act failed by a defect", "incident", number, "act", c.Kind, "err", p, "stack", p.stack)
			return d, oncall.Errorf(oncall.CodeInternal, "%s of #%d failed by a defect of tocsin; nothing was changed", c.Kind, number)
		}
		a.log.ErrorContext(ctx, "an act could not be committed", "incident", number, "act", c.Kind, "actor", c.Actor, "err", err)
		return d, err
	}
	if d.Changed {
		a.log.InfoContext(ctx, "acted", "incident", number, "act", c.Kind, "actor", c.Actor, "via", c.Via)
	}
	return d, nil
}

// refusal takes a command back that was refused, its request's identity too: who repeats it is refused again, or served
// by then, and not told that it was done.
type refusal struct{ d oncall.Decision }

func (r *refusal) Error() string { return "refused: " + r.d.Reply }

// Incident returns one incident with all its rows, or not_found.
func (a *Acts) Incident(ctx context.Context, number int64) (oncall.Incident, error) {
	in, err := a.o.Store.Incident(ctx, number)
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		return in, notFound(number)
	}
	return in, err
}

// Incidents lists incidents with their alerts, newest first, without timeline and deliveries.
func (a *Acts) Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error) {
	return a.o.Store.Incidents(ctx, f)
}

func notFound(number int64) error {
	return oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
}

// mayMerge refuses to merge into an incident that is not open, unless that was done before. What ends between this
// look and the commit costs no alert: it opens an incident anew.
func (a *Acts) mayMerge(ctx context.Context, number, into int64) (oncall.Decision, error) {
	in, err := a.Incident(ctx, number)
	if err != nil || in.MergedInto == into || into == number {
		return oncall.Decision{}, err // the core answers
	}
	target, err := a.Incident(ctx, into)
	if err != nil || target.Open() {
		return oncall.Decision{}, err
	}
	return oncall.Decision{
		Incident: in, Refused: true, Reply: fmt.Sprintf("#%d is resolved: an incident is merged into one that is open", into),
	}, nil
}
