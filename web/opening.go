package web

import (
	"context"
	"errors"
	"io"
	"net/http"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Openings is the way in for people who open incidents by hand: *notifier.Acts.
type Openings interface {
	// Open opens an incident, once per request ("" for requests without an identity). Codes: invalid, not_found,
	// conflict (the request was another one's), unavailable.
	Open(ctx context.Context, o oncall.Opening, request string) (notifier.Opened, error)
}

// idempotencyKey is the header by which a caller gives a request its identity.
const idempotencyKey = "Idempotency-Key"

// openAction names the fields of an opening.
var openAction = action{kind: "open", fields: []string{"title", "escalation", "page", "severity", "details"}}

// openIncident opens an incident by hand. A repeat with the same Idempotency-Key finds what it opened.
func (w *Web) openIncident(rw http.ResponseWriter, r *http.Request) {
	if w.o.Openings == nil {
		w.fail(rw, r, oncall.Errorf(oncall.CodeUnavailable, "incidents cannot be opened here"))
		return
	}
	o, err := w.readOpening(r, http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	request, err := requestID(r, "open", o.Actor)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	done, err := w.o.Openings.Open(r.Context(), o, request)
	if refusal, ok := errors.AsType[*oncall.Error](err); ok && refusal.Code == oncall.CodeNotFound {
		err = oncall.Errorf(oncall.CodeInvalid, "%s", refusal.Message) // the path is right, what the body names is not
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	status := http.StatusOK
	if done.New {
		status = http.StatusCreated
	}
	w.writeJSON(rw, status, acted{IncidentView: w.view(done.Incident), Reply: done.Reply})
}

func (w *Web) readOpening(r *http.Request, from io.Reader) (oncall.Opening, error) {
	o := oncall.Opening{Via: "api"}
	b, err := readBody(from, openAction)
	if err != nil {
		return o, err
	}
	text := map[string]string{}
	for _, field := range append([]string{"user"}, openAction.fields...) {
		if text[field], err = b.text(field); err != nil {
			return o, err
		}
	}
	o.Title, o.Details, o.Severity, o.Escalation, o.User = text["title"], text["details"], text["severity"], text["escalation"], text["page"]
	if o.Escalation == "" && o.User == "" {
		return o, oncall.Errorf(oncall.CodeInvalid, `who is to be told? Give "escalation", the name of one, or "page", the name of a user`)
	}
	o.Actor, err = w.actor(r, text["user"], anonymous)
	return o, err
}
