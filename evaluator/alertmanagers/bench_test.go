package alertmanagers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/alertmanagers/alertmanagertest"
)

// BenchmarkForward sends 10,000 changes to a fake Alertmanager that checks and keeps each: most of it is the
// fake's.
func BenchmarkForward(b *testing.B) {
	am := alertmanagertest.New()
	f, err := alertmanagers.New([]alertmanagers.Config{config(b, "http://am.example")}, alertmanagers.Options{
		Active: func() []evaluator.Forwarded { return nil }}.WithTransport(hosts{"am.example": am}))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	const n = 10_000
	alerts := make([]evaluator.Forwarded, n)
	for i := range alerts {
		alerts[i] = alertOf("SessionMemoryHigh")
		alerts[i].Labels = labels.FromStrings("alertname", "SessionMemoryHigh", "instance", fmt.Sprintf("10.0.%d.%d:9100", i/256, i%256), "job", "session", "severity", "critical")
		alerts[i].StartsAt = time.Now()
	}
	rounds := 0
	for b.Loop() {
		f.Forward(alerts)
		rounds++
		for len(am.History()) < rounds*n {
			<-time.After(time.Millisecond)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/alert")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
