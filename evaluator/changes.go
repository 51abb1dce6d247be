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
			change.Value = oncall.FormatValue(c.Alert.Value)
		}
		change.GeneratorURL = generatorURL(src.graphURL, c.Evidence.Expr)
		ev.Changes = append(ev.Changes, change)
	}
	return ev
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
