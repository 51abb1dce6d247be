package alertmanager

import (
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Alertmanager's parser knows its own keys only, and names places by their line. So what it is given is the
// file's tree without what is ours, written down again so that every value stands on the line that it has in
// the file: as flow collections, in which line breaks are free. Plain scalars stay plain, because a parser
// gives them their type by how they look; whatever a flow collection could misread is quoted. Aliases are
// written out.

// errTooLarge refuses files whose aliases multiply.
var errTooLarge = errors.New("aliases make the document too large")

// emitBudget bounds the nodes written, for each node of the file, and at least.
const (
	emitFactor = 10
	emitLeast  = 10_000
)

// keep says what of a tree is to be written: false leaves out a key with its value.
type keep func(path []string, key *yaml.Node) bool

type emitter struct {
	b       strings.Builder
	line    int
	budget  int
	keep    keep
	without map[*yaml.Node]bool // items of lists that are left out
	path    []string            // keys, and "" for a list's items
	active  map[*yaml.Node]bool
}

// emit writes the mapping n, whose keys k may leave out, without some items of lists, and then the pairs of
// extra, each "key : value" in flow style.
func emit(n *yaml.Node, k keep, without map[*yaml.Node]bool, extra ...string) (string, error) {
	e := &emitter{line: 1, budget: emitLeast + emitFactor*count(n), keep: k, without: without, active: map[*yaml.Node]bool{}}
	if n.Kind != yaml.MappingNode {
		err := e.node(n)
		return e.b.String(), err
	}
	e.b.WriteByte('{')
	if err := e.pairs(n); err != nil {
		return "", err
	}
	for _, x := range extra {
		e.b.WriteString(x + ", ")
	}
	e.b.WriteString("}\n")
	return e.b.String(), nil
}

func count(n *yaml.Node) int {
	c := 1
	for _, child := range n.Content {
		c += count(child)
	}
	return c
}

// toLine moves on to the line that n has in the file. Written out aliases can be beyond it already.
func (e *emitter) toLine(n *yaml.Node) {
	if e.line >= n.Line {
		return
	}
	for ; e.line < n.Line; e.line++ {
		e.b.WriteByte('\n')
	}
	e.b.WriteByte(' ') // what begins a line could end the document
}

func (e *emitter) node(n *yaml.Node) error {
	if e.budget--; e.budget < 0 {
		return errTooLarge
	}
	switch n.Kind {
	case yaml.AliasNode:
		if e.active[n.Alias] {
			return errTooLarge
		}
		e.active[n.Alias] = true
		defer delete(e.active, n.Alias)
		e.toLine(n)
		return e.node(n.Alias) // stands before its alias in the file: no line break is written
	case yaml.MappingNode:
		e.toLine(n)
		e.tag(n)
		e.b.WriteByte('{')
		if err := e.pairs(n); err != nil {
			return err
		}
		e.b.WriteByte('}')
	case yaml.SequenceNode:
		e.toLine(n)
		e.tag(n)
		e.b.WriteByte('[')
		e.path = append(e.path, "")
		for _, c := range n.Content {
			if e.without[c] {
				continue
			}
			if err := e.node(c); err != nil {
				return err
			}
			e.b.WriteString(", ")
		}
		e.path = e.path[:len(e.path)-1]
		e.b.WriteByte(']')
	case yaml.ScalarNode:
		e.toLine(n)
		e.tag(n)
		e.scalar(n)
	}
	return nil
}

func (e *emitter) pairs(n *yaml.Node) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if e.keep != nil && !e.keep(e.path, key) {
			continue
		}
		if key.Kind != yaml.ScalarNode {
			e.b.WriteString("? ")
		}
		if err := e.node(key); err != nil {
			return err
		}
		e.b.WriteString(" : ")
		e.path = append(e.path, key.Value)
		err := e.node(value)
		e.path = e.path[:len(e.path)-1]
		if err != nil {
			return err
		}
		e.b.WriteString(", ")
	}
	return nil
}

// tag writes a tag that the file has.
func (e *emitter) tag(n *yaml.Node) {
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "" {
		e.b.WriteString(n.Tag + " ")
	}
}

func (e *emitter) scalar(n *yaml.Node) {
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case !quoted && n.Value == "" && n.Style&yaml.TaggedStyle == 0:
		e.b.WriteString("null") // an empty plain scalar is one
	case !quoted && plainInFlow(n.Value):
		e.b.WriteString(n.Value)
	default:
		e.b.WriteString(quote(n.Value))
	}
}

// plainInFlow reports whether a plain scalar is to be written as it is: one that may be a number, a boolean, a
// date or nothing. Whatever holds other characters is text in any case, and safer within quotes.
func plainInFlow(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("+-._~<: ", r) {
			return false
		}
	}
	return !strings.Contains(s, ": ") && !strings.HasSuffix(s, ":") && !strings.HasPrefix(s, ":") && s != "-"
}

// quote writes a double-quoted scalar on one line. Bytes that are no UTF-8 cannot come from a YAML file.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			b.WriteString(`\U` + leftPad(strconv.FormatInt(int64(r), 16)))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func leftPad(hex string) string { return strings.Repeat("0", 8-len(hex)) + hex }
