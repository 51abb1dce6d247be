package notifier_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/notifier"
	"tocsin/oncall"
)

// groups is a far end with user groups: it answers as set, and changes what differs.
type groups struct {
	mu     sync.Mutex
	asked  []string
	is     map[string]string
	answer notifier.GroupSync // unless delivered
}

func (g *groups) SyncGroup(_ context.Context, group string, users []string) notifier.GroupSync {
	g.mu.Lock()
	defer g.mu.Unlock()
	who := strings.Join(users, " ")
	g.asked = append(g.asked, fmt.Sprintf("%s %s: %s", time.Now().UTC().Format("2T15:04:05"), group, who))
	if g.answer.Outcome != "" {
		return g.answer
	}
	done := notifier.GroupSync{Outcome: oncall.OutcomeDelivered, Changed: who != "" && g.is[group] != who}
	if done.Changed {
		g.is[group] = who
	}
	return done
}

func (g *groups) SetTopic(_ context.Context, channel, says string) notifier.TopicSync {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, fmt.Sprintf("%s %s: %s", time.Now().UTC().Format("2T15:04:05"), channel, says))
	if g.answer.Outcome != "" {
		return notifier.TopicSync{Outcome: g.answer.Outcome, RetryAfter: g.answer.RetryAfter, Error: g.answer.Error}
	}
	return notifier.TopicSync{Outcome: oncall.OutcomeDelivered, Changed: true}
}

func (g *groups) take() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := strings.Join(g.asked, "\n")
	g.asked = nil
	return asked
}

func (g *groups) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// onShow runs the presence loop on a far end in a bubble. The log is complete once the loop waits.
func onShow(t *testing.T, play func(t *testing.T, p *notifier.Presence, far *groups, log *bytes.Buffer, r *prometheus.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := prometheus.NewPedanticRegistry()
		far := &groups{is: map[string]string{}}
		p := notifier.NewPresence(notifier.PresenceOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: r})
		p.Apply(shown(), far)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		synctest.Wait()
		play(t, p, far, &log, r)
		stop()
		<-done
	})
}

// shown is rota with a user group.
func shown() oncall.Policy {
	p := rota()
	s := p.Schedules["primary"]
	s.SlackUserGroup = "@primary"
	p.Schedules["primary"] = s
	return p
}

// advance lets time pass in the bubble: nothing else moves its clock.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// inStep is what the gauge says of the one group.
func inStep(t *testing.T, r *prometheus.Registry) float64 {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "tocsin_slack_user_group_in_step" {
			return m.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

func TestPresenceFollowsWhoIsOnCall(t *testing.T) {
	onShow(t, func(t *testing.T, p *notifier.Presence, far *groups, log *bytes.Buffer, r *prometheus.Registry) {
		want := func(asked string) {
			t.Helper()
			if got := far.take(); got != asked {
				t.Errorf("asked\n%s\nwant\n%s", got, asked)
			}
		}
		want("1T00:00:00 @primary: ana")
		advance(14 * time.Minute)
		want("")
		// Every 15 minutes it is looked at again; what somebody did by hand is put right, and said.
		far.set(func() { far.is["@primary"] = "eve" })
		advance(time.Minute)
		want("1T00:15:00 @primary: ana")
		if far.is["@primary"] != "ana" || strings.Count(log.String(), "was edited there; it was put right") != 1 {
			t.Errorf("%q, logged\n%s", far.is, log)
		}
		// An override counts at once, and so does its end.
		q := shown()
		q.Overrides = []oncall.Override{{ID: "o", Schedule: "primary", Kind: oncall.OverrideReplace, User: "cy", From: time.Now(), To: time.Now().Add(7 * time.Minute)}}
		p.Apply(q, far)
		synctest.Wait()
		want("1T00:15:00 @primary: cy")
		advance(7 * time.Minute)
		want("1T00:22:00 @primary: ana")
		// The handoff is at the second.
		advance(23*time.Hour + 37*time.Minute)
		far.take()
		advance(time.Minute)
		want("2T00:00:00 @primary: bo")
		if n := inStep(t, r); n != 1 {
			t.Errorf("in step: %v", n)
		}
		// A schedule that names no group any more is left alone.
		p.Apply(rota(), far)
		advance(time.Hour)
		want("")
	})
}

func TestPresenceTriesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		answer notifier.GroupSync
		after  time.Duration
		logged string
	}{
		"retry":     {notifier.GroupSync{Outcome: oncall.OutcomeRetry, Error: "503"}, time.Minute, "503"},
		"told when": {notifier.GroupSync{Outcome: oncall.OutcomeRetry, Error: "429", RetryAfter: 3 * time.Minute}, 3 * time.Minute, "429"},
		"refused":   {notifier.GroupSync{Outcome: oncall.OutcomeRefused, Error: "missing_scope"}, 5 * time.Minute, "missing_scope"},
		"not known": {notifier.GroupSync{Outcome: oncall.OutcomeDelivered, Unmapped: []string{"ana"}}, 15 * time.Minute, "nobody who is on call is known in Slack"},
	} {
		t.Run(name, func(t *testing.T) {
			onShow(t, func(t *testing.T, p *notifier.Presence, far *groups, log *bytes.Buffer, r *prometheus.Registry) {
				far.set(func() { far.answer = c.answer })
				advance(15 * time.Minute)
				far.take()
				advance(c.after - time.Second)
				if got := far.take(); got != "" {
					t.Errorf("too early: %s", got)
				}
				advance(time.Second)
				if got := far.take(); strings.Count(got, "\n") != 0 || got == "" {
					t.Errorf("asked %q", got)
				}
				if n := strings.Count(log.String(), c.logged); n != 1 {
					t.Errorf("complained %d times:\n%s", n, log)
				}
				far.set(func() { far.answer = notifier.GroupSync{} })
				advance(c.after)
				if far.is["@primary"] != "ana" {
					t.Errorf("%v", far.is)
				}
			})
		})
	}
}

func TestPresenceSaysThatNobodyIsOnCall(t *testing.T) {
	onShow(t, func(t *testing.T, p *notifier.Presence, far *groups, log *bytes.Buffer, r *prometheus.Registry) {
		q := shown()
		s := q.Schedules["primary"]
		s.Layers = nil
		q.Schedules["primary"] = s
		p.Apply(q, far)
		synctest.Wait()
		if far.is["@primary"] != "ana" || strings.Count(log.String(), "nobody is on call, and Slack takes no empty group") != 1 {
			t.Errorf("%v\n%s", far.is, log)
		}
		if n := inStep(t, r); n != 0 {
			t.Errorf("in step: %v", n)
		}
	})
}

func TestPresenceSetsTopicsOnceForEachChange(t *testing.T) {
	onShow(t, func(t *testing.T, p *notifier.Presence, far *groups, log *bytes.Buffer, r *prometheus.Registry) {
		far.take()
		q := rota()
		s := q.Schedules["primary"]
		s.SlackTopic = "#team"
		q.Schedules["primary"] = s
		p.Apply(q, far)
		synctest.Wait()
		if got := far.take(); got != "1T00:00:00 #team: ana until Sun 2 Jan 00:00 UTC" {
			t.Error(got)
		}
		advance(24*time.Hour - time.Second) // nobody is fought
		if got := far.take(); got != "" {
			t.Error(got)
		}
		far.set(func() {
			far.answer = notifier.GroupSync{Outcome: oncall.OutcomeRetry, Error: "429", RetryAfter: 2 * time.Minute}
		})
		advance(time.Minute)
		far.set(func() { far.answer = notifier.GroupSync{} })
		advance(time.Hour)
		if got := far.take(); got != "2T00:00:00 #team: bo until Mon 3 Jan 00:00 UTC\n2T00:02:00 #team: bo until Mon 3 Jan 00:00 UTC" {
			t.Error(got)
		}
	})
}
