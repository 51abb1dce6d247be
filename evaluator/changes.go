package evaluator

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/strutil"

	"tocsin/oncall"
)

// source is what the changes of one rule have in common.
type source struct {
	name       string
	escalation string
	groupBy    []string
	graphURL   string // "": none
}

func (b *bound) source() source {
	return source{name: "rule:" + string(b.rule.ID), escalation: b.rule.Escalation, graphURL: b.from.GraphURL}
}

// evaluation turns a step into what is committed.
func evaluation(step oncall.Step, at time.Time, src source) oncall.Evaluation {
	ev := oncall.Evaluation{At: at, Deletes: step.Deletes, Transitions: step.Transitions}
	for _, i := range step.Upserts {
		ev.Upserts = append(ev.Upserts, step.Alerts[i])
	}
	if len(step.Changes) == 0 {
		return ev // nearly always
	}
	now := wallNow()
	for _, c := range step.Changes {
		change := oncall.AlertChange{
			At: now, Source: src.name, Status: c.Status,
			Labels:      withExternal(c.Alert.Labels, c.Alert.External),
			Annotations: c.Alert.Annotations,
			Value:       c.Evidence.Value,
			StartsAt:    c.Alert.FiredAt,
			Escalation:  src.escalation,
			GroupBy:     src.groupBy,
			Reason:      c.Reason,
			Evidence:    c.Evidence,
		}
		if change.Value == "" {
			change.Value = c.Alert.Evidence.Value // of the last transition, as Alert.Value is; a histogram has no other
		}
		if change.Value == "" {
			change.Value = oncall.FormatValue(c.Alert.Value)
		}
		change.GeneratorURL = generatorURL(src.graphURL, c.Evidence.Expr)
		ev.Changes = append(ev.Changes, change)
	}
	return ev
}

// maxRows is how many rows one transaction of an evaluation writes at most: acknowledgements and first pages
// must not wait for the storm that they are about.
const maxRows = 2000

// rowsOfAlert is how many rows one step writes of one alert: its state or its end, a transition, a change.
const rowsOfAlert = 3

// split cuts an evaluation that was made of step, nil where it is small enough as it is. Whatever was decided of
// one alert stays together and in its order.
func split(step oncall.Step, ev oncall.Evaluation) []oncall.Evaluation {
	if len(ev.Upserts)+len(ev.Deletes)+len(ev.Transitions)+len(ev.Changes) <= maxRows {
		return nil
	}
	var parts []oncall.Evaluation
	of := map[oncall.AlertKey]int{} // which part an alert is in
	rows := maxRows                 // in the last part
	part := func(rule oncall.RuleID, alert oncall.Fingerprint) *oncall.Evaluation {
		key := oncall.AlertKey{Rule: rule, Fingerprint: alert}
		i, ok := of[key]
		if !ok {
			if rows+rowsOfAlert > maxRows {
				parts = append(parts, oncall.Evaluation{At: ev.At})
				rows = 0
			}
			rows += rowsOfAlert
			i = len(parts) - 1
			of[key] = i
		}
		return &parts[i]
	}
	for i, t := range ev.Transitions {
		p := part(t.Rule, t.Fingerprint)
		p.Transitions = append(p.Transitions, ev.Transitions[i])
	}
	for i, a := range ev.Upserts {
		p := part(a.Rule, oncall.FingerprintOf(a.Labels))
		p.Upserts = append(p.Upserts, ev.Upserts[i])
	}
	for i, k := range ev.Deletes {
		p := part(k.Rule, k.Fingerprint)
		p.Deletes = append(p.Deletes, ev.Deletes[i])
	}
	for i := range ev.Changes {
		// By the labels that the alert has here: a change has external ones too.
		a := &step.Changes[i].Alert
		p := part(a.Rule, oncall.FingerprintOf(a.Labels))
		p.Changes = append(p.Changes, ev.Changes[i])
	}
	return parts
}

// generatorURL is where people see expr as a graph; "" if either is unknown.
func generatorURL(base, expr string) string {
	if base == "" || expr == "" {
		return ""
	}
	return base + strutil.TableLinkForExpression(expr)
}

// withExternal adds external labels where the alert has none of that name.
func withExternal(ls, external labels.Labels) labels.Labels {
	if external.IsEmpty() {
		return ls
	}
	lb := labels.NewBuilder(ls)
	external.Range(func(l labels.Label) {
		if ls.Get(l.Name) == "" {
			lb.Set(l.Name, l.Value)
		}
	})
	return lb.Labels()
}
