package store

import (
	"strconv"
	"strings"
)

// holders is the text of n placeholders, counted from first: "$4, $5, $6".
func holders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}

// holders is the same for statements that use each of their arguments once and in order. SQLite looks for the
// name of each argument in the list of all, so that many with names cost the square of their number.
func (d dialect) holders(first, n int) string {
	if d.anonymous {
		return strings.Repeat("?, ", n-1) + "?"
	}
	return holders(first, n)
}

// inserter collects rows of one table and inserts many with one statement, which over a network is the
// difference between seconds and minutes. It belongs to one use case.
type inserter struct {
	t      *tx
	head   string // insert into … values
	tail   string // on conflict …
	width  int
	args   []any
	before *inserter // of the rows that these refer to, which are written first; nil: these refer to none that waits
	wrote  int       // rows inserted by flush so far
}

// insertRows is how many rows go into one statement. Fixed sizes keep the number of prepared statements small.
var insertRows = [...]int{64, 8, 1}

func (t *tx) insert(table string, columns ...string) *inserter {
	return &inserter{
		t:     t,
		head:  "insert into " + table + " (" + strings.Join(columns, ", ") + ") values ",
		width: len(columns),
	}
}

// add takes one row; it is written when there are enough, or by flush. Those that refer to a row that waits wait with
// it, or they would have it written with too few others.
func (b *inserter) add(args ...any) error {
	b.args = append(b.args, args...)
	if len(b.args) < insertRows[0]*b.width || b.before != nil && len(b.before.args) > 0 {
		return nil
	}
	return b.flush()
}

// flush writes the rows that were added.
func (b *inserter) flush() error {
	if b.before != nil && len(b.args) > 0 {
		if err := b.before.flush(); err != nil {
			return err
		}
	}
	args := b.args
	b.args = nil
	for _, n := range insertRows {
		for len(args) >= n*b.width {
			wrote, err := b.t.exec(b.statement(n), args[:n*b.width:n*b.width]...)
			if err != nil {
				return err
			}
			b.wrote += wrote
			args = args[n*b.width:]
		}
	}
	return nil
}

func (b *inserter) statement(rows int) string {
	var s strings.Builder
	s.WriteString(b.head)
	for i := range rows {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteByte('(')
		s.WriteString(b.t.d.holders(1+i*b.width, b.width))
		s.WriteByte(')')
	}
	s.WriteString(b.tail)
	return s.String()
}

// deleteRows deletes the rows of a table whose column has one of the values.
func deleteRows[T any](t *tx, table, column string, values []T) error {
	for _, n := range insertRows {
		for len(values) >= n {
			args := make([]any, n)
			for i, v := range values[:n] {
				args[i] = v
			}
			if err := t.exec1("delete from "+table+" where "+column+" in ("+t.d.holders(1, n)+")", args...); err != nil {
				return err
			}
			values = values[n:]
		}
	}
	return nil
}
