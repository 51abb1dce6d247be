package main

import (
	"context"
	"time"

	"tocsin/notifier/watchdog"
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
	}
}

// onWatch notes from when on this process, with this plan, can be late.
func (d *daemon) onWatch() { d.watchSince.Store(time.Now().UnixNano()) }
