package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// identify gives every rule its ID. The ordinal counts the rules that agree in group, kind, name and
// static labels, over all files in their order.
func identify(groups []Group) {
	seen := map[string]int{}
	for i := range groups {
		for j := range groups[i].Rules {
			r := &groups[i].Rules[j]
			h := sha256.New()
			fmt.Fprintf(h, "%q|", groups[i].Name)
			if r.Record != "" {
				fmt.Fprint(h, "record|")
			}
			fmt.Fprintf(h, "%q", r.Name())
			r.Labels.Range(func(l labels.Label) {
				if r.Record != "" || !strings.Contains(l.Value, "{{") {
					fmt.Fprintf(h, "|%q=%q", l.Name, l.Value)
				}
			})
			same := sum(h)
			h.Write(fmt.Appendf(nil, "#%d", seen[same]))
			seen[same]++
			r.ID = oncall.RuleID(sum(h))
		}
	}
}

// hashRule is the hash of everything that changes what a rule means: what it asks, when, and what its
// alerts say. Where it stands and how it is written does not count.
func hashRule(g *Group, r *Rule) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q|%d|%d|%d|%d|%q|%q|%d|%d|%q|%s", g.Name, g.Interval, g.QueryOffset, g.Limit, g.UnknownAfter,
		r.Alert, r.Expr, r.For, r.KeepFiringFor, r.Escalation, r.Labels)
	for _, name := range slices.Sorted(maps.Keys(r.Annotations)) {
		fmt.Fprintf(h, "|%q=%q", name, r.Annotations[name])
	}
	// What is as in Prometheus adds nothing.
	if r.Record != "" {
		fmt.Fprintf(h, "|record %q", r.Record)
	}
	if r.NoData != NoDataOK {
		fmt.Fprintf(h, "|no_data %q %d", r.NoData, r.NoDataFor)
	}
	if r.Recover != nil {
		fmt.Fprintf(h, "|recover %x", *r.Recover)
	}
	if g.Prometheus != "" {
		fmt.Fprintf(h, "|prometheus %q", g.Prometheus)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Headers)) {
		fmt.Fprintf(h, "|header %q=%q", name, g.Headers[name])
	}
	return sum(h)
}

// sameness is equal for rules of a group that would always say the same.
func sameness(r *Rule) string { return fmt.Sprintf("%q|%q|%q|%s", r.Alert, r.Record, r.Expr, r.Labels) }

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:12]) }
