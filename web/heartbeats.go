package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tocsin/oncall"
)

// Heartbeats are the dead man's switches: *notifier.Heartbeats.
type Heartbeats interface {
	// Beat notes a beat. Codes: not_found, forbidden (not its token), unavailable.
	Beat(ctx context.Context, name, token string) error
	// List returns them as they stand.
	List(ctx context.Context) ([]oncall.HeartbeatView, error)
}

// beat hears a heartbeat. GET beats too, because many senders can do nothing else; HEAD is what link scanners send. The
// body, if there is one, is not looked at.
func (w *Web) beat(rw http.ResponseWriter, r *http.Request) {
	if w.o.Heartbeats == nil {
		w.fail(rw, r, oncall.Errorf(oncall.CodeNotFound, "no heartbeats are configured here"))
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = r.URL.Query().Get("token")
	}
	// The commit must not be given up because the sender hung up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), receiveTime)
	defer cancel()
	err := w.o.Heartbeats.Beat(ctx, r.PathValue("name"), strings.TrimSpace(token))
	rw.Header().Set("Cache-Control", "no-store")
	if refusal, ok := errors.AsType[*oncall.Error](err); ok && refusal.Code == oncall.CodeForbidden {
		rw.Header().Set("WWW-Authenticate", `Bearer realm="heartbeat"`)
		http.Error(rw, refusal.Message, http.StatusUnauthorized)
		return
	}
	if err != nil {
		if statusOf(oncall.ErrorCode(err)) >= 500 {
			rw.Header().Set("Retry-After", "1")
		}
		w.fail(rw, r, err)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(rw, "heard")
}

func (w *Web) listHeartbeats(rw http.ResponseWriter, r *http.Request) {
	views := []oncall.HeartbeatView{}
	if w.o.Heartbeats != nil {
		var err error
		if views, err = w.o.Heartbeats.List(r.Context()); err != nil {
			w.fail(rw, r, err)
			return
		}
	}
	w.writeJSON(rw, http.StatusOK, views)
}

// heartbeatLine is the console's line about heartbeats, "" where there are none.
func (w *Web) heartbeatLine(ctx context.Context) string {
	if w.o.Heartbeats == nil {
		return ""
	}
	views, err := w.o.Heartbeats.List(ctx)
	if err != nil {
		w.o.Logger.Error("The heartbeats could not be read", "err", err)
		return "The heartbeats cannot be read just now."
	}
	var parts []string
	for _, v := range views {
		switch {
		case v.State == "missed":
			parts = append(parts, v.Name+" is missing since "+clock(v.MissedAt))
		case v.LastAt.IsZero():
			parts = append(parts, v.Name+" was not heard yet")
		default:
			parts = append(parts, v.Name+" was heard "+clock(v.LastAt))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "Heartbeats: " + strings.Join(parts, "; ") + "."
}
