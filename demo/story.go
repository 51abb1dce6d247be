package demo

import (
	"fmt"
	"strings"
	"time"
)

// past is one moment of the real outage, from its postmortem.
type past struct {
	at   time.Time
	text string
}

// whatHappened is the postmortem's timeline: 105 minutes, about 60 % of users.
var whatHappened = []past{
	{outageStart.Add(-10 * time.Minute), "Memory climbs steadily. Nobody is told."},
	{outageStart, "Monitoring sees a memory spike. An alert goes off, to nobody in particular."},
	{outageStart.Add(5 * time.Minute), "The on-call engineer happens to notice that checkout is slow."},
	{outageStart.Add(10 * time.Minute), "Support hears of failed transactions."},
	{outageStart.Add(15 * time.Minute), "The team suspects the database and looks at slow queries."},
	{outageStart.Add(30 * time.Minute), "A database optimisation is tried. No change."},
	{outageStart.Add(45 * time.Minute), "Escalated to senior engineers by hand. They find the session server’s memory."},
	{outageStart.Add(60 * time.Minute), "The leak is found. Restarting the session service helps for a while."},
	{outageStart.Add(90 * time.Minute), "The patch is applied."},
	{outageEnd, "Full function restored, confirmed by monitoring."},
}

// kind colours a moment and names it to those who cannot see colours.
type kind string

const (
	kindWarned   kind = "warned"
	kindPending  kind = "pending"
	kindFiring   kind = "firing"
	kindPaged    kind = "paged"
	kindAcked    kind = "acknowledged"
	kindActed    kind = "acted"
	kindWorse    kind = "worse"
	kindResolved kind = "resolved"
)

// moment is something that happened in this run, with tocsin.
type moment struct {
	Kind kind
	Text string
	key  string // says it once
	at   time.Time
}

// The escalations of tocsin.yml.tmpl that the plot knows.
const (
	escalationMain     = "session-oncall"
	escalationEarly    = "session-early-warning"
	escalationDatabase = "database-oncall"
)

// incident is what the demo reads of an incident in tocsin's own API.
type incident struct {
	Number         int64     `json:"number"`
	State          string    `json:"state"`
	Title          string    `json:"title"`
	Escalation     string    `json:"escalation"`
	TriggeredAt    time.Time `json:"triggered_at"`
	AcknowledgedAt time.Time `json:"acknowledged_at"`
	AcknowledgedBy string    `json:"acknowledged_by"`
	ResolvedAt     time.Time `json:"resolved_at"`
	ResolvedBy     string    `json:"resolved_by"`
	Alerts         []struct {
		Labels   map[string]string `json:"labels"`
		State    string            `json:"state"`
		StartsAt time.Time         `json:"starts_at"`
	} `json:"alerts"`
}

// telling is one way in which one person was asked for attention. At is real.
type telling struct {
	user string
	at   time.Time
	how  string // "by Slack DM", "by phone"
}

// seen is everything that the outside shows of a run so far: what tocsin says of its incidents, and what
// arrived at Slack and at the phones.
type seen struct {
	incidents []incident // oldest first, of this run
	tellings  []telling
}

// main returns the incident that the outage became, the newest if there are several, or nil.
func (s seen) main() *incident {
	for i := len(s.incidents) - 1; i >= 0; i-- {
		if s.incidents[i].Escalation == escalationMain {
			return &s.incidents[i]
		}
	}
	return nil
}

// told returns when a user was first asked for attention at or after a real instant; zero: not yet.
func (s seen) told(user string, from time.Time) time.Time {
	for _, t := range s.tellings {
		if t.user == user && !t.at.Before(from) {
			return t.at
		}
	}
	return time.Time{}
}

// moments are what a run's story says of what was seen, in story time and in no order. They follow from
// the whole of it each time, so that nothing is missed between two looks.
func (s seen) moments(c clock) []moment {
	var out []moment
	say := func(k kind, at time.Time, key, format string, args ...any) {
		out = append(out, moment{key: key, at: c.story(at), Kind: k, Text: fmt.Sprintf(format, args...)})
	}
	for _, in := range s.incidents {
		id := fmt.Sprintf("#%d", in.Number)
		switch in.Escalation {
		case escalationEarly:
			say(kindWarned, in.TriggeredAt, "open"+id, "%s warns #session-alerts: the memory leaks and reaches its limit within 40 minutes. Nobody is woken.", id)
		case escalationMain:
			say(kindFiring, in.TriggeredAt, "open"+id, "%s in #session-alerts names the session service, its limit and when it will be reached.", id)
			joined(in, id, say)
		default:
			say(kindFiring, in.TriggeredAt, "open"+id, "%s is opened: %s", id, in.Title)
		}
		if by := in.AcknowledgedBy; by != "" {
			say(kindAcked, in.AcknowledgedAt, "ack"+id+by+in.AcknowledgedAt.String(), "%s has %s: the paging stops.%s", title(by), id, s.notFiring())
		}
		if !in.ResolvedAt.IsZero() && in.ResolvedBy == "" {
			took := c.story(in.ResolvedAt).Sub(c.story(in.TriggeredAt))
			say(kindResolved, in.ResolvedAt, "over"+id, "%s is resolved by the rules, after %d minutes.", id, int(took.Round(time.Minute).Minutes()))
		} else if !in.ResolvedAt.IsZero() {
			say(kindResolved, in.ResolvedAt, "over"+id, "%s is closed by %s.", id, title(in.ResolvedBy))
		}
	}
	for _, t := range s.tellings {
		say(kindPaged, t.at, "told"+t.user+t.how+t.at.String(), "%s is paged by name, %s.", title(t.user), t.how)
	}
	return out
}

// notFiring says what is worth knowing by its absence.
func (s seen) notFiring() string {
	for _, in := range s.incidents {
		if in.Escalation == escalationDatabase {
			return ""
		}
	}
	return " The database rules are quiet, so nobody looks there."
}

// joined tells of alerts of other rules that became part of the incident.
func joined(in incident, id string, say func(kind, time.Time, string, string, ...any)) {
	known := map[string]bool{"SessionMemoryHigh": true}
	for _, a := range in.Alerts {
		name := a.Labels["alertname"]
		if known[name] || a.StartsAt.Before(in.TriggeredAt.Add(time.Second)) {
			continue
		}
		known[name] = true
		say(kindFiring, a.StartsAt, "join"+id+name, "%s fires and joins %s. No second story begins.", name, id)
	}
}

// title is a name as a sentence begins with it; "ana by link" stays readable.
func title(name string) string {
	if name == "" {
		return "Somebody"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}
