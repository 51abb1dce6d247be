package slacktest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Answer is what tocsin answered to a press or a command.
type Answer struct {
	Status int
	Body   string
	Text   string // what the person sees at once; "" for none

	ContentType string
	Took        time.Duration
	Request     *Signed // to send it again, as an eavesdropper would; nil over a socket
	Tries       int     // over a socket: how often it was sent
}

// Signed is a request with a valid signature.
type Signed struct {
	URL       string
	Body      []byte
	Timestamp string
	Signature string
}

// Sign signs a body as Slack does at the given time.
func (s *Server) Sign(url string, body []byte, at time.Time) *Signed {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.opts.SigningSecret))
	fmt.Fprintf(mac, "v0:%s:", stamp)
	mac.Write(body)
	return &Signed{URL: url, Body: body, Timestamp: stamp, Signature: "v0=" + hex.EncodeToString(mac.Sum(nil))}
}

// Send sends a signed request, and again each time it is called. An answer that comes later than Slack
// waits is an error.
func (s *Server) Send(ctx context.Context, r *Signed) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AnswerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if bytes.HasPrefix(r.Body, []byte("{")) { // an event
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	req.Header.Set("X-Slack-Request-Timestamp", r.Timestamp)
	req.Header.Set("X-Slack-Signature", r.Signature)
	start := time.Now()
	resp, err := s.opts.Client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return Answer{}, fmt.Errorf("operation_timeout: no answer within %s: %w", s.opts.AnswerWithin, err)
		}
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: resp.StatusCode, Body: string(body), ContentType: resp.Header.Get("Content-Type"), Took: time.Since(start), Request: r}, nil
}

// Command types a slash command, "ack #42", and shows its answer to the user alone.
func (s *Server) Command(ctx context.Context, tocsinURL, text, user string) (Answer, error) {
	form := url.Values{
		"token": {"verification-token"}, "team_id": {s.opts.Team}, "team_domain": {"slacktest"}, "channel_id": {"C0COMMAND"},
		"channel_name": {"general"}, "user_id": {user}, "user_name": {s.userName(user)}, "command": {s.opts.Command}, "text": {text},
		"api_app_id": {"A0TEST"}, "is_enterprise_install": {"false"}, "trigger_id": {s.trigger()}, "response_url": {s.newResponseURL(user)},
	}
	a, err := s.hand(ctx, tocsinURL, "/slack/commands", form, time.Now())
	if err != nil {
		return a, err
	}
	if a.Status != http.StatusOK || a.Body == "" {
		return a, nil
	}
	if a.Text, err = checkAnswer("application/json", []byte(a.Body)); err != nil {
		return a, fmt.Errorf("Slack would not show the answer: %w", err)
	}
	s.tell(user, a.Text)
	return a, nil
}

// Press presses a button of a message as it is shown now. It is an error if it shows no such button.
func (s *Server) Press(ctx context.Context, tocsinURL string, m Message, actionID, user string) (Answer, error) {
	now, ok := s.Message(m.Channel, m.TS)
	if !ok {
		return Answer{}, errors.New("the message is gone")
	}
	return s.PressAsSeen(ctx, tocsinURL, now, actionID, user)
}

// PressAsSeen presses a button of the message as given, which may be older than what is shown: a client
// that has not caught up.
func (s *Server) PressAsSeen(ctx context.Context, tocsinURL string, m Message, actionID, user string) (Answer, error) {
	value, text, blockID, ok := findButton(m.Blocks, actionID)
	if !ok {
		return Answer{}, fmt.Errorf("the message shows no button %q", actionID)
	}
	at := time.Now()
	stamp := fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000)
	who := map[string]any{"id": user, "username": s.userName(user), "name": s.userName(user), "team_id": s.opts.Team}
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": who, "api_app_id": "A0TEST", "token": "verification-token",
		"container":  map[string]any{"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": false},
		"trigger_id": s.trigger(), "team": map[string]any{"id": s.opts.Team, "domain": "slacktest"}, "enterprise": nil, "is_enterprise_install": false,
		"channel":      map[string]any{"id": m.Channel, "name": "channel"},
		"message":      map[string]any{"type": "message", "bot_id": "B0BOT", "text": m.Text, "ts": m.TS, "blocks": m.Blocks},
		"state":        map[string]any{"values": map[string]any{}},
		"response_url": s.newResponseURL(user),
		"actions": []any{map[string]any{"action_id": actionID, "block_id": blockID, "value": value, "type": "button", "action_ts": stamp,
			"text": map[string]any{"type": "plain_text", "text": text, "emoji": true}}},
	})
	if err != nil {
		return Answer{}, err
	}
	form := url.Values{"payload": {string(payload)}}
	return s.interact(ctx, tocsinURL, form, at)
}

// interact sends what follows from a press.
func (s *Server) interact(ctx context.Context, tocsinURL string, form url.Values, at time.Time) (Answer, error) {
	a, err := s.hand(ctx, tocsinURL, "/slack/interactions", form, at)
	if err == nil && a.Status == http.StatusOK && len(a.Body) > 0 {
		return a, fmt.Errorf("a press is answered with an empty body, not %q", a.Body)
	}
	return a, err
}

// Buttons lists the action IDs of the buttons that a message shows, in order.
func (m Message) Buttons() []string {
	var out []string
	eachButton(m.Blocks, func(_ string, b object) bool {
		out = append(out, b.str("action_id"))
		return true
	})
	return out
}

func findButton(blocks json.RawMessage, actionID string) (value, text, blockID string, ok bool) {
	eachButton(blocks, func(block string, b object) bool {
		if b.str("action_id") == actionID {
			value, text, blockID, ok = b.str("value"), b.object("text").str("text"), block, true
		}
		return !ok
	})
	return value, text, blockID, ok
}

func eachButton(blocks json.RawMessage, visit func(blockID string, b object) bool) {
	var all []object
	if json.Unmarshal(blocks, &all) != nil {
		return
	}
	for _, b := range all {
		var elements []object
		if b.str("type") != "actions" || json.Unmarshal(b["elements"], &elements) != nil {
			continue
		}
		for _, e := range elements {
			if e.str("type") == "button" && !visit(b.str("block_id"), e) {
				return
			}
		}
	}
}

func (s *Server) userName(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[id]; ok {
		return u.Name
	}
	return strings.ToLower(id)
}

func (s *Server) trigger() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.newID("trigger.")
	s.triggers[id] = time.Now()
	return id
}

// responseURL takes private answers: five within half an hour.
type responseURL struct {
	user  string
	until time.Time
	left  int
}

func (s *Server) newResponseURL(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.newID("R")
	s.answers[id] = &responseURL{user: user, until: time.Now().Add(30 * time.Minute), left: 5}
	return s.opts.URL + "/response/" + id
}

func (s *Server) serveAnswer(w http.ResponseWriter, r *http.Request, id string) {
	fault, struck := s.strike("response_url", "", false)
	call := Call{At: time.Now(), Method: "response_url", Args: map[string]string{"id": id}, Status: http.StatusOK}
	if struck && fault.Stage == Before {
		call.Status, call.Error = cmpStatus(fault), fault.Error
		s.called(call)
		fault.before(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	text := ""
	if err == nil && r.Method == http.MethodPost {
		text, err = checkAnswer(r.Header.Get("Content-Type"), body)
	}
	user, code := s.takeAnswer(id)
	switch {
	case code != "":
		call.Status, call.Error = http.StatusNotFound, code
	case err != nil || r.Method != http.MethodPost:
		call.Status, call.Error = http.StatusBadRequest, "invalid_payload"
	}
	s.called(call)
	if call.Status != http.StatusOK {
		writeJSON(w, call.Status, map[string]any{"ok": false, "error": call.Error})
		return
	}
	s.tell(user, text)
	if struck && !fault.after(r) {
		return
	}
	io.WriteString(w, "ok")
}

func (s *Server) takeAnswer(id string) (user, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[id]
	switch {
	case a == nil:
		return "", "no_such_url"
	case time.Now().After(a.until):
		return "", "expired_url"
	case a.left == 0:
		return "", "used_url"
	}
	a.left--
	return a.user, ""
}

// tell records what one person alone is shown.
func (s *Server) tell(user, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, &Message{Channel: "C0COMMAND", TS: s.newTS(), To: user, From: "bot", Version: Version{At: time.Now(), Text: text}})
	s.changed()
}

// checkAnswer holds an answer to a command or a press against what Slack shows.
func checkAnswer(contentType string, body []byte) (text string, err error) {
	if kind, _, _ := mime.ParseMediaType(contentType); kind != "application/json" {
		return "", fmt.Errorf("the content type is %q", contentType)
	}
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		return "", err
	}
	for k, v := range o {
		if string(v) == "null" {
			return "", fmt.Errorf("%s is null", k)
		}
	}
	if t := o.str("response_type"); t != "ephemeral" && t != "in_channel" {
		return "", fmt.Errorf("response_type is %q", t)
	}
	text = o.str("text")
	if n := utf8.RuneCountInString(text); n == 0 || n > maxUpdateText {
		return "", fmt.Errorf("the text has %d characters", n)
	}
	if o.has("blocks") {
		if err := CheckBlocks(o["blocks"]); err != nil {
			return "", err
		}
	}
	return text, nil
}
