// Package problem is what is wrong with a file that a person wrote, as values: where, what was expected,
// and the nearest thing that would be right. It also holds the strict YAML decoding that finds such
// problems, so that every block of configuration is decoded alike, in the package that uses it.
//
// It knows nothing of what the files mean. Start reading at Document.
package problem

import "fmt"

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
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	s += ": " + p.Message
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// List is problems in order of place.
type List []Problem
