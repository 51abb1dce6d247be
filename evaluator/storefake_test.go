package evaluator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tocsin/oncall"
)

var errStore = errors.New("the store is down")

// memStore is a Store in memory that keeps what a real one keeps, and fails when told to.
type memStore struct {
	mu          sync.Mutex
	alerts      map[oncall.AlertKey]oncall.Alert
	order       []oncall.AlertKey
	health      map[oncall.RuleID]oncall.RuleHealth
	transitions []oncall.Transition
	changes     []oncall.AlertChange
	writes      []oncall.Write
	loads       int

	// fail is asked before every commit and load; the store then does the work, or part of it.
	fail func(op string) failure
}

type failure int

const (
	works       failure = iota
	failsBefore         // nothing was written
	failsAfter          // all was written, and the caller is told that it was not
	losesLease
)

func newMemStore() *memStore {
	return &memStore{alerts: map[oncall.AlertKey]oncall.Alert{}, health: map[oncall.RuleID]oncall.RuleHealth{},
		fail: func(string) failure { return works }}
}

func (s *memStore) failing(f func(op string) failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *memStore) LoadEvaluator(context.Context) (oncall.EvaluatorState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.fail("load") != works {
		return oncall.EvaluatorState{}, errStore
	}
	var st oncall.EvaluatorState
	for _, k := range s.order {
		st.Alerts = append(st.Alerts, s.alerts[k])
	}
	for _, h := range s.health {
		st.Health = append(st.Health, h)
	}
	return st, nil
}

func (s *memStore) CommitEvaluation(ctx context.Context, w oncall.Write, e oncall.Evaluation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	f := s.fail("commit")
	switch f {
	case failsBefore:
		return errStore
	case losesLease:
		return fmt.Errorf("commit: %w", oncall.ErrLeaseLost)
	}
	for _, k := range e.Deletes {
		delete(s.alerts, k)
		s.order = slices.DeleteFunc(s.order, func(o oncall.AlertKey) bool { return o == k })
	}
	for _, a := range e.Upserts {
		k := oncall.AlertKey{Rule: a.Rule, Fingerprint: oncall.FingerprintOf(a.Labels)}
		if _, known := s.alerts[k]; !known {
			s.order = append(s.order, k)
		}
		s.alerts[k] = a
	}
	for _, h := range e.Health {
		if h.FailingSince.IsZero() {
			delete(s.health, h.Rule)
		} else {
			s.health[h.Rule] = h
		}
	}
	s.transitions = append(s.transitions, e.Transitions...)
	s.changes = append(s.changes, e.Changes...)
	s.writes = append(s.writes, w)
	if f == failsAfter {
		return errStore
	}
	return nil
}

// told returns the changes so far as "status alertname", without those before from.
func (s *memStore) told(from int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, c := range s.changes[min(from, len(s.changes)):] {
		out = append(out, fmt.Sprintf("%s %s", c.Status, c.Labels.Get("alertname")))
	}
	return out
}

func (s *memStore) stored() []oncall.Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []oncall.Alert
	for _, k := range s.order {
		out = append(out, s.alerts[k])
	}
	return out
}

// check returns where the record contradicts itself: every change and transition must follow from the one
// before.
func (s *memStore) check() (problems []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := map[string]oncall.AlertState{}
	for _, tr := range s.transitions {
		k := fmt.Sprint(tr.Rule, tr.Fingerprint)
		was := state[k]
		if was == "" || was == oncall.StateResolved {
			was = oncall.StateInactive
		}
		if tr.From != was {
			problems = append(problems, fmt.Sprintf("%s went from %s, but was %s: %s", tr.Labels, tr.From, was, tr.Reason))
		}
		if tr.Reason == "" {
			problems = append(problems, fmt.Sprintf("%s %s→%s has no reason", tr.Labels, tr.From, tr.To))
		}
		state[k] = tr.To
	}
	firing := map[string]bool{}
	for _, c := range s.changes {
		k := c.Source + c.Labels.String()
		if (c.Status == oncall.ChangeFiring) == firing[k] {
			problems = append(problems, fmt.Sprintf("%s %s, but firing before was %t", k, c.Status, firing[k]))
		}
		firing[k] = c.Status != oncall.ChangeResolved
	}
	return problems
}
