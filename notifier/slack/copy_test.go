package slack

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// TestCopyOfAMessage: Slack takes a message and its answer is lost, so it is posted again. A press on the first one acts,
// and shows it up as the copy that it is; the one that is known stays as it is.
func TestCopyOfAMessage(t *testing.T) {
	for name, button := range map[string]string{"acts": actionAcknowledge, "acts no more": actionEscalate} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acts := newActs(open(42, time.Now(), fire(1, time.Now())))
				w := newWorkspace(t, acts, nil)
				in := acts.incidents[42]
				w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: slacktest.During})
				if got := w.Send(t.Context(), message("#session-alerts", in)); got.Outcome != oncall.OutcomeUnknown {
					t.Fatalf("got %+v", got)
				}
				second := w.Send(t.Context(), message("#session-alerts", in))
				all := w.slack.Messages("#session-alerts")
				if len(all) != 2 {
					t.Fatalf("%d messages", len(all))
				}
				known := oncall.Delivery{Key: "msg_1", Incident: 42, Endpoint: oncall.SlackEndpoint("#session-alerts"), Kind: oncall.KindMessage}
				stand := func(state oncall.DeliveryState, remote string) {
					acts.set(func() {
						known.State, known.Remote = state, remote
						in := acts.incidents[42]
						in.Deliveries = []oncall.Delivery{known}
						acts.incidents[42] = in
					})
				}
				press := func(i int) string {
					t.Helper()
					if _, err := w.slack.PressAsSeen(t.Context(), tocsinURL, all[i], button, "U02ANA"); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					m, _ := w.slack.Message(all[i].Channel, all[i].TS)
					return m.Text
				}
				stand(oncall.DeliverySending, "")
				if got := press(0); strings.Contains(got, "copy") {
					t.Errorf("while it is not known which one counts: %q", got)
				}
				stand(oncall.DeliveryDelivered, second.Remote)
				if got := press(1); strings.Contains(got, "copy") {
					t.Errorf("the message that counts: %q", got)
				}
				if got := press(0); !strings.Contains(got, "A copy of the message of #42") {
					t.Errorf("the copy: %q", got)
				}
				if m, _ := w.slack.Message(all[0].Channel, all[0].TS); strings.Contains(string(m.Blocks), "tocsin_") {
					t.Errorf("the copy has buttons still: %s", m.Blocks)
				}
			})
		})
	}
}
