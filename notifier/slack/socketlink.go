package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"tocsin/oncall"
)

// socketLink is one connection of Socket Mode.
type socketLink struct {
	a       *Adapter
	conn    *websocket.Conn
	writing sync.Mutex // one writer at a time
	closed  chan struct{}

	mu      sync.Mutex // guards shut against under.Add after under.Wait
	shut    bool       // nothing new is taken
	under   sync.WaitGroup
	closing sync.Once
}

// serve takes requests until another connection is wanted: the error says why. Requests under way are still answered
// here after that, and those that Slack still sends here are taken, until Slack closes it.
func (c *socketLink) serve(ctx context.Context) error {
	why := make(chan error, 1)
	tell := func(err error) {
		select {
		case why <- err:
		default: // it was told before
		}
	}
	// The adapter waits for this one too: its keeper, which it counts already, is running.
	c.a.wg.Go(func() {
		defer c.finish()
		for {
			_ = c.conn.SetReadDeadline(time.Now().Add(socketQuiet))
			var e envelope
			if err := c.read(&e); err != nil {
				tell(err)
				return
			}
			if e.Type == "disconnect" {
				tell(&toldToGo{e.Reason})
				c.a.wg.Go(c.drain)
				continue
			}
			if !c.take(ctx, e) {
				return
			}
		}
	})
	select {
	case err := <-why:
		return err
	case <-ctx.Done():
		c.finish()
		return ctx.Err()
	}
}

// read reads the next message that is one of Slack's. A ping counts as a sign of life.
func (c *socketLink) read(e *envelope) error {
	c.conn.SetPingHandler(func(data string) error {
		_ = c.conn.SetReadDeadline(time.Now().Add(socketQuiet))
		// A pong that cannot be written shows as a connection that ends.
		_ = c.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(5*time.Second))
		return nil
	})
	for {
		_, b, err := c.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("the connection broke: %w", err)
		}
		if err := json.Unmarshal(b, e); err != nil {
			c.a.log.Warn("Slack sent something over Socket Mode that is no JSON", "bytes", len(b))
			continue
		}
		return nil
	}
}

// drain closes a connection that Slack has announced to close, if Slack does not.
func (c *socketLink) drain() {
	t := time.NewTimer(drainFor)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.closed:
		return
	case <-c.a.stopping.Done():
	}
	c.finish()
}

// finish takes nothing new, answers what is under way, and closes the connection.
func (c *socketLink) finish() {
	c.mu.Lock()
	c.shut = true
	c.mu.Unlock()
	c.under.Wait()
	c.closing.Do(func() {
		close(c.closed)
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = c.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)) // the other side may be gone
		c.conn.Close()
	})
}

// take has a request carried out beside the reading. It waits while too many are under way, and returns false when
// nothing more is to be taken.
func (c *socketLink) take(ctx context.Context, e envelope) bool {
	if e.ID == "" {
		return true // hello again, or something that wants no answer
	}
	select {
	case c.a.sockets.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		<-c.a.sockets.slots
		return false // not acknowledged: Slack gives it to another connection
	}
	c.under.Go(func() {
		defer func() { <-c.a.sockets.slots }()
		c.answer(ctx, e)
	})
	return true
}

// answer carries out a request and acknowledges it after the commit. One that was not committed is not acknowledged:
// Slack sends it again.
func (c *socketLink) answer(ctx context.Context, e envelope) {
	kind := map[string]string{"slash_commands": "commands", "interactive": "interactions", "events_api": "events"}[e.Type]
	if kind == "" {
		kind = "others"
	}
	outcome := "unacknowledged"
	defer func() {
		if v := recover(); v != nil {
			c.a.log.Error("A request over Socket Mode failed by a defect of tocsin", "err", v, "stack", string(debug.Stack()))
		}
		c.a.envelopes.WithLabelValues(kind, outcome).Inc()
	}()
	// What is begun is committed, also while tocsin ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	r, err := c.a.carryEnvelope(ctx, e)
	if err != nil { // it would come again, and be as unreadable
		c.a.log.Warn("A request over Socket Mode could not be read", "type", kind, "err", err)
	}
	if r.err != nil {
		return
	}
	if err := c.acknowledge(e, r.body); err != nil {
		c.a.log.Warn("A request was carried out, but its acknowledgement did not reach Slack; it comes again and acts once",
			"type", kind, "err", c.a.redact(err.Error()))
		return
	}
	outcome = "acknowledged"
}

// carryEnvelope does what an envelope asks for, by the same code as a request over HTTP.
func (a *Adapter) carryEnvelope(ctx context.Context, e envelope) (response, error) {
	switch e.Type {
	case "slash_commands":
		form, err := formOfCommand(e.Payload)
		if err != nil {
			return response{}, err
		}
		return a.command(ctx, form, identityOf(e.Type, form.Get("trigger_id"), e.Payload)), nil
	case "interactive":
		var in interaction
		if err := json.Unmarshal(e.Payload, &in); err != nil {
			return response{}, errors.New("the payload is no JSON of Slack's")
		}
		return a.interact(ctx, in, identityOf(e.Type, in.TriggerID, e.Payload)), nil
	case "events_api":
		var ev event
		if err := json.Unmarshal(e.Payload, &ev); err != nil {
			return response{}, errors.New("the payload is no event of Slack's")
		}
		return a.happened(ctx, ev), nil
	}
	return response{}, nil // nothing that we asked for
}

// formOfCommand reads a slash command, whose fields are texts as in a form.
func formOfCommand(payload []byte) (url.Values, error) {
	var fields map[string]any
	if err := json.Unmarshal(payload, &fields); err != nil {
		return nil, errors.New("the payload is no slash command")
	}
	form := url.Values{}
	for k, v := range fields {
		if v != nil {
			form.Set(k, fmt.Sprint(v))
		}
	}
	if !form.Has("text") && !form.Has("command") {
		return nil, errors.New("the payload is no slash command")
	}
	return form, nil
}

// identityOf makes the identity of a request that may come again in another envelope. A trigger is given out once, for
// one press.
func identityOf(kind, trigger string, payload []byte) string {
	if trigger == "" {
		trigger = string(payload)
	}
	sum := sha256.Sum256([]byte(kind + " " + trigger))
	return "slack:" + hex.EncodeToString(sum[:16])
}

// acknowledge writes the answer to an envelope.
func (c *socketLink) acknowledge(e envelope, body any) error {
	ack := map[string]any{"envelope_id": e.ID}
	if body != nil && e.Answers {
		ack["payload"] = body
	}
	b, err := json.Marshal(ack)
	if err != nil {
		return err
	}
	if len(b) > maxAck {
		c.a.log.Error("An answer was too long for Socket Mode; it is left out. This is a defect of tocsin: please report it", "bytes", len(b))
		if b, err = json.Marshal(map[string]any{"envelope_id": e.ID}); err != nil {
			return err
		}
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if err := c.conn.WriteMessage(websocket.TextMessage, b); err != nil {
		return oncall.Errorf(oncall.CodeUnavailable, "%s", err.Error())
	}
	return nil
}
