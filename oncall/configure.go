package oncall

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// The sections users, escalations and receivers are decoded here, because what makes them valid is what
// the core relies on. Names that point elsewhere are returned as Refs: only who has read all files can say
// whether they exist.

// Ref is a name used at a place. Kind is "escalation", "time interval", or a TargetKind. An escalation with an empty Name
// is an alert that names none.
type Ref struct {
	Kind string
	Name string
	At   problem.Place
}

// RefEscalation is the Kind of a Ref to an escalation.
const RefEscalation = "escalation"

// RefInterval is the Kind of a Ref to one of the time_intervals.
const RefInterval = "time interval"

type userBlock struct {
	Name     problem.At[string] `yaml:"name"`
	Slack    *yaml.Node         `yaml:"slack"`
	Email    problem.At[string] `yaml:"email"`
	TimeZone problem.At[string] `yaml:"time_zone"`
	Contacts []*yaml.Node       `yaml:"contacts"`
	Daytime  *yaml.Node         `yaml:"daytime"`
}

type contactBlock struct {
	After    problem.At[time.Duration] `yaml:"after"`
	Slack    problem.At[string]        `yaml:"slack"`
	Receiver problem.At[string]        `yaml:"receiver"`
}

// DecodeUsers decodes the users section: each user at the place of its name, in order of the file.
func DecodeUsers(d *problem.Document, n *yaml.Node) (users []problem.At[User], refs []Ref, problems problem.List) {
	var nodes []*yaml.Node
	problems = d.Decode(n, &nodes)
	slackIDs, emails := map[string]string{}, map[string]string{}
	for _, node := range nodes {
		var b userBlock
		problems = append(problems, d.Decode(node, &b)...)
		problems = append(problems, checkName(d.At(node), b.Name, "user")...)
		u, inSlack, l := decodeSlackID(d, b.Slack, b.Name.Value, slackIDs)
		u.Name, u.Email, u.TimeZone = b.Name.Value, b.Email.Value, b.TimeZone.Value
		refs, problems = append(refs, inSlack...), append(problems, l...)
		problems = append(problems, checkEmail(b, emails)...)
		// The empty name and "Local" are accepted by LoadLocation, and mean another zone on another machine.
		loc, err := time.LoadLocation(u.TimeZone)
		if b.TimeZone.IsSet() && (err != nil || u.TimeZone == "" || u.TimeZone == "Local") {
			problems = append(problems, b.TimeZone.Place.Errorf("unknown time zone %q", u.TimeZone).
				WithHint("expected an IANA name such as Europe/Madrid"))
		} else {
			u.Location = loc
		}
		if b.Daytime != nil {
			daytime, l := decodeDaytime(d, b.Daytime)
			u.Daytime, problems = daytime, append(problems, l...)
		}
		contacts, used, l := decodeContacts(d, b)
		u.Contacts = contacts
		refs, problems = append(refs, used...), append(problems, l...)
		users = append(users, problem.At[User]{Value: u, Place: b.Name.Place})
	}
	return users, refs, append(problems, Unique("user", users, func(u User) string { return u.Name })...)
}

// An address as people have it, and no more of what a mail server would take: it is compared, not written to.
var emailForm = regexp.MustCompile(`^[^\s@<>,;:"]+@[^\s@<>,;:"]+\.[^\s@<>,;:".]+$`)

// checkEmail reports an address that is none, or that is somebody else's already. taken has the owners of those seen.
func checkEmail(b userBlock, taken map[string]string) problem.List {
	if !b.Email.IsSet() {
		return nil
	}
	if !emailForm.MatchString(b.Email.Value) {
		return problem.List{b.Email.Place.Errorf("expected an e-mail address such as ana@shop.example, found %q", b.Email.Value).
			WithHint("the one in the person's Slack profile, which Slack must have verified")}
	}
	key := strings.ToLower(b.Email.Value)
	other, ok := taken[key]
	taken[key] = b.Name.Value
	if ok {
		return problem.List{b.Email.Place.Errorf("the e-mail address %s is user %q's already", b.Email.Value, other).
			WithHint("each press must belong to one person")}
	}
	return nil
}

// decodeDaytime decodes when a user is told of what has a low urgency: an interval as in time_intervals, or a list.
func decodeDaytime(d *problem.Document, n *yaml.Node) (Restriction, problem.List) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	dec := scheduleDecoder{doc: d}
	var r Restriction
	for _, node := range nodes {
		r = append(r, dec.interval(node))
	}
	if len(nodes) == 0 {
		dec.add(d.At(n).Errorf("daytime is empty: this user would never be told of what has a low urgency").
			WithHint("leave it out for 9 to 18 o'clock on every day"))
	}
	return r, dec.problems
}

func decodeContacts(d *problem.Document, user userBlock) (contacts []Contact, refs []Ref, problems problem.List) {
	var before time.Duration
	for _, node := range user.Contacts {
		var b contactBlock
		problems = append(problems, d.Decode(node, &b)...)
		at := b.After.Place
		if !b.After.IsSet() {
			at = d.At(node)
		}
		c := Contact{After: b.After.Value, Slack: b.Slack.Value, Receiver: b.Receiver.Value, Place: at}
		if b.Slack.IsSet() == b.Receiver.IsSet() {
			problems = append(problems, d.At(node).Errorf("a contact needs exactly one of slack and receiver").
				WithHint("write one list item for each way to reach the user"))
		}
		if c.After < before {
			problems = append(problems, at.Errorf("after must not decrease: the contact before it has %s", model.Duration(before)).
				WithHint("contacts are tried in the order of the file"))
		}
		before = max(before, c.After)
		if b.Receiver.IsSet() {
			refs = append(refs, Ref{string(TargetReceiver), c.Receiver, b.Receiver.Place})
		}
		if b.Slack.IsSet() {
			refs = append(refs, Ref{string(TargetSlack), c.Slack, b.Slack.Place})
			if c.Slack != "dm" {
				problems = append(problems, checkChannel(b.Slack, `"dm", or `)...)
			} else if user.Slack == nil {
				problems = append(problems, b.Slack.Place.Errorf("user %q has no Slack ID to send a direct message to", user.Name.Value).
					WithHint("add slack: U… to the user; an email says who presses a button, not where to write"))
			}
		}
		contacts = append(contacts, c)
	}
	return contacts, refs, problems
}

type receiverBlock struct {
	Name        problem.At[string] `yaml:"name"`
	PageConfigs []*yaml.Node       `yaml:"page_configs"`
	Twilio      []*yaml.Node       `yaml:"twilio_configs"`
	Ntfy        []*yaml.Node       `yaml:"ntfy_configs"`
	Escalation  problem.At[string] `yaml:"escalation"`
}

// DecodeReceivers decodes what is ours in the receivers section: names, page_configs and its like, and escalation. All
// other keys are Alertmanager's, whose own parser looks at them, at names too. pages holds the configuration of
// each page endpoint, which the package pager decodes.
func DecodeReceivers(d *problem.Document, n *yaml.Node) (receivers []problem.At[Receiver], pages map[Endpoint]*yaml.Node, refs []Ref, problems problem.List) {
	pages = map[Endpoint]*yaml.Node{}
	if n.Kind != yaml.SequenceNode {
		return nil, pages, nil, nil // that is said by the other parser
	}
	for _, node := range n.Content {
		var b receiverBlock
		own := ownKeys(node)
		problems = append(problems, d.Decode(own, &b)...)
		if b.Name.Value == "" {
			continue
		}
		if len(b.PageConfigs)+len(b.Twilio)+len(b.Ntfy) > 0 || b.Escalation.IsSet() {
			problems = append(problems, checkName(d.At(node), b.Name, "receiver")...)
		}
		r := Receiver{Name: b.Name.Value, Escalation: b.Escalation.Value}
		for i, page := range b.PageConfigs {
			e := PageEndpoint(r.Name, i)
			r.Endpoints = append(r.Endpoints, e)
			pages[e] = page
		}
		for i, entry := range b.Twilio {
			e := twilioEndpoint(entry, r.Name, i)
			r.Endpoints, pages[e] = append(r.Endpoints, e), entry
		}
		for i, entry := range b.Ntfy {
			e := IntegrationEndpoint("ntfy", r.Name, i)
			r.Endpoints, pages[e] = append(r.Endpoints, e), entry
		}
		if b.Escalation.IsSet() {
			refs = append(refs, Ref{RefEscalation, b.Escalation.Value, b.Escalation.Place})
		}
		receivers = append(receivers, problem.At[Receiver]{Value: r, Place: b.Name.Place})
	}
	return receivers, pages, refs, problems
}

// twilioEndpoint is the endpoint of the i-th (from 0) entry of a receiver's twilio_configs. What calls and what writes are
// kinds of their own: a call is for asking only.
func twilioEndpoint(entry *yaml.Node, receiver string, i int) Endpoint {
	kind := "call"
	if entry.Kind == yaml.AliasNode {
		entry = entry.Alias
	}
	for j := 0; entry.Kind == yaml.MappingNode && j+1 < len(entry.Content); j += 2 {
		if entry.Content[j].Value == "mode" && entry.Content[j+1].Value == "sms" {
			kind = "sms"
		}
	}
	return IntegrationEndpoint(kind, receiver, i)
}

// ownKeys is a receiver without Alertmanager's keys.
func ownKeys(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Column: n.Column}
	}
	own := *n
	own.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if slices.Contains([]string{"name", "page_configs", "twilio_configs", "ntfy_configs", "escalation", "<<"}, n.Content[i].Value) {
			own.Content = append(own.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &own
}

// checkName reports a name that is missing, or that could not be shown and typed by people.
func checkName(block problem.Place, name problem.At[string], what string) problem.List {
	switch {
	case name.Value == "" && !name.IsSet():
		return problem.List{block.Errorf("this %s has no name", what)}
	case strings.TrimSpace(name.Value) == "":
		return problem.List{name.Place.Errorf("the name of this %s is empty", what)}
	case !utf8.ValidString(name.Value) || strings.ContainsFunc(name.Value, unicode.IsControl):
		return problem.List{name.Place.Errorf("the name of this %s holds control characters", what)}
	case strings.TrimSpace(name.Value) != name.Value:
		return problem.List{name.Place.Errorf("the name of this %s begins or ends with a blank", what)}
	}
	return nil
}

// Unique reports names that were given before.
func Unique[T any](what string, defined []problem.At[T], name func(T) string) problem.List {
	var problems problem.List
	first := map[string]problem.Place{}
	for _, v := range defined {
		key := name(v.Value)
		if key == "" {
			continue
		}
		if at, ok := first[key]; ok {
			problems = append(problems, v.Place.Errorf("%s %q is defined twice", what, key).WithHint("the first one is at %s:%d", at.File, at.Line))
			continue
		}
		first[key] = v.Place
	}
	return problems
}
