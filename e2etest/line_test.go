package e2etest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin/evaluator/promtest"
	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/slack/slacktest"
)

const lineConfig = `
prometheus: {url: $PROM}
rule_files: [rules.yml]
evaluation_interval: 1s
unknown_after: 3s
external_labels: {cluster: shop-1}
slack: {bot_token_file: slack-bot, signing_secret_file: slack-signing, api_url: $SLACK}
users:
- name: ana
  slack: U02ANA
  contacts:
  - slack: dm
  - {after: 500ms, receiver: ana-phone}
- {name: bo, slack: U03BO}
receivers:
- name: ana-phone
  page_configs: [{url: $PAGER/ana, secret_file: page}]
escalations:
- name: default
  tiers: [{slack: '#alerts'}]
- name: session-oncall
  group_by: [service]
  ack_timeout: 30m
  tiers:
  - {slack: '#session-alerts'}
  - {after: 2s, user: ana}
  - {after: 10m, user: bo}
`

const lineRules = `
groups:
- name: session-service
  rules:
  - alert: SessionMemoryHigh
    expr: session_memory_bytes / session_memory_limit_bytes > 0.8
    for: 1500ms
    escalation: session-oncall
    labels: {severity: critical, service: session}
    annotations:
      summary: 'Session memory at {{ $value | humanizePercentage }} on {{ $labels.instance }} <!channel>'
      runbook_url: https://runbooks.example/session-memory
  - alert: CheckoutErrorRateHigh
    expr: checkout_error_ratio > 0.05
    escalation: session-oncall
    labels: {severity: warning, service: session}
    annotations: {summary: 'Checkout fails for {{ $value | humanizePercentage }}'}
  - alert: DatabaseSlow
    expr: db_query_seconds > 1
    labels: {severity: warning, service: database}
`

// TestWholeLine is the main job on real parts: a real Prometheus, a rule file, a Slack message, a page, an
// acknowledgement by slash command, and the end.
func TestWholeLine(t *testing.T) {
	t.Parallel()
	exporter := promtest.NewExporter(t)
	exporter.Set(`session_memory_limit_bytes{pod="session-1"}`, 1000)
	exporter.Set(`session_memory_bytes{pod="session-1"}`, 500)
	exporter.Set(`checkout_error_ratio`, 0)
	exporter.Set(`db_query_seconds`, 0.01)
	prom := promtest.Start(t, promtest.Options{Targets: []string{exporter.Target()}})
	w := newWorld(t, prom.URL, lineConfig, lineRules)
	w.start()
	w.ready()
	if n := len(w.incidents()); n != 0 {
		t.Fatalf("%d incidents while all is well", n)
	}

	exporter.Set(`session_memory_bytes{pod="session-1"}`, 900)
	var message slacktest.Message
	w.eventually(patience, "Slack shows the incident", func() bool {
		ms := w.slack.Messages("#session-alerts")
		if len(ms) > 0 {
			message = ms[0]
		}
		return len(ms) > 0
	})
	for _, want := range []string{"Session memory at 90%", "critical", "runbooks.example"} {
		if !strings.Contains(string(message.Blocks), want) {
			t.Errorf("the message does not say %q:\n%s", want, message.Blocks)
		}
	}
	w.eventually(patience, "ana is paged", func() bool { return len(w.pager.Pages()) > 0 })
	w.eventually(patience, "ana gets a direct message", func() bool { return len(w.slack.Messages("U02ANA")) > 0 })

	exporter.Set(`checkout_error_ratio`, 0.3)
	w.eventually(patience, "the error rate joins the incident", func() bool { return len(w.incident(1).Alerts) == 2 })

	w.acknowledgeBySlashCommand(t)
	w.clientsAgree(t)

	exporter.Set(`session_memory_bytes{pod="session-1"}`, 400)
	exporter.Set(`checkout_error_ratio`, 0)
	w.eventually(patience, "the pager hears the end", func() bool { return w.lastPage().Type == "incident.resolved" })
	w.eventually(patience, "Slack shows the end", func() bool {
		m, ok := w.slack.Message(message.Channel, message.TS)
		return ok && strings.Contains(string(m.Blocks), "Resolved")
	})
	w.endsWell(t)
}

func (w *world) incident(number int64) incident {
	var in incident
	w.get(fmt.Sprintf("/api/tocsin/v1/incidents/%d", number), &in)
	return in
}

func (w *world) lastPage() (last pagertest.Page) {
	if ps := w.pager.Pages(); len(ps) > 0 {
		last = ps[len(ps)-1]
	}
	return last
}

func (w *world) acknowledgeBySlashCommand(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	if a, err := w.slack.Command(ctx, w.url, "ack", "U09EVE"); err != nil || w.incident(1).State != "triggered" {
		t.Errorf("a stranger: %v %+v, state %s", err, a, w.incident(1).State)
	}
	a, err := w.slack.Command(ctx, w.url, "ack", "U02ANA")
	if err != nil || a.Status != http.StatusOK || !strings.Contains(a.Text, "acknowledged") {
		t.Fatalf("/tocsin ack: %v %+v", err, a)
	}
	if in := w.incident(1); in.State != "acknowledged" || in.AcknowledgedBy != "ana" {
		t.Fatalf("after /tocsin ack: %s by %q", in.State, in.AcknowledgedBy)
	}
	if again, err := w.slack.Send(ctx, a.Request); err != nil || again.Status != http.StatusOK {
		t.Errorf("the same command again: %v %+v", err, again)
	}
	w.eventually(patience, "the pager hears of the acknowledgement", func() bool { return w.lastPage().Type == "incident.acknowledged" })
	if a, err := w.slack.Command(ctx, w.url, "ack #1", "U03BO"); err != nil || !strings.Contains(a.Text, "already acknowledged by ana") {
		t.Errorf("a second acknowledgement: %v %q", err, a.Text)
	}
}

// clientsAgree: the command line and why show the same story.
func (w *world) clientsAgree(t *testing.T) {
	t.Helper()
	out, code := w.run("incident", "show", "1")
	if code != 0 || !strings.Contains(out, "acknowledged") || !strings.Contains(out, "ana") {
		t.Errorf("incident show (exit %d):\n%s", code, out)
	}
	out, code = w.run("why", "1")
	for _, want := range []string{"session_memory_bytes / session_memory_limit_bytes > 0.8", "0.9", "session-1", "rules.yml", "ana-phone", "204"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("why (exit %d) does not say %q:\n%s", code, want, out)
		}
	}
	if out, code := w.run("health", "--ready"); code != 0 {
		t.Errorf("health --ready (exit %d): %s", code, out)
	}
	if out, code := w.run("incident", "ack", "99"); code != 1 || !strings.Contains(out, "99") {
		t.Errorf("ack of an unknown incident (exit %d): %s", code, out)
	}
}

// endsWell: nobody was pinged by a label, the far ends minded nothing, and SIGTERM ends it soon.
func (w *world) endsWell(t *testing.T) {
	t.Helper()
	for _, p := range w.pager.Problems() {
		t.Errorf("the pager minds: %s", p)
	}
	for _, p := range w.slack.Pings() {
		t.Errorf("somebody was pinged: %s", p)
	}
	if took := w.stop(); took > 10*time.Second {
		t.Errorf("SIGTERM took %s", took)
	}
}

// TestPrometheusFails: whatever the backend answers, nothing resolves, its alerts are unknown, one incident
// says so, and recovery is noticed.
func TestPrometheusFails(t *testing.T) {
	t.Parallel()
	nonsense := map[string]http.HandlerFunc{
		"500":  func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) },
		"html": func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "<html><body>login</body></html>") },
		"truncated": func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, `{"status":"success","data":{"resultType":"vec`)
		},
		"matrix": func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
		},
		"raw NaN": func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,NaN]}]}}`)
		},
		"10 MB": func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, strings.Repeat("x", 10<<20)) },
		"partial, empty": func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, `{"status":"success","warnings":["a store is down"],"data":{"resultType":"vector","result":[]}}`)
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for name, answer := range nonsense {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prom, url := newStub(t)
			w := newWorld(t, url, lineConfig, lineRules)
			const expr = "db_query_seconds > 1"
			prom.set(expr, "db-1", 3, true)
			w.start()
			w.eventually(patience, "the alert fires", func() bool { return len(w.incidents()) == 1 })
			prom.breakWith(answer)
			w.eventually(patience, "the alert is unknown", func() bool {
				in := w.incident(1)
				return len(in.Alerts) == 1 && !in.Alerts[0].UnknownSince.IsZero()
			})
			blind := func() (open, all int) {
				for _, in := range w.incidents() {
					if in.GroupLabels["alertname"] == "TocsinCannotEvaluate" {
						all++
						if in.State != "resolved" {
							open++
						}
					}
				}
				return open, all
			}
			w.eventually(patience, "TocsinCannotEvaluate fires for both escalations", func() bool { open, _ := blind(); return open == 2 })
			if in := w.incident(1); in.State != "triggered" || in.Alerts[0].State != "firing" {
				t.Errorf("a failed query made the incident %s and its alert %s", in.State, in.Alerts[0].State)
			}
			prom.breakWith(nil)
			w.eventually(patience, "recovery is noticed", func() bool {
				open, all := blind()
				in := w.incident(1)
				return open == 0 && all == 2 && in.Alerts[0].UnknownSince.IsZero() && in.State == "triggered"
			})
			prom.set(expr, "db-1", 0, false)
			w.eventually(patience, "the alert resolves when it is over", func() bool { return w.incident(1).State == "resolved" })
		})
	}
}
