package slack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// SendShift makes one attempt to tell a person of their shift, in a direct message, or a channel where no contact of
// theirs can be used.
func (a *Adapter) SendShift(ctx context.Context, to string, n notifier.ShiftMessage) oncall.Attempt {
	now := time.Now()
	return a.sayTo(ctx, to, a.shiftText(n, now), n.Attempts+1, now)
}

// shiftText says when a shift begins or ended, what is handed over, and which contacts to mend.
func (a *Adapter) shiftText(n notifier.ShiftMessage, now time.Time) string {
	schedule := "*" + prose(n.Schedule, 80) + "*"
	until := ""
	if !n.Until.IsZero() {
		until = " until " + when(n.Until, true)
	}
	var b strings.Builder
	switch n.Kind {
	case oncall.NoticeAhead:
		who := "*Your shift*"
		if n.Channel {
			who = "*The next shift* of " + a.mention(n.User)
		}
		fmt.Fprintf(&b, "📟 %s by %s begins %s%s", who, schedule, when(n.From, true), until)
		if len(n.With) > 0 {
			b.WriteString(", after " + crowd(n.With))
		}
	case oncall.NoticeOn:
		fmt.Fprintf(&b, "📟 *You are on call* by %s%s", schedule, until)
		if len(n.With) > 0 {
			b.WriteString("; you take over from " + crowd(n.With))
		}
	case oncall.NoticeOff:
		fmt.Fprintf(&b, "📟 *Your shift is over* by %s: %s", schedule, crowd(n.With))
		b.WriteString(map[bool]string{true: " takes over", false: " take over"}[len(n.With) < 2])
	}
	if n.Why != "" {
		fmt.Fprintf(&b, " (%s)", prose(n.Why, 300))
	}
	b.WriteString(".\n")
	a.shiftContacts(&b, n)
	if n.Kind == oncall.NoticeAhead {
		return strings.TrimRight(b.String(), "\n")
	}
	if len(n.Open) == 0 {
		b.WriteString("Nothing is open: nothing is handed over.")
		return b.String()
	}
	b.WriteString(plural(len(n.Open), "open incident") + map[bool]string{true: " is", false: " are"}[len(n.Open) == 1] + " handed over:\n")
	b.WriteString(a.someLines(n.Open, now))
	return strings.TrimRight(b.String(), "\n")
}

// shiftContacts names the contacts that failed, and says what to do.
func (a *Adapter) shiftContacts(b *strings.Builder, n notifier.ShiftMessage) {
	if len(n.Failed)+len(n.Refused) == 0 || n.Kind == oncall.NoticeOff {
		return
	}
	const most = 5
	for _, c := range n.Failed[:min(most, len(n.Failed))] {
		fmt.Fprintf(b, "⚠️ %s\n", prose(c.String(), 300))
	}
	if more := len(n.Failed) - most; more > 0 {
		fmt.Fprintf(b, "⚠️ and %d more\n", more)
	}
	for _, r := range n.Refused[:min(most, len(n.Refused))] {
		fmt.Fprintf(b, "⚠️ %s: %s refused this message: %s\n", prose(n.User, 80), prose(string(r.By), 100), prose(r.Why, 200))
	}
	switch {
	case n.Channel:
		b.WriteString("None of their contacts can be used to tell them: please do. They mend a contact and try it with ")
	case n.Kind == oncall.NoticeAhead:
		b.WriteString("Mend that before it begins, and try it with ")
	default:
		b.WriteString("You may not be reached by that: mend it, and try it with ")
	}
	b.WriteString(code(a.cfg.Command+" drill", 60) + ".\n")
}
