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
	if d.Incident.Number != in.Number || d.Incident.Key != in.Key {
		return false, oncall.Errorf(oncall.CodeInternal, "a decision about incident #%d came back as #%d", in.Number, d.Incident.Number)
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
	if err := t.putIncident(in, d.Incident, now); err != nil {
		return false, err
	}
	if err := t.putIncidentAlerts(in, d.Alerts); err != nil {
		return false, err
	}
	if err := t.addDeliveries(in, d.Deliveries, now, d.Incident.Drill == nil); err != nil {
		return false, err
	}
	if err := t.addTimeline(in, d.Timeline, now); err != nil {
		return false, err
	}
	if err := t.putChecks(d.Checks); err != nil {
		return false, err
	}
	return true, t.requeue(d.Requeue)
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
func (t *tx) putIncident(in, next oncall.Incident, now time.Time) error {
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
		return t.exec1(`insert into incidents (number, key, escalation, group_key, place, state, next_at, resolved_at, revision, drill, doc)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			in.Number, in.Key, in.Escalation, in.GroupKey, placeOf(in.Escalation, in.GroupKey),
			string(next.State), dueMicros(next.NextAt), resolved, next.Revision, drillColumn(next.Drill != nil), doc)
	}
	return t.exec1("update incidents set state = $1, next_at = $2, resolved_at = $3, revision = $4, doc = $5 where number = $6",
		string(next.State), dueMicros(next.NextAt), resolved, next.Revision, doc, in.Number)
}

func placeOf(escalation, groupKey string) string { return hash(escalation, groupKey) }

func (t *tx) putIncidentAlerts(in oncall.Incident, alerts []oncall.IncidentAlert) error {
	if len(alerts) == 0 {
		return nil
	}
	var last int64
	if in.State != "" {
		if _, err := one(t, "select coalesce(max(seq), 0) from incident_alerts where incident = $1", []any{in.Number}, &last); err != nil {
			return err
		}
	}
	b := t.insert("incident_alerts", "incident", "fingerprint", "seq", "state", "doc")
	b.tail = " on conflict (incident, fingerprint) do update set state = excluded.state, doc = excluded.doc"
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
	return b.flush()
}

// addTimeline appends entries to the incident's record.
func (t *tx) addTimeline(in oncall.Incident, entries []oncall.TimelineEntry, now time.Time) error {
	if len(entries) == 0 {
		return nil
	}
	var last int64
	if in.State != "" {
		if _, err := one(t, "select coalesce(max(seq), 0) from timeline where incident = $1", []any{in.Number}, &last); err != nil {
			return err
		}
	}
	b := t.insert("timeline", "incident", "seq", "at", "kind", "doc")
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
	return b.flush()
}
