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

// Ref is a name used at a place. Kind is "escalation", or a TargetKind. An escalation with an empty Name
// is an alert that names none.
type Ref struct {
	Kind string
	Name string
	At   problem.Place
}

// RefEscalation is the Kind of a Ref to an escalation.
const RefEscalation = "escalation"

type userBlock struct {
	Name     problem.At[string] `yaml:"name"`
	Slack    problem.At[string] `yaml:"slack"`
	TimeZone problem.At[string] `yaml:"time_zone"`
	Contacts []*yaml.Node       `yaml:"contacts"`
}

type contactBlock struct {
	After    problem.At[time.Duration] `yaml:"after"`
	Slack    problem.At[string]        `yaml:"slack"`
	Receiver problem.At[string]        `yaml:"receiver"`
}

var (
	slackUserID  = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	slackChannel = regexp.MustCompile(`^(#[^\s#@A-Z.,:;!?"'<>]{1,80}|[CGD][A-Z0-9]{2,})$`)
)

// DecodeUsers decodes the users section: each user at the place of its name, in order of the file.
func DecodeUsers(d *problem.Document, n *yaml.Node) (users []problem.At[User], refs []Ref, problems problem.List) {
	var nodes []*yaml.Node
	problems = d.Decode(n, &nodes)
	slackIDs := map[string]string{}
	for _, node := range nodes {
		var b userBlock
		problems = append(problems, d.Decode(node, &b)...)
		problems = append(problems, checkName(d.At(node), b.Name, "user")...)
		u := User{Name: b.Name.Value, Slack: b.Slack.Value, TimeZone: b.TimeZone.Value}
		if b.Slack.IsSet() {
			if !slackUserID.MatchString(u.Slack) {
				problems = append(problems, b.Slack.Place.Errorf("expected a Slack user ID such as U02ANA, found %q", u.Slack).
					WithHint("in Slack: the person's profile, then Copy member ID"))
			} else if other, ok := slackIDs[u.Slack]; ok {
				problems = append(problems, b.Slack.Place.Errorf("the Slack ID %s is user %q's already", u.Slack, other).
					WithHint("each press must belong to one person"))
			}
			slackIDs[u.Slack] = u.Name
		}
		// The empty name and "Local" are accepted by LoadLocation, and mean another zone on another machine.
		if _, err := time.LoadLocation(u.TimeZone); b.TimeZone.IsSet() && (err != nil || u.TimeZone == "" || u.TimeZone == "Local") {
			problems = append(problems, b.TimeZone.Place.Errorf("unknown time zone %q", u.TimeZone).
				WithHint("expected an IANA name such as Europe/Madrid"))
		}
		contacts, used, l := decodeContacts(d, b)
		u.Contacts = contacts
		refs, problems = append(refs, used...), append(problems, l...)
		users = append(users, problem.At[User]{Value: u, Place: b.Name.Place})
	}
	return users, refs, append(problems, Unique("user", users, func(u User) string { return u.Name })...)
}

func decodeContacts(d *problem.Document, user userBlock) (contacts []Contact, refs []Ref, problems problem.List) {
	var before time.Duration
	for _, node := range user.Contacts {
		var b contactBlock
		problems = append(problems, d.Decode(node, &b)...)
		c := Contact{After: b.After.Value, Slack: b.Slack.Value, Receiver: b.Receiver.Value}
		if b.Slack.IsSet() == b.Receiver.IsSet() {
			problems = append(problems, d.At(node).Errorf("a contact needs exactly one of slack and receiver").
				WithHint("write one list item for each way to reach the user"))
		}
		if c.After < before {
			at := b.After.Place
			if !b.After.IsSet() {
				at = d.At(node)
			}
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
			} else if !user.Slack.IsSet() {
				problems = append(problems, b.Slack.Place.Errorf("user %q has no Slack ID to send a direct message to", user.Name.Value).
					WithHint("add slack: U… to the user"))
			}
		}
		contacts = append(contacts, c)
	}
	return contacts, refs, problems
}

func checkChannel(c problem.At[string], or string) problem.List {
	if slackChannel.MatchString(c.Value) {
		return nil
	}
	p := c.Place.Errorf("expected %sa Slack channel such as '#alerts' (in quotes) or its ID, found %q", or, c.Value)
	if slackChannel.MatchString("#" + c.Value) {
		p = p.WithHint("did you mean '#%s'?", c.Value)
	}
	return problem.List{p}
}

type escalationBlock struct {
	Name          problem.At[string]        `yaml:"name"`
	GroupBy       *yaml.Node                `yaml:"group_by"`
	AckTimeout    problem.At[time.Duration] `yaml:"ack_timeout"`
	DeliverWithin problem.At[time.Duration] `yaml:"deliver_within"`
	Repeat        *yaml.Node                `yaml:"repeat"`
	Tiers         []*yaml.Node              `yaml:"tiers"`
}

type repeatBlock struct {
	Every problem.At[time.Duration] `yaml:"every"`
	Times problem.At[int]           `yaml:"times"`
}

type tierBlock struct {
	After    problem.At[time.Duration] `yaml:"after"`
	Slack    problem.Strings           `yaml:"slack"`
	User     problem.Strings           `yaml:"user"`
	Receiver problem.Strings           `yaml:"receiver"`
}

// ExplainKey refuses what a later build will do: a tier that silently told nobody would lose pages.
func (tierBlock) ExplainKey(key string) (message, hint string) {
	switch TargetKind(key) {
	case TargetSchedule:
		return `"schedule" is not supported by this build yet`, "whoever is on call would not be paged: name users, or a receiver, instead"
	case TargetAction:
		return `"action" is not supported by this build yet`, "the remediation would not run: remove it"
	}
	return "", ""
}

// DecodeEscalations decodes an escalations section, of the configuration or of a rule file.
func DecodeEscalations(d *problem.Document, n *yaml.Node) (escalations []problem.At[Escalation], refs []Ref, problems problem.List) {
	var nodes []*yaml.Node
	problems = d.Decode(n, &nodes)
	for _, node := range nodes {
		e, used, l := decodeEscalation(d, node)
		escalations, refs, problems = append(escalations, e), append(refs, used...), append(problems, l...)
	}
	return escalations, refs, append(problems, Unique("escalation", escalations, func(e Escalation) string { return e.Name })...)
}

func decodeEscalation(d *problem.Document, node *yaml.Node) (problem.At[Escalation], []Ref, problem.List) {
	var b escalationBlock
	problems := d.Decode(node, &b)
	problems = append(problems, checkName(d.At(node), b.Name, "escalation")...)
	e := Escalation{Name: b.Name.Value, GroupBy: []string{"alertname"}, AckTimeout: b.AckTimeout.Value, DeliverWithin: DefaultDeliverWithin}
	for _, positive := range []problem.At[time.Duration]{b.AckTimeout, b.DeliverWithin} {
		if positive.IsValid() && positive.Value <= 0 {
			problems = append(problems, positive.Place.Errorf("expected a duration above 0").WithHint("leave it out for the default"))
		}
	}
	if b.DeliverWithin.IsSet() {
		e.DeliverWithin = b.DeliverWithin.Value
	}
	if b.GroupBy != nil {
		groupBy, l := decodeGroupBy(d, b.GroupBy)
		e.GroupBy, problems = groupBy, append(problems, l...)
	}
	var refs []Ref
	for _, tier := range b.Tiers {
		t, used, l := decodeTier(d, tier, e.Tiers)
		e.Tiers, refs, problems = append(e.Tiers, t), append(refs, used...), append(problems, l...)
	}
	if len(b.Tiers) == 0 {
		problems = append(problems, d.At(node).Errorf("escalation %q has no tiers: nobody would be told", e.Name).
			WithHint("such as: tiers: [{slack: '#alerts'}]"))
	}
	if b.Repeat != nil {
		repeat, l := decodeRepeat(d, b.Repeat, e.Tiers)
		e.Repeat, problems = repeat, append(problems, l...)
	}
	return problem.At[Escalation]{Value: e, Place: b.Name.Place}, refs, problems
}

func decodeGroupBy(d *problem.Document, n *yaml.Node) ([]string, problem.List) {
	var names []problem.At[string]
	problems := d.Decode(n, &names)
	if len(names) == 0 && len(problems) == 0 {
		problems = append(problems, d.At(n).Errorf("group_by needs at least one label name").WithHint("leave it out for [alertname]"))
	}
	var out []string
	for _, name := range names {
		switch {
		case name.Value == "...":
			problems = append(problems, name.Place.Errorf(`group_by "..." is not supported by this build yet`).
				WithHint("name the labels that make alerts one incident"))
		case !model.UTF8Validation.IsValidLabelName(name.Value):
			problems = append(problems, name.Place.Errorf("invalid label name %q", name.Value))
		case slices.Contains(out, name.Value):
			problems = append(problems, name.Place.Errorf("label %q is given twice", name.Value))
		}
		out = append(out, name.Value)
	}
	return out, problems
}

// decodeTier decodes a tier that comes after others. Its targets are told in the order of the file.
func decodeTier(d *problem.Document, n *yaml.Node, others []Tier) (Tier, []Ref, problem.List) {
	var b tierBlock
	problems := d.Decode(n, &b)
	t := Tier{After: b.After.Value}
	if last := len(others) - 1; last >= 0 && t.After < others[last].After {
		at := b.After.Place
		if !b.After.IsSet() {
			at = d.At(n)
		}
		problems = append(problems, at.Errorf("after must not decrease: the tier before it has %s", model.Duration(others[last].After)).
			WithHint("after counts from the trigger, not from the tier before"))
		t.After = others[last].After
	}
	var refs []Ref
	for _, c := range b.Slack {
		problems = append(problems, checkChannel(c, "")...)
		refs = append(refs, Ref{string(TargetSlack), c.Value, c.Place})
	}
	for _, u := range b.User {
		refs = append(refs, Ref{string(TargetUser), u.Value, u.Place})
	}
	for _, r := range b.Receiver {
		refs = append(refs, Ref{string(TargetReceiver), r.Value, r.Place})
	}
	slices.SortStableFunc(refs, func(a, b Ref) int {
		if a.At.Line != b.At.Line {
			return a.At.Line - b.At.Line
		}
		return a.At.Column - b.At.Column
	})
	for _, r := range refs {
		target := Target{Kind: TargetKind(r.Kind), Name: r.Name}
		// A delivery's key is made from tier and target: twice the same would be one page anyway.
		if slices.Contains(t.Targets, target) {
			problems = append(problems, r.At.Errorf("%s is given twice in this tier", target))
			continue
		}
		t.Targets = append(t.Targets, target)
	}
	if len(t.Targets) == 0 && len(problems.Errors()) == 0 {
		problems = append(problems, d.At(n).Errorf("this tier tells nobody").WithHint("add slack, user or receiver"))
	}
	return t, refs, problems
}

func decodeRepeat(d *problem.Document, n *yaml.Node, tiers []Tier) (Repeat, problem.List) {
	var b repeatBlock
	problems := d.Decode(n, &b)
	at := func(p problem.Place) problem.Place {
		if p.Line > 0 {
			return p
		}
		return d.At(n)
	}
	var last time.Duration
	if len(tiers) > 0 {
		last = tiers[len(tiers)-1].After
	}
	if len(problems) == 0 && b.Every.Value <= last {
		problems = append(problems, at(b.Every.Place).Errorf("every must be longer than the last tier's after, %s", model.Duration(last)).
			WithHint("else a round would begin before the one before it has told everybody"))
	}
	if len(problems) == 0 && b.Times.Value < 1 {
		problems = append(problems, at(b.Times.Place).Errorf("times must be at least 1").WithHint("leave out repeat to tell everybody once"))
	}
	return Repeat{Every: b.Every.Value, Times: b.Times.Value}, problems
}

type receiverBlock struct {
	Name        problem.At[string] `yaml:"name"`
	PageConfigs []*yaml.Node       `yaml:"page_configs"`
	Escalation  problem.At[string] `yaml:"escalation"`
}

// DecodeReceivers decodes what is ours in the receivers section: names, page_configs and escalation. All
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
		if len(b.PageConfigs) > 0 || b.Escalation.IsSet() {
			problems = append(problems, checkName(d.At(node), b.Name, "receiver")...)
		}
		r := Receiver{Name: b.Name.Value, Escalation: b.Escalation.Value}
		for i, page := range b.PageConfigs {
			e := PageEndpoint(r.Name, i)
			r.Endpoints = append(r.Endpoints, e)
			pages[e] = page
		}
		if b.Escalation.IsSet() {
			refs = append(refs, Ref{RefEscalation, b.Escalation.Value, b.Escalation.Place})
		}
		receivers = append(receivers, problem.At[Receiver]{Value: r, Place: b.Name.Place})
	}
	return receivers, pages, refs, problems
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
		if slices.Contains([]string{"name", "page_configs", "escalation", "<<"}, n.Content[i].Value) {
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
