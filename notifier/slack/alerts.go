package slack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// summary is what a message needs to know of an incident's alerts, however many there are.
type summary struct {
	total, firing, unknown int
	muted                  int                    // of those firing
	unknownSince           time.Time              // earliest
	worst                  *oncall.IncidentAlert  // of those firing that are of the first one's rule; nil: none can be told
	shown                  []oncall.IncidentAlert // firing before resolved, then the worst or the oldest first; at most maxInstances
	worstFirst             bool                   // shown are the worst
	kinds                  []oncall.IncidentAlert // the first to show of each alertname
	common                 []labels.Label         // the same on all alerts, by name
	differ                 []string               // names of the labels that differ, alertname and instance first
}

func summarise(all []oncall.IncidentAlert) summary {
	s := summary{total: len(all)}
	order := make([]int, len(all))
	for i := range all {
		order[i] = i
		if all[i].State == oncall.StateResolved {
			continue
		}
		s.firing++
		if !all[i].MutedSince.IsZero() {
			s.muted++
		}
		if u := all[i].UnknownSince; !u.IsZero() {
			s.unknown++
			if s.unknownSince.IsZero() || u.Before(s.unknownSince) {
				s.unknownSince = u
			}
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &all[i], &all[j]
		if ra, rb := a.State == oncall.StateResolved, b.State == oncall.StateResolved; ra != rb {
			if ra {
				return 1
			}
			return -1
		}
		return a.StartsAt.Compare(b.StartsAt)
	})
	names := map[string]bool{}
	for _, i := range order {
		if name := all[i].Labels.Get(labels.AlertName); !names[name] {
			names[name] = true
			s.kinds = append(s.kinds, all[i])
		}
	}
	s.common, s.differ = compare(all)
	s.worst = worst(all, order)
	s.worstFirst = rank(all, order[:s.firing])
	for _, i := range order[:min(len(order), maxInstances)] {
		s.shown = append(s.shown, all[i])
	}
	return s
}

// compare splits the labels into those that are the same on all alerts and the names of those that are not.
func compare(all []oncall.IncidentAlert) (common []labels.Label, differ []string) {
	type seen struct {
		value string
		count int
		same  bool
	}
	by := map[string]*seen{}
	for i := range all {
		all[i].Labels.Range(func(l labels.Label) {
			v := by[l.Name]
			if v == nil {
				v = &seen{value: l.Value, same: true}
				by[l.Name] = v
			}
			v.count++
			v.same = v.same && v.value == l.Value
		})
	}
	for name, v := range by {
		if v.same && v.count == len(all) {
			common = append(common, labels.Label{Name: name, Value: v.value})
		} else {
			differ = append(differ, name)
		}
	}
	slices.SortFunc(common, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	rank := func(n string) int {
		switch n {
		case labels.AlertName:
			return 0
		case "instance":
			return 1
		case "severity":
			return 2
		}
		return 3
	}
	slices.SortFunc(differ, func(a, b string) int {
		if ra, rb := rank(a), rank(b); ra != rb {
			return ra - rb
		}
		return strings.Compare(a, b)
	})
	return common, differ
}

// instances lists the alerts by what tells them apart, and says exactly how many are not listed, and where they are.
func instances(in oncall.Incident, a summary, p oncall.Policy, now time.Time) string {
	if a.total < 2 {
		return ""
	}
	rest := fmt.Sprintf("*and %d more*", a.total)
	if to := link(pageOf(in, p), fmt.Sprintf("all %d alerts", a.total)); to != "" {
		rest += ": " + to
	}
	room := maxList - utf8.RuneCountInString(rest) - 60
	var lines []string
	for _, al := range a.shown {
		l := instance(al, a.differ, now)
		if room -= utf8.RuneCountInString(l) + 1; room < 0 {
			break
		}
		lines = append(lines, l)
	}
	head := fmt.Sprintf("*Alerts* (all %d)", a.total)
	if len(lines) < a.total {
		head = fmt.Sprintf("*Alerts* (%d of %d)", len(lines), a.total)
		if a.worstFirst {
			head = fmt.Sprintf("*Alerts* (the worst %d of %d)", len(lines), a.total)
		}
		lines = append(lines, strings.Replace(rest, strconv.Itoa(a.total), strconv.Itoa(a.total-len(lines)), 1))
	}
	return head + "\n" + strings.Join(lines, "\n")
}

// instance is one alert: only what differs from the others, the name of a label where its value alone would not say.
func instance(al oncall.IncidentAlert, differ []string, now time.Time) string {
	const most = 4
	var parts []string
	for _, name := range differ {
		v := al.Labels.Get(name)
		if v == "" {
			continue
		}
		if len(parts) == most {
			parts = append(parts, "…")
			break
		}
		if name == labels.AlertName || name == "instance" {
			parts = append(parts, codeName(v, 50))
		} else {
			parts = append(parts, codeName(name+"="+v, 50))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, code(al.Labels.Get(labels.AlertName), 60))
	}
	s := "• " + strings.Join(parts, " ")
	switch {
	case al.State == oncall.StateResolved:
		s += " · resolved"
		if !al.ResolvedAt.IsZero() {
			s += " " + moment(al.ResolvedAt, now)
		}
		return s
	case !al.MutedSince.IsZero():
		s += " · 🔇 muted"
	case !al.UnknownSince.IsZero():
		s += " · ⚠️ unknown since " + moment(al.UnknownSince, now)
	}
	if v := valueOf(al); v != "" {
		s += " · " + prose(v, 30)
	}
	return s
}

// shownLabels are those that made the alerts one incident, then those that all of them share.
func shownLabels(in oncall.Incident, a summary) string {
	const most = 12
	var parts []string
	used, left := 0, 0
	have := map[string]bool{"severity": true} // shown above
	add := func(l labels.Label) {
		if have[l.Name] {
			return
		}
		have[l.Name] = true
		s := code(l.Name+"="+l.Value, 100)
		if n := utf8.RuneCountInString(s) + 1; len(parts) < most && used+n <= maxLabels-20 {
			used += n
			parts = append(parts, s)
			return
		}
		left++
	}
	in.GroupLabels.Range(add)
	for _, l := range a.common {
		add(l)
	}
	if left > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", left))
	}
	return strings.Join(parts, " ")
}
