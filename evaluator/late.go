package evaluator

import "time"

// lateBy is what an evaluation may take beyond its interval before its group counts as late.
const lateBy = 30 * time.Second

// Late returns the names of the groups of the plan in force that were not evaluated in time: not for two of their
// intervals, the time that the last evaluation took, and half a minute. Nothing is late before since, such as when this
// process took over, or when the plan came into force.
func (e *Evaluator) Late(now, since time.Time) (names []string) {
	plan, _, times := e.snapshot()
	if plan == nil {
		return nil
	}
	for i := range plan.Groups {
		g := &plan.Groups[i]
		t := times[groupKey(g)]
		last := t.began
		if since.After(last) {
			last = since
		}
		if now.Sub(last) > 2*plan.interval(g)+t.took+lateBy {
			names = append(names, g.Name)
		}
	}
	return names
}
