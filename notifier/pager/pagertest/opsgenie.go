package pagertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Opsgenie is a strict far end that speaks Opsgenie's Alert API, which answers before it acts, and that reports what
// happens there by webhooks. It is an http.Handler for a listener of the caller's, and an http.RoundTripper. All methods
// may be called from any goroutine.
type Opsgenie struct {
	vendor
	key      string
	base     string // path before /v2
	calls    []OGCall
	alerts   map[string]*ogAlert
	results  map[string]ogResult // by request
	polls    map[string]int
	slow     int // polls that find nothing yet; below 0: all of them
	refusals []string
	count    int
	hooks    []*http.Request
}

// OGCall is a request that Opsgenie acted on.
type OGCall struct {
	At    time.Time
	Verb  string // create, acknowledge, unacknowledge, close, message, description
	Alias string
	Body  map[string]any
}

type ogAlert struct {
	id     string
	status string // open, acked, closed
	count  int
}

type ogResult struct {
	ok     bool
	status string
}

// NewOpsgenie makes one that knows a key, below a path such as "/jsm/ops/integration".
func NewOpsgenie(key, base string) *Opsgenie {
	return &Opsgenie{vendor: newVendor(), key: key, base: strings.TrimSuffix(base, "/"), alerts: map[string]*ogAlert{}, results: map[string]ogResult{}, polls: map[string]int{}}
}

// Slow has the first polls for each result find nothing yet; below 0: all of them.
func (o *Opsgenie) Slow(polls int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slow = polls
}

// FailLater has the next requests be taken, and fail afterwards for these reasons.
func (o *Opsgenie) FailLater(reasons ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refusals = append(o.refusals, reasons...)
}

// Calls returns what it acted on, in order.
func (o *Opsgenie) Calls() []OGCall {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

// Verbs returns what was done about an alert, in order.
func (o *Opsgenie) Verbs(alias string) []string {
	var all []string
	for _, c := range o.Calls() {
		if c.Alias == alias {
			all = append(all, c.Verb)
		}
	}
	return all
}

// Status is where an alert stands there: open, acked, closed, or "" for none.
func (o *Opsgenie) Status(alias string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a := o.alerts[alias]; a != nil {
		return a.status
	}
	return ""
}

// RoundTrip answers a request without a network.
func (o *Opsgenie) RoundTrip(r *http.Request) (*http.Response, error) { return through(o, r) }

// ServeHTTP takes one request.
func (o *Opsgenie) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client went away
	}
	o.mu.Lock()
	var f Fault
	var status int
	var said string
	if r.Method == http.MethodGet {
		status, said = o.poll(r)
	} else if f = o.draw(); f.Status == 0 || f.Record {
		status, said = o.take(r, body)
	}
	o.mu.Unlock()
	if r.Method != http.MethodGet {
		o.arrived()
	}
	if !failed(w, r, f, body) {
		reply(w, status, said)
	}
}

// poll says what became of a request. mu is held.
func (o *Opsgenie) poll(r *http.Request) (int, string) {
	id, ok := strings.CutPrefix(r.URL.Path, o.base+"/v2/alerts/requests/")
	if !ok || r.Header.Get("Authorization") != "GenieKey "+o.key {
		return http.StatusForbidden, fmt.Sprintf(`{"message":%q,"took":0.001,"requestId":"x"}`, o.mind("Opsgenie: GET %s with a wrong path or key", r.URL.Path))
	}
	result, ok := o.results[id]
	o.polls[id]++
	if !ok || o.slow < 0 || o.polls[id] <= o.slow {
		return http.StatusNotFound, `{"message":"Request not found. It might not be processed, yet.","took":0.004,"requestId":"` + id + `"}`
	}
	return http.StatusOK, fmt.Sprintf(`{"data":{"success":%v,"action":"x","processedAt":"2026-01-01T00:00:00Z","isSuccess":%v,"status":%q,"alertId":"a-1"},"took":0.006,"requestId":%q}`,
		result.ok, result.ok, result.status, id)
}

// take accepts a request, acts on it, and keeps the result for whoever asks. mu is held.
func (o *Opsgenie) take(r *http.Request, body []byte) (int, string) {
	refuse := func(status int, format string, args ...any) (int, string) {
		return status, fmt.Sprintf(`{"message":%q,"took":0.001,"requestId":"r"}`, o.mind("Opsgenie: "+format, args...))
	}
	if r.Header.Get("Authorization") != "GenieKey "+o.key {
		return refuse(http.StatusUnauthorized, "Could not authenticate")
	}
	if r.Header.Get("Content-Type") != "application/json" {
		return refuse(http.StatusUnprocessableEntity, "the content type is %q", r.Header.Get("Content-Type"))
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the body is no JSON object")
	}
	c := OGCall{At: time.Now(), Body: in}
	switch rest, ok := strings.CutPrefix(r.URL.EscapedPath(), o.base+"/v2/alerts"); {
	case !ok:
		return refuse(http.StatusNotFound, "there is nothing at %s", r.URL.Path)
	case rest == "" && r.Method == http.MethodPost:
		c.Verb = "create"
		c.Alias, _ = in["alias"].(string)
		if why := checkAlert(body); why != "" {
			return refuse(http.StatusUnprocessableEntity, "%s", why)
		}
	default:
		alias, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		c.Alias, _ = url.PathUnescape(alias)
		c.Verb = verb
		put := verb == "message" || verb == "description"
		if r.URL.Query().Get("identifierType") != "alias" || put != (r.Method == http.MethodPut) ||
			!slices.Contains([]string{"acknowledge", "unacknowledge", "close", "message", "description"}, verb) {
			return refuse(http.StatusNotFound, "%s %s is not possible", r.Method, r.URL)
		}
	}
	o.count++
	id := fmt.Sprintf("43a29c5c-3dbf-4fa4-9c26-%012d", o.count)
	o.results[id] = o.act(c)
	return http.StatusAccepted, fmt.Sprintf(`{"result":"Request will be processed","took":0.302,"requestId":%q}`, id)
}

// act does what was asked for, and returns what whoever polls is told. mu is held.
func (o *Opsgenie) act(c OGCall) ogResult {
	if len(o.refusals) > 0 {
		why := o.refusals[0]
		o.refusals = o.refusals[1:]
		return ogResult{false, why}
	}
	o.calls = append(o.calls, c)
	a := o.alerts[c.Alias]
	if c.Verb == "create" && (a == nil || a.status == "closed") {
		o.count++
		o.alerts[c.Alias] = &ogAlert{id: fmt.Sprintf("alert-%d", o.count), status: "open", count: 1}
		o.report(c.Alias, "Create", "api", "", text(c.Body, "source"))
		return ogResult{true, "Created alert"}
	}
	if a == nil || a.status == "closed" {
		return ogResult{false, "Alert does not exist"}
	}
	user, source := text(c.Body, "user"), text(c.Body, "source")
	switch c.Verb {
	case "create":
		a.count++
		return ogResult{true, "Count of alert is incremented"}
	case "acknowledge":
		if a.status == "acked" {
			return ogResult{false, "Alert is already acknowledged"}
		}
		a.status = "acked"
		o.report(c.Alias, "Acknowledge", "api", user, source)
	case "unacknowledge":
		if a.status != "acked" {
			return ogResult{false, "Alert is not acknowledged"}
		}
		a.status = "open"
		o.report(c.Alias, "UnAcknowledge", "api", user, source)
	case "close":
		a.status = "closed"
		o.report(c.Alias, "Close", "api", user, source)
	}
	return ogResult{true, "Done"}
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// checkAlert says what is wrong with an alert, "" for nothing.
func checkAlert(body []byte) string {
	var a struct {
		Message, Alias, Description, Entity, Source, Priority, Note, User string
		Responders                                                        []struct{ ID, Name, Username, Type string }
		Tags, Actions                                                     []string
		Details                                                           map[string]string
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return "Request body is not processable: " + err.Error()
	}
	n := utf8.RuneCountInString
	total := 0
	for key, value := range a.Details {
		total += n(key) + n(value)
	}
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{a.Message == "" || n(a.Message) > 130, "message must have 1 to 130 characters"},
		{a.Alias == "" || n(a.Alias) > 512, "alias must have 1 to 512 characters"},
		{n(a.Description) > 15000, "description is longer than 15000 characters"},
		{n(a.Entity) > 512, "entity is longer than 512 characters"},
		{n(a.Source) > 100, "source is longer than 100 characters"},
		{n(a.User) > 100, "user is longer than 100 characters"},
		{n(a.Note) > 25000, "note is longer than 25000 characters"},
		{a.Priority != "" && !slices.Contains([]string{"P1", "P2", "P3", "P4", "P5"}, a.Priority), "priority is none of P1 to P5"},
		{len(a.Tags) > 20 || slices.ContainsFunc(a.Tags, func(s string) bool { return s == "" || n(s) > 50 }), "at most 20 tags of 50 characters"},
		{len(a.Actions) > 10 || slices.ContainsFunc(a.Actions, func(s string) bool { return s == "" || n(s) > 50 }), "at most 10 actions of 50 characters"},
		{len(a.Responders) > 50, "at most 50 responders"},
		{total > 8000, "details have more than 8000 characters"},
	} {
		if c.bad {
			return c.what
		}
	}
	for _, r := range a.Responders {
		if !slices.Contains([]string{"team", "user", "escalation", "schedule"}, r.Type) || r.ID == "" && r.Name == "" && r.Username == "" {
			return fmt.Sprintf("responder %+v is none", r)
		}
	}
	return ""
}

// Do has a person do something there, by e-mail address: Acknowledge, UnAcknowledge, Close, AddNote, AssignOwnership,
// Escalate. The report of it waits in Reports.
func (o *Opsgenie) Do(alias, action, email, note string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.alerts[alias]
	if a == nil {
		o.mind("nobody can %s %s: there is no such alert", action, alias)
		return
	}
	if status := map[string]string{"Acknowledge": "acked", "UnAcknowledge": "open", "Close": "closed"}[action]; status != "" {
		a.status = status
	}
	o.report(alias, action, "web", email, "", note)
}

// report queues a webhook. mu is held.
func (o *Opsgenie) report(alias, action, kind, user, source string, note ...string) {
	a := o.alerts[alias]
	alert := map[string]any{"alertId": a.id, "alias": alias, "message": "…", "tags": []string{}, "tinyId": "1", "username": user,
		"updatedAt": time.Now().UnixNano(), "createdAt": time.Now().UnixMilli(), "entity": "", "source": source}
	if len(note) > 0 && note[0] != "" {
		alert["note"] = note[0]
	}
	o.count++
	body, err := json.Marshal(map[string]any{"action": action, "alert": alert, "source": map[string]any{"name": source, "type": kind},
		"integrationId": "37c8f316", "integrationName": "tocsin", "integrationType": "Webhook", "n": o.count})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	r, err := http.NewRequest(http.MethodPost, "http://tocsin.invalid/", bytes.NewReader(body))
	if err != nil {
		panic(err) // the address is fixed
	}
	r.Header.Set("Content-Type", "application/json")
	o.hooks = append(o.hooks, r)
}

// Reports hands over the webhooks that wait, in order, to be sent by the test, which adds address and secret.
func (o *Opsgenie) Reports() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.hooks
	o.hooks = nil
	return all
}
