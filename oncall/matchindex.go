package oncall

import (
	"slices"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
)

// MatchIndex finds which of many sets of matchers match a label set, at a cost that does not grow with the
// sets that cannot: each set is filed under the one of its matchers that asks most of a label set, and only the
// sets filed under what a label set has are looked at. A set matches when all its matchers do; a label that is
// missing counts as empty, as in Alertmanager. An empty set matches everything.
//
// It is not safe for writing while others read.
type MatchIndex struct {
	sets   map[int]indexed
	labels map[string]*labelIndex // by label name
	scan   []int                  // sets that ask for no label: they may match anything
}

// indexed is a set and where it is filed.
type indexed struct {
	matchers amlabels.Matchers
	need     need
}

// labelIndex files the sets that ask for one label.
type labelIndex struct {
	values   map[string][]int // the label has this value
	prefixes map[string][]int // its value begins so
	lengths  []prefixLength   // of the prefixes, so that a value is looked up once for each
	present  []int            // it is not empty
}

type prefixLength struct{ bytes, sets int }

// NewMatchIndex returns an index of sets, whose ids are their places in the slice.
func NewMatchIndex(sets []amlabels.Matchers) *MatchIndex {
	x := &MatchIndex{sets: make(map[int]indexed, len(sets)), labels: map[string]*labelIndex{}}
	for i, ms := range sets {
		x.Add(i, ms)
	}
	return x
}

// Len is the number of sets.
func (x *MatchIndex) Len() int { return len(x.sets) }

// Add files a set under an id, in place of what was there. The index keeps ms: do not change it.
func (x *MatchIndex) Add(id int, ms amlabels.Matchers) {
	x.Remove(id)
	n := x.choose(ms)
	x.sets[id] = indexed{ms, n}
	x.file(n, func(ids []int) []int { return append(ids, id) })
}

// Remove forgets the set with the id, if there is one.
func (x *MatchIndex) Remove(id int) {
	s, ok := x.sets[id]
	if !ok {
		return
	}
	delete(x.sets, id)
	x.file(s.need, func(ids []int) []int {
		i := slices.Index(ids, id)
		ids[i] = ids[len(ids)-1]
		return ids[:len(ids)-1]
	})
}

// Matching yields the ids of the sets that match ls, each once, in no particular order, until yield returns false.
func (x *MatchIndex) Matching(ls labels.Labels, yield func(id int) bool) {
	if !x.verified(x.scan, ls, yield) || len(x.labels) == 0 {
		return
	}
	more := true
	ls.Range(func(l labels.Label) {
		if !more || l.Value == "" {
			return
		}
		li := x.labels[l.Name]
		if li == nil {
			return
		}
		more = x.verified(li.values[l.Value], ls, yield) && x.verified(li.present, ls, yield)
		for _, n := range li.lengths {
			if !more || n.bytes > len(l.Value) {
				return
			}
			more = x.verified(li.prefixes[l.Value[:n.bytes]], ls, yield)
		}
	})
}

// Any reports whether some set matches ls.
func (x *MatchIndex) Any(ls labels.Labels) bool {
	found := false
	x.Matching(ls, func(int) bool { found = true; return false })
	return found
}

// verified yields those of the ids whose sets really match; false: yield wants no more.
func (x *MatchIndex) verified(ids []int, ls labels.Labels, yield func(int) bool) bool {
	for _, id := range ids {
		if MatchersMatch(x.sets[id].matchers, ls) && !yield(id) {
			return false
		}
	}
	return true
}

// MatchersMatch reports whether all matchers match ls, where a missing label is empty.
func MatchersMatch(ms amlabels.Matchers, ls labels.Labels) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// choose returns the need of the matcher under which the fewest sets are filed so far, the stricter one among
// equals: with ten thousand sets of severity="warning" and a cluster each, all but the first go by cluster.
func (x *MatchIndex) choose(ms amlabels.Matchers) need {
	best, bestCost := need{}, -1
	for _, m := range ms {
		n := needOf(m)
		if n.kind == needNothing {
			continue
		}
		if cost := x.cost(n); bestCost < 0 || cost < bestCost || cost == bestCost && n.kind < best.kind {
			best, bestCost = n, cost
		}
	}
	return best
}

// cost is how many sets a label set that fulfils the need makes the index look at already.
func (x *MatchIndex) cost(n need) int {
	li := x.labels[n.label]
	if li == nil {
		return 0
	}
	switch n.kind {
	case needValue:
		most := 0
		for _, v := range n.texts {
			most = max(most, len(li.values[v]))
		}
		return most
	case needPrefix:
		return len(li.prefixes[n.texts[0]])
	}
	return len(li.present)
}

// file changes the lists in which a set with the need stands.
func (x *MatchIndex) file(n need, change func([]int) []int) {
	if n.kind == needNothing {
		x.scan = change(x.scan)
		return
	}
	li := x.labels[n.label]
	if li == nil {
		li = &labelIndex{values: map[string][]int{}, prefixes: map[string][]int{}}
		x.labels[n.label] = li
	}
	switch n.kind {
	case needValue:
		for _, v := range n.texts {
			changeList(li.values, v, change)
		}
	case needPrefix:
		before := len(li.prefixes[n.texts[0]])
		changeList(li.prefixes, n.texts[0], change)
		li.count(len(n.texts[0]), len(li.prefixes[n.texts[0]])-before)
	default:
		li.present = change(li.present)
	}
	if len(li.values)+len(li.prefixes)+len(li.present) == 0 {
		delete(x.labels, n.label)
	}
}

func changeList(lists map[string][]int, key string, change func([]int) []int) {
	if list := change(lists[key]); len(list) > 0 {
		lists[key] = list
	} else {
		delete(lists, key)
	}
}

// count keeps the lengths of prefixes in use, shortest first.
func (li *labelIndex) count(bytes, more int) {
	i, ok := slices.BinarySearchFunc(li.lengths, bytes, func(n prefixLength, b int) int { return n.bytes - b })
	if !ok {
		li.lengths = slices.Insert(li.lengths, i, prefixLength{bytes: bytes})
	}
	if li.lengths[i].sets += more; li.lengths[i].sets == 0 {
		li.lengths = slices.Delete(li.lengths, i, i+1)
	}
}
