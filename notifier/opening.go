package notifier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"tocsin/oncall"
)

// OpeningStore is what it takes to open an incident by hand.
type OpeningStore interface {
	// OpenIncident opens the incident of a place by what decide makes of an empty one, in one transaction, unless one
	// is open there: then that one's number is returned, and opened is false. decide is pure and may run again. A
	// repeated Request is oncall.ErrRequestSeen.
	OpenIncident(ctx context.Context, w oncall.Write, place oncall.Place,
		decide func(oncall.Incident) (oncall.Decision, error)) (number int64, opened bool, err error)
	// IncidentAt returns the number of the latest incident of a place, open or ended, or not_found.
	IncidentAt(ctx context.Context, place oncall.Place) (int64, error)
}

// Opened is what came of an opening.
type Opened struct {
	Incident oncall.Incident // as it is now, with all its rows
	New      bool            // false: the same request opened it before
	Reply    string          // a sentence for who asked
}

// Open opens an incident by hand, once per request: the same request finds what it opened before. "" is a request
// without an identity, which opens one each time. It needs no lease: any replica may take it. The first tier is
// decided in the same transaction. Codes: invalid, not_found (no such escalation or user), unavailable: then the
// caller may send the same request again.
func (a *Acts) Open(ctx context.Context, o oncall.Opening, request string) (Opened, error) {
	if a.o.Openings == nil {
		return Opened{}, oncall.Errorf(oncall.CodeUnavailable, "incidents cannot be opened here")
	}
	now := stored(time.Now())
	identity := request
	if identity == "" {
		identity = rand.Text()
	}
	change, place, err := o.Open(now, identity, a.o.Policy())
	if err != nil {
		return Opened{}, err
	}
	number, opened, err := a.o.Openings.OpenIncident(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, place,
		func(in oncall.Incident) (oncall.Decision, error) {
			return decide(now, in, oncall.AlertsChanged{Changes: []oncall.AlertChange{change}}, a.o.Policy())
		})
	if errors.Is(err, oncall.ErrRequestSeen) {
		number, err = a.o.Openings.IncidentAt(ctx, place)
		if oncall.ErrorCode(err) == oncall.CodeNotFound {
			return Opened{}, oncall.Errorf(oncall.CodeConflict, "this request was sent before, and asked for something else: give each request an identity of its own")
		}
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		a.log.ErrorContext(ctx, "an opening failed by a defect", "escalation", place.Escalation, "err", p, "stack", p.stack)
		return Opened{}, oncall.Errorf(oncall.CodeInternal, "the incident could not be opened, by a defect of tocsin; nothing was changed")
	}
	if err != nil {
		a.log.ErrorContext(ctx, "an incident could not be opened by hand", "escalation", place.Escalation, "actor", o.Actor, "err", err)
		return Opened{}, err
	}
	in, err := a.Incident(ctx, number)
	if err != nil {
		return Opened{}, err
	}
	if !opened {
		return Opened{Incident: in, Reply: fmt.Sprintf("#%d was opened by the same request before", number)}, nil
	}
	a.log.InfoContext(ctx, "acted", "incident", number, "act", "open", "actor", o.Actor, "via", o.Via, "escalation", place.Escalation)
	reply := fmt.Sprintf("#%d is opened in %s", number, place.Escalation)
	if o.User != "" {
		reply = fmt.Sprintf("#%d is opened, and %s is paged", number, o.User)
	}
	return Opened{Incident: in, New: true, Reply: reply}, nil
}
