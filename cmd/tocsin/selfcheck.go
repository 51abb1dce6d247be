package main

import (
	"context"
	"time"

	"tocsin/notifier/watchdog"
	"tocsin/oncall"
)

// selfChecks are what must be well for a pulse to be sent.
func (d *daemon) selfChecks() []watchdog.Check {
	return []watchdog.Check{
		watchdog.StoreCheck(d.store),
		watchdog.RulesCheck(func(now time.Time) []string { return d.evaluator.Late(now, time.Unix(0, d.watchSince.Load())) }),
		watchdog.QueuesCheck(d.store, d.dispatcher.Progress),
		watchdog.SlackCheck(func() func(context.Context) error {
			if g := d.live.Load(); g != nil && g.slack != nil {
				return g.slack.TestToken
			}
			return nil
		}),
		{Name: "slack socket", Run: func(context.Context, oncall.Lease) error {
			if g := d.live.Load(); g != nil && g.slack != nil {
				return g.slack.SocketDown(time.Now(), socketPatience)
			}
			return nil
		}},
	}
}

// socketPatience is how long presses may not arrive by Socket Mode before the pulse is withheld: much longer than
// Slack's own restarts take.
const socketPatience = 5 * time.Minute

// onWatch notes from when on this process, with this plan, can be late.
func (d *daemon) onWatch() { d.watchSince.Store(time.Now().UnixNano()) }
