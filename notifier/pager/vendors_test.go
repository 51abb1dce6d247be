package pager_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/sendertest"
	"tocsin/oncall"
)

const (
	routingKey = "0123456789abcdef0123456789abcdef"
	genieKey   = "eb243592-faa2-4ba2-a551q-1afdf565c889"
)

var (
	pdEndpoint = oncall.IntegrationEndpoint("pagerduty_configs", "duty", 0)
	ogEndpoint = oncall.IntegrationEndpoint("opsgenie_configs", "duty", 0)
)

// incident is one with some firing alerts.
func incident(key string, firing int) oncall.Incident {
	in := oncall.Incident{Number: 42, Key: key, State: oncall.IncidentTriggered, Title: "Session memory at 82%", Severity: "critical",
		Escalation: "session-oncall", Why: "its rule names it", GroupLabels: labels.FromStrings("service", "session"),
		TriggeredAt: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}
	for i := range firing {
		in.Alerts = append(in.Alerts, oncall.IncidentAlert{
			Fingerprint: oncall.Fingerprint("fp"), State: oncall.StateFiring, Value: "0.82", StartsAt: in.TriggeredAt,
			Labels:       labels.FromStrings("alertname", "SessionMemoryHigh", "service", "session", "severity", "critical", "instance", "session-"+string('a'+rune(i%26))),
			Annotations:  map[string]string{"summary": "Session memory at 82%", "runbook_url": "https://wiki.example/memory"},
			GeneratorURL: "https://prom.example/graph?g0.expr=x",
		})
	}
	return in
}

func told(endpoint oncall.Endpoint, key string, kind oncall.DeliveryKind) notifier.Message {
	return notifier.Message{Delivery: oncall.Delivery{Key: "msg_" + key, Incident: 42, Endpoint: endpoint, Kind: kind, Attempts: 1}, Incident: incident(key, 1)}
}

func account(t testing.TB, rawURL, key string) pager.Account {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return pager.Account{URL: u, Key: func() (string, error) { return key, nil }, HTTP: promconfig.DefaultHTTPClientConfig}
}

func newPagerDuty(t testing.TB, a pager.Account, o pager.AccountOptions) *pager.PagerDuty {
	t.Helper()
	if o.ExternalURL == "" {
		o.ExternalURL = "https://tocsin.example"
	}
	p, err := pager.NewPagerDuty(map[oncall.Endpoint]pager.Account{pdEndpoint: a}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func newOpsgenie(t testing.TB, a pager.Account, o pager.AccountOptions) *pager.Opsgenie {
	t.Helper()
	if o.ExternalURL == "" {
		o.ExternalURL = "https://tocsin.example"
	}
	s, err := pager.NewOpsgenie(map[oncall.Endpoint]pager.Account{ogEndpoint: a}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// faultOf translates what the conformance suite asks for.
func faultOf(b sendertest.Behaviour) pagertest.Fault {
	return map[sendertest.Behaviour]pagertest.Fault{
		sendertest.Refuse: pagertest.NotFound, sendertest.Busy: pagertest.Busy, sendertest.Limited: pagertest.Limited(sendertest.RetryAfter),
		sendertest.Garbage: pagertest.Error, sendertest.Reset: pagertest.ResetAfter, sendertest.Hang: pagertest.HangAfter,
		sendertest.Echo: {Status: http.StatusBadRequest, Echo: true},
	}[b]
}

func TestPagerDutyConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		far := pagertest.NewPagerDuty(routingKey)
		front := sendertest.NewFront(far)
		a := account(t, strings.Replace(listen(t, front), "http://", "http://gate:pass-word@", 1)+"/hidden-path?token=query-token", routingKey)
		return sendertest.Harness{
			Sender: newPagerDuty(t, a, pager.AccountOptions{}), Arrived: far.Arrived(), Front: front,
			Behave:  func(b sendertest.Behaviour) { far.FailWith(func() pagertest.Fault { return faultOf(b) }) },
			Message: func(key string) notifier.Message { return told(pdEndpoint, key, oncall.KindTriggered) },
			Recorded: func() (keys []string) {
				for _, e := range far.Events() {
					keys = append(keys, e.Dedup)
				}
				return keys
			},
			Secrets: []string{routingKey, "pass-word", "query-token", "hidden-path", "Z2F0ZTpwYXNzLXdvcmQ"},
		}
	})
}

func TestOpsgenieConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		far := pagertest.NewOpsgenie(genieKey, "/jsm")
		front := sendertest.NewFront(far)
		return sendertest.Harness{
			Sender: newOpsgenie(t, account(t, listen(t, front)+"/jsm/", genieKey), pager.AccountOptions{}), Arrived: far.Arrived(), Front: front,
			Behave:  func(b sendertest.Behaviour) { far.FailWith(func() pagertest.Fault { return faultOf(b) }) },
			Message: func(key string) notifier.Message { return told(ogEndpoint, key, oncall.KindTriggered) },
			Recorded: func() (keys []string) {
				for _, c := range far.Calls() {
					keys = append(keys, c.Alias)
				}
				return keys
			},
			Secrets: []string{genieKey},
		}
	})
}

// TestNotAnAccount: what is no account is sent by others, and refused where there is nobody else.
func TestNotAnAccount(t *testing.T) {
	others := senderFunc(func(context.Context, notifier.Message) oncall.Attempt {
		return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
	})
	m := told("pagerduty_configs:old/0", "inc", oncall.KindTriggered)
	far := pagertest.NewPagerDuty(routingKey)
	a := account(t, "https://events.pagerduty.com/v2/enqueue", routingKey)
	if got := newPagerDuty(t, a, pager.AccountOptions{Others: others, Transport: far}).Send(t.Context(), m); got.Outcome != oncall.OutcomeDelivered {
		t.Errorf("others were not asked: %+v", got)
	}
	if got := newPagerDuty(t, a, pager.AccountOptions{Transport: far}).Send(t.Context(), m); got.Outcome != oncall.OutcomeRefused {
		t.Errorf("nobody sends it: %+v", got)
	}
	a.Key = func() (string, error) {
		return "", errors.New("its key cannot be read: open key: no such file or directory")
	}
	if got := newPagerDuty(t, a, pager.AccountOptions{Transport: far}).Send(t.Context(), told(pdEndpoint, "inc", oncall.KindTriggered)); got.Outcome != oncall.OutcomeRetry || !strings.Contains(got.Error, "no such file") {
		t.Errorf("without a key: %+v", got)
	}
	if far.Requests() > 0 {
		t.Error("something was sent")
	}
}

type senderFunc func(context.Context, notifier.Message) oncall.Attempt

func (f senderFunc) Send(ctx context.Context, m notifier.Message) oncall.Attempt { return f(ctx, m) }
