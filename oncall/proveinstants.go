package oncall

import (
	"maps"
	"slices"
	"time"
)

// maxInstants bounds how many triggers a proof looks at, and how much it works out to find them.
const maxInstants = 1_000_000

// instants returns every instant of a trigger at which the answer can change, in order, the first of all included; ok
// is false where there are too many.
//
// Whatever a walk looks at is either so long after the trigger (an offset: tiers, rounds, the deadline), or so long
// after an edge, where somebody's shift, an interval or a daytime begins or ends (a lag: what waited for it, and what
// follows at its distance). The answer changes where an offset meets an edge with its lag, or where that is just
// within the promise.
func (pr *proof) instants() (at []time.Time, ok bool) {
	users := pr.users()
	edges := pr.edges(users)
	afters := []time.Duration{0} // of contact rules
	for u := range users {
		for _, c := range pr.p.Users[u].Contacts {
			afters = append(afters, c.After)
		}
	}
	afters = distinct(afters)
	offsets, lags, ok := pr.distances(afters)
	if !ok || len(offsets)*len(lags) > maxInstants {
		return pr.lattice(edges, afters)
	}
	var apart []time.Duration // of a trigger from an edge
	for _, lag := range lags {
		for _, o := range offsets {
			apart = append(apart, lag-o)
		}
	}
	apart = distinct(apart)
	if len(edges)*len(apart) > maxInstants {
		return pr.lattice(edges, afters)
	}
	at = []time.Time{pr.from}
	for _, edge := range edges {
		for _, d := range apart {
			if t := edge.Add(d); t.After(pr.from) && t.Before(pr.to) {
				at = append(at, t)
			}
		}
	}
	return sortedInstants(at), true
}

// lattice returns what instants would, and more: every instant at a multiple of the largest step from an edge of
// which all durations are multiples. Where they are whole minutes, all minutes will do.
func (pr *proof) lattice(edges []time.Time, afters []time.Duration) (at []time.Time, ok bool) {
	step := pr.e.Promise.Within
	for _, d := range slices.Concat(afters, pr.durations()) {
		for d != 0 {
			step, d = d, step%d
		}
	}
	var begin []time.Duration // in the first step
	for _, edge := range edges {
		begin = append(begin, (edge.Sub(pr.from)%step+step)%step)
	}
	begin = distinct(begin)
	span := pr.to.Sub(pr.from)
	if len(begin) > maxInstants/int(min(span/step+1, maxInstants)) {
		return nil, false
	}
	at = []time.Time{pr.from}
	for d := time.Duration(0); d < span; d += step {
		for _, b := range begin {
			if d+b < span {
				at = append(at, pr.from.Add(d+b))
			}
		}
	}
	return sortedInstants(at), true
}

// durations are those of the escalation that a walk adds up.
func (pr *proof) durations() []time.Duration {
	list := []time.Duration{pr.deadline()}
	if pr.e.Repeat.Times > 0 {
		list = append(list, pr.e.Repeat.Every)
	}
	for _, t := range pr.e.Tiers {
		list = append(list, t.After)
	}
	return list
}

// deadline is until when somebody waits for their daytime, 0 where nobody does.
func (pr *proof) deadline() time.Duration {
	switch d := pr.e.Urgency.Deadline; {
	case !pr.low:
		return 0
	case d > 0:
		return d
	}
	return DefaultLowDeadline
}

// distances returns the offsets and lags of instants that matter to the promise, each once; ok is false where there
// are too many.
func (pr *proof) distances(afters []time.Duration) (offsets, lags []time.Duration, ok bool) {
	e := pr.e
	offsets, lags = []time.Duration{0, e.Promise.Within}, []time.Duration{0}
	var steps []time.Duration // from what is told to what is told next
	for i, t := range e.Tiers {
		for round := range e.Repeat.Times + 1 {
			offset := t.After + time.Duration(round)*e.Repeat.Every
			if offset > e.Promise.Within {
				break
			}
			offsets = append(offsets, offset)
		}
		for _, later := range e.Tiers[i:] {
			steps = append(steps, later.After-t.After)
		}
		if last := e.Tiers[len(e.Tiers)-1].After; e.Repeat.Times > 0 {
			steps = append(steps, max(0, e.Repeat.Every-last)+t.After)
		}
	}
	if steps, ok = sums(distinct(steps), e.Promise.Within); !ok || len(steps)*len(afters) > maxInstants {
		return nil, nil, false
	}
	if pr.low {
		for _, s := range steps {
			offsets = append(offsets, pr.deadline()+s, s)
		}
	}
	if waits := pr.low || slices.ContainsFunc(e.Tiers, func(t Tier) bool { return !t.Condition.IsZero() }) || !e.Condition.IsZero(); waits {
		for _, s := range steps {
			for _, after := range afters {
				lags = append(lags, s+after)
			}
		}
	}
	late := func(d time.Duration) bool { return d > e.Promise.Within }
	return slices.DeleteFunc(distinct(offsets), late), slices.DeleteFunc(distinct(lags), late), true
}

func distinct(ds []time.Duration) []time.Duration {
	slices.Sort(ds)
	return slices.Compact(ds)
}

// sums returns zero and what steps make together, however many of them, each once and none above limit; ok is false
// where there are too many. Waits follow waits as often as rounds and tiers that fail follow each other.
func sums(steps []time.Duration, limit time.Duration) (all []time.Duration, ok bool) {
	seen := map[time.Duration]bool{0: true}
	for latest := []time.Duration{0}; len(latest) > 0; {
		var further []time.Duration
		for _, a := range latest {
			for _, b := range steps {
				if a+b <= limit && !seen[a+b] {
					seen[a+b], further = true, append(further, a+b)
				}
			}
		}
		if len(seen)*len(steps) > maxInstants {
			return nil, false
		}
		latest = further
	}
	return slices.Sorted(maps.Keys(seen)), true
}

// users returns whom the escalation can tell.
func (pr *proof) users() map[string]bool {
	users := map[string]bool{}
	for _, t := range pr.e.Tiers {
		for _, x := range t.Targets {
			switch x.Kind {
			case TargetUser:
				users[x.Name] = true
			case TargetSchedule:
				for _, shift := range pr.shiftsOf(x.Name) {
					for _, u := range shift.Users {
						users[u] = true
					}
				}
			}
		}
	}
	return users
}

// edges returns when somebody's shift, an interval or a daytime that matters begins or ends.
func (pr *proof) edges(users map[string]bool) (edges []time.Time) {
	for i, t := range pr.e.Tiers {
		for _, s := range pr.allowed[i] {
			edges = append(edges, s.from, s.to)
		}
		for _, x := range t.Targets {
			if x.Kind != TargetSchedule {
				continue
			}
			for _, shift := range pr.shiftsOf(x.Name) {
				edges = append(edges, shift.From, shift.To)
			}
		}
	}
	for u := range users {
		if pr.low {
			for _, s := range pr.daytimeOf(u) {
				edges = append(edges, s.from, s.to)
			}
		}
	}
	return sortedInstants(edges)
}
