package notifier

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"tocsin/oncall"
)

// ShiftMessage is what a person is told of their shift.
type ShiftMessage struct {
	oncall.ShiftNotice
	Schedule string
	Failed   []oncall.ContactCheck // of their contacts, in their last drill
	Open     []oncall.Incident     // that concern the schedule
	Channel  bool                  // it goes to the schedule's channel: by no contact of theirs can they be told
}

// noticeAt is one notice that is due: of which schedule, and where in its handoff.
type noticeAt struct {
	schedule string
	index    int
	message  ShiftMessage
	to       oncall.Endpoint // "" for the schedule's channel
}

// tell tells those who come and go of their shifts, side by side.
func (r *handoffRun) tell(ctx context.Context, s *handoffSetup) error {
	if s.sender == nil {
		return nil
	}
	now := stored(time.Now())
	due := r.dueNotices(s, now)
	if len(due) == 0 {
		return nil
	}
	open, err := openIncidents(ctx, r.store)
	if err != nil {
		return err
	}
	checks, err := r.store.ContactChecks(ctx)
	if err != nil {
		return err
	}
	// An attempt is on disk before it is made, as of handoffs; so is that there is nobody to send to.
	after := map[string]oncall.Handoff{}
	var sent []noticeAt
	for _, n := range due {
		n.message.Open = concerning(s.policy, n.schedule, open)
		said, send := r.address(ctx, s, &n, checks, now)
		if send {
			sent = append(sent, n)
		}
		r.setNotice(after, n, said)
	}
	if err := r.commitNotices(ctx, after); err != nil {
		return err
	}
	attempts := make([]oncall.Attempt, len(sent))
	sending, cancel := context.WithTimeout(ctx, hardTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, n := range sent {
		wg.Go(func() { attempts[i] = r.sendNotice(sending, s, n) })
	}
	wg.Wait()
	after = map[string]oncall.Handoff{}
	for i, n := range sent {
		r.sentNotice(ctx, after, n, attempts[i])
	}
	if ctx.Err() != nil { // what was delivered before the end is written down all the same
		committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
		defer cancel()
		ctx = committing
	}
	return r.commitNotices(ctx, after)
}

// sentNotice takes in what became of a notice.
func (r *handoffRun) sentNotice(ctx context.Context, after map[string]oncall.Handoff, n noticeAt, a oncall.Attempt) {
	a.Number = n.message.Attempts + 1
	said := n.message.After(stored(time.Now()), n.to, a)
	r.setNotice(after, n, said)
	r.told.WithLabelValues(string(said.Kind), string(a.Outcome)).Inc()
	level := slog.LevelInfo
	if a.Outcome != oncall.OutcomeDelivered && a.Outcome != oncall.OutcomeAccepted {
		level = slog.LevelWarn
	}
	r.log.Log(ctx, level, "somebody was told of their shift", "schedule", n.schedule, "user", said.User, "kind", said.Kind, "endpoint", n.to,
		"outcome", a.Outcome, "state", said.State, "err", a.Error)
}

// dueNotices are the notices to be sent now.
func (r *handoffRun) dueNotices(s *handoffSetup, now time.Time) (due []noticeAt) {
	for _, name := range s.policy.ScheduleNames() {
		if schedule := s.policy.Schedules[name]; !schedule.NotifyPeople {
			continue
		}
		for i, n := range r.latest[name].Notices {
			if n.State == oncall.DeliveryQueued && !n.NextAt.After(now) {
				due = append(due, noticeAt{schedule: name, index: i, message: ShiftMessage{ShiftNotice: n, Schedule: name}})
			}
		}
	}
	return due
}

// address settles by what a notice goes now, and returns it as it is to be written down before. Where a shift is to come
// and no contact can be used, its channel is told.
func (r *handoffRun) address(ctx context.Context, s *handoffSetup, n *noticeAt, checks []oncall.ContactCheck, now time.Time) (said oncall.ShiftNotice, send bool) {
	way := s.policy.NoticeBy(n.message.ShiftNotice, checks, now)
	n.to, n.message.Failed = way.To, way.Failed
	if n.to != "" && n.to.Kind() != "slack" && r.page == nil {
		n.to = ""
	}
	log := r.log.With("schedule", n.schedule, "user", n.message.User, "kind", n.message.Kind)
	broken := len(way.Failed)+len(n.message.Refused) > 0
	switch {
	case n.to != "":
	case !way.Wait.IsZero():
		log.InfoContext(ctx, "somebody is told of their shift when their daytime begins: by what works they would be woken", "at", way.Wait)
		return n.message.Waits(stored(way.Wait)), false
	case way.Night:
		log.InfoContext(ctx, "somebody is not told of their shift ahead: by what works they would be woken, and their daytime does not come before it")
		return n.message.Drop(now, "it would wake them, and their daytime does not come before the shift"), false
	case n.message.Kind == oncall.NoticeAhead && broken && s.policy.Schedules[n.schedule].NotifySlack != "":
		n.message.Channel = true
	default:
		log.InfoContext(ctx, "somebody is not told of their shift: no contact of theirs can be used for that")
		return n.message.After(now, "", oncall.Attempt{Number: n.message.Attempts + 1, Outcome: oncall.OutcomeRefused, Error: "no contact of theirs can be used"}), false
	}
	return n.message.After(now, "", oncall.Attempt{Number: n.message.Attempts + 1, Outcome: oncall.OutcomeUnknown, Error: "what became of the attempt is not known"}), true
}

func (r *handoffRun) sendNotice(ctx context.Context, s *handoffSetup, n noticeAt) oncall.Attempt {
	switch {
	case n.message.Channel:
		return s.sender.SendShift(ctx, s.policy.Schedules[n.schedule].NotifySlack, n.message)
	case n.to.Kind() == "slack":
		return s.sender.SendShift(ctx, n.to.Address(), n.message)
	}
	d, in := n.message.Page(n.schedule, n.to, n.message.Failed, s.policy)
	return r.page(ctx, d, in)
}

// setNotice puts a notice into its handoff, a copy of which is in all from then on.
func (r *handoffRun) setNotice(all map[string]oncall.Handoff, at noticeAt, n oncall.ShiftNotice) {
	h, ok := all[at.schedule]
	if !ok {
		h = r.latest[at.schedule]
		h.Notices = slices.Clone(h.Notices)
	}
	h.Notices[at.index] = n
	all[at.schedule] = h
}

func (r *handoffRun) commitNotices(ctx context.Context, all map[string]oncall.Handoff) error {
	var hs []oncall.Handoff
	for _, h := range all {
		hs = append(hs, h)
	}
	if len(hs) == 0 {
		return nil
	}
	return r.commit(ctx, hs...)
}

// SendOutside makes one attempt to send what is no delivery of the store, through the sender of its endpoint. The limits
// of the endpoint do not hold it up.
func (l *Deliveries) SendOutside(ctx context.Context, d oncall.Delivery, in oncall.Incident) (a oncall.Attempt) {
	start := time.Now()
	setup := l.setup.Load()
	if setup == nil || setup.sender(d.Endpoint) == nil {
		return oncall.Attempt{At: start, Outcome: oncall.OutcomeRefused, Error: fmt.Sprintf("no longer configured: nothing here sends to %s", d.Endpoint)}
	}
	ctx, cancel := context.WithTimeout(ctx, hardTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("a sender panicked", "endpoint", d.Endpoint, "err", v, "stack", string(debug.Stack()))
			a = oncall.Attempt{At: start, Took: time.Since(start), Outcome: oncall.OutcomeUnknown, Error: "tocsin failed while sending (a defect: see its log)"}
		}
	}()
	return setup.sender(d.Endpoint).Send(ctx, Message{Delivery: d, Incident: in})
}
