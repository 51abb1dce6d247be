// Package replay runs the core under virtual time: the transitions of tocsin serve, without a database, far ends or
// waiting. It reads no clock and sends nothing. Start reading at Simulate.
package replay

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// Scenario is one incident to be played through: an alert that goes on firing, far ends that answer, and people who
// acknowledge.
type Scenario struct {
	Policy     oncall.Policy
	Escalation string
	At         time.Time     // of the trigger
	For        time.Duration // for how long it is watched
	Labels     labels.Labels // of the alert, its severity among them
	Number     int64         // of the incident, which says who begins in a round robin; 0: the first
	Acks       []Ack
	// Answers is what a far end makes of a delivery, at once; nil: all of them deliver.
	Answers func(oncall.Delivery) oncall.Outcome
	// UntilReached ends it with the first delivery that reaches a person.
	UntilReached bool
}

// Ack is an acknowledgement: by whom, and how long after the trigger. What is due at the same instant happens first.
type Ack struct {
	User  string
	After time.Duration
}

// Run is how a scenario went.
type Run struct {
	Incident oncall.Incident // as it is at the end, with its deliveries
	Timeline []oncall.TimelineEntry
	Replies  []string // to the acknowledgements, in their order
	Reached  *Reached // nil: no person was reached
}

// Reached is the first delivery that reached a person.
type Reached struct {
	At     time.Time `json:"at"`
	Target string    `json:"target"`
	Tier   int       `json:"tier"`
	Round  int       `json:"round"`
}

// maxSteps bounds a run: a defect must not spin.
const maxSteps = 200_000

// Simulate plays a scenario through. An error says that the escalation is unknown, or that the core did not come to
// rest.
func Simulate(s Scenario) (Run, error) {
	if _, ok := s.Policy.Escalation(s.Escalation); !ok {
		return Run{}, oncall.Errorf(oncall.CodeNotFound, "there is no escalation named %q", s.Escalation)
	}
	w := world{s: s, now: s.At, acks: slices.Clone(s.Acks)}
	slices.SortStableFunc(w.acks, func(a, b Ack) int { return int(a.After - b.After) })
	w.open()
	for range maxSteps {
		if s.UntilReached && w.run.Reached != nil || !w.step() {
			w.run.Incident = w.in
			return w.run, nil
		}
	}
	return Run{}, fmt.Errorf("the simulation does not come to rest: %s at %s", w.in.Next, w.now.Format(time.RFC3339))
}

// world does what the store and the loops do: it keeps the incident, applies decisions, sends, and lets time pass.
type world struct {
	s    Scenario
	now  time.Time
	in   oncall.Incident
	acks []Ack // still to come
	run  Run
}

func (w *world) open() {
	c := oncall.AlertChange{
		At: w.now, Source: "simulation", Status: oncall.ChangeFiring, Labels: w.s.Labels, StartsAt: w.now,
		Escalation: w.s.Escalation, Reason: "the simulation says so", Why: "the simulation names the escalation " + w.s.Escalation,
	}
	place := oncall.PlaceAlert(c, w.s.Policy)
	w.in = oncall.Incident{
		Number: max(1, w.s.Number), Key: "simulation", Escalation: place.Escalation,
		GroupKey: place.GroupKey, GroupLabels: place.GroupLabels,
	}
	w.apply(oncall.AlertsChanged{Changes: []oncall.AlertChange{c}})
}

// step does the next thing there is to do, at the earliest instant; false: nothing is left within the time.
func (w *world) step() bool {
	if w.send() {
		return true
	}
	if !w.in.NextAt.IsZero() && !w.in.NextAt.After(w.now) {
		w.apply(oncall.Tick{})
		return true
	}
	if len(w.acks) > 0 && !w.s.At.Add(w.acks[0].After).After(w.now) {
		d := w.apply(oncall.Command{Kind: oncall.CmdAcknowledge, Actor: w.acks[0].User})
		w.run.Replies = append(w.run.Replies, d.Reply)
		w.acks = w.acks[1:]
		return true
	}
	next, ok := w.next()
	if !ok || next.After(w.s.At.Add(w.s.For)) {
		return false
	}
	w.now = next
	return true
}

// next is the earliest instant after now at which anything happens.
func (w *world) next() (at time.Time, ok bool) {
	consider := func(t time.Time) {
		if t.After(w.now) && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	consider(w.in.NextAt)
	if len(w.acks) > 0 {
		consider(w.s.At.Add(w.acks[0].After))
	}
	for _, i := range w.heads() {
		consider(w.in.Deliveries[i].NextAt)
	}
	return at, ok
}

// heads are the deliveries whose turn it is, by index: the first unfinished one to each endpoint.
func (w *world) heads() (heads []int) {
	seen := map[oncall.Endpoint]bool{}
	for i, d := range w.in.Deliveries {
		if !d.State.Final() && !seen[d.Endpoint] {
			seen[d.Endpoint] = true
			heads = append(heads, i)
		}
	}
	return heads
}

// send attempts one delivery that is due, and commits what became of it.
func (w *world) send() bool {
	for _, i := range w.heads() {
		d := &w.in.Deliveries[i]
		if d.NextAt.After(w.now) {
			continue
		}
		outcome := oncall.OutcomeDelivered
		if w.s.Answers != nil {
			outcome = w.s.Answers(*d)
		}
		d.Attempts++
		if d.FirstAttemptAt.IsZero() {
			d.FirstAttemptAt = w.now
		}
		a := oncall.Attempt{At: w.now, Number: d.Attempts, Outcome: outcome, Error: answers[outcome]}
		d.State, d.NextAt = oncall.AfterAttempt(w.now, *d, a)
		d.Error = a.Error
		if d.State.Final() {
			d.DoneAt = w.now
		}
		if d.State == oncall.DeliveryDelivered {
			w.arrived(*d)
		}
		w.run.Timeline = append(w.run.Timeline, oncall.AttemptEntry(*d, a))
		w.apply(oncall.DeliveryFinished{Key: d.Key, Attempt: a, State: d.State})
		return true
	}
	return false
}

// answers are what far ends that do not deliver say.
var answers = map[oncall.Outcome]string{
	oncall.OutcomeRetry: "simulated: it does not answer", oncall.OutcomeUnknown: "simulated: it does not confirm",
	oncall.OutcomeRefused: "simulated: it refuses", oncall.OutcomeGone: "simulated: it is gone",
}

func (w *world) arrived(d oncall.Delivery) {
	for i := range w.in.Deliveries {
		if w.in.Deliveries[i].Endpoint == d.Endpoint {
			w.in.Deliveries[i].EndpointLast = w.now
		}
	}
	if w.run.Reached == nil && w.s.Policy.ReachesPerson(d) {
		w.run.Reached = &Reached{At: w.now, Target: d.Target, Tier: d.Tier, Round: d.Round}
	}
}

// apply decides, and commits as the store does. Edits are left out: they show what is, and ask nobody.
func (w *world) apply(ev oncall.Event) oncall.Decision {
	d := oncall.Decide(w.now, w.in, ev, w.s.Policy)
	if !d.Changed {
		return d
	}
	alerts, deliveries, timeline := w.in.Alerts, w.in.Deliveries, w.in.Timeline
	w.in = d.Incident
	w.in.Alerts, w.in.Deliveries = alerts, deliveries
	for _, a := range d.Alerts {
		if i := slices.IndexFunc(w.in.Alerts, func(x oncall.IncidentAlert) bool { return x.Fingerprint == a.Fingerprint }); i >= 0 {
			w.in.Alerts[i] = a
		} else {
			w.in.Alerts = append(w.in.Alerts, a)
		}
	}
	for _, drop := range d.Drop {
		for i := range w.in.Deliveries {
			if x := &w.in.Deliveries[i]; x.Key == drop.Key {
				x.State, x.DoneAt, x.Error = oncall.DeliveryDropped, w.now, drop.Reason
			}
		}
	}
	for _, x := range d.Deliveries {
		if x.Kind != oncall.KindEdit {
			w.in.Deliveries = append(w.in.Deliveries, x)
		}
	}
	w.in.Timeline = append(timeline, d.Timeline...)
	w.run.Timeline = append(w.run.Timeline, d.Timeline...)
	return d
}
