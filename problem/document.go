package problem

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is one YAML document of one file, with what is needed to say where something is wrong in it and
// to reach what it refers to. A caller may replace Read and Getenv before decoding. It is for one goroutine.
type Document struct {
	File string
	Root *yaml.Node // the document's value; nil for an empty document, or null

	Read   func(file string) ([]byte, error) // reads files that the document names; os.ReadFile by default
	Getenv func(key string) string           // os.Getenv by default

	lines   []string
	masked  map[int]int    // line → column from which it holds a secret
	shown   map[int]string // line → its text as it may be shown; one copy for all places in it
	nodes   int            // in the tree, aliases not followed
	lenient bool           // empty list items and keys are dropped with a warning, as yaml does
}

// Parse reads a file that must hold one YAML document, or nothing. The document is usable (for At) even
// where there are problems, but its Root is nil then.
func Parse(file string, source []byte) (*Document, List) {
	return parse(file, source, false)
}

// ParseFirst is Parse for formats whose established readers take the first document and pass over the
// rest, and over empty list items: both are warnings.
func ParseFirst(file string, source []byte) (*Document, List) {
	return parse(file, source, true)
}

func parse(file string, source []byte, lenient bool) (*Document, List) {
	d := &Document{File: file, Read: os.ReadFile, Getenv: os.Getenv, lenient: lenient,
		lines: strings.Split(string(source), "\n"), masked: map[int]int{}, shown: map[int]string{}}
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	var root yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return d, nil
	} else if err != nil {
		return d, List{d.syntaxProblem(source, err)}
	}
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 && !isNull(root.Content[0]) {
		d.Root = root.Content[0]
		d.maskSecrets()
	}
	var second yaml.Node
	if err := decoder.Decode(&second); errors.Is(err, io.EOF) {
		return d, nil
	} else if err != nil && !lenient {
		d.Root = nil
		return d, List{d.syntaxProblem(source, err)}
	}
	const message = "the file holds more than one YAML document"
	if lenient {
		return d, List{d.place(second.Line, 1).Warnf(message).WithHint("only the first is read; move the others to files of their own")}
	}
	p := d.place(second.Line, 1).Errorf(message).WithHint(`remove the line "---" and what follows, or move it to a file of its own`)
	d.Root = nil
	return d, List{p}
}

// Dir is the folder that relative names in the document start from.
func (d *Document) Dir() string { return filepath.Dir(d.File) }

// Path resolves a file name found in the document.
func (d *Document) Path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.Dir(), name)
}

// At returns the place of a node; nil means the whole file.
func (d *Document) At(n *yaml.Node) Place {
	if n == nil {
		return Place{File: d.File}
	}
	return d.place(n.Line, n.Column)
}

// KeyAt is the place of a key, without the value: nobody knows what a key that nobody knows holds.
func (d *Document) KeyAt(key *yaml.Node) Place {
	p := d.At(key)
	line := []rune(p.Source)
	from := p.Column - 1 + len([]rune(key.Value))
	for i := from; i >= 0 && i < len(line); i++ {
		if line[i] == ':' {
			p.Source = string(line[:i+1])
			if strings.TrimSpace(string(line[i+1:])) != "" {
				p.Source += " …"
			}
			break
		}
	}
	return p
}

// Offset returns the place that is some characters of text into a scalar's value: where a parser of that
// text found something. It follows quotes, blocks and folding; where it cannot, it is the scalar's start.
func (d *Document) Offset(n *yaml.Node, bytesIn int) Place {
	if n == nil || n.Kind != yaml.ScalarNode || bytesIn < 0 || bytesIn > len(n.Value) || n.Line < 1 || n.Line > len(d.lines) {
		return d.At(n)
	}
	line, column := n.Line, n.Column
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		line, column = line+1, 1
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		column++
	}
	w := walker{lines: d.lines, line: line, column: column}
	for i, r := range n.Value {
		if i >= bytesIn {
			break
		}
		if !isBlank(r) && !w.take(r) {
			return d.At(n)
		}
	}
	// At the end of the text the place is right behind it, not at whatever comes next in the file.
	if !isBlankText(n.Value[bytesIn:]) {
		w.skipBlanks()
	} else if isBlankText(n.Value) {
		return d.At(n)
	}
	if w.line > len(d.lines) {
		return d.At(n)
	}
	return d.place(w.line, w.column)
}

// walker moves through source lines past one visible character after the other.
type walker struct {
	lines        []string
	line, column int // from 1
	text         []rune
	textLine     int // the line that text is of
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

func isBlankText(s string) bool { return strings.TrimLeft(s, " \t\n\r") == "" }

// peek returns the character at the walker, '\n' at the end of a line, 0 at the end of the file.
func (w *walker) peek() rune {
	if w.line > len(w.lines) {
		return 0
	}
	if w.textLine != w.line {
		w.text, w.textLine = []rune(w.lines[w.line-1]), w.line
	}
	if w.column <= len(w.text) {
		return w.text[w.column-1]
	}
	return '\n'
}

func (w *walker) skipBlanks() {
	for r := w.peek(); isBlank(r); r = w.peek() {
		if r == '\n' {
			if w.line == len(w.lines) {
				return
			}
			w.line, w.column = w.line+1, 1
			continue
		}
		w.column++
	}
}

func (w *walker) take(want rune) bool {
	w.skipBlanks()
	if w.peek() != want {
		return false
	}
	w.column++
	return true
}

func (d *Document) place(line, column int) Place {
	if line < 1 {
		return Place{File: d.File}
	}
	p := Place{File: d.File, Line: line, Column: max(1, column)}
	if line <= len(d.lines) {
		p.Source = d.sourceLine(line)
	}
	return p
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxProblem places an error of the YAML parser, which knows at most a line, and that one not well.
func (d *Document) syntaxProblem(source []byte, err error) Problem {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	if anchor, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name, _, _ := strings.Cut(anchor, "'")
		return d.find("*"+name, Problem{File: d.File, Message: "unknown anchor " + strconv.Quote(name)})
	}
	if strings.HasPrefix(message, "did not find") || line == 0 {
		line = d.lastGoodLine(source) + 1
	}
	line = max(1, min(line, len(d.lines)))
	if strings.Contains(message, "tab character") {
		line = d.tabFrom(line) // the parser says where the block began
	}
	text := d.lines[line-1]
	column := 1 + len([]rune(text)) - len([]rune(strings.TrimLeft(text, " ")))
	p := d.place(line, column).Errorf("not valid YAML: %s", message)
	if strings.HasPrefix(text[column-1:], "\t") {
		return p.WithHint("YAML does not allow tabs for indentation: use spaces")
	}
	switch {
	case strings.HasPrefix(message, "mapping values are not allowed"):
		return p.WithHint("check the indentation, and quote a value that contains \": \"")
	case strings.HasPrefix(message, "found character that cannot start"):
		return p.WithHint("quote a value that starts with a special character such as @, ` or %%")
	case strings.HasPrefix(message, "did not find expected"):
		return p.WithHint("check the indentation here and on the lines above")
	}
	return p
}

// tabFrom returns the first line from a line on whose indentation holds a tab, or that line itself.
func (d *Document) tabFrom(line int) int {
	for i := line - 1; i < len(d.lines); i++ {
		if strings.HasPrefix(strings.TrimLeft(d.lines[i], " "), "\t") {
			return i + 1
		}
	}
	return line
}

func (d *Document) find(text string, p Problem) Problem {
	for i, l := range d.lines {
		if at := strings.Index(l, text); at >= 0 {
			return d.place(i+1, 1+len([]rune(l[:at]))).Errorf("%s", p.Message)
		}
	}
	return p
}

// lastGoodLine returns the length, in lines, of the longest beginning of the file that is valid YAML. It
// gives up (0) where that would cost too much.
func (d *Document) lastGoodLine(source []byte) int {
	budget := 4 << 20 // bytes parsed
	end := len(source)
	for n := len(d.lines) - 1; n > 0; n-- {
		end -= len(d.lines[n]) + 1
		if budget -= end; budget < 0 {
			return 0
		}
		var v yaml.Node
		if yaml.Unmarshal(source[:end], &v) == nil {
			return n
		}
	}
	return 0
}
