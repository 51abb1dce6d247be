package evaluator

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// alertSet is the alerts of one rule as they are kept between evaluations: about a quarter of what they take
// as oncall.Alert, and few pointers for the garbage collector to follow. What the alerts of a rule have in
// common is kept once, and annotations are one string. A set is never written to.
type alertSet struct{ list []packedAlert }

// packedAlert is one alert. A test holds that nothing of an oncall.Alert is missing.
type packedAlert struct {
	common      *alertCommon
	labels      labels.Labels
	metric      labels.Labels
	annotations string // see packTexts
	seen        string // Evidence.Value

	value, latest                                    float64
	histogram                                        *histogram.FloatHistogram
	active, fired, keepFiring, unknown, noData, asks instant
}

// alertCommon is what alerts that moved in one evaluation have in common.
type alertCommon struct {
	rule     oncall.RuleID
	state    oncall.AlertState
	external labels.Labels
	evidence oncall.Evidence // without At, Metric and Value
}

// instant is nanoseconds since 1970, 0 for the zero time.
type instant int64

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixNano())
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// packAlerts makes a set of alerts.
func packAlerts(alerts []oncall.Alert) alertSet { return alertSet{}.next(alerts, nil, true) }

// len is how many alerts there are.
func (s alertSet) len() int { return len(s.list) }

// lean returns the alerts without their annotations, which no step looks at.
func (s alertSet) lean() []oncall.Alert { return s.leanInto(nil) }

// leanInto is lean in the memory of buf, where that is enough.
func (s alertSet) leanInto(buf []oncall.Alert) []oncall.Alert {
	if len(s.list) == 0 {
		return nil
	}
	out := slices.Grow(buf[:0], len(s.list))[:len(s.list)]
	for i := range s.list {
		s.list[i].unpack(&out[i])
	}
	return out
}

// leanBuffers are for alerts that nobody keeps, as those that a step begins with.
var leanBuffers = sync.Pool{New: func() any { return new([]oncall.Alert) }}

// step is oncall.StepRule for the alerts of a set.
func (s alertSet) step(t oncall.RuleTiming, o oncall.Observation) oncall.Step {
	buf := leanBuffers.Get().(*[]oncall.Alert)
	current := s.leanInto(*buf)
	step := oncall.StepRule(t, current, o)
	if cap(current) <= maxLean {
		clear(current)
		*buf = current
		leanBuffers.Put(buf)
	}
	return step
}

// maxLean is how many alerts a buffer has that is kept.
const maxLean = 4096

// full returns the alerts with all that belongs to them.
func (s alertSet) full() []oncall.Alert {
	out := s.lean()
	for i := range out {
		out[i].Annotations = unpackTexts(s.list[i].annotations)
	}
	return out
}

// annotate gives the alerts that a step made of lean ones their annotations back, where they are to be written
// or told.
func (s alertSet) annotate(step *oncall.Step) {
	if len(s.list) == 0 || len(step.Upserts) == 0 && len(step.Changes) == 0 {
		return
	}
	texts := make(map[uint64]string, len(s.list))
	for i := range s.list {
		texts[s.list[i].labels.Hash()] = s.list[i].annotations
	}
	for _, i := range step.Upserts {
		step.Alerts[i].Annotations = unpackTexts(texts[step.Alerts[i].Labels.Hash()])
	}
	for i := range step.Changes {
		a := &step.Changes[i].Alert
		a.Annotations = unpackTexts(texts[a.Labels.Hash()])
	}
}

// next returns the set of what a step made of this one: changed are the indices of the alerts that are new or
// another, all says that all are. The others are taken over, mostly in the same order.
func (s alertSet) next(alerts []oncall.Alert, changed []int, all bool) alertSet {
	if len(alerts) == 0 {
		return alertSet{}
	}
	out := alertSet{list: make([]packedAlert, len(alerts))}
	var last *packedAlert // what the next one has in common with it is shared
	from := 0
	for i := range alerts {
		a, p := &alerts[i], &out.list[i]
		if all || len(changed) > 0 && changed[0] == i {
			if !all {
				changed = changed[1:]
			}
			p.pack(a, last)
			last = p
			continue
		}
		for from < len(s.list) && !labels.Equal(s.list[from].labels, a.Labels) {
			from++
		}
		if from == len(s.list) { // not in order: look everywhere
			from = slices.IndexFunc(s.list, func(old packedAlert) bool { return labels.Equal(old.labels, a.Labels) })
		}
		if from < 0 {
			p.pack(a, last)
			from = 0
			continue
		}
		*p = s.list[from]
		// Equal, and perhaps in memory that somebody else holds anyway.
		p.labels, p.metric, p.latest, p.histogram = a.Labels, a.Evidence.Metric, a.Latest, a.Histogram
		from++
	}
	return out
}

func (p *packedAlert) pack(a *oncall.Alert, last *packedAlert) {
	common := alertCommon{rule: a.Rule, state: a.State, external: a.External, evidence: a.Evidence}
	common.evidence.At, common.evidence.Metric, common.evidence.Value = time.Time{}, labels.EmptyLabels(), ""
	*p = packedAlert{
		labels: a.Labels, metric: a.Evidence.Metric, seen: a.Evidence.Value,
		value: a.Value, latest: a.Latest, histogram: a.Histogram,
		active: instantOf(a.ActiveAt), fired: instantOf(a.FiredAt), keepFiring: instantOf(a.KeepFiringSince),
		unknown: instantOf(a.UnknownSince), noData: instantOf(a.NoDataSince), asks: instantOf(a.Evidence.At),
	}
	if last != nil && last.common.equal(&common) {
		p.common = last.common
	} else {
		p.common = &common
	}
	p.annotations = packTexts(a.Annotations)
	if last != nil && last.annotations == p.annotations {
		p.annotations = last.annotations
	}
}

func (c *alertCommon) equal(o *alertCommon) bool {
	return c.rule == o.rule && c.state == o.state && labels.Equal(c.external, o.external) &&
		c.evidence.Group == o.evidence.Group && c.evidence.File == o.evidence.File && c.evidence.Expr == o.evidence.Expr &&
		c.evidence.RuleHash == o.evidence.RuleHash && c.evidence.Backend == o.evidence.Backend && c.evidence.For == o.evidence.For
}

func (p *packedAlert) unpack(a *oncall.Alert) {
	*a = oncall.Alert{
		Rule: p.common.rule, Labels: p.labels, State: p.common.state, Value: p.value, Latest: p.latest, Histogram: p.histogram,
		ActiveAt: p.active.time(), FiredAt: p.fired.time(), KeepFiringSince: p.keepFiring.time(),
		UnknownSince: p.unknown.time(), NoDataSince: p.noData.time(),
		Evidence: p.common.evidence, External: p.common.external,
	}
	a.Evidence.At, a.Evidence.Metric, a.Evidence.Value = p.asks.time(), p.metric, p.seen
}

// packTexts makes one string of texts by name: each name and each text, with its length before it.
func packTexts(texts map[string]string) string {
	if len(texts) == 0 {
		return ""
	}
	n := 0
	for name, text := range texts {
		n += len(name) + len(text) + 4
	}
	b := make([]byte, 0, n)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		b = append(binary.AppendUvarint(b, uint64(len(texts[name]))), texts[name]...)
	}
	return string(b)
}

func unpackTexts(s string) map[string]string {
	if s == "" {
		return nil
	}
	texts := make(map[string]string, 2)
	cut := func() string {
		n, width := uvarint(s)
		text := s[width : width+n]
		s = s[width+n:]
		return text
	}
	for s != "" {
		name := cut()
		texts[name] = cut()
	}
	return texts
}

// uvarint is binary.Uvarint of a string.
func uvarint(s string) (n, width int) {
	for shift := 0; ; shift += 7 {
		b := s[width]
		width++
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, width
		}
	}
}
