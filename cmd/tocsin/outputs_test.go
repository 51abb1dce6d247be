package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/evaluator/alertmanagers/alertmanagertest"
	"tocsin/evaluator/remotewrite/remotewritetest"
)

const recordingRules = `
groups:
- name: g
  rules:
  - {record: 'job:up', expr: up, labels: {by: tocsin}}
  - {alert: Down, expr: up < 1, no_data: hold, recover: 2}
`

// eventually waits for something that others bring about.
func eventually(t *testing.T, i *instance, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s\n%s", what, i.log)
		}
	}
}

// TestSeriesAreWritten: what recording rules compute and ALERTS reach the far end of remote_write, with the
// external labels; a reload points them elsewhere, or nowhere.
func TestSeriesAreWritten(t *testing.T) {
	noLeaks(t)
	dir, _ := configured(t)
	base, _ := backend(t)
	first, second := remotewritetest.New(nil), remotewritetest.New(nil)
	urls := map[*remotewritetest.Receiver]string{}
	for _, r := range []*remotewritetest.Receiver{first, second} {
		s := httptest.NewServer(r)
		t.Cleanup(s.Close)
		urls[r] = s.URL
	}
	configure := func(to *remotewritetest.Receiver) {
		text := fmt.Sprintf(configuration, base, base) + "external_labels: {cluster: shop-1}\n"
		if to != nil {
			text += "remote_write: {url: '" + urls[to] + "/write', headers: {X-Scope-OrgID: shop}}\n"
		}
		write(t, dir, "tocsin.yml", text)
	}
	write(t, dir, "rules.yml", recordingRules)
	configure(first)
	i := start(t, dir, nil)
	want := []string{`{__name__="job:up", by="tocsin", cluster="shop-1", job="shop"}`,
		`{__name__="ALERTS", alertname="Down", alertstate="firing", cluster="shop-1", job="shop"}`,
		`{__name__="ALERTS_FOR_STATE", alertname="Down", cluster="shop-1", job="shop"}`}
	has := func(r *remotewritetest.Receiver) func() bool {
		return func() bool {
			series := r.Series()
			for _, name := range want {
				if len(series[name]) < 2 {
					return false
				}
			}
			return true
		}
	}
	eventually(t, i, "series", has(first))
	if got := first.Headers().Get("X-Scope-OrgID"); got != "shop" {
		t.Errorf("header %q", got)
	}
	configure(second)
	if status, body := i.do(t, "POST", "/-/reload", ""); status != http.StatusOK {
		t.Fatal(status, body)
	}
	eventually(t, i, "series at the second far end", has(second))
	configure(nil)
	if status, body := i.do(t, "POST", "/-/reload", ""); status == http.StatusOK || !strings.Contains(body, "a recording rule needs remote_write") {
		t.Error(status, body)
	}
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Down"))
	if status, body := i.do(t, "POST", "/-/reload", ""); status != http.StatusOK {
		t.Fatal(status, body)
	}
	i.end(t)
	for _, r := range []*remotewritetest.Receiver{first, second} {
		if refused := r.Refused(); len(refused) > 0 {
			t.Error(refused)
		}
	}
}

// asked is a Prometheus that remembers what it was asked, and by which tenant.
type asked struct {
	mu      sync.Mutex
	tenants map[string]string // query → tenant
	url     string
}

func newAsked(t *testing.T) *asked {
	a := &asked{tenants: map[string]string{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.tenants[r.FormValue("query")] = r.Header.Get("X-Scope-OrgID")
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// tenant returns by whom a query was asked, "never" if it was not.
func (a *asked) tenant(query string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if tenant, ok := a.tenants[query]; ok {
		return tenant
	}
	return "never"
}

// TestGroupsAskTheirBackend: each group asks the backend that it names, as the tenant that it names.
func TestGroupsAskTheirBackend(t *testing.T) {
	noLeaks(t)
	dir, _ := configured(t)
	shop, till := newAsked(t), newAsked(t)
	_, rest, _ := strings.Cut(fmt.Sprintf(configuration, "", "http://127.0.0.1:1"), "}\n")
	write(t, dir, "tocsin.yml", fmt.Sprintf("prometheus: [{name: shop, url: '%s'}, {name: till, url: '%s', headers: {X-Scope-OrgID: till}}]\n", shop.url, till.url)+rest)
	write(t, dir, "rules.yml", `
groups:
- {name: a, rules: [{alert: A, expr: a}]}
- {name: b, prometheus: till, rules: [{alert: B, expr: b}]}
- {name: c, prometheus: till, headers: {X-Scope-OrgID: other}, rules: [{alert: C, expr: c}]}
- {name: d, prometheus: shop, rules: [{alert: D, expr: d}]}
`)
	i := start(t, dir, nil)
	eventually(t, i, "queries of all groups", func() bool {
		return shop.tenant("a") != "never" && shop.tenant("d") != "never" && till.tenant("b") != "never" && till.tenant("c") != "never"
	})
	for _, c := range []struct {
		at            *asked
		query, tenant string
	}{{shop, "a", ""}, {shop, "b", "never"}, {shop, "d", ""}, {till, "a", "never"}, {till, "b", "till"}, {till, "c", "other"}} {
		if got := c.at.tenant(c.query); got != c.tenant {
			t.Errorf("%s was asked by %q, want %q", c.query, got, c.tenant)
		}
	}
}

// TestAlertsAreSentOn: what fires reaches the Alertmanagers too, and what resolved; a reload without them
// ends it.
func TestAlertsAreSentOn(t *testing.T) {
	noLeaks(t)
	dir, _ := configured(t)
	base, _ := backend(t)
	am := alertmanagertest.New()
	s := httptest.NewServer(am)
	t.Cleanup(s.Close)
	with := fmt.Sprintf(configuration, base, base) + "external_labels: {cluster: shop-1}\n"
	write(t, dir, "tocsin.yml", with+"alertmanagers: [{url: '"+s.URL+"'}]\n")
	write(t, dir, "rules.yml", "groups: [{name: g, rules: [{alert: Down, expr: up == 0, annotations: {summary: s}}, {alert: Low, expr: up < 1}]}]")
	i := start(t, dir, nil)
	has := func(name string, firing bool) func() bool {
		return func() bool {
			a, ok := am.Alert("alertname", name)
			return ok && a.EndsAt.After(time.Now()) == firing
		}
	}
	eventually(t, i, "firing alerts", func() bool { return has("Down", true)() && has("Low", true)() })
	if a, _ := am.Alert("alertname", "Down"); a.Labels["cluster"] != "shop-1" || a.Annotations["summary"] != "s" || !strings.HasPrefix(a.GeneratorURL, base) {
		t.Errorf("%+v", a)
	}
	write(t, dir, "rules.yml", "groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]")
	if status, body := i.do(t, "POST", "/-/reload", ""); status != http.StatusOK {
		t.Fatal(status, body)
	}
	eventually(t, i, "resolved alert", has("Low", false))
	write(t, dir, "tocsin.yml", with)
	if status, body := i.do(t, "POST", "/-/reload", ""); status != http.StatusOK {
		t.Fatal(status, body)
	}
	if refused := am.Refused(); len(refused) > 0 {
		t.Error(refused)
	}
}
