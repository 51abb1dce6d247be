package oncall

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// CompareLabelSets orders label sets as Alertmanager does: fewer labels first; then by the first difference
// in the order of names, where a label that only one has makes the other one come first.
func CompareLabelSets(a, b labels.Labels) int {
	if c := cmp.Compare(a.Len(), b.Len()); c != 0 {
		return c
	}
	var room [24]labels.Label
	of := room[:0]
	b.Range(func(l labels.Label) { of = append(of, l) })
	i, result := 0, 0
	a.Range(func(l labels.Label) {
		if result == 0 {
			// The smaller name is the one that the other set lacks at this place.
			if result = -cmp.Compare(l.Name, of[i].Name); result == 0 {
				result = cmp.Compare(l.Value, of[i].Value)
			}
		}
		i++
	})
	return result
}

// sortKey is what alerts in a notification are sorted by: job, then instance, those without one last; then
// all labels.
type sortKey struct {
	job, instance       string
	hasJob, hasInstance bool
	labels              labels.Labels
}

func sortKeyOf(ls labels.Labels) sortKey {
	k := sortKey{job: ls.Get("job"), instance: ls.Get("instance"), labels: ls}
	// A value may be empty in theory only: the alert API removes such labels.
	k.hasJob, k.hasInstance = k.job != "", k.instance != ""
	return k
}

func (k *sortKey) compare(o *sortKey) int {
	if c := compareOptional(k.job, o.job, k.hasJob, o.hasJob); c != 0 {
		return c
	}
	if c := compareOptional(k.instance, o.instance, k.hasInstance, o.hasInstance); c != 0 {
		return c
	}
	return CompareLabelSets(k.labels, o.labels)
}

func compareOptional(a, b string, hasA, hasB bool) int {
	switch {
	case hasA && hasB:
		return cmp.Compare(a, b)
	case hasA:
		return -1
	case hasB:
		return 1
	}
	return 0
}

// SortAlerts sorts anything that has labels as Alertmanager sorts the alerts of a notification.
func SortAlerts[T any](alerts []T, of func(T) labels.Labels) {
	if len(alerts) < 2 {
		return
	}
	type keyed struct {
		key   sortKey
		alert T
	}
	all := make([]keyed, len(alerts))
	for i, a := range alerts {
		all[i] = keyed{sortKeyOf(of(a)), a}
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return a.key.compare(&b.key) })
	for i := range all {
		alerts[i] = all[i].alert
	}
}
