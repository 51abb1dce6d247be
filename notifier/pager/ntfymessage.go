package pager

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"tocsin/oncall"
)

// ntfyMessage is what is published.
type ntfyMessage struct {
	Topic    string       `json:"topic"`
	Sequence string       `json:"sequence_id,omitempty"` // messages that share it are one notification, of which the last is shown
	Title    string       `json:"title"`
	Message  string       `json:"message"`
	Priority int          `json:"priority"` // 1 to 5
	Tags     []string     `json:"tags,omitempty"`
	Click    string       `json:"click,omitempty"`
	Actions  []ntfyAction `json:"actions,omitempty"`
}

type ntfyAction struct {
	Action string `json:"action"`
	Label  string `json:"label"`
	URL    string `json:"url"`
	Method string `json:"method,omitempty"`
	Clear  bool   `json:"clear,omitempty"`
}

// maxNtfy bounds a message's title and text, in bytes: ntfy makes a file of what is longer than 4,096, and the title has
// little room on a phone.
const (
	maxNtfyTitle = 200
	maxNtfyText  = 3000
)

func (c *NtfyConfig) message(d oncall.Delivery, p oncall.Page) ntfyMessage {
	in := p.Data
	m := ntfyMessage{Topic: c.Topic, Title: fmt.Sprintf("#%d %s", in.Number, oneLine(in.Title)), Click: link(in.URL), Priority: 2}
	switch d.Kind {
	case oncall.KindAcknowledged:
		m.Message, m.Tags = "Acknowledged by "+cmp.Or(in.AcknowledgedBy, "somebody")+".", []string{"eyes"}
	case oncall.KindResolved:
		m.Message, m.Tags = "Resolved: its alerts have ended.", []string{"white_check_mark"}
		if in.ResolvedBy != "" {
			m.Message = "Resolved by " + in.ResolvedBy + "."
		}
		if in.Drill {
			m.Message = "The drill is over. Nothing was wrong."
		}
	default:
		m.asks(p)
		m.look(c, p)
	}
	if !c.Separate {
		m.Sequence = sequence(d, p)
	}
	m.Title, m.Message = cutBytes(m.Title, maxNtfyTitle), cutBytes(m.Message, maxNtfyText)
	return m
}

// sequence names the notification that a message belongs to. What asks begins one of its own: a phone shows what replaces
// another message without a sound. What tells replaces what asked last, unless that went for other incidents too.
func sequence(d oncall.Delivery, p oncall.Page) string {
	own := strings.TrimPrefix(d.Key, "msg_")
	if d.Kind != oncall.KindAcknowledged && d.Kind != oncall.KindResolved {
		return own
	}
	for _, asked := range slices.Backward(p.Data.Deliveries) {
		asking := asked.Kind == oncall.KindTriggered || asked.Kind == oncall.KindUpdated
		if asked.Endpoint != d.Endpoint || !asking || asked.State == oncall.DeliveryDropped || asked.State == oncall.DeliveryRefused {
			continue
		}
		if asked.Bundle != "" || asked.Others() > 0 {
			return own
		}
		return strings.TrimPrefix(asked.Key, "msg_")
	}
	return own
}

// look sets how loud a page is, and what stands before its title.
func (m *ntfyMessage) look(c *NtfyConfig, p oncall.Page) {
	look := c.Looks[cmp.Or(strings.ToLower(strings.TrimSpace(p.Data.Severity)), ntfyNone)]
	m.Priority = cmp.Or(look.Priority, m.Priority)
	if look.Tags != nil && !p.Data.Page.Test && !p.Data.Drill {
		m.Tags = look.Tags
	}
}

// asks writes what asks for attention.
func (m *ntfyMessage) asks(p oncall.Page) {
	in := p.Data
	m.Priority = max(3, min(5, rank(in.Severity)+1))
	if rank(in.Severity) == 0 {
		m.Priority = 4 // a word of the user's own
	}
	m.Tags = []string{"rotating_light"}
	m.Message = fmt.Sprintf("%s. %d of %d alerts firing since %s.", cmp.Or(in.Severity, "no severity"), in.AlertsFiring, in.AlertsTotal,
		in.TriggeredAt.UTC().Format("2006-01-02 15:04 UTC"))
	for _, a := range in.Alerts {
		if a.State == oncall.StateFiring {
			m.Message += "\n" + oneLine(cmp.Or(a.Annotations["description"], a.Annotations["summary"], a.Labels.Get("alertname")))
		}
	}
	if in.Next != "" {
		m.Message += "\nNext: " + in.Next
	}
	if in.Drill { // it has neither a severity nor alerts of somebody's rules, and nothing comes next
		m.Tags = []string{"test_tube"}
		m.Message = "Nothing is wrong. Acknowledge it wherever it reaches you, so that it is known which of your contacts work. It ends by itself."
	}
	if p.Data.Page.Test && !in.Drill {
		m.Title, m.Tags = oneLine(in.Title), []string{"test_tube"}
		m.Message = "This is a test: nothing is wrong, and no incident stands behind it."
	}
	if ack := link(in.Page.AckURL); ack != "" {
		m.Actions = append(m.Actions, ntfyAction{Action: "http", Label: "Acknowledge", URL: ack, Method: http.MethodPost, Clear: true})
	}
	if escalate := escalateLink(in.Page); escalate != "" {
		m.Actions = append(m.Actions, ntfyAction{Action: "http", Label: "Escalate", URL: escalate, Method: http.MethodPost, Clear: true})
	}
	if m.Click != "" {
		m.Actions = append(m.Actions, ntfyAction{Action: "view", Label: "Open", URL: m.Click})
	}
}

// escalateLink is where a press asks the next tier, beside the page's acknowledge link and with its token. "" where there is
// no next tier, as in a test, or no one incident that it could be about.
func escalateLink(p oncall.PageInfo) string {
	base, token, ok := strings.Cut(p.AckURL, "/hooks/ack/")
	if !ok || token == "" || p.Test || p.Bundle != nil {
		return ""
	}
	return link(base + "/hooks/escalate/" + token)
}

// cutBytes shortens a text to n bytes, between characters.
func cutBytes(s string, n int) string {
	s = cut(s, len(s))
	if len(s) <= n {
		return s
	}
	end := 0
	for i := range s {
		if i > n-len("…") {
			break
		}
		end = i
	}
	return s[:end] + "…"
}
