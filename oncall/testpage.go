package oncall

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

const (
	// TestAlert is the alertname of a test page.
	TestAlert = "TocsinTest"
	// testKey begins the key of a test page's delivery.
	testKey  = "msg_test_"
	maxNote  = 500 // characters
	testText = "This is a test: nothing is wrong, and no incident stands behind it."
)

// TestPage is what a person sends through a receiver to find out whether it wakes somebody. It has the shape of a real
// page, and is no incident: nothing is kept of it, and nothing follows from it.
type TestPage struct {
	Receiver string
	Note     string // for whoever gets it; may be empty
	Actor    string
	At       time.Time
}

// Check reports a note that cannot be shown. Code: invalid.
func (t TestPage) Check() error {
	if utf8.RuneCountInString(t.Note) > maxNote || strings.ContainsFunc(t.Note, unicode.IsControl) {
		return Errorf(CodeInvalid, "the note must be one line of at most %d characters", maxNote)
	}
	return nil
}

// IsTestKey reports whether a delivery's key is that of a test page.
func IsTestKey(key string) bool { return strings.HasPrefix(key, testKey) }

// Make returns the test page for one endpoint, and the incident that it seems to be about, which is number 0 and in no
// store. The key differs with the instant and the endpoint: two tests are two pages.
func (t TestPage) Make(e Endpoint, p Policy) (Delivery, Incident) {
	identity := "test " + t.Receiver + " " + t.At.UTC().Format(time.RFC3339Nano)
	title := "TEST: page to receiver " + t.Receiver
	if t.Note != "" {
		title = "TEST: " + t.Note
	}
	in := Incident{
		Key: "test-" + strings.TrimPrefix(DeliveryKey(identity), "msg_"), Revision: 1, Escalation: "test", State: IncidentTriggered, Title: title,
		Why:      fmt.Sprintf("%s tests the receiver %s", t.Actor, t.Receiver),
		Severity: "critical", GroupLabels: labels.FromStrings(model.AlertNameLabel, TestAlert, "receiver", t.Receiver),
		GroupKey: TestAlert + " " + t.Receiver, TriggeredAt: t.At, RoundAt: t.At, Anchor: t.At, NextTier: 1,
		Timeline: []TimelineEntry{{At: t.At, Kind: EntryTriggered, Actor: t.Actor, Text: "a test of the receiver " + t.Receiver}},
	}
	ls := labels.FromStrings(model.AlertNameLabel, TestAlert, "receiver", t.Receiver, "severity", "critical")
	in.Alerts = []IncidentAlert{{
		Fingerprint: FingerprintOf(ls), Labels: ls, State: StateFiring, StartsAt: t.At, Sources: []string{"test"},
		Annotations: map[string]string{"summary": title, "description": testText}, Reason: testText,
	}}
	target := Target{TargetReceiver, t.Receiver}.String()
	d := Delivery{
		Key:      testKey + strings.TrimPrefix(DeliveryKey(identity, e), "msg_"),
		Endpoint: e, Kind: KindTriggered, Target: target, Priority: PriorityFirst, State: DeliverySending, Attempts: 1,
		CreatedAt: t.At, FirstAttemptAt: t.At,
	}
	if !e.Integration() {
		d.Body = fitPage(Page{Type: "incident." + string(KindTriggered), Timestamp: t.At.UTC(), Version: PageVersion, Data: PageData{
			IncidentView: View(in, ""),
			Page: PageInfo{Target: target, Test: true, Note: t.Note,
				AckURL: p.ExternalURL + "/hooks/ack/" + LinkToken(p.LinkKey, d.Key)},
		}})
	}
	return d, in
}

// All returns every endpoint of the receiver: what it pages, then Alertmanager's integrations.
func (r Receiver) All() []Endpoint { return r.all() }
