package notifier

import (
	"context"
	"errors"
	"time"

	"tocsin/oncall"
)

// Logged is one delivery with all that is known of it.
type Logged struct {
	Delivery oncall.Delivery  // with its body
	Attempts []oncall.Attempt // oldest first, each with what was asked
}

// Log lists deliveries without bodies, newest first. Code: not_found where f.Before names none.
func (s *Endpoints) Log(ctx context.Context, f oncall.DeliveryFilter) ([]oncall.Delivery, error) {
	return s.o.Store.DeliveryLog(ctx, f)
}

// Delivery returns one delivery, or not_found.
func (s *Endpoints) Delivery(ctx context.Context, key string) (Logged, error) {
	d, attempts, err := s.o.Store.DeliveryAttempts(ctx, key)
	return Logged{d, attempts}, err
}

// Resent is what became of the wish to send a delivery again.
type Resent struct {
	Key     string // of the new delivery; "" where it was refused
	Refused bool
	Reply   string // a sentence for who asked
}

// Resend sends a delivery again that has come to an end, as a new one, once per request ("" for requests without an
// identity). A refusal is no error: Refused says so. Codes: not_found, unavailable: then the same request may be sent again.
func (s *Endpoints) Resend(ctx context.Context, key, actor, via, request string) (Resent, error) {
	d, _, err := s.o.Store.DeliveryAttempts(ctx, key)
	if err != nil {
		return Resent{}, err
	}
	now := time.Now()
	dec, err := s.o.Store.UpdateIncident(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, d.Incident,
		func(in oncall.Incident) (oncall.Decision, error) {
			return decide(now, in, oncall.Resend{Key: key, Body: d.Body, Actor: actor, Via: via}, s.o.Policy())
		})
	switch {
	case errors.Is(err, oncall.ErrRequestSeen):
		return Resent{Reply: AlreadyDone}, nil
	case err != nil:
		if p, ok := errors.AsType[*panicError](err); ok {
			s.log.ErrorContext(ctx, "sending again failed by a defect", "delivery", key, "err", p, "stack", p.stack)
			return Resent{}, oncall.Errorf(oncall.CodeInternal, "%s could not be sent again, by a defect of tocsin; nothing was changed", key)
		}
		return Resent{}, err
	case dec.Refused:
		return Resent{Refused: true, Reply: dec.Reply}, nil
	}
	out := Resent{Reply: dec.Reply}
	for _, again := range dec.Deliveries {
		if again.Endpoint == d.Endpoint && again.Kind == d.Kind {
			out.Key = again.Key
		}
	}
	s.log.InfoContext(ctx, "acted", "incident", d.Incident, "act", "resend", "delivery", key, "as", out.Key, "actor", actor, "via", via)
	return out, nil
}
