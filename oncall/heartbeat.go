package oncall

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Dead man's switches: something says regularly that it is alive, and an alert fires when it has not.

const (
	// HeartbeatAlert is the alertname of a heartbeat that is missing.
	HeartbeatAlert = "HeartbeatMissed"
	// HeartbeatLabel names the heartbeat.
	HeartbeatLabel = "heartbeat"
	// HeartbeatSource begins the Source of what is said of a heartbeat.
	HeartbeatSource = "heartbeat:"
	// DefaultGrace is how late a beat may be where the configuration says nothing.
	DefaultGrace = time.Minute
)

// Heartbeat is a dead man's switch as configured.
type Heartbeat struct {
	Name       string
	Every      time.Duration // from one beat to the next
	Grace      time.Duration // how much later it may come
	Escalation string
	Labels     labels.Labels // of its alert, beside alertname and heartbeat
	Token      []byte        // SHA-256 of what a sender must show; nil: nobody is asked
}

// Admits reports whether a sender that shows the token may beat.
func (h Heartbeat) Admits(token string) bool {
	if h.Token == nil {
		return true
	}
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], h.Token) == 1
}

// HeartbeatState is what is on record of a heartbeat.
type HeartbeatState struct {
	Name   string    `json:"-"`
	LastAt time.Time `json:"-"`              // the latest beat; zero: there was none
	Since  time.Time `json:"since,omitzero"` // watched since; zero: not yet
	// Excused is for how long tocsin could not have heard the beat that is due, and ExcusedFrom the beat (or Since)
	// after which that was. A beat that comes voids it.
	Excused     time.Duration `json:"excused,omitempty"`
	ExcusedFrom time.Time     `json:"excused_from,omitzero"`
	// Missed is the alert that fires, as it was handed over; nil: none does.
	Missed     *AlertChange `json:"missed,omitempty"`
	MissedFrom time.Time    `json:"missed_from,omitzero"` // the beat (or Since) after which it is missing
}

// Downtime is a time in which nobody heard a beat. Both zero: there was none.
type Downtime struct{ From, To time.Time }

// HeartbeatDecision is what follows for all heartbeats. The store commits it in one transaction.
type HeartbeatDecision struct {
	Put     []HeartbeatState // new or changed; LastAt is not written
	Gone    []string         // not configured any more
	Changes []AlertChange    // for the log that the dispatcher reads
	NextAt  time.Time        // when the next one will be missed; zero: none. Not committed.
}

// Empty reports that there is nothing to commit.
func (d HeartbeatDecision) Empty() bool { return len(d.Put)+len(d.Gone)+len(d.Changes) == 0 }

// DecideHeartbeats says which heartbeats are missing at now, and which are not any more. down is the time before
// this process began to watch; it counts once, so that the caller gives it until the decision is committed.
func DecideHeartbeats(now time.Time, configured []Heartbeat, states []HeartbeatState, down Downtime, external labels.Labels) HeartbeatDecision {
	var d HeartbeatDecision
	for _, h := range configured {
		st := HeartbeatState{Name: h.Name}
		i := slices.IndexFunc(states, func(s HeartbeatState) bool { return s.Name == h.Name })
		if i >= 0 {
			st = states[i]
		}
		before := st
		if st.Since.IsZero() {
			st.Since = now
		} else {
			st.excuse(h, down)
		}
		d.Changes = append(d.Changes, st.step(now, h, external)...)
		if st != before {
			d.Put = append(d.Put, st)
		}
		if at := st.MissedAt(h); st.Missed == nil && (d.NextAt.IsZero() || at.Before(d.NextAt)) {
			d.NextAt = at
		}
	}
	for _, st := range states {
		if slices.ContainsFunc(configured, func(h Heartbeat) bool { return h.Name == st.Name }) {
			continue
		}
		d.Gone = append(d.Gone, st.Name)
		if st.Missed != nil {
			d.Changes = append(d.Changes, st.resolved(now, "the heartbeat "+st.Name+" was removed from the configuration"))
		}
	}
	return d
}

// from is the instant from which the next beat is expected.
func (s HeartbeatState) from() time.Time {
	if s.LastAt.After(s.Since) {
		return s.LastAt
	}
	return s.Since
}

func (s HeartbeatState) excused() time.Duration {
	if s.ExcusedFrom.Equal(s.from()) {
		return s.Excused
	}
	return 0
}

// MissedAt is when the beat that is expected next counts as missed.
func (s HeartbeatState) MissedAt(h Heartbeat) time.Time {
	return s.from().Add(h.Every + h.Grace + s.excused())
}

// excuse gives a beat that was due while nobody listened as much more time: a sender has its whole grace while tocsin
// hears it. A tocsin that starts over and over still counts the time in between.
func (s *HeartbeatState) excuse(h Heartbeat, down Downtime) {
	from := down.From
	if due := s.from().Add(h.Every); due.After(from) {
		from = due
	}
	if s.Missed != nil || down.From.IsZero() || !down.To.After(from) {
		return
	}
	s.Excused, s.ExcusedFrom = s.excused()+down.To.Sub(from), s.from()
}

// step compares what should fire with what does.
func (s *HeartbeatState) step(now time.Time, h Heartbeat, external labels.Labels) (changes []AlertChange) {
	if s.MissedAt(h).After(now) {
		if s.Missed == nil {
			return nil
		}
		reason := "it is not late any more, as the heartbeat is configured now"
		if !s.from().Equal(s.MissedFrom) {
			reason = "a beat came at " + inUTC(s.LastAt)
		}
		changes = append(changes, s.resolved(now, reason))
		s.Missed, s.MissedFrom = nil, time.Time{}
		return changes
	}
	fires := s.fires(now, h, external)
	if s.Missed != nil && labels.Equal(s.Missed.Labels, fires.Labels) && s.Missed.Escalation == fires.Escalation {
		return nil
	}
	if s.Missed != nil {
		fires.StartsAt = s.Missed.StartsAt
		if !labels.Equal(s.Missed.Labels, fires.Labels) {
			changes = append(changes, s.resolved(now, "the labels of the heartbeat were changed; it goes on with the new ones"))
		}
	}
	s.Missed, s.MissedFrom = &fires, s.from()
	return append(changes, fires)
}

func (s *HeartbeatState) fires(now time.Time, h Heartbeat, external labels.Labels) AlertChange {
	b := labels.NewBuilder(external)
	h.Labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	b.Set(model.AlertNameLabel, HeartbeatAlert).Set(HeartbeatLabel, h.Name)
	last := "none since it was configured at " + inUTC(s.Since)
	if !s.LastAt.IsZero() {
		last = "the last one came at " + inUTC(s.LastAt)
	}
	reason := fmt.Sprintf("no beat for %s (every %s, grace %s): %s", short(now.Sub(s.from()).Round(time.Second)), human(h.Every), human(h.Grace), last)
	if x := s.excused(); x > 0 {
		reason += fmt.Sprintf("; tocsin itself was down for %s of it, so it waited that much longer, and a beat may have been lost", short(x.Round(time.Second)))
	}
	return AlertChange{
		At: now, Source: HeartbeatSource + h.Name, Status: ChangeFiring, Labels: b.Labels(), StartsAt: now,
		Annotations: map[string]string{
			"summary":     "Heartbeat " + h.Name + " is missing: " + last,
			"description": "Nothing was heard of " + h.Name + ", which should beat every " + human(h.Every) + ". Either it does not run, or its beats do not arrive.",
		},
		Escalation: h.Escalation, Why: "the heartbeat " + h.Name + " names the escalation " + h.Escalation, Reason: reason,
		Evidence: Evidence{At: now},
	}
}

func (s *HeartbeatState) resolved(now time.Time, reason string) AlertChange {
	c := *s.Missed
	c.At, c.Status, c.Reason = now, ChangeResolved, reason
	return c
}

func inUTC(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// HeartbeatView is a heartbeat as the own API shows it.
type HeartbeatView struct {
	Name       string            `json:"name"`
	State      string            `json:"state"` // waiting (no beat yet), ok, missed
	Every      string            `json:"every"` // as Prometheus writes durations
	Grace      string            `json:"grace"`
	Escalation string            `json:"escalation"`
	Labels     map[string]string `json:"labels"`
	Token      bool              `json:"token"` // a sender must show one
	LastAt     time.Time         `json:"last_beat_at,omitzero"`
	MissedAt   time.Time         `json:"missed_at,omitzero"` // since when it is missing, or when it will be
	Reason     string            `json:"reason,omitempty"`   // why it is missing
}

// ViewHeartbeat shows what is known of a heartbeat.
func ViewHeartbeat(h Heartbeat, s HeartbeatState) HeartbeatView {
	v := HeartbeatView{Name: h.Name, State: "waiting", Every: human(h.Every), Grace: human(h.Grace), Escalation: h.Escalation,
		Labels: h.Labels.Map(), Token: h.Token != nil, LastAt: s.LastAt}
	if !s.LastAt.IsZero() {
		v.State = "ok"
	}
	if !s.Since.IsZero() {
		v.MissedAt = s.MissedAt(h)
	}
	if s.Missed != nil {
		v.State, v.MissedAt, v.Reason = "missed", s.Missed.StartsAt, s.Missed.Reason
	}
	return v
}

// String is for logs; it shows no token.
func (h Heartbeat) String() string { return strings.TrimSpace("heartbeat " + h.Name) }

// GoString is String: %#v must not show the token's hash either.
func (h Heartbeat) GoString() string { return h.String() }
