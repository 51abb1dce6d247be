package pager_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
	"tocsin/problem"
)

const hookSecret = "secret-of-the-webhook"

// acts keeps what is asked for, about incidents that never change.
type acts struct {
	mu        sync.Mutex
	incidents map[int64]oncall.Incident
	done      []string
	broken    error
}

func (a *acts) Incident(_ context.Context, number int64) (oncall.Incident, error) {
	if a.broken != nil {
		return oncall.Incident{}, a.broken
	}
	in, ok := a.incidents[number]
	if !ok {
		return in, oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
	}
	return in, nil
}

func (a *acts) Act(_ context.Context, number int64, c oncall.Command, request string) (oncall.Decision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if request == "" {
		return oncall.Decision{}, errors.New("without an identity it would act twice")
	}
	a.done = append(a.done, strings.Trim(fmt.Sprintf("#%d %s as %s via %s from %s %s", number, c.Kind, c.Actor, c.Via, c.From, c.Text), " "))
	if c.ByItself {
		a.done = append(a.done, "by itself")
	}
	return oncall.Decision{Reply: "done"}, nil
}

func newHooks(a *acts, users map[string]problem.At[string]) *pager.Hooks {
	h := pager.NewHooks(pager.HookOptions{Acts: a, Policy: func() oncall.Policy {
		return oncall.Policy{
			Users: map[string]oncall.User{"ana": {Name: "ana", Email: "ana@shop.example"}, "bo": {Name: "bo"}},
			Receivers: map[string]oncall.Receiver{
				"duty": {Name: "duty", Integrations: []oncall.Integration{{Endpoint: pdEndpoint}, {Endpoint: ogEndpoint}}},
				"two": {Name: "two", Integrations: []oncall.Integration{{Endpoint: oncall.IntegrationEndpoint("pagerduty_configs", "two", 0)},
					{Endpoint: oncall.IntegrationEndpoint("pagerduty_configs", "two", 1)}}},
			},
		}
	}})
	hook := pager.Hook{Secrets: []string{"another-secret-of-it", hookSecret}, Users: users}
	h.Apply(map[pager.HookName]pager.Hook{{Vendor: "pagerduty", Receiver: "duty"}: hook, {Vendor: "pagerduty", Receiver: "two"}: hook, {Vendor: "opsgenie", Receiver: "duty"}: hook})
	return h
}

func newActs() *acts {
	a := &acts{incidents: map[int64]oncall.Incident{}}
	for i, state := range []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed, oncall.IncidentResolved} {
		n := int64(i + 1)
		a.incidents[n] = oncall.Incident{Number: n, Key: fmt.Sprintf("tocsin-7d3f-%d", n), State: state}
	}
	return a
}

// signed makes a report of PagerDuty's.
func signed(secret, body string) *http.Request {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-PagerDuty-Signature", "v1=00ff,v1="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

func event(kind, agent, data string) string {
	return fmt.Sprintf(`{"event":{"id":"01E","event_type":%q,"occurred_at":%q,"agent":%s,"data":%s}}`, kind, time.Now().UTC().Format(time.RFC3339), agent, data)
}

func about(number int) string {
	return fmt.Sprintf(`{"id":"Q%d","incident_key":"tocsin-7d3f-%d","assignees":[{"summary":"Bo"},{"summary":"Chen"}]}`, number, number)
}

const (
	ana   = `{"id":"PANA","summary":"Ana","type":"user_reference"}`
	jane  = `{"id":"PJANE","summary":"Jane Doe","type":"user_reference"}`
	timer = `{"id":"PS","summary":"Shop","type":"service_reference"}`
	ours  = `{"id":"PI","summary":"tocsin","type":"events_api_v2_inbound_integration_reference"}`
)

func TestPagerDutyReports(t *testing.T) {
	old := strings.Replace(event("incident.acknowledged", ana, about(1)), time.Now().UTC().Format("2006"), "2019", 1)
	for _, c := range []struct {
		name, receiver, body string
		status               int
		want                 string
	}{
		{"acknowledged", "duty", event("incident.acknowledged", ana, about(1)), 200, "#1 acknowledge as ana via PagerDuty from pagerduty_configs:duty/0"},
		{"by a stranger", "duty", event("incident.acknowledged", jane, about(1)), 200, "#1 acknowledge as Jane Doe (PagerDuty) via PagerDuty from pagerduty_configs:duty/0"},
		{"by one of the list", "duty", event("incident.acknowledged", `{"id":"PBO","summary":"Robert","type":"user_reference"}`, about(1)), 200, "#1 acknowledge as bo via PagerDuty from pagerduty_configs:duty/0"},
		{"one of two services", "two", event("incident.acknowledged", ana, about(1)), 200, "#1 acknowledge as ana via PagerDuty from"},
		{"acknowledged before", "duty", event("incident.acknowledged", ana, about(2)), 200, "#2 acknowledge as ana via PagerDuty from pagerduty_configs:duty/0"},
		{"acknowledged when over", "duty", event("incident.acknowledged", ana, about(4)), 200, ""},
		{"our own acknowledgement", "duty", event("incident.acknowledged", ours, about(1)), 200, ""},
		{"acknowledged by nobody", "duty", event("incident.acknowledged", "null", about(1)), 200, ""},
		{"unacknowledged", "duty", event("incident.unacknowledged", ana, about(2)), 200, "#2 unacknowledge as ana via PagerDuty from pagerduty_configs:duty/0"},
		{"unacknowledged by a timeout", "duty", event("incident.unacknowledged", timer, about(2)), 200, "#2 unacknowledge as PagerDuty via PagerDuty from pagerduty_configs:duty/0\nby itself"},
		{"unacknowledged while snoozed", "duty", event("incident.unacknowledged", "null", about(3)), 200, "#3 note as PagerDuty via PagerDuty from pagerduty_configs:duty/0 un-acknowledged in PagerDuty; here it stays snoozed"},
		{"unacknowledged when it is not", "duty", event("incident.unacknowledged", ana, about(1)), 200, ""},
		{"resolved", "duty", event("incident.resolved", ana, about(2)), 200, "#2 resolve as ana via PagerDuty from pagerduty_configs:duty/0"},
		{"resolved by a timer", "duty", event("incident.resolved", timer, about(2)), 200, ""},
		{"resolved before", "duty", event("incident.resolved", ana, about(4)), 200, ""},
		{"reopened", "duty", event("incident.reopened", ana, about(4)), 200, "#4 note as ana via PagerDuty from pagerduty_configs:duty/0 reopened in PagerDuty; here it stays resolved, and a new incident opens if its alerts fire"},
		{"reopened while open", "duty", event("incident.reopened", ana, about(1)), 200, ""},
		{"escalated", "duty", event("incident.escalated", "null", about(1)), 200, "#1 note as PagerDuty via PagerDuty from pagerduty_configs:duty/0 escalated to Bo, Chen in PagerDuty"},
		{"reassigned", "duty", event("incident.reassigned", ana, about(1)), 200, "#1 note as ana via PagerDuty from pagerduty_configs:duty/0 reassigned to Bo, Chen in PagerDuty"},
		{"annotated", "duty", event("incident.annotated", ana, `{"content":" heap ","incident_key":"tocsin-7d3f-1"}`), 200, "#1 note as ana via PagerDuty from pagerduty_configs:duty/0 heap"},
		{"an unknown incident's note", "duty", event("incident.annotated", ana, `{"content":"heap","incident":{"id":"Q99"}}`), 200, ""},
		{"what does not concern us", "duty", event("incident.priority_updated", ana, about(1)), 200, ""},
		{"a service", "duty", event("service.updated", ana, `{"id":"PS"}`), 200, ""},
		{"somebody else's incident", "duty", event("incident.acknowledged", ana, `{"incident_key":"nagios-host"}`), 200, ""},
		{"another tocsin's incident", "duty", event("incident.acknowledged", ana, `{"incident_key":"tocsin-ffff-1"}`), 200, ""},
		{"a forgotten incident", "duty", event("incident.acknowledged", ana, `{"incident_key":"tocsin-7d3f-99"}`), 200, ""},
		{"long ago", "duty", old, 200, ""},
		{"without a time", "duty", `{"event":{"id":"01E","event_type":"incident.acknowledged","data":` + about(1) + `}}`, 400, ""},
		{"without an identity", "duty", strings.Replace(event("incident.acknowledged", ana, about(1)), "01E", "", 1), 400, ""},
		{"no report", "duty", `[]`, 400, ""},
		{"too large", "duty", strings.Repeat(" ", 2<<20), 413, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newActs()
			h := newHooks(a, map[string]problem.At[string]{"pBO": {Value: "bo"}}).Handler("pagerduty", c.receiver)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, signed(hookSecret, c.body))
			if got := strings.Join(a.done, "\n"); w.Code != c.status || got != c.want {
				t.Errorf("answered %d, did %q, want %d and %q", w.Code, got, c.status, c.want)
			}
		})
	}
}

// TestPagerDutySignatures: nothing is done without a signature by one of the secrets over these very bytes.
func TestPagerDutySignatures(t *testing.T) {
	body := event("incident.acknowledged", ana, about(1))
	for name, change := range map[string]func(*http.Request){
		"none":       func(r *http.Request) { r.Header.Del("X-PagerDuty-Signature") },
		"of another": func(r *http.Request) { *r = *signed("a-secret-of-somebody-else", body) },
		"another version": func(r *http.Request) {
			r.Header.Set("X-PagerDuty-Signature", strings.ReplaceAll(r.Header.Get("X-PagerDuty-Signature"), "v1=", "v0="))
		},
		"no hex":            func(r *http.Request) { r.Header.Set("X-PagerDuty-Signature", "v1=xyz") },
		"of another body":   func(r *http.Request) { r.Body = http.NoBody },
		"an empty secret's": func(r *http.Request) { *r = *signed("", body) },
	} {
		a := newActs()
		r := signed(hookSecret, body)
		change(r)
		w := httptest.NewRecorder()
		newHooks(a, nil).Handler("pagerduty", "duty").ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || len(a.done) > 0 || strings.Contains(w.Body.String(), hookSecret) {
			t.Errorf("%s: answered %d %q, did %q", name, w.Code, w.Body, a.done)
		}
	}
	for _, secret := range []string{hookSecret, "another-secret-of-it"} { // one is being replaced by the other
		w := httptest.NewRecorder()
		newHooks(newActs(), nil).Handler("pagerduty", "duty").ServeHTTP(w, signed(secret, body))
		if w.Code != http.StatusOK {
			t.Errorf("a good signature is answered %d", w.Code)
		}
	}
	if newHooks(newActs(), nil).Handler("pagerduty", "nobody") != nil || pager.NewHooks(pager.HookOptions{}).Handler("pagerduty", "duty") != nil {
		t.Error("somebody hears what nobody configured")
	}
}

// TestNotCommitted: what was not committed is asked for again.
func TestNotCommitted(t *testing.T) {
	a := newActs()
	a.broken = oncall.Errorf(oncall.CodeUnavailable, "the store does not answer")
	w := httptest.NewRecorder()
	newHooks(a, nil).Handler("pagerduty", "duty").ServeHTTP(w, signed(hookSecret, event("incident.acknowledged", ana, about(1))))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("answered %d", w.Code)
	}
}

// TestReportsOvertakeEachOther: of what people did there the last word counts, in whatever order it is told.
func TestReportsOvertakeEachOther(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Second)
	duty := func(id, kind string, after time.Duration) *http.Request {
		body := fmt.Sprintf(`{"event":{"id":%q,"event_type":%q,"occurred_at":%q,"agent":%s,"data":%s}}`, id, kind, at.Add(after).Format(time.RFC3339Nano), ana, about(1))
		return signed(hookSecret, body)
	}
	genie := func(_, action string, after time.Duration) *http.Request {
		body := fmt.Sprintf(`{"action":%q,"alert":{"alias":"tocsin-7d3f-1","username":"ana","updatedAt":%d},"source":{}}`, action, at.Add(after).UnixNano())
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+hookSecret)
		return r
	}
	for vendor, say := range map[string]struct {
		report   func(id, what string, after time.Duration) *http.Request
		ack, not string
	}{"pagerduty": {duty, "incident.acknowledged", "incident.unacknowledged"}, "opsgenie": {genie, "Acknowledge", "UnAcknowledge"}} {
		t.Run(vendor, func(t *testing.T) {
			a := newActs()
			h := newHooks(a, nil).Handler(vendor, "duty")
			send := func(r *http.Request, status, acts int) {
				t.Helper()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != status || len(a.done) != acts {
					t.Errorf("answered %d %s, did %q", w.Code, w.Body, a.done)
				}
			}
			a.broken = oncall.Errorf(oncall.CodeUnavailable, "the store does not answer")
			send(say.report("0", say.not, 2*time.Second), http.StatusServiceUnavailable, 0) // not committed: nobody has heard it
			a.broken = nil
			send(say.report("1", say.ack, 0), http.StatusOK, 1)
			send(say.report("0", say.not, 2*time.Second), http.StatusOK, 1) // #1 is triggered, there is nothing to take back
			send(say.report("2", say.ack, time.Second), http.StatusOK, 1)
			send(say.report("3", say.ack, 3*time.Second), http.StatusOK, 2)
		})
	}
}

// TestPagerDutyTriesTheAddress: the button that sends a test event.
func TestPagerDutyTriesTheAddress(t *testing.T) {
	far := pagertest.NewPagerDuty(routingKey)
	far.SignWith(hookSecret)
	w := httptest.NewRecorder()
	newHooks(newActs(), nil).Handler("pagerduty", "duty").ServeHTTP(w, far.Ping())
	if w.Code != http.StatusOK {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestOpsgenieReports(t *testing.T) {
	report := func(action, alias, user string) string {
		return fmt.Sprintf(`{"action":%q,"alert":{"alias":%q,"username":%q,"note":"n","owner":"chen"},"source":{"name":"","type":"web"}}`, action, alias, user)
	}
	const from = "via Opsgenie from opsgenie_configs:duty/0"
	for _, c := range []struct {
		name, body string
		head       func(*http.Request)
		status     int
		want       string
	}{
		{"acknowledged", report("Acknowledge", "tocsin-7d3f-1", "Ana@shop.example"), nil, 200, "#1 acknowledge as ana " + from},
		{"by a stranger", report("Acknowledge", "tocsin-7d3f-1", "jane@shop.example"), nil, 200, "#1 acknowledge as jane@shop.example (Opsgenie) " + from},
		{"by one of the list", report("Close", "tocsin-7d3f-2", "rob@shop.example"), nil, 200, "#2 resolve as bo " + from},
		{"our own", report("Acknowledge", "tocsin-7d3f-1", "ana (tocsin)"), nil, 200, ""},
		{"our own, of nobody", report("Acknowledge", "tocsin-7d3f-1", "tocsin"), nil, 200, ""},
		{"by a policy", report("Close", "tocsin-7d3f-1", "System"), nil, 200, ""},
		{"unacknowledged", report("UnAcknowledge", "tocsin-7d3f-2", "System"), nil, 200, "#2 unacknowledge as Opsgenie " + from + "\nby itself"},
		{"noted", report("AddNote", "tocsin-7d3f-2", "ana"), nil, 200, "#2 note as ana " + from + " n"},
		{"assigned", report("AssignOwnership", "tocsin-7d3f-2", "ana"), nil, 200, "#2 note as ana " + from + " assigned to chen in Opsgenie"},
		{"something else", report("AddTags", "tocsin-7d3f-2", "ana"), nil, 200, ""},
		{"somebody else's", report("Close", "x", "ana"), nil, 200, ""},
		{"no report", `{"alert":1}`, nil, 400, ""},
		{"no secret", report("Acknowledge", "tocsin-7d3f-1", "ana"), func(r *http.Request) { r.Header.Del("Authorization") }, 401, ""},
		{"a wrong secret", report("Acknowledge", "tocsin-7d3f-1", "ana"), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+hookSecret+"x") }, 401, ""},
		{"in the address", report("Acknowledge", "tocsin-7d3f-1", "ana"), func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "token=" + hookSecret
		}, 200, "#1 acknowledge as ana " + from},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newActs()
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			r.Header.Set("Authorization", "Bearer "+hookSecret)
			if c.head != nil {
				c.head(r)
			}
			w := httptest.NewRecorder()
			newHooks(a, map[string]problem.At[string]{"rob@shop.example": {Value: "bo"}}).Handler("opsgenie", "duty").ServeHTTP(w, r)
			if diff := cmp.Diff(c.want, strings.Join(a.done, "\n")); w.Code != c.status || diff != "" {
				t.Errorf("answered %d: %s", w.Code, diff)
			}
		})
	}
}

// FuzzReports: whatever is signed, the hooks answer, and do nothing as nobody.
func FuzzReports(f *testing.F) {
	f.Add([]byte(event("incident.acknowledged", ana, about(1))), false)
	f.Add([]byte(event("incident.annotated", "null", `{"content":"\u0000","incident":{"id":"Q1"}}`)), false)
	f.Add([]byte(`{"action":"Close","alert":{"alias":"tocsin-7d3f--1","username":"\u0007"}}`), true)
	f.Add([]byte(`{"event":null}`), false)
	f.Fuzz(func(t *testing.T, body []byte, opsgenie bool) {
		a := newActs()
		h, r := newHooks(a, nil).Handler("pagerduty", "duty"), signed(hookSecret, string(body))
		if opsgenie {
			h = newHooks(a, nil).Handler("opsgenie", "duty")
			r = httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+hookSecret)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 {
			t.Errorf("answered %d", w.Code)
		}
		for _, done := range a.done {
			if strings.Contains(done, " as  ") || strings.ContainsAny(strings.Split(done, " via ")[0], "\n\x00\a") {
				t.Errorf("did %q", done)
			}
		}
	})
}
