package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is as deep as encoding/json follows a document.
const maxNesting = 10000

// jsonText is a JSON document that is read by hand, as strictly as encoding/json does: where it is no JSON,
// its methods panic with a syntaxError.
type jsonText struct {
	s    string
	i    int
	text []byte // a string with escapes, while it is decoded
}

// syntaxError says where a text is no JSON.
type syntaxError string

func (j *jsonText) fail(format string, args ...any) {
	panic(syntaxError(fmt.Sprintf(format, args...)))
}

// peek returns the next byte, which must be there.
func (j *jsonText) peek() byte {
	if j.i >= len(j.s) {
		j.fail("unexpected end of JSON input")
	}
	return j.s[j.i]
}

func (j *jsonText) space() {
	for j.i < len(j.s) && (j.s[j.i] == ' ' || j.s[j.i] == '\n' || j.s[j.i] == '\t' || j.s[j.i] == '\r') {
		j.i++
	}
}

// unexpected fails at the next byte.
func (j *jsonText) unexpected(looking string) {
	j.fail("unexpected %s at byte %d, looking for %s", strconv.QuoteRune(rune(j.peek())), j.i, looking)
}

// first and next go to an element of a list or an object; false: it is over.
func (j *jsonText) first(end byte) bool {
	if j.space(); j.peek() == end {
		j.i++
		return false
	}
	return true
}

func (j *jsonText) next(end byte) bool {
	j.space()
	switch j.peek() {
	case end:
		j.i++
		return false
	case ',':
		j.i++
		return true
	}
	j.unexpected("a comma or " + strconv.QuoteRune(rune(end)))
	return false
}

// key reads the name of a member and the colon after it.
func (j *jsonText) key() string {
	j.space()
	if j.peek() != '"' {
		j.unexpected("the name of a field")
	}
	name := j.string()
	if j.space(); j.peek() != ':' {
		j.unexpected("a colon")
	}
	j.i++
	return name
}

func (j *jsonText) literal(word string) {
	if !strings.HasPrefix(j.s[j.i:], word) {
		j.fail("invalid text at byte %d, looking for a value", j.i)
	}
	j.i += len(word)
}

// skip reads a value of whatever type that stands depth deep.
func (j *jsonText) skip(depth int) {
	j.space()
	switch c := j.peek(); {
	case (c == '{' || c == '[') && depth >= maxNesting:
		j.fail("it is nested deeper than %d", maxNesting)
	case c == '{':
		j.i++
		for more := j.first('}'); more; more = j.next('}') {
			j.key()
			j.skip(depth + 1)
		}
	case c == '[':
		j.i++
		for more := j.first(']'); more; more = j.next(']') {
			j.skip(depth + 1)
		}
	case c == '"':
		j.string()
	case c == 't':
		j.literal("true")
	case c == 'f':
		j.literal("false")
	case c == 'n':
		j.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		j.number()
	default:
		j.unexpected("a value")
	}
}

func (j *jsonText) number() {
	if j.peek() == '-' {
		j.i++
	}
	if j.peek() == '0' {
		j.i++
	} else {
		j.digits()
	}
	if j.i < len(j.s) && j.s[j.i] == '.' {
		j.i++
		j.digits()
	}
	if j.i < len(j.s) && j.s[j.i]|0x20 == 'e' {
		j.i++
		if c := j.peek(); c == '+' || c == '-' {
			j.i++
		}
		j.digits()
	}
}

// digits reads at least one.
func (j *jsonText) digits() {
	if c := j.peek(); c < '0' || c > '9' {
		j.unexpected("a digit")
	}
	for j.i < len(j.s) && j.s[j.i] >= '0' && j.s[j.i] <= '9' {
		j.i++
	}
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// string reads a string, and returns what it stands for: valid UTF-8.
func (j *jsonText) string() string {
	j.i++
	begin := j.i
	i := begin
	for i < len(j.s) && plain[j.s[i]] {
		i++
	}
	j.i = i
	if i < len(j.s) && j.s[i] == '"' {
		j.i++
		return j.s[begin:i]
	}
	j.text = append(j.text[:0], j.s[begin:i]...)
	for {
		switch c := j.peek(); {
		case c == '"':
			j.i++
			return string(j.text)
		case c == '\\':
			j.escape()
		case c < ' ':
			j.fail("a control character at byte %d, in a string", j.i)
		case c < utf8.RuneSelf:
			j.text = append(j.text, c)
			j.i++
		default:
			r, size := utf8.DecodeRuneInString(j.s[j.i:])
			j.text = utf8.AppendRune(j.text, r) // what is no UTF-8 becomes U+FFFD, byte by byte
			j.i += size
		}
	}
}

func (j *jsonText) escape() {
	j.i++
	c := j.peek()
	j.i++
	switch c {
	case '"', '\\', '/':
		j.text = append(j.text, c)
	case 'b':
		j.text = append(j.text, '\b')
	case 'f':
		j.text = append(j.text, '\f')
	case 'n':
		j.text = append(j.text, '\n')
	case 'r':
		j.text = append(j.text, '\r')
	case 't':
		j.text = append(j.text, '\t')
	case 'u':
		r := j.hex()
		if utf16.IsSurrogate(r) {
			r = j.secondHalf(r)
		}
		j.text = utf8.AppendRune(j.text, r)
	default:
		j.fail("an unknown escape at byte %d, in a string", j.i-1)
	}
}

// secondHalf reads the other half of a pair of surrogates. One that stands alone is U+FFFD.
func (j *jsonText) secondHalf(r rune) rune {
	if j.i+1 < len(j.s) && j.s[j.i] == '\\' && j.s[j.i+1] == 'u' {
		here := j.i
		j.i += 2
		if whole := utf16.DecodeRune(r, j.hex()); whole != utf8.RuneError {
			return whole
		}
		j.i = here
	}
	return utf8.RuneError
}

func (j *jsonText) hex() rune {
	if len(j.s)-j.i < 4 {
		j.fail("unexpected end of JSON input")
	}
	n, err := strconv.ParseUint(j.s[j.i:j.i+4], 16, 32)
	if err != nil || n > math.MaxUint16 {
		j.fail("invalid \\u escape at byte %d", j.i)
	}
	j.i += 4
	return rune(n)
}
