package oncall_test

import (
	"encoding/json"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin/oncall"
)

// source draws what happens next: rapid, which finds the shortest story that breaks a rule, or a plain generator,
// which goes through a million steps.
type source func(name string, n int) int

func pick[T any](draw source, name string, from ...T) T { return from[draw(name, len(from))] }

// TestMachineInvariants drives the machine with random events, deliveries, downtimes, presses and edits, and
// holds it to what users rely on, whatever happens.
func TestMachineInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, name) }
		s := newSim(testPolicy(), "")
		walk(draw, s, 1+draw("steps", 60))
		if s.problem != "" {
			rt.Fatalf("%s\n%s", s.problem, s.out.String())
		}
	})
}

// manySteps is how many decisions TestManySteps makes at least, and how many a short run does.
const manySteps, fewSteps = 1_000_000, 50_000

// TestManySteps is the same at length. A failure names the seed with which it can be had again.
func TestManySteps(t *testing.T) {
	want := manySteps
	if testing.Short() {
		want = fewSteps
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // little lives long here, and a million steps should not take a minute
	const workers = 2
	var (
		wg     sync.WaitGroup
		counts [workers]int
	)
	for w := range workers {
		wg.Go(func() {
			for seed := uint64(w); counts[w] < want/workers && !t.Failed(); seed += workers {
				s := manyStepsOf(seed)
				counts[w] += s.steps
				if s.problem != "" {
					t.Errorf("seed %d: %s", seed, s.problem)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d decisions", counts[0]+counts[1])
}

func manyStepsOf(seed uint64) *sim {
	r := rand.New(rand.NewPCG(seed, 1))
	s := newSim(testPolicy(), "")
	s.quiet = true
	walk(func(_ string, n int) int { return r.IntN(n) }, s, 40)
	return s
}

// walk does steps of a random story, and then lets it come to its end.
func walk(draw source, s *sim, steps int) {
	for range steps {
		if s.problem != "" {
			return
		}
		s.step(draw)
		s.checkAll()
	}
	// Whatever happened: once nobody acts and every delivery arrives, the story ends or says why not.
	s.edit(edits["as-before"])
	for range 12 {
		s.advance(30 * time.Minute)
		s.finish(func(oncall.Delivery) bool { return true }, oncall.OutcomeDelivered, 200)
	}
	s.checkAll()
	s.checkMadeUp()
}

var escalationNames = []string{"session", "plain", "nobody", "with-integrations", "on-call", "choosy", "robin", "low", "again"}

func (s *sim) step(draw source) {
	if s.escName == "" || draw("another escalation", 30) == 0 {
		s.escName = pick(draw, "escalation", escalationNames...)
	}
	if s.last() == nil || draw("alerts", 10) < 3 {
		s.stepAlert(draw)
		return
	}
	switch draw("what", 12) {
	case 0, 1, 2:
		s.untold(func() { s.advance(time.Duration(draw("seconds", 3600)) * time.Second) })
	case 3: // downtime
		s.untold(func() {
			s.now = s.now.Add(time.Duration(draw("down", 7200)) * time.Second)
			s.tick()
		})
	case 4: // the clock is put back, or leaps
		s.now = s.now.Add(time.Duration(draw("leap", 4*3600)-1800) * time.Second)
	case 5: // a crash: what was committed is all there is
		if draw("crash", 4) > 0 {
			return
		}
		for _, in := range s.incidents {
			s.readBack(in)
		}
	case 6:
		s.edit(edits[pick(draw, "edit", editNames()...)])
	case 7:
		o := pick(draw, "slack", barred, barred, oncall.OutcomeDelivered)
		s.finish(func(d oncall.Delivery) bool { return d.Endpoint.Kind() == "slack" }, o, 0)
		if o == oncall.OutcomeDelivered {
			for _, in := range s.incidents {
				s.apply(in, oncall.Mended{})
			}
		}
	case 8:
		o := pick(draw, "outcome", oncall.OutcomeDelivered, oncall.OutcomeRetry, oncall.OutcomeRefused, oncall.OutcomeUnknown)
		kind := pick(draw, "to", "slack", "page", "pagerduty_configs", "email_configs")
		s.finish(func(d oncall.Delivery) bool { return d.Endpoint.Kind() == kind }, o, 0)
	default:
		s.stepCommand(draw)
	}
}

func editNames() []string {
	var names []string
	for name := range edits {
		names = append(names, name)
	}
	slices.Sort(names)
	return append(names, "as-before", "as-before") // most incidents begin under what is usual
}

func (s *sim) stepAlert(draw source) {
	status := pick(draw, "status", oncall.ChangeFiring, oncall.ChangeFiring, oncall.ChangeFiring, oncall.ChangeResolved, oncall.ChangeResolved,
		oncall.ChangeUnknown, oncall.ChangeKnown, oncall.ChangeMuted)
	s.change(alert(status, s.escName, pick(draw, "name", "A", "B"), pick(draw, "instance", "1", "2"), pick(draw, "severity", "warning", "critical", "")))
}

func (s *sim) stepCommand(draw source) {
	in := s.incidents[draw("incident", len(s.incidents))]
	user := pick(draw, "user", "ana", "bo", "stranger")
	c := oncall.Command{Actor: user, User: pick(draw, "whom", "ana", "bo", "cho", "dee", "ghost"), Text: "note", Until: s.now.Add(20 * time.Minute)}
	c.Kind = pick(draw, "command", oncall.CmdAcknowledge, oncall.CmdAcknowledge, oncall.CmdUnacknowledge, oncall.CmdResolve, oncall.CmdEscalate,
		oncall.CmdSnooze, oncall.CmdAssign, oncall.CmdNote, oncall.CmdAddResponder, oncall.CmdMerge)
	if c.Kind == oncall.CmdEscalate && draw("seen", 2) == 0 {
		c.Seen = &oncall.Seen{Round: draw("round", 2), Tier: draw("tier", 3)}
	}
	if c.Kind == oncall.CmdSnooze && draw("until clear", 2) == 0 {
		c.UntilClear = equal("alertname", "A")
	}
	if c.Kind == oncall.CmdMerge {
		c.Into = int64(1 + draw("into", len(s.incidents)))
		if !s.incidents[c.Into-1].Open() { // the shell refuses it
			return
		}
	}
	before, acked := len(in.Deliveries), in.State == oncall.IncidentAcknowledged
	responder := slices.ContainsFunc(in.Notifications, func(n oncall.Notification) bool { return n.Target.Name == user })
	s.apply(in, c)
	if c.Kind == oncall.CmdAcknowledge && acked && !responder && len(in.Deliveries) != before {
		s.fail("a second acknowledgement sent something")
	}
}

// readBack has an incident as the store would return it.
func (s *sim) readBack(in *oncall.Incident) {
	doc, err := json.Marshal(in)
	if err != nil {
		s.fail("#%d cannot be written: %v", in.Number, err)
		return
	}
	var back oncall.Incident
	if err := json.Unmarshal(doc, &back); err != nil {
		s.fail("#%d cannot be read: %v", in.Number, err)
		return
	}
	back.Alerts, back.Deliveries, back.Timeline = in.Alerts, in.Deliveries, in.Timeline
	*in = back
}

// untold lets time pass, and fails if it tells anybody of an incident that is paused all along: one that was closed
// by hand may hand an alert over to it.
func (s *sim) untold(pass func()) {
	before := map[int64]int{}
	for _, in := range s.incidents {
		if !in.PausedSince.IsZero() {
			before[in.Number] = len(in.Deliveries)
		}
	}
	pass()
	for _, in := range s.incidents {
		if n, ok := before[in.Number]; ok && n != len(in.Deliveries) && !in.PausedSince.IsZero() {
			s.fail("#%d is paused, and time alone made %d deliveries", in.Number, len(in.Deliveries)-n)
		}
	}
}
