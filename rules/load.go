package rules

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"tocsin/oncall"
	"tocsin/problem"
)

// Load reads rule files, in this order. The Set is to be used only where the list holds no errors. Whether
// the escalations that rules name exist is for the caller to check, by Set.Refs.
func Load(files []string) (Set, problem.List) { return Read(files, os.ReadFile) }

// Check reads one rule file by itself: it asks for no route and no default escalation, and does not mind
// escalations that it cannot know.
func Check(file string) (Set, problem.List) { return Load([]string{file}) }

// Read is Load with another way to read files.
func Read(files []string, read func(file string) ([]byte, error)) (Set, problem.List) {
	var set Set
	var problems problem.List
	for _, file := range files {
		source, err := read(file)
		if err != nil {
			if pathError, ok := errors.AsType[*fs.PathError](err); ok {
				err = pathError.Err
			}
			problems = append(problems, problem.Place{File: file}.Errorf("cannot read the rule file: %v", err))
			continue
		}
		one, l := parse(file, source)
		set.Groups = append(set.Groups, one.Groups...)
		set.Escalations = append(set.Escalations, one.Escalations...)
		set.EscalationAt = append(set.EscalationAt, one.EscalationAt...)
		set.Refs = append(set.Refs, one.Refs...)
		problems = append(problems, l...)
	}
	identify(set.Groups)
	return set, problems.Sort()
}

type fileBlock struct {
	Groups      []*yaml.Node `yaml:"groups"`
	Escalations *yaml.Node   `yaml:"escalations"`
}

type groupBlock struct {
	Name         problem.At[string]                        `yaml:"name"`
	Interval     model.Duration                            `yaml:"interval"`
	QueryOffset  model.Duration                            `yaml:"query_offset"`
	Limit        int                                       `yaml:"limit"`
	UnknownAfter problem.At[time.Duration]                 `yaml:"unknown_after"`
	Prometheus   problem.At[string]                        `yaml:"prometheus"`
	Headers      map[string]problem.At[string]             `yaml:"headers"`
	Labels       map[problem.At[string]]problem.At[string] `yaml:"labels"`
	Rules        []*yaml.Node                              `yaml:"rules"`
}

// file is one rule file being decoded.
type file struct {
	doc      *problem.Document
	set      Set
	problems problem.List
}

func (f *file) add(p problem.Problem) { f.problems = append(f.problems, p) }

func parse(name string, source []byte) (Set, problem.List) {
	doc, problems := problem.ParseFirst(name, source)
	f := &file{doc: doc, problems: problems}
	if doc.Root == nil {
		if len(problems) == 0 {
			f.add(nothing(doc))
		}
		return f.set, f.problems
	}
	var b fileBlock
	f.problems = append(f.problems, doc.Decode(doc.Root, &b)...)
	if b.Escalations != nil {
		escalations, refs, l := oncall.DecodeEscalations(doc, b.Escalations)
		for _, e := range escalations {
			f.set.Escalations = append(f.set.Escalations, e.Value)
			f.set.EscalationAt = append(f.set.EscalationAt, e.Place)
		}
		f.set.Refs, f.problems = append(f.set.Refs, refs...), append(f.problems, l...)
	}
	first := map[string]int{}
	for _, n := range b.Groups {
		f.group(n, first)
	}
	if f.set.Rules() == 0 && len(f.set.Escalations) == 0 && len(f.problems) == 0 {
		f.add(nothing(doc))
	}
	return f.set, f.problems
}

// nothing warns of a file that is valid and pages nobody: more often a copy that broke off than a wish. It
// is no error, since Prometheus takes such a file.
func nothing(doc *problem.Document) problem.Problem {
	return doc.At(nil).Warnf("this file holds no rules").WithHint("alerts of rules that were here before resolve")
}

// group decodes one group. first has the lines of the names seen in the file.
func (f *file) group(n *yaml.Node, first map[string]int) {
	var b groupBlock
	f.problems = append(f.problems, f.doc.Decode(n, &b)...)
	name := b.Name.Value
	if line, ok := first[name]; name == "" {
		f.add(f.doc.At(n).Errorf("this group has no name"))
	} else if ok {
		f.add(b.Name.Place.Errorf("group %q is given twice in this file", name).WithHint("the first one is on line %d", line))
	} else {
		first[name] = b.Name.Place.Line
	}
	if b.UnknownAfter.IsValid() && b.UnknownAfter.Value <= 0 {
		f.add(b.UnknownAfter.Place.Errorf("unknown_after must be above 0"))
	}
	g := Group{Name: name, File: f.doc.File, Interval: time.Duration(b.Interval), QueryOffset: time.Duration(b.QueryOffset),
		Limit: max(0, b.Limit), UnknownAfter: b.UnknownAfter.Value, Labels: labels.FromMap(values(b.Labels)), Prometheus: b.Prometheus.Value}
	if b.Prometheus.IsValid() {
		if g.Prometheus == "" {
			f.add(b.Prometheus.Place.Errorf("the backend's name is empty").WithHint("leave it out for the default one"))
		}
		f.set.Refs = append(f.set.Refs, oncall.Ref{Kind: RefBackend, Name: g.Prometheus, At: b.Prometheus.Place})
	}
	if len(b.Headers) > 0 {
		var l problem.List
		g.Headers, l = problem.Headers(b.Headers)
		f.problems = append(f.problems, l...)
	}
	f.checkLabels(b.Labels)
	f.rules(&g, &b)
	recorded := slices.IndexFunc(g.Rules, func(r Rule) bool { return r.Record == "" }) < 0 && len(g.Rules) == len(b.Rules)
	if len(b.Rules) == 0 || !recorded {
		f.groupTemplates(b.Labels)
	}
	f.set.Groups = append(f.set.Groups, g)
}

// rules decodes the rules of a group that is otherwise complete.
func (f *file) rules(g *Group, b *groupBlock) {
	lines := map[string]int{}
	for _, n := range b.Rules {
		r, ok := f.rule(n, b.Labels)
		if !ok {
			continue
		}
		r.Hash = hashRule(g, &r)
		if line, ok := lines[sameness(&r)]; ok {
			f.add(f.doc.At(n).Warnf("%s %q is given twice in this group, with equal expression and labels", kind(&r), r.Name()).
				WithHint("the first one is on line %d", line))
		} else {
			lines[sameness(&r)] = r.Line
		}
		g.Rules = append(g.Rules, r)
	}
}

// groupTemplates looks at labels that become those of alerts. Prometheus does not, so it is no error.
func (f *file) groupTemplates(m map[problem.At[string]]problem.At[string]) {
	for key, value := range m {
		if err := checkTemplate("group", value.Value); err != nil {
			f.add(key.Place.Warnf("label %q is no valid template, which every alert of the group will run into: %s", key.Value, err.message))
		}
	}
}

func kind(r *Rule) string {
	if r.Record != "" {
		return "recording rule"
	}
	return "alert"
}

func values(m map[problem.At[string]]problem.At[string]) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k.Value] = v.Value
	}
	return out
}
