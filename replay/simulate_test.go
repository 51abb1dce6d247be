package replay_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/config"
	"tocsin/oncall"
	"tocsin/replay"
)

var update = flag.Bool("update", false, "rewrite the golden timelines")

// outage is when the alarm went off: a Monday, in the office hours of Madrid.
var outage = time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)

func policy(t testing.TB) oncall.Policy {
	t.Helper()
	plan, problems := config.Load("testdata/tocsin.yml")
	if plan == nil {
		t.Fatal(problems)
	}
	return plan.Policy
}

func TestSimulate(t *testing.T) {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		at    time.Time
		lasts time.Duration
		acks  []replay.Ack
		fail  []string
		json  bool
	}{
		{name: "outage", at: outage, lasts: 2 * time.Hour},
		{name: "acknowledged", at: outage, lasts: time.Hour, acks: []replay.Ack{{User: "ana", After: 7 * time.Minute}, {User: "bo", After: 8 * time.Minute}}},
		{name: "acknowledged_json", at: outage, lasts: 20 * time.Minute, acks: []replay.Ack{{User: "ana", After: 3 * time.Minute}}, json: true},
		{name: "nobody_on_call", at: time.Date(2024, 9, 23, 16, 59, 0, 0, madrid), lasts: 20 * time.Minute},
		{name: "handed_off", at: time.Date(2024, 9, 23, 8, 58, 0, 0, madrid), lasts: 8 * time.Minute},
		{name: "slack_is_down", at: outage, lasts: 15 * time.Minute, fail: []string{"slack"}},
		{name: "refused", at: outage, lasts: 15 * time.Minute, fail: []string{"ana=refused"}},
		{name: "nobody_answers", at: outage, lasts: 35 * time.Minute, fail: []string{"slack", "ana-phone", "bo-phone", "duty-manager=refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := replay.Scenario{Policy: policy(t), Escalation: "session-oncall", At: c.at, For: c.lasts, Acks: c.acks,
				Labels: labels.FromStrings("alertname", "SessionMemoryHigh", "service", "session", "severity", "critical")}
			var err error
			if s.Answers, err = replay.Failing(s.Policy, c.fail); err != nil {
				t.Fatal(err)
			}
			run, err := replay.Simulate(s)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			write := replay.NewReport(s, run).WriteText
			if c.json {
				write = replay.NewReport(s, run).WriteJSON
			}
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the timeline differs (-want +got); -update rewrites it:\n%s", diff)
	}
}

func TestSimulateRefuses(t *testing.T) {
	p := policy(t)
	if _, err := replay.Simulate(replay.Scenario{Policy: p, Escalation: "session", At: outage}); oncall.ErrorCode(err) != oncall.CodeNotFound {
		t.Errorf("an unknown escalation: %v", err)
	}
	for _, name := range []string{"anna", "#other", "ana=sometimes", ""} {
		if _, err := replay.Failing(p, []string{name}); err == nil {
			t.Errorf("%q was taken for a far end", name)
		}
	}
}
