package alertmanager

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/config"
	"go.yaml.in/yaml/v3"
	yamlv2 "gopkg.in/yaml.v2"

	"tocsin/problem"
)

// What Alertmanager's parser says has a line at best. This file finds the place in the tree.

// at is the place of the node at a path of keys and indexes, or of as much of it as there is.
func (t *tree) at(path ...any) problem.Place { return t.doc.At(t.node(path...)) }

func (t *tree) node(path ...any) *yaml.Node {
	n := t.root
	for _, step := range path {
		var next *yaml.Node
		switch s := step.(type) {
		case string:
			next = child(n, s)
		case int:
			if list := items(n); s < len(list) {
				next = list[s]
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// problems turns an error of the parser into problems at their places.
func (t *tree) problems(err error, routed bool) problem.List {
	if errors.Is(err, errTooLarge) {
		return problem.List{t.doc.At(nil).Errorf("%v", err)}
	}
	if typed, ok := errors.AsType[*yamlv2.TypeError](err); ok {
		var list problem.List
		for _, text := range typed.Errors {
			list = append(list, t.typeProblem(text))
		}
		return list
	}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if p, ok := t.known(message); ok {
		return problem.List{p}
	}
	n := t.blame(err.Error(), routed)
	return problem.List{t.doc.At(n).Errorf("%s", t.withoutSecret(n, message))}
}

// withoutSecret is a message about a node that may hold a secret.
func (t *tree) withoutSecret(n *yaml.Node, message string) string {
	if n == nil || !strings.Contains(t.doc.At(n).Source, "<secret>") {
		return message
	}
	for _, value := range scalars(n, nil) {
		if len(value) >= minSecret && strings.Contains(message, value) {
			return "invalid value"
		}
	}
	return message
}

func scalars(n *yaml.Node, to []string) []string {
	if n = followed(n); n.Kind == yaml.ScalarNode {
		return append(to, n.Value)
	}
	for _, c := range n.Content {
		to = scalars(c, to)
	}
	return to
}

var (
	onLine    = regexp.MustCompile(`^line (\d+): `)
	noField   = regexp.MustCompile(`^field (.+) not found in type (\S+)$`)
	wrongType = regexp.MustCompile("(?s)^cannot unmarshal (\\S+)(?: `(.*)`)? into (\\S+)$")
	setTwice  = regexp.MustCompile(`^field (.+) already set in type \S+$`)
	twice     = regexp.MustCompile(`^key (".*") already set in (map|type \S+)$`)
)

// typeProblem places one line of a TypeError.
func (t *tree) typeProblem(text string) problem.Problem {
	line := 0
	if m := onLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	switch {
	case noField.MatchString(text):
		name := noField.FindStringSubmatch(text)[1]
		if in, key := t.keyOn(line, name, t.root, nil); key != nil {
			return t.doc.KeyAt(key).Errorf("unknown key %q", name).WithHint("%s", problem.DidYouMean(name, in))
		}
		return t.on(line, "", 0).Errorf("unknown key %q", name)
	case wrongType.MatchString(text):
		m := wrongType.FindStringSubmatch(text)
		// The value is left out: the place shows it, unless it is a secret.
		return t.on(line, strings.TrimSuffix(m[2], "..."), kinds[m[1]]).Errorf("expected %s, found %s", plainType(m[3]), plainType(m[1]))
	case twice.MatchString(text):
		name, _ := strconv.Unquote(twice.FindStringSubmatch(text)[1])
		return t.on(line, name, 0).Errorf("the key %q is given twice", name)
	case setTwice.MatchString(text):
		name := setTwice.FindStringSubmatch(text)[1]
		return t.on(line, name, 0).Errorf("the key %q is given twice", name)
	}
	return t.on(line, "", 0).Errorf("%s", text)
}

// plainType is a type of the parser's in people's words.
func plainType(name string) string {
	switch name {
	case "!!str", "string":
		return "a string"
	case "!!int", "int", "int64", "uint", "uint64", "int32", "uint32":
		return "a whole number"
	case "!!float", "float64":
		return "a number"
	case "!!bool", "bool":
		return "true or false"
	case "!!seq":
		return "a list"
	case "!!map":
		return "a mapping"
	case "!!null":
		return "nothing"
	}
	switch {
	case strings.HasPrefix(name, "[]"):
		return "a list"
	case strings.HasPrefix(name, "map["), strings.Contains(name, "plain"):
		return "a mapping"
	}
	return "a mapping or value of " + strings.TrimLeft(name, "*")
}

// kinds are the parser's names of what is no scalar.
var kinds = map[string]yaml.Kind{"!!seq": yaml.SequenceNode, "!!map": yaml.MappingNode}

// on is the first node on a line, or the first there that begins with value, or is of a kind (0: any).
func (t *tree) on(line int, value string, kind yaml.Kind) problem.Place {
	var first, found *yaml.Node
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Line == line && found == nil && kind != 0 && n.Kind == kind && n != t.root {
			found = n
		}
		if n.Line == line && n.Kind != yaml.MappingNode {
			if first == nil || n.Column < first.Column {
				first = n
			}
			if found == nil && value != "" && strings.HasPrefix(n.Value, value) {
				found = n
			}
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(t.root)
	switch {
	case found != nil:
		return t.doc.At(found)
	case first != nil:
		return t.doc.At(first)
	}
	return t.doc.At(nil)
}

// keyOn finds a key by its line and name, and the names that its mapping may have.
func (t *tree) keyOn(line int, name string, n *yaml.Node, path []string) (known []string, key *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if k := n.Content[i]; k.Line == line && k.Value == name {
				return keysAt(path), k
			}
			if known, key = t.keyOn(line, name, n.Content[i+1], append(path, n.Content[i].Value)); key != nil {
				return known, key
			}
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if known, key = t.keyOn(line, name, c, append(path, "")); key != nil {
				return known, key
			}
		}
	}
	return nil, nil
}

// keysAt are the keys that Alertmanager knows at a path. Empty where its types do not say.
func keysAt(path []string) []string {
	typ := reflect.TypeFor[config.Config]()
	for _, step := range path {
		typ = elem(typ)
		switch typ.Kind() {
		case reflect.Slice, reflect.Map:
			typ = typ.Elem()
		case reflect.Struct:
			f, ok := fieldOf(typ, step)
			if !ok {
				return nil
			}
			typ = f
		default:
			return nil
		}
	}
	if typ = elem(typ); typ.Kind() != reflect.Struct {
		return nil
	}
	keys := fieldNames(typ)
	if len(path) == 2 && path[0] == "receivers" {
		keys = append(keys, ReceiverKeys...)
	}
	return keys
}

func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// yamlKey is the key of a field. inline fields lend their keys to the struct.
func yamlKey(f reflect.StructField) (key string, inline bool) {
	key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key, strings.Contains(options, "inline")
}

func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		k, inline := yamlKey(f)
		if k == key && key != "" {
			return f.Type, true
		}
		if inline && elem(f.Type).Kind() == reflect.Struct {
			if found, ok := fieldOf(elem(f.Type), key); ok {
				return found, true
			}
		}
	}
	return nil, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		k, inline := yamlKey(f)
		switch {
		case inline && elem(f.Type).Kind() == reflect.Struct:
			names = append(names, fieldNames(elem(f.Type))...)
		case k != "" && k != "-":
			names = append(names, k)
		}
	}
	return names
}

var (
	noReceiver = regexp.MustCompile(`^undefined receiver (".*") used in route$`)
	noInterval = regexp.MustCompile(`^undefined time interval (".*") used in route$`)
	sameName   = regexp.MustCompile(`^(notification config name|mute time interval|time interval) (".*") is not unique$`)
)

// known places the errors about names, which say which name it is.
func (t *tree) known(message string) (problem.Problem, bool) {
	if m := noReceiver.FindStringSubmatch(message); m != nil {
		name, _ := strconv.Unquote(m[1])
		if n := t.inRoutes(t.find("route"), name, "receiver"); n != nil {
			return t.doc.At(n).Errorf("unknown receiver %q", name).WithHint("%s", problem.DidYouMean(name, t.names("receivers"))), true
		}
	}
	if m := noInterval.FindStringSubmatch(message); m != nil {
		name, _ := strconv.Unquote(m[1])
		if n := t.inRoutes(t.find("route"), name, "active_time_intervals", "mute_time_intervals"); n != nil {
			return t.doc.At(n).Errorf("unknown time interval %q", name).
				WithHint("%s", problem.DidYouMean(name, append(t.names("time_intervals"), t.names("mute_time_intervals")...))), true
		}
	}
	if m := sameName.FindStringSubmatch(message); m != nil {
		name, _ := strconv.Unquote(m[2])
		if first, second := t.second(name); second != nil {
			what := strings.Replace(m[1], "notification config name", "receiver", 1)
			return t.doc.At(second).Errorf("%s %q is defined twice", what, name).WithHint("the first one is on line %d", first.Line), true
		}
	}
	for text, keys := range map[string][]string{
		"cannot have continue in root route":                 {"continue"},
		"root route must not have any matchers":              {"matchers", "match", "match_re"},
		"root route must not have any mute time intervals":   {"mute_time_intervals"},
		"root route must not have any active time intervals": {"active_time_intervals"},
		"root route must specify a default receiver":         {"receiver"},
		"no route provided in config":                        {},
		"no routes provided":                                 {},
	} {
		if text != message {
			continue
		}
		route := followed(t.find("route"))
		if route == nil || route.ShortTag() == "!!null" {
			return t.at("route").Errorf("there is no route: alerts would go nowhere").WithHint("such as route: {receiver: …}"), true
		}
		at := t.doc.At(route)
		for _, key := range keys {
			if n := keyOf(route, key); n != route {
				at = t.doc.At(n)
			}
		}
		return at.Errorf("%s", message), true
	}
	return problem.Problem{}, false
}

// names are those of a section's entries.
func (t *tree) names(section string) []string {
	var names []string
	for _, n := range items(t.find(section)) {
		if name := child(n, "name"); name != nil {
			names = append(names, name.Value)
		}
	}
	return names
}

// second finds the two definitions of a name.
func (t *tree) second(name string) (first, second *yaml.Node) {
	for _, sections := range [][]string{{"receivers"}, {"mute_time_intervals", "time_intervals"}} {
		first = nil
		for _, section := range sections {
			for _, n := range items(t.find(section)) {
				if at := child(n, "name"); at == nil || at.Value != name {
					continue
				} else if first == nil {
					first = at
				} else {
					return first, at
				}
			}
		}
	}
	return nil, nil
}

// inRoutes finds a name under one of the keys in a tree of routes.
func (t *tree) inRoutes(route *yaml.Node, name string, keys ...string) *yaml.Node {
	if route = followed(route); route == nil || route.Kind != yaml.MappingNode {
		return nil
	}
	for _, key := range keys {
		v := child(route, key)
		for _, n := range append(items(v), v) {
			if n != nil && n.Kind == yaml.ScalarNode && n.Value == name {
				return n
			}
		}
	}
	for _, c := range items(child(route, "routes")) {
		if n := t.inRoutes(c, name, keys...); n != nil {
			return n
		}
	}
	return nil
}

// templateProblem places an error in a template file.
func (t *tree) templateProblem(c *Config, err error) problem.Problem {
	if m := inTemplate.FindStringSubmatch(err.Error()); m != nil {
		for _, file := range c.templates {
			if strings.HasSuffix(file, "/"+m[1]) || file == m[1] {
				line, _ := strconv.Atoi(m[2])
				return problem.Problem{File: file, Line: line, Column: 1, Message: fmt.Sprintf("the template does not parse: %s", m[3])}
			}
		}
	}
	return t.at("templates").Errorf("the templates do not parse: %v", err)
}

var inTemplate = regexp.MustCompile(`^(?:html/)?(?:template|text/template): ([^:]+):(\d+): (.*)$`)
