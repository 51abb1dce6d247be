package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"tocsin/oncall"
)

// The app's home tab: Slack tells us that somebody opened it, we publish what it shows to them, and for a while again
// whenever that changes. It stands in nobody's way: it has a method and a pace of its own, and no page waits for it.

const (
	homeEvery   = 15 * time.Second // how often the homes that are looked at are compared with what is so
	homeVisit   = 30 * time.Minute // how long a home is kept up to date after it was opened
	maxVisitors = 100              // homes kept up to date; who opened theirs longest ago is forgotten first
)

// event is the part of Slack's Events API that we read.
type event struct {
	Type       string `json:"type"`
	Challenge  string `json:"challenge"`
	Team       string `json:"team_id"`
	Enterprise string `json:"enterprise_id"`
	Event      struct {
		Type string `json:"type"`
		User string `json:"user"`
		Tab  string `json:"tab"`
	} `json:"event"`
}

// EventHandler serves /slack/events: that somebody opened the app's home.
func (a *Adapter) EventHandler() http.Handler {
	return a.callback("events", func(w http.ResponseWriter, r *http.Request, s signed) {
		var e event
		if err := json.Unmarshal(s.body, &e); err != nil {
			fail(w, http.StatusBadRequest, "the body is no event of Slack's")
			return
		}
		a.happened(r.Context(), e).write(w)
	})
}

// happened takes in an event. What follows goes on beside it: Slack waits for the answer.
func (a *Adapter) happened(ctx context.Context, e event) response {
	if e.Type == "url_verification" {
		return response{body: map[string]string{"challenge": e.Challenge}}
	}
	if e.Event.Type != "app_home_opened" || e.Event.Tab != "home" || e.Event.User == "" {
		return response{} // nothing that we asked for
	}
	if a.elsewhere(ctx, e.Team, e.Enterprise) {
		return response{}
	}
	a.visit(e.Event.User)
	return response{}
}

// homes are those who opened the app's home of late. Its zero value is empty.
type homes struct {
	mu       sync.Mutex // guards what follows
	visitors map[string]*visitor
	running  bool          // keepHomes runs
	poke     chan struct{} // somebody came, or something was done in a home
}

// visitor is somebody who looks at their home, or did a while ago.
type visitor struct {
	id     string
	until  time.Time
	shown  []byte    // what was published last; nil: nothing, or it is not known
	notice string    // what is to be said at the top, mrkdwn
	after  time.Time // nothing is published before that
}

// visit has somebody's home published, and kept up to date for a while.
func (a *Adapter) visit(user string) { a.homeOf(user, "", true) }

// tellHome says something at the top of somebody's home, and shows there what is so by now.
func (a *Adapter) tellHome(user, notice string) { a.homeOf(user, notice, false) }

func (a *Adapter) homeOf(user, notice string, afresh bool) {
	h := &a.homes
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.visitors == nil {
		h.visitors, h.poke = map[string]*visitor{}, make(chan struct{}, 1)
	}
	v := h.visitors[user]
	if v == nil {
		h.makeRoom()
		v = &visitor{id: user}
		h.visitors[user] = v
	}
	v.until, v.notice = time.Now().Add(homeVisit), notice
	if afresh {
		v.shown = nil
	}
	select {
	case h.poke <- struct{}{}:
	default:
	}
	if !h.running {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.closed {
			h.running = true
			a.wg.Go(func() { a.keepHomes(a.stopping) })
		}
	}
}

// makeRoom forgets whoever came longest ago, where there are too many. It needs mu.
func (h *homes) makeRoom() {
	if len(h.visitors) < maxVisitors {
		return
	}
	oldest := ""
	for id, v := range h.visitors {
		if oldest == "" || v.until.Before(h.visitors[oldest].until) {
			oldest = id
		}
	}
	delete(h.visitors, oldest)
}

// due returns copies of the visitors, and false where there are none any more: then keepHomes ends.
func (h *homes) due(now time.Time) (all []visitor, goOn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, v := range h.visitors {
		switch {
		case !now.Before(v.until):
			delete(h.visitors, id)
		case !now.Before(v.after):
			all = append(all, *v)
		}
	}
	h.running = len(h.visitors) > 0
	return all, h.running
}

// keepHomes publishes homes that are not as they should be, until nobody looks at one any more.
func (a *Adapter) keepHomes(ctx context.Context) {
	for ctx.Err() == nil {
		all, goOn := a.homes.due(time.Now())
		if !goOn {
			return
		}
		a.publishHomes(ctx, all)
		timer := time.NewTimer(homeEvery)
		select {
		case <-ctx.Done():
		case <-a.homes.poke:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// publishHomes brings homes up to date. What they show is read once for all of them.
func (a *Adapter) publishHomes(ctx context.Context, all []visitor) {
	if len(all) == 0 {
		return
	}
	reading, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	seen, err := a.lookAround(reading, time.Now())
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("App homes are not brought up to date: incidents could not be read", "err", a.redact(err.Error()))
		}
		return
	}
	for _, v := range all {
		if ctx.Err() != nil {
			return
		}
		a.publishHome(ctx, seen, v)
	}
}

// publishHome publishes one home, unless it is as it should be.
func (a *Adapter) publishHome(ctx context.Context, seen around, v visitor) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	who := a.identify(ctx, caller{id: v.id})
	if a.revoked != nil && who.user != "" {
		var err error
		if seen.revoked, err = a.revoked(ctx, oncall.CalendarOf{User: who.user}); err != nil {
			seen.revoked = -1
		}
	}
	view := homeView(seen, who, v.notice)
	b, err := json.Marshal(view)
	if err != nil || bytes.Equal(b, v.shown) {
		return
	}
	err = a.call(ctx, "views.publish", url.Values{"user_id": {v.id}, "view": {string(b)}}, nil)
	h := &a.homes
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.visitors[v.id]
	if now == nil {
		return
	}
	if err == nil {
		now.shown = b
		return
	}
	now.shown = nil
	now.after = time.Now().Add(homeEvery)
	if e, ok := errors.AsType[*callError](err); ok {
		now.after = time.Now().Add(max(homeEvery, e.retryAfter))
		if e.outcome == oncall.OutcomeRefused { // it would be refused again, until a person mends it
			delete(h.visitors, v.id)
		}
	}
	if a.stopping.Err() == nil {
		a.log.Warn("An app home was not published", "user", shorten(clean(v.id), 20), "err", err)
	}
}
