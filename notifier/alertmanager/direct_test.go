package alertmanager

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
)

const directText = `global: {opsgenie_api_key_file: og}
route: {receiver: r}
templates: [t.tmpl]
receivers:
- name: r
  pagerduty_configs:
  - routing_key_file: pd
    description: '{{ .CommonAnnotations.summary }}!'
    severity: '{{ if eq .CommonLabels.service "session" }}warning{{ end }}'
    details: {team: shop, runs: 3, list: '[a, {{ .CommonLabels.service }}]', num_firing: 'x{{ .Alerts.Firing | len }}', broken: '{{ .Nothing.There }}'}
    links: [{href: 'https://wiki/{{ .CommonLabels.service }}', text: wiki}]
  - service_key: v1
  - routing_key: '{{ .CommonLabels.team }}'
  - routing_key: literal
    url: http://relay.internal/enqueue
    client: us
  - routing_key_file: missing
  - routing_key_file: templated
  opsgenie_configs:
  - responders: [{name: '{{ .CommonLabels.service }}', type: team}, {id: x, type: user}]
    tags: 'a,b'
    update_alerts: true
`

// TestDirect: which entries a sender of tocsin's own serves, and with which key.
func TestDirect(t *testing.T) {
	c, problems := decoded(t, directText, map[string]string{"pd": "key-of-file\n", "og": "genie", "t.tmpl": "{{ define \"x\" }}{{ end }}", "templated": "{{ .A }}"})
	if c == nil {
		t.Fatal(problems)
	}
	got := map[string]string{}
	for _, list := range directLists {
		for e, d := range c.Direct(list) {
			key, err := d.Key()
			if err != nil {
				key = "unreadable"
			}
			got[string(e)] = key
			if d.Named != (string(e) == "pagerduty_configs:r/3") {
				t.Errorf("%s: somebody named its URL: %v", e, d.Named)
			}
		}
	}
	want := map[string]string{"pagerduty_configs:r/0": "key-of-file", "pagerduty_configs:r/3": "literal", "pagerduty_configs:r/4": "unreadable", "opsgenie_configs:r/0": "genie"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, i := range c.Receivers()[0].Integrations {
		if _, direct := want[string(i.Endpoint)]; i.Acks != direct {
			t.Errorf("%s hears of acknowledgements: %v", i.Endpoint, i.Acks)
		}
	}
	if (*Config)(nil).Direct("pagerduty_configs") == nil || len(c.Direct("slack_configs")) > 0 {
		t.Error("entries out of nowhere")
	}
}

// TestWords: what the user wrote is rendered, Alertmanager's own texts are left to the incident.
func TestWords(t *testing.T) {
	s := newSenders(t, directText, map[string]string{"pd": "key", "og": "genie", "t.tmpl": `{{ define "opsgenie.default.message" }}ours{{ end }}`})
	words, failed := s.Words(t.Context(), message("pagerduty_configs:r/0", "inc", oncall.KindTriggered))
	want := map[string]any{
		"description": "memory!", "severity": "warning",
		"details": map[string]any{"team": "shop", "runs": 3, "list": []any{"a", "session"}, "num_firing": "x1"},
		"links":   []any{map[string]any{"href": "https://wiki/session", "text": "wiki"}},
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Error(diff)
	}
	if failed == nil || !strings.Contains(failed.Error(), "details.broken") {
		t.Errorf("failed: %v", failed)
	}
	words, failed = s.Words(t.Context(), message("opsgenie_configs:r/0", "inc", oncall.KindResolved))
	want = map[string]any{"message": "ours", "tags": "a,b", "responders": []any{map[string]any{"name": "session", "type": "team"}, map[string]any{"id": "x", "type": "user"}}}
	if diff := cmp.Diff(want, words); diff != "" || failed != nil {
		t.Error(diff, failed)
	}
	words, failed = s.Words(t.Context(), message("pagerduty_configs:r/3", "inc", oncall.KindTriggered))
	if diff := cmp.Diff(map[string]any{"client": "us", "source": "us"}, words); diff != "" || failed != nil {
		t.Error(diff, failed)
	}
	for _, e := range []oncall.Endpoint{"pagerduty_configs:r/1", "pagerduty_configs:gone/0"} {
		if words, failed := s.Words(t.Context(), message(e, "inc", oncall.KindTriggered)); words != nil || failed != nil {
			t.Errorf("%s: %v %v", e, words, failed)
		}
	}
}
