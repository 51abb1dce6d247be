package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
)

const routed = `
route:
  receiver: both
  group_by: [service]
  routes:
  - receiver: team
    matchers: [team=shop]
  - receiver: quiet
    matchers: [team=quiet]
receivers:
- name: both
  webhook_configs: [{url: http://x/}, {url: http://y/, send_resolved: false}]
  page_configs: [{url: https://p.example/x, secret_env: PAGE}]
- name: team
  escalation: shop
  page_configs: [{url: https://p.example/y, secret_env: PAGE}]
- name: quiet
- name: unused
  page_configs: [{url: https://p.example/z, secret_env: PAGE}]
escalations: [{name: shop, tiers: [{receiver: both}]}]
`

func routedFiles(text string) files {
	f := smallFiles()
	f["tocsin.conf"] = text
	return f
}

// TestPagesByRoute: a receiver that pages, and to which a route leads, has an escalation of its own.
func TestPagesByRoute(t *testing.T) {
	plan, problems := load("tocsin.conf", routedFiles(routed).source())
	if plan == nil || len(problems) != 1 || !strings.Contains(problems[0].Error(), `the page_configs of "team" page nobody`) {
		t.Fatal(problems)
	}
	p := plan.Policy
	want := oncall.Escalation{Name: "receiver both", GroupBy: []string{"service"}, DeliverWithin: oncall.DefaultDeliverWithin,
		Tiers: []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: "both (pages)"}}}}}
	if diff := cmp.Diff(want, p.Escalations["receiver both"]); diff != "" {
		t.Error(diff)
	}
	both, pages := p.Receivers["both"], p.Receivers["both (pages)"]
	if both.Escalation != "receiver both" || len(both.Integrations) != 2 || both.Integrations[1].SendResolved || len(both.Endpoints) != 1 ||
		pages.Of != "both" || len(pages.Integrations) != 0 || pages.Endpoints[0] != oncall.PageEndpoint("both", 0) {
		t.Errorf("%+v %+v", both, pages)
	}
	if p.Receivers["team"].Escalation != "shop" || p.Receivers["unused"].Escalation != "" || len(p.Escalations) != 2 {
		t.Errorf("%+v", p.Escalations)
	}
	if root := p.Routing.Root; root == nil || len(root.Routes) != 2 || root.Routes[0].Receiver != "team" {
		t.Errorf("%+v", p.Routing)
	}
}

// TestOnlyAlertmanagers: a file with nothing of ours is valid where Alertmanager takes it, and told as such.
func TestOnlyAlertmanagers(t *testing.T) {
	for text, want := range map[string]string{
		"route: {receiver: r}\nreceivers: [{name: r, webhook_configs: [{url: http://x/}]}]\n":                                           "",
		"route: {receiver: r}\nreceivers: [{name: r}]\n":                                                                                `1:19: warning: alerts that name no escalation and match no other route are told to nobody: the receiver "r" has no integrations`,
		"receivers: [{name: r}]\n":                                                                                                      "there is no route",
		"route: {receiver: r}\nreceivers: [{name: r, webhook_configs: [{url: http://x/}]}]\ntracing: {endpoint: 'x:1'}\n":               "3:1: warning: nothing is traced by tocsin yet",
		"route: {receiver: r}\nreceivers: [{name: r, webhook_configs: [{url: http://x/}]}]\nrule_files: [r.yml]\n":                      "the section prometheus is missing",
		"route: {receiver: r}\nreceivers: [{name: r, webhook_configs: [{url: http://x/}]}]\nusers: [{name: ana}]\nscrape_configs: []\n": `unknown key "scrape_configs"`,
	} {
		_, problems := load("tocsin.conf", routedFiles(text).source())
		if got := printed(t, problems); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}
