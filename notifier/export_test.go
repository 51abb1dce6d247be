package notifier

import (
	"testing"
	"time"

	"tocsin/oncall"
)

// ReplaceCore puts another machine in the core's place until the end of the test.
func ReplaceCore(t *testing.T, f func(time.Time, oncall.Incident, oncall.Event, oncall.Policy) oncall.Decision) {
	before := core
	core = f
	t.Cleanup(func() { core = before })
}

// NewPace returns what notes a claim and says when the next may begin.
func NewPace() func(began, ended time.Time) time.Time {
	p := new(pace)
	return func(began, ended time.Time) time.Time {
		p.spend(began, ended)
		return p.next
	}
}
