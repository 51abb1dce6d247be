package oncall

import (
	"fmt"
	"slices"
	"sort"
	"time"
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

// proof is what is known of one escalation and alerts of one kind.
type proof struct {
	*prover
	e       Escalation
	allowed [][]span // by tier: when time allows it; nil where its matchers do not match
	low     bool     // it has a low urgency
	alert   alertCase
}

func (k *prover) proof(e Escalation, c alertCase) *proof {
	pr := &proof{prover: k, e: e, alert: c}
	pr.low = e.Urgency.Low || len(e.Urgency.LowWhen) > 0 && c.holds(e, e.Urgency.LowWhen)
	for _, t := range e.Tiers {
		if !c.holds(e, e.Condition.When) || !c.holds(e, t.Condition.When) {
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
	refused := func(why string) []Breach {
		return []Breach{{Escalation: e.Name, Period: Period{k.from, k.to}, Tier: -1, Why: "nothing is proved: " + why}}
	}
	cases, ok := e.alertCases()
	if !ok {
		return refused(fmt.Sprintf("its conditions tell more than %d kinds of alerts apart", maxCases))
	}
	var proofs proofs
	var at []time.Time
	for _, c := range cases {
		pr := k.proof(e, c)
		more, ok := pr.instants()
		if at = append(at, more...); !ok || len(at) > 2*maxInstants {
			return refused(fmt.Sprintf("its tiers, urgency and contact rules can meet shifts and intervals in more than %d ways; "+
				"durations of whole minutes make it fewer", maxInstants))
		}
		proofs = append(proofs, pr)
	}
	at = sortedInstants(at)
	for i, begin := range at {
		end := k.to
		if i+1 < len(at) {
			end = at[i+1]
		}
		after := begin.Add(end.Sub(begin) / 2)
		there, later := proofs.worst(begin), proofs.worst(after)
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
		w := proofs.worst(broken.From)
		endless := w.endless
		w = w.walk(broken.From, w.number, true)
		w.endless = endless
		like, sure := w.alert.witness()
		breaches = append(breaches, Breach{Escalation: e.Name, Period: broken, Tier: w.lastTier, Why: w.why(), Labels: like, Doubtful: !sure, Number: w.counted()})
	}
	return breaches
}

// proofs are those of one escalation, for all kinds of alerts.
type proofs []*proof

// worst follows incidents of all kinds of alerts that are triggered at an instant, until one does not keep the promise,
// and returns the last.
func (ps proofs) worst(at time.Time) (w *walk) {
	for _, pr := range ps {
		if w = pr.worst(at); !w.kept {
			break
		}
	}
	return w
}
