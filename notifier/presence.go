package notifier

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/oncall"
)

// PresenceSender keeps places in Slack up to date with who is on call.
type PresenceSender interface {
	// SyncGroup makes a user group consist of users, by their names in tocsin. It writes only where something differs,
	// and never empties a group.
	SyncGroup(ctx context.Context, group string, users []string) GroupSync
	// SetTopic makes a channel's topic say who is on call, beside the rest of it. It writes only where something differs.
	SetTopic(ctx context.Context, channel, says string) TopicSync
}

// GroupSync is what became of keeping a user group up to date.
type GroupSync struct {
	Outcome    oncall.Outcome // delivered: the group is as it should be, as far as its people are known there
	Changed    bool           // it was not before
	Unmapped   []string       // who is on call and not known there
	RetryAfter time.Duration  // what the far end asked for
	Error      string         // for people, without secrets
}

// PresenceOptions are what Presence needs.
type PresenceOptions struct {
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Presence keeps what Slack shows of who is on call up to date: whenever it changes, and now and again because people
// edit such things by hand. It stores nothing: what is there is compared with what should be. It is in nobody's way, for
// no page depends on it.
type Presence struct {
	log   *slog.Logger
	done  *prometheus.CounterVec
	right *prometheus.GaugeVec
	told  *prometheus.CounterVec        // topics
	setup atomic.Pointer[presenceSetup] // nil until Apply
	wake  chan struct{}
}

// presenceSetup is one policy with who sends. It never changes.
type presenceSetup struct {
	policy oncall.Policy
	sender PresenceSender      // nil: nobody
	groups map[string][]string // the schedules that a user group follows
	topics map[string][]string // the schedules that a channel's topic tells of
}

const (
	reconcileEvery  = 15 * time.Minute
	presenceRetry   = time.Minute
	presenceRefused = 5 * time.Minute // a person must mend it
)

// NewPresence makes the loop. It does nothing before Apply and Run.
func NewPresence(o PresenceOptions) *Presence {
	p := &Presence{log: logger(o.Logger), wake: make(chan struct{}, 1)}
	p.done = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_user_group_syncs_total",
		Help: "Times that a user group of Slack was compared with who is on call, by what became of it (unchanged, changed, kept, retry, unknown, refused).",
	}, []string{"outcome"})
	p.right = promauto.With(o.Registerer).NewGaugeVec(prometheus.GaugeOpts{
		Name: "tocsin_slack_user_group_in_step",
		Help: "Whether a user group of Slack is exactly who is on call (1) or not (0), as the process with the watch saw it last.",
	}, []string{"group"})
	p.told = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_slack_topic_updates_total",
		Help: "Times that the topic of a Slack channel was made to say who is on call, by what became of it (unchanged, changed, retry, unknown, refused).",
	}, []string{"outcome"})
	return p
}

// Apply sets the policy and who sends (nil: nobody) from the next look on. It may be called from any goroutine.
func (p *Presence) Apply(policy oncall.Policy, sender PresenceSender) {
	s := &presenceSetup{policy: policy, sender: sender, groups: map[string][]string{}, topics: map[string][]string{}}
	for _, name := range policy.ScheduleNames() {
		if g := policy.Schedules[name].SlackUserGroup; g != "" {
			s.groups[g] = append(s.groups[g], name)
		}
		if c := policy.Schedules[name].SlackTopic; c != "" {
			s.topics[c] = append(s.topics[c], name)
		}
	}
	p.setup.Store(s)
	poke(p.wake)
}

// Run works until ctx ends. It must run in one process only: where the lease is held.
func (p *Presence) Run(ctx context.Context) {
	defer p.right.Reset()
	r := presenceRun{Presence: p, groups: map[string]*groupState{}, topics: map[string]*topicState{}}
	for ctx.Err() == nil {
		next := r.turn(ctx)
		sleep(ctx, max(0, time.Until(next)), p.wake)
	}
}

// presenceRun is one Run. Its fields belong to the goroutine in turn; those of a groupState to the one that syncs it.
type presenceRun struct {
	*Presence
	groups map[string]*groupState // by address
	topics map[string]*topicState // by channel
}

// groupState is what is remembered of a user group.
type groupState struct {
	users []string  // whom it was last tried with
	next  time.Time // when it is looked at again, if nothing changes before
	fine  bool      // the last try succeeded
	said  string    // what was last complained of
}

// turn brings up to date what is due, side by side, and returns when there is more to do.
func (r *presenceRun) turn(ctx context.Context) (next time.Time) {
	s, now := r.setup.Load(), time.Now()
	next = now.Add(handoffPoll)
	if s == nil || s.sender == nil {
		return next
	}
	for address := range r.groups {
		if s.groups[address] == nil {
			delete(r.groups, address)
			r.right.DeleteLabelValues(address)
		}
	}
	var wg sync.WaitGroup
	for address, schedules := range s.groups {
		users, change := whoever(s.policy, schedules, now)
		next = earlier(next, change)
		g := r.groups[address]
		if g == nil {
			g = &groupState{}
			r.groups[address] = g
		} else if slices.Equal(users, g.users) && now.Before(g.next) {
			next = earlier(next, g.next)
			continue
		}
		wg.Go(func() { r.sync(ctx, s, address, users, g) })
	}
	next = earlier(next, r.topicTurn(ctx, s, now))
	wg.Wait()
	for _, g := range r.groups {
		next = earlier(next, g.next)
	}
	return next
}

// sync brings one user group up to date.
func (r *presenceRun) sync(ctx context.Context, s *presenceSetup, address string, users []string, g *groupState) {
	strayed := g.fine && slices.Equal(users, g.users)
	done := s.sender.SyncGroup(ctx, address, users)
	if ctx.Err() != nil {
		return
	}
	g.users, g.fine = users, done.Outcome == oncall.OutcomeDelivered
	wait, outcome, complaint := reconcileEvery, "unchanged", ""
	mapped := len(users) - len(done.Unmapped)
	switch {
	case done.Outcome == oncall.OutcomeRefused || done.Outcome == oncall.OutcomeGone:
		wait, outcome, complaint = presenceRefused, string(oncall.OutcomeRefused), done.Error
	case !g.fine:
		wait, outcome, complaint = presenceRetry, string(done.Outcome), done.Error
	case len(users) == 0:
		outcome, complaint = "kept", "nobody is on call, and Slack takes no empty group: it stays as it was"
	case mapped == 0:
		outcome, complaint = "kept", "nobody who is on call is known in Slack: it stays as it was"
	case len(done.Unmapped) > 0:
		complaint = "somebody who is on call is not known in Slack: add slack: U… or a verified email to their entry in users"
	}
	if done.Changed {
		outcome = "changed"
		if strayed {
			r.log.WarnContext(ctx, "A user group of Slack was edited there; it was put right", "group", address, "on_call", users)
		} else {
			r.log.InfoContext(ctx, "A user group of Slack follows who is on call", "group", address, "on_call", users)
		}
	}
	if complaint != "" && complaint != g.said {
		r.log.WarnContext(ctx, "A user group of Slack is not who is on call", "group", address, "on_call", users, "unknown_in_slack", done.Unmapped, "err", complaint)
	}
	g.said = complaint
	g.next = time.Now().Add(max(wait, done.RetryAfter))
	r.done.WithLabelValues(outcome).Inc()
	inStep := 0.0
	if complaint == "" {
		inStep = 1
	}
	r.right.WithLabelValues(address).Set(inStep)
}

// whoever returns who is on call by any of the schedules, sorted, and when that changes next.
func whoever(p oncall.Policy, schedules []string, now time.Time) (users []string, change time.Time) {
	all := map[string]bool{}
	for _, name := range schedules {
		s := p.Schedules[name]
		on, _ := s.OnCall(p.Overrides, now)
		for _, u := range on {
			all[u] = true
		}
		if next, ok := s.NextChange(p.Overrides, now); ok {
			change = earlier(change, next.From)
		}
	}
	return slices.Sorted(maps.Keys(all)), change
}
