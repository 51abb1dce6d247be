package oncall_test

import (
	"fmt"
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
	out       strings.Builder
	problem   string
	asked     map[string]bool // keys ever inserted
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

func (s *sim) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

// change hands an alert change to the incidents as the store would.
func (s *sim) change(c oncall.AlertChange) {
	c.At = s.now
	fp := oncall.FingerprintOf(c.Labels)
	if c.Status != oncall.ChangeFiring {
		for _, in := range s.incidents {
			if slices.ContainsFunc(in.Alerts, func(a oncall.IncidentAlert) bool {
				return a.Fingerprint == fp && a.State == oncall.StateFiring
			}) {
				s.apply(in, oncall.AlertsChanged{Changes: []oncall.AlertChange{c}})
			}
		}
		return
	}
	if in := s.last(); in != nil && in.Open() {
		s.apply(in, oncall.AlertsChanged{Changes: []oncall.AlertChange{c}})
		return
	}
	if in := s.last(); in != nil && c.LinkedFrom == 0 && slices.ContainsFunc(in.Alerts, func(a oncall.IncidentAlert) bool {
		return a.Fingerprint == fp && a.State == oncall.StateFiring
	}) { // closed by hand, and it still holds the alert
		s.apply(in, oncall.AlertsChanged{Changes: []oncall.AlertChange{c}})
		return
	}
	pl := oncall.PlaceAlert(c, s.policy)
	in := &oncall.Incident{Number: int64(len(s.incidents) + 1), Escalation: pl.Escalation, GroupKey: pl.GroupKey, GroupLabels: pl.GroupLabels, Why: pl.Why, LinkedFrom: c.LinkedFrom}
	in.Key = fmt.Sprintf("tocsin-test-%d", in.Number)
	s.incidents = append(s.incidents, in)
	s.apply(in, oncall.AlertsChanged{Changes: []oncall.AlertChange{c}})
}

// apply decides twice, holds the two against each other, and commits.
func (s *sim) apply(in *oncall.Incident, ev oncall.Event) oncall.Decision {
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
			state, nextAt := oncall.AfterAttempt(s.now, *d, a)
			d.State, d.NextAt = state, nextAt
			s.apply(in, oncall.DeliveryFinished{Key: d.Key, Attempt: a, State: state})
		}
	}
	return n
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
		if !next.Before(end) {
			return
		}
	}
}

func testPolicy() oncall.Policy {
	page := func(r string) oncall.Receiver {
		return oncall.Receiver{Name: r, Endpoints: []oncall.Endpoint{oncall.PageEndpoint(r, 0)}}
	}
	classic := oncall.Receiver{Name: "classic", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("classic", 0)}, Integrations: []oncall.Integration{
		{Endpoint: oncall.IntegrationEndpoint("pagerduty_configs", "classic", 0), SendResolved: true},
		{Endpoint: oncall.IntegrationEndpoint("webhook_configs", "classic", 0)}}}
	mail := oncall.Receiver{Name: "cho-mail", Integrations: []oncall.Integration{{Endpoint: oncall.IntegrationEndpoint("email_configs", "cho-mail", 0)}}}
	slack := oncall.Target{Kind: oncall.TargetSlack, Name: "#session-alerts"}
	user := func(n string) oncall.Target { return oncall.Target{Kind: oncall.TargetUser, Name: n} }
	recv := func(n string) oncall.Target { return oncall.Target{Kind: oncall.TargetReceiver, Name: n} }
	return oncall.Policy{
		ExternalURL: "http://tocsin.test", LinkKey: []byte("0123456789abcdef"),
		Users: map[string]oncall.User{
			"ana":   {Name: "ana", Slack: "U02ANA", Contacts: []oncall.Contact{{Slack: "dm"}, {After: 2 * time.Minute, Receiver: "ana-phone"}}},
			"bo":    {Name: "bo", Slack: "U03BO", Contacts: []oncall.Contact{{Receiver: "bo-phone"}}},
			"cho":   {Name: "cho", Contacts: []oncall.Contact{{Receiver: "cho-mail"}, {After: time.Minute, Receiver: "bo-phone"}}},
			"ghost": {Name: "ghost"},
		},
		Receivers: map[string]oncall.Receiver{"classic": classic, "cho-mail": mail, "ana-phone": page("ana-phone"), "bo-phone": page("bo-phone"), "pagerduty": page("pagerduty")},
		Escalations: map[string]oncall.Escalation{
			"session": {Name: "session", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute, Repeat: oncall.Repeat{Every: 30 * time.Minute, Times: 1},
				Tiers: []oncall.Tier{{Targets: []oncall.Target{slack}}, {After: 5 * time.Minute, Targets: []oncall.Target{user("ana")}}, {After: 10 * time.Minute, Targets: []oncall.Target{user("bo"), recv("pagerduty")}}}},
			"with-integrations": {Name: "with-integrations", GroupBy: []string{"service"}, Tiers: []oncall.Tier{{Targets: []oncall.Target{slack, recv("classic")}},
				{After: 5 * time.Minute, Targets: []oncall.Target{user("cho")}}}},
			"plain": {Name: "plain", GroupBy: []string{"alertname"}, Tiers: []oncall.Tier{{Targets: []oncall.Target{recv("pagerduty")}}}},
			"nobody": {Name: "nobody", GroupBy: []string{"alertname"}, Tiers: []oncall.Tier{
				{Targets: []oncall.Target{user("ghost")}}, {After: 5 * time.Minute, Targets: []oncall.Target{user("bo")}}}},
		},
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
