package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Slack's limits on menus.
const (
	maxGroups   = 100
	maxOverflow = 5
)

// element checks one element of an actions block.
func (c *checker) element(at string, e object, seen map[string]bool) {
	switch e.str("type") {
	case "static_select":
		c.menu(at, e, seen)
	case "overflow":
		c.keys(at, e, "type", "action_id", "options", "confirm")
		c.actionID(at, e, seen)
		c.options(at, e, maxOverflow)
	default:
		c.button(at, e, seen)
	}
}

func (c *checker) menu(at string, e object, actionIDs map[string]bool) {
	c.keys(at, e, "type", "placeholder", "action_id", "options", "option_groups", "initial_option", "confirm", "focus_on_load")
	c.text(at+"/placeholder", e.object("placeholder"), maxPlaceholder, "plain_text")
	c.actionID(at, e, actionIDs)
	if e.has("options") == e.has("option_groups") {
		c.add(at, "must have options or option_groups, not both")
		return
	}
	if e.has("options") {
		c.options(at, e, maxOptions)
		return
	}
	for i, g := range c.list(at, e, "option_groups", maxGroups) {
		at := fmt.Sprintf("%s/option_groups/%d", at, i)
		c.keys(at, g, "label", "options")
		c.text(at+"/label", g.object("label"), maxOptionText, "plain_text")
		c.options(at, g, maxOptions)
	}
}

func (c *checker) options(at string, e object, most int) {
	values := map[string]bool{}
	for i, o := range c.list(at, e, "options", most) {
		at := fmt.Sprintf("%s/options/%d", at, i)
		c.keys(at, o, "text", "value", "description")
		c.text(at+"/text", o.object("text"), maxOptionText, "plain_text")
		value := o.str("value")
		if n := utf8.RuneCountInString(value); n == 0 || n > maxOptionValue {
			c.add(at+"/value", "must be 1 to %d characters", maxOptionValue)
		}
		if values[value] {
			c.add(at+"/value", "is not unique")
		}
		values[value] = true
	}
}

// optionsOf lists the options of a menu, those of its groups too.
func optionsOf(e object) []object {
	var all []object
	if json.Unmarshal(e["options"], &all) != nil {
		all = nil
	}
	var groups []object
	if json.Unmarshal(e["option_groups"], &groups) == nil {
		for _, g := range groups {
			all = append(all, optionsOf(g)...)
		}
	}
	return all
}

// Menus lists the texts of the options that a message offers, by the action ID of the menu, in order.
func (m Message) Menus() map[string][]string {
	out := map[string][]string{}
	eachElement(m.Blocks, func(_ string, e object) bool {
		if t := e.str("type"); t == "static_select" || t == "overflow" {
			for _, o := range optionsOf(e) {
				out[e.str("action_id")] = append(out[e.str("action_id")], o.object("text").str("text"))
			}
		}
		return true
	})
	return out
}

func eachElement(blocks json.RawMessage, visit func(blockID string, e object) bool) {
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
			if !visit(b.str("block_id"), e) {
				return
			}
		}
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
	kind, chosen, blockID := findOption(m.Blocks, actionID, option)
	if chosen == nil {
		return Answer{}, fmt.Errorf("the message shows no menu %q with %q", actionID, option)
	}
	at := time.Now()
	state := map[string]any{}
	if kind == "static_select" { // an overflow menu keeps nothing
		state[blockID] = map[string]any{actionID: map[string]any{"type": kind, "selected_option": chosen}}
	}
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": s.who(user), "api_app_id": "A0TEST", "token": "verification-token",
		"container":  map[string]any{"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": false},
		"trigger_id": s.trigger(), "team": map[string]any{"id": s.opts.Team, "domain": "slacktest"}, "enterprise": nil, "is_enterprise_install": false,
		"channel":      map[string]any{"id": m.Channel, "name": "channel"},
		"message":      map[string]any{"type": "message", "bot_id": "B0BOT", "text": m.Text, "ts": m.TS, "blocks": m.Blocks},
		"state":        map[string]any{"values": state},
		"response_url": s.newResponseURL(user),
		"actions": []any{map[string]any{"action_id": actionID, "block_id": blockID, "type": kind,
			"action_ts": fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000), "selected_option": chosen}},
	})
	if err != nil {
		return Answer{}, err
	}
	return s.interact(ctx, tocsinURL, url.Values{"payload": {string(payload)}}, at)
}

func findOption(blocks json.RawMessage, actionID, option string) (kind string, chosen object, blockID string) {
	eachElement(blocks, func(block string, e object) bool {
		if e.str("action_id") != actionID || !slices.Contains([]string{"static_select", "overflow"}, e.str("type")) {
			return true
		}
		for _, o := range optionsOf(e) {
			if o.object("text").str("text") == option {
				kind, chosen, blockID = e.str("type"), o, block
				return false
			}
		}
		return true
	})
	return kind, chosen, blockID
}

// fieldKinds are the elements that a field may have here.
var fieldKinds = []string{"plain_text_input", "static_select", "users_select"}

// field checks the element of an input.
func (c *checker) field(at string, e object) {
	if e.str("action_id") == "" {
		c.add(at+"/action_id", "must be there, for the answer to be found")
	}
	switch kind := e.str("type"); kind {
	case "plain_text_input":
		c.keys(at, e, "type", "action_id", "placeholder", "initial_value", "multiline", "min_length", "max_length", "focus_on_load")
		if e.has("placeholder") {
			c.text(at+"/placeholder", e.object("placeholder"), maxPlaceholder, "plain_text")
		}
		var most int
		if e.has("max_length") && (json.Unmarshal(e["max_length"], &most) != nil || most < 1 || most > maxInput) {
			c.add(at+"/max_length", "must be 1 to %d", maxInput)
		}
	case "static_select":
		c.menu(at, e, map[string]bool{})
	case "users_select":
		c.keys(at, e, "type", "action_id", "placeholder", "initial_user", "confirm", "focus_on_load")
		if e.has("placeholder") {
			c.text(at+"/placeholder", e.object("placeholder"), maxPlaceholder, "plain_text")
		}
		if u := e.str("initial_user"); e.has("initial_user") && !strings.HasPrefix(u, "U") && !strings.HasPrefix(u, "W") {
			c.add(at+"/initial_user", "must be a user's ID")
		}
	default:
		c.add(at+"/type", "only %s are known here", strings.Join(fieldKinds, ", "))
	}
}

// filled is a field with what somebody put in, as Slack reports it: a text, a user's ID, or the text of an option.
func filled(kind string, options []object, value string) (map[string]any, error) {
	switch kind {
	case "users_select":
		var user any
		if value != "" {
			user = value
		}
		return map[string]any{"type": kind, "selected_user": user}, nil
	case "static_select":
		if value == "" {
			return map[string]any{"type": kind, "selected_option": nil}, nil
		}
		for _, o := range options {
			if text := o.object("text").str("text"); text == value || strings.Contains(text, value) {
				return map[string]any{"type": kind, "selected_option": o}, nil
			}
		}
		return nil, fmt.Errorf("the menu has no option %q", value)
	}
	if value == "" {
		return map[string]any{"type": kind, "value": nil}, nil
	}
	return map[string]any{"type": kind, "value": value}, nil
}
