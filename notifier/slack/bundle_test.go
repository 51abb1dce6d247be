package slack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// bundleOf is a bundle of n incidents, which change may alter.
func bundleOf(n int, change func(i int, in *oncall.Incident)) oncall.Bundle {
	b := oncall.Bundle{Key: "msg_carrier", Count: n, States: map[oncall.IncidentState]int{}}
	for i := range n {
		in := open(int64(i+1), t0, fire(1, t0))
		in.Alerts, in.Deliveries, in.Timeline = nil, nil, nil
		if change != nil {
			change(i, &in)
		}
		b.States[in.State]++
		if i < oncall.MaxListed {
			b.Members = append(b.Members, oncall.BundleMember{Delivery: fmt.Sprint("msg_", i), Incident: in})
		}
	}
	return b
}

func TestDrawBundle(t *testing.T) {
	mixed := func(i int, in *oncall.Incident) {
		switch {
		case i%7 == 3:
			in.State, in.AcknowledgedBy = oncall.IncidentAcknowledged, "ana"
		case i%7 == 5:
			in.State, in.ResolvedAt = oncall.IncidentResolved, t0.Add(time.Minute)
		}
	}
	hostile := func(i int, in *oncall.Incident) {
		in.Title = strings.Repeat("<!channel> *&* |>\u202e`_~ עברית ", 40)
		in.Severity = strings.Repeat("<@U1>&", 30)
	}
	for name, b := range map[string]oncall.Bundle{
		"two": bundleOf(2, nil), "seven-mixed": bundleOf(7, mixed), "five-hundred": bundleOf(500, mixed), "ten-thousand": bundleOf(10_000, nil),
		"hostile": bundleOf(60, hostile), "all-over": bundleOf(3, func(_ int, in *oncall.Incident) { in.State, in.ResolvedAt = oncall.IncidentResolved, t0 }),
	} {
		t.Run(name, func(t *testing.T) {
			d := DrawBundle(b, testPolicy(), t0.Add(5*time.Minute))
			text, err := json.MarshalIndent(d.Blocks, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := slacktest.CheckBlocks(text); err != nil {
				t.Error(err)
			}
			if !strings.Contains(d.Text, fmt.Sprintf(" %d incidents, first #1: ", b.Count)) {
				t.Errorf("the fallback says %q", d.Text)
			}
			if n := b.States[oncall.IncidentTriggered]; n > 0 && !strings.Contains(string(text), fmt.Sprintf("%d triggered", n)) {
				t.Errorf("the count of %d triggered is missing", n)
			}
			shown := strings.Count(string(text), "#") - 1 // the header names the first once more
			if more := b.Count - shown; more > 0 != strings.Contains(string(text), fmt.Sprintf("… and %d more", more)) && name != "hostile" {
				t.Errorf("%d of %d are shown", shown, b.Count)
			}
			if name == "hostile" {
				if strings.Contains(string(text), "\\u003c!channel") || strings.Contains(string(text), "<!channel") {
					t.Error("a title could ping a channel")
				}
				return
			}
			golden(t, "bundle-"+name, append([]byte(d.Text+"\n"), append(text, '\n')...))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != string(got) {
		t.Errorf("%s differs (%v); rewrite it with -update and read the difference", path, err)
	}
}

func TestBundleReply(t *testing.T) {
	b := bundleOf(3, nil)
	say := func(i int, r oncall.Reply) {
		b.Members[i].Body, _ = json.Marshal(r)
	}
	say(0, oncall.Reply{What: "acknowledged", Text: "Acknowledged by ana"})
	say(1, oncall.Reply{What: "triggered", Text: b.Members[1].Incident.Title + " is still not acknowledged", Broadcast: true})
	say(2, oncall.Reply{What: "acknowledged", Text: "Acknowledged by ana"})
	text, broadcast := bundleReply(b)
	if want := "✋ Acknowledged by ana · #1, #3\n🔴 it is still not acknowledged · #2 Session memory at 83.12% on session-1:9100"; text != want || !broadcast {
		t.Errorf("got %q, broadcast %v", text, broadcast)
	}
	many := bundleOf(5000, nil)
	for i := range many.Members {
		many.Members[i].Body, _ = json.Marshal(oncall.Reply{What: "acknowledged", Text: "Acknowledged by ana"})
	}
	text, _ = bundleReply(many)
	if !strings.HasSuffix(text, "… and the like of 4800 more incidents; each is on its own page") || len(text) > 3500 {
		t.Errorf("%d bytes, ends %q", len(text), text[len(text)-100:])
	}
}

// A bundle is posted, redrawn and answered as one message.
func TestSendBundle(t *testing.T) {
	w := newWorkspace(t, newActs(), nil)
	b := bundleOf(3, nil)
	m := notifier.Message{Bundle: &b, Incident: b.Members[0].Incident, Delivery: oncall.Delivery{
		Key: b.Key, Incident: 1, Endpoint: oncall.SlackEndpoint("#session-alerts"), Kind: oncall.KindMessage, Attempts: 1}}
	at := w.Send(t.Context(), m)
	if at.Outcome != oncall.OutcomeDelivered || at.Remote == "" {
		t.Fatalf("%+v", at)
	}
	messages := w.slack.Messages("#session-alerts")
	if len(messages) != 1 || !strings.Contains(messages[0].Text, "3 incidents") {
		t.Fatalf("%+v", messages)
	}
	b = bundleOf(3, func(i int, in *oncall.Incident) { in.State, in.AcknowledgedBy = oncall.IncidentAcknowledged, "ana" })
	m.Bundle, m.Thread, m.Delivery.Kind = &b, at.Remote, oncall.KindEdit
	if at := w.Send(t.Context(), m); at.Outcome != oncall.OutcomeDelivered {
		t.Errorf("%+v", at)
	}
	if got := w.slack.Messages("#session-alerts"); len(got) != 1 || !strings.Contains(got[0].Text, "3 acknowledged") {
		t.Errorf("%+v", got)
	}
	body, _ := json.Marshal(oncall.Reply{What: "acknowledged", Text: "Acknowledged by ana"})
	m.Bundle = &oncall.Bundle{Count: 1, Members: []oncall.BundleMember{{Incident: b.Members[2].Incident, Body: body}}}
	m.Delivery.Kind, m.Delivery.Body = oncall.KindReply, body
	if at := w.Send(t.Context(), m); at.Outcome != oncall.OutcomeDelivered {
		t.Errorf("%+v", at)
	}
	w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: slacktest.Before, Error: "is_archived"})
	m.Bundle, m.Delivery.Kind = &b, oncall.KindMessage
	if at := w.Send(t.Context(), m); at.Outcome != oncall.OutcomeRefused || !at.Closed {
		t.Errorf("%+v", at)
	}
}
