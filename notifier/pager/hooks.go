package pager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// Acts is the way in for what people do elsewhere: *notifier.Acts.
type Acts interface {
	// Act commits a command once for each request. A refusal is no error: Decision.Refused says so and Reply why.
	Act(ctx context.Context, number int64, c oncall.Command, request string) (oncall.Decision, error)
	// Incident returns one incident, or not_found.
	Incident(ctx context.Context, number int64) (oncall.Incident, error)
}

// HookOptions are what Hooks need.
type HookOptions struct {
	Acts       Acts
	Policy     func() oncall.Policy  // the policy in force; called for each report, from any goroutine
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Hooks hear what people do at PagerDuty and Opsgenie, and do it here. A report is answered when it is committed, acts once
// however often it comes, and what tocsin did itself is known again and does nothing. Any goroutine may use it.
type Hooks struct {
	o       HookOptions
	hooks   atomic.Pointer[map[HookName]Hook] // nil until Apply
	reports *prometheus.CounterVec
	known   known
	order   order
}

// NewHooks makes Hooks that hear nobody before Apply.
func NewHooks(o HookOptions) *Hooks {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hooks{o: o, reports: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_pager_reports_total",
		Help: "Reports of PagerDuty and Opsgenie, by what became of them: acted, ignored, refused (not authentic, not readable), failed.",
	}, []string{"vendor", "outcome"})}
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.reports)
	}
	return h
}

// Apply sets whom to hear from the next report on. The map must not be changed afterwards.
func (h *Hooks) Apply(hooks map[HookName]Hook) { h.hooks.Store(&hooks) }

// Handler returns what takes the reports of a vendor for a receiver, nil where none is configured.
func (h *Hooks) Handler(vendor, receiver string) http.Handler {
	name := HookName{vendor, receiver}
	hooks := h.hooks.Load()
	if hooks == nil {
		return nil
	}
	hook, ok := (*hooks)[name]
	if !ok {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, name, hook) })
}

const (
	maxReport  = 1 << 20         // bytes
	reportTime = 4 * time.Second // PagerDuty waits for 5 s
)

// What became of a report.
const (
	reportActed   = "acted"
	reportIgnored = "ignored"
	reportRefused = "refused"
	reportFailed  = "failed"
)

// report is what somebody did at a far end, in terms that both vendors share.
type report struct {
	hook    HookName
	users   map[string]string // who somebody there is here
	request string            // the report's identity
	key     string            // of the incident; "" for none of ours
	what    deed
	at      time.Time // when it was done, by the far end's clock; zero: it does not say
	who     []string  // what the person is known by there, the best for people first; none: nobody in person
	text    string    // of notes
}

// deed is what was done.
type deed string

const (
	didNothing       deed = "" // what does not concern tocsin
	didAcknowledge   deed = "acknowledge"
	didUnacknowledge deed = "unacknowledge"
	didResolve       deed = "resolve"
	didReopen        deed = "reopen"
	didNote          deed = "note"    // text is what somebody wrote
	didElse          deed = "changed" // text says what, for the record
)

// serve takes one report.
func (h *Hooks) serve(w http.ResponseWriter, r *http.Request, name HookName, hook Hook) {
	answer := func(status int, outcome, text string) {
		h.reports.WithLabelValues(name.Vendor, outcome).Inc()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if status >= 500 {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n") // the far end may be gone
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		answer(http.StatusRequestEntityTooLarge, reportRefused, tooLarge.Error())
		return
	} else if err != nil {
		return // nobody is left to answer
	}
	read := h.readPagerDuty
	if name.Vendor == "opsgenie" {
		read = h.readOpsgenie
	}
	rep, err := read(r, body, hook)
	if err != nil {
		status := http.StatusBadRequest
		if oncall.ErrorCode(err) == oncall.CodeForbidden {
			status = http.StatusUnauthorized
			h.o.Logger.Warn("A report was refused", "vendor", name.Vendor, "receiver", name.Receiver, "err", err)
		}
		answer(status, reportRefused, err.Error())
		return
	}
	rep.hook, rep.users = name, map[string]string{}
	for there, here := range hook.Users {
		rep.users[strings.ToLower(there)] = here.Value
	}
	// The commit must not be given up because the far end hung up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reportTime)
	defer cancel()
	did, err := h.act(ctx, rep)
	switch {
	case err != nil:
		h.o.Logger.Error("A report could not be committed; the far end will send it again", "vendor", name.Vendor, "receiver", name.Receiver, "err", err)
		answer(http.StatusServiceUnavailable, reportFailed, "it could not be committed: send it again")
	case did == "":
		answer(http.StatusOK, reportIgnored, "nothing to do")
	default:
		answer(http.StatusOK, reportActed, did)
	}
}

// act does here what was done there. It returns what came of it, "" for nothing.
func (h *Hooks) act(ctx context.Context, r report) (string, error) {
	if r.what == didNothing || r.key == "" {
		return "", nil
	}
	in, ok, err := h.incident(ctx, r.key)
	if err != nil || !ok {
		return "", err
	}
	if !r.what.changesState() || r.at.IsZero() {
		return h.commit(ctx, r, in)
	}
	there := r.hook.Vendor + " " + r.hook.Receiver + " " + r.key
	if h.order.overtaken(there, r.at) {
		h.o.Logger.Info("A report was overtaken by a later one", "vendor", r.hook.Vendor, "receiver", r.hook.Receiver, "incident", in.Number, "did", string(r.what), "at", r.at)
		return "", nil
	}
	did, err := h.commit(ctx, r, in)
	if err == nil {
		h.order.told(there, r.at)
	}
	return did, err
}

// commit does it. It returns what came of it, "" for nothing.
func (h *Hooks) commit(ctx context.Context, r report, in oncall.Incident) (string, error) {
	c, ok := h.command(r, in)
	if !ok {
		return "", nil
	}
	d, err := h.o.Acts.Act(ctx, in.Number, c, r.request)
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		return "", nil // forgotten in between
	}
	return cmp.Or(d.Reply, "done"), err
}

// changesState reports that it is about who has the incident, of which the last word counts.
func (d deed) changesState() bool {
	return d == didAcknowledge || d == didUnacknowledge || d == didResolve || d == didReopen
}

// incident finds the incident of a key: its number is the key's end.
func (h *Hooks) incident(ctx context.Context, key string) (in oncall.Incident, ok bool, err error) {
	number, err := strconv.ParseInt(key[strings.LastIndexByte(key, '-')+1:], 10, 64)
	if err != nil || number < 1 {
		return in, false, nil // not a key of tocsin's: the service there has incidents of others too
	}
	in, err = h.o.Acts.Incident(ctx, number)
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		return in, false, nil
	}
	return in, err == nil && in.Key == key, err
}

// command is what a report means for the incident as it stands. It is not ok where there is nothing to do.
func (h *Hooks) command(r report, in oncall.Incident) (c oncall.Command, ok bool) {
	policy := h.o.Policy()
	vendor := vendorName(r.hook.Vendor)
	actor, person := h.actor(r, policy)
	c = oncall.Command{Actor: actor, Via: vendor, From: reporter(policy, r.hook), At: r.at}
	note := func(text string) { c.Kind, c.Text = oncall.CmdNote, text }
	switch r.what {
	case didAcknowledge: // by nobody in person: that is no "I have it"
		c.Kind = oncall.CmdAcknowledge
		return c, person && in.Open()
	case didUnacknowledge: // also by a timeout there: the core knows whether that takes anything back
		c.Kind, c.ByItself = oncall.CmdUnacknowledge, !person
		if in.State == oncall.IncidentSnoozed {
			c.ByItself = false
			note(fmt.Sprintf("un-acknowledged in %s; here it stays snoozed", vendor))
		}
		return c, in.State == oncall.IncidentAcknowledged || in.State == oncall.IncidentSnoozed
	case didResolve: // a timer of the far end's does not know whether the alerts still fire
		c.Kind = oncall.CmdResolve
		return c, person && in.Open()
	case didReopen:
		note(fmt.Sprintf("reopened in %s; here it stays resolved, and a new incident opens if its alerts fire", vendor))
		return c, person && !in.Open()
	case didNote:
		note(r.text)
		return c, r.text != ""
	}
	note(r.text + " in " + vendor)
	return c, in.Open()
}

// reporter is the endpoint that a report came from, which need not be told of it again: "" where the receiver has several
// of that vendor, as nobody says which of them it was.
func reporter(p oncall.Policy, name HookName) (from oncall.Endpoint) {
	for _, i := range p.Receivers[name.Receiver].Integrations {
		if i.Endpoint.Kind() != name.List() {
			continue
		}
		if from != "" {
			return ""
		}
		from = i.Endpoint
	}
	return from
}

// actor is in whose name a report acts: a user's, by the hook's list, e-mail address or name; else what they are called
// there. person says whether it was anybody in person.
func (h *Hooks) actor(r report, p oncall.Policy) (name string, person bool) {
	vendor := vendorName(r.hook.Vendor)
	for _, there := range r.who {
		if user, ok := r.users[strings.ToLower(there)]; ok {
			return user, true
		}
	}
	for _, there := range r.who {
		for _, u := range p.Users {
			if strings.EqualFold(u.Name, there) || u.Email != "" && strings.EqualFold(u.Email, there) {
				return u.Name, true
			}
		}
	}
	if len(r.who) == 0 {
		return vendor, false
	}
	return r.who[0] + " (" + vendor + ")", true
}

func vendorName(vendor string) string {
	if vendor == "pagerduty" {
		return "PagerDuty"
	}
	return "Opsgenie"
}

// names keeps what somebody may be called, fit for a timeline.
func names(all ...string) (out []string) {
	for _, s := range all {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, s)
		if s = cut(oneLine(s), 100); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// known remembers which incident of ours a far end's incident is. PagerDuty's notes name only its own.
type known struct {
	mu    sync.Mutex
	keys  map[string]string // by the far end's ID
	order []string          // of keys, oldest first
}

const maxKnown = 4096

func (k *known) learn(id, key string) {
	if id == "" || key == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]string{}
	}
	if _, ok := k.keys[id]; !ok {
		if len(k.order) >= maxKnown {
			delete(k.keys, k.order[0])
			k.order = k.order[1:]
		}
		k.order = append(k.order, id)
	}
	k.keys[id] = key
}

func (k *known) key(id string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[id]
}
