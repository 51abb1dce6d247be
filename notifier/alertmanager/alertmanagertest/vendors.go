package alertmanagertest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// NewWebhook is a receiver of Alertmanager's webhook, version 4. Its key is the group's.
func NewWebhook() *Far {
	return far(checkWebhook, func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) })
}

type webhookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

func checkWebhook(r *http.Request, body []byte) (string, []string) {
	var m struct {
		Version           string            `json:"version"`
		GroupKey          string            `json:"groupKey"`
		TruncatedAlerts   int               `json:"truncatedAlerts"`
		Status            string            `json:"status"`
		Receiver          string            `json:"receiver"`
		GroupLabels       map[string]string `json:"groupLabels"`
		CommonLabels      map[string]string `json:"commonLabels"`
		CommonAnnotations map[string]string `json:"commonAnnotations"`
		ExternalURL       string            `json:"externalURL"`
		Reason            string            `json:"notification_reason"`
		RouteLabels       map[string]string `json:"routeLabels"`
		Alerts            []webhookAlert    `json:"alerts"`
	}
	p := strictly(body, &m)
	p = complaint(p, r.Method == http.MethodPost, "method %s", r.Method)
	p = complaint(p, m.Version == "4", "version %q", m.Version)
	p = complaint(p, m.GroupKey != "", "no groupKey")
	p = complaint(p, m.Status == "firing" || m.Status == "resolved", "status %q", m.Status)
	p = complaint(p, len(m.Alerts) > 0, "no alerts")
	for _, a := range m.Alerts {
		p = complaint(p, a.Status == "firing" && a.EndsAt.IsZero() || a.Status == "resolved" && !a.EndsAt.IsZero(), "alert %s ends at %s", a.Status, a.EndsAt)
	}
	return m.GroupKey, p
}

// The limits of Slack's incoming webhooks, by which it answers 400.
const (
	slackText, slackAttachments, slackAttachmentText, slackBody = 40_000, 20, 8_000, 100_000
)

// NewSlack is Slack's incoming webhook. Messages have no key there.
func NewSlack() *Far {
	return far(checkSlack, func(w http.ResponseWriter) { fmt.Fprint(w, "ok") })
}

func checkSlack(_ *http.Request, body []byte) (string, []string) {
	var m struct {
		Channel, Username, Text, Timestamp string
		IconEmoji                          string `json:"icon_emoji"`
		IconURL                            string `json:"icon_url"`
		LinkNames                          bool   `json:"link_names"`
		TS                                 string `json:"ts"`
		Attachments                        []struct {
			Title, Pretext, Text, Fallback, Footer, Color string
			TitleLink                                     string   `json:"title_link"`
			CallbackID                                    string   `json:"callback_id"`
			ImageURL                                      string   `json:"image_url"`
			ThumbURL                                      string   `json:"thumb_url"`
			MrkdwnIn                                      []string `json:"mrkdwn_in"`
			Fields, Actions                               []any
		}
	}
	p := strictly(body, &m)
	p = complaint(p, utf8.Valid(body) && len(body) <= slackBody, "invalid_payload: %d bytes", len(body))
	p = complaint(p, utf8.RuneCountInString(m.Text) <= slackText, "msg_too_long")
	p = complaint(p, len(m.Attachments) <= slackAttachments, "too_many_attachments")
	for _, a := range m.Attachments {
		p = complaint(p, utf8.RuneCountInString(a.Text) <= slackAttachmentText && utf8.RuneCountInString(a.Fallback) <= slackAttachmentText, "invalid_attachments")
		p = complaint(p, utf8.RuneCountInString(a.Title) <= 1024, "invalid_attachments: title")
		p = complaint(p, len(a.Actions) <= 5, "invalid_attachments: actions")
	}
	return "", p
}

// NewPagerDuty is PagerDuty's Events API v2. Its key is the dedup_key.
func NewPagerDuty() *Far {
	return far(checkPagerDuty, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"success","message":"Event processed"}`)
	})
}

func checkPagerDuty(_ *http.Request, body []byte) (string, []string) {
	var m struct {
		RoutingKey  string         `json:"routing_key"`
		ServiceKey  string         `json:"service_key"`
		DedupKey    string         `json:"dedup_key"`
		IncidentKey string         `json:"incident_key"`
		EventType   string         `json:"event_type"`
		Description string         `json:"description"`
		Action      string         `json:"event_action"`
		Client      string         `json:"client"`
		ClientURL   string         `json:"client_url"`
		Details     map[string]any `json:"details"`
		Images      []any          `json:"images"`
		Links       []any          `json:"links"`
		Payload     *struct {
			Summary, Source, Severity, Timestamp, Class, Component, Group string
			Details                                                       map[string]any `json:"custom_details"`
		} `json:"payload"`
	}
	p := strictly(body, &m)
	p = complaint(p, len(body) <= 512<<10, "%d bytes", len(body))
	p = complaint(p, m.RoutingKey != "", "no routing_key")
	p = complaint(p, m.DedupKey != "" && len(m.DedupKey) <= 255, "dedup_key %q", m.DedupKey)
	p = complaint(p, slices.Contains([]string{"trigger", "acknowledge", "resolve"}, m.Action), "event_action %q", m.Action)
	if m.Payload != nil {
		p = complaint(p, m.Payload.Summary != "" && utf8.RuneCountInString(m.Payload.Summary) <= 1024, "summary %q", m.Payload.Summary)
		p = complaint(p, slices.Contains([]string{"critical", "error", "warning", "info"}, m.Payload.Severity), "severity %q", m.Payload.Severity)
	}
	p = complaint(p, m.Payload != nil || m.Action != "trigger", "no payload")
	return m.DedupKey, p
}

// NewOpsgenie is Opsgenie's alert API. Its key is the alias.
func NewOpsgenie() *Far {
	return far(checkOpsgenie, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"result":"Request will be processed","took":0.1,"requestId":"43a29c5c"}`)
	})
}

func checkOpsgenie(r *http.Request, body []byte) (string, []string) {
	var m struct {
		Alias, Message, Description, Source, Note, Entity, Priority string
		Details                                                     map[string]string
		Responders, Actions                                         []any
		Tags                                                        []string
	}
	p := strictly(body, &m)
	p = complaint(p, strings.HasPrefix(r.Header.Get("Authorization"), "GenieKey "), "not authenticated")
	if alias, ok := strings.CutPrefix(r.URL.Path, "/v2/alerts/"); ok {
		p = complaint(p, strings.HasSuffix(alias, "/close") && r.URL.Query().Get("identifierType") == "alias", "path %s", r.URL)
		return strings.TrimSuffix(alias, "/close"), p
	}
	p = complaint(p, r.URL.Path == "/v2/alerts", "path %s", r.URL.Path)
	p = complaint(p, m.Message != "" && utf8.RuneCountInString(m.Message) <= 130, "message %q", m.Message)
	p = complaint(p, m.Alias != "" && len(m.Alias) <= 512, "alias %q", m.Alias)
	return m.Alias, p
}
