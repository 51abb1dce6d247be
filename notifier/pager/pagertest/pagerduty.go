package pagertest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// PagerDuty is a strict far end that speaks the Events API v2 and reports what happens there by signed Webhooks v3. It is
// an http.Handler for a listener of the caller's, and an http.RoundTripper. All methods may be called from any goroutine.
type PagerDuty struct {
	vendor
	keys    []string // routing keys that it knows
	secrets []string // of its webhooks
	events  []PDEvent
	sent    []time.Time // of events in the last minute
	open    map[string]*pdIncident
	count   int
	hooks   []*http.Request // not yet handed over
}

// PDEvent is an event that PagerDuty acted on.
type PDEvent struct {
	At      time.Time
	Action  string // trigger, acknowledge, resolve
	Dedup   string
	Payload struct {
		Summary, Source, Severity, Timestamp, Component, Group, Class string
		CustomDetails                                                 map[string]any `json:"custom_details"`
	}
	Links []struct{ Href, Text string }
	Body  []byte
}

// pdIncident is an incident there.
type pdIncident struct {
	id     string
	number int
	status string
}

// Agent is who did something at PagerDuty: Type "user_reference" for people.
type Agent struct {
	ID, Summary, Type string
}

// The integration's own agent: what the Events API did.
var byEvents = Agent{ID: "PINTEG", Summary: "tocsin", Type: "events_api_v2_inbound_integration_reference"}

// NewPagerDuty makes one that knows some routing keys, of 32 characters.
func NewPagerDuty(keys ...string) *PagerDuty {
	return &PagerDuty{vendor: newVendor(), keys: keys, open: map[string]*pdIncident{}}
}

// SignWith sets the secrets of its webhooks: each makes a signature.
func (p *PagerDuty) SignWith(secrets ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets = secrets
}

// Events returns what it acted on, in order.
func (p *PagerDuty) Events() []PDEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// Actions returns what was done about an incident, in order.
func (p *PagerDuty) Actions(dedup string) []string {
	var all []string
	for _, e := range p.Events() {
		if e.Dedup == dedup {
			all = append(all, e.Action)
		}
	}
	return all
}

// Status is where an incident stands there: triggered, acknowledged, resolved, or "" for none.
func (p *PagerDuty) Status(dedup string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.open[dedup]; i != nil {
		return i.status
	}
	return ""
}

// RoundTrip answers a request without a network.
func (p *PagerDuty) RoundTrip(r *http.Request) (*http.Response, error) { return through(p, r) }

// ServeHTTP takes one event.
func (p *PagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client went away
	}
	p.mu.Lock()
	f := p.draw()
	status, said := http.StatusAccepted, ""
	if f.Status == 0 || f.Record {
		status, said = p.take(r, body)
	}
	p.mu.Unlock()
	p.arrived()
	if !failed(w, r, f, body) {
		reply(w, status, said)
	}
}

// take acts on an event. mu is held.
func (p *PagerDuty) take(r *http.Request, body []byte) (status int, said string) {
	now := time.Now()
	p.sent = slices.DeleteFunc(p.sent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(p.sent) >= 120 {
		return http.StatusTooManyRequests, `{"status":"throttle exceeded","message":"Requests for this service are arriving too quickly.  Please retry later."}`
	}
	p.sent = append(p.sent, now)
	e, errs := p.read(r, body)
	if len(errs) > 0 {
		quoted, _ := json.Marshal(errs)
		p.mind("PagerDuty: %s", strings.Join(errs, "; "))
		return http.StatusBadRequest, fmt.Sprintf(`{"status":"invalid event","message":"Event object is invalid","errors":%s}`, quoted)
	}
	e.At = now
	p.events = append(p.events, e)
	status = http.StatusAccepted
	said = fmt.Sprintf(`{"status":"success","message":"Event processed","dedup_key":%q}`, e.Dedup)
	i := p.open[e.Dedup]
	switch {
	case e.Action == "trigger" && (i == nil || i.status == "resolved"):
		p.count++
		p.open[e.Dedup] = &pdIncident{id: fmt.Sprintf("Q%06d", p.count), number: p.count}
		p.become(e.Dedup, "triggered", "incident.triggered", byEvents)
	case i == nil || i.status == "resolved": // events about nothing open are dropped
	case e.Action == "acknowledge":
		p.become(e.Dedup, "acknowledged", "incident.acknowledged", byEvents)
	case e.Action == "resolve":
		p.become(e.Dedup, "resolved", "incident.resolved", byEvents)
	}
	return status, said
}

// read checks all that PagerDuty checks of an event, and what a careful sender keeps to.
func (p *PagerDuty) read(r *http.Request, body []byte) (e PDEvent, errs []string) {
	mind := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Sprintf(format, args...))
		}
	}
	mind(r.Method == http.MethodPost, "the method is %s", r.Method)
	mind(r.Header.Get("Content-Type") == "application/json", "the content type is %q", r.Header.Get("Content-Type"))
	mind(len(body) <= 512<<10, "the event has %d bytes", len(body))
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var in struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Payload     *struct {
			Summary, Source, Severity, Timestamp, Component, Group, Class string
			CustomDetails                                                 map[string]any `json:"custom_details"`
		}
		Images []struct{ Src, Href, Alt string }
		Links  []struct{ Href, Text string }
		Client string
		URL    string `json:"client_url"`
	}
	if err := d.Decode(&in); err != nil {
		return e, append(errs, "the event is no JSON that PagerDuty knows: "+err.Error())
	}
	mind(len(in.RoutingKey) == 32, "Length of 'routing_key' is incorrect (should be 32 characters)")
	mind(slices.Contains(p.keys, in.RoutingKey), "'routing_key' is unknown")
	mind(in.DedupKey != "" && len(in.DedupKey) <= 255, "'dedup_key' has %d characters", len(in.DedupKey))
	mind(slices.Contains([]string{"trigger", "acknowledge", "resolve"}, in.EventAction), "'event_action' is %q", in.EventAction)
	if in.EventAction == "trigger" && in.Payload == nil {
		return e, append(errs, "'payload' is missing or blank")
	}
	if in.Payload != nil {
		mind(in.Payload.Summary != "" && utf8.RuneCountInString(in.Payload.Summary) <= 1024, "'payload.summary' has %d characters", utf8.RuneCountInString(in.Payload.Summary))
		mind(in.Payload.Source != "", "'payload.source' is missing or blank")
		mind(slices.Contains([]string{"critical", "error", "warning", "info"}, in.Payload.Severity), "'payload.severity' is %q", in.Payload.Severity)
		if in.Payload.Timestamp != "" {
			_, err := time.Parse(time.RFC3339, in.Payload.Timestamp)
			mind(err == nil, "'payload.timestamp' is %q", in.Payload.Timestamp)
		}
		e.Payload = *in.Payload
	}
	for _, l := range in.Links {
		mind(strings.HasPrefix(l.Href, "http"), "a link leads to %q", l.Href)
	}
	for _, i := range in.Images {
		mind(strings.HasPrefix(i.Src, "http"), "an image is at %q", i.Src)
	}
	e.Action, e.Dedup, e.Links, e.Body = in.EventAction, in.DedupKey, in.Links, body
	return e, errs
}

// become changes an incident, and reports it. mu is held.
func (p *PagerDuty) become(dedup, status, event string, by Agent) {
	i := p.open[dedup]
	if i.status == status {
		return
	}
	i.status = status
	p.report(event, by, p.data(dedup))
}

func (p *PagerDuty) data(dedup string) map[string]any {
	i := p.open[dedup]
	return map[string]any{"id": i.id, "type": "incident", "number": i.number, "status": i.status, "incident_key": dedup,
		"title": "…", "html_url": "https://acme.pagerduty.com/incidents/" + i.id}
}

// Do has somebody do something there: acknowledge, unacknowledge, resolve, reopen, escalate, reassign. The report of it
// waits in Reports.
func (p *PagerDuty) Do(dedup, what string, by Agent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[dedup] == nil {
		p.mind("nobody can %s %s: there is no such incident", what, dedup)
		return
	}
	status := map[string]string{"acknowledge": "acknowledged", "unacknowledge": "triggered", "resolve": "resolved", "reopen": "triggered"}[what]
	if status != "" {
		past := map[string]string{"acknowledge": "acknowledged", "unacknowledge": "unacknowledged", "resolve": "resolved", "reopen": "reopened"}[what]
		p.become(dedup, status, "incident."+past, by)
		return
	}
	data := p.data(dedup)
	data["assignees"] = []map[string]string{{"id": "PBO", "summary": "Bo", "type": "user_reference"}}
	p.report("incident."+map[string]string{"escalate": "escalated", "reassign": "reassigned", "priority": "priority_updated"}[what], by, data)
}

// Annotate has somebody write a note there.
func (p *PagerDuty) Annotate(dedup, text string, by Agent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report("incident.annotated", by, map[string]any{"id": "PNOTE", "type": "incident_note", "content": text, "trimmed": false,
		"incident": map[string]any{"id": p.open[dedup].id, "type": "incident_reference", "summary": "…"}})
}

// report queues a webhook. mu is held.
func (p *PagerDuty) report(event string, by Agent, data map[string]any) {
	var agent any
	if by != (Agent{}) {
		agent = map[string]any{"id": by.ID, "summary": by.Summary, "type": by.Type, "html_url": "https://acme.pagerduty.com/users/" + by.ID, "self": nil}
	}
	p.count++
	id := fmt.Sprintf("01EVENT%010d", p.count)
	body, err := json.Marshal(map[string]any{"event": map[string]any{"id": id, "event_type": event, "resource_type": "incident",
		"occurred_at": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "agent": agent, "client": nil, "data": data}})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	p.hooks = append(p.hooks, p.sign(body, "hook-"+id))
}

// sign makes a webhook's request. mu is held.
func (p *PagerDuty) sign(body []byte, id string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://tocsin.invalid/", bytes.NewReader(body))
	if err != nil {
		panic(err) // the address is fixed
	}
	signatures := make([]string, len(p.secrets))
	for i, s := range p.secrets {
		mac := hmac.New(sha256.New, []byte(s))
		mac.Write(body)
		signatures[i] = "v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "PagerDuty-Webhook/V3.0")
	r.Header.Set("X-PagerDuty-Signature", strings.Join(signatures, ","))
	r.Header.Set("X-Webhook-Id", id)
	return r
}

// Ping makes the webhook that PagerDuty sends to try out an address.
func (p *PagerDuty) Ping() *http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sign([]byte(`{"event":{"id":"01PING","event_type":"pagey.ping","resource_type":"pagey","occurred_at":"2026-01-01T00:00:00Z","agent":null,"client":null,"data":{"message":"Hello from your friend Pagey!","type":"ping"}}}`), "hook-ping")
}

// Sign makes a webhook of any body.
func (p *PagerDuty) Sign(body []byte) *http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sign(body, "hook-own")
}

// Reports hands over the webhooks that wait, in order, to be sent by the test. Their host and path are for the test to set.
func (p *PagerDuty) Reports() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.hooks
	p.hooks = nil
	return all
}
