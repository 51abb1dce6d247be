package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Slack's Socket Mode: connections that the app opens, over which presses and commands come as envelopes. Each is
// acknowledged by its ID, on the connection that it came over, within three seconds; one that is not comes again.

// What Slack allows of Socket Mode.
const (
	maxSockets     = 10
	ticketLifetime = 30 * time.Second
	maxAck         = 20 * 1024
	pingEvery      = 10 * time.Second
	envelopeTries  = 3
	closesAfter    = 10 * time.Second // a disconnect message that is no order
)

// socket is one connection.
type socket struct {
	conn    *websocket.Conn
	writing sync.Mutex
	gone    chan struct{} // closed when it has ended
	once    sync.Once

	// Guarded by Server.mu.
	leaving bool                    // it was told to disconnect: nothing new goes there
	waiting map[string]chan ackBody // envelopes that are not acknowledged, by ID
	known   map[string]bool         // envelopes that came over it, and whether they take an answer
	acked   map[string]bool         // those that were acknowledged
}

type ackBody struct {
	payload json.RawMessage
	at      time.Time
}

func (c *socket) write(v any) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	return c.conn.WriteJSON(v)
}

func (c *socket) end() {
	c.once.Do(func() {
		close(c.gone)
		c.conn.Close()
	})
}

// over reports that it has ended.
func (c *socket) over() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// openSocket is apps.connections.open. It needs s.mu.
func (s *Server) openSocket() (map[string]any, error) {
	ticket := s.newID("ticket.")
	s.tickets[ticket] = time.Now()
	u, err := url.Parse(s.opts.URL)
	if err != nil {
		return nil, refuse("internal_error")
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path, u.RawQuery = "/link/", url.Values{"ticket": {ticket}, "app_id": {"A0TEST"}}.Encode()
	return map[string]any{"url": u.String()}, nil
}

// serveSocket takes a connection for a ticket that was not used.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	ticket := r.URL.Query().Get("ticket")
	given, ok := s.tickets[ticket]
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !ok || time.Since(given) > ticketLifetime {
		http.Error(w, "invalid ticket", http.StatusForbidden)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, WriteBufferSize: 64 << 10}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	c := &socket{conn: conn, gone: make(chan struct{}), waiting: map[string]chan ackBody{}, known: map[string]bool{}, acked: map[string]bool{}}
	defer c.end()
	s.mu.Lock()
	why := s.unlinked
	if len(s.sockets) >= maxSockets {
		why = "too_many_websockets"
	}
	if why == "" {
		s.sockets = append(s.sockets, c)
	}
	n := len(s.sockets)
	s.mu.Unlock()
	if why != "" {
		_ = c.write(disconnect(why))
		return
	}
	defer s.forget(c)
	hello := map[string]any{"type": "hello", "num_connections": n, "connection_info": map[string]any{"app_id": "A0TEST"},
		"debug_info": map[string]any{"host": "applink-test", "build_number": 1, "approximate_connection_time": 18060}}
	if c.write(hello) != nil {
		return
	}
	s.socketsChanged()
	go s.ping(c)
	s.readAcks(c)
}

func disconnect(reason string) map[string]any {
	return map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "applink-test"}}
}

func (s *Server) forget(c *socket) {
	s.mu.Lock()
	for i, other := range s.sockets {
		if other == c {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	c.end()
	s.socketsChanged()
}

// socketsChanged wakes those who wait for a connection.
func (s *Server) socketsChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.linked)
	s.linked = make(chan struct{})
}

func (s *Server) ping(c *socket) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-tick.C:
			if c.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(5*time.Second)) != nil {
				return
			}
		}
	}
}

// readAcks takes acknowledgements until the connection ends.
func (s *Server) readAcks(c *socket) {
	for {
		_, b, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		if complaint := s.takeAck(c, b); complaint != "" {
			s.mu.Lock()
			s.complaints = append(s.complaints, complaint)
			s.mu.Unlock()
		}
	}
}

// takeAck returns what is wrong with an acknowledgement, "" for nothing.
func (s *Server) takeAck(c *socket, b []byte) string {
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		return "an acknowledgement is no JSON: " + err.Error()
	}
	if len(b) > maxAck {
		return fmt.Sprintf("an acknowledgement has %d bytes: Slack drops it", len(b))
	}
	for k, v := range o {
		if k != "envelope_id" && k != "payload" {
			return "an acknowledgement has the key " + k
		}
		if string(v) == "null" {
			return k + " of an acknowledgement is null"
		}
	}
	id := o.str("envelope_id")
	s.mu.Lock()
	defer s.mu.Unlock()
	takes, known := c.known[id]
	switch {
	case !known:
		return fmt.Sprintf("the envelope %q did not come over this connection", id)
	case c.acked[id]:
		return fmt.Sprintf("the envelope %q was acknowledged twice", id)
	case o.has("payload") && !takes:
		return fmt.Sprintf("the envelope %q takes no payload", id)
	}
	c.acked[id] = true
	if w := c.waiting[id]; w != nil {
		delete(c.waiting, id)
		w <- ackBody{o["payload"], time.Now()}
	}
	return ""
}

// Sockets is how many connections are open, and how many of them have been told to disconnect.
func (s *Server) Sockets() (open, leaving int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sockets {
		if c.leaving {
			leaving++
		}
	}
	return len(s.sockets), leaving
}

// Complaints are what was wrong with acknowledgements.
func (s *Server) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.complaints...)
}

// Disconnect tells all connections to reconnect, for one of Slack's reasons: warning and refresh_requested close them some
// seconds later, others at once. link_disabled holds until Link.
func (s *Server) Disconnect(reason string) { s.disconnect(reason, maxSockets) }

// DisconnectOne is Disconnect of one connection alone.
func (s *Server) DisconnectOne(reason string) { s.disconnect(reason, 1) }

func (s *Server) disconnect(reason string, most int) {
	s.mu.Lock()
	if reason == "link_disabled" {
		s.unlinked = reason
	}
	var all []*socket
	for _, c := range s.sockets {
		if !c.leaving && len(all) < most {
			c.leaving = true
			all = append(all, c)
		}
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.write(disconnect(reason))
		if reason != "warning" && reason != "refresh_requested" {
			c.end()
			continue
		}
		go func() {
			t := time.NewTimer(closesAfter)
			defer t.Stop()
			select {
			case <-t.C:
			case <-c.gone:
			}
			c.end()
		}()
	}
}

// Link lets Socket Mode be used again.
func (s *Server) Link() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlinked = ""
}

// Drop cuts all connections without a word.
func (s *Server) Drop() {
	s.mu.Lock()
	all := append([]*socket(nil), s.sockets...)
	s.mu.Unlock()
	for _, c := range all {
		c.end()
	}
}

// handOver sends an envelope as Slack does: to one of the connections, and again where nobody acknowledges it.
func (s *Server) handOver(ctx context.Context, kind string, payload []byte, takesAnswer bool) (Answer, error) {
	start := time.Now()
	for try := range envelopeTries {
		c, err := s.pickSocket(ctx)
		if err != nil {
			return Answer{}, err
		}
		ack, ok := s.sendEnvelope(ctx, c, kind, payload, takesAnswer, try)
		if ok {
			a := Answer{Status: http.StatusOK, Body: string(ack.payload), Took: ack.at.Sub(start), Tries: try + 1}
			if len(ack.payload) > 0 {
				a.ContentType = "application/json"
			}
			return a, nil
		}
		if ctx.Err() != nil {
			return Answer{}, ctx.Err()
		}
	}
	return Answer{Took: time.Since(start), Tries: envelopeTries}, errors.New("operation_timeout: no connection acknowledged the envelope")
}

// pickSocket waits a while for a connection. One that has been told to go is used only where there is no other.
func (s *Server) pickSocket(ctx context.Context) (*socket, error) {
	deadline := time.NewTimer(s.opts.AnswerWithin)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		var c *socket
		s.turn++
		for i := range s.sockets {
			next := s.sockets[(s.turn+i)%len(s.sockets)]
			if !next.over() && (c == nil || c.leaving && !next.leaving) {
				c = next
			}
		}
		changed := s.linked
		s.mu.Unlock()
		if c != nil {
			return c, nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return nil, errors.New("dispatch_failed: no connection is open")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Server) sendEnvelope(ctx context.Context, c *socket, kind string, payload []byte, takesAnswer bool, try int) (ackBody, bool) {
	s.mu.Lock()
	id := s.newID("envelope.")
	answered := make(chan ackBody, 1)
	c.waiting[id], c.known[id] = answered, takesAnswer
	s.mu.Unlock()
	envelope := map[string]any{"envelope_id": id, "type": kind, "payload": json.RawMessage(payload), "accepts_response_payload": takesAnswer}
	if try > 0 {
		envelope["retry_attempt"], envelope["retry_reason"] = try, "timeout"
	}
	if c.write(envelope) != nil {
		return ackBody{}, false
	}
	t := time.NewTimer(s.opts.AnswerWithin)
	defer t.Stop()
	select {
	case a := <-answered:
		return a, true
	case <-c.gone:
	case <-t.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(c.waiting, id)
	return ackBody{}, false
}

// hand gives tocsin a request, by HTTP or over a socket.
func (s *Server) hand(ctx context.Context, tocsinURL, path string, form url.Values, at time.Time) (Answer, error) {
	if !s.opts.SocketMode {
		return s.Send(ctx, s.Sign(strings.TrimRight(tocsinURL, "/")+path, []byte(form.Encode()), at))
	}
	if payload := form.Get("payload"); payload != "" {
		var in struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal([]byte(payload), &in); err != nil {
			return Answer{}, err
		}
		return s.handOver(ctx, "interactive", []byte(payload), in.Type == "view_submission")
	}
	flat := map[string]string{}
	for k := range form {
		flat[k] = form.Get(k)
	}
	payload, err := json.Marshal(flat)
	if err != nil {
		return Answer{}, err
	}
	return s.handOver(ctx, "slash_commands", payload, true)
}
