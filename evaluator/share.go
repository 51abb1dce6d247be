package evaluator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"tocsin/rules"
)

// question is what is asked for a rule, and how its samples are told from those of others in the answer.
type question struct {
	exact  string // the rule's own expression: the extra evaluation, and whatever is not shared
	shared string // what the grid asks: exact, or the loosest comparison among the rules that share it
	vector string // the vector side alone; "" where the expression has no threshold
	// threshold is the rule's own, nil where it has none: every sample of the answer is then the rule's.
	threshold *rules.Threshold
	recover   *float64
	// alone: the rule may read what an earlier rule of its group writes, so that no earlier answer serves it.
	alone bool
}

// questions says what to ask for the rules of one group, in their order. Rules share a query where their
// expressions print the same, or are one vector compared with different numbers in one direction: the
// loosest comparison then returns all that the others would, and comparing its samples here, by the same
// IEEE rules, leaves exactly what each would return. Everything else is asked as it is written.
func questions(g *rules.Group) []question {
	qs := make([]question, len(g.Rules))
	shares := map[string]*share{} // by vector and direction
	for i := range g.Rules {
		r := &g.Rules[i]
		q := question{exact: r.Expr.String(), recover: r.Recover, alone: readsEarlier(g, i)}
		q.shared = q.exact
		if t, reason := rules.ThresholdOf(r.Expr); reason == "" {
			q.threshold, q.vector = &t, vectorText(t.Vector)
		}
		if q.threshold != nil && !q.alone {
			key := q.share()
			if sh := shares[key]; sh == nil {
				shares[key] = &share{loosest: q.asks()}
			} else {
				sh.loosest = looser(sh.loosest, q.asks())
			}
		}
		qs[i] = q
	}
	for i := range qs {
		q := &qs[i]
		switch {
		case q.threshold == nil:
		case !q.alone:
			q.shared = shares[q.share()].text(qs)
		case q.recover != nil:
			q.shared = comparison(q.asks())
		}
	}
	return qs
}

// share is the rules of one vector and direction that are asked by one question.
type share struct {
	loosest rules.Threshold
	asked   string
}

// text is the question: as a rule has written it, where one asks for just that.
func (sh *share) text(qs []question) string {
	if sh.asked != "" {
		return sh.asked
	}
	sh.asked = comparison(sh.loosest)
	for i := range qs {
		q := &qs[i]
		if t := q.threshold; t != nil && !q.alone && t.Op == sh.loosest.Op && t.Value == sh.loosest.Value && vectorText(t.Vector) == vectorText(sh.loosest.Vector) {
			sh.asked = q.exact
			break
		}
	}
	return sh.asked
}

// share says which rules may be asked together with this one.
func (q *question) share() string {
	if q.threshold.Above() {
		return ">" + q.vector
	}
	return "<" + q.vector
}

// asks is the loosest comparison that the rule itself needs: recover lowers it.
func (q *question) asks() rules.Threshold {
	t := *q.threshold
	if q.recover == nil {
		return t
	}
	// Between the two a firing alert stays; at recover itself it resolves.
	r := rules.Threshold{Vector: t.Vector, Op: parser.LSS, Value: *q.recover}
	if t.Above() {
		r.Op = parser.GTR
	}
	return looser(t, r)
}

// looser returns the comparison of one direction that lets more pass.
func looser(a, b rules.Threshold) rules.Threshold {
	switch {
	case a.Value == b.Value:
		if a.Op == parser.GTR || a.Op == parser.LSS {
			return b
		}
		return a
	case a.Above() == (b.Value < a.Value):
		return b
	}
	return a
}

// vectorText prints a vector so that it stands as one operand.
func vectorText(e parser.Expr) string {
	switch e.(type) {
	case *parser.VectorSelector, *parser.Call, *parser.AggregateExpr:
		return e.String()
	}
	return "(" + e.String() + ")"
}

func comparison(t rules.Threshold) string {
	number := &parser.NumberLiteral{Val: t.Value}
	return fmt.Sprintf("%s %s %s", vectorText(t.Vector), t.Op, number)
}

// picked is an answer sorted by what its samples mean for one rule.
type picked struct {
	breach  []Sample
	band    []Sample // between threshold and recover
	all     []Sample // the whole vector, where that was asked
	whole   bool     // the vector was asked: a series that is in none of these is gone
	partial string   // as in Answer
}

// asIs takes the answer to a rule's own expression, which the backend has compared.
func asIs(ans Answer) picked { return picked{breach: ans.Samples, partial: ans.Partial} }

// pick sorts an answer that holds more than the rule's own.
func (q *question) pick(ans Answer) picked {
	p := asIs(ans)
	n := 0
	for i := range ans.Samples {
		if q.breaches(&ans.Samples[i]) {
			n++
		}
	}
	if n == len(ans.Samples) {
		return p
	}
	p.breach = make([]Sample, 0, n)
	for _, s := range ans.Samples {
		switch {
		case q.breaches(&s):
			p.breach = append(p.breach, s)
		case q.inBand(&s):
			p.band = append(p.band, s)
		}
	}
	return p
}

// breaches compares as the backend does, where no histogram passes a comparison with a number.
func (q *question) breaches(s *Sample) bool {
	return s.Histogram == nil && q.threshold.Breaches(s.Value)
}

// inBand reports whether a value that does not breach has not recovered either.
func (q *question) inBand(s *Sample) bool {
	if q.recover == nil || s.Histogram != nil {
		return false
	}
	if q.threshold.Above() {
		return s.Value > *q.recover
	}
	return s.Value < *q.recover
}

// readsEarlier reports whether rule i may read what an earlier rule of its group writes: a recorded series,
// or ALERTS.
func readsEarlier(g *rules.Group, i int) bool {
	if i == 0 {
		return false
	}
	r := &g.Rules[i]
	found := false
	parser.Inspect(r.Expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok && !found {
			found = readsAnyOf(s, g.Rules[:i])
		}
		return nil
	})
	return found
}

func readsAnyOf(s *parser.VectorSelector, earlier []rules.Rule) bool {
	for i := range earlier {
		r := &earlier[i]
		written := []string{r.Record}
		if r.Record == "" {
			written = []string{alertsMetric, forStateMetric}
		}
		for _, name := range written {
			if mayBe(s, name, r.Alert) {
				return true
			}
		}
	}
	return false
}

// writtenBy returns the names of all series that the rules of a plan write.
func writtenBy(p *Plan) map[string]bool {
	names := map[string]bool{}
	for gi := range p.Groups {
		for ri := range p.Groups[gi].Rules {
			if r := &p.Groups[gi].Rules[ri]; r.Record != "" {
				names[r.Record] = true
			} else {
				names[alertsMetric], names[forStateMetric] = true, true
			}
		}
	}
	return names
}

// readsWritten reports whether an expression may read a series of one of the names.
func readsWritten(e parser.Expr, names map[string]bool) bool {
	found := false
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		switch {
		case !ok || found:
		case s.Name != "":
			found = names[s.Name]
		default:
			for name := range names {
				found = found || mayBe(s, name, "")
			}
		}
		return nil
	})
	return found
}

// mayBe reports whether a selector could select a series of this name (and alertname, if it has one).
func mayBe(s *parser.VectorSelector, name, alert string) bool {
	if s.Name != "" && s.Name != name {
		return false
	}
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && !m.Matches(name) || alert != "" && m.Name == labels.AlertName && !m.Matches(alert) {
			return false
		}
	}
	return true
}

// iteration is one evaluation of a group: what was asked in it already. The group's grid uses it, and those who
// look ahead for it.
type iteration struct {
	at    time.Time // evaluation timestamp
	began time.Time

	mu      sync.Mutex
	answers map[string]*answered // by what was asked; guarded by mu
	kept    map[string]*Reuse    // of the group, by the same; guarded by mu

	early time.Duration // see headStart; owned by the grid
	later *lookahead
}

// answered is one question of an iteration. What it holds is valid once done is closed.
type answered struct {
	began time.Time
	done  chan struct{}
	ans   Answer
	err   error
	took  time.Duration

	counted bool // some rule's time has it; owned by the grid
}

// since is when the evaluation began; zero for none.
func (it *iteration) since() time.Time {
	if it == nil {
		return time.Time{}
	}
	return it.began
}

// headStart is how long the questions of the rule whose turn it is were under way before its turn.
func (it *iteration) headStart() time.Duration {
	if it == nil {
		return 0
	}
	return it.early
}

// reuse returns what one question keeps from one evaluation to the next.
func (it *iteration) reuse(key string) *Reuse {
	it.mu.Lock()
	defer it.mu.Unlock()
	r := it.kept[key]
	if r == nil {
		r = &Reuse{}
		it.kept[key] = r
	}
	return r
}

// has reports whether a question was asked.
func (it *iteration) has(text string) bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.answers[text] != nil
}

// fetching reports whether a question is being asked.
func (it *iteration) fetching(text string) bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	a := it.answers[text]
	if a == nil {
		return false
	}
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// take returns a question; mine says that the caller must ask it.
func (it *iteration) take(text string) (a *answered, mine bool) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if a = it.answers[text]; a != nil {
		return a, false
	}
	a = &answered{began: time.Now(), done: make(chan struct{})}
	it.answers[text] = a
	return a, true
}

// once asks a question, unless it was asked in this iteration already: then it waits for that answer.
func (g *generation) once(ctx context.Context, b *bound, text string, it *iteration, timeout time.Duration) (a *answered, mine bool) {
	if a, mine = it.take(text); !mine {
		<-a.done // it ends with the generation, as this does
		return a, false
	}
	a.ans, a.err = g.ask(ctx, b, text, it.at.Add(-b.group.QueryOffset), terms{timeout: timeout, since: it.began, reuse: it.reuse(text)})
	if a.err != nil && errors.Is(context.Cause(ctx), errGivenUp) {
		a.err = late(errGivenUp)
		b.from.trouble.note(0, a.err)
	}
	a.took = time.Since(a.began)
	close(a.done)
	return a, true
}
