package oncall

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// RuleTiming is what StepRule needs to know of a rule.
type RuleTiming struct {
	Rule          RuleID
	For           time.Duration // 0: fires at the first breach
	KeepFiringFor time.Duration // 0: resolves at the first evaluation without a breach
	NoDataFor     time.Duration // no_data: hold: how long an alert stays whose series is gone; 0: it resolves
}

// Sample is one element of a query's answer, with the labels of the alert that it stands for.
type Sample struct {
	Labels labels.Labels // of the alert: templates expanded, with alertname, without metric name
	Metric labels.Labels // as answered
	Value  float64
	// Histogram is the value where it is a native histogram; Value is 0 then.
	Histogram *histogram.FloatHistogram
	// Band: the value is between the threshold and recover. It keeps a firing alert firing, and nothing else:
	// a pending alert needs a breach, and one that keep_firing_for holds has recovered already.
	Band bool
	// LastSeen is set where no_data: alert lets a series count as breaching that is gone since then; the
	// value is its last one.
	LastSeen time.Time
}

// Observation is one evaluation of one rule: what was asked, and what came back.
type Observation struct {
	At      time.Time // evaluation timestamp
	Samples []Sample  // no two with equal Labels
	Failed  string    // why there is no answer; "" if there is one. Samples are then ignored.
	Partial string    // why the answer may miss series; "" if it is complete
	DueOnly bool      // the extra evaluation at the end of a for or keep_firing_for: may only move alerts that are due
	// Healthy has the hashes of the label sets whose series have a sample that does not breach. With
	// RuleTiming.NoDataFor an alert that neither breaches nor is healthy is held.
	Healthy map[uint64]struct{}
	// Gap: nobody looked for longer than ForgetAfter, as after a suspended machine wakes. Pending time starts again.
	Gap bool
	// External labels are kept with every alert that fires now, so that it is reported under the same
	// labels until it resolves, whatever the configuration says by then.
	External labels.Labels
	// Evidence holds what is the same for the whole evaluation (group, expression, hash, backend, At);
	// metric and value are filled in per alert.
	Evidence Evidence
}

// StatusChange is what a step has to tell the incidents about one alert.
type StatusChange struct {
	Status   ChangeStatus
	Alert    Alert // as it is now; for a resolved one, as it was last
	Reason   string
	Evidence Evidence

	index int // in Step.Alerts; -1 where the alert is gone
}

// Step is what one observation makes of the alerts of one rule. Commit it before acting on it: Alerts
// replaces the state in memory only once Upserts, Deletes, Transitions and Changes are on disk.
type Step struct {
	Alerts      []Alert        // all pending and firing alerts, in a stable order
	Upserts     []int          // indices into Alerts of what is new or changed
	Deletes     []AlertKey     // alerts that became inactive
	Transitions []Transition   // for the record
	Changes     []StatusChange // for the incidents; only alerts that fire or fired
	NextAt      time.Time      // earliest end of a for or keep_firing_for after At: ask again then, with DueOnly; zero: none

	moved []int // indices of alerts that moved to pending or firing
}

// Annotate gives every alert that moved to pending or firing the annotations that f makes for it. It is
// apart from the step because templates may ask the backend, and a step asks nobody.
func (s *Step) Annotate(f func(Alert) map[string]string) {
	for _, i := range s.moved {
		s.Alerts[i].Annotations = f(s.Alerts[i])
	}
	for c := range s.Changes {
		if i := s.Changes[c].index; i >= 0 {
			s.Changes[c].Alert.Annotations = s.Alerts[i].Annotations
		}
	}
}

// Explain replaces the reason of all transitions and changes, where the caller knows a better one than
// the query's answer.
func (s *Step) Explain(reason string) {
	for i := range s.Transitions {
		s.Transitions[i].Reason = reason
	}
	for i := range s.Changes {
		s.Changes[i].Reason = reason
	}
}

// FormatValue formats a sample's value as Prometheus' API does: round-trip, "NaN" and "+Inf" included.
func FormatValue(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// maxText bounds the text of a histogram: evidence is kept with every transition.
const maxText = 1000

// text is the value for people: of a histogram as many of its buckets as there is room for.
func (s Sample) text() string {
	if s.Histogram == nil {
		return FormatValue(s.Value)
	}
	text := s.Histogram.String()
	if len(text) <= maxText {
		return text
	}
	return text[:strings.LastIndex(text[:maxText], ", ")] + ", …}"
}

// StepRule moves the alerts of one rule by one observation, exactly as Prometheus does for a complete
// answer. A failed query moves nothing: its alerts become unknown. What a partial answer does not show is
// unknown too, never resolved. current is not written to.
func StepRule(t RuleTiming, current []Alert, o Observation) Step {
	s := stepper{timing: t, obs: o}
	s.out.Alerts = make([]Alert, 0, len(current)+4)
	if o.Failed != "" {
		s.failed(current)
		return s.finish()
	}
	// By hash, as fingerprints are: two label sets with one hash are one alert to the store too.
	samples := make(map[uint64]int, len(o.Samples))
	order := make([]uint64, len(o.Samples))
	for i, smp := range o.Samples {
		order[i] = smp.Labels.Hash()
		samples[order[i]] = i
	}
	for _, a := range current {
		hash := a.Labels.Hash()
		i, answered := samples[hash]
		delete(samples, hash)
		moved := s.rewind(&a)
		_, healthy := o.Healthy[hash]
		switch {
		case answered && !o.Samples[i].Band:
			s.present(a, o.Samples[i])
		case answered && a.State == StateFiring && a.KeepFiringSince.IsZero():
			s.held(a, o.Samples[i])
		case o.Partial != "" && !answered && !healthy:
			s.unseen(a)
		case o.DueOnly:
			s.overdue(a)
		default:
			s.absent(a, answered || healthy)
		}
		if moved {
			s.alsoUpsert(a)
		}
	}
	if !o.DueOnly {
		for i, smp := range o.Samples {
			if j, left := samples[order[i]]; left && j == i && !smp.Band {
				s.appear(smp)
			}
		}
	}
	return s.finish()
}

// stepper collects one Step.
type stepper struct {
	timing RuleTiming
	obs    Observation
	out    Step
}

// keep carries an alert over unchanged.
func (s *stepper) keep(a Alert) int {
	s.out.Alerts = append(s.out.Alerts, a)
	return len(s.out.Alerts) - 1
}

// put carries a changed alert over.
func (s *stepper) put(a Alert) int {
	i := s.keep(a)
	s.out.Upserts = append(s.out.Upserts, i)
	return i
}

// failed marks every alert unknown. The extra evaluation at the end of a for changes nothing when it
// fails: the group's next one asks again.
func (s *stepper) failed(current []Alert) {
	for _, a := range current {
		if s.obs.DueOnly {
			s.keep(a)
		} else {
			s.unknown(a, "the query failed: "+s.obs.Failed)
		}
	}
}

func (s *stepper) unknown(a Alert, reason string) {
	if !a.UnknownSince.IsZero() {
		s.keep(a)
		return
	}
	a.UnknownSince = s.obs.At
	i := s.put(a)
	if a.State == StateFiring {
		s.change(ChangeUnknown, a, i, reason, s.evidence(a.Evidence.Metric, ""))
	}
}

// present steps an alert that the answer contains.
func (s *stepper) present(a Alert, smp Sample) {
	breached := s.obs.At.Sub(a.ActiveAt)
	due := a.State == StatePending && breached >= s.timing.For
	if s.obs.DueOnly && !due {
		s.keep(a)
		return
	}
	wasUnknown := !a.UnknownSince.IsZero()
	wasGone := !a.NoDataSince.IsZero()
	a.UnknownSince = time.Time{}
	a.Latest, a.Histogram = smp.Value, smp.Histogram
	// Equal, and in memory that the next answer has too.
	if labels.Equal(a.Labels, smp.Labels) {
		a.Labels = smp.Labels
	}
	if labels.Equal(a.Evidence.Metric, smp.Metric) {
		a.Evidence.Metric = smp.Metric
	}
	if wasGone != !smp.LastSeen.IsZero() {
		a.NoDataSince = smp.LastSeen
	}
	switch {
	case due:
		s.fire(a, smp, StatePending, s.breached(breached, smp))
	case a.State == StateFiring && breached < s.timing.For && breached >= 0: // below 0 the clock was set back
		s.demote(a, smp, breached)
	case wasUnknown || !a.KeepFiringSince.IsZero() || wasGone != !smp.LastSeen.IsZero():
		a.KeepFiringSince = time.Time{}
		i := s.put(a)
		if wasUnknown && a.State == StateFiring {
			s.change(ChangeKnown, a, i, "the query works again", s.evidence(smp.Metric, smp.text()))
		}
	default:
		s.keep(a)
	}
}

// absent steps an alert that a complete answer does not contain. healthy: its series has a sample that does
// not breach.
func (s *stepper) absent(a Alert, healthy bool) {
	if !healthy && s.timing.NoDataFor > 0 && a.KeepFiringSince.IsZero() {
		s.noData(a)
		return
	}
	if a.State == StatePending {
		s.end(a, fmt.Sprintf("no longer returned by the query after %s of %s (for)",
			human(s.obs.At.Sub(a.ActiveAt)), human(s.timing.For)))
		return
	}
	if s.timing.KeepFiringFor <= 0 {
		s.end(a, "no longer returned by the query")
		return
	}
	wasUnknown := !a.UnknownSince.IsZero()
	started := a.KeepFiringSince.IsZero()
	if started {
		a.KeepFiringSince = s.obs.At
	}
	if gone := s.obs.At.Sub(a.KeepFiringSince); gone >= s.timing.KeepFiringFor {
		s.end(a, fmt.Sprintf("no longer returned by the query for %s (keep_firing_for: %s)",
			human(gone), human(s.timing.KeepFiringFor)))
		return
	}
	if !started && !wasUnknown && a.NoDataSince.IsZero() {
		s.keep(a)
		return
	}
	a.UnknownSince, a.NoDataSince = time.Time{}, time.Time{}
	i := s.put(a)
	if wasUnknown {
		s.change(ChangeKnown, a, i, "the query works again; it no longer returns this alert, which keep_firing_for holds for "+
			human(s.timing.KeepFiringFor), s.evidence(a.Evidence.Metric, ""))
	}
}

// appear begins an alert that was inactive.
func (s *stepper) appear(smp Sample) {
	a := Alert{Rule: s.timing.Rule, Labels: smp.Labels, State: StatePending, ActiveAt: s.obs.At, NoDataSince: smp.LastSeen}
	if !smp.LastSeen.IsZero() {
		a.ActiveAt = smp.LastSeen
	}
	if s.timing.For <= 0 {
		s.fire(a, smp, StateInactive, s.returned(smp)+" (the rule has no for)")
		return
	}
	if lasted := s.obs.At.Sub(a.ActiveAt); lasted >= s.timing.For {
		s.fire(a, smp, StateInactive, s.breached(lasted, smp))
		return
	}
	a.Value, a.Latest, a.Histogram = smp.Value, smp.Value, smp.Histogram
	a.Evidence = s.evidence(smp.Metric, smp.text())
	s.out.moved = append(s.out.moved, s.put(a))
	s.transition(a, StateInactive, StatePending, fmt.Sprintf("%s (for: %s)", s.returned(smp), human(s.timing.For)), a.Evidence)
}

func (s *stepper) fire(a Alert, smp Sample, from AlertState, reason string) {
	a.State = StateFiring
	a.FiredAt = s.obs.At
	a.External = s.obs.External
	a.Value, a.Latest, a.Histogram = smp.Value, smp.Value, smp.Histogram
	a.Evidence = s.evidence(smp.Metric, smp.text())
	i := s.put(a)
	s.out.moved = append(s.out.moved, i)
	s.transition(a, from, StateFiring, reason, a.Evidence)
	s.change(ChangeFiring, a, i, reason, a.Evidence)
}

// demote takes a firing alert back to pending because its rule's for was raised above the time it has
// been breached, as Prometheus does. For the incidents it is over until it fires again.
func (s *stepper) demote(a Alert, smp Sample, breached time.Duration) {
	last := a
	reason := fmt.Sprintf("for was raised to %s, breached for %s only", human(s.timing.For), human(breached))
	a.State = StatePending
	a.FiredAt, a.KeepFiringSince = time.Time{}, time.Time{}
	a.External = labels.EmptyLabels()
	a.Value = smp.Value
	a.Evidence = s.evidence(smp.Metric, smp.text())
	s.out.moved = append(s.out.moved, s.put(a))
	s.transition(a, StateFiring, StatePending, reason, a.Evidence)
	s.change(ChangeResolved, last, -1, reason, a.Evidence)
}

// end makes an alert inactive; one that fired is resolved.
func (s *stepper) end(a Alert, reason string) {
	to := StateInactive
	if a.State == StateFiring {
		to = StateResolved
	}
	ev := s.evidence(a.Evidence.Metric, "")
	s.out.Deletes = append(s.out.Deletes, AlertKey{Rule: a.Rule, Fingerprint: FingerprintOf(a.Labels)})
	s.transition(a, a.State, to, reason, ev)
	if to == StateResolved {
		a.UnknownSince = time.Time{}
		s.change(ChangeResolved, a, -1, reason, ev)
	}
}

func (s *stepper) evidence(metric labels.Labels, value string) Evidence {
	ev := s.obs.Evidence
	ev.Metric, ev.Value, ev.For = metric, value, s.timing.For
	return ev
}

func (s *stepper) transition(a Alert, from, to AlertState, reason string, ev Evidence) {
	s.out.Transitions = append(s.out.Transitions, Transition{
		Rule: a.Rule, Fingerprint: FingerprintOf(a.Labels), Labels: a.Labels, At: s.obs.At, From: from, To: to, Reason: reason, Evidence: ev,
	})
}

func (s *stepper) change(status ChangeStatus, a Alert, index int, reason string, ev Evidence) {
	s.out.Changes = append(s.out.Changes, StatusChange{Status: status, Alert: a, Reason: reason, Evidence: ev, index: index})
}

// finish finds when the rule must be asked again. Alerts that are due already (a gap, a failed query) wait
// for the group's next evaluation.
func (s *stepper) finish() Step {
	s.out.NextAt = NextDue(s.timing, s.out.Alerts, s.obs.At)
	return s.out
}

// NextDue returns the earliest end of a for or keep_firing_for among the alerts of a rule that lies after an
// instant; zero: none does.
func NextDue(t RuleTiming, alerts []Alert, after time.Time) (next time.Time) {
	for i := range alerts {
		a := &alerts[i]
		var due time.Time
		switch {
		case a.State == StatePending:
			due = a.ActiveAt.Add(t.For)
		case !a.KeepFiringSince.IsZero() && t.KeepFiringFor > 0:
			due = a.KeepFiringSince.Add(t.KeepFiringFor)
		}
		if due.After(after) && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next
}

// human formats a duration as Prometheus writes it in rule files: "2m", "1h30m".
func human(d time.Duration) string { return model.Duration(d.Round(time.Millisecond)).String() }
