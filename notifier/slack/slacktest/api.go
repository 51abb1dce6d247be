package slacktest

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// How much a text may hold: a message is cut by Slack beyond 40,000 characters, an update refused beyond
// 4,000.
const (
	maxPostText   = 40000
	maxUpdateText = 4000
	maxRequest    = 1 << 20
)

// apiError is one of Slack's error codes, with what it says about the blocks.
type apiError struct {
	code             string
	messages         []string
	needed, provided string // of missing_scope
}

func (e *apiError) Error() string { return e.code + " " + strings.Join(e.messages, "; ") }

func refuse(code string, messages ...string) *apiError {
	return &apiError{code: code, messages: messages}
}

// ServeHTTP serves /api/…, /response/… and the connections of Socket Mode.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, ok := strings.CutPrefix(r.URL.Path, "/response/"); ok {
		s.serveAnswer(w, r, id)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/upload/"); ok {
		s.serveUpload(w, r, id)
		return
	}
	if r.URL.Path == "/link/" {
		s.serveSocket(w, r)
		return
	}
	method, ok := strings.CutPrefix(r.URL.Path, "/api/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	args, token, err := arguments(w, r)
	if err != nil {
		s.reply(w, r, method, args, nil, err)
		return
	}
	granted, err := s.admit(method, token)
	if err != nil {
		s.reply(w, r, method, args, nil, err)
		return
	}
	if method != "apps.connections.open" {
		w.Header().Set("X-OAuth-Scopes", granted)
	}
	fault, struck := s.strike(method, args["channel"], false)
	if struck && fault.Stage == Before {
		s.called(Call{At: time.Now(), Method: method, Args: args, Status: cmpStatus(fault), Error: fault.Error})
		fault.before(w)
		return
	}
	result, err := s.method(method, args)
	if e, ok := err.(*rateLimited); ok {
		s.called(Call{At: time.Now(), Method: method, Args: args, Status: http.StatusTooManyRequests, Error: "ratelimited"})
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error": e.Error()})
		return
	}
	if struck {
		s.called(Call{At: time.Now(), Method: method, Args: args})
		if !fault.after(r) {
			return
		}
	}
	s.reply(w, r, method, args, result, err)
}

func cmpStatus(f Fault) int {
	switch {
	case f.Error != "":
		return http.StatusOK
	case f.Status != 0:
		return f.Status
	}
	return http.StatusInternalServerError
}

func methodOf(path string) string {
	if strings.HasPrefix(path, "/response/") {
		return "response_url"
	}
	return strings.TrimPrefix(path, "/api/")
}

func (s *Server) called(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// reply records a call and answers it as Slack does: errors are a 200 with ok false.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, method string, args map[string]string, result map[string]any, err error) {
	c := Call{At: time.Now(), Method: method, Args: args, Status: http.StatusOK}
	if err == nil {
		if result == nil {
			result = map[string]any{}
		}
		result["ok"] = true
		s.called(c)
		writeJSON(w, http.StatusOK, result)
		return
	}
	e, ok := err.(*apiError)
	if !ok {
		e = refuse("invalid_arguments", err.Error())
	}
	c.Error = e.code
	s.called(c)
	body := map[string]any{"ok": false, "error": e.code}
	if e.needed != "" {
		body["needed"], body["provided"] = e.needed, e.provided
	}
	if len(e.messages) > 0 {
		body["response_metadata"] = map[string]any{"messages": e.messages}
		body["errors"] = e.messages
	}
	writeJSON(w, http.StatusOK, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone
}

// arguments reads a form or JSON body. Values of JSON that are no strings stay JSON, as blocks may be.
func arguments(w http.ResponseWriter, r *http.Request) (args map[string]string, token string, err error) {
	args = map[string]string{}
	if r.Method != http.MethodPost {
		return args, "", refuse("invalid_post_type")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return args, "", refuse("request_too_large")
	}
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return args, "", refuse("invalid_form_data")
		}
		for k := range form {
			args[k] = form.Get(k)
		}
	case "application/json":
		if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") {
			return args, "", refuse("invalid_charset")
		}
		var in map[string]json.RawMessage
		if err := json.Unmarshal(body, &in); err != nil {
			return args, "", refuse("invalid_json")
		}
		for k, v := range in {
			var str string
			if json.Unmarshal(v, &str) != nil {
				str = string(v)
			}
			args[k] = str
		}
		delete(args, "token") // in JSON a token counts only in the header
	default:
		return args, "", refuse("invalid_post_type")
	}
	token = args["token"]
	delete(args, "token")
	if bearer != "" {
		token = bearer
	}
	for k, v := range args {
		if !utf8.ValidString(v) {
			return args, token, refuse("invalid_arguments", k+" is not UTF-8")
		}
	}
	return args, token, nil
}

type rateLimited struct{}

func (*rateLimited) Error() string { return "ratelimited" }

func (s *Server) method(method string, args map[string]string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch method {
	case "chat.postMessage":
		return s.postMessage(args)
	case "chat.update":
		return s.update(args)
	case "chat.postEphemeral":
		return s.postEphemeral(args)
	case "conversations.open":
		return s.openConversation(args)
	case "views.open":
		return s.openView(args)
	case "files.getUploadURLExternal":
		return s.prepareUpload(args)
	case "files.completeUploadExternal":
		return s.completeUpload(args)
	}
	return s.workspaceMethod(method, args)
}

// destination finds where a post goes, and makes the direct message of a user. It needs s.mu.
func (s *Server) destination(to string) (*Channel, error) {
	if to == "" {
		return nil, refuse("channel_not_found")
	}
	c := s.find(to)
	if c == nil {
		u, ok := s.users[to]
		if !ok {
			return nil, refuse("channel_not_found")
		}
		c = &Channel{ID: s.newID("D"), User: u.ID}
		s.channels[c.ID] = c
	}
	switch {
	case c.Archived:
		return nil, refuse("is_archived")
	case c.NotMember:
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

// content checks what a message shows.
func content(args map[string]string, most int) (Version, error) {
	v := Version{At: time.Now(), Text: args["text"]}
	if raw := args["blocks"]; raw != "" && raw != "[]" {
		if err := CheckBlocks([]byte(raw)); err != nil {
			return v, err
		}
		v.Blocks = json.RawMessage(raw)
	}
	if strings.TrimSpace(v.Text) == "" && v.Blocks == nil {
		return v, refuse("no_text")
	}
	if utf8.RuneCountInString(v.Text) > most {
		return v, refuse("msg_too_long")
	}
	return v, nil
}

func (s *Server) postMessage(args map[string]string) (map[string]any, error) {
	c, err := s.destination(args["channel"])
	if err != nil {
		return nil, err
	}
	v, err := content(args, maxPostText)
	if err != nil {
		return nil, err
	}
	thread := args["thread_ts"]
	if thread != "" {
		parent := s.message(c.ID, thread)
		if parent == nil {
			return nil, refuse("thread_not_found")
		}
		if parent.ThreadTS != "" { // a reply to a reply lands in the same thread
			thread = parent.ThreadTS
		}
	}
	broadcast := args["reply_broadcast"] == "true"
	if broadcast && thread == "" {
		return nil, refuse("invalid_arguments", "reply_broadcast needs thread_ts")
	}
	if s.opts.RateLimit {
		if last, ok := s.lastPost[c.ID]; ok && v.At.Sub(last) < time.Second {
			return nil, &rateLimited{}
		}
		s.lastPost[c.ID] = v.At
	}
	m := &Message{Channel: c.ID, TS: s.newTS(), ThreadTS: thread, Broadcast: broadcast, From: "bot", Version: v}
	s.messages = append(s.messages, m)
	s.changed()
	return map[string]any{"channel": c.ID, "ts": m.TS, "message": shown(m)}, nil
}

func shown(m *Message) map[string]any {
	out := map[string]any{"type": "message", "subtype": "bot_message", "bot_id": "B0BOT", "text": m.Text, "ts": m.TS}
	if m.Blocks != nil {
		out["blocks"] = m.Blocks
	}
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
	}
	return out
}

// message needs s.mu.
func (s *Server) message(channel, ts string) *Message {
	for _, m := range s.messages {
		if m.Channel == channel && m.TS == ts && m.To == "" {
			return m
		}
	}
	return nil
}

// update wants the channel's ID, as Slack does: a name or a user's ID finds nothing.
func (s *Server) update(args map[string]string) (map[string]any, error) {
	c := s.channels[args["channel"]]
	if c == nil {
		return nil, refuse("channel_not_found")
	}
	m := s.message(c.ID, args["ts"])
	if m == nil {
		return nil, refuse("message_not_found")
	}
	if m.From != "bot" {
		return nil, refuse("cant_update_message")
	}
	if c.Archived {
		return nil, refuse("is_archived")
	}
	v, err := content(args, maxUpdateText)
	if err != nil {
		return nil, err
	}
	if _, given := args["blocks"]; !given {
		v.Blocks = m.Blocks // those of before stay
	}
	m.History = append(m.History, m.Version)
	m.Version = v
	s.changed()
	return map[string]any{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": shown(m)}, nil
}

func (s *Server) postEphemeral(args map[string]string) (map[string]any, error) {
	c, err := s.destination(args["channel"])
	if err != nil {
		return nil, err
	}
	if _, ok := s.users[args["user"]]; !ok {
		return nil, refuse("user_not_in_channel")
	}
	v, err := content(args, maxPostText)
	if err != nil {
		return nil, err
	}
	m := &Message{Channel: c.ID, TS: s.newTS(), To: args["user"], From: "bot", Version: v}
	s.messages = append(s.messages, m)
	s.changed()
	return map[string]any{"message_ts": m.TS}, nil
}

func (s *Server) openConversation(args map[string]string) (map[string]any, error) {
	if strings.Contains(args["users"], ",") || args["users"] == "" {
		return nil, refuse("users_list_not_supplied")
	}
	if _, ok := s.users[args["users"]]; !ok {
		return nil, refuse("user_not_found")
	}
	c, err := s.destination(args["users"])
	if err != nil {
		return nil, err
	}
	return map[string]any{"channel": map[string]any{"id": c.ID}}, nil
}
