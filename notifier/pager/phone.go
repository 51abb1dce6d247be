package pager

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

// PhoneOptions are what all entries of twilio_configs share.
type PhoneOptions struct {
	Version   string            // of tocsin, for User-Agent; "" is shown as "dev"
	Outgoing  outgoing.Policy   // what may be connected to
	Transport http.RoundTripper // replaces the network in tests; nil: as each entry's settings say
}

// Phone is the notifier.Sender for endpoints of the kinds "call" and "sms": Twilio. What it sends is accepted only; whether
// a person heard or got it Twilio reports later (PhoneHooks). Twilio has no place for a key, so a request whose outcome is
// unknown may call, or write, twice.
type Phone struct {
	of    map[oncall.Endpoint]*phone
	agent string
}

var _ notifier.Sender = (*Phone)(nil)

// phone is one entry, ready to be used. It never changes.
type phone struct {
	Twilio
	options outgoing.Options
	outgoing.Exchange
}

// NewPhone makes a sender for some entries. It opens no connection. The caller calls Close when a reload has replaced it.
func NewPhone(all map[oncall.Endpoint]Twilio, o PhoneOptions) (*Phone, error) {
	s := &Phone{of: make(map[oncall.Endpoint]*phone, len(all)), agent: "tocsin/" + cmp.Or(o.Version, "dev")}
	for name, t := range all {
		if t.URL == nil || t.Token == "" {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: a URL and an auth token are needed", name)
		}
		t.Timeout = cmp.Or(t.Timeout, DefaultTimeout)
		p := &phone{Twilio: t, options: outgoing.Options{URLs: []*url.URL{t.URL}, AllowPrivate: t.AllowPrivate, Policy: o.Outgoing, Transport: o.Transport}}
		client, err := outgoing.Client(string(name), t.HTTP, p.options)
		if err != nil {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: %v", name, err)
		}
		p.Exchange = outgoing.Exchange{Client: client, Redact: outgoing.NewRedactor(t.URL, t.Token), Timeout: t.Timeout, MaxAnswer: 64 << 10}
		s.of[name] = p
	}
	return s, nil
}

// Close closes idle connections. Attempts that are under way end on their own.
func (s *Phone) Close() {
	for _, p := range s.of {
		p.Client.CloseIdleConnections()
	}
}

// String names the sender without what it holds.
func (s *Phone) String() string { return fmt.Sprintf("phone with %d endpoints", len(s.of)) }

// Probe looks up where the entries' names lead now, and says of each what would be wrong with a page.
func (s *Phone) Probe(ctx context.Context) map[oncall.Endpoint]string {
	all := make(map[oncall.Endpoint]probe, len(s.of))
	for name, p := range s.of {
		all[name] = probe{p.HTTP, p.options, p.Redact}
	}
	return lookUp(ctx, all)
}

// Send makes one attempt to call or write to somebody.
func (s *Phone) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	a := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts}
	p := s.of[m.Delivery.Endpoint]
	var page oncall.Page
	switch {
	case p == nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "no longer configured: "+string(m.Delivery.Endpoint)+" is in no receiver's twilio_configs"
	case json.Unmarshal(m.Delivery.Body, &page) != nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "this page cannot be read: it was written by another version of tocsin"
	case p.Voice && m.Delivery.Kind != oncall.KindTriggered:
		a.Outcome = oncall.OutcomeDelivered // decided by a version that rang for this too
	default:
		p.attempt(ctx, s.agent, m.Delivery, page, &a)
	}
	a.Took = time.Since(a.At)
	return a
}

// attempt asks Twilio for a call or a message.
func (p *phone) attempt(ctx context.Context, agent string, d oncall.Delivery, page oncall.Page, a *oncall.Attempt) {
	what, form := "Messages.json", url.Values{"To": {p.To}}
	back := callback(page.Data.Page.AckURL)
	status := back + "/status?attempt=" + strconv.Itoa(d.Attempts)
	if p.Messaging != "" {
		form.Set("MessagingServiceSid", p.Messaging)
	} else {
		form.Set("From", p.From)
	}
	if back != "" {
		form.Set("StatusCallback", status)
	}
	if p.Voice {
		what = "Calls.json"
		form.Set("Twiml", spoken(page, p.Language, back, d.Attempts))
		form.Set("Timeout", strconv.Itoa(int(p.Ring/time.Second)))
		if back != "" {
			form.Set("StatusCallbackEvent", "completed") // which comes for every end of a call: busy, no-answer, failed too
		}
		if p.Machine && back != "" {
			form.Set("MachineDetection", "Enable")
			form.Set("AsyncAmd", "true")
			form.Set("AsyncAmdStatusCallback", back+"/amd?attempt="+strconv.Itoa(d.Attempts))
		}
	} else {
		form.Set("Body", written(page))
	}
	u := p.URL.JoinPath("2010-04-01", "Accounts", p.Account, what)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		a.Outcome, a.Error = oncall.OutcomeRefused, "the request could not be written: "+p.Redact.Clean(err.Error())
		return
	}
	req.SetBasicAuth(p.Account, p.Token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", agent)
	answer := p.Do(ctx, req, a)
	if answer == nil {
		return
	}
	p.judge(answer, back != "", a)
}

// judge says what Twilio's answer means.
func (p *phone) judge(answer *outgoing.Answer, confirms bool, a *oncall.Attempt) {
	outgoing.Judge(answer, a)
	var said struct {
		SID     string
		Code    int
		Message string
	}
	readable := json.Unmarshal(answer.Body, &said) == nil
	switch a.Outcome {
	case oncall.OutcomeDelivered:
		if !readable || !strings.HasPrefix(said.SID, "CA") && !strings.HasPrefix(said.SID, "SM") && !strings.HasPrefix(said.SID, "MM") {
			a.Outcome, a.Error = oncall.OutcomeUnknown, "accepted, but the answer is not Twilio's: is api_url right?"
			return
		}
		a.Remote = said.SID
		if confirms {
			a.Outcome = oncall.OutcomeAccepted
		}
	case oncall.OutcomeRefused:
		if readable && said.Message != "" {
			a.Error = p.Redact.Clean(fmt.Sprintf("refused: %s (Twilio's error %d)", said.Message, said.Code))
		}
		if answer.Status == http.StatusUnauthorized {
			a.Error = "refused with 401: account_sid and auth token do not belong together"
		}
	}
}

// callback is where Twilio reports of a page, "" where that is not known: beside the page's acknowledge link, with its token.
func callback(ackURL string) string {
	base, token, ok := strings.Cut(ackURL, "/hooks/ack/")
	if !ok || !strings.HasPrefix(base, "http") || token == "" {
		return ""
	}
	return base + "/hooks/twilio/" + token
}
