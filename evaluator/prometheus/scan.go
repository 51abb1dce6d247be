package prometheus

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
)

// envelope is how every successful vector of a Prometheus begins. What differs in one byte is read by
// encoding/json.
const envelope = `{"status":"success","data":{"resultType":"vector","result":[`

const (
	windowBytes = 16 << 10 // first size of a scanner's window; it grows to the longest sample
	maxWindow   = 1 << 20  // a larger window, or one with more samples than maxPooled, is not kept
	maxPooled   = 1 << 16
)

// scanner reads an answer written as Prometheus writes it: compact, metric before value, nothing escaped.
// It is many times faster than encoding/json, copies only label sets that the query did not return before,
// and holds no more of an answer than its window. From the first byte that it does not expect on, the rest
// is left to encoding/json, which decides what is wrong with it, if anything. A fuzz test holds the two
// against each other.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int   // buf[pos:end] was read and not yet understood
	err      error // why there is no more to read

	lb      labels.ScratchBuilder
	current labels.Labels // of the sample being read; in memory of lb
	samples []evaluator.Sample
	known   known
}

// known are the label sets that the query returned last, mostly in the order in which they come again.
type known struct {
	samples []evaluator.Sample
	next    int            // where the next one is expected
	index   map[uint64]int // by hash, once the order was found to be another
}

var scanners = sync.Pool{New: func() any {
	return &scanner{buf: make([]byte, windowBytes), lb: labels.NewScratchBuilder(16)}
}}

// scan is decode for an expression that is asked again and again. reuse may be nil.
func scan(r io.Reader, reuse *evaluator.Reuse) (evaluator.Answer, error) {
	s := scanners.Get().(*scanner)
	defer s.release()
	s.r, s.pos, s.end, s.err = r, 0, 0, nil
	if reuse != nil {
		s.known = known{samples: reuse.Samples}
	}
	ans, err := s.answer()
	switch {
	case err != nil:
		return evaluator.Answer{}, err
	case reuse == nil || ans.Partial != "":
		ans.Samples = slices.Clone(ans.Samples)
	default:
		reuse.Samples = keep(reuse.Samples, ans.Samples)
		ans.Samples = reuse.Samples
	}
	return ans, nil
}

// keep copies the samples over the old ones, in memory of about the right size.
func keep(old, samples []evaluator.Sample) []evaluator.Sample {
	if len(samples) > cap(old) || cap(old) > 4*len(samples)+64 {
		return slices.Clone(samples)
	}
	clear(old[:cap(old)]) // those beyond the new length must not hold on to their label sets
	return append(old[:0], samples...)
}

func (s *scanner) release() {
	clear(s.samples)
	s.samples = s.samples[:0]
	s.known, s.current, s.r = known{}, labels.EmptyLabels(), nil
	s.lb.Reset()
	if len(s.buf) <= maxWindow && cap(s.samples) <= maxPooled {
		scanners.Put(s)
	}
}

func (s *scanner) answer() (evaluator.Answer, error) {
	if !s.literal(envelope) {
		return newDecoder(s.rest()).answer()
	}
	for {
		if s.next(']') {
			return s.tail()
		}
		more := len(s.samples) > 0
		if len(s.samples) == MaxSeries && s.next(',') {
			return evaluator.Answer{}, errTooMany()
		}
		if !s.sample(more) {
			return s.slow(more)
		}
	}
}

// tail reads the end.
func (s *scanner) tail() (evaluator.Answer, error) {
	if !s.literal("]}}") {
		return s.slow(len(s.samples) > 0)
	}
	for {
		if len(bytes.TrimLeft(s.buf[s.pos:s.end], " \t\r\n")) > 0 {
			return evaluator.Answer{}, errFollows
		}
		s.pos = s.end
		if !s.fill(1) {
			break
		}
	}
	if !errors.Is(s.err, io.EOF) {
		return evaluator.Answer{}, plain(s.err)
	}
	return evaluator.Answer{Samples: s.samples}, nil
}

// placeholder stands for the samples that the scanner has read, in front of what encoding/json reads.
const placeholder = `{"metric":{},"value":[0,"0"]}`

// slow lets encoding/json read on: the same envelope, a placeholder where there are samples before, so that
// what follows is judged as what follows a sample, and the rest.
func (s *scanner) slow(more bool) (evaluator.Answer, error) {
	before := envelope
	skip := 0
	if more {
		before += placeholder
		skip = 1
	}
	d := newDecoder(io.MultiReader(strings.NewReader(before), s.rest()))
	d.before = len(s.samples) - skip
	ans, err := d.answer()
	if err != nil {
		return evaluator.Answer{}, err
	}
	for i := range ans.Samples[skip:] {
		smp := ans.Samples[skip+i]
		if ls, ok := s.known.find(smp.Metric); ok {
			smp.Metric = ls
		}
		s.samples = append(s.samples, smp)
	}
	ans.Samples = s.samples
	return ans, nil
}

// rest is all that was not understood.
func (s *scanner) rest() io.Reader {
	return io.MultiReader(bytes.NewReader(s.buf[s.pos:s.end]), s.r)
}

// fill reads until n unread bytes are there, and reports whether they are.
func (s *scanner) fill(n int) bool {
	if s.pos > 0 {
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	if n > len(s.buf) {
		s.buf = append(s.buf, make([]byte, max(n, 2*len(s.buf))-len(s.buf))...)
	}
	for idle := 0; s.end < n && s.err == nil && idle < 100; idle++ {
		var got int
		got, s.err = s.r.Read(s.buf[s.end:])
		s.end += got
		if got > 0 {
			idle = 0
		}
	}
	return s.end >= n
}

// literal reads text, or nothing.
func (s *scanner) literal(text string) bool {
	if s.end-s.pos < len(text) && !s.fill(len(text)) {
		return false
	}
	if string(s.buf[s.pos:s.pos+len(text)]) != text {
		return false
	}
	s.pos += len(text)
	return true
}

// next reports whether c comes next.
func (s *scanner) next(c byte) bool {
	return (s.pos < s.end || s.fill(1)) && s.buf[s.pos] == c
}

// sample reads one sample, or nothing. more says that others come before it.
func (s *scanner) sample(more bool) bool {
	for {
		c := cursor{b: s.buf[s.pos:s.end]}
		if v, ok := c.sample(more, &s.lb); ok {
			s.lb.Overwrite(&s.current)
			if c.unsorted {
				if _, dup := s.current.HasDuplicateLabelNames(); dup {
					return false
				}
			}
			ls, old := s.known.find(s.current)
			if !old {
				ls = s.lb.Labels()
			}
			s.samples = append(s.samples, evaluator.Sample{Metric: ls, Value: v})
			s.pos += c.i
			return true
		}
		// Twice as much each time: a sample that comes in drops is not read anew for every drop.
		if !c.short || len(c.b) >= maxWindow || !s.fill(max(2*len(c.b), 256)) && s.end == len(c.b) {
			return false
		}
	}
}

// find returns the label set that equals ls, which may be in memory that will be written to.
func (k *known) find(ls labels.Labels) (labels.Labels, bool) {
	const ahead = 4 // a few series may have gone without making the order another one
	for i := k.next; i < min(k.next+ahead, len(k.samples)); i++ {
		if labels.Equal(k.samples[i].Metric, ls) {
			k.next = i + 1
			return k.samples[i].Metric, true
		}
	}
	if len(k.samples) == 0 {
		return ls, false
	}
	if k.index == nil {
		k.index = make(map[uint64]int, len(k.samples))
		for i, smp := range k.samples {
			k.index[smp.Metric.Hash()] = i
		}
	}
	i, ok := k.index[ls.Hash()]
	if !ok || !labels.Equal(k.samples[i].Metric, ls) {
		return ls, false
	}
	k.next = i + 1
	return k.samples[i].Metric, true
}

// cursor walks over the bytes of one sample.
type cursor struct {
	b     []byte
	i     int
	short bool // the bytes end before the sample does

	unsorted bool // its labels do not come in the order of their names, or some name twice
}

// sample reads one sample and leaves its labels, sorted, in lb. They are in the memory of the cursor's bytes.
func (c *cursor) sample(more bool, lb *labels.ScratchBuilder) (float64, bool) {
	if more && !c.literal(",") || !c.literal(`{"metric":{`) || !c.labels(lb) || !c.literal(`,"value":[`) ||
		!c.number() || !c.literal(",") {
		return 0, false
	}
	text, ok := c.quoted()
	if !ok || !c.literal("]}") {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}

func (c *cursor) labels(lb *labels.ScratchBuilder) bool {
	lb.Reset()
	last, sorted := "", true
	for c.i < len(c.b) && c.b[c.i] != '}' {
		if last != "" && !c.literal(",") {
			return false
		}
		name, ok := c.quoted()
		if !ok || name == "" || !c.literal(":") {
			return false
		}
		value, ok := c.quoted()
		if !ok || value == "" {
			return false
		}
		lb.Add(name, value)
		sorted = sorted && last < name
		last = name
	}
	if !sorted {
		lb.Sort() // and two labels of one name stand side by side, which the caller looks for
	}
	c.unsorted = !sorted
	return c.literal("}")
}

func (c *cursor) literal(text string) bool {
	rest := c.b[c.i:]
	if len(rest) < len(text) {
		c.short = text[:len(rest)] == string(rest)
		return false
	}
	if string(rest[:len(text)]) != text {
		return false
	}
	c.i += len(text)
	return true
}

// number reads a JSON number in its plain form.
func (c *cursor) number() bool {
	start := c.i
	dots := 0
	for ; c.i < len(c.b); c.i++ {
		switch d := c.b[c.i]; {
		case d == '.' && c.i > start && dots == 0:
			dots++
		case d < '0' || d > '9':
			n := c.b[start:c.i]
			return len(n) > 0 && n[len(n)-1] != '.' && (n[0] != '0' || len(n) == 1 || n[1] == '.')
		}
	}
	c.short = true
	return false
}

// quoted reads a string without escapes. It is in the memory of the cursor's bytes.
func (c *cursor) quoted() (string, bool) {
	if c.i >= len(c.b) || c.b[c.i] != '"' {
		c.short = c.i >= len(c.b)
		return "", false
	}
	text := c.b[c.i+1:]
	var bits byte
	for i, d := range text {
		if d == '"' {
			c.i += i + 2
			text = text[:i:i]
			return unsafe.String(unsafe.SliceData(text), len(text)), bits < utf8.RuneSelf || utf8.Valid(text)
		}
		if d < ' ' || d == '\\' {
			return "", false
		}
		bits |= d
	}
	c.short = true
	return "", false
}
