package slack

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

func TestSendDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		now := time.Now()
		var all []oncall.Incident
		for n := int64(12); n > 0; n-- {
			in := open(n, now, fire(1, now))
			in.TriggeredAt = now.Add(time.Duration(n) * time.Minute)
			all = append(all, in)
		}
		taken := open(13, now, fire(1, now))
		taken.State, taken.AcknowledgedBy = oncall.IncidentAcknowledged, "ana <!here>"
		for _, c := range []struct {
			digest notifier.Digest
			want   []string
		}{
			{notifier.Digest{}, []string{"🗞️ *Nothing is open*; 0 ended in the last 24 hours."}},
			{notifier.Digest{Open: all[11:], Ended: 3}, []string{"*1 incident is open*; 3 ended in the last 24 hours.\n*Nobody has it* (1)\n• 🔴 *#1* triggered"}},
			{notifier.Digest{Open: append([]oncall.Incident{taken}, all...)}, []string{"*13 incidents are open*",
				"*Nobody has it* (12)\n• 🔴 *#1* triggered", "… and 2 more\n*Somebody has it* (1)\n", "*#13* acknowledged by ana &lt;!here&gt;"}},
		} {
			a := w.SendDigest(t.Context(), "#session-alerts", c.digest)
			if a.Outcome != oncall.OutcomeDelivered {
				t.Fatalf("%+v", a)
			}
			channel, ts, _ := strings.Cut(a.Remote, "/")
			m, _ := w.slack.Message(channel, ts)
			for _, part := range c.want {
				if !strings.Contains(m.Text, part) {
					t.Errorf("%q is not in the message:\n%s", part, m.Text)
				}
			}
		}
		if a := w.SendDigest(t.Context(), "#nowhere", notifier.Digest{}); a.Outcome != oncall.OutcomeRefused {
			t.Errorf("%+v", a)
		}
	})
}
