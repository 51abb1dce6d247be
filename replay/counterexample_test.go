package replay_test

import (
	"testing"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/replay"
)

// TestCounterexamplesPlayOut: whatever a proof says that breaks a promise, severities that it does not name included,
// breaks it when it is played through.
func TestCounterexamplesPlayOut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := randomPolicy(rt)
		e := p.Escalations["e"]
		if e.Repeat.Times > 0 && (e.Urgency.Low || len(e.Urgency.LowWhen) > 0) {
			e.Repeat = oncall.Repeat{} // there the proof relies on less than the machine does
		}
		e.Promise.Severity = rapid.SampledFrom([]string{"", "", "warning"}).Draw(rt, "promised")
		for i := range e.Tiers {
			if text := rapid.SampledFrom([]string{"", "severity", "host"}).Draw(rt, "more"); text != "" {
				m, err := amlabels.NewMatcher(rapid.SampledFrom([]amlabels.MatchType{amlabels.MatchRegexp, amlabels.MatchNotRegexp}).Draw(rt, "type"),
					text, rapid.SampledFrom([]string{"critical|page", "db-[0-9]+", ".+", "(x|)y{2,3}"}).Draw(rt, "value"))
				if err != nil {
					rt.Fatal(err)
				}
				e.Tiers[i].Condition.When = append(e.Tiers[i].Condition.When, m)
			}
		}
		p.Escalations["e"] = e
		from := time.Date(2025, 3, 28, 0, 0, 0, 0, time.UTC)
		breaches := oncall.Prove(p, from, from.Add(2*24*time.Hour))
		for _, b := range breaches[:min(len(breaches), 3)] {
			if b.Doubtful { // what it asks for excludes itself, such as two regular expressions that nothing matches
				continue
			}
			with := labels.NewBuilder(labels.FromMap(b.Labels)).Set("alertname", "A")
			if e.Promise.Severity != "" {
				with.Set("severity", e.Promise.Severity)
			}
			run, err := replay.Simulate(replay.Scenario{Policy: p, Escalation: "e", At: b.From, For: e.Promise.Within, Number: b.Number, Labels: with.Labels()})
			if err != nil {
				rt.Fatal(err)
			}
			if run.Reached != nil && !run.Reached.At.After(b.From.Add(e.Promise.Within)) {
				rt.Fatalf("%s is reached at %s, within %s: %+v\n%+v\n%v", run.Reached.Target, run.Reached.At, e.Promise.Within, b, e, run.Timeline)
			}
		}
	})
}
