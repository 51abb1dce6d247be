package web

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Endpoints is how people look at what is sent where: *notifier.Endpoints.
type Endpoints interface {
	// Log lists deliveries without bodies, newest first; not_found where f.Before names none.
	Log(ctx context.Context, f oncall.DeliveryFilter) ([]oncall.Delivery, error)
	// Delivery returns one delivery with its body and attempts, or not_found.
	Delivery(ctx context.Context, key string) (notifier.Logged, error)
	// Resend sends a delivery again as a new one, once per request. A refusal is no error.
	Resend(ctx context.Context, key, actor, via, request string) (notifier.Resent, error)
	// List returns the state of all endpoints.
	List(ctx context.Context) ([]notifier.EndpointView, error)
	// Test sends a test page to a receiver and waits for what becomes of it; not_found, invalid.
	Test(ctx context.Context, t oncall.TestPage) ([]notifier.Tested, error)
}

// deliveryDetail is one delivery with all that is on record of it.
type deliveryDetail struct {
	oncall.Delivery
	Body     json.RawMessage  `json:"body,omitempty"` // as sent, but for the token of its link
	Attempts []oncall.Attempt `json:"attempts"`
}

// resent is the answer to a wish to send again.
type resent struct {
	Key   string `json:"key"`
	Reply string `json:"reply"`
}

// tested is what a test page came to.
type tested struct {
	Receiver string            `json:"receiver"`
	Results  []notifier.Tested `json:"results"`
}

var (
	resendAction = action{kind: "resend"}
	testAction   = action{kind: "test", fields: []string{"note"}}
	// linkToken is the part of an acknowledge link, and of those beside it, that acts.
	linkToken = regexp.MustCompile(`(/hooks/(?:ack|escalate|twilio)/)[^\s"'<>\\]+`)
)

func (w *Web) deliveryRoutes() []route {
	one := apiBase + "/deliveries/{key}"
	return []route{
		{"GET", apiBase + "/deliveries", w.withEndpoints(w.listDeliveries)},
		{"GET", one, w.withEndpoints(w.getDelivery)},
		{"POST", one + "/resend", w.withEndpoints(w.resendDelivery)},
		{"GET", apiBase + "/endpoints", w.withEndpoints(w.listEndpoints)},
		{"POST", apiBase + "/receivers/{name}/test", w.withEndpoints(w.testReceiver)},
	}
}

// withEndpoints answers for a process that sends nothing.
func (w *Web) withEndpoints(h http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if w.o.Endpoints == nil {
			w.fail(rw, r, oncall.Errorf(oncall.CodeUnavailable, "nothing is sent from here"))
			return
		}
		h(rw, r)
	}
}

func (w *Web) listDeliveries(rw http.ResponseWriter, r *http.Request) {
	f, err := deliveryFilter(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	list, err := w.log(r.Context(), f)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if list == nil {
		list = []oncall.Delivery{}
	}
	w.writeJSON(rw, http.StatusOK, list)
}

// log lists deliveries. A key to go on from that is not there is the caller's mistake, not a path that is wrong.
func (w *Web) log(ctx context.Context, f oncall.DeliveryFilter) ([]oncall.Delivery, error) {
	list, err := w.o.Endpoints.Log(ctx, f)
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		err = oncall.Errorf(oncall.CodeInvalid, "before: there is no delivery %s", f.Before)
	}
	return list, err
}

func deliveryFilter(r *http.Request) (oncall.DeliveryFilter, error) {
	f := oncall.DeliveryFilter{Limit: 100}
	for key, values := range r.URL.Query() {
		for _, v := range values {
			if v == "" {
				continue // a form sends its empty fields too
			}
			var err error
			switch key {
			case "incident":
				f.Incident, err = parseNumber(v)
			case "endpoint":
				f.Endpoint = oncall.Endpoint(v)
			case "before":
				f.Before = v
			case "state":
				f.States, err = appendDeliveryStates(f.States, v)
			case "limit":
				if f.Limit, err = strconv.Atoi(v); err != nil || f.Limit < 1 || f.Limit > maxList {
					err = oncall.Errorf(oncall.CodeInvalid, "limit %q is no number from 1 to %d", v, maxList)
				}
			default:
				err = oncall.Errorf(oncall.CodeInvalid, "unknown parameter %q; known: incident, endpoint, state, limit, before", key)
			}
			if err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

func appendDeliveryStates(to []oncall.DeliveryState, list string) ([]oncall.DeliveryState, error) {
	for name := range strings.SplitSeq(list, ",") {
		s := oncall.DeliveryState(strings.TrimSpace(name))
		if !slices.Contains(oncall.DeliveryStates, s) {
			known := make([]string, len(oncall.DeliveryStates))
			for i, k := range oncall.DeliveryStates {
				known[i] = string(k)
			}
			return nil, oncall.Errorf(oncall.CodeInvalid, "unknown state %q; known: %s", s, strings.Join(known, ", "))
		}
		to = append(to, s)
	}
	return to, nil
}

func (w *Web) getDelivery(rw http.ResponseWriter, r *http.Request) {
	d, err := w.o.Endpoints.Delivery(r.Context(), r.PathValue("key"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, detailOf(d))
}

func detailOf(d notifier.Logged) deliveryDetail {
	v := deliveryDetail{Delivery: d.Delivery, Attempts: d.Attempts}
	if v.Attempts == nil {
		v.Attempts = []oncall.Attempt{}
	}
	if body := linkToken.ReplaceAll(d.Delivery.Body, []byte("${1}<secret>")); json.Valid(body) {
		v.Body = body
	}
	return v
}

func (w *Web) resendDelivery(rw http.ResponseWriter, r *http.Request) {
	request, err := identityOf(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	b, err := readBody(http.MaxBytesReader(rw, r.Body, maxBody), resendAction)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	given, err := b.text("user")
	if err == nil {
		given, err = w.actor(r, given, anonymous)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if request != "" { // two people may choose the same key
		request = "api resend " + given + " " + request
	}
	done, err := w.o.Endpoints.Resend(r.Context(), r.PathValue("key"), given, "api", request)
	switch {
	case err != nil:
		w.fail(rw, r, err)
	case done.Refused:
		w.fail(rw, r, oncall.Errorf(oncall.CodeConflict, "%s", done.Reply))
	default:
		w.writeJSON(rw, http.StatusOK, resent{done.Key, done.Reply})
	}
}

// identityOf is what the caller calls the request, "" for none.
func identityOf(r *http.Request) (string, error) {
	request := r.Header.Get(idempotencyKey)
	if len(request) > 200 || strings.ContainsFunc(request, unicode.IsControl) {
		return "", oncall.Errorf(oncall.CodeInvalid, "%s must be at most 200 bytes without control characters", idempotencyKey)
	}
	return request, nil
}

func (w *Web) listEndpoints(rw http.ResponseWriter, r *http.Request) {
	list, err := w.o.Endpoints.List(r.Context())
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, list)
}

func (w *Web) testReceiver(rw http.ResponseWriter, r *http.Request) {
	t := oncall.TestPage{Receiver: r.PathValue("name")}
	b, err := readBody(http.MaxBytesReader(rw, r.Body, maxBody), testAction)
	if err == nil {
		t.Note, err = b.text("note")
	}
	if err == nil {
		t.Actor, err = b.text("user")
	}
	if err == nil {
		t.Actor, err = w.actor(r, t.Actor, anonymous)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	results, err := w.o.Endpoints.Test(r.Context(), t)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, tested{t.Receiver, results})
}
