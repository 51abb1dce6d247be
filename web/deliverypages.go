package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tocsin/notifier"
	"tocsin/oncall"
)

// shownDeliveries bounds one page of the log.
const shownDeliveries = 50

// deliveriesPage is the log of deliveries.
type deliveriesPage struct {
	layout
	List     []oncall.Delivery
	States   []oncall.DeliveryState
	State    oncall.DeliveryState // "" for all
	Incident int64                // 0 for all
	Endpoint oncall.Endpoint      // "" for all
	Older    template.URL         // query of the next page, "" for none
	Wrong    string               // what is wrong with the filter
}

// deliveryPage is one delivery.
type deliveryPage struct {
	layout
	Delivery oncall.Delivery
	Attempts []oncall.Attempt
	Body     string
	Said     string
	Again    bool // it has come to an end, and could be sent again
	AskName  bool
	Users    []string
}

// endpointsPage is the state of all endpoints.
type endpointsPage struct {
	layout
	List      []notifier.EndpointView
	Receivers []string
	Testing   bool   // the form for a test page shows
	Chosen    string // the receiver that was tested
	Results   []notifier.Tested
	Said      string
	AskName   bool
	Users     []string
}

func (w *Web) deliveryPages() []route {
	return []route{
		{"GET", "/deliveries", w.withEndpoints(w.showDeliveries)},
		{"GET", "/deliveries/{key}", w.withEndpoints(w.showDelivery)},
		{"POST", "/deliveries/{key}/resend", w.withEndpoints(w.pressedResend)},
		{"GET", "/endpoints", w.withEndpoints(w.showEndpoints)},
		{"POST", "/endpoints", w.withEndpoints(w.pressedTest)},
	}
}

func (w *Web) showDeliveries(rw http.ResponseWriter, r *http.Request) {
	p := deliveriesPage{layout: w.layout(r, "Deliveries"), States: oncall.DeliveryStates}
	f, err := deliveryFilter(r)
	status := http.StatusOK
	if err == nil {
		p.Incident, p.Endpoint = f.Incident, f.Endpoint
		if len(f.States) == 1 {
			p.State = f.States[0]
		}
		f.Limit = shownDeliveries + 1
		p.List, err = w.log(r.Context(), f)
	}
	if refusal, ok := errors.AsType[*oncall.Error](err); ok && refusal.Code == oncall.CodeInvalid {
		status, p.Wrong = http.StatusBadRequest, refusal.Message
	} else if err != nil {
		w.fail(rw, r, err)
		return
	}
	if len(p.List) > shownDeliveries {
		p.List = p.List[:shownDeliveries]
		q := r.URL.Query()
		q.Set("before", p.List[shownDeliveries-1].Key)
		p.Older = template.URL(q.Encode())
	}
	w.pages.render(rw, status, "deliveries.html", p)
}

func (w *Web) showDelivery(rw http.ResponseWriter, r *http.Request) {
	w.drawDelivery(rw, r, http.StatusOK, "")
}

func (w *Web) drawDelivery(rw http.ResponseWriter, r *http.Request, status int, said string) {
	d, err := w.o.Endpoints.Delivery(r.Context(), r.PathValue("key"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	p := deliveryPage{layout: w.layout(r, "Delivery "+d.Delivery.Key), Delivery: d.Delivery, Attempts: d.Attempts, Said: said,
		Again: d.Delivery.State.Final() && d.Delivery.State != oncall.DeliveryDropped}
	slices.Reverse(p.Attempts)
	if body := detailOf(d).Body; body != nil {
		var b bytes.Buffer
		if json.Indent(&b, body, "", "  ") == nil {
			p.Body = b.String()
		}
	}
	p.AskName, p.Users = w.askName(r)
	w.pages.render(rw, status, "delivery.html", p)
}

// askName reports whether a form must ask who acts, and proposes names.
func (w *Web) askName(r *http.Request) (bool, []string) {
	if _, required := w.o.User(r); required {
		return false, nil
	}
	return true, slices.Sorted(maps.Keys(w.o.Policy().Users))
}

// presser reads a form and says who sent it.
func (w *Web) presser(rw http.ResponseWriter, r *http.Request) (actor string, err error) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "", tooLarge
		}
		return "", oncall.Errorf(oncall.CodeInvalid, "the form could not be read")
	}
	return w.actor(r, strings.TrimSpace(r.PostForm.Get("user")), "console")
}

func (w *Web) pressedResend(rw http.ResponseWriter, r *http.Request) {
	actor, err := w.presser(rw, r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	done, err := w.o.Endpoints.Resend(r.Context(), r.PathValue("key"), actor, "console", "")
	switch {
	case err != nil:
		w.fail(rw, r, err)
	case done.Refused:
		w.drawDelivery(rw, r, http.StatusConflict, done.Reply)
	default:
		rw.Header().Set("Location", "../"+url.PathEscape(done.Key)) // relative: a proxy may have cut the path
		rw.WriteHeader(http.StatusSeeOther)
	}
}

func (w *Web) showEndpoints(rw http.ResponseWriter, r *http.Request) {
	p := endpointsPage{layout: w.layout(r, "Endpoints"), Testing: r.URL.Query().Has("test")}
	if !p.Testing { // it would take away what somebody is typing
		p.Refresh = 30
	}
	w.drawEndpoints(rw, r, http.StatusOK, p)
}

func (w *Web) drawEndpoints(rw http.ResponseWriter, r *http.Request, status int, p endpointsPage) {
	var err error
	if p.List, err = w.o.Endpoints.List(r.Context()); err != nil {
		w.fail(rw, r, err)
		return
	}
	slices.SortStableFunc(p.List, func(a, b notifier.EndpointView) int { return troubled(b) - troubled(a) })
	for name, receiver := range w.o.Policy().Receivers {
		if receiver.Of == "" && len(receiver.All()) > 0 {
			p.Receivers = append(p.Receivers, name)
		}
	}
	slices.Sort(p.Receivers)
	p.AskName, p.Users = w.askName(r)
	w.pages.render(rw, status, "endpoints.html", p)
}

// troubled puts first what somebody must look at.
func troubled(v notifier.EndpointView) int {
	switch {
	case v.Circuit == notifier.CircuitOff || v.Warning != "":
		return 2
	case v.Circuit == notifier.CircuitTrying || !v.HeldUntil.IsZero():
		return 1
	}
	return 0
}

// pressedTest sends a test page. It shows what came of it on the page itself: a reload asks before it sends another.
func (w *Web) pressedTest(rw http.ResponseWriter, r *http.Request) {
	actor, err := w.presser(rw, r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	p := endpointsPage{layout: w.layout(r, "Endpoints"), Testing: true, Chosen: r.PostForm.Get("receiver")}
	p.Results, err = w.o.Endpoints.Test(r.Context(), oncall.TestPage{Receiver: p.Chosen, Note: strings.TrimSpace(r.PostForm.Get("note")), Actor: actor})
	refusal, refused := errors.AsType[*oncall.Error](err)
	switch {
	case refused && refusal.Code != oncall.CodeUnavailable && refusal.Code != oncall.CodeInternal:
		p.Said = refusal.Message
		w.drawEndpoints(rw, r, http.StatusBadRequest, p)
	case err != nil:
		w.fail(rw, r, err)
	default:
		arrived := 0
		for _, x := range p.Results {
			if x.State == string(oncall.OutcomeDelivered) || x.State == string(oncall.OutcomeAccepted) {
				arrived++
			}
		}
		p.Said = fmt.Sprintf("A test page was sent to %s: taken by %s of %s.", p.Chosen, strconv.Itoa(arrived), countOf(len(p.Results), "endpoint"))
		w.drawEndpoints(rw, r, http.StatusOK, p)
	}
}

// confirmation is what a far end that reports later has said of a delivery, "" where it is none of those.
func confirmation(d oncall.Delivery) string {
	switch {
	case d.NeverConfirmed(now()):
		return "never confirmed: nobody knows whether it arrived"
	case d.State == oncall.DeliveryAccepted:
		return "not confirmed yet"
	case d.State == oncall.DeliveryDelivered && d.Confirmation == oncall.Confirmed:
		return "confirmed"
	}
	return ""
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
