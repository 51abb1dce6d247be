package main

import (
	"path/filepath"
	"strings"
	"testing"

	"tocsin/oncall"
)

const addressedConfig = `
prometheus: {url: http://127.0.0.1:9090}
heartbeats: [{name: backup, every: 24h, escalation: default}]
escalations: [{name: default, tiers: [{receiver: all}]}]
receivers:
- name: all
  page_configs: [{url: 'http://127.0.0.1:1/phone', secret_file: secret}]
  twilio_configs:
  - {account_sid: AC0123456789abcdef0123456789abcdef, auth_token_file: token, from: '+34600000001', to: '+34600000002', mode: voice}
  - {account_sid: AC0123456789abcdef0123456789abcdef, auth_token_file: token, from: '+34600000001', to: '+34600000003', mode: sms}
  ntfy_configs: [{url: 'http://127.0.0.1:2/', topic: quiet-owl}]
  pagerduty_configs: [{routing_key: duty-key-0123456789}]
  opsgenie_configs: [{api_key: genie-key}]
  email_configs: [{to: ana@example.org, from: tocsin@example.org, smarthost: '127.0.0.1:25'}]
`

// TestAddressMarks: every kind of endpoint has a mark that changes with where it leads and with nothing else, and shows
// nothing of it.
func TestAddressMarks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	write(t, dir, "token", "0123456789abcdef0123456789abcdef")
	marks := func(text, key string) map[oncall.Endpoint]string {
		t.Helper()
		write(t, dir, "tocsin.yml", text)
		plan, _, err := loadPlan(filepath.Join(dir, "tocsin.yml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range plan.Policy.Receivers {
			for _, e := range r.Endpoints {
				if addresses(plan, []byte(key))[e] == "" {
					t.Errorf("%s has no mark", e)
				}
			}
		}
		return addresses(plan, []byte(key))
	}
	before := marks(addressedConfig, "key")
	for what, c := range map[string]struct{ old, new, endpoint string }{
		"page":      {"/phone", "/other", "page:all/0"},
		"call":      {"+34600000002", "+34600000009", "call:all/0"},
		"SMS":       {"+34600000003", "+34600000009", "sms:all/1"},
		"topic":     {"quiet-owl", "quiet-fox", "ntfy:all/0"},
		"PagerDuty": {"duty-key-0", "duty-key-9", "pagerduty_configs:all/0"},
		"Opsgenie":  {"genie-key", "genie-yek", "opsgenie_configs:all/0"},
		"mail":      {"ana@", "bo@", "email_configs:all/0"},
		"caller":    {"+34600000001", "+34600000008", ""},
		"sender":    {"tocsin@", "pager@", ""},
	} {
		after := marks(strings.ReplaceAll(addressedConfig, c.old, c.new), "key")
		for e, m := range after {
			if changed := m != before[e]; changed != (string(e) == c.endpoint) {
				t.Errorf("%s: the mark of %s changed: %v", what, e, changed)
			}
			if len(m) != 16 {
				t.Errorf("%s: %q", e, m)
			}
		}
	}
	for e, m := range marks(addressedConfig, "another key") {
		if m == before[e] {
			t.Errorf("%s: the mark does not depend on the key", e)
		}
	}
}
