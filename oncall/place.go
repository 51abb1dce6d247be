package oncall

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// PlaceAlert says which incident an alert belongs to: the escalation that its rule or a route names, which the
// dispatcher has filled in, else the one named default, and in it the group that the escalation's group_by makes.
// It never gives up: an alert whose escalation is gone goes to default, and without that to the first
// escalation by name, because a page to the wrong team is better than none.
func PlaceAlert(c AlertChange, p Policy) Place {
	name, why := placeName(c, p)
	if strings.HasPrefix(c.Source, BuiltinSource) && c.Escalation != "" {
		why = strings.Replace(why, "its rule names", "the rules that it blinds name", 1)
	}
	esc, _ := p.Escalation(name)
	groupBy := c.GroupBy
	if groupBy == nil {
		groupBy = esc.GroupBy
	}
	if groupBy == nil {
		groupBy = []string{model.AlertNameLabel}
	}
	b := labels.NewScratchBuilder(len(groupBy))
	seen := map[string]bool{}
	for _, l := range groupBy {
		if v := c.Labels.Get(l); v != "" && !seen[l] {
			seen[l] = true
			b.Add(l, v)
		}
	}
	b.Sort()
	group := b.Labels()
	return Place{Escalation: name, GroupKey: group.String(), GroupLabels: group, Why: why, ReopenWithin: esc.ReopenWithin}
}

// BuiltinSource begins the Source of alerts that no rule file names.
const BuiltinSource = "builtin:"

func placeName(c AlertChange, p Policy) (name, why string) {
	if c.Escalation != "" {
		why = c.Why
		if why == "" {
			why = fmt.Sprintf("its rule names the escalation %s", c.Escalation)
		}
		if _, ok := p.Escalation(c.Escalation); ok {
			return c.Escalation, why
		}
		why += fmt.Sprintf(", but %s is not configured any more; ", c.Escalation)
	}
	if _, ok := p.Escalations[DefaultEscalation]; ok {
		if why == "" {
			why = "its rule names no escalation; "
		}
		return DefaultEscalation, why + "the escalation named default takes it"
	}
	names := make([]string, 0, len(p.Escalations))
	for n := range p.Escalations {
		names = append(names, n)
	}
	if len(names) == 0 {
		return DefaultEscalation, why + "no escalation is configured"
	}
	slices.Sort(names)
	return names[0], why + "there is no default escalation, so the first by name takes it"
}
