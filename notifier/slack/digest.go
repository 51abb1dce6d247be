package slack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
)

// SendDigest makes one attempt to post what is open.
func (a *Adapter) SendDigest(ctx context.Context, channel string, d notifier.Digest) oncall.Attempt {
	at := oncall.Attempt{At: time.Now()}
	a.post(ctx, channel, []goslack.MsgOption{goslack.MsgOptionParse(false), goslack.MsgOptionLinkNames(false),
		goslack.MsgOptionDisableLinkUnfurl(), goslack.MsgOptionDisableMediaUnfurl(), goslack.MsgOptionText(a.digestText(d, at.At), false)}, "chat.postMessage", &at)
	at.Took = time.Since(at.At)
	at.Error = bounded(clean(a.redact(at.Error)))
	return at
}

// digestStates are in the order of how much they ask of somebody.
var digestStates = []struct {
	state oncall.IncidentState
	title string
}{
	{oncall.IncidentTriggered, "Nobody has it"},
	{oncall.IncidentAcknowledged, "Somebody has it"},
	{oncall.IncidentSnoozed, "Snoozed"},
}

// digestText lists what is open: what nobody has first, and of each kind the oldest first, because it is the one that
// was forgotten.
func (a *Adapter) digestText(d notifier.Digest, now time.Time) string {
	var b strings.Builder
	b.WriteString("🗞️ ")
	switch n := len(d.Open); n {
	case 0:
		b.WriteString("*Nothing is open*")
	case 1:
		b.WriteString("*1 incident is open*")
	default:
		fmt.Fprintf(&b, "*%s are open*", plural(n, "incident"))
	}
	fmt.Fprintf(&b, "; %d ended in the last 24 hours.", d.Ended)
	const most = 10 // of each kind
	for _, s := range digestStates {
		var some []oncall.Incident
		for _, in := range d.Open {
			if in.State == s.state {
				some = append(some, in)
			}
		}
		if len(some) == 0 {
			continue
		}
		slices.SortStableFunc(some, func(x, y oncall.Incident) int { return x.TriggeredAt.Compare(y.TriggeredAt) })
		fmt.Fprintf(&b, "\n*%s* (%d)", s.title, len(some))
		for _, in := range some[:min(most, len(some))] {
			b.WriteString("\n• " + a.line(in, now))
		}
		if more := len(some) - most; more > 0 {
			fmt.Fprintf(&b, "\n… and %d more", more)
		}
	}
	return b.String()
}
