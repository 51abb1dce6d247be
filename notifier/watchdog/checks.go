package watchdog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tocsin/oncall"
)

const (
	// late is how long something may wait inside tocsin. It is much longer than anything takes that works.
	late = time.Minute
	// tokenHold is for how long Slack's word on a token stands.
	tokenHold = 10 * time.Minute
	shown     = 3 // names in one reason
)

// Store is what the self-check asks of the store.
type Store interface {
	// Writable commits a small write under w's lease.
	Writable(ctx context.Context, w oncall.Write) error
	// Backlog returns what has waited since cut or longer; read is the last row of the log that was read.
	Backlog(ctx context.Context, cut time.Time, read int64) (oncall.Backlog, error)
}

// StoreCheck: the store takes writes under our lease.
func StoreCheck(s Store) Check {
	return Check{Name: "store", Run: func(ctx context.Context, lease oncall.Lease) error {
		return s.Writable(ctx, oncall.Write{Now: time.Now(), Lease: &lease, Urgent: true})
	}}
}

// RulesCheck: every rule group was evaluated in time. lateGroups returns the names of those that were not.
func RulesCheck(lateGroups func(now time.Time) []string) Check {
	return Check{Name: "rules", Run: func(context.Context, oncall.Lease) error {
		names := lateGroups(time.Now())
		switch n := len(names); {
		case n == 0:
			return nil
		case n > shown:
			names = append(names[:shown:shown], fmt.Sprintf("%d more", n-shown))
		}
		return fmt.Errorf("not evaluated in time: %s", strings.Join(names, ", "))
	}}
}

// QueuesCheck: nothing waits inside tocsin. progress returns the last row of the log that the dispatcher has read, and
// false where it reads none.
func QueuesCheck(s Store, progress func() (read int64, ok bool)) Check {
	return Check{Name: "queues", Run: func(ctx context.Context, _ oncall.Lease) error {
		read, ok := progress()
		if !ok {
			return errors.New("the dispatcher does not work yet")
		}
		now := time.Now()
		b, err := s.Backlog(ctx, now.Add(-late), read)
		if err != nil {
			return err
		}
		ago := func(at time.Time) string { return now.Sub(at).Round(time.Second).String() }
		var waits []string
		if !b.Received.IsZero() {
			waits = append(waits, "alerts that were received "+ago(b.Received)+" ago were not dispatched")
		}
		if !b.Change.IsZero() {
			waits = append(waits, "a change of an alert has waited for its incident for "+ago(b.Change))
		}
		if !b.Timer.IsZero() {
			waits = append(waits, "a timer of an incident is overdue by "+ago(b.Timer))
		}
		if !b.Page.IsZero() {
			waits = append(waits, fmt.Sprintf("a page to %s was not tried for %s", b.Endpoint, ago(b.Page)))
		}
		if !b.Notification.IsZero() {
			waits = append(waits, fmt.Sprintf("a notification of a group by %s waits for an attempt for %s", b.Integration, ago(b.Notification)))
		}
		if len(waits) > 0 {
			return errors.New(strings.Join(waits, ", "))
		}
		return nil
	}}
}

// SlackCheck: the bot token is good. test returns oncall.CodeForbidden where it is not; that Slack cannot be asked says
// nothing about the token, and is no reason to fall silent. nil from adapter: there is no Slack.
func SlackCheck(adapter func() (test func(context.Context) error)) Check {
	return Check{Name: "slack", Hold: tokenHold, Run: func(ctx context.Context, _ oncall.Lease) error {
		test := adapter()
		if test == nil {
			return nil
		}
		if err := test(ctx); oncall.ErrorCode(err) == oncall.CodeForbidden {
			return err
		}
		return nil
	}}
}
