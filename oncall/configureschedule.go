package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

type scheduleBlock struct {
	Name     problem.At[string] `yaml:"name"`
	TimeZone problem.At[string] `yaml:"time_zone"`
	Layers   []*yaml.Node       `yaml:"layers"`
	Notify   *yaml.Node         `yaml:"notify"`

	SlackUserGroup problem.At[string] `yaml:"slack_user_group"`
	SlackTopic     problem.At[string] `yaml:"slack_topic"`
}

type notifyBlock struct {
	Slack  problem.At[string]        `yaml:"slack"`
	People problem.At[bool]          `yaml:"people"`
	Before problem.At[time.Duration] `yaml:"before"`
}

// maxNotifyBefore is how long before a shift its owner can be told of it: after that it is forgotten again.
const maxNotifyBefore = 7 * day

type layerBlock struct {
	Name    problem.At[string] `yaml:"name"`
	Start   problem.At[string] `yaml:"start"`
	Roster  rosterBlock        `yaml:",inline"`
	Changes []*yaml.Node       `yaml:"changes"`
}

type rosterBlock struct {
	Users    *yaml.Node                `yaml:"users"`
	Shadow   problem.Strings           `yaml:"shadow"`
	Handoff  problem.At[string]        `yaml:"handoff"`
	Every    problem.At[time.Duration] `yaml:"every"`
	Restrict *yaml.Node                `yaml:"restrict"`
}

type changeBlock struct {
	EffectiveFrom problem.At[string] `yaml:"effective_from"`
	Roster        rosterBlock        `yaml:",inline"`
}

// ExplainKey knows where effective_from belongs, and what other systems call the same things.
func (layerBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "effective_from":
		return `a layer begins with "start"`, "list what changes later below it: changes: [{effective_from: 2026-03-02, users: […]}]"
	case "rotation", "rotation_turn_length_seconds", "shift_length":
		return fmt.Sprintf("unknown key %q", key), `handoff: "0 9 * * MON" or every: 12h says how long a turn lasts`
	case "restrictions", "time_intervals", "active_time_intervals":
		return fmt.Sprintf("unknown key %q", key), "restrict takes the intervals themselves, as in time_intervals"
	}
	return "", ""
}

// ExplainKey knows what a change cannot change.
func (changeBlock) ExplainKey(key string) (message, hint string) {
	if key == "start" {
		return `a change has no "start"`, "effective_from says from when on it holds"
	}
	return "", ""
}

// DecodeSchedules decodes the schedules section: each schedule at the place of its name, in order of the file.
// The refs are to users, and to the Slack channels of notify.
func DecodeSchedules(d *problem.Document, n *yaml.Node) (schedules []problem.At[Schedule], refs []Ref, problems problem.List) {
	var nodes []*yaml.Node
	problems = d.Decode(n, &nodes)
	for _, node := range nodes {
		dec := scheduleDecoder{doc: d}
		schedules = append(schedules, dec.schedule(node))
		refs, problems = append(refs, dec.refs...), append(problems, dec.problems...)
	}
	return schedules, refs, append(problems, Unique("schedule", schedules, func(s Schedule) string { return s.Name })...)
}

// scheduleDecoder decodes one schedule.
type scheduleDecoder struct {
	doc      *problem.Document
	loc      *time.Location
	unclear  bool // when turns of the layer end has been reported: once is enough
	refs     []Ref
	problems problem.List
}

func (dec *scheduleDecoder) add(p problem.Problem) { dec.problems = append(dec.problems, p) }

// decode decodes a node and reports whether that went well.
func (dec *scheduleDecoder) decode(n *yaml.Node, into any) bool {
	l := dec.doc.Decode(n, into)
	dec.problems = append(dec.problems, l...)
	return len(l.Errors()) == 0
}

func (dec *scheduleDecoder) schedule(node *yaml.Node) problem.At[Schedule] {
	var b scheduleBlock
	dec.decode(node, &b)
	dec.problems = append(dec.problems, checkName(dec.doc.At(node), b.Name, "schedule")...)
	dec.loc = time.UTC
	loc, err := time.LoadLocation(b.TimeZone.Value)
	switch {
	case !b.TimeZone.IsSet():
		dec.add(dec.doc.At(node).Errorf("schedule %q has no time_zone", b.Name.Value).
			WithHint("handoffs follow its clocks: an IANA name such as Europe/Madrid, or UTC"))
	// The empty name and "Local" are accepted by LoadLocation, and mean another zone on another machine.
	case err != nil || b.TimeZone.Value == "" || b.TimeZone.Value == "Local":
		dec.add(b.TimeZone.Place.Errorf("unknown time zone %q", b.TimeZone.Value).WithHint("expected an IANA name such as Europe/Madrid"))
	default:
		dec.loc = loc
	}
	s := Schedule{Name: b.Name.Value, TimeZone: dec.loc}
	var names []problem.At[string]
	for i, layer := range b.Layers {
		l, name := dec.layer(layer, fmt.Sprint(i+1))
		s.Layers, names = append(s.Layers, l), append(names, name)
	}
	dec.problems = append(dec.problems, Unique("layer", names, func(n string) string { return n })...)
	if len(b.Layers) == 0 {
		dec.add(dec.doc.At(node).Errorf("schedule %q has no layers: nobody would be on call", s.Name).
			WithHint("such as: layers: [{users: [ana, bo], start: 2026-01-05, handoff: \"0 9 * * MON\"}]"))
	}
	if b.Notify != nil {
		dec.notify(b.Notify, &s)
	}
	if b.SlackUserGroup.IsSet() {
		s.SlackUserGroup = dec.userGroup(b.SlackUserGroup)
	}
	if b.SlackTopic.IsSet() {
		s.SlackTopic = dec.channel(b.SlackTopic)
	}
	return problem.At[Schedule]{Value: s, Place: b.Name.Place}
}

// notify decodes how handoffs are announced.
func (dec *scheduleDecoder) notify(n *yaml.Node, s *Schedule) {
	var b notifyBlock
	if !dec.decode(n, &b) {
		return
	}
	const hint = "such as: notify: {slack: '#session-team'}, which tells those who come and go too, or notify: {people: true} for them alone"
	people := !b.People.IsSet() || b.People.Value
	switch {
	case !b.Slack.IsSet() && !b.People.IsSet():
		dec.add(dec.doc.At(n).Errorf("notify names nowhere to announce handoffs").WithHint(hint))
		return
	case !b.Slack.IsSet() && b.People.IsValid() && !people:
		dec.add(b.People.Place.Errorf("notify tells nobody").WithHint(hint))
	case b.Before.IsSet() && b.People.IsValid() && !people:
		dec.add(b.Before.Place.Errorf("before is when people are told of their shift, and people: false tells none").WithHint("remove one of them"))
	case b.Before.IsValid() && (b.Before.Value < 0 || b.Before.Value > maxNotifyBefore):
		dec.add(b.Before.Place.Errorf("before must be from 0, which is not at all, to 7d"))
	}
	if b.Slack.IsSet() {
		s.NotifySlack = dec.channel(b.Slack)
	}
	if s.NotifyPeople = people; people {
		s.NotifyBefore = DefaultNotifyBefore
		if b.Before.IsSet() {
			s.NotifyBefore = b.Before.Value
		}
	}
}

// channel takes a channel of Slack.
func (dec *scheduleDecoder) channel(c problem.At[string]) string {
	dec.problems = append(dec.problems, checkChannel(c, "")...)
	dec.refs = append(dec.refs, Ref{Kind: string(TargetSlack), Name: c.Value, At: c.Place})
	return c.Value
}

// userGroup decodes which of Slack's user groups is whoever is on call.
func (dec *scheduleDecoder) userGroup(g problem.At[string]) string {
	address, l := checkUserGroup(g)
	if dec.problems = append(dec.problems, l...); len(l) == 0 {
		dec.refs = append(dec.refs, Ref{Kind: string(TargetSlack), Name: address, At: g.Place})
	}
	return address
}

// layer decodes a layer; unnamed is its name where it has none.
func (dec *scheduleDecoder) layer(node *yaml.Node, unnamed string) (Layer, problem.At[string]) {
	var b layerBlock
	dec.decode(node, &b)
	l := Layer{Name: unnamed}
	if b.Name.IsSet() {
		l.Name = b.Name.Value
		dec.problems = append(dec.problems, checkName(dec.doc.At(node), b.Name, "layer")...)
	}
	dec.unclear = false
	sound := len(dec.problems)
	first := dec.roster(node, b.Roster, Roster{})
	if len(first.Users) == 0 && len(dec.problems) == sound {
		dec.add(dec.doc.At(node).Errorf("layer %q has no users", l.Name).WithHint("such as: users: [ana, bo]"))
	}
	rotates := len(first.Users) > 1 || !first.Rotation.IsZero()
	switch {
	case b.Start.IsSet():
		first.From = dec.instant(b.Start, first.Rotation.Handoff)
	case rotates:
		dec.add(dec.doc.At(node).Errorf("layer %q has no start", l.Name).WithHint("when the first in line takes their first turn, such as start: 2026-01-05"))
	}
	first.Rotation.Anchor = first.From
	l.Rosters = []Roster{first}
	for _, change := range b.Changes {
		l.Rosters = append(l.Rosters, dec.change(change, l.Rosters[len(l.Rosters)-1]))
	}
	return l, b.Name
}

// change decodes what a layer is from an instant on. What it does not mention stays.
func (dec *scheduleDecoder) change(node *yaml.Node, before Roster) Roster {
	var b changeBlock
	dec.decode(node, &b)
	r := dec.roster(node, b.Roster, before)
	switch {
	case !b.EffectiveFrom.IsSet():
		dec.add(dec.doc.At(node).Errorf("this change has no effective_from").WithHint("such as effective_from: 2026-03-02; what was before it stays as it was"))
		r.From = before.From
	default:
		r.From = dec.instant(b.EffectiveFrom, r.Rotation.Handoff)
		if b.EffectiveFrom.IsValid() && !r.From.IsZero() && !r.From.After(before.From) {
			dec.add(b.EffectiveFrom.Place.Errorf("changes must be in the order of time: what stands before this one holds from %s on",
				before.From.Format("2006-01-02T15:04")))
		}
	}
	if b.Roster.Every.IsSet() {
		r.Rotation.Anchor = r.From
	}
	return r
}

// roster decodes what layers and changes have in common, over what was before.
func (dec *scheduleDecoder) roster(node *yaml.Node, b rosterBlock, before Roster) Roster {
	r := before
	if b.Users != nil {
		r.Users = dec.users(b.Users)
	}
	if b.Shadow != nil {
		r.Shadows = dec.names(b.Shadow)
	}
	if b.Restrict != nil {
		var restrict []*yaml.Node
		dec.decode(b.Restrict, &restrict)
		r.Restrict = nil
		times := 0
		for _, n := range restrict {
			r.Restrict = append(r.Restrict, dec.interval(n))
			times += len(r.Restrict[len(r.Restrict)-1].Times)
		}
		if times > maxTimes {
			dec.add(dec.doc.At(b.Restrict).Errorf("restrict names %d times of day: expected %d at most", times, maxTimes))
		}
	}
	if b.Handoff.IsSet() || b.Every.IsSet() {
		r.Rotation = dec.rotation(b)
		dec.unclear = r.Rotation.IsZero()
	} else if len(r.Users) > 1 && r.Rotation.IsZero() && !dec.unclear {
		dec.unclear = true
		dec.add(dec.doc.At(node).Errorf("nothing says when the next user takes over").
			WithHint(`add handoff: "0 9 * * MON" or every: 12h; users who are on call together are a list in the list: users: [[ana, bo]]`))
	}
	return r
}

// What is accepted must be drawn for a year without using up time or memory, and nobody is on call for less than this.
// A turn of more than maxTurn is a slip of the pen.
const (
	minTurn  = 15 * time.Minute
	maxTurn  = 10 * 365 * day
	maxTimes = 100 // of day, that a restriction names
)

func (dec *scheduleDecoder) rotation(b rosterBlock) Rotation {
	switch {
	case b.Handoff.IsSet() && b.Every.IsSet():
		dec.add(b.Every.Place.Errorf("handoff and every exclude each other").WithHint("handoff is a cron expression, every the length of a turn"))
	case b.Handoff.IsSet():
		c, err := ParseCron(b.Handoff.Value)
		if err != nil && b.Handoff.IsValid() {
			p := b.Handoff.Place.Errorf("expected a cron expression such as \"0 9 * * MON\", found %q: %v", b.Handoff.Value, err)
			if fields := strings.Fields(b.Handoff.Value); len(fields) == 5 && fields[4] == "7" {
				p = p.WithHint("Sunday is 0, or SUN")
			}
			dec.add(p)
		}
		if n := c.perDay(); n > int(day/minTurn) {
			dec.add(b.Handoff.Place.Errorf("%q hands over %d times a day: expected %d at most", b.Handoff.Value, n, int(day/minTurn)))
		}
		return Rotation{Handoff: c}
	case b.Every.IsValid() && (b.Every.Value < minTurn || b.Every.Value > maxTurn):
		dec.add(b.Every.Place.Errorf("a turn lasts from %s to %s, found %s", model.Duration(minTurn), model.Duration(maxTurn), model.Duration(b.Every.Value)))
	default:
		return Rotation{Every: b.Every.Value}
	}
	return Rotation{}
}

// users decodes a line: each entry a user, or a list of users who are on call together.
func (dec *scheduleDecoder) users(n *yaml.Node) [][]string {
	var nodes []*yaml.Node
	dec.decode(n, &nodes)
	var line [][]string
	for _, node := range nodes {
		var together problem.Strings
		if !dec.decode(node, &together) {
			continue
		}
		if entry := dec.names(together); len(entry) > 0 {
			line = append(line, entry)
		} else {
			dec.add(dec.doc.At(node).Errorf("expected a user, or a list of users who are on call together, found an empty list").
				WithHint("a turn in which nobody is on call is a restriction: restrict"))
		}
	}
	return line
}

// names decodes users who are named together.
func (dec *scheduleDecoder) names(users problem.Strings) []string {
	var names []string
	for _, u := range users {
		if slices.Contains(names, u.Value) {
			dec.add(u.Place.Errorf("user %q is given twice here", u.Value))
			continue
		}
		dec.refs = append(dec.refs, Ref{Kind: string(TargetUser), Name: u.Value, At: u.Place})
		names = append(names, u.Value)
	}
	return names
}

// interval decodes an interval as Alertmanager writes it in time_intervals.
func (dec *scheduleDecoder) interval(n *yaml.Node) timeinterval.TimeInterval {
	var ti timeinterval.TimeInterval
	if !dec.decode(n, &ti) {
		return ti
	}
	if ti.Location != nil && ti.Location.String() == "Local" { // another zone on another machine
		dec.add(dec.doc.At(n).Errorf("unknown time zone %q", "Local").WithHint("leave location out for the schedule's own"))
	}
	if ti.Times == nil && ti.Weekdays == nil && ti.DaysOfMonth == nil && ti.Months == nil && ti.Years == nil {
		dec.add(dec.doc.At(n).Errorf("this interval limits nothing").WithHint("it needs times, weekdays, days_of_month, months or years"))
	}
	return ti
}

// instantLayouts are how the file writes an instant, in the schedule's zone where it names no offset.
var instantLayouts = []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05"}

// instant decodes an instant. A date without a time of day is that day's first handoff: who hands over at nine
// on Mondays and starts on a Monday means nine o'clock. On a day without one it is midnight.
func (dec *scheduleDecoder) instant(a problem.At[string], handoff Cron) time.Time {
	if !a.IsValid() {
		return time.Time{}
	}
	t, ok := dec.parseInstant(a.Value, handoff)
	switch {
	case !ok:
		dec.add(a.Place.Errorf("expected a date such as 2026-01-05 or a time such as 2026-01-05T09:00, found %q", a.Value))
	// Durations between instants reach 292 years; and what is outside of this is a slip of the pen.
	case t.Year() < 1970 || t.Year() > 2200:
		dec.add(a.Place.Errorf("expected a year from 1970 to 2200, found %q", a.Value))
	default:
		return t
	}
	return time.Time{}
}

func (dec *scheduleDecoder) parseInstant(text string, handoff Cron) (t time.Time, ok bool) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.In(dec.loc), true
	}
	for _, layout := range instantLayouts {
		if w, err := time.Parse(layout, text); err == nil {
			return instantOf(w, dec.loc), true
		}
	}
	w, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, false
	}
	if !handoff.IsZero() {
		if first, ok := handoff.next(w.Add(-time.Minute)); ok && first.Before(w.Add(day)) {
			w = first
		}
	}
	return instantOf(w, dec.loc), true
}
