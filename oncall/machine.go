package oncall

import (
	"cmp"
	"slices"
	"time"
)

// Decide moves one incident by one event. It changes nothing that it was given: the decision holds the new
// document, the rows that changed, and what must be sent once it is committed.
//
// The machine has three layers, each in a file of its own: what an event means (alerts.go, command.go,
// outcome.go), what is due because of time (tiers.go, and paused.go where nothing is), and how people are told
// of it (tell.go, and owed.go where that has to wait).
func Decide(now time.Time, in Incident, ev Event, p Policy) Decision {
	m := newMachine(now, in, p)
	switch ev := ev.(type) {
	case AlertsChanged:
		m.alertsChanged(ev.Changes)
	case Tick:
		m.tick()
	case Command:
		m.command(ev)
	case DeliveryFinished:
		m.deliveryFinished(ev)
	case Noted:
		m.noted(ev)
	case Resend:
		m.resend(ev)
	case Mended:
		m.mended(ev)
	}
	return m.decision()
}

// machine is one run of Decide: a working copy of the incident and the decision that grows from it.
type machine struct {
	now time.Time
	p   Policy
	esc Escalation // the incident's, from the policy, else as last seen
	in  Incident   // working copy; slices that are written are cloned
	d   Decision

	alerts  map[Fingerprint]int // index into in.Alerts
	touched map[Fingerprint]bool
	order   []Fingerprint     // touched ones, in order
	visible bool              // people see a difference: messages are redrawn
	tierRan bool              // one tier a decision
	from    Endpoint          // whose far end reported what happened; it is not told of it again
	pages   []int             // indexes into d.Deliveries whose body is a page still to be frozen
	vias    map[string]string // by key of a delivery: how its user came to be told
}

func newMachine(now time.Time, in Incident, p Policy) *machine {
	in.Alerts = slices.Clone(in.Alerts)
	in.Told = slices.Clone(in.Told)
	in.Seen = slices.Clone(in.Seen)
	in.Notifications = slices.Clone(in.Notifications)
	for i := range in.Notifications {
		n := &in.Notifications[i]
		n.Tries = slices.Clone(n.Tries)
		for j := range n.Tries {
			n.Tries[j].Keys = slices.Clone(n.Tries[j].Keys)
		}
	}
	if in.Drill != nil {
		d := *in.Drill
		d.Contacts = slices.Clone(d.Contacts)
		in.Drill = &d
	}
	m := &machine{now: now, p: p, in: in, touched: map[Fingerprint]bool{}, vias: map[string]string{}, alerts: make(map[Fingerprint]int, len(in.Alerts))}
	for i, a := range in.Alerts {
		m.alerts[a.Fingerprint] = i
	}
	m.follow()
	return m
}

// decision closes the run: it works out what is next, freezes the pages, and redraws the messages.
func (m *machine) decision() Decision {
	d := &m.d
	if d.Refused { // nothing is written, not even what an edit of the configuration means for the incident
		return Decision{Incident: m.in, Refused: true, Reply: d.Reply}
	}
	for _, fp := range m.order {
		d.Alerts = append(d.Alerts, m.in.Alerts[m.alerts[fp]])
	}
	if len(d.Alerts)+len(d.Drop)+len(d.Deliveries)+len(d.Timeline)+len(d.Requeue) > 0 || m.visible {
		d.Changed = true
	}
	if !d.Changed {
		d.Incident = m.in
		return *d
	}
	m.in.NextAt = m.next()
	step := m.nextStep()
	m.in.Next, m.in.NextStepAt = step.what, step.at
	if !step.at.IsZero() {
		m.in.Exhausted = false // an edit brought somebody back; when they were told, it is said again
	}
	if m.visible {
		m.in.Revision++
		m.redraw()
	}
	m.freezePages()
	d.Incident = m.in
	return *d
}

// note appends to the timeline.
func (m *machine) note(kind TimelineKind, actor, text string) {
	m.d.Timeline = append(m.d.Timeline, TimelineEntry{At: m.now, Kind: kind, Actor: actor, Text: text})
}

// touch marks the alert at index i as changed.
func (m *machine) touch(i int) {
	fp := m.in.Alerts[i].Fingerprint
	if !m.touched[fp] {
		m.touched[fp] = true
		m.order = append(m.order, fp)
	}
}

// firing counts the alerts that fire.
func (m *machine) firing() int {
	n := 0
	for i := range m.in.Alerts {
		if m.in.Alerts[i].State == StateFiring {
			n++
		}
	}
	return n
}

func (m *machine) deliverWithin() time.Duration {
	return cmp.Or(m.esc.DeliverWithin, DefaultDeliverWithin)
}
