package slack

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
)

// UnusableAlert fires while nothing can be posted to a workspace until a person mends it.
const UnusableAlert = "TocsinSlackUnusable"

// How often the tokens are tested where nothing else uses them.
const (
	probeEvery = 5 * time.Minute
	probeAgain = 30 * time.Second // while one is known to be bad
)

// Findings returns what is wrong with the workspaces that a person must mend. Whoever is told of it must be reached by
// another way than Slack: deliveries to Slack are refused at once meanwhile, so that the next contact and tier are told.
func (w *Workspaces) Findings() []notifier.Finding {
	var all []notifier.Finding
	for _, a := range w.all {
		t := a.Unusable()
		if t == nil {
			continue
		}
		b := labels.NewBuilder(labels.FromStrings(labels.AlertName, UnusableAlert, "severity", "critical"))
		where := ""
		if a.cfg.Name != "" {
			b.Set("workspace", a.cfg.Name)
			where = " in the workspace " + a.cfg.Name
		}
		all = append(all, notifier.Finding{Labels: b.Labels(), Since: t.Since, Annotations: labels.FromStrings(
			"summary", "Nothing can be posted to Slack"+where+": "+t.Why,
			"description", "Until this is mended tocsin tells nobody through Slack"+where+", neither in channels nor by direct message; other contacts and "+
				"later tiers are told in its place. Run tocsin slack check to see what is missing.")})
	}
	return all
}

// Probe tests the tokens now and again until ctx ends: that one was revoked must not be found out by a page.
func (w *Workspaces) Probe(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, a := range w.all {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = a.TestToken(ctx) // what it says is remembered: Unusable
				wait := probeEvery
				if a.Unusable() != nil {
					wait = probeAgain
				}
				timer := time.NewTimer(wait)
				select {
				case <-ctx.Done():
					timer.Stop()
				case <-timer.C:
				}
			}
		})
	}
}
