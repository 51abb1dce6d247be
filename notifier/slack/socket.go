package slack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Socket Mode: we open connections to Slack, and what people do comes over them. Slack gives each request to one of an
// app's connections, whichever process opened it, so that every process has its own: acts need no lease. A process
// holds two, so that one that breaks leaves the other, and opens the next one before it lets go of one that Slack is
// about to close.

const (
	socketLinks   = 2
	socketWorkers = 32 // requests under way at once; more wait in their connection
	socketQuiet   = 45 * time.Second
	helloWithin   = 10 * time.Second
	drainFor      = 30 * time.Second // a connection that was told to go may bring requests until Slack closes it
	maxEnvelope   = 1 << 20
	maxAck        = 19 << 10 // Slack drops an acknowledgement of 20 KB, without a word
	// Slack does not put together what comes in several frames.
	socketBuffer = 32 << 10

	settled     = 10 * time.Second // a connection that lasted so long was a good one
	patience    = 30 * time.Second // the longest wait after failures that may pass
	refusedWait = time.Minute      // after those that a person must mend
)

// Why connections end, as metrics name it. The first four are Slack's own words.
const (
	endWarning  = "warning"
	endRefresh  = "refresh_requested"
	endTooMany  = "too_many_websockets"
	endDisabled = "link_disabled"
	endBroken   = "broken"
	endUnopened = "not_opened"
	endOther    = "other"
)

// Dialer opens a connection of the network.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// SocketState is how Socket Mode stands. Its zero value is an adapter that does not use it.
type SocketState struct {
	Used      bool
	Open      int       // connections over which requests can come
	DownSince time.Time // since when there is none; zero: there is one
	Why       string    // why the last one ended, or could not be opened; "" where nothing is wrong
}

// sockets is the state of Socket Mode. Its zero value has no connection.
type sockets struct {
	slots chan struct{} // a token for each request under way
	mu    sync.Mutex    // guards state
	state SocketState
}

// Socket returns how Socket Mode stands.
func (a *Adapter) Socket() SocketState {
	a.sockets.mu.Lock()
	defer a.sockets.mu.Unlock()
	return a.sockets.state
}

// Start begins to take requests by Socket Mode, where it is configured, until Close. It does not wait for a connection,
// and may be called again.
func (a *Adapter) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets.mu.Lock()
	defer a.sockets.mu.Unlock()
	if a.cfg.AppToken == "" || a.closed || a.sockets.state.Used {
		return
	}
	a.sockets.state = SocketState{Used: true, DownSince: time.Now(), Why: "it is being opened"}
	a.sockets.slots = make(chan struct{}, socketWorkers)
	for range socketLinks {
		a.wg.Go(func() { a.keepLink(a.stopping) })
	}
}

// opened notes a connection that is ready.
func (a *Adapter) opened() {
	s := &a.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Open++; s.state.Open == 1 {
		a.log.Info("Slack's Socket Mode is connected", "after", time.Since(s.state.DownSince).Round(time.Millisecond))
	}
	s.state.DownSince, s.state.Why = time.Time{}, ""
	a.links.Set(float64(s.state.Open))
}

// ended notes that a connection takes nothing new any more, or (opened false) that none could be opened.
func (a *Adapter) ended(opened bool, e linkEnd) {
	a.unlinked.WithLabelValues(e.reason).Inc()
	s := &a.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	if opened {
		s.state.Open--
		a.links.Set(float64(s.state.Open))
	}
	loud := s.state.Why != e.why && e.reason != endWarning && e.reason != endRefresh
	if s.state.Open == 0 {
		s.state.Why = e.why
		if s.state.DownSince.IsZero() {
			s.state.DownSince = time.Now()
		}
	}
	if loud && a.stopping.Err() == nil {
		a.log.Warn("A connection of Slack's Socket Mode is gone; another is opened", "reason", e.reason, "err", e.why, "open", s.state.Open)
	}
}

// linkEnd says why a connection ended, or was not opened.
type linkEnd struct {
	reason string
	why    string        // for people
	wait   time.Duration // what Slack asked for; 0: nothing
	lasted time.Duration
}

// pause is how long to wait before the next connection, after so many failures in a row.
func (e linkEnd) pause(failures int) time.Duration {
	var d time.Duration
	switch {
	case e.reason == endTooMany || e.reason == endDisabled:
		d = refusedWait
	case failures > 0:
		d = min(time.Second<<min(failures-1, 10), patience)
	}
	d += time.Duration(rand.Float64() * 0.25 * float64(d)) // processes that failed together do not come back together
	return max(d, e.wait)
}

// keepLink keeps one connection open until ctx ends.
func (a *Adapter) keepLink(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		end := a.oneLink(ctx)
		if end.lasted >= settled {
			failures = 0
		} else {
			failures++
		}
		timer := time.NewTimer(end.pause(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// oneLink opens a connection and serves it until another one is wanted.
func (a *Adapter) oneLink(ctx context.Context) linkEnd {
	c, err := a.openLink(ctx)
	if err != nil {
		end := linkEnd{reason: endUnopened, why: bounded(clean(a.redact(err.Error())))}
		if d, ok := errors.AsType[*toldToGo](err); ok {
			end.reason = d.reason()
		}
		if e, ok := errors.AsType[*callError](err); ok {
			end.wait = e.retryAfter
			if e.outcome == "refused" {
				end.wait = refusedWait // a person must mend it
			}
		}
		if ctx.Err() == nil {
			a.ended(false, end)
		}
		return end
	}
	began := time.Now()
	a.opened()
	told := c.serve(ctx)
	end := linkEnd{reason: endBroken, why: bounded(clean(a.redact(told.Error()))), lasted: time.Since(began)}
	if d, ok := errors.AsType[*toldToGo](told); ok {
		end.reason = d.reason()
	}
	a.ended(true, end)
	return end
}

// toldToGo is Slack's word that a connection will end.
type toldToGo struct{ word string }

func (d *toldToGo) reason() string {
	switch d.word {
	case endWarning, endRefresh, endTooMany, endDisabled:
		return d.word
	}
	return endOther
}

func (d *toldToGo) Error() string {
	switch d.word {
	case endDisabled:
		return "link_disabled: Socket Mode is switched off; in the app's settings, under Socket Mode, switch it on"
	case endTooMany:
		return "too_many_websockets: the app has its ten connections already; is it used by other programs, or by many replicas?"
	}
	return "Slack asked for another connection: " + shorten(clean(d.word), 60)
}

// openLink asks Slack for a connection and returns it once Slack has said hello.
func (a *Adapter) openLink(ctx context.Context) (*socketLink, error) {
	var granted struct {
		URL string `json:"url"`
	}
	if err := a.call(ctx, "apps.connections.open", url.Values{}, &granted); err != nil {
		return nil, err
	}
	u, err := url.Parse(granted.URL)
	if err != nil || !a.mayDial(u) {
		return nil, errors.New("apps.connections.open: the address that Slack gave is not one of its own")
	}
	dialer := websocket.Dialer{NetDialContext: a.dial, Proxy: http.ProxyFromEnvironment, HandshakeTimeout: helloWithin,
		ReadBufferSize: socketBuffer, WriteBufferSize: socketBuffer, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	conn, resp, err := dialer.DialContext(ctx, u.String(), nil)
	if resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("Socket Mode: Slack answered %s instead of opening a connection", resp.Status)
		}
		return nil, fmt.Errorf("Socket Mode: no connection: %w", err)
	}
	c := &socketLink{a: a, conn: conn, closed: make(chan struct{})}
	conn.SetReadLimit(maxEnvelope)
	if err := c.hello(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// mayDial holds connections to Slack's hosts and those of slack.api_url: they carry no token, but what comes over them
// is believed.
func (a *Adapter) mayDial(u *url.URL) bool {
	if u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == strings.Replace(a.api.Scheme, "http", "ws", 1) && strings.EqualFold(u.Host, a.api.Host) {
		return true
	}
	host := strings.ToLower(u.Hostname())
	return u.Scheme == "wss" && (u.Port() == "" || u.Port() == "443") &&
		(host == "slack.com" || strings.HasSuffix(host, ".slack.com") || strings.HasSuffix(host, "."+strings.ToLower(a.api.Hostname())))
}

// hello waits for Slack to say that requests will come.
func (c *socketLink) hello() error {
	_ = c.conn.SetReadDeadline(time.Now().Add(helloWithin))
	var e envelope
	if err := c.conn.ReadJSON(&e); err != nil {
		return fmt.Errorf("Socket Mode: Slack did not say hello: %w", err)
	}
	switch e.Type {
	case "hello":
		return nil
	case "disconnect":
		return &toldToGo{e.Reason}
	}
	return fmt.Errorf("Socket Mode: Slack said %q instead of hello", shorten(clean(e.Type), 40))
}

// envelope is what comes over a connection.
type envelope struct {
	Type    string          `json:"type"`
	Reason  string          `json:"reason"` // of a disconnect
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload"`
	Answers bool            `json:"accepts_response_payload"`
}
