package alertmanager

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/template"
	"go.yaml.in/yaml/v3"

	"tocsin/oncall"
	"tocsin/problem"
)

// Sections are the top-level keys that Alertmanager defines.
var Sections = []string{"global", "route", "inhibit_rules", "receivers", "templates", "mute_time_intervals", "time_intervals",
	"tracing", "event_recorder"}

// ReceiverKeys are the keys of a receiver that only tocsin knows.
var ReceiverKeys = []string{"page_configs", "twilio_configs", "ntfy_configs", "escalation", "pagerduty_webhook", "opsgenie_webhook"}

// Nobody is the receiver without integrations where a route leads that had to be made up.
const Nobody = "nobody"

// Config is the part of a configuration that Alertmanager defines: checked, immutable, opaque to all others.
type Config struct {
	config    *config.Config // with file names resolved
	routed    bool           // the file has a route: config.Route was not made up to satisfy the parser
	templates []string       // files that the patterns match
	receivers []oncall.Receiver
	routing   oncall.Routing
}

// Routing is what the dispatcher follows. Its Root is nil where the file has no route.
func (c *Config) Routing() oncall.Routing { return c.routing }

// Receivers are those of the file in its order, with Name, Integrations and Labels. What is not
// Alertmanager's (page_configs, escalation) is not known here.
func (c *Config) Receivers() []oncall.Receiver { return c.receivers }

// TemplateFiles are the files that the section templates matches, in order.
func (c *Config) TemplateFiles() []string { return c.templates }

// Decode reads Alertmanager's sections of a document with Alertmanager's own parser, and accepts what that
// accepts: problems are its words, at their places. routeRequired says that the file has nothing else that
// would take an alert. The Config is nil where there are errors, and where the file has none of the sections.
func Decode(d *problem.Document, routeRequired bool) (*Config, problem.List) {
	defaultMode()
	t := &tree{doc: d, root: d.Root}
	if !slices.ContainsFunc(Sections, t.has) && !routeRequired {
		return nil, nil
	}
	c := &Config{routed: t.has("route") || routeRequired}
	loaded, problems := t.load(c.routed)
	if loaded == nil {
		return nil, problems
	}
	c.config = loaded
	problems = append(problems, t.unusable(loaded)...)
	if len(problems.Errors()) > 0 {
		return nil, problems
	}
	resolve(loaded, d.Dir())
	problems = append(problems, t.readTemplates(c)...)
	problems = append(problems, t.notYet()...)
	c.receivers, c.routing = receiversOf(loaded), routingOf(loaded, c.routed)
	if len(problems.Errors()) > 0 {
		return nil, problems
	}
	return c, problems
}

// tree is the document as Alertmanager's parser is to see it.
type tree struct {
	doc  *problem.Document
	root *yaml.Node
}

func (t *tree) has(section string) bool { return t.find(section) != nil }

// find returns the value at a path of keys and, for lists, of nothing: the first item. nil: there is none.
func (t *tree) find(path ...string) *yaml.Node {
	n := t.root
	for _, key := range path {
		if n = child(n, key); n == nil {
			return nil
		}
	}
	return n
}

// child returns the value of a key of a mapping. nil: there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n = followed(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// keyOf returns the node of a key of a mapping, the mapping where it has none.
func keyOf(n *yaml.Node, key string) *yaml.Node {
	n = followed(n)
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i]
		}
	}
	return n
}

func followed(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func items(n *yaml.Node) []*yaml.Node {
	if n = followed(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// theirs keeps what Alertmanager knows, and leaves out what is ours.
func theirs(path []string, key *yaml.Node) bool {
	switch {
	case len(path) == 0:
		return slices.Contains(Sections, key.Value)
	case len(path) == 2 && path[0] == "receivers":
		return !slices.Contains(ReceiverKeys, key.Value)
	}
	return true
}

// load parses the tree. Where no route is needed and there is none, one is made up.
func (t *tree) load(routed bool) (*config.Config, problem.List) {
	c, err := t.parse(routed, nil)
	if err != nil {
		return nil, t.problems(err, routed)
	}
	if !routed {
		name := Nobody
		for slices.ContainsFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == name }) {
			name += "-" // a receiver that has the name is somebody
		}
		c.Route = &config.Route{Receiver: name}
		c.Receivers = slices.DeleteFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == standIn })
	}
	return c, nil
}

// standIn is the receiver that satisfies the parser where there is no route. It holds a character that nobody types.
const standIn = "\u0001"

// parse gives Alertmanager's parser the tree without the nodes left out.
func (t *tree) parse(routed bool, without map[*yaml.Node]bool) (*config.Config, error) {
	var extra []string
	if !routed {
		extra = append(extra, "route : {receiver : "+quote(standIn)+"}")
	}
	root := t.root
	if !routed {
		root = t.withReceiver()
	}
	text, err := emit(root, func(path []string, key *yaml.Node) bool { return theirs(path, key) && !without[key] }, without, extra...)
	if err != nil {
		return nil, err
	}
	return loadText(text)
}

// loadText is Alertmanager's parser, which panics over some files that it should refuse.
func loadText(text string) (c *config.Config, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, errUnfinished
		}
	}()
	return config.Load(text)
}

// errUnfinished is what is said of files over which Alertmanager's parser panics.
var errUnfinished = errors.New("something that this needs is missing: Alertmanager itself would crash over it")

// withReceiver is the root with one more receiver, the stand-in.
func (t *tree) withReceiver() *yaml.Node {
	root := *t.root
	root.Content = slices.Clone(root.Content)
	one := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: "name"}, {Kind: yaml.ScalarNode, Value: standIn, Style: yaml.DoubleQuotedStyle}}}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if list := followed(root.Content[i+1]); root.Content[i].Value == "receivers" && list.Kind == yaml.SequenceNode {
			more := *list
			more.Content = append(slices.Clone(list.Content), one)
			root.Content[i+1] = &more
			return &root
		} else if root.Content[i].Value == "receivers" {
			if list.ShortTag() == "!!null" {
				root.Content[i+1] = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{one}}
			}
			return &root // else the parser says what is wrong with it
		}
	}
	root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "receivers"},
		&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{one}})
	return &root
}

// unusable refuses what Alertmanager's check lets pass and its start does not survive: empty entries of receivers.
func (t *tree) unusable(c *config.Config) problem.List {
	var problems problem.List
	for i := range c.Receivers {
		for _, list := range integrationLists {
			entries := listOf(&c.Receivers[i], list)
			for j := range entries.Len() {
				if entries.Index(j).IsNil() {
					problems = append(problems, t.at("receivers", i, list, j).Errorf("this entry of %s is empty", list))
				}
			}
		}
	}
	return problems
}

// notYet warns of what Alertmanager does and tocsin does not.
func (t *tree) notYet() problem.List {
	var problems problem.List
	for section, what := range map[string]string{"tracing": "nothing is traced by tocsin yet", "event_recorder": "tocsin records no events there"} {
		if t.has(section) {
			problems = append(problems, t.doc.At(keyOf(t.root, section)).Warnf("%s", what).
				WithHint("alerts, incidents and notifications are not touched by it"))
		}
	}
	return problems
}

// readTemplates parses the template files.
func (t *tree) readTemplates(c *Config) problem.List {
	var problems problem.List
	for i, pattern := range c.config.Templates {
		files, err := filepath.Glob(pattern)
		switch {
		case err != nil:
			problems = append(problems, t.at("templates", i).Errorf("%q is no valid pattern", pattern).
				WithHint("* matches within a name, ? one character, [a-z] one of a range"))
		case len(files) == 0:
			problems = append(problems, t.at("templates", i).Warnf("no file matches %s", pattern))
		}
		c.templates = append(c.templates, files...)
	}
	if len(problems.Errors()) > 0 {
		return problems
	}
	if _, err := template.FromGlobs(c.config.Templates); err != nil {
		problems = append(problems, t.templateProblem(c, err))
	}
	return append(problems, t.templatesOfReceivers(c)...)
}
