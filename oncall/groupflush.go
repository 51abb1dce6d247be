package oncall

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// GroupMember is an alert of a group, as a flush takes it.
type GroupMember struct {
	Alert  *ActiveAlert
	Firing bool
	Muted  bool // silenced or inhibited
}

// GroupSending is a notification that is neither confirmed nor given up yet.
type GroupSending struct {
	Delivery    GroupDelivery
	InFlight    bool // an attempt is under way
	Unconfirmed bool // an attempt may have arrived: a timeout, a crash before its result was known
}

// GroupState is what a flush is decided on.
type GroupState struct {
	Route        *Route
	Integrations []Integration // of the route's receiver
	Record       GroupRecord   // a zero Anchor: it was never flushed. Key, Route and Labels are set
	Members      []GroupMember // in any order
	MutedBy      []string      // time intervals that mute the route now; empty: none
	Sending      map[Endpoint]GroupSending
}

// GroupFlush is what follows from a flush.
type GroupFlush struct {
	Record     GroupRecord
	Changed    bool            // the record is to be stored
	Deliveries []GroupDelivery // new ones, State queued, due now
	Overtaken  []GroupDelivery // earlier ones that are dropped
	Deferred   []Endpoint      // an attempt is under way there: decide with FlushEndpoint when it ends
	Forget     []uint64        // resolved alerts that nobody needs to be told of any more
	Alive      bool            // an alert fires that is not muted: repeats may fall due
}

// FlushGroup decides what a group says at now, the time of a flush. It does not change s.
func FlushGroup(now time.Time, s GroupState) GroupFlush {
	f := flusher{now: now, s: &s, out: GroupFlush{Record: s.Record}}
	if s.Record.Anchor.IsZero() {
		f.out.Record.Anchor, f.out.Changed = now, true
	}
	f.out.Record.Flushed = now
	if !slices.Equal(s.Record.Muted, s.MutedBy) {
		f.out.Record.Muted, f.out.Changed = s.MutedBy, true
	}
	f.sort()
	if len(s.MutedBy) == 0 {
		for _, i := range s.Integrations {
			f.tell(i)
		}
	}
	for e, sending := range s.Sending {
		if len(s.MutedBy) > 0 && !sending.InFlight { // it is decided anew when the time interval ends
			f.overtake(e)
		}
	}
	f.forget()
	return f.out
}

// FlushEndpoint decides what is left to say to one integration after an attempt during which a flush fell:
// it is the part of that flush which had to wait.
func FlushEndpoint(now time.Time, s GroupState, e Endpoint) GroupFlush {
	f := flusher{now: now, s: &s, out: GroupFlush{Record: s.Record}}
	f.sort()
	for _, i := range s.Integrations {
		if i.Endpoint == e && len(s.MutedBy) == 0 {
			f.tell(i)
		}
	}
	f.forget()
	return f.out
}

type flusher struct {
	now     time.Time
	s       *GroupState
	out     GroupFlush
	members []GroupMember // sorted as notifications show them
	dropped map[Endpoint]bool
	// Fingerprints of all members, sorted, and of those that are not muted.
	all, firing, resolved []uint64
}

func (f *flusher) sort() {
	f.members = slices.Clone(f.s.Members)
	SortAlerts(f.members, func(m GroupMember) labels.Labels { return m.Alert.Labels })
	for _, m := range f.members {
		fp := m.Alert.Fingerprint
		f.all = append(f.all, fp)
		switch {
		case m.Muted:
		case m.Firing:
			f.firing = append(f.firing, fp)
		default:
			f.resolved = append(f.resolved, fp)
		}
	}
	slices.Sort(f.all)
	slices.Sort(f.firing)
	slices.Sort(f.resolved)
	f.out.Alive = len(f.firing) > 0
}

// known returns the alerts that the integration may take to be firing.
func (f *flusher) known(e Endpoint) []uint64 {
	n := f.out.Record.Notified[e]
	known := union(n.Firing, n.Told)
	if sending, ok := f.s.Sending[e]; ok && (sending.Unconfirmed || !f.dropped[e]) { // it may yet arrive
		known = union(known, sending.Delivery.Notice.Firing)
	}
	return known
}

// tell decides what one integration is told.
func (f *flusher) tell(i Integration) {
	e := i.Endpoint
	if sending, ok := f.s.Sending[e]; ok && sending.InFlight {
		f.out.Deferred = append(f.out.Deferred, e)
		return
	}
	f.overtake(e)
	last, resolved := f.out.Record.Notified[e], f.resolved
	if i.SendResolved {
		resolved = union(resolved, f.owed(e))
	}
	if len(f.firing)+len(resolved) == 0 {
		return
	}
	reason := NeedsUpdate(last, f.firing, resolved, i.SendResolved, f.s.Route.RepeatInterval, f.now)
	if reason == ReasonNone {
		return
	}
	notice := Notice{At: f.now, Firing: f.firing, Resolved: resolved}
	if reason != ReasonFirstNotification {
		notice.Remote = last.Remote
	}
	if i.SendResolved {
		notice.Told = f.left(f.known(e), f.firing, resolved)
	} else if len(f.firing) == 0 { // nothing of it is sent, and it counts as told
		f.notify(e, notice)
		return
	}
	f.out.Deliveries = append(f.out.Deliveries, f.delivery(i, reason, notice))
}

// owed returns the muted alerts that have resolved and that the integration may take to be firing: it is
// told all the same, or somebody works on what is over.
func (f *flusher) owed(e Endpoint) []uint64 {
	var owed []uint64
	known := f.known(e)
	for _, m := range f.members {
		if m.Muted && !m.Firing && contains(known, m.Alert.Fingerprint) {
			owed = append(owed, m.Alert.Fingerprint)
		}
	}
	slices.Sort(owed)
	return owed
}

// left returns the members of known that a notification says nothing of.
func (f *flusher) left(known, firing, resolved []uint64) []uint64 {
	var left []uint64
	for _, fp := range without(without(known, firing), resolved) {
		if contains(f.all, fp) {
			left = append(left, fp)
		}
	}
	return left
}

// overtake drops an earlier notification to the integration. What it may have told stays on record.
func (f *flusher) overtake(e Endpoint) {
	sending, ok := f.s.Sending[e]
	if !ok {
		return
	}
	d := sending.Delivery
	d.State, d.DoneAt, d.NextAt, d.Alerts = DeliveryDropped, f.now, time.Time{}, nil
	if d.Error == "" {
		d.Error = "overtaken by the next flush of its group"
	}
	f.out.Overtaken = append(f.out.Overtaken, d)
	if f.dropped == nil {
		f.dropped = map[Endpoint]bool{}
	}
	f.dropped[e] = true
	if sending.Unconfirmed {
		f.notify(e, MaybeTold(f.out.Record.Notified[e], d.Notice))
	}
}

// MaybeTold returns the notice of an integration that may have got a notification, which was not confirmed.
// What that one said had resolved is neither known to fire nor known to be over: whichever is true is told next.
func MaybeTold(last, unconfirmed Notice) Notice {
	firing := without(last.Firing, unconfirmed.Resolved)
	unsure := without(last.Firing, firing)
	last.Firing = firing
	last.Told = union(last.Told, union(unsure, without(unconfirmed.Firing, firing)))
	return last
}

// notify puts a notice on record. Maps that others can see are not changed.
func (f *flusher) notify(e Endpoint, n Notice) {
	f.out.Record = f.out.Record.WithNotice(e, n)
	f.out.Changed = true
}

// Until returns the record with nothing in it from after now, where it may have been written by a clock that was
// set back since: else the group would say nothing until that time comes again.
func (g GroupRecord) Until(now time.Time) GroupRecord {
	if ahead := g.Flushed.Sub(now); ahead > 0 {
		g.Anchor, g.Flushed = g.Anchor.Add(-ahead), now
	}
	for e, n := range g.Notified {
		if n.At.After(now) {
			n.At = now
			g = g.WithNotice(e, n)
		}
	}
	return g
}

// WithNotice returns the record with what an integration was last told.
func (g GroupRecord) WithNotice(e Endpoint, n Notice) GroupRecord {
	notified := make(map[Endpoint]Notice, len(g.Notified)+1)
	for k, v := range g.Notified {
		notified[k] = v
	}
	notified[e] = n
	g.Notified = notified
	return g
}

func (f *flusher) delivery(i Integration, reason string, notice Notice) GroupDelivery {
	r := f.s.Record
	d := GroupDelivery{
		Key:      DeliveryKey(r.Key, i.Endpoint, f.now.UnixMicro()),
		Endpoint: i.Endpoint, Receiver: f.s.Route.Receiver, GroupKey: r.Key, Route: f.s.Route.ID, GroupLabels: r.Labels,
		Reason: reason, Notice: notice, State: DeliveryQueued, CreatedAt: f.now, NextAt: f.now,
	}
	d.Alerts = make([]GroupAlert, 0, len(notice.Firing)+len(notice.Resolved))
	for _, m := range f.members {
		fp := m.Alert.Fingerprint
		switch {
		case m.Firing && !m.Muted:
			d.Firing++
		case !m.Firing && i.SendResolved && contains(notice.Resolved, fp):
			d.Resolved++
		default:
			continue
		}
		d.Alerts = append(d.Alerts, groupAlertOf(m))
	}
	return d
}

func groupAlertOf(m GroupMember) GroupAlert {
	a := m.Alert
	g := GroupAlert{
		Labels: a.Labels, Annotations: a.Annotations, GeneratorURL: a.GeneratorURL,
		StartsAt: micros(a.StartsAt), UpdatedAt: micros(a.UpdatedAt),
	}
	if !m.Firing {
		g.EndsAt = micros(a.EndsAt)
	}
	return g
}

// forget lists the resolved alerts of which nobody waits to hear.
func (f *flusher) forget() {
	var known [][]uint64 // by those who are told of ends
	for _, i := range f.s.Integrations {
		if i.SendResolved {
			known = append(known, f.known(i.Endpoint))
		}
	}
	for _, m := range f.members {
		if !m.Firing && !f.pending(m.Alert, known) {
			f.out.Forget = append(f.out.Forget, m.Alert.Fingerprint)
		}
	}
}

// pending reports whether some integration may take a resolved alert to be firing and can still be told. One
// that has refused to hear of it for a day will not.
func (f *flusher) pending(a *ActiveAlert, known [][]uint64) bool {
	if len(f.s.MutedBy) == 0 && f.now.Sub(micros(a.EndsAt)) > maxRetryFor {
		return false
	}
	return slices.ContainsFunc(known, func(fps []uint64) bool { return contains(fps, a.Fingerprint) })
}

// SettleGroup says which resolved alerts of a group nobody waits to hear of any more, now that something was
// confirmed or refused. It is no flush: nothing is said.
func SettleGroup(now time.Time, s GroupState) GroupFlush {
	f := flusher{now: now, s: &s, out: GroupFlush{Record: s.Record}, members: s.Members}
	f.forget()
	return f.out
}
