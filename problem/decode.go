package problem

import (
	"errors"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// At is a value with its place, for fields that are checked after decoding. The zero At was not in the
// file.
type At[T any] struct {
	Value T
	Place Place
	bad   bool
}

// IsSet reports whether the file had a value here (null is none).
func (a At[T]) IsSet() bool { return a.Place.Line > 0 }

// IsValid reports whether the value is in the file and was decoded without a problem: only then is it worth
// checking further.
func (a At[T]) IsValid() bool { return a.IsSet() && !a.bad }

func (a *At[T]) locate(p Place) any {
	a.Place = p
	return &a.Value
}

func (a *At[T]) spoil() { a.bad = true }

// located is any At.
type located interface {
	locate(p Place) (value any)
	spoil()
}

// Strings is a string or a list of strings.
type Strings []At[string]

// KeyExplainer is implemented by structs that know more about some keys than that they are unknown: why they are
// refused, and what to write instead. An empty message means that the key is simply unknown.
type KeyExplainer interface {
	ExplainKey(key string) (message, hint string)
}

// Decode fills into, a pointer, from a node of the document, strictly: unknown and repeated keys and wrong
// types are problems, each at its place, and decoding goes on after each. Struct fields follow yaml tags,
// inline included. Null leaves a field as it was. Values of type At keep their place, *yaml.Node takes the
// node itself (aliases resolved), durations are written as Prometheus writes them (1d, 90s, 1m30s).
// Types with an UnmarshalYAML of their own decide for themselves; their errors are placed at their node.
func (d *Document) Decode(n *yaml.Node, into any) List {
	dec := &decoder{doc: d, budget: 10*d.nodes + 10_000, active: map[*yaml.Node]bool{}}
	if n != nil {
		dec.value(n, reflect.ValueOf(into).Elem())
	}
	return dec.problems
}

type decoder struct {
	doc      *Document
	problems List
	budget   int                 // nodes still to be visited: aliases can make a small file huge
	active   map[*yaml.Node]bool // aliases being followed
}

var (
	nodeType          = reflect.TypeFor[*yaml.Node]()
	stringsType       = reflect.TypeFor[Strings]()
	durationType      = reflect.TypeFor[time.Duration]()
	modelDurationType = reflect.TypeFor[model.Duration]()
)

type obsoleteUnmarshaler interface {
	UnmarshalYAML(unmarshal func(any) error) error
}

func (d *decoder) add(p Problem) { d.problems = append(d.problems, p) }

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.add(d.doc.At(n).Errorf(format, args...))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// value decodes one node into v, which is addressable.
func (d *decoder) value(n *yaml.Node, v reflect.Value) {
	if d.budget--; d.budget <= 0 {
		if d.budget == 0 {
			d.errorf(n, "aliases make the document too large")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		if d.active[n] {
			d.errorf(n, "the alias %q contains itself", n.Value)
			return
		}
		d.active[n] = true
		d.value(n.Alias, v)
		delete(d.active, n)
		return
	}
	if isNull(n) {
		return
	}
	switch v.Type() {
	case nodeType:
		v.Set(reflect.ValueOf(n))
		return
	case stringsType:
		d.strings(n, v)
		return
	case durationType, modelDurationType:
		d.duration(n, v)
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem())
		return
	}
	switch target := v.Addr().Interface().(type) {
	case located:
		before := len(d.problems.Errors())
		d.value(n, reflect.ValueOf(target.locate(d.doc.At(n))).Elem())
		if len(d.problems.Errors()) > before {
			target.spoil()
		}
	case yaml.Unmarshaler:
		d.delegated(n, func() error { return target.UnmarshalYAML(n) })
	case obsoleteUnmarshaler:
		d.delegated(n, func() error { return target.UnmarshalYAML(d.inner(n)) })
	default:
		d.plain(n, v)
	}
}

var errInner = errors.New("reported already")

// inner is what an UnmarshalYAML calls back to decode its plain self: strict and placed, like all else.
func (d *decoder) inner(n *yaml.Node) func(any) error {
	return func(into any) error {
		v := reflect.ValueOf(into)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			return n.Decode(into)
		}
		before := len(d.problems.Errors())
		d.value(n, v.Elem())
		if len(d.problems.Errors()) > before {
			return errInner
		}
		return nil
	}
}

// delegated runs a type's own decoding. Its error is not added where the plain decoding inside it has already
// reported something. Errors of net/url repeat the URL, which may hold a password.
func (d *decoder) delegated(n *yaml.Node, unmarshal func() error) {
	before := len(d.problems.Errors())
	err := unmarshal()
	if err == nil || len(d.problems.Errors()) > before {
		return
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		d.errorf(n, "expected a URL such as http://127.0.0.1:9090")
		return
	}
	if d.doc.hidden(n) {
		d.errorf(n, "invalid value")
		return
	}
	d.errorf(n, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
}

func (d *decoder) plain(n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if d.expectKind(n, yaml.MappingNode, "a mapping of keys to values") {
			d.structure(n, v)
		}
	case reflect.Map:
		if d.expectKind(n, yaml.MappingNode, "a mapping of names to values") {
			d.mapping(n, v)
		}
	case reflect.Slice:
		if d.expectKind(n, yaml.SequenceNode, "a list") {
			d.list(n, v)
		}
	default:
		expected := scalarNames[v.Kind()]
		if expected == "" {
			expected = "a value"
		}
		if d.expectKind(n, yaml.ScalarNode, expected) && n.Decode(v.Addr().Interface()) != nil {
			d.wrongType(n, expected)
		}
	}
}

var scalarNames = map[reflect.Kind]string{
	reflect.String: "a string", reflect.Bool: "true or false",
	reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Int32: "a whole number",
	reflect.Uint: "a whole number from 0", reflect.Uint64: "a whole number from 0", reflect.Uint32: "a whole number from 0",
	reflect.Float64: "a number", reflect.Float32: "a number",
}

func (d *decoder) expectKind(n *yaml.Node, kind yaml.Kind, expected string) bool {
	if n.Kind != kind {
		d.wrongType(n, expected)
	}
	return n.Kind == kind
}

func (d *decoder) wrongType(n *yaml.Node, expected string) {
	p := d.doc.At(n).Errorf("expected %s, found %s", expected, d.found(n))
	if at := max(0, n.Column-1); n.Kind == yaml.MappingNode && n.Line > 0 && at < len(p.Source) && strings.HasPrefix(p.Source[at:], "{{") {
		p = p.WithHint("YAML takes {{ … }} for a mapping: put the text into quotes")
	}
	d.add(p)
}

// found describes what stands at a node, for "expected …, found …".
func (d *decoder) found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if d.doc.hidden(n) {
		return "something else"
	}
	const shown = 40
	if r := []rune(n.Value); len(r) > shown {
		return strconv.Quote(string(r[:shown]) + "…")
	}
	return strconv.Quote(n.Value)
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value) {
	const expected = "a duration such as 30s"
	if !d.expectKind(n, yaml.ScalarNode, expected) {
		return
	}
	parsed, err := model.ParseDuration(n.Value)
	if err == nil {
		v.SetInt(int64(parsed))
		return
	}
	p := d.doc.At(n).Errorf("expected %s, found %s", expected, d.found(n))
	if _, err := strconv.ParseFloat(n.Value, 64); err == nil {
		p = p.WithHint("did you mean %q? a duration needs a unit: ms, s, m, h, d, w or y", n.Value+"s")
	}
	d.add(p)
}

func (d *decoder) strings(n *yaml.Node, v reflect.Value) {
	var out Strings
	switch n.Kind {
	case yaml.SequenceNode:
		d.value(n, reflect.ValueOf((*[]At[string])(&out)).Elem())
	case yaml.ScalarNode:
		var one At[string]
		d.value(n, reflect.ValueOf(&one).Elem())
		out = Strings{one}
	default:
		d.wrongType(n, "a string or a list of strings")
	}
	v.Set(reflect.ValueOf(out))
}

func (d *decoder) list(n *yaml.Node, v reflect.Value) {
	out := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), 1024))
	for _, c := range n.Content {
		resolved := c
		if c.Kind == yaml.AliasNode {
			resolved = c.Alias
		}
		if isNull(resolved) {
			d.emptyPart(c, "list item")
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(c, item)
		out = reflect.Append(out, item)
	}
	v.Set(out)
}

// emptyPart reports a list item or a key that is null.
func (d *decoder) emptyPart(n *yaml.Node, what string) {
	if d.doc.lenient {
		d.add(d.doc.At(n).Warnf("an empty %s is passed over", what))
		return
	}
	d.errorf(n, "empty %s", what)
}
