package oncall_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// sim is the smallest thing that does what the store and the loops do: it keeps one group's incidents,
// applies decisions, and lets time pass. It fails loudly where a decision breaks a rule.
type sim struct {
	now       time.Time
	policy    oncall.Policy
	escName   string
	incidents []*oncall.Incident
	chosen    int // number of the incident that commands are about; 0: the last
	out       strings.Builder
	problem   string
	asked     map[string]bool // keys ever inserted
	quiet     bool            // nothing is printed, and not every decision is made twice
	steps     int             // decisions made
}

func newSim(p oncall.Policy, esc string) *sim {
	return &sim{now: time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC), policy: p, escName: esc, asked: map[string]bool{}}
}

func (s *sim) fail(format string, args ...any) {
	if s.problem == "" {
		s.problem = fmt.Sprintf(format, args...)
	}
}

func (s *sim) last() *oncall.Incident {
	if len(s.incidents) == 0 {
		return nil
	}
	return s.incidents[len(s.incidents)-1]
}

// subject is the incident that commands are about.
func (s *sim) subject() *oncall.Incident {
	if s.chosen > 0 {
		return s.incidents[s.chosen-1]
	}
	return s.last()
}

// edit replaces the policy by an edited copy, and looks at every open incident under it, as a reload does.
func (s *sim) edit(change func(*oncall.Policy)) {
	p := s.policy
	p.Escalations, p.Users, p.Schedules, p.Receivers = maps.Clone(p.Escalations), maps.Clone(p.Users), maps.Clone(p.Schedules), maps.Clone(p.Receivers)
	p.Routing.TimeIntervals, p.Overrides = maps.Clone(p.Routing.TimeIntervals), slices.Clone(p.Overrides)
	for name, e := range p.Escalations {
		e.Tiers = slices.Clone(e.Tiers)
		p.Escalations[name] = e
	}
	change(&p)
	s.policy = p
	for _, in := range s.incidents {
		if in.Open() {
			s.checkListed(in)
			s.apply(in, oncall.Tick{})
		}
	}
	s.tick()
}

// checkListed: the incident as lists have it, without deliveries and timeline, tells whether a tick does something.
func (s *sim) checkListed(in *oncall.Incident) {
	listed := *in
	listed.Deliveries, listed.Timeline = nil, nil
	full, seen := oncall.Decide(s.now, *in, oncall.Tick{}, s.policy), oncall.Decide(s.now, listed, oncall.Tick{}, s.policy)
	if full.Changed && !seen.Changed && (len(full.Deliveries)+len(full.Timeline) > 0 || full.Incident.NextAt.Before(in.NextAt)) {
		s.fail("#%d: a tick after an edit does something that its listing does not show", in.Number)
	}
}

func (s *sim) printf(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(&s.out, format, args...)
	}
}

// change hands an alert change to the incidents as the store would.
func (s *sim) change(c oncall.AlertChange) {
	c.At = s.now
	ev := oncall.AlertsChanged{Changes: []oncall.AlertChange{c}}
	fp := oncall.FingerprintOf(c.Labels)
	if c.Status != oncall.ChangeFiring {
		for _, in := range s.incidents {
			if holds(in, fp) {
				s.apply(in, ev)
			}
		}
		return
	}
	s.apply(s.placed(c, fp), ev)
}

// holds reports whether the incident has the alert firing.
func holds(in *oncall.Incident, fp oncall.Fingerprint) bool {
	return slices.ContainsFunc(in.Alerts, func(a oncall.IncidentAlert) bool { return a.Fingerprint == fp && a.State == oncall.StateFiring })
}

// placed finds the incident of a change that fires, in the order in which the store looks.
func (s *sim) placed(c oncall.AlertChange, fp oncall.Fingerprint) *oncall.Incident {
	if c.Into != 0 && s.incidents[c.Into-1].Open() {
		return s.incidents[c.Into-1]
	}
	pl := oncall.PlaceAlert(c, s.policy)
	var last *oncall.Incident
	for _, in := range s.incidents {
		if in.Escalation != pl.Escalation || in.GroupKey != pl.GroupKey {
			continue
		}
		if in.Open() {
			return in
		}
		last = in
	}
	for _, in := range slices.Backward(s.incidents) {
		if c.LinkedFrom == 0 && in.Escalation == pl.Escalation && in.GroupKey == pl.GroupKey && holds(in, fp) {
			return in // closed by hand, and it still holds the alert
		}
	}
	if last != nil {
		if in := last; in.MergedInto == 0 && in.ResolvedBy == "" && pl.ReopenWithin > 0 && c.At.Sub(in.ResolvedAt) <= pl.ReopenWithin {
			return in
		}
		for in := last; in.MergedInto != 0; {
			if in = s.incidents[in.MergedInto-1]; in.Open() {
				return in
			}
		}
	}
	in := &oncall.Incident{Number: int64(len(s.incidents) + 1), Escalation: pl.Escalation, GroupKey: pl.GroupKey, GroupLabels: pl.GroupLabels, Why: pl.Why, LinkedFrom: c.LinkedFrom}
	in.Key = fmt.Sprintf("tocsin-test-%d", in.Number)
	s.incidents = append(s.incidents, in)
	return in
}

// apply decides twice, holds the two against each other, and commits.
func (s *sim) apply(in *oncall.Incident, ev oncall.Event) oncall.Decision {
	if s.steps++; s.quiet && s.steps%16 != 0 {
		d := oncall.Decide(s.now, *in, ev, s.policy)
		if d.Changed {
			s.checkDecision(*in, d, ev)
			s.commit(in, d)
		}
		return d
	}
	before := *in
	before.Notifications, before.Told = cloneNotifications(in.Notifications), slices.Clone(in.Told)
	before.Alerts = slices.Clone(in.Alerts)
	d := oncall.Decide(s.now, *in, ev, s.policy)
	again := oncall.Decide(s.now, *in, ev, s.policy)
	if !reflect.DeepEqual(d, again) {
		s.fail("deciding twice gave two decisions")
	}
	if !reflect.DeepEqual(*in, before) {
		s.fail("Decide wrote to what it was given")
	}
	if d.Reply != "" {
		mark := ""
		if d.Refused {
			mark = "refused: "
		}
		s.printf("  reply: %s%s\n", mark, d.Reply)
	}
	if !d.Changed {
		if len(d.Deliveries)+len(d.Timeline)+len(d.Drop) > 0 {
			s.fail("an unchanged decision has consequences")
		}
		return d
	}
	s.checkDecision(*in, d, ev)
	s.commit(in, d)
	return d
}

func cloneNotifications(ns []oncall.Notification) []oncall.Notification {
	ns = slices.Clone(ns)
	for i := range ns {
		ns[i].Tries = slices.Clone(ns[i].Tries)
		for j := range ns[i].Tries {
			ns[i].Tries[j].Keys = slices.Clone(ns[i].Tries[j].Keys)
		}
	}
	return ns
}

func (s *sim) commit(in *oncall.Incident, d oncall.Decision) {
	alerts, deliveries, timeline := in.Alerts, in.Deliveries, in.Timeline
	*in = d.Incident
	in.Alerts = slices.Clone(alerts)
	for _, a := range d.Alerts {
		if i := slices.IndexFunc(in.Alerts, func(x oncall.IncidentAlert) bool { return x.Fingerprint == a.Fingerprint }); i >= 0 {
			in.Alerts[i] = a
		} else {
			in.Alerts = append(in.Alerts, a)
		}
	}
	in.Deliveries = slices.Clone(deliveries)
	for _, dr := range d.Drop {
		x := s.delivery(in, dr.Key)
		if x == nil || x.State != oncall.DeliveryQueued || x.Attempts > 0 {
			s.fail("dropped %s, which was attempted or is unknown", dr.Key)
			continue
		}
		x.State = oncall.DeliveryDropped
	}
	for _, nd := range d.Deliveries {
		if s.asked[nd.Key] {
			s.fail("key %s was used twice (%s to %s)", nd.Key, nd.Kind, nd.Endpoint)
		}
		s.asked[nd.Key] = true
		in.Deliveries = append(in.Deliveries, nd)
		s.printf("  send %s to %s", nd.Kind, nd.Endpoint)
		if nd.Target != "" {
			s.printf(" (round %d, tier %d, %s)", nd.Round, nd.Tier, nd.Target)
		}
		s.printf("\n")
	}
	for _, e := range d.Timeline {
		who := ""
		if e.Actor != "" {
			who = e.Actor + ": "
		}
		s.printf("  %s %s: %s%s\n", e.At.Format("15:04:05"), e.Kind, who, e.Text)
	}
	in.Timeline = append(slices.Clone(timeline), d.Timeline...)
	for _, c := range d.Requeue {
		s.change(c)
	}
}

func (s *sim) delivery(in *oncall.Incident, key string) *oncall.Delivery {
	for i := range in.Deliveries {
		if in.Deliveries[i].Key == key {
			return &in.Deliveries[i]
		}
	}
	return nil
}

// barred is a refusal that a person can mend.
const barred oncall.Outcome = "barred"

// finish reports the outcome of the oldest unfinished deliveries to the endpoints that match, in order.
func (s *sim) finish(match func(oncall.Delivery) bool, o oncall.Outcome, status int) int {
	n := 0
	for _, in := range s.incidents {
		for i := 0; i < len(in.Deliveries); i++ {
			d := &in.Deliveries[i]
			if d.State.Final() || !match(*d) {
				continue
			}
			n++
			d.Attempts++
			a := oncall.Attempt{At: s.now, Number: d.Attempts, Outcome: o, Status: status}
			if o == barred {
				a.Outcome, a.Mendable, a.Error = oncall.OutcomeRefused, true, "is_archived"
				if d.Kind == oncall.KindEdit {
					a.Outcome = oncall.OutcomeRetry
				}
			}
			state, nextAt := oncall.AfterAttempt(s.now, *d, a)
			d.State, d.NextAt = state, nextAt
			ev := oncall.DeliveryFinished{Key: d.Key, Attempt: a, State: state}
			if d.Kind == oncall.KindEdit {
				ev.Edit = d.Endpoint
			}
			s.apply(in, ev)
		}
	}
	return n
}

// report says of the oldest delivery that an endpoint accepted whether it arrived.
func (s *sim) report(e oncall.Endpoint, arrived bool) {
	for _, in := range s.incidents {
		for i := range in.Deliveries {
			if d := &in.Deliveries[i]; d.Endpoint == e && d.State == oncall.DeliveryAccepted {
				a := oncall.Attempt{At: s.now, Number: d.Attempts, Outcome: oncall.OutcomeDelivered}
				d.State = oncall.DeliveryDelivered
				if !arrived {
					d.State, a.Outcome, a.Error = oncall.DeliveryRefused, oncall.OutcomeRefused, "busy"
				}
				s.apply(in, oncall.DeliveryFinished{Key: d.Key, Attempt: a, State: d.State})
				return
			}
		}
	}
}

// tick runs what is due of every incident, as the loop does.
func (s *sim) tick() {
	for _, in := range s.incidents {
		for n := 0; !in.NextAt.IsZero() && !in.NextAt.After(s.now); n++ {
			if n > 50 {
				s.fail("#%d spins at %s: %s", in.Number, in.NextAt, in.Next)
				return
			}
			s.apply(in, oncall.Tick{})
		}
	}
}

// advance lets time pass, waking at each NextAt.
func (s *sim) advance(d time.Duration) {
	end := s.now.Add(d)
	for {
		next := end
		for _, in := range s.incidents {
			if !in.NextAt.IsZero() && in.NextAt.Before(next) {
				next = in.NextAt
			}
		}
		if next.After(s.now) {
			s.now = next
		}
		s.tick()
		if !next.Before(end) || s.problem != "" {
			return
		}
	}
}

func alert(status oncall.ChangeStatus, esc, name, instance, severity string) oncall.AlertChange {
	ls := labels.FromStrings("alertname", name, "instance", instance, "service", "session", "severity", severity)
	reason := map[oncall.ChangeStatus]string{
		oncall.ChangeFiring: "breached for 2m (for: 2m)", oncall.ChangeResolved: "no longer returned by the query",
		oncall.ChangeUnknown: "the query failed: connection refused", oncall.ChangeKnown: "the query works again",
		oncall.ChangeMuted: "silenced by ana until 14:00: deploy",
	}[status]
	return oncall.AlertChange{Source: "rule:test", Status: status, Labels: ls, Annotations: map[string]string{"summary": name + " on " + instance},
		Value: "0.83", Escalation: esc, Reason: reason}
}
