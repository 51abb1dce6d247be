package alertmanager

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"tocsin/notifier"
	"tocsin/notifier/alertmanager/alertmanagertest"
	"tocsin/notifier/sendertest"
	"tocsin/oncall"
	"tocsin/problem"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// decoded is a configuration in a folder of its own.
func decoded(t testing.TB, text string, files map[string]string) (*Config, problem.List) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, problems := problem.Parse(filepath.Join(dir, "am.yml"), []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return Decode(d, true)
}

func newSenders(t testing.TB, text string, files map[string]string) *Senders {
	t.Helper()
	c, problems := decoded(t, text, files)
	if c == nil {
		t.Fatal(problems)
	}
	s, err := NewSenders(c, Options{ExternalURL: &url.URL{Scheme: "https", Host: "tocsin.example"}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

var quiet = log.New(io.Discard, "", 0)

func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	s.Config.ErrorLog = quiet
	t.Cleanup(s.Close)
	return s.URL
}

func incident(key string) oncall.Incident {
	return oncall.Incident{Number: 42, Key: key, GroupLabels: labels.FromStrings("service", "session"), State: oncall.IncidentTriggered,
		Alerts: []oncall.IncidentAlert{{Labels: labels.FromStrings("alertname", "High", "service", "session"), State: oncall.StateFiring,
			Annotations: map[string]string{"summary": "memory"}, StartsAt: time.Unix(1_700_000_000, 0).UTC()}}}
}

func message(endpoint oncall.Endpoint, key string, kind oncall.DeliveryKind) notifier.Message {
	return notifier.Message{Delivery: oncall.Delivery{Key: "d-" + key, Endpoint: endpoint, Kind: kind, Attempts: 1}, Incident: incident(key)}
}

const oneReceiver = "route: {receiver: r}\nreceivers:\n- name: r\n"

// TestConformance runs the suite of all senders over the webhook, as a target of a tier.
func TestConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		f := alertmanagertest.NewWebhook()
		front := sendertest.NewFront(f)
		base := strings.TrimPrefix(listen(t, front), "http://")
		s := newSenders(t, oneReceiver+fmt.Sprintf("  webhook_configs: [{url: 'http://me:hunter2@%s/hook/tok3n?key=sesame', http_config: {http_headers: {X-Key: {secrets: [letmein]}}}}]\n", base), nil)
		endpoint := oncall.IntegrationEndpoint("webhook_configs", "r", 0)
		return sendertest.Harness{
			Sender: s, Behave: f.Behave, Recorded: f.Keys, Arrived: f.Arrived(), Front: front, Follows: true,
			Message: func(key string) notifier.Message { return message(endpoint, key, oncall.KindTriggered) },
			Secrets: []string{"hunter2", "tok3n", "sesame", "letmein"},
		}
	})
}

// TestPagerDutyConformance: the incident's key makes the same dedup_key for each attempt.
func TestPagerDutyConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		f := alertmanagertest.NewPagerDuty()
		s := newSenders(t, oneReceiver+fmt.Sprintf("  pagerduty_configs: [{routing_key_file: key, url: '%s/enqueue', send_resolved: true}]\n", listen(t, f)),
			map[string]string{"key": "R0UT1NG\n"})
		endpoint := oncall.IntegrationEndpoint("pagerduty_configs", "r", 0)
		var mu sync.Mutex // guards keys
		keys := map[string]string{}
		return sendertest.Harness{
			Sender: s, Behave: f.Behave, Arrived: f.Arrived(), Secrets: []string{"R0UT1NG"},
			Message: func(key string) notifier.Message {
				mu.Lock()
				defer mu.Unlock()
				keys[dedupKey(key)] = key
				return message(endpoint, key, oncall.KindTriggered)
			},
			Recorded: func() []string {
				mu.Lock()
				defer mu.Unlock()
				var out []string
				for _, k := range f.Keys() {
					out = append(out, keys[k])
				}
				return out
			},
		}
	})
}

func groupDelivery(endpoint oncall.Endpoint, n int) oncall.GroupDelivery {
	d := oncall.GroupDelivery{Key: "g1", Endpoint: endpoint, Receiver: "r", GroupKey: `{}/{team="shop"}:{alertname="High"}`,
		GroupLabels: labels.FromStrings("alertname", "High"), Reason: oncall.ReasonFirstNotification, Attempts: 1}
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for i := range n {
		a := oncall.GroupAlert{Labels: labels.FromStrings("alertname", "High", "instance", fmt.Sprintf("shop-%04d:9100", i), "team", "shop"),
			Annotations: labels.FromStrings("summary", "memory is high", "description", strings.Repeat("a long text ", 10)),
			StartsAt:    start, UpdatedAt: start, GeneratorURL: "http://prometheus.example/graph?g0.expr=up"}
		if i%2 == 1 {
			a.EndsAt = start.Add(time.Minute)
		}
		d.Alerts = append(d.Alerts, a)
	}
	return d
}

// TestWebhookBody compares the body of a group's notification with the golden one, which is Alertmanager's.
func TestWebhookBody(t *testing.T) {
	f := alertmanagertest.NewWebhook()
	s := newSenders(t, oneReceiver+"  webhook_configs: [{url: '"+listen(t, f)+"'}]\n", nil)
	route := &oncall.Route{ID: "{}", Labels: map[string]string{"owner": "{{ .GroupLabels.alertname }}-team", "note": `{{ routeLabels "owner" }}!`}}
	a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("webhook_configs", "r", 0), 2), route, oncall.Notice{})
	if a.Outcome != oncall.OutcomeDelivered || a.Status != 200 || len(f.Problems()) > 0 {
		t.Fatalf("%+v %v", a, f.Problems())
	}
	got := f.Bodies()[0]
	if *update {
		if err := os.WriteFile("testdata/webhook.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/webhook.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestResolved: what resolved is sent where send_resolved says so.
func TestResolved(t *testing.T) {
	for _, resolved := range []bool{true, false} {
		f := alertmanagertest.NewWebhook()
		s := newSenders(t, oneReceiver+fmt.Sprintf("  webhook_configs: [{url: '%s', send_resolved: %t}]\n", listen(t, f), resolved), nil)
		endpoint := oncall.IntegrationEndpoint("webhook_configs", "r", 0)
		d := groupDelivery(endpoint, 3)
		if a := s.SendGroup(t.Context(), d, nil, oncall.Notice{}); a.Outcome != oncall.OutcomeDelivered {
			t.Fatal(a)
		}
		var m struct{ Alerts []any }
		if err := json.Unmarshal(f.Bodies()[0], &m); err != nil || (len(m.Alerts) == 3) != resolved {
			t.Error(err, len(m.Alerts), resolved)
		}
		d.Alerts = d.Alerts[1:2]
		if a := s.SendGroup(t.Context(), d, nil, oncall.Notice{}); a.Outcome != oncall.OutcomeDelivered || (len(f.Bodies()) == 2) != resolved {
			t.Error(a, len(f.Bodies()))
		}
	}
}

// TestIncidentKinds: updates and the resolution reach the far end under the incident's key; an acknowledgement does not.
func TestIncidentKinds(t *testing.T) {
	f := alertmanagertest.NewPagerDuty()
	s := newSenders(t, oneReceiver+"  pagerduty_configs: [{routing_key: hunter2, url: '"+listen(t, f)+"'}]\n", nil)
	e := oncall.IntegrationEndpoint("pagerduty_configs", "r", 0)
	for _, kind := range []oncall.DeliveryKind{oncall.KindTriggered, oncall.KindUpdated, oncall.KindAcknowledged, oncall.KindResolved} {
		m := message(e, "inc-1", kind)
		m.Incident.ResolvedAt = time.Now()
		if a := s.Send(t.Context(), m); a.Outcome != oncall.OutcomeDelivered {
			t.Fatal(kind, a)
		}
	}
	var actions []string
	for _, b := range f.Bodies() {
		var m struct {
			Action string `json:"event_action"`
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		actions = append(actions, m.Action)
	}
	want := []string{"trigger", "trigger", "resolve"}
	if diff := cmp.Diff(want, actions); diff != "" || len(f.Problems()) > 0 || f.Keys()[0] != f.Keys()[2] {
		t.Error(diff, f.Problems(), f.Keys())
	}
}

func TestOpsgenie(t *testing.T) {
	f := alertmanagertest.NewOpsgenie()
	s := newSenders(t, oneReceiver+"  opsgenie_configs: [{api_key: hunter2, api_url: '"+listen(t, f)+"'}]\n", nil)
	e := oncall.IntegrationEndpoint("opsgenie_configs", "r", 0)
	if a := s.SendGroup(t.Context(), groupDelivery(e, 5000), nil, oncall.Notice{}); a.Outcome != oncall.OutcomeDelivered {
		t.Error(a, f.Problems())
	}
	f.Behave(sendertest.Limited)
	if a := s.SendGroup(t.Context(), groupDelivery(e, 1), nil, oncall.Notice{}); a.Outcome != oncall.OutcomeRetry || a.RetryAfter != sendertest.RetryAfter {
		t.Error(a)
	}
}

const longSlack = `  slack_configs:
  - api_url: '%s'
    channel: '#a'
    text: '{{ range .Alerts }}{{ .Labels.instance }}: {{ .Annotations.description }} {{ end }}'
    pretext: '{{ range .Alerts }}{{ .Labels.instance }} {{ end }}'
    fields: [{title: all, value: '{{ range .Alerts }}{{ .Labels.instance }} {{ end }}'}]
`

// TestSlackTakesThousands: a message about 5,000 alerts is cut, not refused.
func TestSlackTakesThousands(t *testing.T) {
	f := alertmanagertest.NewSlack()
	s := newSenders(t, oneReceiver+fmt.Sprintf(longSlack, listen(t, f)), nil)
	for _, n := range []int{1, 21, 5000} {
		a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("slack_configs", "r", 0), n), nil, oncall.Notice{})
		if a.Outcome != oncall.OutcomeDelivered || len(f.Problems()) > 0 {
			t.Errorf("%d alerts: %+v %v", n, a, f.Problems())
		}
	}
	if got := string(f.Bodies()[2]); !strings.Contains(got, "the message is too long for Slack") {
		t.Error("the message does not say that it is cut")
	}
	if got := string(f.Bodies()[0]); strings.Contains(got, "too long") {
		t.Error(got)
	}
}

// TestTemplatesThatFail: the message goes out whatever its templates do, and says what they did.
func TestTemplatesThatFail(t *testing.T) {
	files := map[string]string{"own.tmpl": `{{ define "own" }}{{ range .Alerts }}{{ template "own" $ }}{{ template "own" $ }}{{ end }}{{ end }}
{{ define "deep" }}{{ template "deep" . }}{{ end }}{{ define "fine" }}fine {{ .Status }}{{ end }}`}
	for name, text := range map[string]string{
		"unknown field": `{{ .Nope.Nope }}`, "unknown template": `{{ template "nope" . }}`, "no template": `{{ if }}`,
		"endless": `{{ range 9223372036854775807 }}{{ end }}`, "endless with output": `{{ range 9223372036854775807 }}xxxxxxxxxxxxxxxxx{{ end }}`,
		"exponential": `{{ template "own" . }}`, "recursion": `{{ template "deep" . }}`, "panic": `{{ reReplaceAll "(" "x" "y" }}`,
		"defined in place": `{{ define "x" }}{{ range 10000000000 }}{{ end }}{{ end }}{{ template "x" }}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := alertmanagertest.NewSlack()
			s := newSenders(t, oneReceiver+fmt.Sprintf("  slack_configs: [{api_url: '%s', channel: '#a', pretext: '{{ template \"fine\" . }}', text: %q}]\ntemplates: ['*.tmpl']\n", listen(t, f), text), files)
			a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("slack_configs", "r", 0), 3), nil, oncall.Notice{})
			if a.Outcome != oncall.OutcomeDelivered || !strings.Contains(a.Excerpt, "a template failed") || len(f.Bodies()) != 1 {
				t.Fatalf("%+v %v", a, f.Problems())
			}
			got := string(f.Bodies()[0])
			for _, want := range []string{"The template of this message failed", "2 firing, 0 resolved", "shop-0002:9100", "fine firing", `"channel":"#a"`} {
				if !strings.Contains(got, want) {
					t.Errorf("%s is not in %s", want, got)
				}
			}
		})
	}
}

// TestAnAddressThatFails is refused with the reason: nobody knows where else the message should go.
func TestAnAddressThatFails(t *testing.T) {
	f := alertmanagertest.NewPagerDuty()
	s := newSenders(t, oneReceiver+"  pagerduty_configs: [{url: '"+listen(t, f)+"', routing_key: '{{ .Nope.Nope }}'}]\n", nil)
	a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("pagerduty_configs", "r", 0), 1), nil, oncall.Notice{})
	if a.Outcome != oncall.OutcomeRefused || !strings.Contains(a.Error, "Nope") || len(f.Bodies()) > 0 {
		t.Errorf("%+v", a)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestUpdateMessage: what Slack gave to refer to a message comes back with the next notification of the group,
// and not with the first one after all was resolved.
func TestUpdateMessage(t *testing.T) {
	s := newSenders(t, "global: {slack_app_token: hunter2}\n"+oneReceiver+
		"  slack_configs: [{channel: '#a', api_url: 'https://slack.com/api/chat.postMessage', http_config: {authorization: {credentials: hunter2}}, update_message: true}]\n", nil)
	var got []string
	e := oncall.IntegrationEndpoint("slack_configs", "r", 0)
	clientOf(&s.integrations[e].sender).Transport.(*tapped).next = roundTripper(func(r *http.Request) (*http.Response, error) {
		var m struct{ Channel, TS string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			return nil, err
		}
		got = append(got, r.URL.Path+" "+m.Channel+" "+m.TS)
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"ok":true,"channel":"C1","ts":"1.2"}`)
		return w.Result(), nil
	})
	d := groupDelivery(e, 1)
	before := oncall.Notice{Remote: `{"threadTs":"0.1","channelId":"C0"}`}
	for _, d.Reason = range []string{oncall.ReasonFirstNotification, oncall.ReasonNewAlertsInGroup} {
		if a := s.SendGroup(t.Context(), d, nil, before); a.Outcome != oncall.OutcomeDelivered || a.Remote != `{"channelId":"C1","threadTs":"1.2"}` {
			t.Errorf("%+v", a)
		}
	}
	if diff := cmp.Diff([]string{"/api/chat.postMessage #a ", "/api/chat.update C0 0.1"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestSlackSaysNo: Slack's refusals come with status 200.
func TestSlackSaysNo(t *testing.T) {
	for answer, want := range map[string]oncall.Outcome{
		`{"ok":false,"error":"channel_not_found"}`: oncall.OutcomeRefused, `{"ok":false,"error":"ratelimited"}`: oncall.OutcomeRetry,
		`{"ok":false,"error":"internal_error"}`: oncall.OutcomeRetry, `nonsense`: oncall.OutcomeRetry,
	} {
		base := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, answer)
		}))
		s := newSenders(t, oneReceiver+"  slack_configs: [{api_url: '"+base+"/hunter2', channel: '#a'}]\n", nil)
		a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("slack_configs", "r", 0), 1), nil, oncall.Notice{})
		if a.Outcome != want || a.Error == "" || strings.Contains(fmt.Sprint(a), "hunter2") {
			t.Errorf("%s: %+v", answer, a)
		}
	}
}

// TestTLS: an answer's Retry-After is seen through TLS; a broken certificate is said, and tried again.
func TestTLS(t *testing.T) {
	f := alertmanagertest.NewWebhook()
	f.Behave(sendertest.Limited)
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	e := oncall.IntegrationEndpoint("webhook_configs", "r", 0)
	for config, want := range map[string]string{"{insecure_skip_verify: true}": "answered 429 Too Many Requests", "{}": "certificate"} {
		s := newSenders(t, oneReceiver+"  webhook_configs: [{url: '"+server.URL+"', http_config: {tls_config: "+config+"}}]\n", nil)
		a := s.SendGroup(t.Context(), groupDelivery(e, 1), nil, oncall.Notice{})
		if a.Outcome != oncall.OutcomeRetry || !strings.Contains(a.Error, want) || (a.Status == 429) != (a.RetryAfter == sendertest.RetryAfter) {
			t.Errorf("%s: %+v", config, a)
		}
	}
}

// TestTelegram: its HTTP client is out of sight for a part; a 429 is known all the same.
func TestTelegram(t *testing.T) {
	base := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7","parameters":{"retry_after":7}}`)
	}))
	s := newSenders(t, oneReceiver+"  telegram_configs: [{api_url: '"+base+"', bot_token: 'hunter2', chat_id: 5}]\n", nil)
	a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("telegram_configs", "r", 0), 1), nil, oncall.Notice{})
	if a.Outcome != oncall.OutcomeRetry || a.RetryAfter != 7*time.Second || strings.Contains(fmt.Sprint(a), "hunter2") {
		t.Errorf("%+v", a)
	}
}

// TestNobodyListens: a connection that was refused never left.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := newSenders(t, oneReceiver+"  webhook_configs: [{url: 'http://"+l.Addr().String()+"/hunter2'}]\n", nil)
	a := s.SendGroup(t.Context(), groupDelivery(oncall.IntegrationEndpoint("webhook_configs", "r", 0), 1), nil, oncall.Notice{})
	if a.Outcome != oncall.OutcomeRetry || !strings.Contains(a.Error, "could not reach") || strings.Contains(fmt.Sprint(a), "hunter2") {
		t.Errorf("%+v", a)
	}
	if a := s.SendGroup(t.Context(), groupDelivery("webhook_configs:gone/0", 1), nil, oncall.Notice{}); a.Outcome != oncall.OutcomeRefused {
		t.Errorf("%+v", a)
	}
}
