package slack

import (
	"fmt"
	"strings"
	"time"

	"tocsin/oncall"
)

// step is what happens next without anybody doing anything, and when.
type step struct {
	at   time.Time // zero: at once
	what string    // mrkdwn, "tells user bo"
}

// nextStep says what the incident waits for; ok is false where nothing will happen by itself.
func nextStep(in oncall.Incident, p oncall.Policy) (s step, ok bool) {
	switch in.State {
	case oncall.IncidentTriggered:
		return nextTold(in, p)
	case oncall.IncidentAcknowledged:
		if t := in.Policy.AckTimeout; t > 0 && !in.AcknowledgedAt.IsZero() {
			return step{in.AcknowledgedAt.Add(t), "un-acknowledges it and pages again, unless it is resolved"}, true
		}
	case oncall.IncidentSnoozed:
		if !in.SnoozedUntil.IsZero() {
			return step{in.SnoozedUntil, "wakes it and pages again, unless it is resolved"}, true
		}
	}
	return step{}, false
}

// nextTold finds the earliest of: the next tier, the next contact rule of somebody told, the next repeat.
func nextTold(in oncall.Incident, p oncall.Policy) (best step, ok bool) {
	consider := func(at time.Time, what string) {
		if !ok || at.Before(best.at) {
			best, ok = step{at, what}, true
		}
	}
	if n := in.NextTier; n >= 0 && n < len(in.Policy.Tiers) {
		tier := in.Policy.Tiers[n]
		if in.TierNow != "" {
			return step{time.Time{}, "tells " + targets(tier.Targets)}, true
		}
		consider(in.RoundAt.Add(tier.After), "tells "+targets(tier.Targets))
	}
	for _, n := range in.Notifications {
		if n.Target.Kind != oncall.TargetUser || n.Next < 0 {
			continue
		}
		contacts := p.Users[n.Target.Name].Contacts
		if n.Next >= len(contacts) {
			continue
		}
		what := fmt.Sprintf("tells %s again, by %s", targetName(n.Target), contactName(contacts[n.Next]))
		if n.NextNow != "" {
			return step{time.Time{}, what}, true
		}
		consider(n.At.Add(contacts[n.Next].After), what)
	}
	if r := in.Policy.Repeat; in.Repeats < r.Times && r.Every > 0 {
		consider(in.Anchor.Add(time.Duration(in.Repeats+1)*r.Every), "tells everybody again")
	}
	return best, ok
}

// targets lists at most five targets as mrkdwn.
func targets(ts []oncall.Target) string {
	const most = 5
	var names []string
	for i, t := range ts {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(ts)-most))
			break
		}
		names = append(names, targetName(t))
	}
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// targetName is a target in a sentence: a channel and a person need no word before their name.
func targetName(t oncall.Target) string {
	name := prose(t.Name, 80)
	switch t.Kind {
	case oncall.TargetSlack, oncall.TargetUser:
		return name
	}
	return prose(string(t.Kind), 20) + " " + name
}

func contactName(c oncall.Contact) string {
	switch {
	case c.Slack == "dm":
		return "Slack DM"
	case c.Slack != "":
		return prose(c.Slack, 80)
	}
	return prose(c.Receiver, 80)
}
