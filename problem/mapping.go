package problem

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) mapping(n *yaml.Node, v reflect.Value) {
	out := reflect.MakeMap(v.Type())
	for _, pair := range d.pairs(n) {
		d.mapEntry(pair, out)
	}
	v.Set(out)
}

func (d *decoder) mapEntry(pair [2]*yaml.Node, out reflect.Value) {
	if isNull(pair[0]) {
		d.emptyPart(pair[0], "key")
		return
	}
	key, value := reflect.New(out.Type().Key()).Elem(), reflect.New(out.Type().Elem()).Elem()
	before := len(d.problems.Errors())
	d.value(pair[0], key)
	if len(d.problems.Errors()) == before {
		d.value(pair[1], value)
		out.SetMapIndex(key, value)
	}
}

// structure decodes a mapping into the fields of a struct.
func (d *decoder) structure(n *yaml.Node, v reflect.Value) {
	fields := map[string]reflect.Value{}
	var names []string
	rest := collectFields(v, fields, &names)
	for _, pair := range d.pairs(n) {
		key := pair[0]
		if key.Kind != yaml.ScalarNode {
			d.errorf(key, "expected a key, found %s", d.found(key))
			continue
		}
		if isNull(key) {
			d.emptyPart(key, "key")
			continue
		}
		if field, ok := fields[key.Value]; ok {
			d.value(pair[1], field)
			continue
		}
		if rest.IsValid() {
			if rest.IsNil() {
				rest.Set(reflect.MakeMap(rest.Type()))
			}
			d.mapEntry(pair, rest)
			continue
		}
		d.unknownKey(key, v, names)
	}
}

func (d *decoder) unknownKey(key *yaml.Node, v reflect.Value, names []string) {
	at := d.doc.KeyAt(key)
	if e, ok := v.Addr().Interface().(KeyExplainer); ok {
		if message, hint := e.ExplainKey(key.Value); message != "" {
			d.add(at.Errorf("%s", message).WithHint("%s", hint))
			return
		}
	}
	d.add(at.Errorf("unknown key %q", key.Value).WithHint("%s", DidYouMean(key.Value, names)))
}

// collectFields maps keys to the fields of v, inline structs included, and returns an inline map if there
// is one.
func collectFields(v reflect.Value, fields map[string]reflect.Value, names *[]string) (rest reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if slices.Contains(strings.Split(options, ","), "inline") {
			if f.Type.Kind() == reflect.Map {
				rest = v.Field(i)
			} else if r := collectFields(v.Field(i), fields, names); r.IsValid() {
				rest = r
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		fields[name] = v.Field(i)
		*names = append(*names, name)
	}
	return rest
}

// pairs returns the keys and values of a mapping: its own, each once, then those that it merges in with <<
// and does not have itself. Keys are never aliases.
func (d *decoder) pairs(n *yaml.Node) [][2]*yaml.Node {
	var out [][2]*yaml.Node
	var merges []*yaml.Node
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		id := fmt.Sprint(key.Kind, key.Value)
		if first, ok := seen[id]; ok {
			d.add(d.doc.At(n.Content[i]).Errorf("the key %q is given twice", key.Value).WithHint("the first one is on line %d", first.Line))
			continue
		}
		seen[id] = key
		out = append(out, [2]*yaml.Node{key, n.Content[i+1]})
	}
	for _, m := range merges {
		for _, pair := range d.merged(m, true) {
			id := fmt.Sprint(pair[0].Kind, pair[0].Value)
			if _, ok := seen[id]; !ok {
				seen[id] = pair[0]
				out = append(out, pair)
			}
		}
	}
	return out
}

// merged returns the pairs of what stands behind a merge key: a mapping, or a list of mappings of which
// the first wins.
func (d *decoder) merged(n *yaml.Node, lists bool) [][2]*yaml.Node {
	source := n
	if d.budget--; d.budget <= 0 || d.active[n] {
		d.errorf(n, "this merge contains itself, or too much")
		return nil
	}
	if n.Kind == yaml.AliasNode {
		source = n.Alias
	}
	d.active[n] = true
	defer delete(d.active, n)
	switch {
	case source.Kind == yaml.MappingNode:
		return d.pairs(source)
	case source.Kind == yaml.SequenceNode && lists:
		var out [][2]*yaml.Node
		for _, c := range source.Content {
			out = append(out, d.merged(c, false)...)
		}
		return out
	}
	d.wrongType(n, "a mapping, or a list of mappings, to merge")
	return nil
}
