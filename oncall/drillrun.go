package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// runDrill does what is due in a drill: it tells all contacts at once, and ends when nothing is left to wait for.
func (m *machine) runDrill() {
	if m.in.NextTier == 0 {
		m.tellDrill()
	}
	switch {
	case !slices.ContainsFunc(m.in.Drill.Contacts, func(c ContactCheck) bool { return !c.settled() }):
		m.endDrill("", "every contact was answered or failed")
	case !m.drillEnds().After(m.now):
		m.endDrill("", fmt.Sprintf("the drill is over after %s", short(DrillLasts)))
	}
}

func (m *machine) drillEnds() time.Time { return m.in.TriggeredAt.Add(DrillLasts) }

// tellDrill asks by every contact at once.
func (m *machine) tellDrill() {
	d := m.in.Drill
	m.in.NextTier, m.in.Turns, m.visible = 1, 1, true
	n := &Notification{Round: m.in.Round, Target: Target{TargetUser, d.User}, At: m.now}
	for _, x := range m.p.ContactEndpoints(d.User) {
		c := ContactCheck{User: d.User, Contact: x.Contact, Endpoint: x.Endpoint, Address: m.p.Addresses[x.Endpoint], Drill: m.in.Number, At: m.now}
		if x.Endpoint.Kind()+":" == nothingBehind {
			c.Refused, c.Failure = true, "nothing is configured behind it"
			m.note(EntryNotDelivered, "", fmt.Sprintf("user %s, %s: %s", d.User, c.Contact, c.Failure))
		} else {
			c.Key = m.ask(x.Endpoint, n, d.User)
			m.note(EntryNotified, "", fmt.Sprintf("user %s, %s: %s (drill)", d.User, c.Contact, c.Endpoint))
		}
		d.Contacts = append(d.Contacts, c)
	}
}

// drillHears takes in what a far end made of a delivery. What is heard after the end still counts.
func (m *machine) drillHears(ev DeliveryFinished) {
	if d, ok := m.delivery(ev.Key); ok && d.Kind == KindMessage && ev.State == DeliveryRefused {
		m.forgetMessage(d.Endpoint)
	}
	i := slices.IndexFunc(m.in.Drill.Contacts, func(c ContactCheck) bool { return c.Key != "" && c.Key == ev.Key })
	if i < 0 {
		return
	}
	c := &m.in.Drill.Contacts[i]
	switch ev.State {
	case DeliveryAccepted:
		c.AcceptedAt, c.Failure = m.now, ""
	case DeliveryDelivered:
		if c.AcceptedAt.IsZero() {
			c.AcceptedAt = m.now
		} else if !c.Taken {
			c.ConfirmedAt = m.now
		}
		c.Taken, c.Refused, c.Failure = true, false, ""
	case DeliveryRefused:
		c.Refused, c.Failure = true, refusalText(ev.Attempt)
		m.note(EntryNotDelivered, "", fmt.Sprintf("user %s, %s: %s", c.User, c.Contact, c.Failure))
	default:
		c.Failure = notTaken + attemptTrouble(ev.Attempt)
	}
	m.d.Changed = true
	if m.in.Open() {
		m.runDrill()
		return
	}
	m.judge(c, false)
	m.keepChecks([]ContactCheck{*c})
}

// notTaken begins the Failure of a contact that is still tried.
const notTaken = "not taken so far: "

func attemptTrouble(a Attempt) string {
	switch {
	case a.Error != "":
		return a.Error
	case a.Status != 0:
		return fmt.Sprintf("HTTP %d", a.Status)
	}
	return string(a.Outcome)
}

// judge settles what the drill found out about a contact. early: a person ended it.
func (m *machine) judge(c *ContactCheck, early bool) {
	switch {
	case c.Refused:
		c.Result = CheckFailed
	case c.Taken || !c.AnsweredAt.IsZero():
		c.Result, c.Failure = CheckOK, ""
	case early:
		c.Result = CheckUnknown
	case !c.AcceptedAt.IsZero():
		c.Result, c.Failure = CheckFailed, fmt.Sprintf("taken, and not confirmed within %s", short(DrillLasts))
	case c.Failure != "":
		c.Result, c.Failure = CheckFailed, fmt.Sprintf("not taken within %s: %s", short(DrillLasts), strings.TrimPrefix(c.Failure, notTaken))
	default:
		c.Result, c.Failure = CheckFailed, fmt.Sprintf("not sent within %s", short(DrillLasts))
	}
}

// keepChecks hands over what is worth keeping.
func (m *machine) keepChecks(all []ContactCheck) {
	for _, c := range all {
		if c.Result == CheckOK || c.Result == CheckFailed {
			m.d.Checks = append(m.d.Checks, c)
		}
	}
}

// endDrill ends the drill, and writes down what it found out. actor is "" where nobody did it.
func (m *machine) endDrill(actor, why string) {
	failed := 0
	for i := range m.in.Drill.Contacts {
		c := &m.in.Drill.Contacts[i]
		m.judge(c, actor != "")
		if c.Result == CheckFailed {
			failed++
		}
	}
	m.keepChecks(m.in.Drill.Contacts)
	worked := fmt.Sprintf("all %s work", count(len(m.in.Drill.Contacts), "contact", "contacts"))
	switch {
	case failed > 0:
		worked = fmt.Sprintf("%d of %s failed", failed, count(len(m.in.Drill.Contacts), "contact", "contacts"))
	case slices.ContainsFunc(m.in.Drill.Contacts, func(c ContactCheck) bool { return c.Result == CheckUnknown }):
		worked = "not every contact was heard of"
	}
	m.endManual(actor)
	m.resolve(actor, why+"; "+worked)
}

// drillCommand does what a person may do to a drill.
func (m *machine) drillCommand(c Command) {
	switch c.Kind {
	case CmdAcknowledge:
		m.drillAnswered(c)
	case CmdNote:
		m.addNote(c)
	case CmdResolve:
		if m.ended() {
			return
		}
		m.endDrill(c.Actor, "ended by hand"+via(c.Via))
		m.d.Reply = fmt.Sprintf("the drill %s is ended by %s", m.number(), c.Actor)
	default:
		m.refuse(m.number() + " is a drill: acknowledge it where it reaches you, or resolve it to end it")
	}
}

// drillAnswered notes by which contact somebody answered. The others go on being waited for, and whoever would
// escalate by themselves are told that somebody has it.
func (m *machine) drillAnswered(c Command) {
	if m.ended() {
		return
	}
	d := m.in.Drill
	var by []string
	for i := range d.Contacts {
		x := &d.Contacts[i]
		if !x.AnsweredAt.IsZero() || !answeredBy(c, *x) || x.Refused && c.Delivery != x.Key {
			continue
		}
		x.AnsweredAt = m.now
		x.Refused, x.Failure = false, "" // what was taken for voicemail was a person
		by = append(by, x.Contact)
	}
	d.Answered++
	if d.Answered > 1 && len(by) == 0 {
		m.d.Reply = fmt.Sprintf("that answer to the drill %s is on record already", m.number())
		d.Answered--
		return
	}
	text := "answered the drill" + via(c.Via)
	m.d.Reply = fmt.Sprintf("the drill %s is answered; nothing is wrong", m.number())
	if len(by) > 0 {
		text += fmt.Sprintf(", by %s", by[0])
	} else {
		m.d.Reply += ". By which contact is not known: acknowledge it where it reached you"
	}
	m.note(EntryAcknowledged, c.Actor, text)
	m.d.Changed, m.visible = true, true
	if d.Answered == 1 {
		m.calmDrill()
	}
	m.runDrill()
}

// answeredBy reports whether a command came by a contact. In Slack, one press counts for all of its conversations.
func answeredBy(c Command, x ContactCheck) bool {
	switch {
	case c.Delivery != "":
		return c.Delivery == x.Key
	case c.From != "":
		return c.From == x.Endpoint
	}
	return c.Via == "slack" && x.Endpoint.Kind() == "slack"
}

// calmDrill acknowledges at the far ends that would wake others of their own.
func (m *machine) calmDrill() {
	for _, t := range m.in.Told {
		if i, _ := m.p.integration(t.Endpoint); !i.Acks || t.Endpoint == m.from || !m.live(t.Endpoint) {
			continue
		}
		m.send(Delivery{
			Key: DeliveryKey(m.in.Key, "drill answered", t.Endpoint), Endpoint: t.Endpoint, Kind: KindAcknowledged, Priority: PriorityRepeat,
			Target: t.Target, User: t.User,
		})
	}
}
