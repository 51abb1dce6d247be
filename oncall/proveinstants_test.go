package oncall

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

// manyWays is a policy in which offsets, lags and edges meet in many ways: thirty users with contact rules of their
// own take turns of a day, tiers wait for a condition and for daytime.
func manyWays(within, after time.Duration) Policy {
	p := Policy{
		Users:     map[string]User{},
		Receivers: map[string]Receiver{"pager": {Name: "pager", Endpoints: []Endpoint{PageEndpoint("pager", 0)}}},
		Routing:   Routing{TimeIntervals: map[string][]timeinterval.TimeInterval{"one": {{Times: []timeinterval.TimeRange{{StartMinute: 60, EndMinute: 300}}}}}},
	}
	var line [][]string
	for i := range 30 {
		name := fmt.Sprint("u", i)
		line = append(line, []string{name})
		p.Users[name] = User{Name: name, Contacts: []Contact{{Slack: "#x"}, {After: time.Duration(i*i+1) * after, Receiver: "pager"}}}
	}
	p.Schedules = map[string]Schedule{"s": {Name: "s", Layers: []Layer{{Name: "l", Rosters: []Roster{{
		Users: line, Rotation: Rotation{Every: day, Anchor: time.Date(2025, 3, 1, 5, 0, 0, 0, time.UTC)}}}}}}}
	e := Escalation{Name: "e", Urgency: Urgency{Low: true, Deadline: time.Hour}, Promise: Promise{Within: within}, Repeat: Repeat{Every: 3 * time.Hour, Times: 3}}
	for i := range 4 {
		e.Tiers = append(e.Tiers, Tier{After: time.Duration(i*i*7+i) * time.Minute, Condition: Condition{NotDuring: []string{"one"}},
			Targets: []Target{{Kind: TargetSchedule, Name: "s"}}})
	}
	p.Escalations = map[string]Escalation{"e": e}
	return p
}

// TestProofIsBounded: what is accepted is proved in bounded time and memory, or is said not to be.
func TestProofIsBounded(t *testing.T) {
	from := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, b := range Prove(manyWays(8*time.Hour, time.Minute), from, from.Add(5*day)) {
		if strings.Contains(b.Why, "nothing is proved") {
			t.Errorf("whole minutes: %+v", b)
		}
	}
	odd := Prove(manyWays(day, 7*time.Millisecond), from, from.Add(90*day))
	if len(odd) != 1 || !strings.Contains(odd[0].Why, "nothing is proved") {
		t.Errorf("milliseconds: %+v", odd)
	}
}

// TestLatticeHoldsInstants: where there are too many instants, what is looked at instead holds all of them.
func TestLatticeHoldsInstants(t *testing.T) {
	from := time.Date(2025, 3, 1, 0, 0, 30, 0, time.UTC)
	for _, after := range []time.Duration{time.Minute, 15 * time.Second} {
		p := manyWays(40*time.Minute, after)
		pr := newProver(p, from, from.Add(2*day)).proof(p.Escalations["e"], alertCase{})
		some, ok := pr.instants()
		if !ok || len(some) < 100 {
			t.Fatalf("%d instants, %v", len(some), ok)
		}
		users := pr.users()
		var afters []time.Duration
		for u := range users {
			for _, c := range pr.p.Users[u].Contacts {
				afters = append(afters, c.After)
			}
		}
		all, ok := pr.lattice(pr.edges(users), afters)
		if !ok {
			t.Fatal("too many")
		}
		for _, at := range some {
			if _, found := slices.BinarySearchFunc(all, at, time.Time.Compare); !found {
				t.Errorf("contact rules after multiples of %s: %s is missing", after, at)
			}
		}
	}
}
