package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Slack's limits on modals, in characters.
const (
	maxViewBlocks   = 100
	maxViewTitle    = 24
	maxMetadata     = 3000
	maxLabel        = 2000
	maxInput        = 3000
	triggerLifetime = 3 * time.Second
)

// View is a modal that was opened for somebody. It is a copy: change it freely.
type View struct {
	ID       string
	Callback string
	Metadata string
	Title    string
	Blocks   json.RawMessage
	Inputs   map[string]string // block ID to action ID, of the fields
	Closed   bool              // it was sent off and taken
}

// Views returns the modals that were opened, in order.
func (s *Server) Views() []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]View, 0, len(s.views))
	for _, v := range s.views {
		out = append(out, *v)
	}
	return out
}

// openView opens a modal for whoever pressed. It needs s.mu.
func (s *Server) openView(args map[string]string) (map[string]any, error) {
	given, ok := s.triggers[args["trigger_id"]]
	switch {
	case args["trigger_id"] == "" || !strings.HasPrefix(args["trigger_id"], "trigger."):
		return nil, refuse("invalid_trigger_id")
	case !ok:
		return nil, refuse("exchanged_trigger_id")
	case time.Since(given) > triggerLifetime:
		return nil, refuse("expired_trigger_id")
	}
	var o object
	if err := json.Unmarshal([]byte(args["view"]), &o); err != nil {
		return nil, refuse("invalid_arguments", "view is no JSON")
	}
	v := &View{Callback: o.str("callback_id"), Metadata: o.str("private_metadata"), Title: o.object("title").str("text"), Blocks: o["blocks"], Inputs: map[string]string{}}
	c := &checker{blockIDs: map[string]bool{}}
	c.view(o, v)
	if len(c.problems) > 0 {
		return nil, refuse("invalid_arguments", c.problems...)
	}
	delete(s.triggers, args["trigger_id"])
	v.ID = s.newID("V")
	s.views = append(s.views, v)
	s.changed()
	o["id"] = json.RawMessage(fmt.Sprintf("%q", v.ID))
	return map[string]any{"view": o}, nil
}

func (c *checker) view(o object, v *View) {
	c.keys("", o, "type", "title", "blocks", "close", "submit", "private_metadata", "callback_id", "clear_on_close", "notify_on_close", "external_id")
	if o.str("type") != "modal" {
		c.add("/type", "must be modal")
	}
	c.text("/title", o.object("title"), maxViewTitle, "plain_text")
	for _, key := range []string{"close", "submit"} {
		if o.has(key) {
			c.text("/"+key, o.object(key), maxViewTitle, "plain_text")
		}
	}
	if utf8.RuneCountInString(v.Metadata) > maxMetadata {
		c.add("/private_metadata", "must be no more than %d characters", maxMetadata)
	}
	if utf8.RuneCountInString(v.Callback) > maxID {
		c.add("/callback_id", "must be no more than %d characters", maxID)
	}
	for i, b := range c.list("", o, "blocks", maxViewBlocks) {
		at := fmt.Sprintf("/blocks/%d", i)
		if b.str("type") != "input" {
			c.block(at, b)
			continue
		}
		c.input(at, b)
		v.Inputs[b.str("block_id")] = b.object("element").str("action_id")
	}
	if len(v.Inputs) > 0 && !o.has("submit") {
		c.add("/submit", "a modal with inputs needs it")
	}
}

func (c *checker) input(at string, b object) {
	c.keys(at, b, "type", "block_id", "label", "element", "hint", "optional", "dispatch_action")
	c.text(at+"/label", b.object("label"), maxLabel, "plain_text")
	if b.has("hint") {
		c.text(at+"/hint", b.object("hint"), maxLabel, "plain_text")
	}
	id := b.str("block_id")
	if id == "" || c.blockIDs[id] {
		c.add(at+"/block_id", "must be there and unique, for the answer to be found")
	}
	c.blockIDs[id] = true
	e := b.object("element")
	if e.str("type") != "plain_text_input" || e.str("action_id") == "" {
		c.add(at+"/element", "only plain_text_input with an action_id is known here")
		return
	}
	c.keys(at+"/element", e, "type", "action_id", "placeholder", "initial_value", "multiline", "min_length", "max_length", "focus_on_load")
	if e.has("placeholder") {
		c.text(at+"/element/placeholder", e.object("placeholder"), maxPlaceholder, "plain_text")
	}
	var most int
	if e.has("max_length") && (json.Unmarshal(e["max_length"], &most) != nil || most < 1 || most > maxInput) {
		c.add(at+"/element/max_length", "must be 1 to %d", maxInput)
	}
}

// Select chooses from a menu of a message as it is shown now, by the text of an option.
func (s *Server) Select(ctx context.Context, tocsinURL string, m Message, actionID, option, user string) (Answer, error) {
	now, ok := s.Message(m.Channel, m.TS)
	if !ok {
		return Answer{}, errors.New("the message is gone")
	}
	return s.SelectAsSeen(ctx, tocsinURL, now, actionID, option, user)
}

// SelectAsSeen chooses from a menu of the message as given, which may be older than what is shown.
func (s *Server) SelectAsSeen(ctx context.Context, tocsinURL string, m Message, actionID, option, user string) (Answer, error) {
	chosen, blockID := findOption(m.Blocks, actionID, option)
	if chosen == nil {
		return Answer{}, fmt.Errorf("the message shows no menu %q with %q", actionID, option)
	}
	at := time.Now()
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": s.who(user), "api_app_id": "A0TEST", "token": "verification-token",
		"container":  map[string]any{"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": false},
		"trigger_id": s.trigger(), "team": map[string]any{"id": "T0TEST", "domain": "slacktest"}, "enterprise": nil, "is_enterprise_install": false,
		"channel": map[string]any{"id": m.Channel, "name": "channel"},
		"message": map[string]any{"type": "message", "bot_id": "B0BOT", "text": m.Text, "ts": m.TS, "blocks": m.Blocks},
		"state": map[string]any{"values": map[string]any{blockID: map[string]any{actionID: map[string]any{
			"type": "static_select", "selected_option": chosen}}}},
		"response_url": s.newResponseURL(user),
		"actions": []any{map[string]any{"action_id": actionID, "block_id": blockID, "type": "static_select",
			"action_ts": fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000), "selected_option": chosen}},
	})
	if err != nil {
		return Answer{}, err
	}
	return s.interact(ctx, tocsinURL, url.Values{"payload": {string(payload)}}, at)
}

func (s *Server) who(user string) map[string]any {
	return map[string]any{"id": user, "username": s.userName(user), "name": s.userName(user), "team_id": "T0TEST"}
}

func findOption(blocks json.RawMessage, actionID, option string) (chosen object, blockID string) {
	var all []object
	if json.Unmarshal(blocks, &all) != nil {
		return nil, ""
	}
	for _, b := range all {
		var elements []object
		if b.str("type") != "actions" || json.Unmarshal(b["elements"], &elements) != nil {
			continue
		}
		for _, e := range elements {
			var options []object
			if e.str("type") != "static_select" || e.str("action_id") != actionID || json.Unmarshal(e["options"], &options) != nil {
				continue
			}
			for _, o := range options {
				if o.object("text").str("text") == option {
					return o, b.str("block_id")
				}
			}
		}
	}
	return nil, ""
}

// Submit fills in a modal (values by block ID) and sends it off. Where tocsin refuses, the modal stays open and
// complaints has what it shows at the fields.
func (s *Server) Submit(ctx context.Context, tocsinURL string, v View, values map[string]string, user string) (a Answer, complaints map[string]string, err error) {
	state := map[string]any{}
	for block, action := range v.Inputs {
		state[block] = map[string]any{action: map[string]any{"type": "plain_text_input", "value": values[block]}}
	}
	payload, err := json.Marshal(map[string]any{
		"type": "view_submission", "user": s.who(user), "api_app_id": "A0TEST", "token": "verification-token",
		"team": map[string]any{"id": "T0TEST", "domain": "slacktest"}, "enterprise": nil, "is_enterprise_install": false,
		"trigger_id": s.trigger(), "response_urls": []any{},
		"view": map[string]any{"id": v.ID, "team_id": "T0TEST", "type": "modal", "blocks": v.Blocks, "private_metadata": v.Metadata,
			"callback_id": v.Callback, "state": map[string]any{"values": state}, "hash": "1.abc", "root_view_id": v.ID, "app_id": "A0TEST", "bot_id": "B0BOT"},
	})
	if err != nil {
		return Answer{}, nil, err
	}
	form := url.Values{"payload": {string(payload)}}
	a, err = s.Send(ctx, s.Sign(strings.TrimRight(tocsinURL, "/")+"/slack/interactions", []byte(form.Encode()), time.Now()))
	if err != nil || a.Status != http.StatusOK {
		return a, nil, err
	}
	complaints, err = s.submitted(v, a)
	return a, complaints, err
}

// submitted reads the answer to a modal that was sent off: nothing closes it.
func (s *Server) submitted(v View, a Answer) (map[string]string, error) {
	if a.Body == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, known := range s.views {
			known.Closed = known.Closed || known.ID == v.ID
		}
		return nil, nil
	}
	if kind, _, _ := mime.ParseMediaType(a.ContentType); kind != "application/json" {
		return nil, fmt.Errorf("Slack would not understand an answer of the content type %q", a.ContentType)
	}
	var answer struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
	}
	if err := json.Unmarshal([]byte(a.Body), &answer); err != nil {
		return nil, err
	}
	if answer.Action != "errors" || len(answer.Errors) == 0 {
		return nil, fmt.Errorf("response_action is %q with %d errors", answer.Action, len(answer.Errors))
	}
	for block, text := range answer.Errors {
		if _, ok := v.Inputs[block]; !ok || text == "" {
			return nil, fmt.Errorf("the error %q is at %q, which is no field", text, block)
		}
	}
	return answer.Errors, nil
}
