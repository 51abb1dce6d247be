package oncall

import (
	"fmt"
	"slices"
	"sort"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// prover is what proofs about one policy and one time have in common, worked out once.
type prover struct {
	p        Policy
	from, to time.Time
	until    time.Time // how far walks may look
	shifts   map[string][]Shift
	daytimes map[string][]span // by user
}

func newProver(p Policy, from, to time.Time) *prover {
	k := &prover{p: p, from: from, to: to, until: to, shifts: map[string][]Shift{}, daytimes: map[string][]span{}}
	for _, e := range p.Escalations {
		if end := to.Add(e.Promise.Within + 1); end.After(k.until) {
			k.until = end
		}
	}
	return k
}

func (k *prover) shiftsOf(schedule string) []Shift {
	shifts, ok := k.shifts[schedule]
	if !ok {
		if s, ok := k.p.Schedules[schedule]; ok {
			shifts = s.Shifts(k.p.Overrides, k.from, k.until)
		}
		k.shifts[schedule] = shifts
	}
	return shifts
}

// shift returns the place of the shift at an instant in its schedule's list; ok is false where there is none.
func (k *prover) shift(schedule string, at time.Time) (i int, ok bool) {
	shifts := k.shiftsOf(schedule)
	i = sort.Search(len(shifts), func(i int) bool { return at.Before(shifts[i].To) })
	return i, i < len(shifts)
}

func (k *prover) daytimeOf(user string) []span {
	spans, ok := k.daytimes[user]
	if !ok {
		u := k.p.Users[user]
		daytime, loc := u.Daytime, u.Location
		if len(daytime) == 0 {
			daytime = defaultDaytime
		}
		if loc == nil {
			loc = time.UTC
		}
		spans = daytime.within(loc, k.from, k.until)
		k.daytimes[user] = spans
	}
	return spans
}

// firstIn returns the first instant at or after at that is within one of the spans; ok is false where there is none.
func firstIn(spans []span, at time.Time) (first time.Time, ok bool) {
	i := sort.Search(len(spans), func(i int) bool { return at.Before(spans[i].to) })
	if i == len(spans) {
		return time.Time{}, false
	}
	if spans[i].from.After(at) {
		return spans[i].from, true
	}
	return at, true
}

// proof is what is known of one escalation.
type proof struct {
	*prover
	e       Escalation
	allowed [][]span // by tier: when time allows it; nil where its matchers are not known to hold
	low     bool     // it may have a low urgency
}

func (k *prover) proof(e Escalation) *proof {
	pr := &proof{prover: k, e: e}
	severity := e.Promise.Severity
	holds := func(ms amlabels.Matchers, unknown bool) bool {
		for _, m := range ms {
			if known := m.Name == "severity" && severity != ""; known && !m.Matches(severity) || !known && !unknown {
				return false
			}
		}
		return true
	}
	pr.low = e.Urgency.Low || len(e.Urgency.LowWhen) > 0 && holds(e.Urgency.LowWhen, true)
	for _, t := range e.Tiers {
		if !holds(e.Condition.When, false) || !holds(t.Condition.When, false) {
			pr.allowed = append(pr.allowed, nil)
			continue
		}
		pr.allowed = append(pr.allowed, k.times(e.Condition, t.Condition))
	}
	return pr
}

// times returns when the time allows all conditions.
func (k *prover) times(cs ...Condition) []span {
	edges := []time.Time{k.from}
	for _, c := range cs {
		for _, name := range slices.Concat(c.During, c.NotDuring) {
			for _, s := range k.p.interval(name).within(time.UTC, k.from, k.until) {
				edges = append(edges, s.from, s.to)
			}
		}
	}
	edges = slices.DeleteFunc(sortedInstants(edges), func(t time.Time) bool { return !t.Before(k.until) })
	spans := []span{}
	for i, at := range edges {
		if slices.ContainsFunc(cs, func(c Condition) bool { return c.FailsAt(k.p, at) != "" }) {
			continue
		}
		end := k.until
		if i+1 < len(edges) {
			end = edges[i+1]
		}
		if last := len(spans) - 1; last >= 0 && spans[last].to.Equal(at) {
			spans[last].to = end
		} else {
			spans = append(spans, span{at, end})
		}
	}
	return spans
}

// prove looks at the instants at which the answer can change, and once between each two.
func (k *prover) prove(e Escalation) (breaches []Breach) {
	pr := k.proof(e)
	at, ok := pr.instants()
	if !ok {
		return []Breach{{Escalation: e.Name, Period: Period{k.from, k.to}, Tier: -1, Why: fmt.Sprintf("nothing is proved: its tiers, "+
			"urgency and contact rules can meet shifts and intervals in more than %d ways; durations of whole minutes make it fewer", maxInstants)}}
	}
	for i, begin := range at {
		end := k.to
		if i+1 < len(at) {
			end = at[i+1]
		}
		after := begin.Add(end.Sub(begin) / 2)
		there, later := pr.worst(begin), pr.worst(after)
		broken := Period{begin, end}
		switch {
		case there.kept && later.kept:
			continue
		case there.kept:
			broken.From = begin.Add(1)
		case later.kept:
			broken.To = begin.Add(1) // that instant alone
		}
		if last := len(breaches) - 1; last >= 0 && breaches[last].To.Equal(broken.From) {
			breaches[last].To = broken.To
			continue
		}
		w := pr.worst(broken.From)
		endless := w.endless
		w = pr.walk(broken.From, w.number, true)
		w.endless = endless
		breaches = append(breaches, Breach{Escalation: e.Name, Period: broken, Tier: w.lastTier, Why: w.why()})
	}
	return breaches
}
