package oncall

import (
	"slices"
	"time"
)

// Handoff is that other people came on call by a schedule: what is announced once. The latest of each schedule is
// kept, so that whoever decides next knows who was announced last, however the change came about: by the rotation,
// an override, an edit of the file, or while nobody looked.
type Handoff struct {
	Key      string    `json:"key"` // stable: of the schedule and At
	Schedule string    `json:"schedule"`
	At       time.Time `json:"at"`  // since when it is so, as far as it was seen
	On       []string  `json:"on"`  // who is on call since then, nobody perhaps
	Off      []string  `json:"off"` // who is not any more
	Why      string    `json:"why"`
	Until    time.Time `json:"until,omitzero"`

	State    DeliveryState `json:"state"` // of the announcement in the channel; dropped: there is none, because nothing was known before, or no channel
	Attempts int           `json:"attempts,omitempty"`
	NextAt   time.Time     `json:"next_at,omitzero"` // when the announcement may be sent (again)
	DoneAt   time.Time     `json:"done_at,omitzero"`
	Error    string        `json:"error,omitempty"` // last failure, without secrets

	// Notices tell those who come and go, and those who come next.
	Notices []ShiftNotice `json:"notices,omitempty"`

	// Failed are contacts of who comes on call that failed in their last drill, for an announcement; it is not kept.
	Failed []ContactCheck `json:"-"`
}

// HandoffAt decides whether other people are on call at now than were announced last (the zero Handoff: nothing
// is known, and what is so now is taken down without an announcement). ok is false where there is nothing to write.
func (p Policy) HandoffAt(schedule string, last Handoff, now time.Time) (h Handoff, ok bool) {
	s, known := p.Schedules[schedule]
	if !known {
		return Handoff{}, false
	}
	users, _ := s.OnCall(p.Overrides, now)
	if last.Key != "" && sameUsers(users, last.On) {
		return Handoff{}, false
	}
	shift := s.ShiftAt(p.Overrides, now)
	h = Handoff{Schedule: schedule, At: now, On: users, Why: shift.Why(), Until: shift.To, State: DeliveryQueued, NextAt: now}
	// When the shift began is when it changed, unless something else was announced after that.
	if shift.From.After(last.At) {
		h.At = shift.From
	}
	h.Key = DeliveryKey("handoff", schedule, h.At.UnixMicro())
	if last.Key == "" {
		h.State, h.NextAt, h.DoneAt = DeliveryDropped, time.Time{}, now
		return h, true
	}
	for _, u := range last.On {
		if !slices.Contains(users, u) {
			h.Off = append(h.Off, u)
		}
	}
	if s.NotifySlack == "" {
		h.State, h.NextAt, h.DoneAt = DeliveryDropped, time.Time{}, now
	}
	if s.NotifyPeople {
		h.tellPeople(last, now)
	}
	return h, true
}

// After returns the handoff after an attempt to announce it: tried again as any delivery is.
func (h Handoff) After(now time.Time, a Attempt) Handoff {
	h.State, h.NextAt = AfterAttempt(now, Delivery{CreatedAt: h.At}, a)
	h.Attempts, h.Error = a.Number, a.Error
	if h.State != DeliveryQueued {
		h.DoneAt = now
	}
	return h
}

// NamesSchedule reports that a tier of an escalation tells whoever is on call by a schedule.
func (e Escalation) NamesSchedule(schedule string) bool {
	return slices.ContainsFunc(e.Tiers, func(t Tier) bool {
		return slices.Contains(t.Targets, Target{Kind: TargetSchedule, Name: schedule})
	})
}
