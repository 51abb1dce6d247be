package slack

import (
	"math"
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
		v, err := strconv.ParseFloat(al.Value, 64)
		if al.State == oncall.StateResolved || al.Evidence.Expr != first.Evidence.Expr || err != nil || math.IsNaN(v) {
			continue
		}
		if !x.Above {
			v = -v
		}
		if best == nil || v > most {
			best, most = al, v
		}
	}
	return best
}
