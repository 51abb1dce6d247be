package evaluator

import (
	"hash/fnv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/rules"
)

// DefaultInterval is how often a group is evaluated where nothing is configured.
const DefaultInterval = time.Minute

// minUnknownAfter is the least default of unknown_after.
const minUnknownAfter = 5 * time.Minute

// Plan is what to evaluate and how: immutable, replaced whole by Apply.
type Plan struct {
	Groups         []rules.Group
	Backend        Backend
	BackendName    string        // how people know the backend: evidence, the built-in alert's label
	GraphURL       string        // base of generator URLs, without a trailing slash; the graph's path is added
	ExternalURL    string        // of tocsin itself, for templates
	ExternalLabels labels.Labels // added to what is reported, never overriding an alert's own
	Interval       time.Duration // of groups that set none; 0: DefaultInterval
	UnknownAfter   time.Duration // of groups that set none; 0: three intervals or 5 m, the longer
	QueryTimeout   time.Duration // bounds a query, as does the group's interval; 0: the interval alone
	Concurrency    int           // queries in flight; 0: 8
	// Backends are those that a group may name; the fields above are about the one for groups that name none.
	Backends map[string]Source
	// DefaultEscalation takes the built-in alert for rules that name no escalation; "" leaves that to
	// whoever places the alerts.
	DefaultEscalation string

	templates *templates // made by Apply
}

// Source is a named backend with what differs from one to the other; see Plan for the fields.
type Source struct {
	Backend      Backend
	BackendName  string
	GraphURL     string
	QueryTimeout time.Duration
	Concurrency  int
}

func (p *Plan) interval(g *rules.Group) time.Duration {
	switch {
	case g.Interval > 0:
		return g.Interval
	case p.Interval > 0:
		return p.Interval
	}
	return DefaultInterval
}

func (p *Plan) unknownAfter(g *rules.Group) time.Duration {
	switch {
	case g.UnknownAfter > 0:
		return g.UnknownAfter
	case p.UnknownAfter > 0:
		return p.UnknownAfter
	}
	return max(3*p.interval(g), minUnknownAfter)
}

func (p *Plan) queryTimeout(g *rules.Group) time.Duration {
	iv, timeout := p.interval(g), p.source(g).QueryTimeout
	if timeout <= 0 || iv < timeout {
		return iv
	}
	return timeout
}

// escalation is where the built-in alert for a rule goes.
func (p *Plan) escalation(r *rules.Rule) string {
	if r.Escalation == "" {
		return p.DefaultEscalation
	}
	return r.Escalation
}

// groupKey identifies a group over reloads, as Prometheus' metrics do.
func groupKey(g *rules.Group) string { return g.File + ";" + g.Name }

// slots is the grid of instants at which a group is evaluated: every interval, at an offset that depends
// on the group alone, so that groups spread and a restart changes nothing.
type slots struct {
	interval time.Duration
	offset   time.Duration
}

func newSlots(g *rules.Group, interval time.Duration) slots {
	h := fnv.New64a()
	h.Write([]byte(g.Name + ";" + g.File))
	// Whole milliseconds: that is the precision of Prometheus' timestamps.
	ms := max(uint64(interval/time.Millisecond), 1)
	return slots{interval: interval, offset: time.Duration(h.Sum64()%ms) * time.Millisecond}
}

// floor returns the last slot that is not after t.
func (s slots) floor(t time.Time) time.Time {
	ns := t.UnixNano() - int64(s.offset)
	ns -= ns % int64(s.interval)
	return time.Unix(0, ns+int64(s.offset)).UTC()
}

// after returns the first slot after t.
func (s slots) after(t time.Time) time.Time { return s.floor(t).Add(s.interval) }

// firstDelay spreads first evaluations: at once, but not all in the same instant.
func (s slots) firstDelay() time.Duration {
	return s.offset % min(s.interval, 2*time.Second)
}

// bound is a rule with all that its evaluation needs. It is made anew with each plan; its state is not.
type bound struct {
	plan  *Plan
	group *rules.Group
	rule  *rules.Rule
	ask   question
	from  *asking // who is asked
	state *ruleState
	cache alertLabels // guarded by state.eval
	reads bool        // it may read what some rule of the plan writes
}

func (b *bound) timing() oncall.RuleTiming {
	return oncall.RuleTiming{Rule: b.rule.ID, For: b.rule.For, KeepFiringFor: b.rule.KeepFiringFor, NoDataFor: noDataFor(b.rule)}
}

func (b *bound) evidence(at time.Time) oncall.Evidence {
	return oncall.Evidence{
		Group: b.group.Name, File: b.group.File, Expr: b.ask.exact, RuleHash: b.rule.Hash,
		Backend: b.from.BackendName, At: at.Add(-b.group.QueryOffset),
	}
}
