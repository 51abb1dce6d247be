package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tocsin/notifier"
	"tocsin/oncall"
)

// openings opens incidents in memory by the real core, each request of the same place once.
type openings struct {
	m        *memory
	requests []string
	asked    []oncall.Opening
}

func (o *openings) Open(ctx context.Context, x oncall.Opening, request string) (notifier.Opened, error) {
	o.requests, o.asked = append(o.requests, request), append(o.asked, x)
	change, _, err := x.Open(now(), "the same", o.m.policy)
	if err != nil {
		return notifier.Opened{}, err
	}
	if x.Title == "taken" {
		return notifier.Opened{}, oncall.Errorf(oncall.CodeConflict, "this request was sent before")
	}
	in, err := o.m.Incident(ctx, 43)
	if err == nil {
		return notifier.Opened{Incident: in, Reply: "before"}, nil
	}
	o.m.decide(43, now(), oncall.AlertsChanged{Changes: []oncall.AlertChange{change}})
	in, err = o.m.Incident(ctx, 43)
	return notifier.Opened{Incident: in, New: true, Reply: "opened"}, err
}

func TestOpenIncident(t *testing.T) {
	store := &openings{m: newMemory()}
	h := site(t, store.m, func(o *Options) { o.Openings = store }).Handler()
	target := apiBase + "/incidents"
	answer := ask(h, "POST", target, `{"user":"bo","title":"The queue is stuck","page":"ana"}`, idempotencyKey, "abc")
	var got acted
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusCreated || got.Title != "The queue is stuck" || got.Reply != "opened" {
		t.Fatalf("%d %s %v", answer.Code, answer.Body, err)
	}
	if o := store.asked[0]; o.User != "ana" || o.Actor != "bo" || o.Via != "api" || store.requests[0] != "api open bo abc" {
		t.Errorf("%+v %q", o, store.requests)
	}
	for _, c := range []struct {
		body, key, want string
		status          int
	}{
		{`{"title":"x","page":"ana","escalation":"default"}`, "", "not both", 400},
		{`{"title":"x","page":"anna"}`, "", `did you mean \"ana\"?`, 400},
		{`{"title":"x"}`, "", `Give \"escalation\"`, 400},
		{`{"titel":"x","page":"ana"}`, "", `unknown field \"titel\"`, 400},
		{`{"title":7,"page":"ana"}`, "", "title must be a string", 400},
		{`{"title":"x","page":"bo"}`, "", "cannot be reached", 400},
		{`{"title":"x","page":"ana"}`, strings.Repeat("k", 201), "at most 200 bytes", 400},
	} {
		answer := ask(h, "POST", target, c.body, idempotencyKey, c.key)
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.body, answer.Code, answer.Body, c.status, c.want)
		}
	}
	if answer := ask(h, "POST", target, `{"title":"x","page":"ana"}`, "Sec-Fetch-Site", "cross-site"); answer.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", answer.Code)
	}
	if answer := ask(site(t, newMemory(), nil).Handler(), "POST", target, `{"title":"x","page":"ana"}`); answer.Code != http.StatusServiceUnavailable {
		t.Errorf("nobody can: %d", answer.Code)
	}
}
