package store

import (
	"errors"
	"time"

	"tocsin/oncall"
)

// maxDecides is how often a decision is made anew because a delivery that it takes back was claimed in
// between.
const maxDecides = 5

// decide loads an incident, has it decided, and writes the decision.
func (t *tx) decide(number int64, now time.Time, decide func(oncall.Incident) (oncall.Decision, error)) (oncall.Decision, error) {
	for range maxDecides {
		in, err := loadIncident(t, number, recentTimeline, t.d.forUpdate)
		if err != nil {
			return oncall.Decision{}, err
		}
		d, err := decide(in)
		if err != nil || !d.Changed {
			return d, err
		}
		if ok, err := t.apply(in, d, now); ok || err != nil {
			return d, err
		}
	}
	return oncall.Decision{}, oncall.Errorf(oncall.CodeConflict,
		"incident #%d: deliveries that were to be taken back keep being sent; try again", number)
}

// apply writes a decision that changes something about in. It reports false, with nothing written, when a
// delivery that it takes back was attempted by now.
func (t *tx) apply(in oncall.Incident, d oncall.Decision, now time.Time) (ok bool, err error) {
	if err := about(in, d); err != nil {
		return false, err
	}
	if len(d.Drop) > 0 { // first, so that nothing else is to be undone
		err = t.under("taking_back", func() error { return t.drop(in.Number, d.Drop, now) })
		if errors.Is(err, errAttempted) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	r := t.newRows()
	if err := t.put(r, in, d, now); err != nil {
		return false, err
	}
	if err := r.flush(); err != nil {
		return false, err
	}
	if err := t.putChecks(d.Checks); err != nil {
		return false, err
	}
	return true, t.requeue(d.Requeue)
}

// put writes what a decision changes but for what it takes back and hands back. Rows may be left in r.
func (t *tx) put(r *incidentRows, in oncall.Incident, d oncall.Decision, now time.Time) error {
	if err := t.putIncident(r.incidents, in, d.Incident, now); err != nil {
		return err
	}
	if err := t.putIncidentAlerts(r.alerts, in, d.Alerts); err != nil {
		return err
	}
	if err := t.addDeliveries(r.deliveries, in, d.Deliveries, now, d.Incident.Drill == nil); err != nil {
		return err
	}
	return t.addTimeline(r.timeline, in, d.Timeline, now)
}

// about reports a decision that is not about in.
func about(in oncall.Incident, d oncall.Decision) error {
	if d.Incident.Number != in.Number || d.Incident.Key != in.Key {
		return oncall.Errorf(oncall.CodeInternal, "a decision about incident #%d came back as #%d", in.Number, d.Incident.Number)
	}
	return nil
}

// applyNew is apply for a new incident among many, whose rows share statements with theirs: until r.flush nobody finds
// them, and whoever decides about it again must flush before.
func (t *tx) applyNew(r *incidentRows, in oncall.Incident, d oncall.Decision, now time.Time) error {
	if len(d.Requeue)+len(d.Drop)+len(d.Checks) > 0 {
		_, err := t.apply(in, d, now) // a new incident has nothing to take back
		return err
	}
	if err := about(in, d); err != nil {
		return err
	}
	if err := t.put(r, in, d, now); err != nil {
		return err
	}
	if r.held++; r.held < insertRows[0] {
		return nil
	}
	return r.flush()
}

// incidentRows are the new rows of incidents that wait to be written. They belong to one use case.
type incidentRows struct {
	incidents, alerts, deliveries, timeline *inserter
	held                                    int // incidents since the last flush
}

func (t *tx) newRows() *incidentRows {
	r := &incidentRows{
		incidents: t.insert("incidents", "number", "key", "escalation", "group_key", "place", "state", "next_at", "resolved_at", "revision", "drill", "doc"),
		alerts:    t.insert("incident_alerts", "incident", "fingerprint", "seq", "state", "doc"),
		deliveries: t.insert("deliveries", "key", "incident", "seq", "endpoint", "kind", "round", "tier", "target", "person", "priority", "body",
			"state", "epoch", "attempts", "created_at", "next_at", "first_attempt_at", "done_at", "status", "error", "excerpt", "remote", "revision", "queue"),
		timeline: t.insert("timeline", "incident", "seq", "at", "kind", "doc"),
	}
	r.alerts.tail = " on conflict (incident, fingerprint) do update set state = excluded.state, doc = excluded.doc"
	r.deliveries.tail = " on conflict (key) do nothing"
	for _, b := range []*inserter{r.alerts, r.deliveries, r.timeline} {
		b.before = r.incidents
	}
	return r
}

// flush writes what waits.
func (r *incidentRows) flush() error {
	r.held = 0
	for _, b := range []*inserter{r.incidents, r.alerts, r.deliveries, r.timeline} {
		if err := b.flush(); err != nil {
			return err
		}
	}
	return nil
}

var errAttempted = errors.New("a delivery that was to be taken back was attempted")

// drop takes deliveries back that are queued and were never attempted, and fails with errAttempted over
// one that was. One that was taken back before is fine.
func (t *tx) drop(incident int64, drops []oncall.Drop, now time.Time) error {
	for _, d := range drops {
		n, err := t.exec(`update deliveries set state = 'dropped', done_at = $1, error = $2
			where key = $3 and incident = $4 and state = 'queued' and attempts = 0`,
			max(micros(now), 1), d.Reason, d.Key, incident)
		if err != nil {
			return err
		}
		if n > 0 {
			t.mine.Deliveries = true // what waited behind it may go
			continue
		}
		var state string
		found, err := one(t, "select state from deliveries where key = $1 and incident = $2", []any{d.Key, incident}, &state)
		if err != nil {
			return err
		}
		if !found {
			return oncall.Errorf(oncall.CodeInternal, "incident #%d has no delivery %s to take back", incident, d.Key)
		}
		if oncall.DeliveryState(state) != oncall.DeliveryDropped {
			return errAttempted
		}
	}
	return nil
}

// putIncident writes the document. in is what was loaded: without state it is new.
func (t *tx) putIncident(b *inserter, in, next oncall.Incident, now time.Time) error {
	doc, err := encode(next)
	if err != nil {
		return err
	}
	t.mine.Incidents = true
	var resolved int64
	if next.State == oncall.IncidentResolved {
		if resolved = micros(next.ResolvedAt); resolved <= 0 {
			resolved = max(micros(now), 1)
		}
	}
	if in.State == "" {
		return b.add(in.Number, in.Key, in.Escalation, in.GroupKey, placeOf(in.Escalation, in.GroupKey),
			string(next.State), dueMicros(next.NextAt), resolved, next.Revision, drillColumn(next.Drill != nil), doc)
	}
	return t.exec1("update incidents set state = $1, next_at = $2, resolved_at = $3, revision = $4, doc = $5 where number = $6",
		string(next.State), dueMicros(next.NextAt), resolved, next.Revision, doc, in.Number)
}

func placeOf(escalation, groupKey string) string { return hash(escalation, groupKey) }

func (t *tx) putIncidentAlerts(b *inserter, in oncall.Incident, alerts []oncall.IncidentAlert) error {
	if len(alerts) == 0 {
		return nil
	}
	var last int64
	if in.State != "" {
		if _, err := one(t, "select coalesce(max(seq), 0) from incident_alerts where incident = $1", []any{in.Number}, &last); err != nil {
			return err
		}
	}
	written := map[oncall.Fingerprint]bool{}
	for i, a := range alerts {
		if a.Fingerprint == "" {
			a.Fingerprint = oncall.FingerprintOf(a.Labels)
		}
		doc, err := encode(a)
		if err != nil {
			return err
		}
		if written[a.Fingerprint] { // one statement must not write a row twice
			if err := b.flush(); err != nil {
				return err
			}
		}
		written[a.Fingerprint] = true
		if err := b.add(in.Number, string(a.Fingerprint), last+1+int64(i), string(a.State), doc); err != nil {
			return err
		}
	}
	return nil
}

// addTimeline appends entries to the incident's record. They may be left in b.
func (t *tx) addTimeline(b *inserter, in oncall.Incident, entries []oncall.TimelineEntry, now time.Time) error {
	if len(entries) == 0 {
		return nil
	}
	var last int64
	if in.State != "" {
		if _, err := one(t, "select coalesce(max(seq), 0) from timeline where incident = $1", []any{in.Number}, &last); err != nil {
			return err
		}
	}
	for i, e := range entries {
		if e.At.IsZero() {
			e.At = now
		}
		doc, err := encode(e)
		if err != nil {
			return err
		}
		if err := b.add(in.Number, last+1+int64(i), micros(e.At), string(e.Kind), doc); err != nil {
			return err
		}
	}
	return nil
}

// noteAttempt appends an entry for an attempt.
func (t *tx) noteAttempt(incident int64, e oncall.TimelineEntry, now time.Time) error {
	b := t.insert("timeline", "incident", "seq", "at", "kind", "doc")
	if err := t.addTimeline(b, oncall.Incident{Number: incident, State: oncall.IncidentTriggered}, []oncall.TimelineEntry{e}, now); err != nil {
		return err
	}
	return b.flush()
}
