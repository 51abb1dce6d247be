package pager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
	"tocsin/problem"
)

// NtfyConfig is one entry of a receiver's ntfy_configs, the token already read.
type NtfyConfig struct {
	URL          *url.URL // of the server
	Topic        string   // whoever knows it can read along where the server asks for nothing: never shown
	Token        string   // "" for none; never printed
	Timeout      time.Duration
	HTTP         promconfig.HTTPClientConfig
	AllowPrivate bool
}

// String keeps topic and token out of dumps.
func (c NtfyConfig) String() string { return "ntfy at " + c.URL.Host }

type ntfyBlock struct {
	URL       problem.At[string]        `yaml:"url"`
	Topic     problem.At[string]        `yaml:"topic"`
	TokenFile problem.At[string]        `yaml:"token_file"`
	TokenEnv  problem.At[string]        `yaml:"token_env"`
	Timeout   problem.At[time.Duration] `yaml:"timeout"`
	HTTP      *yaml.Node                `yaml:"http_config"`
}

// ExplainKey refuses secrets in the file.
func (ntfyBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "token":
		return problem.LiteralSecret(key)
	case "send_resolved":
		return `ntfy_configs has no "send_resolved"`, "whoever was paged is always told once of the end: remove it"
	}
	return "", ""
}

var topicForm = regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`)

// DecodeNtfy decodes one entry of ntfy_configs. The NtfyConfig is usable only where there are no errors.
func DecodeNtfy(d *problem.Document, n *yaml.Node) (c NtfyConfig, problems problem.List) {
	var b ntfyBlock
	problems = d.Decode(n, &b)
	if n.Kind != yaml.MappingNode {
		return c, problems
	}
	c = NtfyConfig{Topic: b.Topic.Value, Timeout: DefaultTimeout}
	address := b.URL
	if !address.IsSet() {
		address = problem.At[string]{Value: "https://ntfy.sh", Place: d.At(n)}
	}
	u, l := problem.HTTPURL(address)
	c.URL, problems = u, append(problems, l...)
	if len(l) == 0 && address.IsValid() && u.Path != "" && u.Path != "/" {
		problems = append(problems, address.Place.Errorf("the url must be that of the server, without a path").WithHint("name the topic in topic"))
	}
	switch {
	case !b.Topic.IsSet():
		problems = append(problems, d.At(n).Errorf("ntfy_configs needs a topic").WithHint("the one that the phone subscribes to"))
	case b.Topic.IsValid() && !topicForm.MatchString(c.Topic):
		problems = append(problems, b.Topic.Place.Errorf("expected a topic of up to 64 letters, digits, - and _"))
	}
	if b.TokenFile.IsSet() || b.TokenEnv.IsSet() {
		token, l := d.Secret(d.At(n), "token", b.TokenFile, b.TokenEnv)
		c.Token, problems = token, append(problems, l...)
	}
	if b.Timeout.IsValid() {
		if c.Timeout = b.Timeout.Value; c.Timeout <= 0 {
			problems = append(problems, b.Timeout.Place.Errorf("timeout must be above 0"))
		}
	}
	settings, l := outgoing.DecodeSettings(d, b.HTTP)
	c.HTTP, c.AllowPrivate = settings.HTTP, settings.AllowPrivate
	return c, append(problems, l...)
}

// Ntfy is the notifier.Sender for endpoints of the kind "ntfy". The server's answer is all the confirmation there is: whether a
// phone got it, ntfy does not know.
type Ntfy struct {
	of    map[oncall.Endpoint]*ntfy
	agent string
}

var _ notifier.Sender = (*Ntfy)(nil)

type ntfy struct {
	NtfyConfig
	options outgoing.Options
	outgoing.Exchange
}

// NewNtfy makes a sender for some entries. It opens no connection. The caller calls Close when a reload has replaced it.
func NewNtfy(all map[oncall.Endpoint]NtfyConfig, o PhoneOptions) (*Ntfy, error) {
	s := &Ntfy{of: make(map[oncall.Endpoint]*ntfy, len(all)), agent: "tocsin/" + cmp.Or(o.Version, "dev")}
	for name, c := range all {
		if c.URL == nil || c.Topic == "" {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: a URL and a topic are needed", name)
		}
		c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
		e := &ntfy{NtfyConfig: c, options: outgoing.Options{URLs: []*url.URL{c.URL}, AllowPrivate: c.AllowPrivate, Policy: o.Outgoing, Transport: o.Transport}}
		client, err := outgoing.Client(string(name), c.HTTP, e.options)
		if err != nil {
			return nil, oncall.Errorf(oncall.CodeInvalid, "%s: %v", name, err)
		}
		e.Exchange = outgoing.Exchange{Client: client, Redact: outgoing.NewRedactor(c.URL, c.Token, c.Topic), Timeout: c.Timeout, MaxAnswer: 64 << 10}
		s.of[name] = e
	}
	return s, nil
}

// Close closes idle connections. Attempts that are under way end on their own.
func (s *Ntfy) Close() {
	for _, e := range s.of {
		e.Client.CloseIdleConnections()
	}
}

// String names the sender without what it holds.
func (s *Ntfy) String() string { return fmt.Sprintf("ntfy with %d endpoints", len(s.of)) }

// Probe looks up where the entries' names lead now, and says of each what would be wrong with a page.
func (s *Ntfy) Probe(ctx context.Context) map[oncall.Endpoint]string {
	all := make(map[oncall.Endpoint]probe, len(s.of))
	for name, e := range s.of {
		all[name] = probe{e.HTTP, e.options, e.Redact}
	}
	return lookUp(ctx, all)
}

// Send makes one attempt to publish a page.
func (s *Ntfy) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	a := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts}
	e := s.of[m.Delivery.Endpoint]
	var page oncall.Page
	switch {
	case e == nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "no longer configured: "+string(m.Delivery.Endpoint)+" is in no receiver's ntfy_configs"
	case json.Unmarshal(m.Delivery.Body, &page) != nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "this page cannot be read: it was written by another version of tocsin"
	default:
		e.attempt(ctx, s.agent, m.Delivery.Kind, page, &a)
	}
	a.Took = time.Since(a.At)
	return a
}

func (e *ntfy) attempt(ctx context.Context, agent string, kind oncall.DeliveryKind, page oncall.Page, a *oncall.Attempt) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(ntfyMessageOf(e.Topic, kind, page))
	var req *http.Request
	if err == nil {
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, e.URL.JoinPath("/").String(), &body)
	}
	if err != nil {
		a.Outcome, a.Error = oncall.OutcomeRefused, "the request could not be written: "+e.Redact.Clean(err.Error())
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", agent)
	if e.Token != "" {
		req.Header.Set("Authorization", "Bearer "+e.Token)
	}
	answer := e.Do(ctx, req, a)
	if answer == nil {
		return
	}
	outgoing.Judge(answer, a)
	var said struct {
		ID    string
		Code  int
		Error string
	}
	readable := json.Unmarshal(answer.Body, &said) == nil
	switch {
	case a.Outcome == oncall.OutcomeDelivered && (!readable || said.ID == ""):
		a.Outcome, a.Error = oncall.OutcomeUnknown, "accepted, but the answer is not ntfy's: is the url right?"
	case a.Outcome == oncall.OutcomeDelivered:
		a.Remote = cut(said.ID, 100)
	case a.Outcome == oncall.OutcomeRefused && readable && said.Error != "":
		a.Error = e.Redact.Clean(fmt.Sprintf("refused: %s (ntfy's error %d)", said.Error, said.Code))
	}
}

// ntfyMessage is what is published.
type ntfyMessage struct {
	Topic    string       `json:"topic"`
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

func ntfyMessageOf(topic string, kind oncall.DeliveryKind, p oncall.Page) ntfyMessage {
	in := p.Data
	m := ntfyMessage{Topic: topic, Title: fmt.Sprintf("#%d %s", in.Number, oneLine(in.Title)), Click: link(in.URL), Priority: 2}
	switch kind {
	case oncall.KindAcknowledged:
		m.Message, m.Tags = "Acknowledged by "+cmp.Or(in.AcknowledgedBy, "somebody")+".", []string{"eyes"}
	case oncall.KindResolved:
		m.Message, m.Tags = "Resolved: its alerts have ended.", []string{"white_check_mark"}
		if in.ResolvedBy != "" {
			m.Message = "Resolved by " + in.ResolvedBy + "."
		}
	default:
		m.asks(p)
	}
	m.Title, m.Message = cutBytes(m.Title, maxNtfyTitle), cutBytes(m.Message, maxNtfyText)
	return m
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
	if in.Drill {
		m.Tags, m.Message = []string{"test_tube"}, "A drill: nothing is wrong. "+m.Message
	}
	if p.Data.Page.Test && !in.Drill {
		m.Title, m.Tags = oneLine(in.Title), []string{"test_tube"}
		m.Message = "This is a test: nothing is wrong, and no incident stands behind it."
	}
	if ack := link(in.Page.AckURL); ack != "" {
		m.Actions = append(m.Actions, ntfyAction{Action: "http", Label: "Acknowledge", URL: ack, Method: http.MethodPost, Clear: true})
	}
	if m.Click != "" {
		m.Actions = append(m.Actions, ntfyAction{Action: "view", Label: "Open", URL: m.Click})
	}
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
