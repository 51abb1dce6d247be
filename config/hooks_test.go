package config

import (
	"testing"

	"tocsin/notifier/pager"
	"tocsin/oncall"
)

// TestPagersBothWays: which entries are brought to by tocsin's own senders, and where they report back.
func TestPagersBothWays(t *testing.T) {
	f := smallFiles()
	f["tocsin.yml"] = `
users: [{name: ana}]
route: {receiver: duty}
receivers:
- name: duty
  pagerduty_configs: [{routing_key_file: pd}, {service_key_file: pd}, {routing_key_file: pd, url: 'http://relay.internal/enqueue'}]
  opsgenie_configs: [{api_key_file: og, api_url: 'https://api.eu.opsgenie.com', update_alerts: true}]
  pagerduty_webhook: {secret_files: [old, new], users: {PANA: ana}}
  opsgenie_webhook: {secret_env: OG_HOOK}
`
	f["old"], f["new"] = "an-old-secret-of-the-hook", "a-new-secret-of-the-hook"
	f["$OG_HOOK"] = "a-secret-of-the-environment"
	plan, problems := load("tocsin.yml", f.source())
	if plan == nil {
		t.Fatal(problems)
	}
	duty := plan.PagerDuty
	if len(duty) != 2 || duty["pagerduty_configs:duty/0"].AllowPrivate || !duty["pagerduty_configs:duty/2"].AllowPrivate {
		t.Errorf("PagerDuty: %v", duty)
	}
	genie := plan.Opsgenie["opsgenie_configs:duty/0"]
	if genie.URL == nil || genie.URL.String() != "https://api.eu.opsgenie.com/" || !genie.UpdateAlerts {
		t.Errorf("Opsgenie: %v", genie)
	}
	pd, og := plan.Hooks[pager.HookName{Vendor: "pagerduty", Receiver: "duty"}], plan.Hooks[pager.HookName{Vendor: "opsgenie", Receiver: "duty"}]
	if len(pd.Secrets) != 2 || pd.Secrets[1] != "a-new-secret-of-the-hook" || pd.Users["PANA"].Value != "ana" || len(og.Secrets) != 1 {
		t.Errorf("%d and %d secrets, users %v", len(pd.Secrets), len(og.Secrets), pd.Users)
	}
	acks := map[oncall.Endpoint]bool{}
	for _, i := range plan.Policy.Receivers["duty"].Integrations {
		acks[i.Endpoint] = i.Acks
	}
	if !acks["pagerduty_configs:duty/0"] || acks["pagerduty_configs:duty/1"] || !acks["opsgenie_configs:duty/0"] {
		t.Errorf("who hears of acknowledgements: %v", acks)
	}
}
