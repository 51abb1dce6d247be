package oncall

import (
	"cmp"
	"maps"
	"slices"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
)

// SilenceSet is all silences at one moment, indexed by what they match. It is immutable: any goroutine may
// read it. With makes the next one.
type SilenceSet struct {
	// The silences of recent hide those of base that have the same ID. recent stays small, so that a change is
	// cheap however many silences there are.
	base, recent *silenceLayer
}

// silenceLayer is silences with their index: of those that had not ended when it was made.
type silenceLayer struct {
	all        map[string]Silence
	live       []Silence // by place in the index
	index      *MatchIndex
	boundaries []time.Time // when live ones start or end, sorted
}

const maxRecentSilences = 256

// NewSilenceSet returns the set of all silences. Those that have ended at now are listed, but not matched.
func NewSilenceSet(all []Silence, now time.Time) *SilenceSet {
	byID := make(map[string]Silence, len(all))
	for _, s := range all {
		byID[s.ID] = s
	}
	return &SilenceSet{newSilenceLayer(byID, now), newSilenceLayer(nil, now)}
}

func newSilenceLayer(all map[string]Silence, now time.Time) *silenceLayer {
	l := &silenceLayer{all: all}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		s := all[id]
		if s.State(now) == SilenceExpired {
			continue
		}
		l.live = append(l.live, s)
		l.boundaries = append(l.boundaries, s.StartsAt, s.EndsAt)
	}
	slices.SortFunc(l.boundaries, time.Time.Compare)
	sets := make([]amlabels.Matchers, len(l.live))
	for i, s := range l.live {
		sets[i] = s.Matchers
	}
	l.index = NewMatchIndex(sets)
	return l
}

// With returns the set with the changed silences added, or put in place of those with their IDs.
func (x *SilenceSet) With(changed []Silence, now time.Time) *SilenceSet {
	recent := make(map[string]Silence, len(x.recent.all)+len(changed))
	maps.Copy(recent, x.recent.all)
	for _, s := range changed {
		recent[s.ID] = s
	}
	if len(recent) <= maxRecentSilences {
		return &SilenceSet{x.base, newSilenceLayer(recent, now)}
	}
	all := make(map[string]Silence, len(x.base.all)+len(recent))
	maps.Copy(all, x.base.all)
	maps.Copy(all, recent)
	return &SilenceSet{newSilenceLayer(all, now), newSilenceLayer(nil, now)}
}

// Muting returns the IDs of the silences that mute ls at now, sorted; none: nil.
func (x *SilenceSet) Muting(ls labels.Labels, now time.Time) []string {
	var ids []string
	x.matching(ls, func(s Silence) bool {
		if s.State(now) == SilenceActive {
			ids = append(ids, s.ID)
		}
		return true
	})
	slices.Sort(ids)
	return ids
}

// Muted reports whether some silence mutes ls at now.
func (x *SilenceSet) Muted(ls labels.Labels, now time.Time) bool {
	muted := false
	x.matching(ls, func(s Silence) bool {
		muted = s.State(now) == SilenceActive
		return !muted
	})
	return muted
}

// matching yields the silences that match ls and had not ended when they were indexed.
func (x *SilenceSet) matching(ls labels.Labels, yield func(Silence) bool) {
	more := true
	x.recent.index.Matching(ls, func(i int) bool {
		more = yield(x.recent.live[i])
		return more
	})
	if !more {
		return
	}
	x.base.index.Matching(ls, func(i int) bool {
		s := x.base.live[i]
		if _, hidden := x.recent.all[s.ID]; hidden {
			return true
		}
		return yield(s)
	})
}

// NextBoundary returns the earliest instant after after at which a silence starts or ends; zero: none does.
// It may name an instant at which a silence that was changed since would have done so.
func (x *SilenceSet) NextBoundary(after time.Time) time.Time {
	next := x.base.nextBoundary(after)
	if t := x.recent.nextBoundary(after); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	return next
}

func (l *silenceLayer) nextBoundary(after time.Time) time.Time {
	i, _ := slices.BinarySearchFunc(l.boundaries, after, time.Time.Compare)
	for ; i < len(l.boundaries); i++ {
		if l.boundaries[i].After(after) {
			return l.boundaries[i]
		}
	}
	return time.Time{}
}

// Get returns the silence with the ID.
func (x *SilenceSet) Get(id string) (Silence, bool) {
	if s, ok := x.recent.all[id]; ok {
		return s, true
	}
	s, ok := x.base.all[id]
	return s, ok
}

// each yields all silences, in no particular order.
func (x *SilenceSet) each(yield func(Silence)) {
	for _, s := range x.recent.all {
		yield(s)
	}
	for id, s := range x.base.all {
		if _, hidden := x.recent.all[id]; !hidden {
			yield(s)
		}
	}
}

// Count returns how many silences are in the state at now.
func (x *SilenceSet) Count(state SilenceState, now time.Time) int {
	n := 0
	x.each(func(s Silence) {
		if s.State(now) == state {
			n++
		}
	})
	return n
}

// Len returns how many silences there are, expired ones included.
func (x *SilenceSet) Len() int {
	n := 0
	x.each(func(Silence) { n++ })
	return n
}

// List returns all silences, expired ones included, in the order of the alert API: active ones, next to end
// first; pending ones, next to start first; expired ones, last to have ended first.
func (x *SilenceSet) List(now time.Time) []Silence {
	all := make([]Silence, 0, len(x.base.all)+len(x.recent.all))
	x.each(func(s Silence) { all = append(all, s) })
	order := map[SilenceState]int{SilenceActive: 1, SilencePending: 2, SilenceExpired: 3}
	slices.SortFunc(all, func(a, b Silence) int {
		state := a.State(now)
		if c := cmp.Compare(order[state], order[b.State(now)]); c != 0 {
			return c
		}
		c := 0
		switch state {
		case SilenceActive:
			c = a.EndsAt.Compare(b.EndsAt)
		case SilencePending:
			c = a.StartsAt.Compare(b.StartsAt)
		case SilenceExpired:
			c = b.EndsAt.Compare(a.EndsAt)
		}
		return cmp.Or(c, cmp.Compare(a.ID, b.ID))
	})
	return all
}

// ChangedSince returns an index of the silences that mute at now and did not in was at then, or the other way
// round, or otherwise, or that began or ended between: only an alert that some of its sets match can be muted
// now in another way than it was found to be since then. nil: nothing changed.
func (x *SilenceSet) ChangedSince(was *SilenceSet, then, now time.Time) *MatchIndex {
	if x == was && x.NextBoundary(then).After(now) {
		return nil
	}
	var changed []amlabels.Matchers
	x.each(func(s Silence) {
		old, known := was.Get(s.ID)
		muted, mutes := known && old.State(then) == SilenceActive, s.State(now) == SilenceActive
		same := muted == mutes && SameMatchers(s.Matchers, old.Matchers)
		if mutes && !same || s.crosses(then, now) {
			changed = append(changed, s.Matchers)
		}
		if muted && !same || known && old.crosses(then, now) {
			changed = append(changed, old.Matchers)
		}
	})
	was.each(func(old Silence) {
		if _, kept := x.Get(old.ID); !kept && (old.State(then) == SilenceActive || old.crosses(then, now)) {
			changed = append(changed, old.Matchers)
		}
	})
	if changed == nil {
		return nil
	}
	return NewMatchIndex(changed)
}

// crosses reports whether the silence starts or ends after then, and at now at the latest.
func (s Silence) crosses(then, now time.Time) bool {
	return then.Before(s.StartsAt) && !now.Before(s.StartsAt) || then.Before(s.EndsAt) && !now.Before(s.EndsAt)
}
