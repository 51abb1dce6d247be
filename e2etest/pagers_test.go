package e2etest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tocsin/notifier/pager/pagertest"
)

// pagersConfig: alerts open incidents that are brought to PagerDuty and Opsgenie, which report back. The old service of
// the Events API v1 is left to Alertmanager's notifier.
const pagersConfig = `
users:
- {name: ana, email: ana@shop.example}
escalations:
- name: shop
  deliver_within: 5s
  tiers: [{receiver: both}]
route: {receiver: team, group_by: [alertname]}
receivers:
- name: team
  escalation: shop
- name: both
  pagerduty_configs:
  - {routing_key_file: pd, url: $PD, details: {team: '{{ .CommonLabels.team }}'}}
  opsgenie_configs: [{api_key_file: og, api_url: $OG}]
  pagerduty_webhook: {secret_file: hook}
  opsgenie_webhook: {secret_file: hook}
`

const hookSecret = "a-secret-of-the-webhook"

// TestPagersBothWays runs the program between PagerDuty and Opsgenie: what is done on one side is done on the others,
// also over a kill.
func TestPagersBothWays(t *testing.T) {
	pd, og := pagertest.NewPagerDuty(strings.Repeat("k", 32)), pagertest.NewOpsgenie("genie-key", "")
	pd.SignWith(hookSecret)
	pdURL, ogURL := httptest.NewServer(pd), httptest.NewServer(og)
	t.Cleanup(pdURL.Close)
	t.Cleanup(ogURL.Close)
	d := prepare(t, ours(), "", strings.NewReplacer("$PD", pdURL.URL+"/v2/enqueue", "$OG", ogURL.URL).Replace(pagersConfig))
	d.write("pd", strings.Repeat("k", 32)+"\n")
	d.write("og", "genie-key\n")
	d.write("hook", hookSecret+"\n")
	d.start()

	d.post(map[string]string{"alertname": "CheckoutDown", "team": "shop", "severity": "critical"})
	key := pagedIncident(t, d)
	is := func(duty, genie string) {
		t.Helper()
		if !until(patience, func() bool { return pd.Status(key) == duty && og.Status(key) == genie }) {
			t.Fatalf("there it is %q and %q, want %q and %q\n%q %q", pd.Status(key), og.Status(key), duty, genie, pd.Problems(), og.Problems())
		}
	}
	is("triggered", "open")
	first := pd.Events()[0].Payload
	if first.CustomDetails["team"] != "shop" || !strings.HasPrefix(first.Summary, "#1 ") || first.Severity != "critical" {
		t.Errorf("PagerDuty was told %+v", first)
	}

	pd.Do(key, "acknowledge", pagertest.Agent{ID: "PANA", Summary: "Ana", Type: "user_reference"})
	reportAll(t, d, pd, og, true)
	is("acknowledged", "acked")
	var in struct {
		State string
		By    string `json:"acknowledged_by"`
	}
	d.status(http.MethodGet, "/api/tocsin/v1/incidents/1", nil, &in)
	if in.State != "acknowledged" || in.By != "ana" {
		t.Errorf("here it is %s by %q", in.State, in.By)
	}

	og.Do(key, "Close", "ana@shop.example", "")
	reportAll(t, d, pd, og, false)
	is("resolved", "closed")
	reportAll(t, d, pd, og, false)
	// What was not confirmed when the program died is sent once more, under the same key.
	if got := slices.Compact(pd.Actions(key)); !slices.Equal(got, []string{"trigger", "resolve"}) {
		t.Errorf("PagerDuty was told %q", got)
	}
	if got := slices.Compact(og.Verbs(key)); !slices.Equal(got, []string{"create", "acknowledge"}) {
		t.Errorf("Opsgenie was told %q", got)
	}
	for _, p := range slices.Concat(pd.Problems(), og.Problems()) {
		t.Error(p)
	}
	if log := d.logged(); strings.Contains(log, hookSecret) || strings.Contains(log, "genie-key") || strings.Contains(log, strings.Repeat("k", 32)) {
		t.Error("a secret is in the log")
	}
}

// pagedIncident waits for the first incident, and returns its key.
func pagedIncident(t *testing.T, d *daemon) string {
	t.Helper()
	var in struct{ Key string }
	if !until(patience, func() bool { return d.status(http.MethodGet, "/api/tocsin/v1/incidents/1", nil, &in) == http.StatusOK }) {
		t.Fatal("no incident opens")
	}
	return in.Key
}

// reportAll sends the program what waits to be reported. With kill it dies right after each answer, and the report comes
// once more.
func reportAll(t *testing.T, d *daemon, pd *pagertest.PagerDuty, og *pagertest.Opsgenie, kill bool) {
	t.Helper()
	for vendor, reports := range map[string][]*http.Request{"pagerduty": pd.Reports(), "opsgenie": og.Reports()} {
		for _, r := range reports {
			send := func() {
				t.Helper()
				if status, said := sendReport(t, d, vendor, r); status != http.StatusOK {
					t.Errorf("a report of %s was answered %d %s", vendor, status, said)
				}
			}
			if send(); kill && vendor == "pagerduty" {
				d.kill()
				d.start()
				send()
			}
		}
	}
}

func sendReport(t *testing.T, d *daemon, vendor string, r *http.Request) (int, string) {
	t.Helper()
	u, err := url.Parse(fmt.Sprintf("%s/hooks/%s/both", d.url(), vendor))
	if err != nil {
		t.Fatal(err)
	}
	out := r.Clone(t.Context())
	out.URL, out.Host = u, u.Host
	if out.Body, err = r.GetBody(); err != nil {
		t.Fatal(err)
	}
	if vendor == "opsgenie" {
		out.Header.Set("Authorization", "Bearer "+hookSecret)
	}
	res, err := apiClient.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}
