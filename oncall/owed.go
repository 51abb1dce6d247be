package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a Slack endpoint is owed. Where Slack takes nothing until a person mends it (a revoked token, an archived channel,
// an app that was not invited), whoever is to be woken is told by another way at once, and what Slack missed is made up for
// when it takes things again: the message, as the incident then stands, and one reply with what happened meanwhile. Nothing
// is owed of an incident that came and went without a message.
//
// Three things make it up: the endpoint's own time to be tried again (here, so that it survives everything), the next thing
// that it takes of the same incident, and Mended, by which the shell says that something else arrived there. While an edit
// waits it is what tries the endpoint, and everything else of the incident would only wait behind it.

// How long after a refusal the endpoint is tried again: 5, 10, 20 … seconds, 15 minutes at most, for two weeks.
const (
	firstOwed  = 5 * time.Second
	maxOwed    = 15 * time.Minute
	maxOwedFor = 14 * 24 * time.Hour
	maxMissed  = 12 // lines of one reply about what was missed
)

// Mended says that a Slack endpoint, or all those of a workspace, takes things again after it took nothing.
type Mended struct {
	Endpoint  Endpoint // "": all of the workspace
	Workspace string   // as addresses name it: "" for the first
}

func (Mended) event() {}

// Covers reports whether the event is about an endpoint.
func (ev Mended) Covers(e Endpoint) bool {
	workspace, _, _ := CutWorkspace(e.Address())
	return e.Kind() == "slack" && (e == ev.Endpoint || ev.Endpoint == "" && workspace == ev.Workspace)
}

// mended has the owed endpoints that an event is about tried now.
func (m *machine) mended(ev Mended) {
	for i := range m.in.Told {
		t := &m.in.Told[i]
		if t.Owed.IsZero() || !ev.Covers(t.Endpoint) || m.underWay(t.Endpoint) {
			continue
		}
		if at := t.OwedAt; at.IsZero() || at.After(m.now) {
			t.OwedAt = m.now
			m.d.Changed = true
		}
	}
	if !m.paused() {
		m.makeUp()
	}
}

// owes reports whether what was refused is wanted after all once somebody has mended what it was refused for.
func owes(d Delivery, a Attempt) bool {
	given := a.Outcome == OutcomeRetry || a.Outcome == OutcomeUnknown // up, after a day
	return d.Endpoint.Kind() == "slack" && (a.Mendable || given)
}

// owe remembers that an endpoint did not take what it was to show.
func (m *machine) owe(d Delivery, a Attempt) {
	i := m.toldAt(d.Endpoint)
	if i < 0 {
		return
	}
	t := &m.in.Told[i]
	m.d.Changed = true
	if t.Failed && !m.in.Open() {
		m.neverShown(t)
		return
	}
	if t.Owed.IsZero() {
		t.Owed, t.OwedTries = d.CreatedAt, 0
	}
	t.OwedWhy = truncate(a.Error, 200)
	t.OwedAt = m.now.Add(min(maxOwed, firstOwed<<min(t.OwedTries, 16)))
	t.OwedTries++
	if m.now.Sub(t.Owed) > maxOwedFor {
		t.settled()
	}
}

// editFinished takes in what became of an edit. One that waits for a person does so in its queue, where nothing overtakes it.
func (m *machine) editFinished(ev DeliveryFinished) {
	i := m.toldAt(ev.Edit)
	if i < 0 {
		return
	}
	t := &m.in.Told[i]
	waits := ev.State == DeliveryQueued && ev.Attempt.Mendable
	switch {
	case waits && t.EditWaits:
	case waits:
		t.EditWaits, m.d.Changed = true, true
		t.OwedWhy = truncate(ev.Attempt.Error, 200)
		if t.Owed.IsZero() {
			t.Owed, t.OwedAt = m.now, m.now
		}
	case ev.State == DeliveryDelivered && (t.EditWaits || !t.Owed.IsZero()):
		t.EditWaits, t.OwedAt, t.OwedTries, m.d.Changed = false, m.now, 0, true
		m.makeUp()
	case ev.State == DeliveryRefused && t.EditWaits:
		t.EditWaits, m.d.Changed = false, true
	}
}

// shut reports that an endpoint is known to take nothing at present: asking there is not worth waiting for.
func (m *machine) shut(e Endpoint) bool {
	i := m.toldAt(e)
	return i >= 0 && m.in.Told[i].EditWaits
}

func (t *Told) settled() {
	t.Owed, t.OwedAt, t.OwedTries, t.OwedWhy = time.Time{}, time.Time{}, 0, ""
}

func (m *machine) toldAt(e Endpoint) int {
	return slices.IndexFunc(m.in.Told, func(t Told) bool { return t.Endpoint == e })
}

// underWay reports whether something is on its way to an endpoint that will show whether it works again.
func (m *machine) underWay(e Endpoint) bool {
	return m.shut(e) || slices.ContainsFunc(m.d.Deliveries, func(d Delivery) bool { return d.Endpoint == e && d.Kind != KindEdit }) ||
		slices.ContainsFunc(m.in.Deliveries, func(d Delivery) bool {
			return d.Endpoint == e && d.Kind != KindEdit && !d.State.Final() && !m.dropped(d.Key)
		})
}

// owedDue is when the next endpoint is tried again.
func (m *machine) owedDue() (at time.Time, ok bool) {
	for _, t := range m.in.Told {
		if !t.OwedAt.IsZero() && !m.underWay(t.Endpoint) && (!ok || t.OwedAt.Before(at)) {
			at, ok = t.OwedAt, true
		}
	}
	return at, ok
}

// makeUp tries the owed endpoints whose time has come.
func (m *machine) makeUp() {
	if m.in.Drill != nil {
		return
	}
	for i := range m.in.Told {
		t := &m.in.Told[i]
		switch {
		case t.OwedAt.IsZero() || t.OwedAt.After(m.now) || m.underWay(t.Endpoint):
		case t.Failed && !m.in.Open():
			m.neverShown(t)
		case t.Failed && t.User != "" && m.in.State != IncidentTriggered:
			t.settled() // somebody else has it: a message to one person asked for attention, and is pointless now
			m.d.Changed = true
		case t.Failed:
			m.makeUpMessage(t)
		default:
			m.makeUpThread(t)
		}
	}
}

// makeUpMessage sends the message that could not be posted. It goes together with those of other incidents to the same
// target, so that many that are owed make one.
func (m *machine) makeUpMessage(t *Told) {
	t.Failed = false
	d := Delivery{
		Key: m.madeUpKey(t), Endpoint: t.Endpoint, Kind: KindMessage, Round: m.in.Round, Tier: max(m.in.NextTier-1, 0),
		Target: t.Target, User: t.User, Priority: PriorityUpdate,
	}
	for i := range m.in.Notifications { // a late success counts
		n := &m.in.Notifications[i]
		if n.Target.String() != t.Target || len(n.Tries) == 0 {
			continue
		}
		if try := &n.Tries[len(n.Tries)-1]; try.Failed && slices.Contains(m.endpoints(m.contactOf(n, try), t.User), t.Endpoint) {
			try.Keys = append(try.Keys, d.Key)
		}
	}
	m.send(d)
}

// contactOf is the contact rule that a try ran, the zero one where the configuration does not hold it any more.
func (m *machine) contactOf(n *Notification, t *Try) Contact {
	if cs := m.contacts(n.Target); t.Contact < len(cs) {
		return cs[t.Contact]
	}
	return Contact{}
}

// makeUpThread tells in the message's thread what happened while it took nothing.
func (m *machine) makeUpThread(t *Told) {
	m.d.Changed = true
	text, till := m.missed(*t)
	if text == "" {
		t.settled()
		return
	}
	t.OwedTill = till
	m.send(Delivery{
		Key: m.madeUpKey(t), Endpoint: t.Endpoint, Kind: KindReply, Round: m.in.Round, Tier: max(m.in.NextTier-1, 0), Priority: PriorityUpdate,
		Body: marshalReply(Reply{What: string(EntryResent), Text: text, At: m.now}),
	})
}

func (m *machine) madeUpKey(t *Told) string {
	t.MadeUp++
	m.d.Changed = true
	return m.lastMadeUp(t)
}

func (m *machine) lastMadeUp(t *Told) string {
	return DeliveryKey(m.in.Key, "made up", t.MadeUp, t.Endpoint)
}

// arrivedAt takes in that an endpoint took a message or a reply: what it is still owed can go.
func (m *machine) arrivedAt(d Delivery) {
	i := m.toldAt(d.Endpoint)
	if i < 0 || m.in.Told[i].Owed.IsZero() {
		return
	}
	t := &m.in.Told[i]
	m.d.Changed = true
	if d.Key == m.lastMadeUp(t) && d.Kind == KindReply { // up to there it has been told
		t.Owed = t.OwedTill.Add(time.Microsecond)
	}
	t.OwedTries, t.OwedAt = 0, m.now
	if !m.underWay(t.Endpoint) {
		m.makeUpThread(t)
	}
}

// neverShown puts on record that an incident came and went without a message at an endpoint.
func (m *machine) neverShown(t *Told) {
	m.note(EntryDropped, "", fmt.Sprintf("%s never showed this incident: it has taken nothing since %s%s, and the incident was over before that was mended",
		t.Endpoint.Address(), t.Owed.UTC().Format("15:04:05 UTC"), because(t.OwedWhy)))
	t.settled()
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// settleOwed is called when the incident ends.
func (m *machine) settleOwed() {
	for i := range m.in.Told {
		if t := &m.in.Told[i]; !t.Owed.IsZero() && t.Failed {
			m.neverShown(t)
		}
	}
}

// retold are the kinds of entries that are told in threads.
var retold = map[TimelineKind]bool{
	EntryEscalated: true, EntryAcknowledged: true, EntryUnacknowledged: true, EntrySnoozed: true, EntryUnsnoozed: true, EntryAssigned: true,
	EntryNote: true, EntryResolved: true, EntrySeverity: true, EntryExhausted: true, EntryResponder: true, EntryMerged: true, EntryReopened: true,
	EntryPaused: true, EntryResumed: true, EntrySilenced: true, EntrySilenceEnding: true, EntryNotDelivered: true,
}

// missed is what happened since an endpoint took something last, "" for nothing that is worth telling, and up to when that
// goes: a clock that was put back must not make it tell the same again and again. What a message shows by itself, its
// opening, is left out.
func (m *machine) missed(t Told) (text string, till time.Time) {
	var lines []string
	till = m.now
	for _, e := range slices.Concat(m.in.Timeline, m.d.Timeline) {
		own := e.Kind == EntryNotDelivered && strings.HasPrefix(e.Text, t.Target) // that it took nothing is said anyway
		if !retold[e.Kind] || own || e.At.Before(t.Owed) || e.At.Equal(m.in.TriggeredAt) {
			continue
		}
		if e.At.After(till) {
			till = e.At
		}
		who := ""
		if e.Actor != "" {
			who = e.Actor + " "
		}
		lines = append(lines, fmt.Sprintf("%s %s%s", e.At.UTC().Format("15:04:05"), who, truncate(e.Text, 200)))
	}
	if len(lines) == 0 {
		return "", till
	}
	head := fmt.Sprintf("Slack took nothing here from %s on%s. Meanwhile (UTC):", t.Owed.UTC().Format("15:04 UTC"), because(t.OwedWhy))
	if more := len(lines) - maxMissed; more > 0 {
		head += fmt.Sprintf("\n… %d earlier, on the incident's page", more)
		lines = lines[more:]
	}
	return head + "\n" + strings.Join(lines, "\n"), till
}
