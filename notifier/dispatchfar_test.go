package notifier_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tocsin/oncall"
)

// farEnd is the integrations of all receivers. It remembers what it got.
type farEnd struct {
	mu     sync.Mutex
	began  time.Time
	got    []notified
	answer func(d oncall.GroupDelivery) oncall.Attempt // nil: delivered
	block  map[oncall.Endpoint]chan struct{}           // attempts there wait
}

type notified struct {
	at time.Time
	d  oncall.GroupDelivery
	oncall.Outcome
}

func (s *farEnd) SendGroup(ctx context.Context, d oncall.GroupDelivery, route *oncall.Route, _ oncall.Notice) oncall.Attempt {
	start := time.Now()
	s.mu.Lock()
	block := s.block[d.Endpoint]
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return oncall.Attempt{At: start, Took: time.Since(start), Outcome: oncall.OutcomeUnknown, Error: "timeout"}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := oncall.Attempt{Outcome: oncall.OutcomeDelivered, Status: 200}
	if s.answer != nil {
		a = s.answer(d)
	}
	a.At, a.Took = start, time.Since(start)
	s.got = append(s.got, notified{time.Now(), d, a.Outcome})
	return a
}

// lines are what arrived since they were last asked for: when, where, why, and the alerts, those that
// resolved with a minus.
func (s *farEnd) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.got, func(a, b notified) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(string(a.d.Endpoint), string(b.d.Endpoint)))
	})
	var lines []string
	for _, n := range s.got {
		var alerts []string
		for _, a := range n.d.Alerts {
			name := a.Labels.Get("alertname")
			if !a.EndsAt.IsZero() {
				name = "-" + name
			}
			alerts = append(alerts, name)
		}
		line := fmt.Sprintf("%s %s %s %s", n.at.Sub(s.began), n.d.Endpoint.Address(), n.d.Reason, strings.Join(alerts, ","))
		if n.Outcome != oncall.OutcomeDelivered {
			line += " " + string(n.Outcome)
		}
		lines = append(lines, line)
	}
	s.got = nil
	return lines
}

// answers has all attempts from now on answered so; nil: delivered.
func (s *farEnd) answers(f func(d oncall.GroupDelivery) oncall.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}
