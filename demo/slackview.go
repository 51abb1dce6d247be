package demo

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"tocsin/notifier/slack/slacktest"
)

// pane is one conversation of the sandbox: the team's channel, or somebody's direct messages.
type pane struct {
	ID       string // of the element that shows it
	For      string // whose direct messages; "" for the channel
	Messages []post
}

// post is a message as it is drawn.
type post struct {
	Key     string // of the element; changes with nothing
	Channel string
	TS      string
	Time    string // story time
	From    string
	Private string        // the user who alone sees it, "" for everybody
	Typed   bool          // a command that somebody typed
	Text    template.HTML // where there are no blocks
	Blocks  []blockView
	Images  []imageView
	Edited  int // how often it was redrawn
	Replies []post
}

// blockView is one Block Kit block. Kind is header, section, context, actions, divider or other.
type blockView struct {
	Kind    string
	HTML    template.HTML
	Fields  []template.HTML
	Buttons []buttonView
}

// buttonView is a button, or a menu where there are Options.
type buttonView struct {
	Action  string
	Text    string
	Style   string // primary, danger, or ""
	Confirm string // a question that is asked first, "" for none
	Options []string
}

// imageView is a picture in a thread.
type imageView struct {
	Src template.URL
	Alt string
	// Clock says whose clock the picture's axis is on, where that is not the story's.
	Clock string
}

// The parts of Block Kit that tocsin sends; unknown blocks are shown by their type, not dropped.
type (
	kitText struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	kitOption struct {
		Text kitText `json:"text"`
	}
	kitElement struct {
		Type     string          `json:"type"`
		Text     json.RawMessage `json:"text"` // a string in a context block, an object in a button
		ActionID string          `json:"action_id"`
		Hint     kitText         `json:"placeholder"`
		Options  []kitOption     `json:"options"`
		Groups   []struct {
			Options []kitOption `json:"options"`
		} `json:"option_groups"`
		Style   string `json:"style"`
		AltText string `json:"alt_text"`
		Confirm *struct {
			Title kitText `json:"title"`
			Text  kitText `json:"text"`
		} `json:"confirm"`
	}
	kitBlock struct {
		Type     string       `json:"type"`
		Text     kitText      `json:"text"`
		Fields   []kitText    `json:"fields"`
		Elements []kitElement `json:"elements"`
	}
)

// typed is a slash command that somebody typed on the page.
type typed struct {
	at   time.Time
	user person
	text string
}

// panes draws every conversation of a run. It needs w.mu.
func (w *World) panes(r *run) []pane {
	m := mrkdwn{clock: r.clock, users: map[string]string{}}
	for _, p := range people {
		m.users[p.slack] = p.name
	}
	channel := pane{ID: "channel", Messages: w.posts(r, m, channelName)}
	for _, p := range people {
		for _, msg := range w.slack.Private(p.slack) {
			if !slackTime(msg.TS).Before(r.from) {
				channel.Messages = append(channel.Messages, m.post(msg))
			}
		}
	}
	for _, c := range w.typed {
		if !c.at.Before(r.from) {
			channel.Messages = append(channel.Messages, post{Key: "typed-" + stamp(c.at), TS: stamp(c.at), Time: hhmm(r.clock.story(c.at)),
				From: c.user.name, Private: c.user.name, Typed: true, Text: template.HTML(template.HTMLEscapeString("/tocsin " + c.text))}) //nolint:gosec // escaped
		}
	}
	slices.SortStableFunc(channel.Messages, func(a, b post) int { return strings.Compare(a.TS, b.TS) })
	out := []pane{channel}
	for _, p := range people {
		out = append(out, pane{ID: "dm-" + p.name, For: p.name, Messages: w.posts(r, m, p.slack)})
	}
	return out
}

// posts draws a channel's messages with their threads.
func (w *World) posts(r *run, m mrkdwn, channel string) []post {
	var out []post
	for _, msg := range w.slack.Messages(channel) {
		if slackTime(msg.TS).Before(r.from) || msg.ThreadTS != "" {
			continue
		}
		p := m.post(msg)
		for _, reply := range w.slack.Thread(msg.Channel, msg.TS) {
			p.Replies = append(p.Replies, m.post(reply))
		}
		out = append(out, p)
	}
	return out
}

// stamp is a time as a message's ts: it sorts as text.
func stamp(t time.Time) string {
	return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

func (m mrkdwn) post(msg slacktest.Message) post {
	p := post{Key: msg.Channel + "-" + strings.ReplaceAll(msg.TS, ".", "-"), Channel: msg.Channel, TS: msg.TS,
		Time: hhmm(m.clock.story(slackTime(msg.TS))), From: "tocsin", Private: m.users[msg.To], Edited: len(msg.History)}
	whose := ""
	if m.clock.speed != 1 {
		whose = fmt.Sprintf("tocsin draws this by the real clock: the axis is this machine’s, on which the story runs %.0f times faster", m.clock.speed)
	}
	for _, f := range msg.Files {
		src := template.URL("/file?" + url.Values{"channel": {msg.Channel}, "ts": {msg.TS}, "id": {f.ID}}.Encode())
		p.Images = append(p.Images, imageView{src, f.Alt, whose})
	}
	if p.Blocks = m.blocks(msg.Blocks); len(p.Blocks) == 0 {
		p.Text = m.html(msg.Text)
	}
	return p
}

func (m mrkdwn) blocks(raw json.RawMessage) []blockView {
	var all []kitBlock
	if len(raw) == 0 || json.Unmarshal(raw, &all) != nil {
		return nil
	}
	var out []blockView
	for _, b := range all {
		v := blockView{Kind: b.Type}
		switch b.Type {
		case "header":
			v.HTML = m.text(b.Text)
		case "section":
			if b.Text.Text != "" {
				v.HTML = m.text(b.Text)
			}
			for _, f := range b.Fields {
				v.Fields = append(v.Fields, m.text(f))
			}
		case "context":
			for _, e := range b.Elements {
				var text string
				if json.Unmarshal(e.Text, &text) != nil {
					text = e.AltText
				}
				v.Fields = append(v.Fields, m.text(kitText{e.Type, text}))
			}
		case "actions":
			v.Buttons = buttonsOf(b.Elements)
		case "divider":
		default:
			v.Kind, v.HTML = "other", template.HTML(template.HTMLEscapeString("["+b.Type+"]")) //nolint:gosec // escaped
		}
		out = append(out, v)
	}
	return out
}

// text draws a text object: only mrkdwn has markup, but both know emoji and line breaks.
func (m mrkdwn) text(t kitText) template.HTML {
	if t.Type == "mrkdwn" {
		return m.html(t.Text)
	}
	return template.HTML(strings.ReplaceAll(escapeSlack(t.Text), "\n", "<br>")) //nolint:gosec // escaped
}

func buttonsOf(elements []kitElement) []buttonView {
	var out []buttonView
	for _, e := range elements {
		if e.Type == "static_select" || e.Type == "overflow" {
			out = append(out, menuOf(e))
			continue
		}
		var text kitText
		if e.Type != "button" || json.Unmarshal(e.Text, &text) != nil {
			continue
		}
		b := buttonView{Action: e.ActionID, Text: text.Text, Style: e.Style}
		if e.Confirm != nil {
			b.Confirm = e.Confirm.Title.Text + " " + e.Confirm.Text.Text
		}
		out = append(out, b)
	}
	return out
}

// menuOf is a menu without what opens a dialog, which ends in an ellipsis: dialogs are not drawn here, and the same can be
// typed as a command.
func menuOf(e kitElement) buttonView {
	v := buttonView{Action: e.ActionID, Text: e.Hint.Text}
	if v.Text == "" {
		v.Text = "⋯"
	}
	all := e.Options
	for _, g := range e.Groups {
		all = append(all, g.Options...)
	}
	for _, o := range all {
		if !strings.HasSuffix(o.Text.Text, "…") {
			v.Options = append(v.Options, o.Text.Text)
		}
	}
	return v
}
