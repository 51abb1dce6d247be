package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// person is somebody in the story.
type person struct {
	name  string // as in tocsin.yml
	slack string // Slack user ID
	role  string
}

// people are the users of the demo's configuration, in the order in which they are told.
var people = []person{
	{name: "ana", slack: "U02ANA", role: "on call"},
	{name: "bo", slack: "U02BO", role: "next in line"},
}

func personNamed(name string) (person, bool) {
	for _, p := range people {
		if p.name == name {
			return p, true
		}
	}
	return person{}, false
}

// pagePayload is what the phones read of a page; docs/paging-webhook.md describes all of it.
type pagePayload struct {
	Type string `json:"type"`
	Data struct {
		Number         int64     `json:"number"`
		Title          string    `json:"title"`
		Severity       string    `json:"severity"`
		State          string    `json:"state"`
		TriggeredAt    time.Time `json:"triggered_at"`
		AcknowledgedBy string    `json:"acknowledged_by"`
		AlertsFiring   int       `json:"alerts_firing"`
		Alerts         []struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"alerts"`
		Page struct {
			Target string `json:"target"`
			AckURL string `json:"ack_url"`
		} `json:"page"`
	} `json:"data"`
}

// call is one notification on one phone.
type call struct {
	id      string
	user    string
	at      time.Time // real
	payload pagePayload
}

func (c call) asks() bool { return c.payload.Type == "incident.triggered" }

// summary is the first alert's summary where the title alone says less.
func (c call) summary() string {
	for _, a := range c.payload.Data.Alerts {
		if s := a.Annotations["summary"]; s != "" {
			return s
		}
	}
	return ""
}

// phones are the paging receivers of the demo: each user has one, and each checks the signature of what
// reaches it as docs/paging-webhook.md asks.
type phones struct {
	verify map[string]*standardwebhooks.Webhook // by user; set at start, then read only

	mu    sync.Mutex
	calls []call // in order of arrival
}

func newPhones(secretsByUser map[string]string) (*phones, error) {
	p := &phones{verify: map[string]*standardwebhooks.Webhook{}}
	for user, secret := range secretsByUser {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("the secret of %s's phone: %w", user, err)
		}
		p.verify[user] = wh
	}
	return p, nil
}

// ServeHTTP takes a page for the user at the end of the path.
func (p *phones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user := r.PathValue("user")
	wh, known := p.verify[user]
	if !known {
		http.Error(w, "nobody of that name has a phone here", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 20<<10))
	if err != nil {
		http.Error(w, "a page holds at most 20 KB", http.StatusRequestEntityTooLarge)
		return
	}
	if err := wh.Verify(body, r.Header); err != nil {
		http.Error(w, "the signature is not that of a page for this phone", http.StatusUnauthorized)
		return
	}
	c := call{id: r.Header.Get(standardwebhooks.HeaderWebhookID), user: user, at: time.Now()}
	if err := json.Unmarshal(body, &c.payload); err != nil || !strings.HasPrefix(c.payload.Type, "incident.") {
		http.Error(w, "a page is JSON with a type that begins with incident.", http.StatusBadRequest)
		return
	}
	if !linkable(c.payload.Data.Page.AckURL) {
		c.payload.Data.Page.AckURL = ""
	}
	p.take(c)
	w.WriteHeader(http.StatusNoContent)
}

// take records a call once, however often it was delivered.
func (p *phones) take(c call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, old := range p.calls {
		if old.id == c.id {
			return
		}
	}
	p.calls = append(p.calls, c)
}

// since returns the calls from a real instant on that are about incidents from then on, in order of
// arrival.
func (p *phones) since(t time.Time) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []call
	for _, c := range p.calls {
		about := c.payload.Data.TriggeredAt
		if !c.at.Before(t) && (about.IsZero() || !about.Before(t)) {
			out = append(out, c)
		}
	}
	return out
}

// linkable reports whether a link of a page may be shown as one.
func linkable(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
