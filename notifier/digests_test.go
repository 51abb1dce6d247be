package notifier_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// paper is where digests are posted.
type paper struct {
	mu     sync.Mutex
	posted []string
	fail   int // so many attempts from now on
}

// SendDigest implements notifier.DigestSender.
func (p *paper) SendDigest(_ context.Context, channel string, d notifier.Digest) oncall.Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posted = append(p.posted, fmt.Sprintf("%s %s: %d open, %d ended", d.At.UTC().Format("15:04"), channel, len(d.Open), d.Ended))
	if p.fail > 0 {
		p.fail--
		return oncall.Attempt{Outcome: oncall.OutcomeRetry}
	}
	return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
}

func (p *paper) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	posted := strings.Join(p.posted, "; ")
	p.posted = nil
	return posted
}

// TestDigest: each instant is posted once over restarts, tried again until it is confirmed, and nothing is posted where
// there is nothing to say.
func TestDigest(t *testing.T) {
	drillRig(t, func(t *testing.T, r *rig, _ *notifier.Drills) {
		cron, err := oncall.ParseCron("*/10 * * * *")
		if err != nil {
			t.Fatal(err)
		}
		var p paper
		run := func(d time.Duration, always bool) {
			ctx, cancel := context.WithCancel(t.Context())
			loop := notifier.NewDrills(notifier.DrillOptions{Store: r.store, Policy: func() oncall.Policy { return r.policy }})
			loop.Apply([]oncall.Job{{Name: "digest", Cron: cron, TimeZone: time.UTC, Digest: &oncall.DigestJob{Slack: "#team", Always: always}}}, &p)
			var ended sync.WaitGroup
			ended.Go(func() {
				if err := loop.Run(ctx, r.lease); err != nil {
					t.Error(err)
				}
			})
			r.pass(d)
			cancel()
			ended.Wait()
		}
		for _, c := range []struct {
			do     func()
			d      time.Duration
			always bool
			want   string
		}{
			{func() {}, 11 * time.Minute, false, ""},
			{func() {}, 10 * time.Minute, true, "00:20 #team: 0 open, 0 ended"},
			{func() { r.fire("shop") }, 8 * time.Minute, false, ""},
			{func() {}, 2 * time.Minute, false, "00:30 #team: 1 open, 0 ended"},
			{func() { p.fail = 1 }, 10 * time.Minute, false, "00:40 #team: 1 open, 0 ended; 00:40 #team: 1 open, 0 ended"},
			{func() { r.change(oncall.ChangeResolved, "shop") }, 10 * time.Minute, false, "00:50 #team: 0 open, 1 ended"},
		} {
			c.do()
			run(c.d, c.always)
			if got := p.take(); got != c.want {
				t.Errorf("at %s: %q, want %q", time.Now().UTC().Format("15:04"), got, c.want)
			}
		}
		// A digest that could not be posted for hours is nobody's reading any more.
		r.fire("shop")
		p.fail = 1 << 30
		run(20*time.Minute, false)
		p.take()
		p.fail = 0
		r.pass(5 * time.Hour)
		run(time.Minute, false)
		if got := p.take(); strings.Contains(got, "01:") {
			t.Errorf("after hours: %q", got)
		}
	})
}
