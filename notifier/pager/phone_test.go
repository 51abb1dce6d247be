package pager_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/sendertest"
	"tocsin/oncall"
)

const (
	twilioAccount = "AC00000000000000000000000000000001"
	twilioToken   = "hidden-twilio-token"
	ntfyToken     = "tk_hidden_ntfy_token"
)

// paged is a message whose body is a page about an incident.
func paged(endpoint oncall.Endpoint, key string, kind oncall.DeliveryKind, change func(*oncall.Page)) notifier.Message {
	m := told(endpoint, key, kind)
	p := oncall.Page{Type: "incident." + string(kind), Version: oncall.PageVersion, Data: oncall.PageData{
		IncidentView: oncall.View(incident(key, 2), "https://tocsin.example"),
		Page:         oncall.PageInfo{Target: "user ana", AckURL: "https://tocsin.example/hooks/ack/" + oncall.LinkToken([]byte("link"), m.Delivery.Key)},
	}}
	if change != nil {
		change(&p)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	m.Delivery.Body = b
	return m
}

func address(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newPhone(t testing.TB, api string, voice bool, transport http.RoundTripper) (*pager.Phone, oncall.Endpoint) {
	t.Helper()
	e := oncall.Endpoint("sms:ana/0")
	if voice {
		e = "call:ana/0"
	}
	s, err := pager.NewPhone(map[oncall.Endpoint]pager.Twilio{e: {URL: address(t, api), Account: twilioAccount, Token: twilioToken,
		From: "+15005550006", To: "+34600123456", Voice: voice, Machine: true, Language: "en-US", Ring: 25 * time.Second,
		HTTP: outgoing.DefaultSettings().HTTP}}, pager.PhoneOptions{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, e
}

func TestPhoneConformance(t *testing.T) {
	for name, voice := range map[string]bool{"call": true, "sms": false} {
		t.Run(name, func(t *testing.T) {
			sendertest.Run(t, func(t *testing.T) sendertest.Harness {
				far := pagertest.NewTwilio(twilioAccount, twilioToken)
				front := sendertest.NewFront(far)
				s, e := newPhone(t, listen(t, front), voice, nil)
				return sendertest.Harness{
					Sender: s, Arrived: far.Arrived(), Front: front, Success: oncall.OutcomeAccepted, Keyless: true,
					Normal: func(body string) string {
						return strings.NewReplacer("attempt%3D1", "", "attempt%3D2", "").Replace(body)
					},
					Behave:   func(b sendertest.Behaviour) { far.FailWith(func() pagertest.Fault { return faultOf(b) }) },
					Message:  func(key string) notifier.Message { return paged(e, key, oncall.KindTriggered, nil) },
					Recorded: func() []string { return make([]string, len(far.Asked())) },
					Secrets:  []string{twilioToken},
				}
			})
		})
	}
}

func TestNtfyConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		far := pagertest.NewNtfy(ntfyToken)
		front := sendertest.NewFront(far)
		s, err := pager.NewNtfy(map[oncall.Endpoint]pager.NtfyConfig{"ntfy:ana/0": {URL: address(t, listen(t, front)), Topic: "hidden-topic", Token: ntfyToken,
			HTTP: outgoing.DefaultSettings().HTTP}}, pager.PhoneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return sendertest.Harness{
			Sender: s, Arrived: far.Arrived(), Front: front, Keyless: true,
			Behave:   func(b sendertest.Behaviour) { far.FailWith(func() pagertest.Fault { return faultOf(b) }) },
			Message:  func(key string) notifier.Message { return paged("ntfy:ana/0", key, oncall.KindTriggered, nil) },
			Recorded: func() []string { return make([]string, len(far.Messages())) },
			Secrets:  []string{ntfyToken, "hidden-topic"},
		}
	})
}

// TestSpoken: a call says what is wrong so that a voice can read it, twice, and is quiet about all but asking.
func TestSpoken(t *testing.T) {
	far := pagertest.NewTwilio(twilioAccount, twilioToken)
	s, e := newPhone(t, "https://api.twilio.com", true, far)
	a := s.Send(t.Context(), paged(e, "inc", oncall.KindTriggered, func(p *oncall.Page) {
		p.Data.Title = `Session memory at 82% on <b>node_1</b> & 250ms, 3GiB/s since #41 & "SessionMemoryHigh"`
	}))
	if a.Outcome != oncall.OutcomeAccepted || a.Remote == "" {
		t.Fatalf("%+v", a)
	}
	twiml := far.Asked()[0].Form.Get("Twiml")
	const text = "This is tocsin. critical. Incident 42. Session memory at 82 percent on b above node 1 b above and 250 milliseconds, 3 gibibytes per second since incident 41 and Session Memory High. 2 alerts are firing."
	if !strings.Contains(strings.ReplaceAll(twiml, "below ", ""), text) || strings.Count(twiml, "Incident 42") != 2 {
		t.Errorf("it says %s", twiml)
	}
	if s.Send(t.Context(), paged(e, "inc", oncall.KindResolved, nil)); len(far.Asked()) != 1 {
		t.Error("it rings for the end of an incident")
	}
	for _, p := range far.Problems() {
		t.Error(p)
	}
}

// TestSpokenDrill: a call of a drill is not taken for one of an incident, and offers nothing that a drill refuses.
func TestSpokenDrill(t *testing.T) {
	far := pagertest.NewTwilio(twilioAccount, twilioToken)
	s, e := newPhone(t, "https://api.twilio.com", true, far)
	s.Send(t.Context(), paged(e, "inc", oncall.KindTriggered, func(p *oncall.Page) { p.Data.Drill, p.Data.Severity = true, "" }))
	twiml := far.Asked()[0].Form.Get("Twiml")
	if !strings.Contains(twiml, "This is tocsin with a drill. Nothing is wrong. Drill 42 tries whether a call reaches you.") ||
		!strings.Contains(twiml, "Press 4 to acknowledge. Press 1 to hear this again.") || strings.Contains(twiml, "escalate") || strings.Contains(twiml, "Incident") {
		t.Errorf("it says %s", twiml)
	}
}

// TestWritten: an SMS keeps its number and what to reply, however long the title is.
func TestWritten(t *testing.T) {
	far := pagertest.NewTwilio(twilioAccount, twilioToken)
	s, e := newPhone(t, "https://api.twilio.com", false, far)
	for title, room := range map[string]int{"Memory at 82% – high": 306, strings.Repeat("memory ", 90): 306, strings.Repeat("память ", 90): 268, "bad \xff": 306} {
		before := len(far.Asked())
		s.Send(t.Context(), paged(e, "inc", oncall.KindTriggered, func(p *oncall.Page) { p.Data.Title = title }))
		body := far.Asked()[before].Form.Get("Body")
		if n := utf8.RuneCountInString(body); n > room || !strings.HasPrefix(body, "#42 CRITICAL: ") || !strings.Contains(body, `Reply "ack 42" https://`) {
			t.Errorf("%d characters: %s", n, body)
		}
	}
	s.Send(t.Context(), paged(e, "inc", oncall.KindAcknowledged, func(p *oncall.Page) { p.Data.AcknowledgedBy = "bo" }))
	if body := far.Asked()[4].Form.Get("Body"); body != "#42 acknowledged by bo: Session memory at 82%" {
		t.Error(body)
	}
	far.Fail(pagertest.Fault{Status: 400, Body: `{"code":21211,"message":"The 'To' number +34600123456 is not a valid phone number.","status":400}`})
	if a := s.Send(t.Context(), paged(e, "inc", oncall.KindTriggered, nil)); a.Outcome != oncall.OutcomeRefused || !strings.Contains(a.Error, "error 21211") {
		t.Errorf("%+v", a)
	}
	for _, p := range far.Problems() {
		t.Error(p)
	}
}
