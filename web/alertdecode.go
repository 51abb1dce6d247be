package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// maxText bounds one name or value: a label set cannot hold a longer one.
const maxText = 1<<24 - 1

// posted is what a body asks for. Either refusal or alerts is set.
type posted struct {
	alerts  []oncall.PostedAlert // the valid ones
	invalid []string             // what is wrong with the others, in their order
}

// refusal is why a body is not taken at all, in the terms of Alertmanager's API: it answers 400 to what it cannot
// decode (code 400), and 422 to what does not agree with its model (codes from 600).
type refusal struct {
	code    int
	message string
}

// Codes of refusals, as Alertmanager's runtime has them beside those of HTTP.
const (
	codeNotParsed = 400
	codeFormat    = 601
	codeRequired  = 602
)

// alertDecoder reads the body of a POST of alerts: what encoding/json makes of it for Alertmanager's models, bytes
// that are no UTF-8, fields given twice and in other case included, without reflection and with few allocations.
// The text after the first JSON value is not looked at, as there.
type alertDecoder struct {
	jsonText
	err string // the first value of the wrong type; reading goes on, since the syntax comes first

	now     time.Time
	resolve time.Duration
	mode    oncall.MatcherMode

	// Of the alert at hand. The strings are pieces of the body.
	labels, annotations pairs
	starts, ends        time.Time
	generator           string

	builder labels.ScratchBuilder
	lastURL string // of the alert before: all alerts of a rule share it
}

// pairs are the members of an object of strings.
type pairs struct {
	set  bool // it was there, and not null
	list []pair
}

type pair struct{ name, value string }

// decode reads the alerts in body.
func (d *alertDecoder) decode(body string) (p posted, refused *refusal) {
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(syntaxError)
			if !ok {
				panic(v)
			}
			p, refused = posted{}, &refusal{codeNotParsed, fmt.Sprintf("parsing alerts body failed, because %s", string(e))}
		}
	}()
	d.s, d.i, d.err = body, 0, ""
	var mismatch *refusal
	switch d.space(); {
	case d.i == len(d.s):
		return p, &refusal{codeRequired, "alerts in body is required"}
	case d.s[d.i] == 'n':
		d.literal("null")
	case d.s[d.i] != '[':
		d.skip(0)
		d.wrong("the body is to be a list of alerts")
	default:
		p, mismatch = d.list()
	}
	if d.err != "" {
		return posted{}, &refusal{codeNotParsed, fmt.Sprintf("parsing alerts body failed, because %s", d.err)}
	}
	if mismatch != nil {
		return posted{}, mismatch
	}
	return p, nil
}

// list reads the elements. The first that does not agree with the model is kept: what cannot be read at all
// goes before it.
func (d *alertDecoder) list() (p posted, mismatch *refusal) {
	d.i++
	for n, more := 0, d.first(']'); more; n, more = n+1, d.next(']') {
		switch d.space(); d.peek() {
		case '{':
			d.alert(n)
			if mismatch == nil {
				mismatch = d.disagrees(n)
			}
		default:
			d.skip(1)
			d.wrong(fmt.Sprintf("%d is no object", n))
		}
		if d.err != "" || mismatch != nil {
			continue // nothing of this body will be taken
		}
		a, invalid := d.finish()
		if invalid != "" {
			p.invalid = append(p.invalid, fmt.Sprintf("%d.%s", n, invalid))
			continue
		}
		p.alerts = append(p.alerts, a)
	}
	return p, mismatch
}

// alert reads one object.
func (d *alertDecoder) alert(n int) {
	d.labels.reset()
	d.annotations.reset()
	d.starts, d.ends = time.Time{}, time.Time{}
	d.generator = ""
	d.i++
	for more := d.first('}'); more; more = d.next('}') {
		switch name := d.key(); {
		case is(name, "labels"):
			d.object(&d.labels, n, "labels")
		case is(name, "annotations"):
			d.object(&d.annotations, n, "annotations")
		case is(name, "startsAt"):
			d.instant(&d.starts, n, "startsAt")
		case is(name, "endsAt"):
			d.instant(&d.ends, n, "endsAt")
		case is(name, "generatorURL"):
			if s, ok := d.stringOrNull(n, "generatorURL"); ok {
				d.generator = s
			}
		default:
			d.skip(2)
		}
	}
}

// is compares a field's name as encoding/json does.
func is(name, field string) bool {
	return name == field || len(name) >= len(field) && strings.EqualFold(name, field)
}

func (p *pairs) reset() { p.set, p.list = false, p.list[:0] }

// object reads an object of strings. One that is there twice is read into the same map, as encoding/json does.
func (d *alertDecoder) object(p *pairs, n int, field string) {
	d.space()
	switch d.peek() {
	case 'n':
		d.literal("null")
		p.reset()
		return
	case '{':
	default:
		d.skip(2)
		d.wrong(fmt.Sprintf("%d.%s is to be an object of strings", n, field))
		return
	}
	p.set = true
	d.i++
	for more := d.first('}'); more; more = d.next('}') {
		name := d.key()
		d.space()
		switch d.peek() {
		case '"':
			p.list = append(p.list, pair{name, d.string()})
		case 'n': // the zero value of a string
			d.literal("null")
			p.list = append(p.list, pair{name, ""})
		default:
			d.skip(3)
			d.wrong(fmt.Sprintf("%d.%s: the value of %q is no string", n, field, shortened(name)))
		}
	}
}

// sorted sorts the pairs by name; of those that have the same the last one stays.
func (p *pairs) sorted() []pair {
	byName := func(a, b pair) int { return strings.Compare(a.name, b.name) }
	for i := 1; i < len(p.list); i++ {
		if byName(p.list[i-1], p.list[i]) < 0 {
			continue // clients write maps, and those are sorted
		}
		slices.Reverse(p.list)
		slices.SortStableFunc(p.list, byName)
		p.list = slices.CompactFunc(p.list, func(a, b pair) bool { return a.name == b.name })
		break
	}
	return p.list
}

// stringOrNull reads a string; null is as if the field were not there.
func (d *alertDecoder) stringOrNull(n int, field string) (string, bool) {
	d.space()
	switch d.peek() {
	case '"':
		return d.string(), true
	case 'n':
		d.literal("null")
	default:
		d.skip(2)
		d.wrong(fmt.Sprintf("%d.%s is to be a string", n, field))
	}
	return "", false
}

func (d *alertDecoder) instant(t *time.Time, n int, field string) {
	s, ok := d.stringOrNull(n, field)
	if !ok {
		return
	}
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil { // as all but people write it
		*t = at
		return
	}
	at, err := strfmt.ParseDateTime(s)
	if err != nil {
		d.wrong(fmt.Sprintf("%d.%s: %q is no time such as 2006-01-02T15:04:05Z", n, field, shortened(s)))
		return
	}
	*t = time.Time(at)
}

// disagrees says what Alertmanager's model asks for beyond the types.
func (d *alertDecoder) disagrees(n int) *refusal {
	if !d.labels.set {
		return &refusal{codeRequired, fmt.Sprintf("%d.labels in body is required", n)}
	}
	if s := d.generator; s != "" && s != d.lastURL {
		address, _, _ := strings.Cut(s, "#")
		if _, err := url.ParseRequestURI(address); err != nil {
			return &refusal{codeFormat, fmt.Sprintf("%d.generatorURL in body must be of type uri: %q", n, s)}
		}
		d.lastURL = strings.Clone(s) // not a piece of the body, which is large
	}
	return nil
}

// finish gives the alert at hand Alertmanager's defaults, and says what is wrong with it.
func (d *alertDecoder) finish() (a oncall.PostedAlert, invalid string) {
	a.StartsAt, a.EndsAt = d.starts, d.ends
	if d.generator != "" {
		a.GeneratorURL = d.lastURL
	}
	if a.StartsAt.IsZero() {
		a.StartsAt = d.ends
		if d.ends.IsZero() {
			a.StartsAt = d.now
		}
	}
	if a.EndsAt.IsZero() {
		a.Timeout, a.EndsAt = true, d.now.Add(d.resolve)
	}
	a.StartsAt, a.EndsAt = a.StartsAt.UTC(), a.EndsAt.UTC()
	if a.EndsAt.Before(a.StartsAt) {
		return a, fmt.Sprintf("endsAt: start time must be before end time (%s is not before %s)", text(a.StartsAt), text(a.EndsAt))
	}
	var bad string
	if a.Labels, bad = d.build(&d.labels, false); bad != "" {
		return a, "labels: " + bad
	}
	if a.Labels.IsEmpty() {
		return a, "labels: at least one label pair required"
	}
	if a.Annotations, bad = d.build(&d.annotations, true); bad != "" {
		return a, "annotations: " + bad
	}
	return a, ""
}

// build makes a label set. Labels without a value are none; annotations without a value stay.
func (d *alertDecoder) build(p *pairs, empty bool) (ls labels.Labels, bad string) {
	d.builder.Reset()
	some := false
	for _, m := range p.sorted() {
		if len(m.value) == 0 && !empty {
			continue
		}
		if !d.mode.ValidLabelName(m.name) {
			return ls, fmt.Sprintf("invalid name %q", shortened(m.name))
		}
		if max(len(m.name), len(m.value)) > maxText {
			return ls, fmt.Sprintf("%q is too long: at most %d bytes fit", shortened(m.name), maxText)
		}
		d.builder.Add(m.name, m.value)
		some = true
	}
	if !some {
		return labels.EmptyLabels(), ""
	}
	return d.builder.Labels(), ""
}

func (d *alertDecoder) wrong(what string) {
	if d.err == "" {
		d.err = what
	}
}

// shortened keeps a caller's text short in an error.
func shortened(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }
