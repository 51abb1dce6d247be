package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

var external = &url.URL{Scheme: "http", Host: "tocsin.example"}

var began = time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)

// memory is a store of incidents in memory that runs the real core, so that what the handlers show is what
// the core says.
type memory struct {
	mu        sync.Mutex
	incidents map[int64]oncall.Incident
	policy    oncall.Policy
	broken    error // returned by everything
	evaluated bool
	standby   bool
	reloaded  error
}

func newMemory() *memory {
	m := &memory{incidents: map[int64]oncall.Incident{}, evaluated: true, policy: oncall.Policy{
		ExternalURL: "http://tocsin.example", LinkKey: []byte("0123456789abcdef0123456789abcdef"),
		Escalations: map[string]oncall.Escalation{"default": {Name: "default", GroupBy: []string{"alertname"},
			Tiers: []oncall.Tier{
				{Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}},
				{After: 5 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: "phone"}}},
			}}},
		Users: map[string]oncall.User{"ana": {Name: "ana", Contacts: []oncall.Contact{{Receiver: "phone"}}}, "bo": {Name: "bo"},
			"cy": {Name: "cy", Contacts: []oncall.Contact{{Receiver: "phone"}}}},
		Schedules: map[string]oncall.Schedule{"primary": weekly()},
		Receivers: map[string]oncall.Receiver{"phone": {Name: "phone", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("phone", 0)}}},
	}}
	m.open(41, "DiskFull")
	m.open(42, "SessionMemoryHigh")
	return m
}

// open puts a firing incident there, with one delivery that was attempted.
func (m *memory) open(number int64, alertname string) {
	ls := labels.FromStrings("alertname", alertname, "severity", "critical", "instance", "<script>alert(1)</script>")
	change := oncall.AlertChange{At: began, Source: "rule:x", Status: oncall.ChangeFiring, Labels: ls, StartsAt: began, Value: "0.83",
		Annotations: map[string]string{"summary": "Session memory at 83%", "runbook_url": "https://runbooks.example/memory"}, Reason: "breached for 2m"}
	m.decide(number, began, oncall.AlertsChanged{Changes: []oncall.AlertChange{change}})
	m.decide(number, began, oncall.Tick{})
	in := m.incidents[number]
	for i := range in.Deliveries {
		d := &in.Deliveries[i]
		d.Attempts, d.State, d.Error = 1, oncall.DeliveryQueued, "503 Service Unavailable"
		a := oncall.Attempt{At: began.Add(time.Second), Took: 20 * time.Millisecond, Number: 1, Outcome: oncall.OutcomeRetry, Status: 503, Error: d.Error, Excerpt: "busy", RetryAfter: time.Second}
		in.Timeline = append(in.Timeline, oncall.AttemptEntry(*d, a))
	}
	m.incidents[number] = in
}

func (m *memory) decide(number int64, now time.Time, ev oncall.Event) oncall.Decision {
	in, ok := m.incidents[number]
	if !ok {
		in = oncall.Incident{Number: number, Key: fmt.Sprint("tocsin-test-", number), Escalation: "default", GroupKey: "k", Why: "no escalation is named"}
	}
	d := oncall.Decide(now, in, ev, m.policy)
	if d.Changed {
		after := d.Incident
		after.Alerts = in.Alerts
		for _, a := range d.Alerts {
			if i := slices.IndexFunc(after.Alerts, func(b oncall.IncidentAlert) bool { return a.Fingerprint == b.Fingerprint }); i >= 0 {
				after.Alerts[i] = a
			} else {
				after.Alerts = append(after.Alerts, a)
			}
		}
		after.Deliveries = append(slices.Clone(in.Deliveries), d.Deliveries...)
		after.Timeline = append(slices.Clone(in.Timeline), d.Timeline...)
		m.incidents[number] = after
	}
	return d
}

func (m *memory) Act(_ context.Context, number int64, c oncall.Command, _ string) (oncall.Decision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return oncall.Decision{}, m.broken
	}
	if _, ok := m.incidents[number]; !ok {
		return oncall.Decision{}, oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
	}
	return m.decide(number, now(), c), nil
}

func (m *memory) Silence(ctx context.Context, number int64, w oncall.SilenceWish, _ string) (notifier.Silenced, error) {
	in, err := m.Incident(ctx, number)
	if err != nil {
		return notifier.Silenced{}, err
	}
	s, err := oncall.SilenceOf(in, w, now())
	if err != nil {
		return notifier.Silenced{}, err
	}
	s.ID = "5f1c1f9e-0000-4000-8000-000000000001"
	m.mu.Lock()
	defer m.mu.Unlock()
	m.decide(number, now(), oncall.SilencedNote(s, w.Via))
	return notifier.Silenced{Silence: s, Incident: in, Reply: "silenced: " + s.Matchers.String()}, nil
}

func (m *memory) Incident(_ context.Context, number int64) (oncall.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return oncall.Incident{}, m.broken
	}
	in, ok := m.incidents[number]
	if !ok {
		return in, oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
	}
	return in, nil
}

func (m *memory) Incidents(_ context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	var list []oncall.Incident
	for n := int64(100); n > 0; n-- {
		in, ok := m.incidents[n]
		if !ok || len(f.States) > 0 && !slices.Contains(f.States, in.State) || f.Before > 0 && n >= f.Before || len(list) == f.Limit {
			continue
		}
		in.Timeline, in.Deliveries = nil, nil
		list = append(list, in)
	}
	return list, nil
}

func (m *memory) Why(ctx context.Context, number int64) (string, error) {
	in, err := m.Incident(ctx, number)
	return "because of " + in.Title, err
}

func (m *memory) Healthy(context.Context) error { return m.broken }

func (m *memory) Delivery(_ context.Context, key string) (oncall.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, in := range m.incidents {
		for _, d := range in.Deliveries {
			if d.Key == key {
				return d, m.broken
			}
		}
	}
	return oncall.Delivery{}, oncall.Errorf(oncall.CodeNotFound, "there is no such delivery")
}

// site makes the handlers over m; change may alter the options.
// revoked counts how often the addresses of calendars were revoked.
type revoked struct {
	sync.Mutex
	times map[oncall.CalendarOf]int64
}

func (r *revoked) CalendarRevoked(_ context.Context, c oncall.CalendarOf) (int64, error) {
	r.Lock()
	defer r.Unlock()
	return r.times[c], nil
}

func (r *revoked) RevokeCalendar(_ context.Context, _ oncall.Write, c oncall.CalendarOf) (int64, error) {
	r.Lock()
	defer r.Unlock()
	if r.times == nil {
		r.times = map[oncall.CalendarOf]int64{}
	}
	r.times[c]++
	return r.times[c], nil
}

func site(t *testing.T, m *memory, change func(*Options)) *Web {
	t.Helper()
	o := Options{Acts: m, Store: m, Calendars: &revoked{}, ExternalURL: external,
		Evaluated: func() bool { return m.evaluated },
		Standby:   func() bool { return m.standby },
		Policy:    func() oncall.Policy { return m.policy },
		Reload:    func() error { return m.reloaded },
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// ask sends one request; header holds pairs of name and value.
func ask(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, "http://tocsin.example"+target, r)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}
