package oncall

import (
	"fmt"
	"time"
)

// lateSlack is how far a far end's clock may differ from ours, and how long a page may take there, before what was done
// there counts as done before the incident began anew here.
const lateSlack = time.Minute

// late reports that what a far end tells was done there, by its own clock, before things became as they are, and says so on
// the timeline. A report may be kept for hours while nobody takes it: it must not stop the pages of a round that began
// since, as nobody has said "I have it" about that, nor take the incident from whoever has acknowledged it since.
func (m *machine) late(c Command) bool {
	if c.At.IsZero() || !m.in.Open() {
		return false
	}
	did, since, became := "acknowledged", m.in.Anchor, "began anew"
	switch c.Kind {
	case CmdAcknowledge:
		if m.in.State == IncidentAcknowledged {
			return false // it changes nothing in any case
		}
	case CmdResolve: // of what is acknowledged anew, too: it was another round's
		did = "resolved"
	case CmdUnacknowledge:
		if m.in.State != IncidentAcknowledged {
			return false
		}
		did, since, became = "un-acknowledged", m.in.AcknowledgedAt, "was acknowledged by "+m.in.AcknowledgedBy
	default:
		return false
	}
	if !c.At.Add(lateSlack).Before(since) || since.Equal(m.in.TriggeredAt) {
		return false // nobody does anything about an incident before there is one: then it is the clocks
	}
	m.note(EntryNote, c.Actor, fmt.Sprintf("%s%s %s before it %s; told only now, so nothing is changed", did, via(c.Via), human(since.Sub(c.At)), became))
	m.d.Reply = fmt.Sprintf("nothing was changed: %s %s after that", m.number(), became)
	return true
}
