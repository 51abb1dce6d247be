package oncall_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"tocsin/oncall"
)

// TestOlderDocuments: an incident that an older version left in the middle of a tier goes on: its contact rules are
// known by their place in the list, its tiers were told in order, and no key changes.
func TestOlderDocuments(t *testing.T) {
	const doc = `{"number":7,"key":"k","escalation":"session","group_key":"{}","group_labels":{"service":"session"},"state":"triggered","title":"x",
		"triggered_at":"2024-09-23T13:00:00Z","round_at":"2024-09-23T13:00:00Z","anchor":"2024-09-23T13:00:00Z","next_tier":2,
		"notifications":[{"round":0,"tier":0,"target":{"kind":"slack","name":"#session-alerts"},"at":"2024-09-23T13:00:00Z","next":1,
			"tries":[{"contact":0,"at":"2024-09-23T13:00:00Z","keys":[],"reached":true}]},
			{"round":0,"tier":1,"target":{"kind":"user","name":"ana"},"at":"2024-09-23T13:05:00Z","next":1,
			"tries":[{"contact":0,"at":"2024-09-23T13:05:00Z","keys":[],"reached":true}]}],
		"next_at":"2024-09-23T13:07:00Z"}`
	var in oncall.Incident
	if err := json.Unmarshal([]byte(doc), &in); err != nil {
		t.Fatal(err)
	}
	in.Policy = testPolicy().Escalations["session"]
	in.Alerts = []oncall.IncidentAlert{{Fingerprint: "1", State: oncall.StateFiring, Sources: []string{"rule:test"}}}
	at := time.Date(2024, 9, 23, 13, 7, 0, 0, time.UTC)
	d := oncall.Decide(at, in, oncall.Tick{}, testPolicy())
	e := oncall.PageEndpoint("ana-phone", 0)
	if len(d.Deliveries) == 0 || d.Deliveries[0].Key != oncall.DeliveryKey("k", "ask", 0, 1, "user ana", 1, e) {
		t.Fatalf("%+v", d.Deliveries)
	}
	// The first tier is removed meanwhile: the third, now the second, is neither lost nor is ana told again.
	p := testPolicy()
	edits["no-first-tier"](&p)
	d = oncall.Decide(at.Add(3*time.Minute), in, oncall.Tick{}, p)
	var told []string
	for _, entry := range d.Timeline {
		if entry.Kind == oncall.EntryEscalated {
			told = append(told, entry.Text)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "the second tier is told: user bo, receiver pagerduty") {
		t.Errorf("%q", told)
	}
}
