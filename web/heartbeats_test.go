package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

// heartbeats are one open and one with a token; every beat is remembered.
type heartbeats struct {
	beats []string
	fail  error
}

func (h *heartbeats) Beat(_ context.Context, name, token string) error {
	switch {
	case h.fail != nil:
		return h.fail
	case name != "backup" && name != "till":
		return oncall.Errorf(oncall.CodeNotFound, "no heartbeat of that name is configured")
	case name == "till" && token != "geheim":
		return oncall.Errorf(oncall.CodeForbidden, "this heartbeat wants its token")
	}
	h.beats = append(h.beats, name)
	return nil
}

func (h *heartbeats) List(context.Context) ([]oncall.HeartbeatView, error) {
	at := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	return []oncall.HeartbeatView{
		{Name: "backup", State: "missed", Every: "1d", Grace: "1h", Escalation: "ops", Labels: map[string]string{}, LastAt: at, MissedAt: at.Add(25 * time.Hour), Reason: "no beat"},
		{Name: "till", State: "waiting", Every: "1m", Grace: "1m", Escalation: "ops", Labels: map[string]string{"a": "<b>"}, Token: true},
	}, h.fail
}

func TestBeat(t *testing.T) {
	hb := &heartbeats{}
	w := site(t, newMemory(), func(o *Options) { o.Heartbeats = hb })
	for _, c := range []struct {
		method, target string
		header         []string
		status         int
		beats          int
	}{
		{"POST", "/hooks/heartbeat/backup", nil, 200, 1},
		{"GET", "/hooks/heartbeat/backup", nil, 200, 1},
		{"HEAD", "/hooks/heartbeat/backup", nil, 200, 0},
		{"PUT", "/hooks/heartbeat/backup", nil, 405, 0},
		{"POST", "/hooks/heartbeat/bakup", nil, 404, 0},
		{"POST", "/hooks/heartbeat/till", nil, 401, 0},
		{"POST", "/hooks/heartbeat/till", []string{"Authorization", "Bearer no"}, 401, 0},
		{"POST", "/hooks/heartbeat/till", []string{"Authorization", "Bearer geheim"}, 200, 1},
		{"GET", "/hooks/heartbeat/till?token=geheim", nil, 200, 1},
	} {
		for name, h := range map[string]http.Handler{"main": w.Handler(), "callbacks": w.CallbackHandler()} {
			hb.beats = nil
			answer := ask(h, c.method, c.target, strings.Repeat(" ", 10), c.header...)
			if answer.Code != c.status || len(hb.beats) != c.beats {
				t.Errorf("%s %s at %s: %d %s, %d beats", c.method, c.target, name, answer.Code, answer.Body, len(hb.beats))
			}
		}
	}
	hb.fail = oncall.Errorf(oncall.CodeUnavailable, "the disk is full")
	answer := ask(w.Handler(), "POST", "/hooks/heartbeat/backup", "")
	if answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
	if answer := ask(site(t, newMemory(), nil).Handler(), "POST", "/hooks/heartbeat/backup", ""); answer.Code != 404 {
		t.Errorf("without heartbeats: %d", answer.Code)
	}
}

func TestHeartbeatsOnTheConsole(t *testing.T) {
	hb := &heartbeats{}
	h := site(t, newMemory(), func(o *Options) { o.Heartbeats = hb }).Handler()
	if page := ask(h, "GET", "/", "").Body.String(); !strings.Contains(page, "Heartbeats: backup is missing since 2026-03-02 04:00:00 UTC; till was not heard yet.") {
		t.Error(page)
	}
	hb.fail = oncall.Errorf(oncall.CodeUnavailable, "the disk is full")
	if page := ask(h, "GET", "/", "").Body.String(); !strings.Contains(page, "cannot be read just now") {
		t.Error(page)
	}
}
