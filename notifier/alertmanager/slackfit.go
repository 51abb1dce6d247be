package alertmanager

import (
	"bytes"
	"encoding/json"
)

// Slack refuses messages whose parts are too long, and a group can have thousands of alerts. What is too long is
// cut here, after Alertmanager has written the message, so that it arrives at all.
const (
	slackText       = 39_000 // of 40,000 characters in a message's text
	slackAttachment = 7_900  // of 8,000 in each text of an attachment
	slackTitle      = 1_000
	slackField      = 2_000
	slackFields     = 100
	slackActions    = 5
)

// fitSlack makes a message fit for Slack. What is no such message is returned as it is.
func fitSlack(body []byte) []byte {
	if len(body) < slackTitle {
		return body
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var m map[string]any
	if d.Decode(&m) != nil {
		return body
	}
	f := fitting{}
	f.text(m, "text", slackText)
	attachments, _ := m["attachments"].([]any)
	for _, a := range attachments {
		f.attachment(a)
	}
	if !f.cut {
		return body
	}
	b, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return b
}

type fitting struct{ cut bool }

func (f *fitting) attachment(v any) {
	a, ok := v.(map[string]any)
	if !ok {
		return
	}
	for _, key := range []string{"text", "pretext", "fallback"} {
		f.text(a, key, slackAttachment)
	}
	for _, key := range []string{"title", "footer"} {
		f.text(a, key, slackTitle)
	}
	f.list(a, "fields", slackFields)
	f.list(a, "actions", slackActions)
	fields, _ := a["fields"].([]any)
	for _, v := range fields {
		if field, ok := v.(map[string]any); ok {
			f.text(field, "title", slackTitle)
			f.text(field, "value", slackField)
		}
	}
}

func (f *fitting) text(m map[string]any, key string, limit int) {
	s, _ := m[key].(string)
	if len(s) <= limit {
		return
	}
	if r := []rune(s); len(r) > limit {
		const end = "… (cut: the message is too long for Slack)"
		m[key], f.cut = string(r[:limit-len([]rune(end))])+end, true
	}
}

func (f *fitting) list(m map[string]any, key string, limit int) {
	if l, _ := m[key].([]any); len(l) > limit {
		m[key], f.cut = l[:limit], true
	}
}
