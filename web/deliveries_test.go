package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// outbox is a log with a delivery that ended, msg_old, and one that waits, msg_queued.
type outbox struct {
	resent []string // key, actor, way and identity of each wish
	tested []oncall.TestPage
	filter oncall.DeliveryFilter
	many   bool // the list is longer than a page
}

func old() oncall.Delivery {
	return oncall.Delivery{Key: "msg_old", Incident: 42, Endpoint: "page:phone/0", Kind: oncall.KindTriggered, Target: "user ana", User: "ana",
		State: oncall.DeliveryRefused, Attempts: 2, CreatedAt: began, FirstAttemptAt: began, DoneAt: began.Add(time.Second), Status: 401,
		Error: "refused with 401 Unauthorized", Body: []byte(`{"type":"incident.triggered","data":{"page":{"ack_url":"http://tocsin.example/hooks/ack/abc.def"}}}`)}
}

func (o *outbox) Log(_ context.Context, f oncall.DeliveryFilter) ([]oncall.Delivery, error) {
	o.filter = f
	if f.Before == "msg_none" {
		return nil, oncall.Errorf(oncall.CodeNotFound, "there is no delivery msg_none")
	}
	d := old()
	d.Body = nil
	list := []oncall.Delivery{d}
	for o.many && len(list) < f.Limit {
		list = append(list, d)
	}
	return list, nil
}

func (*outbox) Delivery(_ context.Context, key string) (notifier.Logged, error) {
	if key != "msg_old" {
		return notifier.Logged{}, oncall.Errorf(oncall.CodeNotFound, "there is no delivery %s", key)
	}
	return notifier.Logged{Delivery: old(), Attempts: []oncall.Attempt{
		{At: began, Took: time.Second, Number: 1, Outcome: oncall.OutcomeRetry, Status: 503, Error: "answered 503 Service Unavailable", Excerpt: "<b>busy</b>", RetryAfter: time.Second},
		{At: began.Add(time.Second), Number: 2, Outcome: oncall.OutcomeRefused, Status: 401, Error: "refused with 401 Unauthorized",
			Sent: &oncall.Sent{Method: "POST", URL: "https://sms.example/…", Headers: map[string]string{"webhook-signature": "<masked>"}}},
	}}, nil
}

func (o *outbox) Resend(_ context.Context, key, actor, via, request string) (notifier.Resent, error) {
	switch key {
	case "msg_old":
		o.resent = append(o.resent, strings.Join([]string{key, actor, via, request}, "|"))
		return notifier.Resent{Key: "msg_new", Reply: "msg_old is sent again, as msg_new"}, nil
	case "msg_queued":
		return notifier.Resent{Refused: true, Reply: "msg_queued is still on its way"}, nil
	}
	return notifier.Resent{}, oncall.Errorf(oncall.CodeNotFound, "there is no delivery %s", key)
}

func (*outbox) List(context.Context) ([]notifier.EndpointView, error) {
	return []notifier.EndpointView{
		{Endpoint: "page:cy-phone/0", Kind: "page", Receivers: []string{"cy-phone"}, Configured: true, Circuit: notifier.CircuitClosed},
		{Endpoint: "page:phone/0", Kind: "page", Receivers: []string{"phone"}, Configured: true, Waiting: 3, InFlight: 1, OldestSince: began, NextAt: began, HeldUntil: began,
			Circuit: notifier.CircuitOff, CircuitWhy: "it answered 410", LastSuccess: began, LastFailure: began, Failure: "answered 410 Gone", FailedStatus: 410,
			Warning: "sms.example resolves to 10.0.0.1"},
	}, nil
}

func (o *outbox) Test(_ context.Context, t oncall.TestPage) ([]notifier.Tested, error) {
	if t.Receiver != "phone" {
		return nil, oncall.Errorf(oncall.CodeNotFound, "there is no receiver %q: did you mean \"phone\"?", t.Receiver)
	}
	o.tested = append(o.tested, t)
	return []notifier.Tested{{Endpoint: "page:phone/0", Key: "msg_test_1", State: "delivered",
		Attempts: []oncall.Attempt{{At: began, Took: time.Second, Number: 1, Outcome: oncall.OutcomeDelivered, Status: 204}}}}, nil
}

func outboxed(t *testing.T, o *outbox) http.Handler {
	return site(t, newMemory(), func(x *Options) { x.Endpoints = o }).Handler()
}

func TestThePagesOfDeliveries(t *testing.T) {
	h := outboxed(t, &outbox{many: true})
	for target, want := range map[string][]string{
		"/deliveries":                         {"triggered to user ana", "page:phone/0", `<span class="muted">refused with 401`, `href="?before=msg_old"`, `<option>refused</option>`},
		"/deliveries?state=refused&incident=": {"<option selected>refused</option>", "before=msg_old&amp;incident=&amp;state=refused"},
		"/deliveries/msg_old":                 {"refused with 401", "&lt;b&gt;busy&lt;/b&gt;", "POST https://sms.example/…", "webhook-signature: &lt;masked&gt;", ">Send again<", "/hooks/ack/&lt;secret&gt;"},
		"/endpoints":                          {"it answered 410", "sms.example resolves to 10.0.0.1", "3 waiting", `http-equiv="refresh"`, `href="endpoints?test"`, ">ready<", ">off<"},
		"/endpoints?test":                     {"<option>phone</option>", "Send the test page"},
		"/incidents/42":                       {`href="../deliveries?incident=42"`},
	} {
		rec := ask(h, "GET", target, "")
		if rec.Code != 200 {
			t.Errorf("%s: %d", target, rec.Code)
		}
		for _, s := range want {
			if !strings.Contains(rec.Body.String(), s) {
				t.Errorf("%s does not show %q", target, s)
			}
		}
		if strings.Contains(rec.Body.String(), "abc.def") {
			t.Errorf("%s shows the token of a link", target)
		}
	}
	for target, status := range map[string]int{"/deliveries?state=lost": 400, "/deliveries?before=msg_none": 400, "/deliveries/msg_none": 404} {
		if rec := ask(h, "GET", target, ""); rec.Code != status {
			t.Errorf("%s: %d, want %d", target, rec.Code, status)
		}
	}
	body := ask(h, "GET", "/endpoints", "").Body.String()
	if strings.Contains(ask(h, "GET", "/endpoints?test", "").Body.String(), "http-equiv") {
		t.Error("the page takes away what is typed into the form of a test page")
	}
	if strings.Index(body, "page:phone/0") > strings.Index(body, "page:cy-phone/0") {
		t.Error("what somebody must look at does not come first")
	}
}

func TestPressesAboutDeliveries(t *testing.T) {
	o := &outbox{}
	h := outboxed(t, o)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	if rec := ask(h, "POST", "/deliveries/msg_old/resend", "user=ana", form...); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../msg_new" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	if rec := ask(h, "POST", "/endpoints", "receiver=phone&note=ring&user=bo", form...); rec.Code != 200 || !strings.Contains(rec.Body.String(), "taken by 1 of 1 endpoint") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask(h, "POST", "/endpoints", "receiver=fone", form...); rec.Code != 400 || !strings.Contains(rec.Body.String(), "did you mean") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask(h, "POST", "/deliveries/msg_old/resend", "", append(form, "Sec-Fetch-Site", "cross-site")...); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", rec.Code)
	}
	if rec := ask(h, "POST", apiBase+"/deliveries/msg_old/resend", `{"user":"cy"}`, idempotencyKey, "k"); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if got := strings.Join(o.resent, " "); got != "msg_old|ana|console| msg_old|cy|api|api resend cy k" {
		t.Errorf("wishes %s", got)
	}
	if len(o.tested) != 1 || o.tested[0].Actor != "bo" || o.tested[0].Note != "ring" {
		t.Errorf("tests %+v", o.tested)
	}
}

func TestTheLinkOfATestPage(t *testing.T) {
	m := newMemory()
	d, _ := oncall.TestPage{Receiver: "phone", Actor: "ana", At: began}.Make("page:phone/0", m.policy)
	h := site(t, m, nil).Handler()
	for _, method := range []string{"GET", "POST"} {
		if rec := ask(h, method, "/hooks/ack/"+oncall.LinkToken(m.policy.LinkKey, d.Key), ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), "test page") {
			t.Errorf("%s: %d %s", method, rec.Code, rec.Body)
		}
	}
	if strings.Contains(string(d.Body), oncall.LinkToken(m.policy.LinkKey, d.Key)) == false {
		t.Error("the page has no link")
	}
}

func TestAProcessThatSendsNothing(t *testing.T) {
	h := site(t, newMemory(), nil).Handler()
	if rec := ask(h, "GET", apiBase+"/endpoints", ""); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", rec.Code)
	}
}
