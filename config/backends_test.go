package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const many = `
prometheus:
- {name: shop, url: http://127.0.0.1:9090}
- {name: till, url: https://till.example/prom, compression: on, headers: {X-Scope-OrgID: till}}
rule_files: [r.yml]
remote_write: {url: http://127.0.0.1:9090/api/v1/write}
alertmanagers: [{url: http://old-alertmanager:9093}]
escalations: [{name: default, tiers: [{receiver: p}]}]
receivers: [{name: p, page_configs: [{url: https://p.example/x, secret_env: PAGE}]}]
`

const manyRules = `
groups:
- name: shop
  rules:
  - {record: instance:ratio, expr: a / b}
  - {alert: High, expr: instance:ratio > 0.8, recover: 0.7, no_data: hold}
- name: till
  prometheus: till
  headers: {X-Scope-OrgID: other}
  rules:
  - {alert: Gone, expr: x < 1, no_data: alert}
`

func manyFiles() files {
	f := smallFiles()
	f["tocsin.conf"], f["r.yml"] = many, manyRules
	return f
}

func TestFarEnds(t *testing.T) {
	plan, problems := load("tocsin.conf", manyFiles().source())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if plan.Prometheus.Name != "shop" || plan.Prometheus.URL.Host != "127.0.0.1:9090" || plan.Backends["till"].URL.Path != "/prom" ||
		plan.Backends["till"].Compression != "on" || plan.Backends["till"].Headers["X-Scope-OrgID"] != "till" {
		t.Errorf("%+v", plan.Backends)
	}
	if names := slices.Sorted(maps.Keys(plan.Backends)); !slices.Equal(names, []string{"shop", "till"}) {
		t.Error(names)
	}
	if plan.RemoteWrite == nil || plan.RemoteWrite.URL.Path != "/api/v1/write" || len(plan.Alertmanagers) != 1 || plan.Alertmanagers[0].URL.Host != "old-alertmanager:9093" {
		t.Errorf("%+v %+v", plan.RemoteWrite, plan.Alertmanagers)
	}
	if g := plan.Rules.Groups; g[0].Prometheus != "" || g[1].Prometheus != "till" || g[1].Headers["X-Scope-OrgID"] != "other" || g[0].Rules[0].Record == "" {
		t.Errorf("%+v", g)
	}
}

// TestFarEndsAndRules changes one thing that rules and configuration must agree on.
func TestFarEndsAndRules(t *testing.T) {
	single := "prometheus: {url: http://127.0.0.1:9090}\n" + many[strings.Index(many, "rule_files"):]
	for _, c := range []struct{ name, file, old, new, want string }{
		{"nowhere to write", "tocsin.conf", "remote_write: {url: http://127.0.0.1:9090/api/v1/write}", "", "r.yml:5:14: a recording rule needs remote_write: there is nowhere to write instance:ratio to"},
		{"misspelt backend", "r.yml", "prometheus: till", "prometheus: tll", `r.yml:8:15: unknown backend "tll" (did you mean "till"?)`},
		{"no names", "tocsin.conf", many, single, `r.yml:8:15: unknown backend "till" (name it in the configuration: prometheus: [{name: till, url: …}])`},
		{"bad writer", "tocsin.conf", "remote_write: {url: http://127.0.0.1:9090/api/v1/write}", "remote_write: {}", "tocsin.conf:6:15: remote_write needs a url"},
		{"bad Alertmanager", "tocsin.conf", "{url: http://old-alertmanager:9093}", "{}", "tocsin.conf:7:17: an Alertmanager needs a url"},
		{"the default by its name", "r.yml", "prometheus: till", "prometheus: shop", ""},
	} {
		f := manyFiles()
		if !strings.Contains(f[c.file], c.old) {
			t.Fatal(c.name)
		}
		f[c.file] = strings.Replace(f[c.file], c.old, c.new, 1)
		plan, problems := load("tocsin.conf", f.source())
		err := problems.Err()
		if c.want == "" && err != nil || c.want != "" && (plan != nil || err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\n got %v\nwant %s", c.name, err, c.want)
		}
	}
	f := manyFiles()
	f["tocsin.conf"], f["r.yml"] = single, strings.Replace(manyRules, "prometheus: till", "prometheus: default", 1)
	if plan, problems := load("tocsin.conf", f.source()); len(problems) > 0 || len(plan.Backends) != 1 {
		t.Error(problems)
	}
}
