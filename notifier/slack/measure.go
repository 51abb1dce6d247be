package slack

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"tocsin/notifier/chart"
	"tocsin/oncall"
)

// measure is what a message says of the value: what it is, and what it was compared with.
type measure struct {
	value     string // "" where the alert carries none
	threshold string // "above 80 %"
	ahead     string // how far the rule looks ahead; "" where it does not
	worst     bool   // it is the worst of several
	of        oncall.IncidentAlert
}

// measureOf is about the alert that is the worst, by the rule of the first that fires.
func measureOf(a summary) (m measure) {
	switch {
	case a.worst != nil:
		m.of, m.worst = *a.worst, a.firing > 1
	case len(a.shown) > 0 && a.firing == 1:
		m.of = a.shown[0]
	default:
		return m
	}
	m.value = valueOf(m.of)
	if x, ok := chart.Read(m.of.Evidence.Expr); ok {
		m.threshold = x.Threshold()
		if x.Leak && x.Ahead > 0 && x.Value == x.Unit {
			m.ahead = chart.Span(x.Ahead)
		}
	}
	return m
}

func (m measure) words(a summary) string {
	s := "*" + prose(m.value, 40) + "*"
	if m.ahead != "" {
		s += " expected in " + m.ahead
	}
	if m.worst {
		s = "worst " + s
		if name := distinct(m.of, a); name != "" {
			s += " on " + codeName(name, 40)
		}
	}
	if m.threshold != "" {
		s += " (fires " + prose(m.threshold, 60) + ")"
	}
	return s
}

// distinct is what tells an alert from the others of its incident, in one word: the instance where that does.
func distinct(al oncall.IncidentAlert, a summary) string {
	for _, name := range a.differ {
		if v := al.Labels.Get(name); v != "" && name != "alertname" && name != "severity" {
			return v
		}
	}
	return ""
}

// valueOf writes the value of an alert for people: with its unit, where the rule's expression says which.
func valueOf(al oncall.IncidentAlert) string {
	v, err := strconv.ParseFloat(al.Value, 64)
	if err != nil {
		return al.Value // a histogram, or what a pushing Prometheus annotated
	}
	if al.Evidence.Expr != "" {
		if x, ok := chart.Read(al.Evidence.Expr); ok {
			return x.Value.Format(v)
		}
	}
	return number(al.Value)
}

// worst returns the alert that is furthest beyond its threshold, of those that fire by the same expression as the first.
// order is how the alerts are shown.
func worst(all []oncall.IncidentAlert, order []int) *oncall.IncidentAlert {
	if len(order) == 0 || all[order[0]].State == oncall.StateResolved {
		return nil
	}
	first := &all[order[0]]
	x, ok := chart.Read(first.Evidence.Expr)
	if !ok || !x.Bounded {
		return nil
	}
	var best *oncall.IncidentAlert
	most := math.Inf(-1)
	for _, i := range order {
		al := &all[i]
		if al.State == oncall.StateResolved || al.Evidence.Expr != first.Evidence.Expr {
			continue
		}
		if v, ok := beyond(*al, x); ok && (best == nil || v > most) {
			best, most = al, v
		}
	}
	return best
}

// beyond is how bad the value of an alert is, of those that fire by x: the larger, the worse.
func beyond(al oncall.IncidentAlert, x chart.Expression) (v float64, ok bool) {
	v, err := strconv.ParseFloat(al.Value, 64)
	if err != nil || math.IsNaN(v) {
		return 0, false
	}
	if !x.Above {
		v = -v
	}
	return v, true
}

// rank puts the worst of the firing alerts first, where they all fire by one expression with a threshold and each has
// a value; else it leaves their order as it is. order is which they are.
func rank(all []oncall.IncidentAlert, order []int) bool {
	if len(order) < 2 {
		return false
	}
	expr := all[order[0]].Evidence.Expr
	x, ok := chart.Read(expr)
	if !ok || !x.Bounded {
		return false
	}
	bad := make(map[int]float64, len(order))
	for _, i := range order {
		v, ok := beyond(all[i], x)
		if !ok || all[i].Evidence.Expr != expr {
			return false
		}
		bad[i] = v
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(bad[j], bad[i]) })
	return true
}
