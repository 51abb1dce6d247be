package pager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

// Ntfy is the notifier.Sender for endpoints of the kind "ntfy". The server's answer is all the confirmation there is: whether a
// phone got it, ntfy does not know.
type Ntfy struct {
	of    map[oncall.Endpoint]*ntfy
	agent string
}

var _ notifier.Sender = (*Ntfy)(nil)

type ntfy struct {
	NtfyConfig
	options outgoing.Options
	outgoing.Exchange
}

// NewNtfy makes a sender for some entries. It opens no connection. The caller calls Close when a reload has replaced it.
func NewNtfy(all map[oncall.Endpoint]NtfyConfig, o PhoneOptions) (*Ntfy, error) {
	s := &Ntfy{of: make(map[oncall.Endpoint]*ntfy, len(all)), agent: "tocsin/" + cmp.Or(o.Version, "dev")}
	for name, c := range all {
		if c.URL == nil || c.Topic == "" {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: a URL and a topic are needed", name)
		}
		c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
		e := &ntfy{NtfyConfig: c, options: outgoing.Options{URLs: []*url.URL{c.URL}, AllowPrivate: c.AllowPrivate, Policy: o.Outgoing, Transport: o.Transport}}
		client, err := outgoing.Client(string(name), c.HTTP, e.options)
		if err != nil {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: %v", name, err)
		}
		e.Exchange = outgoing.Exchange{Client: client, Redact: outgoing.NewRedactor(c.URL, c.Token, c.Topic), Timeout: c.Timeout, MaxAnswer: 64 << 10}
		s.of[name] = e
	}
	return s, nil
}

// Close closes idle connections. Attempts that are under way end on their own.
func (s *Ntfy) Close() {
	for _, e := range s.of {
		e.Client.CloseIdleConnections()
	}
}

// String names the sender without what it holds.
func (s *Ntfy) String() string { return fmt.Sprintf("ntfy with %d endpoints", len(s.of)) }

// Probe looks up where the entries' names lead now, and says of each what would be wrong with a page.
func (s *Ntfy) Probe(ctx context.Context) map[oncall.Endpoint]string {
	all := make(map[oncall.Endpoint]probe, len(s.of))
	for name, e := range s.of {
		all[name] = probe{e.HTTP, e.options, e.Redact}
	}
	return lookUp(ctx, all)
}

// Send makes one attempt to publish a page.
func (s *Ntfy) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	a := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts}
	e := s.of[m.Delivery.Endpoint]
	var page oncall.Page
	switch {
	case e == nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "no longer configured: "+string(m.Delivery.Endpoint)+" is in no receiver's ntfy_configs"
	case json.Unmarshal(m.Delivery.Body, &page) != nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "this page cannot be read: it was written by another version of tocsin"
	default:
		e.attempt(ctx, s.agent, m.Delivery, page, &a)
	}
	a.Took = time.Since(a.At)
	return a
}

func (e *ntfy) attempt(ctx context.Context, agent string, d oncall.Delivery, page oncall.Page, a *oncall.Attempt) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e.message(d, page))
	var req *http.Request
	if err == nil {
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, e.URL.JoinPath("/").String(), &body)
	}
	if err != nil {
		a.Outcome, a.Error = oncall.OutcomeRefused, "the request could not be written: "+e.Redact.Clean(err.Error())
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", agent)
	if e.Token != "" {
		req.Header.Set("Authorization", "Bearer "+e.Token)
	}
	answer := e.Do(ctx, req, a)
	if answer == nil {
		return
	}
	outgoing.Judge(answer, a)
	var said struct {
		ID    string
		Code  int
		Error string
	}
	readable := json.Unmarshal(answer.Body, &said) == nil
	switch {
	case a.Outcome == oncall.OutcomeDelivered && (!readable || said.ID == ""):
		a.Outcome, a.Error = oncall.OutcomeUnknown, "accepted, but the answer is not ntfy's: is the url right?"
	case a.Outcome == oncall.OutcomeDelivered:
		a.Remote = cut(said.ID, 100)
	case a.Outcome == oncall.OutcomeRefused && readable && said.Error != "":
		a.Error = e.Redact.Clean(fmt.Sprintf("refused: %s (ntfy's error %d)", said.Error, said.Code))
	}
}
