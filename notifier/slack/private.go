package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// answer is what Slack shows in answer to a command or a press. (slack-go's Msg writes "blocks":null, over
// which Slack stumbles.)
type answer struct {
	ResponseType    string `json:"response_type"`
	ReplaceOriginal *bool  `json:"replace_original,omitempty"`
	Text            string `json:"text"`
}

const maxAnswerText = 3500

// privately tells one person something through a response_url, beside the request. Where it cannot, the
// press has changed nothing, or the message shows what it changed.
func (a *Adapter) privately(responseURL, text string) {
	if responseURL == "" || text == "" {
		return
	}
	if !a.mayAnswer(responseURL) {
		a.log.Warn("A private answer was not sent: its response_url is not Slack's")
		a.private.WithLabelValues("dropped").Inc()
		return
	}
	taken := a.background(func(ctx context.Context) {
		if err := a.postPrivately(ctx, responseURL, text); err != "" {
			a.log.Warn("A private answer was not delivered", "err", err)
			a.private.WithLabelValues("failed").Inc()
			return
		}
		a.private.WithLabelValues("sent").Inc()
	})
	if !taken {
		a.log.Warn("A private answer was not sent: too many are under way, or this process ends")
		a.private.WithLabelValues("dropped").Inc()
	}
}

// postPrivately makes one attempt. The error is text without the address, which is as good as a password.
func (a *Adapter) postPrivately(ctx context.Context, responseURL, text string) (failure string) {
	no := false
	body, err := json.Marshal(answer{ResponseType: "ephemeral", ReplaceOriginal: &no, Text: text})
	if err != nil {
		return err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, responseURL, bytes.NewReader(body))
	if err != nil {
		return "the response_url is no URL"
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := a.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return a.redact(err.Error())
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10)) // only for the log
	if resp.StatusCode != http.StatusOK {
		return "Slack answered " + resp.Status + " " + excerpt(a.redact(string(got)))
	}
	return ""
}

// mayAnswer holds answers to Slack's hosts and to that of slack.api_url: a response_url is what a request
// says, and must not make us call anything else.
func (a *Adapter) mayAnswer(responseURL string) bool {
	u, err := url.Parse(responseURL)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == a.api.Scheme && strings.EqualFold(u.Host, a.api.Host) {
		return true
	}
	host := strings.ToLower(u.Hostname())
	return u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") &&
		(host == "slack.com" || strings.HasSuffix(host, ".slack.com"))
}
