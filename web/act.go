package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/model"

	"tocsin/oncall"
)

// maxBody bounds what a caller may send; anything larger is 413.
const maxBody = 1 << 20

// anonymous is the actor where nobody is authenticated and nobody gave a name.
const anonymous = "api"

// action is a command that people can give over HTTP: its name in the path, and the fields of its body
// beside user.
type action struct {
	kind   oncall.CommandKind
	fields []string
	read   func(body, *oncall.Command, time.Time) error // nil: nothing to read
}

var actions = []action{
	{kind: oncall.CmdAcknowledge},
	{kind: oncall.CmdUnacknowledge},
	{kind: oncall.CmdResolve},
	{oncall.CmdSnooze, []string{"for", "until", "until_clear"}, readSnooze},
	{oncall.CmdEscalate, []string{"round", "tier"}, readEscalate},
	{oncall.CmdAssign, []string{"assignee"}, readAssign},
	{oncall.CmdNote, []string{"text"}, readNote},
	{oncall.CmdAddResponder, []string{"responder"}, readAdd},
	{oncall.CmdMerge, []string{"into"}, readMerge},
}

// body is what an action's request may carry.
type body map[string]json.RawMessage

// acted is the answer to a command that was done: the incident as it is now, and one sentence.
type acted struct {
	oncall.IncidentView
	Reply   string `json:"reply"`
	Silence string `json:"silence,omitempty"` // ID of the silence that was set
}

func (w *Web) actHandler(a action) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		number, err := parseNumber(r.PathValue("number"))
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		c, err := w.readCommand(rw, r, a)
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		request, err := requestID(r, fmt.Sprintf("act %s #%d", a.kind, number), c.Actor)
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		d, err := w.o.Acts.Act(r.Context(), number, c, request)
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		// Read back rather than drawn from the decision: the rows below the incident are not in it.
		in, err := w.o.Acts.Incident(r.Context(), number)
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		v := w.view(in)
		if d.Refused {
			w.writeJSON(rw, http.StatusConflict, apiError{Error: d.Reply, Code: string(oncall.CodeConflict), Incident: &v})
			return
		}
		w.writeJSON(rw, http.StatusOK, acted{IncidentView: v, Reply: d.Reply})
	}
}

// requestID is the identity that a caller gave a request, "" for none. Two people, and one for two things, may choose
// the same key.
func requestID(r *http.Request, what, actor string) (string, error) {
	key := r.Header.Get(idempotencyKey)
	if len(key) > 200 || strings.ContainsFunc(key, unicode.IsControl) {
		return "", oncall.Errorf(oncall.CodeInvalid, "%s must be at most 200 bytes without control characters", idempotencyKey)
	}
	if key == "" {
		return "", nil
	}
	return "api " + what + " " + actor + " " + key, nil
}

// readCommand reads who wants what.
func (w *Web) readCommand(rw http.ResponseWriter, r *http.Request, a action) (oncall.Command, error) {
	c := oncall.Command{Kind: a.kind, Via: "api"}
	b, err := readBody(http.MaxBytesReader(rw, r.Body, maxBody), a)
	if err != nil {
		return c, err
	}
	given, err := b.text("user")
	if err != nil {
		return c, err
	}
	c.Actor, err = w.actor(r, given, anonymous)
	if err != nil || a.read == nil {
		return c, err
	}
	return c, a.read(b, &c, now())
}

// actor is who acts: the authenticated user, else the name that the caller gave, else the fallback.
func (w *Web) actor(r *http.Request, given, fallback string) (string, error) {
	name, required := w.o.User(r)
	switch {
	case required && name == "":
		return "", oncall.Errorf(oncall.CodeForbidden, "nobody is authenticated")
	case required && given != "" && given != name:
		return "", oncall.Errorf(oncall.CodeForbidden, "you are authenticated as %q and cannot act as %q; leave out user", name, given)
	case required:
		return name, nil
	case given == "":
		return fallback, nil
	}
	if len(given) > 200 || strings.ContainsFunc(given, unicode.IsControl) {
		return "", oncall.Errorf(oncall.CodeInvalid, "user must be a name of at most 200 bytes without control characters")
	}
	return given, nil
}

// readBody decodes a JSON object strictly: an unknown field is refused by name, because a mistyped one
// would be an instruction that was ignored. No body at all is an empty object.
func readBody(from io.Reader, a action) (body, error) {
	d := json.NewDecoder(from)
	var b body
	err := d.Decode(&b)
	if errors.Is(err, io.EOF) {
		return body{}, nil
	}
	if err == nil {
		if _, err = d.Token(); err == nil {
			return nil, oncall.Errorf(oncall.CodeInvalid, "the body must be one JSON object and nothing after it")
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge
		}
		return nil, oncall.Errorf(oncall.CodeInvalid, `the body is no JSON object such as {"user": "ana"}`)
	}
	known := append([]string{"user"}, a.fields...)
	for field := range b {
		if !slices.Contains(known, field) {
			return nil, oncall.Errorf(oncall.CodeInvalid, "unknown field %q; %s takes: %s", field, a.kind, strings.Join(known, ", "))
		}
	}
	return b, nil
}

// text returns a field that must be a string; "" if it is not there.
func (b body) text(field string) (string, error) {
	var s string
	if raw, ok := b[field]; ok {
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", oncall.Errorf(oncall.CodeInvalid, "%s must be a string", field)
		}
	}
	return strings.TrimSpace(s), nil
}

func readSnooze(b body, c *oncall.Command, now time.Time) error {
	length, err := b.text("for")
	if err != nil {
		return err
	}
	until, err := b.text("until")
	if err != nil {
		return err
	}
	matchers, err := b.text("until_clear")
	if err != nil {
		return err
	}
	if matchers != "" {
		if c.UntilClear, err = oncall.ParseMatchers(matchers, oncall.MatchersFallback); err != nil || len(c.UntilClear) == 0 {
			return oncall.Errorf(oncall.CodeInvalid, `until_clear: %q are no matchers such as alertname="DeployRunning"`, matchers)
		}
	}
	switch {
	case matchers != "" && length == "" && until == "":
	case (length == "") == (until == ""):
		return oncall.Errorf(oncall.CodeInvalid, `snooze needs either "for" (a duration such as 30m) or "until" (a time such as %s)`,
			now.Add(time.Hour).UTC().Format(time.RFC3339))
	case length != "":
		d, err := model.ParseDuration(length)
		if err != nil || d <= 0 {
			return oncall.Errorf(oncall.CodeInvalid, "for: %q is no duration such as 30m or 2h", length)
		}
		c.Until = now.Add(time.Duration(d))
	default:
		c.Until, err = time.Parse(time.RFC3339, until)
		if err != nil || !c.Until.After(now) {
			return oncall.Errorf(oncall.CodeInvalid, "until: %q is no time to come, such as %s", until, now.Add(time.Hour).UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func readEscalate(b body, c *oncall.Command, _ time.Time) error {
	var seen oncall.Seen
	given := 0
	for field, to := range map[string]*int{"round": &seen.Round, "tier": &seen.Tier} {
		if raw, ok := b[field]; ok {
			if err := json.Unmarshal(raw, to); err != nil {
				return oncall.Errorf(oncall.CodeInvalid, "%s must be a whole number", field)
			}
			given++
		}
	}
	switch given {
	case 1:
		return oncall.Errorf(oncall.CodeInvalid, "give round and tier both, as you saw them, or neither")
	case 2:
		c.Seen = &seen
	}
	return nil
}

func readAssign(b body, c *oncall.Command, _ time.Time) error {
	var err error
	c.User, err = b.text("assignee")
	if err == nil && c.User == "" {
		err = oncall.Errorf(oncall.CodeInvalid, `assign needs "assignee", a user's name`)
	}
	return err
}

func readNote(b body, c *oncall.Command, _ time.Time) error {
	var err error
	c.Text, err = b.text("text")
	if err == nil && c.Text == "" {
		err = oncall.Errorf(oncall.CodeInvalid, `note needs "text"`)
	}
	return err
}

func readAdd(b body, c *oncall.Command, _ time.Time) error {
	var err error
	c.User, err = b.text("responder")
	if err == nil && c.User == "" {
		err = oncall.Errorf(oncall.CodeInvalid, `add needs "responder", a user's name`)
	}
	return err
}

func readMerge(b body, c *oncall.Command, _ time.Time) error {
	if err := json.Unmarshal(b["into"], &c.Into); err != nil || c.Into < 1 {
		return oncall.Errorf(oncall.CodeInvalid, `merge needs "into", the number of another incident`)
	}
	return nil
}
