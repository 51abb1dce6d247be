package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// weekly are ana's and cy's weeks since 2 January 2023, a Monday, handed over at nine in Madrid.
func weekly() oncall.Schedule {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		panic(err)
	}
	start := time.Date(2023, 1, 2, 9, 0, 0, 0, madrid)
	return oncall.Schedule{Name: "primary", TimeZone: madrid, Layers: []oncall.Layer{{Name: "weekly", Rosters: []oncall.Roster{{
		From: start, Users: [][]string{{"ana"}, {"cy"}}, Shadows: []string{"bo"}, Rotation: oncall.Rotation{Every: 7 * 24 * time.Hour, Anchor: start}}}}}}
}

// rota keeps overrides in the memory's policy, by the real core.
type rota struct {
	m    *memory
	seen map[string][]oncall.Override
}

func (o *rota) keep(request string, made []oncall.Override, err error) (notifier.Overridden, error) {
	if err != nil {
		return notifier.Overridden{}, err
	}
	for i := range made {
		made[i].ID = fmt.Sprint("o", len(o.m.policy.Overrides)+1)
		o.m.policy.Overrides = append(o.m.policy.Overrides, made[i])
	}
	if o.seen == nil {
		o.seen = map[string][]oncall.Override{}
	}
	o.seen[request] = made
	return notifier.Overridden{Overrides: made, Reply: "done"}, nil
}

func (o *rota) Add(_ context.Context, w oncall.OverrideWish, request string) (notifier.Overridden, error) {
	if made := o.seen[request]; request != "" && made != nil {
		return notifier.Overridden{Overrides: made, Reply: notifier.AlreadyDone}, nil
	}
	made, err := o.m.policy.PlanOverride(w, now())
	return o.keep(request, []oncall.Override{made}, err)
}

func (o *rota) Swap(_ context.Context, w oncall.SwapWish, request string) (notifier.Overridden, error) {
	made, err := o.m.policy.PlanSwap(w, now())
	return o.keep(request, made, err)
}

func (o *rota) End(_ context.Context, id, actor, _ string) (notifier.Overridden, error) {
	for i := range o.m.policy.Overrides {
		if x := &o.m.policy.Overrides[i]; x.ID == id {
			var err error
			*x, err = x.End(actor, now())
			return notifier.Overridden{Overrides: []oncall.Override{*x}, Reply: "ended"}, err
		}
	}
	return notifier.Overridden{}, oncall.OverrideNotFound(id)
}

func TestOverridesOverHTTP(t *testing.T) {
	m := newMemory()
	o := &rota{m: m}
	h := site(t, m, func(opts *Options) { opts.Overrides = o }).Handler()
	// Whoever is on call now, the other one takes over; a repeat does not do it twice.
	other := map[string]string{"ana": "cy", "cy": "ana"}
	s := m.policy.Schedules["primary"]
	users, _ := s.OnCall(nil, now())
	body := fmt.Sprintf(`{"user":"dee","schedule":"primary","who":%q,"replaces":%q,"for":"1h"}`, other[users[0]], users[0])
	for range 2 {
		if rec := ask(h, "POST", apiBase+"/overrides", body, "Idempotency-Key", "k1"); rec.Code != http.StatusCreated {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	if n := len(m.policy.Overrides); n != 1 || m.policy.Overrides[0].Author != "dee" {
		t.Errorf("%d overrides: %v", n, m.policy.Overrides)
	}
	rec := ask(h, "GET", apiBase+"/oncall?schedule=primary", "")
	var on []onCallView
	if err := json.Unmarshal(rec.Body.Bytes(), &on); err != nil || len(on) != 1 || on[0].Users[0] != other[users[0]] || !strings.Contains(on[0].Why, "instead of "+users[0]+" (by dee)") {
		t.Error(rec.Body, err)
	}
	for _, c := range []struct{ method, target, body, want string }{
		{"POST", "/overrides", `{"schedule":"primray","who":"ana","for":"1h"}`, `there is no schedule \"primray\" (did you mean \"primary\"?)`},
		{"POST", "/overrides", `{"schedule":"primary","whom":"ana"}`, `unknown field \"whom\"`},
		{"POST", "/overrides", `{"schedule":"primary","who":"ana","from":"monday","for":"1h"}`, "from: expected a date such as"},
		{"POST", "/swaps", `{"schedule":"primary","who":"ana","at":"","with":"cy","with_at":"2099-01-05"}`, "at: expected a date such as"},
		{"GET", "/overrides?schedul=x", "", "unknown parameter"},
	} {
		if rec := ask(h, c.method, apiBase+c.target, c.body); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.target, c.body, rec.Code, rec.Body, c.want)
		}
	}
	if rec := ask(h, "POST", apiBase+"/overrides", body, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Error("another site changes who is on call:", rec.Code)
	}
	if rec := ask(site(t, m, nil).Handler(), "POST", apiBase+"/overrides", body); rec.Code != http.StatusServiceUnavailable {
		t.Error(rec.Code)
	}
}

func TestSchedulesPage(t *testing.T) {
	m := newMemory()
	at := now()
	m.policy.Overrides = []oncall.Override{
		{ID: "ov1", Schedule: "primary", Kind: oncall.OverrideAdd, User: "<bo>", From: at.Add(time.Hour), To: at.Add(2 * time.Hour), Author: "dee"},
		{ID: "ov2", Schedule: "primary", Kind: oncall.OverrideRemove, User: "gone", From: at.Add(time.Hour), To: at.Add(2 * time.Hour)},
	}
	m.policy.Schedules["empty"] = oncall.Schedule{Name: "empty"}
	h := site(t, m, nil).Handler()
	for target, c := range map[string]struct {
		has   []string
		lacks string
	}{
		"/schedules":                                  {[]string{`aria-current="date"`, "today", ">ana</span>", ">cy</span>", "nobody", "Europe/Madrid", "&lt;bo&gt; too (by dee)", "changes nothing: there is no user gone any more", "Then "}, "style="},
		"/schedules?schedule=primary":                 {[]string{"primary"}, "empty"},
		"/schedules?schedule=%3Cb%3E":                 {[]string{"There is no schedule &lt;b&gt;."}, "<table"},
		"/schedules?from=2024-03-31&schedule=primary": {[]string{"25 Mar", "7 Apr", ">Today<", "?from=2024-04-08"}, `aria-current="date"`},
	} {
		rec := ask(h, "GET", target, "")
		if rec.Code != 200 {
			t.Fatal(target, rec.Code)
		}
		for _, part := range c.has {
			if !strings.Contains(rec.Body.String(), part) {
				t.Errorf("%s lacks %q", target, part)
			}
		}
		if strings.Contains(rec.Body.String(), c.lacks) {
			t.Errorf("%s has %q", target, c.lacks)
		}
	}
	if rec := ask(h, "GET", "/schedules?from=soon", ""); rec.Code != http.StatusBadRequest {
		t.Error(rec.Code)
	}
}

func TestCalendar(t *testing.T) {
	m := newMemory()
	w := site(t, m, nil)
	address := func(query string) string {
		t.Helper()
		var v calendarView
		if rec := ask(w.Handler(), "GET", apiBase+"/calendar?"+query, ""); json.Unmarshal(rec.Body.Bytes(), &v) != nil || !strings.HasPrefix(v.URL, "http://tocsin.example/calendar/") {
			t.Fatal(rec.Body)
		}
		u, err := url.Parse(v.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Path
	}
	for query, c := range map[string]struct{ has, lacks string }{
		"user=ana": {"SUMMARY:ana is on call: primary", "SUMMARY:cy"}, "schedule=primary": {"SUMMARY:cy is on call: primary", "nobody"},
	} {
		// Programs fetch it where only what is meant for the outside is exposed.
		rec := ask(w.CallbackHandler(), "GET", address(query), "")
		if text := rec.Body.String(); rec.Code != 200 || rec.Header().Get("Content-Type") != "text/calendar; charset=utf-8" ||
			!strings.Contains(text, c.has) || strings.Contains(text, c.lacks) {
			t.Errorf("%s: %d %s", query, rec.Code, text)
		}
	}
	path := address("user=ana")
	for _, forged := range []string{path[:len(path)-5] + ".ics", "/calendar/x.ics", "/calendar/dXNlci9ibw." + strings.Split(path, ".")[1] + ".ics"} {
		if rec := ask(w.Handler(), "GET", forged, ""); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d", forged, rec.Code)
		}
	}
	schedule := address("schedule=primary")
	if rec := ask(w.Handler(), "DELETE", apiBase+"/calendar?user=ana", ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), address("user=ana")) || path == address("user=ana") {
		t.Errorf("revoking: %d %s", rec.Code, rec.Body)
	}
	for p, want := range map[string]int{path: 404, address("user=ana"): 200, schedule: 200} {
		if rec := ask(w.CallbackHandler(), "GET", p, ""); rec.Code != want {
			t.Errorf("after revoking ana's: %s: %d, want %d", p, rec.Code, want)
		}
	}
	path = address("user=ana")
	delete(m.policy.Users, "ana")
	if rec := ask(w.Handler(), "GET", path, ""); rec.Code != 200 {
		t.Errorf("of a user who is gone: %d", rec.Code)
	}
}
