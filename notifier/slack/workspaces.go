package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Workspaces are the adapters of one configuration, one a workspace. The first is meant where an address names none;
// in others a channel is name/#channel. It is safe for use by many goroutines. Close it when done.
type Workspaces struct{ all []*Adapter }

var _ notifier.Sender = (*Workspaces)(nil)

// NewWorkspaces makes the adapters. There must be at least one configuration, and all names must differ.
// o.HTTPClient and o.Dial, where set, are asked for those of each workspace.
func NewWorkspaces(all []Config, o Options, clients func(Config) (*http.Client, Dialer)) *Workspaces {
	w := &Workspaces{}
	for i, cfg := range all {
		own := o
		if clients != nil {
			own.HTTPClient, own.Dial = clients(cfg)
		}
		a := New(cfg, own)
		if i > 0 {
			a.place = cfg.Name
		}
		w.all = append(w.all, a)
	}
	return w
}

// Start begins to take requests by Socket Mode in the workspaces that use it, and learns which workspaces they are. It
// may be called again.
func (w *Workspaces) Start() {
	for _, a := range w.all {
		a.Start()
		if len(w.all) > 1 {
			a.beside(func(ctx context.Context) { a.home(ctx) })
		}
	}
}

// Close ends all adapters. What is under way is finished side by side.
func (w *Workspaces) Close() error {
	done := make(chan error)
	for _, a := range w.all {
		go func() { done <- a.Close() }()
	}
	var errs []error
	for range w.all {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// String says which workspaces these are.
func (w *Workspaces) String() string {
	names := make([]string, 0, len(w.all))
	for _, a := range w.all {
		names = append(names, a.String())
	}
	return strings.Join(names, ", ")
}

// find returns the adapter that an address belongs to, and the address as it is within its workspace.
func (w *Workspaces) find(address string) (*Adapter, string, error) {
	name, rest, named := oncall.CutWorkspace(address)
	if !named {
		return w.all[0], address, nil
	}
	for _, a := range w.all {
		if a.cfg.Name == name {
			return a, rest, nil
		}
	}
	return nil, "", fmt.Errorf("no longer configured: there is no Slack workspace %q", name)
}

// Send hands a message to the adapter of its workspace.
func (w *Workspaces) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	a, address, err := w.find(m.Delivery.Endpoint.Address())
	if err != nil {
		return oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts, Outcome: oncall.OutcomeRefused, Error: err.Error()}
	}
	m.Delivery.Endpoint = oncall.Endpoint(m.Delivery.Endpoint.Kind() + ":" + address)
	return a.Send(ctx, m)
}

// SendHandoff announces a handoff in a channel.
func (w *Workspaces) SendHandoff(ctx context.Context, channel string, h oncall.Handoff, open []oncall.Incident) oncall.Attempt {
	a, address, err := w.find(channel)
	if err != nil {
		return oncall.Attempt{At: time.Now(), Number: h.Attempts + 1, Outcome: oncall.OutcomeRefused, Error: err.Error()}
	}
	return a.SendHandoff(ctx, address, h, open)
}

// SendShift tells a person of their shift.
func (w *Workspaces) SendShift(ctx context.Context, to string, n notifier.ShiftMessage) oncall.Attempt {
	a, address, err := w.find(to)
	if err != nil {
		return oncall.Attempt{At: time.Now(), Number: n.Attempts + 1, Outcome: oncall.OutcomeRefused, Error: err.Error()}
	}
	return a.SendShift(ctx, address, n)
}

// SendDigest posts what is open in a channel.
func (w *Workspaces) SendDigest(ctx context.Context, channel string, d notifier.Digest) oncall.Attempt {
	a, address, err := w.find(channel)
	if err != nil {
		return oncall.Attempt{At: time.Now(), Outcome: oncall.OutcomeRefused, Error: err.Error()}
	}
	return a.SendDigest(ctx, address, d)
}

// SyncGroup makes a user group whoever is on call.
func (w *Workspaces) SyncGroup(ctx context.Context, group string, users []string) notifier.GroupSync {
	a, address, err := w.find(group)
	if err != nil {
		return notifier.GroupSync{Outcome: oncall.OutcomeRefused, Error: err.Error()}
	}
	return a.SyncGroup(ctx, address, users)
}

// SetTopic makes a channel's topic say who is on call.
func (w *Workspaces) SetTopic(ctx context.Context, channel, says string) notifier.TopicSync {
	a, address, err := w.find(channel)
	if err != nil {
		return notifier.TopicSync{Outcome: oncall.OutcomeRefused, Error: err.Error()}
	}
	return a.SetTopic(ctx, address, says)
}

// TestToken is Adapter.TestToken of all workspaces, side by side. A token that is not good says more than a Slack that
// cannot be asked.
func (w *Workspaces) TestToken(ctx context.Context) error {
	results := make(chan error)
	for _, a := range w.all {
		go func() {
			err := a.TestToken(ctx)
			if err != nil && a.cfg.Name != "" {
				err = oncall.Errorf(oncall.ErrorCode(err), "workspace %s: %s", a.cfg.Name, err.Error())
			}
			results <- err
		}()
	}
	var worst error
	for range w.all {
		if err := <-results; err != nil && (worst == nil || oncall.ErrorCode(err) == oncall.CodeForbidden) {
			worst = err
		}
	}
	return worst
}

// SocketDown says in which workspaces presses have not come through by Socket Mode for longer than the given time, nil
// for none. Messages go out all the same.
func (w *Workspaces) SocketDown(now time.Time, longer time.Duration) error {
	var down []string
	for _, a := range w.all {
		s := a.Socket()
		if s.Used && s.Open == 0 && now.Sub(s.DownSince) > longer {
			down = append(down, fmt.Sprintf("%sno connection of Socket Mode since %s, presses and commands do not arrive: %s",
				workspaceWords(a.cfg.Name), s.DownSince.UTC().Format(time.RFC3339), s.Why))
		}
	}
	if len(down) == 0 {
		return nil
	}
	return errors.New(strings.Join(down, "; "))
}

func workspaceWords(name string) string {
	if name == "" {
		return ""
	}
	return "workspace " + name + ": "
}

// First returns the name of the workspace that addresses do not name, "" where it has none.
func (w *Workspaces) First() string { return w.all[0].cfg.Name }

// Unusable returns, by the workspace's name, what keeps tocsin from posting there at all.
func (w *Workspaces) Unusable() map[string]Trouble {
	all := map[string]Trouble{}
	for _, a := range w.all {
		if t := a.Unusable(); t != nil {
			all[a.cfg.Name] = *t
		}
	}
	return all
}

// CommandHandler serves /slack/commands for all workspaces.
func (w *Workspaces) CommandHandler() http.Handler { return w.handler((*Adapter).CommandHandler) }

// InteractionHandler serves /slack/interactions for all workspaces.
func (w *Workspaces) InteractionHandler() http.Handler {
	return w.handler((*Adapter).InteractionHandler)
}

// EventHandler serves /slack/events for all workspaces.
func (w *Workspaces) EventHandler() http.Handler { return w.handler((*Adapter).EventHandler) }

func (w *Workspaces) handler(of func(*Adapter) http.Handler) http.Handler {
	if len(w.all) == 1 {
		return of(w.all[0])
	}
	handlers := make([]http.Handler, len(w.all))
	for i, a := range w.all {
		handlers[i] = of(a)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
		if err == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			handlers[w.signer(r, body)].ServeHTTP(rw, r)
			return
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), ending{err})) // it is refused, as by an adapter alone
		handlers[0].ServeHTTP(rw, r)
	})
}

// signer finds the workspace that a request comes from: the one that its team is, of those with whose secret it is
// signed. Where Slack has not said yet which teams they are, the signature alone decides; the adapter then refuses what is
// not its own. A request that nobody signed is the first one's to refuse.
func (w *Workspaces) signer(r *http.Request, body []byte) int {
	team, enterprise := teamOf(body)
	ctx, cancel := context.WithTimeout(r.Context(), memberWait)
	defer cancel()
	unknown := -1
	for i, a := range w.all {
		if _, err := verify(r.Header, body, a.cfg.SigningSecret, time.Now()); err != nil {
			continue
		}
		home, ok := a.home(ctx)
		switch {
		case ok && home.is(team, enterprise):
			return i
		case !ok && unknown < 0:
			unknown = i
		}
	}
	return max(unknown, 0)
}

// teamOf reads where a request was made, "" where it does not say.
func teamOf(body []byte) (team, enterprise string) {
	var e event
	if json.Unmarshal(body, &e) == nil { // no form is JSON
		return e.Team, e.Enterprise
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", ""
	}
	payload := form.Get("payload")
	if payload == "" {
		return form.Get("team_id"), form.Get("enterprise_id")
	}
	var in struct {
		Team       struct{ ID string } `json:"team"`
		Enterprise struct{ ID string } `json:"enterprise"`
	}
	if json.Unmarshal([]byte(payload), &in) != nil {
		return "", ""
	}
	return in.Team.ID, in.Enterprise.ID
}

// users are the configured users, each with the Slack ID that they have in this workspace.
func (a *Adapter) users() map[string]oncall.User {
	all := a.policy().Users
	here := make(map[string]oncall.User, len(all))
	for name, u := range all {
		u.Slack = u.SlackIn(a.place)
		here[name] = u
	}
	return here
}
