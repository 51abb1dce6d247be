// Package slacktest is a strict Slack for tests and for the demo: it speaks the part of Slack's Web API that
// tocsin uses, refuses what Slack refuses, records everything, and can fail before, during and after its
// work. It also plays the people: it presses buttons and types commands with correctly signed requests.
//
// It knows nothing of tocsin; what it takes for right is written here a second time, on purpose. Of
// modals it knows those with texts and one-line answers; it does not imitate Slack's users, files or searches.
//
// Start reading at Server. In a synctest bubble use Transport instead of a listener.
package slacktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configure a Server. The zero value is a workspace with the token "xoxb-test", the signing secret
// "signing-secret" and no channels.
type Options struct {
	Token         string
	SigningSecret string
	URL           string        // where the server is reached, without a trailing slash; response_urls begin with it
	RateLimit     bool          // one message a second and channel, else 429 with Retry-After
	Command       string        // "/tocsin" by default
	Client        *http.Client  // for presses and commands; http.DefaultClient by default. Its timeout is Slack's 3 s.
	Channels      []string      // names, with or without #; the app is a member
	Users         []User        // people of the workspace
	AnswerWithin  time.Duration // how long tocsin may take to answer; 3 s by default
	AppToken      string        // "xapp-test" by default
	SocketMode    bool          // presses and commands go over the connections that tocsin has opened
	Scopes        []string      // of the bot token; nil: all that a call asks for
	Team          string        // "T0TEST" by default
	Enterprise    string        // ID of the Enterprise Grid; "" for none
}

// User is somebody in the workspace.
type User struct {
	ID   string // "U02ANA"
	Name string // "ana"

	Email       string
	Unconfirmed bool // nobody has verified the address
	Deleted     bool // the account is deactivated
	Bot         bool
	Stranger    bool   // met in a shared channel
	Team        string // "": this workspace
	TimeZone    string // IANA name
}

// Channel is a place to post to.
type Channel struct {
	ID        string
	Name      string // without #; "" for a direct message
	User      string // the other side of a direct message
	Archived  bool
	NotMember bool // the app was not invited
	Private   bool
	Topic     string
}

// Version is what a message once showed.
type Version struct {
	At     time.Time
	Text   string
	Blocks json.RawMessage // nil: none
}

// Message is a recorded message. It is a copy: change it freely.
type Message struct {
	Channel   string // ID
	TS        string // unique in the server
	ThreadTS  string // of the message it replies to, "" for none
	Broadcast bool   // a reply that is also shown in the channel
	To        string // user ID, for what only one person sees (answers to commands and presses)
	From      string // "bot"; the user's ID for a typed command
	Version          // as it is now
	History   []Version
	Files     []File // what was uploaded into it
}

// Call is a recorded API request.
type Call struct {
	At     time.Time
	Method string
	Args   map[string]string // without the token
	Status int               // 0: the connection was reset
	Error  string            // Slack's error code, "" for none
}

// Server is the workspace. It is safe for use by many goroutines.
type Server struct {
	opts Options

	mu       sync.Mutex // guards everything below
	channels map[string]*Channel
	users    map[string]User
	messages []*Message // all, in order
	calls    []Call
	faults   []*Fault
	answers  map[string]*responseURL
	triggers map[string]time.Time // not used yet, by when they were given
	views    []*View
	uploads  map[string]*upload // by file ID
	lastPost map[string]time.Time
	nextID   int
	lastTS   int64 // microseconds
	revision int64
	watchers map[chan struct{}]bool

	groups     map[string]*UserGroup
	homes      map[string]json.RawMessage
	tickets    map[string]time.Time // of connections that were allowed, by when
	sockets    []*socket
	linked     chan struct{} // closed and replaced when sockets changes
	unlinked   string        // why no connection is taken, "" if they are
	turn       int
	complaints []string // about acknowledgements
}

// New returns a workspace.
func New(o Options) *Server {
	if o.Token == "" {
		o.Token = "xoxb-test"
	}
	if o.SigningSecret == "" {
		o.SigningSecret = "signing-secret"
	}
	if o.URL == "" {
		o.URL = "http://slack.test"
	}
	if o.Command == "" {
		o.Command = "/tocsin"
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.AnswerWithin == 0 {
		o.AnswerWithin = 3 * time.Second
	}
	if o.AppToken == "" {
		o.AppToken = "xapp-test"
	}
	if o.Team == "" {
		o.Team = "T0TEST"
	}
	s := &Server{opts: o, tickets: map[string]time.Time{}, groups: map[string]*UserGroup{}, homes: map[string]json.RawMessage{}, linked: make(chan struct{}), channels: map[string]*Channel{}, users: map[string]User{}, answers: map[string]*responseURL{}, triggers: map[string]time.Time{},
		lastPost: map[string]time.Time{}, watchers: map[chan struct{}]bool{}}
	for _, name := range o.Channels {
		s.AddChannel(Channel{Name: name})
	}
	for _, u := range o.Users {
		s.users[u.ID] = u
	}
	return s
}

// SetURL says where the server is reached, once that is known.
func (s *Server) SetURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.URL = strings.TrimRight(u, "/")
}

// APIURL is what slack.api_url must be.
func (s *Server) APIURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts.URL + "/api/"
}

// Token is the bot token that the server takes.
func (s *Server) Token() string { return s.opts.Token }

// SigningSecret is the secret that presses and commands are signed with.
func (s *Server) SigningSecret() string { return s.opts.SigningSecret }

// AddChannel adds or replaces a channel and returns its ID, which it makes up where there is none.
func (s *Server) AddChannel(c Channel) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Name = strings.TrimPrefix(c.Name, "#")
	for id, old := range s.channels {
		if c.ID == "" && c.Name != "" && old.Name == c.Name {
			c.ID = id
		}
	}
	if c.ID == "" {
		c.ID = s.newID("C")
	}
	s.channels[c.ID] = &c
	return c.ID
}

// AddUser adds somebody to the workspace.
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.ID] = u
}

// newID needs s.mu.
func (s *Server) newID(prefix string) string {
	s.nextID++
	return fmt.Sprintf("%s0%07d", prefix, s.nextID)
}

// newTS returns a timestamp that no other message has. It needs s.mu.
func (s *Server) newTS() string {
	t := time.Now().UnixMicro()
	if t <= s.lastTS {
		t = s.lastTS + 1
	}
	s.lastTS = t
	return fmt.Sprintf("%d.%06d", t/1e6, t%1e6)
}

// changed wakes those who watch. It needs s.mu.
func (s *Server) changed() {
	s.revision++
	for c := range s.watchers {
		select {
		case c <- struct{}{}:
		default: // it has not looked since the last change
		}
	}
}

// Subscribe returns a channel that receives after each change; several changes may become one. Call cancel
// when done.
func (s *Server) Subscribe() (changes <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, c)
	}
}

// Revision grows with each change of what people see.
func (s *Server) Revision() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// find returns a channel by ID, by name with or without #, or the direct message with a user. It needs s.mu.
func (s *Server) find(to string) *Channel {
	if c := s.channels[to]; c != nil {
		return c
	}
	name := strings.TrimPrefix(to, "#")
	for _, c := range s.channels {
		if (c.Name != "" && c.Name == name) || (c.User != "" && c.User == to) {
			return c
		}
	}
	return nil
}

// Channels lists channels and direct messages by ID.
func (s *Server) Channels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Channel
	for _, id := range slices.Sorted(maps.Keys(s.channels)) {
		all = append(all, *s.channels[id])
	}
	return all
}

// Messages returns what a channel shows, in order: messages and broadcast replies. channel is an ID, a
// name, or the ID of the user whose direct messages are meant.
func (s *Server) Messages(channel string) []Message {
	return s.pick(func(m *Message, id string) bool {
		return m.Channel == id && m.To == "" && (m.ThreadTS == "" || m.Broadcast)
	}, channel)
}

// Thread returns the replies to a message, in order.
func (s *Server) Thread(channel, ts string) []Message {
	return s.pick(func(m *Message, id string) bool {
		return m.Channel == id && m.ThreadTS == ts
	}, channel)
}

// Private returns what only the given user was told, in order: answers to commands and presses, and
// ephemeral messages.
func (s *Server) Private(user string) []Message {
	return s.pick(func(m *Message, _ string) bool { return m.To == user }, "")
}

// All returns every message that was ever taken, in order.
func (s *Server) All() []Message {
	return s.pick(func(*Message, string) bool { return true }, "")
}

func (s *Server) pick(want func(*Message, string) bool, channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := channel
	if c := s.find(channel); c != nil {
		id = c.ID
	}
	var out []Message
	for _, m := range s.messages {
		if want(m, id) {
			c := *m
			c.History = slices.Clone(m.History)
			out = append(out, c)
		}
	}
	return out
}

// Message returns one message as it is now.
func (s *Server) Message(channel, ts string) (Message, bool) {
	got := s.pick(func(m *Message, id string) bool { return m.Channel == id && m.TS == ts }, channel)
	if len(got) == 0 {
		return Message{}, false
	}
	return got[0], true
}

// Calls returns the API requests so far, in order; of one method, or of all for "".
func (s *Server) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

// Delete removes a message, as a person may.
func (s *Server) Delete(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(channel)
	s.messages = slices.DeleteFunc(s.messages, func(m *Message) bool {
		return c != nil && m.Channel == c.ID && m.TS == ts
	})
	s.changed()
}
