package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultNotifyBefore is how long before a shift its owner is told of it, where a schedule announces its handoffs.
const DefaultNotifyBefore = 24 * time.Hour

// NoticeKind says what of a shift somebody is told.
type NoticeKind string

// The kinds of notices.
const (
	NoticeAhead NoticeKind = "ahead" // it begins soon
	NoticeOn    NoticeKind = "on"    // it has begun
	NoticeOff   NoticeKind = "off"   // it is over
)

// ShiftNotice tells one person of their shift. It is kept with the handoff that it belongs to, one ahead of its shift
// with the handoff before.
type ShiftNotice struct {
	Key   string     `json:"key"` // stable: of the schedule, the person, the kind and From
	Kind  NoticeKind `json:"kind"`
	User  string     `json:"user"`
	From  time.Time  `json:"from"`            // when the shift begins or began; of NoticeOff, when it ended
	Until time.Time  `json:"until,omitzero"`  // as far as it is known
	Since time.Time  `json:"since"`           // when the notice was decided
	With  []string   `json:"with,omitempty"`  // who was on call before, or is after it
	Why   string     `json:"why,omitempty"`   // they are on call
	Error string     `json:"error,omitempty"` // last failure, without secrets

	// Refused are the ways that refused an ahead notice, which then goes by another one.
	Refused []NoticeRefusal `json:"refused,omitempty"`

	State    DeliveryState `json:"state"`
	Attempts int           `json:"attempts,omitempty"`
	NextAt   time.Time     `json:"next_at,omitzero"` // when it may be sent (again)
	DoneAt   time.Time     `json:"done_at,omitzero"`
}

// NoticeRefusal is that a notice was refused, and why.
type NoticeRefusal struct {
	By  Endpoint `json:"by"`
	Why string   `json:"why,omitempty"` // without secrets
}

// Announced reports whether somebody is told when other people come on call.
func (s *Schedule) Announced() bool { return s.NotifySlack != "" || s.NotifyPeople }

func newNotice(schedule string, kind NoticeKind, user string, from, now time.Time) ShiftNotice {
	return ShiftNotice{Key: DeliveryKey("shift", schedule, kind, user, from.UnixMicro()), Kind: kind, User: user, From: from, Since: now,
		State: DeliveryQueued, NextAt: now}
}

// tellPeople adds the notices of a handoff, and keeps those of before that are about a shift to come, so that nobody is
// told of one twice.
func (h *Handoff) tellPeople(last Handoff, now time.Time) {
	for _, n := range last.Notices {
		if n.Kind == NoticeAhead && n.From.After(now) {
			h.Notices = append(h.Notices, n)
		}
	}
	for _, u := range h.On {
		if slices.Contains(last.On, u) {
			continue
		}
		n := newNotice(h.Schedule, NoticeOn, u, h.At, now)
		n.Until, n.With, n.Why = h.Until, h.Off, h.Why
		h.Notices = append(h.Notices, n)
	}
	for _, u := range h.Off {
		n := newNotice(h.Schedule, NoticeOff, u, h.At, now)
		n.With = h.On
		h.Notices = append(h.Notices, n)
	}
}

// LookAhead decides who is to be told at now of the shift that comes next, and takes back what was not sent of one that
// does not come any more. Each is told in their daytime, NotifyBefore ahead at most; where the shift begins before that,
// as early as may be. ok is false where there is nothing to write.
func (p Policy) LookAhead(last Handoff, next Shift, now time.Time) (h Handoff, ok bool) {
	s := p.Schedules[last.Schedule]
	if last.Key == "" || !s.NotifyPeople || s.NotifyBefore <= 0 {
		return last, false
	}
	h = last
	h.Notices = slices.Clone(last.Notices)
	for i := range h.Notices {
		n := &h.Notices[i]
		if n.Kind == NoticeAhead && n.State == DeliveryQueued && (!n.From.Equal(next.From) || !slices.Contains(next.Users, n.User) || !n.From.After(now)) {
			n.State, n.NextAt, n.DoneAt, ok = DeliveryDropped, time.Time{}, now, true
		}
	}
	if !next.From.After(now) {
		return h, ok
	}
	for _, u := range next.Users {
		n := newNotice(last.Schedule, NoticeAhead, u, next.From, now)
		if slices.Contains(last.On, u) || slices.ContainsFunc(h.Notices, func(x ShiftNotice) bool { return x.Key == n.Key }) {
			continue
		}
		early := next.From.Add(-s.NotifyBefore)
		if at := p.Users[u].Awake(latest(early, now), next.From); early.After(now) || at.After(now) && at.Before(next.From) {
			continue
		}
		n.Until, n.With, n.Why = next.To, last.On, next.Why()
		h.Notices, ok = append(h.Notices, n), true
	}
	return h, ok
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// After returns the notice after an attempt to send it by an endpoint ("" for a channel, or none): tried again as any
// delivery is. One ahead of a shift that is refused goes by what else there is.
func (n ShiftNotice) After(now time.Time, e Endpoint, a Attempt) ShiftNotice {
	n.State, n.NextAt = AfterAttempt(now, Delivery{CreatedAt: n.Since}, a)
	n.Attempts, n.Error = a.Number, a.Error
	if n.Kind == NoticeAhead && e != "" && (a.Outcome == OutcomeRefused || a.Outcome == OutcomeGone) {
		n.Refused = append(slices.Clone(n.Refused), NoticeRefusal{e, a.Error})
		n.State, n.NextAt = DeliveryQueued, now
	}
	if n.State != DeliveryQueued {
		n.DoneAt = now
	}
	return n
}

// Waits returns the notice, to be sent later.
func (n ShiftNotice) Waits(until time.Time) ShiftNotice {
	n.NextAt = until
	return n
}

// Drop returns the notice, never to be sent.
func (n ShiftNotice) Drop(now time.Time, why string) ShiftNotice {
	n.State, n.NextAt, n.DoneAt, n.Error = DeliveryDropped, time.Time{}, now, why
	return n
}

// loudness orders the kinds of endpoints by how much they disturb. What is not named here is told of incidents only: it
// would open one of its own, or is read by others.
var loudness = map[string]int{"email_configs": 1, "ntfy": 2, "page": 3, "pushover_configs": 3, "telegram_configs": 3, "sms": 4, "call": 5}

// atNight is the loudness of what may be used while somebody sleeps: it is read when they look.
const atNight = 1

// NoticeWay is by what a person is told of a shift.
type NoticeWay struct {
	To     Endpoint       // "": by nothing now
	Failed []ContactCheck // contacts of theirs that failed in their last drill
	// Where To is "", and something works that would ring in the night: Wait is when their daytime begins, zero where the
	// shift begins before, and Night is set then.
	Wait  time.Time
	Night bool
}

// NoticeBy decides by which endpoint a person is told of a shift: by Slack, unless that failed in their last drill or
// refused the notice. What rings is used only ahead of the shift, in the person's daytime, and only to say that a contact
// is broken.
func (p Policy) NoticeBy(n ShiftNotice, checks []ContactCheck, now time.Time) NoticeWay {
	way := NoticeWay{Failed: p.FailedChecks(checks, n.User)}
	works := func(e Endpoint) bool {
		return !slices.ContainsFunc(way.Failed, func(c ContactCheck) bool { return c.Endpoint == e }) &&
			!slices.ContainsFunc(n.Refused, func(r NoticeRefusal) bool { return r.By == e })
	}
	if id := p.Users[n.User].Slack; id != "" && works(SlackEndpoint(id)) {
		way.To = SlackEndpoint(id)
		return way
	}
	if n.Kind != NoticeAhead || len(way.Failed)+len(n.Refused) == 0 {
		return way
	}
	var quietest Endpoint
	for _, x := range p.ContactEndpoints(n.User) {
		if l := loudness[x.Endpoint.Kind()]; l > 0 && works(x.Endpoint) && (quietest == "" || l < loudness[quietest.Kind()]) {
			quietest = x.Endpoint
		}
	}
	if quietest == "" || loudness[quietest.Kind()] <= atNight {
		way.To = quietest
		return way
	}
	switch at := p.Users[n.User].Awake(now, n.From); {
	case !at.After(now):
		way.To = quietest
	case at.Before(n.From):
		way.Wait = at
	default:
		way.Night = true
	}
	return way
}

// Page returns a notice as a test page, for an endpoint that knows nothing but pages: what is said in it is for a person.
func (n ShiftNotice) Page(schedule string, e Endpoint, failed []ContactCheck, p Policy) (Delivery, Incident) {
	s := p.Schedules[schedule]
	note := fmt.Sprintf("%s, you are on call by %s from %s. This contact works; ", n.User, schedule, n.From.In(s.location()).Format("Mon 2 Jan 15:04 MST"))
	if len(failed) > 0 {
		var broken []string
		for _, c := range failed {
			broken = append(broken, c.Contact)
		}
		note += "what failed in your last drill: " + strings.Join(slices.Compact(broken), ", ")
	}
	for i, r := range n.Refused {
		if i > 0 || len(failed) > 0 {
			note += "; "
		}
		note += fmt.Sprintf("this message was refused by %s (%s)", r.By, r.Why)
	}
	return TestPage{Receiver: e.Address(), Note: shortNote(note + ". Mend it before then, and drill again."), Actor: "tocsin", At: n.Since}.Make(e, p)
}

// shortNote cuts what is too long for a note.
func shortNote(s string) string {
	if r := []rune(s); len(r) > maxNote {
		return string(r[:maxNote-1]) + "…"
	}
	return s
}
