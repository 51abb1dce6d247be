package notifier_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/notifier"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

func (r *rig) endpoints(reg prometheus.Registerer) *notifier.Endpoints {
	return notifier.NewEndpoints(notifier.EndpointOptions{Store: r.store, Deliveries: r.del, Registerer: reg,
		Policy: func() oncall.Policy { return r.policy }})
}

func (r *rig) view(s *notifier.Endpoints, e oncall.Endpoint) notifier.EndpointView {
	r.t.Helper()
	list, err := s.List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range list {
		if v.Endpoint == e {
			return v
		}
	}
	r.t.Fatalf("%s is not listed in %+v", e, list)
	return notifier.EndpointView{}
}

const anaPhone = oncall.Endpoint("page:ana-phone/0")

// The state of an endpoint: well, held by Retry-After, failing, off, and well again.
func TestEndpointsAreVisible(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		reg := prometheus.NewRegistry()
		s := r.endpoints(reg)
		r.pass(time.Millisecond)
		if v := r.view(s, anaPhone); v.Circuit != notifier.CircuitClosed || !v.Configured || !v.LastSuccess.IsZero() || fmt.Sprint(v.Receivers) != "[ana-phone]" {
			t.Errorf("before anything was sent: %+v", v)
		}
		r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
			if strings.Contains(p.Path, "ana-phone") {
				return pagertest.Limited(20 * time.Second)
			}
			return pagertest.Fault{}
		})
		r.fire("session")
		r.pass(time.Second)
		v := r.view(s, anaPhone)
		if v.Circuit != notifier.CircuitTrying || v.Waiting != 1 || v.InFlight != 0 || v.HeldUntil.Before(time.Now()) || v.FailedStatus != 429 || v.Failure == "" || v.OldestSince.IsZero() {
			t.Errorf("held: %+v", v)
		}
		want := `
# HELP tocsin_delivery_endpoints Endpoints that this process has trouble with, by kind and state: one_at_a_time, off, held, or warned of by a probe.
# TYPE tocsin_delivery_endpoints gauge
tocsin_delivery_endpoints{endpoint="page",state="held"} 1
tocsin_delivery_endpoints{endpoint="page",state="one_at_a_time"} 1
# HELP tocsin_delivery_queue_length Deliveries that wait for an endpoint or are being sent, by kind of endpoint.
# TYPE tocsin_delivery_queue_length gauge
tocsin_delivery_queue_length{endpoint="page"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "tocsin_delivery_endpoints", "tocsin_delivery_queue_length"); err != nil {
			t.Error(err)
		}
		r.far.FailWith(func(pagertest.Page) pagertest.Fault { return pagertest.Fault{Status: http.StatusGone} })
		r.pass(30 * time.Second)
		if v := r.view(s, anaPhone); v.Circuit != notifier.CircuitOff || !strings.Contains(v.CircuitWhy, "410") || v.Waiting != 0 {
			t.Errorf("off: %+v", v)
		}
		r.far.FailWith(func(pagertest.Page) pagertest.Fault { return pagertest.Fault{} })
		r.apply(r.policy)
		r.pass(time.Second)
		r.fire("other")
		r.pass(time.Second)
		if v := r.view(s, anaPhone); v.Circuit != notifier.CircuitClosed || v.LastSuccess.IsZero() || v.LastFailure.After(v.LastSuccess) {
			t.Errorf("well again: %+v", v)
		}
		r.halt()
		if v := r.view(s, anaPhone); v.Circuit != notifier.CircuitHere || v.LastSuccess.IsZero() {
			t.Errorf("where another process sends: %+v", v)
		}
	})
}

// A delivery is in the log with what was asked, and can be sent again once it has ended.
func TestTheLogAndSendingAgain(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := r.endpoints(nil)
		r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
			if strings.Contains(p.Path, "ana-phone") {
				return pagertest.NotFound
			}
			return pagertest.Fault{}
		})
		r.fire("session")
		r.pass(time.Second)
		list, err := s.Log(t.Context(), oncall.DeliveryFilter{Endpoint: anaPhone, Limit: 10})
		if err != nil || len(list) != 1 || list[0].State != oncall.DeliveryRefused {
			t.Fatalf("%+v, %v", list, err)
		}
		key := list[0].Key
		one, err := s.Delivery(t.Context(), key)
		if err != nil || len(one.Attempts) != 1 || len(one.Delivery.Body) == 0 {
			t.Fatalf("%+v, %v", one, err)
		}
		if a := one.Attempts[0]; a.Status != 404 || a.Sent == nil || a.Sent.URL != "https://pager.example/…" {
			t.Errorf("%+v asked %+v", a, a.Sent)
		}
		for _, e := range r.incident(1).Timeline { // what is shown elsewhere has no room for it
			if v := oncall.View(r.incident(1), ""); e.Attempt != nil && (len(v.Timeline) == 0 || strings.Contains(fmt.Sprint(v.Deliveries[0].Attempts), "pager.example/…")) {
				t.Error("the incident's view carries requests")
			}
		}
		r.far.FailWith(func(pagertest.Page) pagertest.Fault { return pagertest.Fault{} })
		done, err := s.Resend(t.Context(), key, "chen", "api", "once")
		if err != nil || done.Refused || done.Key == "" || done.Key == key {
			t.Fatalf("%+v, %v", done, err)
		}
		r.pass(time.Second)
		if again, err := s.Resend(t.Context(), key, "chen", "api", "once"); err != nil || again.Reply != notifier.AlreadyDone {
			t.Errorf("the same request: %+v, %v", again, err)
		}
		r.wantKinds("ana-phone/0", "triggered")
		sent, err := s.Delivery(t.Context(), done.Key)
		if err != nil || sent.Delivery.State != oncall.DeliveryDelivered || string(sent.Delivery.Body) != string(one.Delivery.Body) {
			t.Errorf("%+v, %v", sent.Delivery, err)
		}
		r.act(1, oncall.CmdAcknowledge, "")
		if no, err := s.Resend(t.Context(), key, "chen", "api", ""); err != nil || !no.Refused {
			t.Errorf("a page that nobody needs: %+v, %v", no, err)
		}
		if _, err := s.Resend(t.Context(), "msg_none", "chen", "api", ""); oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Errorf("no such delivery: %v", err)
		}
		r.pass(time.Second)
	})
}

// A test page goes the way of a real one, in its shape, and leaves nothing behind.
func TestTestPages(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := r.endpoints(nil)
		asked := 0
		r.far.FailWith(func(pagertest.Page) pagertest.Fault {
			if asked++; asked == 1 {
				return pagertest.Busy
			}
			return pagertest.Fault{}
		})
		all, err := s.Test(t.Context(), oncall.TestPage{Receiver: "ana-phone", Note: "does it ring?", Actor: "chen"})
		if err != nil || len(all) != 1 || len(all[0].Attempts) != 2 || all[0].State != "delivered" || all[0].Attempts[0].Status != 503 {
			t.Fatalf("%+v, %v", all, err)
		}
		pages := r.far.Pages()
		if len(pages) != 1 || pages[0].Type != "incident.triggered" || !strings.Contains(string(pages[0].Body), `"title":"TEST: does it ring?"`) ||
			!strings.Contains(string(pages[0].Body), `"test":true`) || !oncall.IsTestKey(pages[0].Key) {
			t.Errorf("%+v", pages)
		}
		if list, err := r.acts.Incidents(t.Context(), oncall.IncidentFilter{Limit: 10}); err != nil || len(list) != 0 {
			t.Errorf("a test opened %+v, %v", list, err)
		}
		if _, err := s.Test(t.Context(), oncall.TestPage{Receiver: "ana-phon"}); oncall.ErrorCode(err) != oncall.CodeNotFound || !strings.Contains(err.Error(), `did you mean "ana-phone"?`) {
			t.Errorf("a receiver that is not there: %v", err)
		}
		if _, err := s.Test(t.Context(), oncall.TestPage{Receiver: "ana-phone", Note: strings.Repeat("x", 600)}); oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("a long note: %v", err)
		}
		r.far.FailWith(func(pagertest.Page) pagertest.Fault { return pagertest.Limited(time.Hour) })
		began := time.Now()
		if all, err := s.Test(t.Context(), oncall.TestPage{Receiver: "ana-phone"}); err != nil || len(all[0].Attempts) != 1 || time.Since(began) > time.Second {
			t.Errorf("a pause of an hour is waited for: %+v, %v", all, err)
		}
	})
}

type probed map[oncall.Endpoint]string

func (probed) Send(context.Context, notifier.Message) oncall.Attempt { return oncall.Attempt{} }
func (p probed) Probe(context.Context) map[oncall.Endpoint]string    { return p }

func TestProbes(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := r.endpoints(nil)
		ctx, cancel := context.WithCancel(t.Context())
		r.ended.Go(func() { s.Run(ctx) })
		defer cancel()
		r.del.Apply(r.policy, map[string]notifier.Sender{"page": probed{anaPhone: "its name resolves to 10.0.0.1"}})
		s.Probe()
		r.pass(time.Second)
		if v := r.view(s, anaPhone); v.Warning != "its name resolves to 10.0.0.1" {
			t.Errorf("%+v", v)
		}
		r.apply(r.policy)
		r.pass(2 * time.Hour)
		cancel()
	})
}
