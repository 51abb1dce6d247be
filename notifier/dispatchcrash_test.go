package notifier_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

var errKilled = errors.New("killed")

// kill ends the dispatcher as a SIGKILL would: nothing that it does on its way out is committed. What its
// attempts under way came to is lost.
func (k *desk) kill() {
	k.t.Helper()
	k.store.mu.Lock()
	k.store.fail = func(oncall.Dispatch) (error, error) { return errKilled, nil }
	k.store.mu.Unlock()
	k.stop()
	if err := <-k.ended; err != nil {
		k.t.Error(err)
	}
	synctest.Wait()
	k.alive = time.Now()
	k.store.mu.Lock()
	k.store.fail = nil
	k.store.mu.Unlock()
}

func TestDispatcherRestarts(t *testing.T) {
	for _, how := range []string{"clean", "killed"} {
		t.Run(how, func(t *testing.T) {
			end := (*desk).halt
			if how == "killed" {
				end = (*desk).kill
			}
			deskTest(t, escalated(twoReceivers), func(t *testing.T, k *desk) {
				k.post(named("a"), named("b"))
				k.wantTold("api firing a oncall", "api firing b oncall")
				k.until(10 * time.Second)
				end(k)
				k.until(20 * time.Second)
				k.start()
				k.until(31 * time.Second) // group_wait goes on where it was
				if got := k.far.lines(); len(got) != 1 || got[0] != "30s team/1 FirstNotification a,b" {
					t.Errorf("%q", got)
				}
				end(k)
				k.until(40 * time.Second)
				k.start()
				k.until(3 * time.Minute)
				k.want()
				k.post(named("c"))
				k.wantTold("api firing c oncall")
				end(k)
				k.until(4 * time.Minute)
				k.start()
				k.until(10 * time.Minute) // the grid stays
				k.want("5m30s team/1 NewAlertsInGroup a,b,c")
				k.resolve(named("a"))
				k.wantTold("api resolved a")
				end(k)
				k.until(12 * time.Minute) // the tick at 10:30 was missed
				k.start()
				k.pass(time.Second)
				k.want("12m0s team/1 NewResolvedAlerts -a,b,c")
				k.wantTold()
			})
		})
	}
}

// TestDispatcherDownAlertsOutlive: what nobody could post again because tocsin was down does not end for it.
func TestDispatcherDownAlertsOutlive(t *testing.T) {
	deskTest(t, escalated(), func(t *testing.T, k *desk) {
		k.postFor(4*time.Minute, named("a"))
		k.postFor(time.Minute, named("b"))
		k.wantTold("api firing a oncall", "api firing b oncall")
		k.until(2 * time.Minute)
		k.wantTold("api resolved b")
		k.kill()
		k.until(time.Hour)
		k.start()
		k.pass(time.Minute + 59*time.Second)
		k.wantTold()
		k.pass(2 * time.Second)
		k.wantTold("api resolved a")
	})
}

// TestDispatcherEndPostedDuringStart: an end that was posted before the process began to dispatch, and was on
// disk only afterwards, is an end: at once, and if the process is killed again before anybody was told, then after that.
func TestDispatcherEndPostedDuringStart(t *testing.T) {
	ended := func(at time.Time) oncall.Received {
		return oncall.Received{At: at, Posted: []oncall.PostedAlert{{Labels: named("a"), StartsAt: at.Add(-time.Minute), EndsAt: at}}}
	}
	deskTest(t, escalated(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.wantTold("api firing a oncall")
		k.kill()
		k.pass(10 * time.Second)
		k.start()
		k.receive(ended(time.Now().Add(-50 * time.Millisecond)))
		k.wantTold("api resolved a")
	})
}

// TestDispatcherEndBehindTheCursor: incidents hear of an end also where an earlier process took it in and made
// nothing of it.
func TestDispatcherEndBehindTheCursor(t *testing.T) {
	deskTest(t, escalated(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.wantTold("api firing a oncall")
		k.kill()
		k.store.append(oncall.Received{At: time.Now(), Posted: []oncall.PostedAlert{{Labels: named("a"), StartsAt: time.Now(), EndsAt: time.Now()}}})
		k.store.mu.Lock()
		k.store.cursor++
		k.store.mu.Unlock()
		k.start()
		k.wantTold("api resolved a")
	})
}

// TestDispatcherKilledWhileSending: what was committed and may have been sent is sent again, under its key.
func TestDispatcherKilledWhileSending(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.far.answers(func(oncall.GroupDelivery) oncall.Attempt {
			k.store.mu.Lock() // it arrives, and nobody will know
			k.store.fail = func(oncall.Dispatch) (error, error) { return errKilled, nil }
			k.store.mu.Unlock()
			return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
		})
		k.until(31 * time.Second)
		k.kill()
		k.far.answers(nil)
		k.start()
		k.pass(time.Second)
		if len(k.far.got) != 2 || k.far.got[0].d.Key != k.far.got[1].d.Key {
			t.Errorf("%+v", k.far.got)
		}
		k.far.lines()
		k.resolve(named("a"))
		k.pass(10 * time.Minute)
		k.want("5m30s team/0 AllAlertsResolved -a")
	})
}

// TestDispatcherMaybeTold: an attempt whose answer never came may have told of an alert; its end is told.
func TestDispatcherMaybeTold(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.far.answers(func(oncall.GroupDelivery) oncall.Attempt {
			if time.Since(k.began) < 5*time.Minute {
				return oncall.Attempt{Outcome: oncall.OutcomeUnknown, Error: "timeout"}
			}
			return oncall.Attempt{Outcome: oncall.OutcomeDelivered}
		})
		k.post(named("a"))
		k.until(2 * time.Minute)
		k.resolve(named("a"))
		k.until(4 * time.Minute)
		k.far.lines()
		k.until(11 * time.Minute)
		got := k.far.lines()
		if len(got) == 0 || got[len(got)-1] != "5m30s team/0 AllAlertsResolved -a" {
			t.Errorf("%q", got)
		}
	})
}

func TestDispatcherTrimsTheLog(t *testing.T) {
	deskTest(t, escalated(), func(t *testing.T, k *desk) {
		for range 10 {
			k.post(named("a"), named("b"))
			k.pass(10 * time.Second)
		}
		k.pass(time.Minute)
		if len(k.store.log) != 0 || len(k.store.alerts) != 2 {
			t.Errorf("%d rows in the log, %d alerts on record", len(k.store.log), len(k.store.alerts))
		}
		k.told()
		k.kill()
		k.start()
		k.wantTold()
		if n := len(k.d.Alerts(time.Now())); n != 2 {
			t.Errorf("%d alerts after a restart", n)
		}
		k.resolve(named("a"), named("b"))
		k.pass(5 * time.Minute)
		if len(k.store.log)+len(k.store.alerts)+len(k.store.groups) != 0 {
			t.Errorf("left: log %v, alerts %v, groups %v", k.store.log, k.store.alerts, k.store.groups)
		}
	})
}

// TestDispatcherLosesNothing posts, silences, breaks and kills at random, then lets everything calm down and
// compares what the far ends were told last with what is true.
func TestDispatcherLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 5, 40).Draw(rt, "steps")
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			k := newDesk(t, routed(inhibiting, twoReceivers, func(p *oncall.Policy) {
				p.Routing.Root.GroupBy = []string{"team"}
				p.Routing.Root.GroupWait, p.Routing.Root.GroupInterval = 10*time.Second, time.Minute
				p.Receivers["team"] = oncall.Receiver{Name: "team", Integrations: p.Receivers["team"].Integrations, Escalation: "oncall"}
			}))
			k.start()
			w := walk{desk: k, firing: map[string]bool{}}
			for _, s := range steps {
				w.step(s)
			}
			problems = w.compare()
			k.halt()
		})
		if len(problems) > 0 {
			rt.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}

// step is something that happens, and what passes after it.
type step struct {
	do      string
	alert   int
	seconds int // of a silence, or of being down
	outcome oncall.Outcome
	fails   int
	after   bool // the commit that fails was written
	pass    int  // seconds
}

func drawStep(t *rapid.T) step {
	return step{
		do:      rapid.SampledFrom([]string{"post", "post", "post", "resolve", "resolve", "silence", "kill", "halt", "answer", "fail"}).Draw(t, "do"),
		alert:   rapid.IntRange(0, 7).Draw(t, "alert"),
		seconds: rapid.IntRange(1, 300).Draw(t, "seconds"),
		outcome: rapid.SampledFrom([]oncall.Outcome{oncall.OutcomeRetry, oncall.OutcomeUnknown, oncall.OutcomeRefused, oncall.OutcomeDelivered}).Draw(t, "outcome"),
		fails:   rapid.IntRange(1, 3).Draw(t, "fails"),
		after:   rapid.Bool().Draw(t, "after"),
		pass:    rapid.IntRange(0, 100).Draw(t, "pass"),
	}
}

type walk struct {
	*desk
	firing map[string]bool // what was posted last, by name
}

func (w *walk) alert(i int) labels.Labels {
	return named(fmt.Sprintf("n%d", i), "severity", []string{"critical", "warning"}[i%2], "team", []string{"x", "y"}[i/3%2])
}

func (w *walk) step(s step) {
	name := fmt.Sprintf("n%d", s.alert)
	switch s.do {
	case "post":
		w.postFor(24*time.Hour, w.alert(s.alert))
		w.firing[name] = true
	case "resolve":
		w.resolve(w.alert(s.alert))
		w.firing[name] = false
	case "silence":
		w.silence(time.Duration(s.seconds)*time.Second, name)
	case "kill", "halt":
		if s.do == "kill" {
			w.kill()
		} else {
			w.halt()
		}
		w.pass(time.Duration(s.seconds) * time.Second)
		w.start()
	case "answer":
		w.answers(s.outcome)
	case "fail":
		left := s.fails
		w.store.mu.Lock()
		w.store.fail = func(oncall.Dispatch) (error, error) {
			if left--; left < 0 {
				return nil, nil
			}
			if s.after {
				return nil, errStore
			}
			return errStore, nil
		}
		w.store.mu.Unlock()
	}
	w.pass(time.Duration(s.pass) * time.Second)
}

func (w *walk) answers(o oncall.Outcome) {
	w.far.answers(func(oncall.GroupDelivery) oncall.Attempt {
		a := oncall.Attempt{Outcome: o}
		if o == oncall.OutcomeRetry {
			a.Status = 503
		}
		return a
	})
}

// compare lets all faults, silences and retries pass, and returns what somebody was not told.
func (w *walk) compare() (problems []string) {
	w.answers(oncall.OutcomeDelivered)
	w.pass(20 * time.Minute)
	critical := false
	for name, firing := range w.firing {
		critical = critical || firing && (name[1]-'0')%2 == 0
	}
	for i := range 8 {
		name := fmt.Sprintf("n%d", i)
		muted := i%2 == 1 && critical
		for n := range 2 {
			e := oncall.IntegrationEndpoint("webhook_configs", "team", n)
			switch knows := w.knows(e, name); {
			case w.firing[name] && !muted && !knows:
				problems = append(problems, fmt.Sprintf("%s does not know that %s fires", e, name))
			case !w.firing[name] && knows:
				problems = append(problems, fmt.Sprintf("%s was never told that %s resolved", e, name))
			}
		}
		if heard, want := w.heard(name), w.mayHear(name, muted); !slices.Contains(want, heard) {
			problems = append(problems, fmt.Sprintf("the incidents last heard %q of %s, want one of %q", heard, name, want))
		}
	}
	if len(problems) > 0 {
		problems = append(problems, w.far.lines()...)
		problems = append(problems, w.told()...)
	}
	return problems
}

// knows reports whether an integration was last told that the alert fires.
func (w *walk) knows(e oncall.Endpoint, name string) (fires bool) {
	for _, n := range w.far.got {
		if n.d.Endpoint != e || n.Outcome == oncall.OutcomeRetry || n.Outcome == oncall.OutcomeRefused {
			continue
		}
		for _, a := range n.d.Alerts {
			if a.Labels.Get("alertname") == name {
				fires = a.EndsAt.IsZero()
			}
		}
	}
	return fires
}

// heard is what the incidents last heard of the alert.
func (w *walk) heard(name string) (last oncall.ChangeStatus) {
	for _, c := range w.store.changes {
		if c.Labels.Get("alertname") == name {
			last = c.Status
		}
	}
	return last
}

func (w *walk) mayHear(name string, muted bool) []oncall.ChangeStatus {
	switch {
	case !w.firing[name]:
		return []oncall.ChangeStatus{"", oncall.ChangeResolved}
	case muted:
		return []oncall.ChangeStatus{"", oncall.ChangeMuted, oncall.ChangeResolved}
	}
	return []oncall.ChangeStatus{oncall.ChangeFiring}
}

// TestDispatcherStartsUnderLoad: posts that never cease must not keep a start from its end.
func TestDispatcherStartsUnderLoad(t *testing.T) {
	synctestDesk(t, routed(), func(t *testing.T, k *desk) {
		k.store.append(oncall.Received{At: time.Now(), Posted: []oncall.PostedAlert{{Labels: named("a"), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour)}}})
		k.store.endless = true
		k.start()
		k.until(time.Minute)
		k.want("30.01s team/0 FirstNotification a") // it goes out once the read under way has ended
		k.halt()
	})
}
