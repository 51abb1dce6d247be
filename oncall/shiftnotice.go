package oncall

import (
	"cmp"
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

	State    DeliveryState `json:"state"`
	Attempts int           `json:"attempts,omitempty"`
	NextAt   time.Time     `json:"next_at,omitzero"` // when it may be sent (again)
	DoneAt   time.Time     `json:"done_at,omitzero"`
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

// After returns the notice after an attempt to send it: tried again as any delivery is.
func (n ShiftNotice) After(now time.Time, a Attempt) ShiftNotice {
	n.State, n.NextAt = AfterAttempt(now, Delivery{CreatedAt: n.Since}, a)
	n.Attempts, n.Error = a.Number, a.Error
	if n.State != DeliveryQueued {
		n.DoneAt = now
	}
	return n
}

// loudness orders the kinds of endpoints by how much they disturb. What is not named here is told of incidents only: it
// would open one of its own, or is read by others.
var loudness = map[string]int{"email_configs": 1, "ntfy": 2, "page": 3, "pushover_configs": 3, "telegram_configs": 3, "sms": 4, "call": 5}

// NoticeBy decides by which endpoint a person is told of a shift: by Slack, unless that failed in their last drill. What
// rings is used only ahead of the shift, and only to say that a contact is broken. ok is false where there is none.
func (p Policy) NoticeBy(n ShiftNotice, checks []ContactCheck) (e Endpoint, failed []ContactCheck, ok bool) {
	failed = p.FailedChecks(checks, n.User)
	works := func(e Endpoint) bool {
		return !slices.ContainsFunc(failed, func(c ContactCheck) bool { return c.Endpoint == e })
	}
	if id := p.Users[n.User].Slack; id != "" && works(SlackEndpoint(id)) {
		return SlackEndpoint(id), failed, true
	}
	if n.Kind != NoticeAhead || len(failed) == 0 {
		return "", failed, false
	}
	var quiet []Endpoint
	for _, x := range p.ContactEndpoints(n.User) {
		if loudness[x.Endpoint.Kind()] > 0 && works(x.Endpoint) {
			quiet = append(quiet, x.Endpoint)
		}
	}
	if len(quiet) == 0 {
		return "", failed, false
	}
	return slices.MinFunc(quiet, func(a, b Endpoint) int { return cmp.Compare(loudness[a.Kind()], loudness[b.Kind()]) }), failed, true
}

// Page returns a notice as a test page, for an endpoint that knows nothing but pages: what is said in it is for a person.
func (n ShiftNotice) Page(schedule string, e Endpoint, failed []ContactCheck, p Policy) (Delivery, Incident) {
	var broken []string
	for _, c := range failed {
		broken = append(broken, c.Contact)
	}
	s := p.Schedules[schedule]
	note := fmt.Sprintf("%s, you are on call by %s from %s. This contact works; what failed in your last drill: %s. Mend it before then, and drill again.",
		n.User, schedule, n.From.In(s.location()).Format("Mon 2 Jan 15:04 MST"), strings.Join(slices.Compact(broken), ", "))
	return TestPage{Receiver: e.Address(), Note: shortNote(note), Actor: "tocsin", At: n.Since}.Make(e, p)
}

// shortNote cuts what is too long for a note.
func shortNote(s string) string {
	if r := []rune(s); len(r) > maxNote {
		return string(r[:maxNote-1]) + "…"
	}
	return s
}
