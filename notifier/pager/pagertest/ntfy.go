package pagertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Ntfy is a strict far end that takes messages as an ntfy server does. It is an http.Handler for a listener of the caller's,
// and an http.RoundTripper. All methods may be called from any goroutine.
type Ntfy struct {
	vendor
	token    string
	messages []NtfyMessage
}

// NtfyMessage is a message that was published.
type NtfyMessage struct {
	Topic, Title, Message string
	Sequence              string `json:"sequence_id"`
	Priority              int
	Tags                  []string
	Click                 string
	Actions               []struct {
		Action, Label, URL, Method string
		Clear                      bool
	}
}

// NewNtfy makes one that asks for a token.
func NewNtfy(token string) *Ntfy { return &Ntfy{vendor: newVendor(), token: token} }

// Messages returns what was published, in order.
func (n *Ntfy) Messages() []NtfyMessage {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.messages)
}

// Shown returns what a phone shows of it: of each sequence the last message, where the first of it stood.
func (n *Ntfy) Shown() (shown []NtfyMessage) {
	for _, m := range n.Messages() {
		i := slices.IndexFunc(shown, func(x NtfyMessage) bool { return x.Topic == m.Topic && x.Sequence == m.Sequence && m.Sequence != "" })
		if i < 0 {
			shown = append(shown, m)
		} else {
			shown[i] = m
		}
	}
	return shown
}

// ntfyName is the form of topics and sequence IDs.
var ntfyName = regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`)

// RoundTrip answers a request without a network.
func (n *Ntfy) RoundTrip(r *http.Request) (*http.Response, error) { return through(n, r) }

// ServeHTTP takes one message.
func (n *Ntfy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client went away
	}
	n.mu.Lock()
	f := n.draw()
	status, said := http.StatusOK, ""
	if f.Status == 0 || f.Record {
		status, said = n.take(r, body)
	}
	n.mu.Unlock()
	n.arrived()
	if !failed(w, r, f, body) {
		reply(w, status, said)
	}
}

// take acts on a message. mu is held.
func (n *Ntfy) take(r *http.Request, body []byte) (status int, said string) {
	refuse := func(status, code int, text string) (int, string) {
		n.mind("ntfy: %s", text)
		return status, fmt.Sprintf(`{"code":%d,"http":%d,"error":%q}`, code, status, text)
	}
	if r.Header.Get("Authorization") != "Bearer "+n.token {
		return http.StatusForbidden, `{"code":40301,"http":403,"error":"forbidden"}`
	}
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return refuse(http.StatusNotFound, 40401, "page not found: "+r.Method+" "+r.URL.Path)
	}
	var m NtfyMessage
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return refuse(http.StatusBadRequest, 40024, "invalid request: "+err.Error())
	}
	switch {
	case !ntfyName.MatchString(m.Topic):
		return refuse(http.StatusBadRequest, 40009, "invalid request: topic invalid")
	case m.Priority < 1 || m.Priority > 5:
		return refuse(http.StatusBadRequest, 40007, "invalid priority")
	case m.Sequence != "" && !ntfyName.MatchString(m.Sequence):
		return refuse(http.StatusBadRequest, 40049, "invalid request: sequence ID invalid")
	case slices.ContainsFunc(m.Tags, func(t string) bool { return t == "" || strings.Contains(t, ",") }):
		return refuse(http.StatusBadRequest, 40000, "invalid tags")
	case len(m.Message) == 0 || len(m.Message) > 4096 || !utf8.ValidString(m.Message+m.Title):
		return refuse(http.StatusBadRequest, 40041, "invalid message")
	case len(m.Actions) > 3:
		return refuse(http.StatusBadRequest, 40018, "too many actions")
	}
	for _, a := range m.Actions {
		if u, err := url.Parse(a.URL); err != nil || u.Host == "" || a.Label == "" || a.Action != "http" && a.Action != "view" {
			return refuse(http.StatusBadRequest, 40018, "invalid action")
		}
	}
	n.messages = append(n.messages, m)
	return http.StatusOK, fmt.Sprintf(`{"id":"m%d","time":1767225600,"event":"message","topic":%q}`, len(n.messages), m.Topic)
}
