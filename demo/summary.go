package demo

import (
	"fmt"
	"strings"
	"time"
)

// summary compares the two outages once the one with tocsin is over.
type summary struct {
	Then, Now string // a sentence each
	Minutes   int    // from the alarm to the all-clear, with tocsin
	BadFor    int    // minutes with more than 5 % failed checkouts
	FirstTold string // "13:04, ana by direct message in Slack"
	Warned    string // "12:44", "" if nobody was
}

// summary returns nil while the outage's incident is not over. It needs w.mu.
func (r *run) summary() *summary {
	in := r.seen.main()
	if in == nil || in.ResolvedAt.IsZero() {
		return nil
	}
	minutes := func(d time.Duration) int { return int(d.Round(time.Minute).Minutes()) }
	s := &summary{
		Then:    "Without tocsin, 23 September 2024: 105 minutes, 13:00 to 14:45. About 60 % of users could not check out.",
		Minutes: minutes(r.clock.story(in.ResolvedAt).Sub(r.clock.story(in.TriggeredAt))),
		BadFor:  minutes(r.service.badFor),
	}
	for _, i := range r.seen.incidents {
		if i.Escalation == escalationEarly && i.TriggeredAt.Before(in.TriggeredAt) {
			s.Warned = hhmm(r.clock.story(i.TriggeredAt))
			break
		}
	}
	for _, t := range r.seen.tellings {
		if !t.at.Before(in.TriggeredAt) {
			s.FirstTold = fmt.Sprintf("%s, %s %s", hhmm(r.clock.story(t.at)), t.user, t.how)
			break
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "With tocsin: %d minutes from the alarm to the all-clear, %d of them with failing checkouts.", s.Minutes, s.BadFor)
	if s.Warned != "" {
		fmt.Fprintf(&b, " The team's channel was warned at %s.", s.Warned)
	}
	if s.FirstTold != "" {
		fmt.Fprintf(&b, " First person told by name: %s.", s.FirstTold)
	}
	s.Now = b.String()
	return s
}
