package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/replay"
)

// BenchmarkProve proves 50 escalations over 90 days, each with a schedule of its own.
func BenchmarkProve(b *testing.B) {
	p := policy(b)
	e, s := p.Escalations["session-oncall"], p.Schedules["session-primary"]
	delete(p.Escalations, "default")
	for i := range 50 {
		e.Name, s.Name = fmt.Sprint("e", i), fmt.Sprint("s", i)
		e.Promise = oncall.Promise{Within: 10 * time.Minute, Severity: "critical"}
		e.Tiers = []oncall.Tier{e.Tiers[0], {After: 2 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetSchedule, Name: s.Name}}}, e.Tiers[2]}
		p.Escalations[e.Name], p.Schedules[s.Name] = e, s
	}
	for b.Loop() {
		oncall.Prove(p, outage, outage.Add(oncall.CoverageAhead))
	}
}

// BenchmarkSimulate plays two hours of the outage through.
func BenchmarkSimulate(b *testing.B) {
	s := replay.Scenario{Policy: policy(b), Escalation: "session-oncall", At: outage, For: 2 * time.Hour,
		Labels: labels.FromStrings("alertname", "SessionMemoryHigh", "service", "session", "severity", "critical")}
	for b.Loop() {
		if _, err := replay.Simulate(s); err != nil {
			b.Fatal(err)
		}
	}
}
