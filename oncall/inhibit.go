package oncall

import (
	"encoding/binary"
	"slices"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
)

// Inhibitor says which alerts are muted because others fire. It is told of every alert, and remembers which of
// them could mute and which could be muted, so that an answer looks only at what concerns the alert, and a change
// names the alerts that it concerns. It is not safe for concurrent use.
//
// The rules are Alertmanager's: an alert is muted while another one fires that matches the source side of a rule
// whose target side the first matches, if both agree in the labels of equal (a missing label is empty). One
// that matches both sides of a rule is not muted, by that rule, by alerts that do so too; nor ever by itself.
type Inhibitor struct {
	rules    []InhibitRule
	families []*inhibitFamily
	familyOf []*inhibitFamily // by rule
	sources  *MatchIndex      // of rules, by their sources
	targets  *MatchIndex      // of families, by their targets
	members  map[uint64]*inhibitMember
	touched  []*inhibitBucket // where something may have changed since Affected was last asked
	scratch  []byte
}

// inhibitFamily is the rules that agree in their targets and their equal labels: an alert is looked at once for
// all of them.
type inhibitFamily struct {
	target  amlabels.Matchers
	equal   []string
	buckets map[string]*inhibitBucket // by the values of the equal labels
}

// inhibitBucket is the alerts of a family that agree in the equal labels.
type inhibitBucket struct {
	family  *inhibitFamily
	key     string
	targets []*targetPlace
	sources []*ruleSources // of the rules that have one
	touched bool
}

// ruleSources is the firing sources of one rule in a bucket.
type ruleSources struct {
	bucket *inhibitBucket
	rule   int
	place  int              // in bucket.sources
	plain  []*inhibitSource // that do not match the target side
	both   []*inhibitSource // that do
}

// inhibitMember is an alert that some rule concerns.
type inhibitMember struct {
	targets []targetPlace
	sources []inhibitSource // while it fires
	labels  labels.Labels
}

type targetPlace struct {
	bucket *inhibitBucket
	fp     uint64
	place  int // in bucket.targets
}

type inhibitSource struct {
	of    *ruleSources
	fp    uint64
	place int // in of.plain or of.both
	both  bool
}

// NewInhibitor returns an inhibitor that knows of no alert.
func NewInhibitor(rules []InhibitRule) *Inhibitor {
	h := &Inhibitor{rules: rules, sources: NewMatchIndex(nil), targets: NewMatchIndex(nil), members: map[uint64]*inhibitMember{}}
	families := map[string]*inhibitFamily{}
	for i, r := range rules {
		equal := slices.Compact(slices.Sorted(slices.Values(r.Equal)))
		key := familyKey(r.Target, equal)
		f := families[key]
		if f == nil {
			f = &inhibitFamily{r.Target, equal, map[string]*inhibitBucket{}}
			families[key] = f
			h.targets.Add(len(h.families), r.Target)
			h.families = append(h.families, f)
		}
		h.familyOf = append(h.familyOf, f)
		h.sources.Add(i, r.Source)
	}
	return h
}

// familyKey is the same for matchers in any order.
func familyKey(target amlabels.Matchers, equal []string) string {
	texts := make([]string, 0, len(target))
	for _, m := range target {
		texts = append(texts, string(appendText(appendText([]byte{byte(m.Type)}, m.Name), m.Value)))
	}
	slices.Sort(texts)
	var key []byte
	for _, s := range append(slices.Compact(texts), equal...) {
		key = appendText(key, s)
	}
	return string(key)
}

// appendText appends s so that two lists of texts never read the same.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Set tells of an alert with the fingerprint, again when it begins or ceases to fire. An alert that does not fire
// is still muted, or not: its resolution may be to be told.
func (h *Inhibitor) Set(fp uint64, ls labels.Labels, firing bool) {
	m := h.members[fp]
	if m == nil {
		if m = h.newMember(fp, ls); firing {
			h.addSources(fp, m)
		}
		if len(m.targets)+len(m.sources) > 0 {
			h.members[fp] = m
		}
		return
	}
	switch {
	case firing && len(m.sources) == 0:
		h.addSources(fp, m)
	case !firing && len(m.sources) > 0:
		h.dropSources(m)
		if len(m.targets) == 0 {
			delete(h.members, fp)
		}
	}
}

// Remove forgets an alert.
func (h *Inhibitor) Remove(fp uint64) {
	m := h.members[fp]
	if m == nil {
		return
	}
	delete(h.members, fp)
	h.dropSources(m)
	for i := range m.targets {
		p := &m.targets[i]
		list := p.bucket.targets
		last := list[len(list)-1]
		list[p.place], last.place = last, p.place
		list[len(list)-1] = nil
		p.bucket.targets = list[:len(list)-1]
		p.bucket.drop()
	}
}

func (h *Inhibitor) newMember(fp uint64, ls labels.Labels) *inhibitMember {
	m := &inhibitMember{labels: ls}
	h.targets.Matching(ls, func(f int) bool {
		m.targets = append(m.targets, targetPlace{bucket: h.bucket(h.families[f], ls), fp: fp})
		return true
	})
	for i := range m.targets {
		p := &m.targets[i]
		p.place = len(p.bucket.targets)
		p.bucket.targets = append(p.bucket.targets, p)
	}
	return m
}

// bucket returns the bucket in which ls falls, which may be new.
func (h *Inhibitor) bucket(f *inhibitFamily, ls labels.Labels) *inhibitBucket {
	h.scratch = equalKey(h.scratch[:0], f.equal, ls)
	b := f.buckets[string(h.scratch)]
	if b == nil {
		b = &inhibitBucket{family: f, key: string(h.scratch)}
		f.buckets[b.key] = b
	}
	return b
}

func equalKey(b []byte, names []string, ls labels.Labels) []byte {
	for _, n := range names {
		b = appendText(b, ls.Get(n))
	}
	return b
}

// drop forgets a bucket in which nothing is left.
func (b *inhibitBucket) drop() {
	if len(b.targets)+len(b.sources) == 0 {
		delete(b.family.buckets, b.key)
	}
}

// addSources makes the alert a source of the rules whose source side it matches.
func (h *Inhibitor) addSources(fp uint64, m *inhibitMember) {
	h.sources.Matching(m.labels, func(rule int) bool {
		b := h.bucket(h.familyOf[rule], m.labels)
		m.sources = append(m.sources, inhibitSource{of: b.of(rule), fp: fp, both: MatchersMatch(b.family.target, m.labels)})
		return true
	})
	for i := range m.sources {
		s := &m.sources[i]
		list := s.list()
		if s.place = len(*list); s.place == 0 {
			h.touch(s.of.bucket)
		}
		*list = append(*list, s)
	}
}

// of returns the sources of the rule in the bucket.
func (b *inhibitBucket) of(rule int) *ruleSources {
	for _, r := range b.sources {
		if r.rule == rule {
			return r
		}
	}
	r := &ruleSources{bucket: b, rule: rule, place: len(b.sources)}
	b.sources = append(b.sources, r)
	return r
}

func (s *inhibitSource) list() *[]*inhibitSource {
	if s.both {
		return &s.of.both
	}
	return &s.of.plain
}

func (h *Inhibitor) dropSources(m *inhibitMember) {
	for i := range m.sources {
		s := &m.sources[i]
		list, r, b := s.list(), s.of, s.of.bucket
		n := len(*list) - 1
		last := (*list)[n]
		(*list)[s.place], last.place = last, s.place
		(*list)[n] = nil
		if *list = (*list)[:n]; n > 0 {
			continue
		}
		h.touch(b)
		if len(r.plain)+len(r.both) == 0 {
			last := b.sources[len(b.sources)-1]
			b.sources[r.place], last.place = last, r.place
			b.sources[len(b.sources)-1] = nil
			b.sources = b.sources[:len(b.sources)-1]
			b.drop()
		}
	}
	m.sources = nil
}

func (h *Inhibitor) touch(b *inhibitBucket) {
	if !b.touched && len(b.targets) > 0 {
		b.touched = true
		h.touched = append(h.touched, b)
	}
}

// Affected yields the fingerprints of the alerts that may be muted now and were not before, or the other way
// round, because sources changed since it was last called: each at least once, and not the new ones.
func (h *Inhibitor) Affected(yield func(fp uint64)) {
	for _, b := range h.touched {
		b.touched = false
		for _, p := range b.targets {
			yield(p.fp)
		}
	}
	h.touched = nil
}

// Inhibited reports whether an alert is muted, and by which firing alerts: one for each kind of target and
// equal labels, sorted, though more may fire. The alert need not be known.
func (h *Inhibitor) Inhibited(fp uint64, ls labels.Labels) (by []uint64, ok bool) {
	if m := h.members[fp]; m != nil {
		for i := range m.targets {
			by = h.inhibitedIn(m.targets[i].bucket, ls, by)
		}
	} else {
		h.targets.Matching(ls, func(f int) bool {
			family := h.families[f]
			h.scratch = equalKey(h.scratch[:0], family.equal, ls)
			if b := family.buckets[string(h.scratch)]; b != nil {
				by = h.inhibitedIn(b, ls, by)
			}
			return true
		})
	}
	if len(by) > 1 {
		slices.Sort(by)
		by = slices.Compact(by)
	}
	return by, len(by) > 0
}

// inhibitedIn appends a source in the bucket that mutes ls, if there is one.
func (h *Inhibitor) inhibitedIn(b *inhibitBucket, ls labels.Labels, by []uint64) []uint64 {
	for _, r := range b.sources {
		if len(r.plain) > 0 {
			return append(by, r.plain[0].fp)
		}
		if !MatchersMatch(h.rules[r.rule].Source, ls) {
			return append(by, r.both[0].fp)
		}
	}
	return by
}

// Inhibitable reports whether some rule could mute an alert with these labels: it matches a target side.
func (h *Inhibitor) Inhibitable(ls labels.Labels) bool { return h.targets.Any(ls) }
