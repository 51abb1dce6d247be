package slacktest

import (
	"context"
	"encoding/json"
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
	Replaced json.RawMessage   // what is shown instead since it was sent off; nil: itself
	fields   map[string]object // by block ID
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
	v := &View{Callback: o.str("callback_id"), Metadata: o.str("private_metadata"), Title: o.object("title").str("text"), Blocks: o["blocks"], Inputs: map[string]string{}, fields: map[string]object{}}
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
		v.Inputs[b.str("block_id")], v.fields[b.str("block_id")] = b.object("element").str("action_id"), b.object("element")
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
	c.field(at+"/element", b.object("element"))
}

func (s *Server) who(user string) map[string]any {
	return map[string]any{"id": user, "username": s.userName(user), "name": s.userName(user), "team_id": s.opts.Team}
}

// Submit fills in a modal (values by block ID: a text, a user's ID, or part of an option's text) and sends it off. Where
// tocsin refuses, the modal stays open and complaints has what it shows at the fields.
func (s *Server) Submit(ctx context.Context, tocsinURL string, v View, values map[string]string, user string) (a Answer, complaints map[string]string, err error) {
	state := map[string]any{}
	for block, action := range v.Inputs {
		e := v.fields[block]
		in, err := filled(e.str("type"), optionsOf(e), values[block])
		if err != nil {
			return Answer{}, nil, err
		}
		state[block] = map[string]any{action: in}
	}
	payload, err := json.Marshal(map[string]any{
		"type": "view_submission", "user": s.who(user), "api_app_id": "A0TEST", "token": "verification-token",
		"team": map[string]any{"id": s.opts.Team, "domain": "slacktest"}, "enterprise": nil, "is_enterprise_install": false,
		"trigger_id": s.trigger(), "response_urls": []any{},
		"view": map[string]any{"id": v.ID, "team_id": s.opts.Team, "type": "modal", "blocks": v.Blocks, "private_metadata": v.Metadata,
			"callback_id": v.Callback, "state": map[string]any{"values": state}, "hash": "1.abc", "root_view_id": v.ID, "app_id": "A0TEST", "bot_id": "B0BOT"},
	})
	if err != nil {
		return Answer{}, nil, err
	}
	form := url.Values{"payload": {string(payload)}}
	a, err = s.hand(ctx, tocsinURL, "/slack/interactions", form, time.Now())
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
		View   json.RawMessage   `json:"view"`
	}
	if err := json.Unmarshal([]byte(a.Body), &answer); err != nil {
		return nil, err
	}
	if answer.Action == "update" {
		return nil, s.replace(v, answer.View)
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

// replace shows another view in place of one that was sent off.
func (s *Server) replace(v View, by json.RawMessage) error {
	var o object
	if err := json.Unmarshal(by, &o); err != nil {
		return fmt.Errorf("the new view is no JSON: %w", err)
	}
	c := &checker{blockIDs: map[string]bool{}}
	c.view(o, &View{Callback: o.str("callback_id"), Metadata: o.str("private_metadata"), Inputs: map[string]string{}, fields: map[string]object{}})
	if len(c.problems) > 0 {
		return refuse("invalid_arguments", c.problems...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.views {
		if known.ID == v.ID {
			known.Replaced = by
		}
	}
	s.changed()
	return nil
}
