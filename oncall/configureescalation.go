package oncall

import (
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

type escalationBlock struct {
	Name          problem.At[string]        `yaml:"name"`
	GroupBy       *yaml.Node                `yaml:"group_by"`
	AckTimeout    problem.At[time.Duration] `yaml:"ack_timeout"`
	DeliverWithin problem.At[time.Duration] `yaml:"deliver_within"`
	Repeat        *yaml.Node                `yaml:"repeat"`
	ReopenWithin  problem.At[time.Duration] `yaml:"reopen_within"`
	Urgency       *yaml.Node                `yaml:"urgency"`
	LowDeadline   problem.At[time.Duration] `yaml:"low_deadline"`
	Condition     conditionBlock            `yaml:",inline"`
	Tiers         []*yaml.Node              `yaml:"tiers"`
	Promise       *yaml.Node                `yaml:"promise"`
}

type conditionBlock struct {
	When      *yaml.Node      `yaml:"when"`
	During    problem.Strings `yaml:"during"`
	NotDuring problem.Strings `yaml:"not_during"`
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
	Schedule problem.Strings           `yaml:"schedule"`

	RoundRobin problem.At[bool] `yaml:"round_robin"`
	Condition  conditionBlock   `yaml:",inline"`
}

// ExplainKey refuses what a later build will do: a tier that silently told nobody would lose pages.
func (tierBlock) ExplainKey(key string) (message, hint string) {
	if TargetKind(key) == TargetAction {
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
	e := Escalation{Name: b.Name.Value, GroupBy: []string{"alertname"}, AckTimeout: b.AckTimeout.Value, DeliverWithin: DefaultDeliverWithin, ReopenWithin: b.ReopenWithin.Value}
	for _, positive := range []problem.At[time.Duration]{b.AckTimeout, b.DeliverWithin, b.ReopenWithin, b.LowDeadline} {
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
	condition, refs, l := decodeCondition(d, b.Condition)
	e.Condition, problems = condition, append(problems, l...)
	urgency, l := decodeUrgency(d, b)
	e.Urgency, problems = urgency, append(problems, l...)
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
	if b.Promise != nil {
		promise, l := decodePromise(d, b.Promise)
		e.Promise, problems = promise, append(problems, l...)
	}
	return problem.At[Escalation]{Value: e, Place: b.Name.Place}, refs, problems
}

// decodeCondition decodes when, during and not_during.
func decodeCondition(d *problem.Document, b conditionBlock) (c Condition, refs []Ref, problems problem.List) {
	if b.When != nil {
		c.When, problems = decodeWhen(d, b.When)
	}
	for _, list := range []struct {
		from problem.Strings
		to   *[]string
	}{{b.During, &c.During}, {b.NotDuring, &c.NotDuring}} {
		for _, name := range list.from {
			if slices.Contains(*list.to, name.Value) {
				problems = append(problems, name.Place.Errorf("the time interval %q is given twice here", name.Value))
				continue
			}
			*list.to = append(*list.to, name.Value)
			refs = append(refs, Ref{RefInterval, name.Value, name.Place})
		}
	}
	for _, name := range b.NotDuring {
		if slices.Contains(c.During, name.Value) {
			problems = append(problems, name.Place.Errorf("%q is in during and in not_during: nobody would ever be told", name.Value))
		}
	}
	return c, refs, problems
}

// decodeWhen decodes matchers: {severity: critical}, or a list of matchers as in routes.
func decodeWhen(d *problem.Document, n *yaml.Node) (ms amlabels.Matchers, problems problem.List) {
	at := n
	if n.Kind == yaml.AliasNode {
		at = n.Alias
	}
	if at.Kind == yaml.MappingNode {
		var equal map[problem.At[string]]problem.At[string]
		problems = d.Decode(n, &equal)
		for name, value := range equal {
			if !model.UTF8Validation.IsValidLabelName(name.Value) {
				problems = append(problems, name.Place.Errorf("invalid label name %q", name.Value))
			}
			ms = append(ms, &amlabels.Matcher{Type: amlabels.MatchEqual, Name: name.Value, Value: value.Value})
		}
		slices.SortFunc(ms, func(a, b *amlabels.Matcher) int { return strings.Compare(a.Name, b.Name) })
	} else {
		var texts problem.Strings
		problems = d.Decode(n, &texts)
		for _, text := range texts {
			parsed, err := ParseMatchers(text.Value, MatchersFallback)
			if err != nil || len(parsed) == 0 {
				problems = append(problems, text.Place.Errorf("expected matchers such as severity=\"critical\", found %q", text.Value))
				continue
			}
			ms = append(ms, parsed...)
		}
	}
	if len(ms) == 0 && len(problems) == 0 {
		problems = append(problems, d.At(n).Errorf("no label is given").WithHint("such as {severity: critical}, or ['severity=~\"critical|page\"']"))
	}
	return ms, problems
}

// decodeUrgency decodes urgency: low, high, or {low: matchers}; and low_deadline.
func decodeUrgency(d *problem.Document, b escalationBlock) (u Urgency, problems problem.List) {
	switch {
	case b.Urgency == nil:
	case b.Urgency.Kind == yaml.ScalarNode:
		var word problem.At[string]
		problems = d.Decode(b.Urgency, &word)
		if word.IsValid() && word.Value != UrgencyLow && word.Value != "high" {
			problems = append(problems, word.Place.Errorf("expected low, high, or the alerts that can wait, found %q", word.Value).
				WithHint("such as: urgency: {low: {severity: warning}}"))
		}
		u.Low = word.Value == UrgencyLow
	default:
		var by struct {
			Low *yaml.Node `yaml:"low"`
		}
		problems = d.Decode(b.Urgency, &by)
		if by.Low != nil {
			when, l := decodeWhen(d, by.Low)
			u.LowWhen, problems = when, append(problems, l...)
		} else if len(problems) == 0 {
			problems = append(problems, d.At(b.Urgency).Errorf("this says of no alerts that they can wait").WithHint("such as: urgency: {low: {severity: warning}}"))
		}
	}
	if b.LowDeadline.IsSet() {
		u.Deadline = b.LowDeadline.Value
		if !u.Low && len(u.LowWhen) == 0 && len(problems) == 0 {
			problems = append(problems, b.LowDeadline.Place.Errorf("low_deadline has no meaning here: nothing has a low urgency").
				WithHint("add urgency: low, or remove it"))
		}
	}
	return u, problems
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
	for _, s := range b.Schedule {
		refs = append(refs, Ref{string(TargetSchedule), s.Value, s.Place})
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
		problems = append(problems, d.At(n).Errorf("this tier tells nobody").WithHint("add slack, user, schedule or receiver"))
	}
	if t.RoundRobin = b.RoundRobin.Value; t.RoundRobin && len(t.Targets) == 1 && t.Targets[0].Kind != TargetSchedule {
		problems = append(problems, b.RoundRobin.Place.Errorf("a round robin of one is none").
			WithHint("name several users, or a schedule with several people on call at once"))
	}
	condition, used, l := decodeCondition(d, b.Condition)
	t.Condition = condition
	return t, append(refs, used...), append(problems, l...)
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
