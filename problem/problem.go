// Package problem is what is wrong with a file that a person wrote, as values: where, what was expected,
// and the nearest thing that would be right. It also holds the strict YAML decoding that finds such
// problems, so that every block of configuration is decoded alike, in the package that uses it.
//
// It knows nothing of what the files mean. Start reading at Document.
package problem

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing wrong at one place. Line and Column count from 1; 0 means the whole file.
type Problem struct {
	File    string
	Line    int
	Column  int
	Message string // what is wrong and what was expected: `unknown key "recievers"`
	Hint    string // the fix, if one is known: `did you mean "receivers"?`
	Source  string // the line's text, for the caret
	Warning bool   // not an error, unless the caller is strict
}

// Error is the problem on one line, without the caret.
func (p Problem) Error() string {
	s := p.head()
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

func (p Problem) head() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	s += ": "
	if p.Warning {
		s += "warning: "
	}
	return s + p.Message
}

// WithHint returns the problem with a hint. An empty hint changes nothing.
func (p Problem) WithHint(format string, args ...any) Problem {
	if hint := fmt.Sprintf(format, args...); hint != "" {
		p.Hint = hint
	}
	return p
}

// Place is where a problem would be reported. It is a value that outlives its Document, so that names can be
// checked after all files were read. The zero Place is nowhere.
type Place struct {
	File   string
	Line   int // from 1; 0: the whole file
	Column int // from 1, in characters
	Source string
}

// Errorf returns an error at the place. The message must not contain secrets.
func (p Place) Errorf(format string, args ...any) Problem {
	return Problem{File: p.File, Line: p.Line, Column: p.Column, Source: p.Source, Message: fmt.Sprintf(format, args...)}
}

// Warnf returns a warning at the place.
func (p Place) Warnf(format string, args ...any) Problem {
	w := p.Errorf(format, args...)
	w.Warning = true
	return w
}

// List is problems in order of place.
type List []Problem

// Errors returns those that are no warnings.
func (l List) Errors() List { return l.filter(false) }

// Warnings returns those that are warnings.
func (l List) Warnings() List { return l.filter(true) }

func (l List) filter(warning bool) List {
	var out List
	for _, p := range l {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	return out
}

// Err returns nil when there are no errors, and otherwise one error that holds all of them, a line each.
func (l List) Err() error {
	errs := l.Errors()
	if len(errs) == 0 {
		return nil
	}
	lines := make([]string, len(errs))
	for i, p := range errs {
		lines[i] = p.Error()
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n"))
}

// Sort orders by line and column within each file; files keep the order in which they first appear.
// Repeats of one message at one place are removed.
func (l List) Sort() List {
	order := map[string]int{}
	for _, p := range l {
		if _, ok := order[p.File]; !ok {
			order[p.File] = len(order)
		}
	}
	slices.SortStableFunc(l, func(a, b Problem) int {
		if a.File != b.File {
			return order[a.File] - order[b.File]
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.CompactFunc(l, func(a, b Problem) bool { return a == b })
}

// Print writes every problem with its line of source, a caret below the place, and the hint. It is plain
// text: what a file holds of control characters does not reach the terminal.
func (l List) Print(w io.Writer) error {
	var b strings.Builder
	for _, p := range l {
		b.WriteString(printable(p.head()) + "\n")
		if p.Line > 0 && strings.TrimSpace(p.Source) != "" {
			line, caret := window(p.Source, p.Column)
			b.WriteString("    " + line + "\n    " + caret + "^\n")
		}
		if p.Hint != "" {
			b.WriteString("    " + printable(p.Hint) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// windowWidth is how much of a line is shown, in characters.
const windowWidth = 120

// window returns the part of a line around a column, and the blanks that put a caret below that column.
func window(source string, column int) (line, caret string) {
	text := []rune(strings.TrimRight(source, " \t\r\n"))
	at := max(0, min(column-1, len(text)))
	if len(text) > windowWidth {
		from := max(0, min(at-windowWidth/2, len(text)-windowWidth))
		text = text[from : from+windowWidth]
		at -= from
	}
	blanks := slices.Clone(text[:at])
	for i, r := range blanks {
		if r != '\t' {
			blanks[i] = ' '
		}
	}
	return printable(string(text)), string(blanks)
}

// printable replaces what could steer a terminal. Tabs stay, as the caret's line repeats them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
