package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Slack's limits on blocks, in characters.
const (
	maxBlocks      = 50
	maxBlocksJSON  = 13000 // all together; undocumented
	maxSectionText = 3000
	maxFieldText   = 2000
	maxFields      = 10
	maxHeaderText  = 150
	maxContext     = 10
	maxActions     = 25
	maxButtonText  = 75
	maxButtonValue = 2000
	maxID          = 255
	maxURL         = 3000
	maxPlaceholder = 150
	maxOptions     = 100
	maxOptionText  = 75
	maxOptionValue = 150
)

// object is a JSON object that is checked key by key.
type object map[string]json.RawMessage

// checker collects what is wrong with the blocks of one message.
type checker struct {
	problems []string
	blockIDs map[string]bool
}

func (c *checker) add(at, format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...)+" [json-pointer:"+at+"]")
}

// CheckBlocks says what Slack would not accept in a message's blocks: nil, or an error with Slack's code.
func CheckBlocks(raw []byte) error {
	var blocks []object
	if err := json.Unmarshal(raw, &blocks); err != nil {
		return refuse("invalid_blocks_format", err.Error())
	}
	if len(blocks) > maxBlocks {
		return refuse("invalid_blocks", fmt.Sprintf("no more than %d items allowed", maxBlocks))
	}
	c := &checker{blockIDs: map[string]bool{}}
	for i, b := range blocks {
		c.block(fmt.Sprintf("/blocks/%d", i), b)
	}
	if len(c.problems) > 0 {
		return refuse("invalid_blocks", c.problems...)
	}
	if n := measure(raw); n > maxBlocksJSON {
		return refuse("msg_blocks_too_long", fmt.Sprintf("%d characters", n))
	}
	return nil
}

// measure counts characters of the JSON as Slack keeps it: compact, with nothing escaped needlessly.
func measure(raw []byte) int {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return len(raw)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return len(raw)
	}
	return utf8.RuneCount(b.Bytes()) - 1
}

// keys complains of keys that the object must not have.
func (c *checker) keys(at string, o object, allowed ...string) {
	for k, v := range o {
		if !slices.Contains(allowed, k) {
			c.add(at, "additional property %q", k)
		} else if string(v) == "null" {
			c.add(at+"/"+k, "null is no value")
		}
	}
}

func (o object) str(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return ""
	}
	return s
}

func (o object) has(key string) bool { _, ok := o[key]; return ok }

func (o object) object(key string) object {
	var sub object
	if json.Unmarshal(o[key], &sub) != nil {
		return nil
	}
	return sub
}

func (c *checker) list(at string, o object, key string, most int) []object {
	var all []object
	if err := json.Unmarshal(o[key], &all); err != nil || len(all) == 0 {
		c.add(at+"/"+key, "must be a list with at least one item")
		return nil
	}
	if len(all) > most {
		c.add(at+"/"+key, "no more than %d items allowed", most)
	}
	return all
}

func (c *checker) block(at string, b object) {
	if id := b.str("block_id"); b.has("block_id") {
		switch {
		case id == "" || utf8.RuneCountInString(id) > maxID:
			c.add(at+"/block_id", "must be 1 to %d characters", maxID)
		case c.blockIDs[id]:
			c.add(at+"/block_id", "is not unique")
		}
		c.blockIDs[id] = true
	}
	switch t := b.str("type"); t {
	case "divider":
		c.keys(at, b, "type", "block_id")
	case "header":
		c.keys(at, b, "type", "block_id", "text", "level")
		c.text(at+"/text", b.object("text"), maxHeaderText, "plain_text")
	case "section":
		c.section(at, b)
	case "context":
		c.keys(at, b, "type", "block_id", "elements")
		for i, e := range c.list(at, b, "elements", maxContext) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			if e.str("type") == "image" {
				c.image(at, e)
			} else {
				c.text(at, e, maxSectionText, "plain_text", "mrkdwn")
			}
		}
	case "actions":
		c.keys(at, b, "type", "block_id", "elements")
		seen := map[string]bool{}
		for i, e := range c.list(at, b, "elements", maxActions) {
			c.element(fmt.Sprintf("%s/elements/%d", at, i), e, seen)
		}
	case "image":
		c.keys(at, b, "type", "block_id", "image_url", "alt_text", "title")
		c.image(at, b)
	default:
		c.add(at+"/type", "unsupported type: %q", t)
	}
}

func (c *checker) section(at string, b object) {
	c.keys(at, b, "type", "block_id", "text", "fields", "accessory", "expand")
	if !b.has("text") && !b.has("fields") {
		c.add(at, "must have text or fields")
	}
	if b.has("text") {
		c.text(at+"/text", b.object("text"), maxSectionText, "plain_text", "mrkdwn")
	}
	if b.has("fields") {
		for i, f := range c.list(at, b, "fields", maxFields) {
			c.text(fmt.Sprintf("%s/fields/%d", at, i), f, maxFieldText, "plain_text", "mrkdwn")
		}
	}
	if b.has("accessory") {
		c.button(at+"/accessory", b.object("accessory"), map[string]bool{})
	}
}

func (c *checker) text(at string, t object, most int, types ...string) {
	if t == nil {
		c.add(at, "missing text object")
		return
	}
	kind := t.str("type")
	if !slices.Contains(types, kind) {
		c.add(at+"/type", "must be one of %s, not %q", strings.Join(types, ", "), kind)
	}
	c.keys(at, t, "type", "text", map[string]string{"plain_text": "emoji", "mrkdwn": "verbatim"}[kind])
	s := t.str("text")
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		c.add(at+"/text", "must be at least 1 character")
	case n > most:
		c.add(at+"/text", "must be no more than %d characters", most)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
		c.add(at+"/text", "control characters")
	}
}

func (c *checker) image(at string, e object) {
	if !e.has("image_url") || !e.has("alt_text") {
		c.add(at, "an image needs image_url and alt_text")
	}
	if n := len(e.str("image_url")); n > maxURL {
		c.add(at+"/image_url", "must be no more than %d characters", maxURL)
	}
}

func (c *checker) button(at string, e object, actionIDs map[string]bool) {
	if t := e.str("type"); t != "button" {
		c.add(at+"/type", "unsupported type: %q", t)
		return
	}
	c.keys(at, e, "type", "text", "action_id", "url", "value", "style", "confirm", "accessibility_label")
	c.text(at+"/text", e.object("text"), maxButtonText, "plain_text")
	c.actionID(at, e, actionIDs)
	if utf8.RuneCountInString(e.str("value")) > maxButtonValue {
		c.add(at+"/value", "must be no more than %d characters", maxButtonValue)
	}
	if s := e.str("style"); e.has("style") && s != "primary" && s != "danger" {
		c.add(at+"/style", "must be primary or danger")
	}
	if u := e.str("url"); e.has("url") {
		if _, err := url.ParseRequestURI(u); err != nil || len(u) > maxURL {
			c.add(at+"/url", "must be a URL of no more than %d characters", maxURL)
		}
	}
	if e.has("confirm") {
		c.confirm(at+"/confirm", e.object("confirm"))
	}
}

func (c *checker) actionID(at string, e object, actionIDs map[string]bool) {
	switch id := e.str("action_id"); {
	case utf8.RuneCountInString(id) > maxID:
		c.add(at+"/action_id", "must be no more than %d characters", maxID)
	case id != "" && actionIDs[id]:
		c.add(at+"/action_id", "is not unique")
	default:
		actionIDs[id] = true
	}
}

func (c *checker) confirm(at string, o object) {
	c.keys(at, o, "title", "text", "confirm", "deny", "style")
	c.text(at+"/title", o.object("title"), 100, "plain_text")
	c.text(at+"/text", o.object("text"), 300, "plain_text", "mrkdwn")
	c.text(at+"/confirm", o.object("confirm"), 30, "plain_text")
	if o.has("deny") {
		c.text(at+"/deny", o.object("deny"), 30, "plain_text")
	}
}

var ping = regexp.MustCompile(`<(!(?:channel|here|everyone|group|subteam)[^>]*|[@#][A-Z0-9][^>]*)>`)
var namedPing = regexp.MustCompile(`@(?:channel|here|everyone|group)\b`)

// Pings returns what would have notified people by name in anything that was ever shown: <!channel>,
// <@U…> and, where the request asked Slack to find names in the text, @here. Messages to one person do not
// count.
func (s *Server) Pings() []string {
	var out []string
	for _, m := range s.All() {
		for _, v := range append(m.History, m.Version) {
			out = append(out, ping.FindAllString(v.Text, -1)...)
			for _, t := range texts(v.Blocks) {
				out = append(out, ping.FindAllString(t.text, -1)...)
				if !t.verbatim {
					out = append(out, namedPing.FindAllString(t.text, -1)...)
				}
			}
		}
	}
	for _, c := range s.Calls("") {
		if c.Args["parse"] == "full" || c.Args["link_names"] == "true" || c.Args["link_names"] == "1" {
			out = append(out, namedPing.FindAllString(c.Args["text"], -1)...)
		}
	}
	return out
}

type textObject struct {
	text     string
	verbatim bool
}

// texts collects the mrkdwn texts of blocks; plain text pings nobody.
func texts(blocks json.RawMessage) []textObject {
	var out []textObject
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if s, ok := v["text"].(string); ok && v["type"] == "mrkdwn" {
				verbatim, _ := v["verbatim"].(bool)
				out = append(out, textObject{s, verbatim})
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	var v any
	if json.Unmarshal(blocks, &v) == nil {
		walk(v)
	}
	return out
}
