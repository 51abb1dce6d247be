package alertmanagers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/alertmanagers/alertmanagertest"
	"tocsin/oncall"
)

func TestAtOnceAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		am := alertmanagertest.New()
		r := newRig(t, hosts{"am.example": am}, alertmanagers.Options{})
		r.start()
		defer r.stop()
		time.Sleep(90 * time.Second)
		fired := time.Now().UTC()
		r.fire("A", "B")
		synctest.Wait()
		wantFiring(t, am, "A", "B")
		a, _ := am.Alert("alertname", "A")
		if !a.StartsAt.Equal(fired) || !a.EndsAt.Equal(fired.Add(4*time.Minute)) || a.Labels["cluster"] != "shop-1" ||
			a.Annotations["summary"] != "<b>it is</b>" || a.GeneratorURL != alertOf("A").GeneratorURL || am.Agent() != "tocsin/1.2.3" {
			t.Errorf("got %+v by %s", a, am.Agent())
		}
		for range 30 { // sent again, it never ends by itself
			time.Sleep(time.Minute)
			wantFiring(t, am, "A", "B")
		}
		r.resolve("A")
		synctest.Wait()
		wantFiring(t, am, "B")
		time.Sleep(30 * time.Minute)
		again := 0
		for _, h := range am.History() {
			if h == "A resolved" {
				again++
			}
		}
		if again < 15 || again > 17 {
			t.Errorf("the resolution was sent %d times: %q", again, am.History())
		}
		r.fire("A")
		synctest.Wait()
		wantFiring(t, am, "A", "B")
	})
}

// TestSlow: one that hangs delays nobody, and hears the newest state when it is back.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := alertmanagertest.New(), alertmanagertest.New()
		slow.SetFault(func(int) alertmanagertest.Fault { return alertmanagertest.Fault{Hang: true} })
		r := newRig(t, hosts{"slow.example": slow, "quick.example": quick}, alertmanagers.Options{})
		r.start()
		defer r.stop()
		for i := range 100 {
			r.fire("A", fmt.Sprint("B", i))
			synctest.Wait()
			wantFiring(t, quick, "A", fmt.Sprint("B", i))
			time.Sleep(time.Second)
			r.resolve("A", fmt.Sprint("B", i))
			synctest.Wait()
			wantFiring(t, quick)
			time.Sleep(5 * time.Second)
		}
		if text := r.log.String(); strings.Count(text, "does not take alerts") != 1 || !strings.Contains(text, "did not answer in time") {
			t.Errorf("log: %s", text)
		}
		slow.SetFault(nil)
		r.fire("C")
		time.Sleep(31 * time.Second)
		wantFiring(t, slow, "C")
		if got, _ := slow.Alert("alertname", "A"); got.EndsAt.After(time.Now()) {
			t.Errorf("A: %+v", got)
		}
	})
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]alertmanagertest.Fault{
		"500": {Status: 500}, "503, taken": {Status: 503, After: true}, "401": {Status: 401}, "404": {Status: 404}, "429": {Status: 429},
		"reset": {Reset: true}, "reset, taken": {Reset: true, After: true}, "hang": {Hang: true}, "redirect": {Status: 302},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				am := alertmanagertest.New()
				am.SetFault(func(n int) alertmanagertest.Fault {
					if n < 3 {
						return fault
					}
					return alertmanagertest.Fault{}
				})
				r := newRig(t, hosts{"am.example": am}, alertmanagers.Options{})
				r.start()
				defer r.stop()
				r.fire("A")
				time.Sleep(30 * time.Second)
				wantFiring(t, am, "A")
				r.resolve("A")
				synctest.Wait()
				wantFiring(t, am)
			})
		})
	}
}

// TestRefused: one alert that is refused takes none of the others along.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		am := alertmanagertest.New()
		r := newRig(t, hosts{"am.example": am}, alertmanagers.Options{})
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("A%02d", i))
		}
		r.fire(names...)
		bad := evaluator.Forwarded{StartsAt: time.Now()} // without labels
		r.f.Forward([]evaluator.Forwarded{bad})
		r.start()
		time.Sleep(10 * time.Second)
		if got := am.Firing(time.Now(), "alertname"); len(got) != 100 {
			t.Errorf("%d fire", len(got))
		}
		if n := testutil.CollectAndCount(r.reg, "tocsin_alertmanagers_alerts_dropped_total"); n != 1 || !strings.Contains(r.log.String(), "at least one label pair required") {
			t.Errorf("log: %s", r.log.String())
		}
		r.stop()
	})
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		am := alertmanagertest.New()
		r := newRig(t, hosts{"am.example": am}, alertmanagers.Options{})
		r.start()
		defer r.stop()
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprint("A", i))
		}
		r.fire(names...)
		time.Sleep(time.Second)
		// How much is there when the sender first looks is the scheduler's affair; a request for each alert is not.
		if n, largest := am.Requests(); n > 50 || largest != 256 || len(am.Firing(time.Now(), "alertname")) != 1000 {
			t.Errorf("%d requests of up to %d alerts", n, largest)
		}
	})
}

// TestRestart: what fires is sent at once, when the evaluator remembers it; so is what resolved lately.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		am := alertmanagertest.New()
		start := time.Now()
		resolved := func(_ context.Context, since time.Time) ([]oncall.Transition, error) {
			if !since.Equal(start.Add(-15 * time.Minute)) {
				t.Errorf("since %v", since)
			}
			return []oncall.Transition{
				{Labels: labels.FromStrings("alertname", "Gone"), At: start.Add(-time.Minute), To: oncall.StateResolved},
				{Labels: labels.FromStrings("alertname", "A"), At: start.Add(-time.Minute), To: oncall.StateResolved}, // by one of two rules
				{Labels: labels.FromStrings("alertname", "Never"), At: start.Add(-time.Minute), To: oncall.StateInactive},
			}, nil
		}
		r := newRig(t, hosts{"am.example": am}, alertmanagers.Options{Resolved: resolved, ExternalLabels: labels.FromStrings("cluster", "shop-1")})
		r.start()
		defer r.stop()
		time.Sleep(3500 * time.Millisecond)
		r.mu.Lock()
		a := alertOf("A")
		a.StartsAt = time.Now().Add(-time.Hour)
		r.active["A"] = a
		r.mu.Unlock()
		time.Sleep(time.Second)
		wantFiring(t, am, "A")
		gone, ok := am.Alert("alertname", "Gone")
		if !ok || !gone.EndsAt.Equal(start.Add(-time.Minute)) || gone.Labels["cluster"] != "shop-1" {
			t.Errorf("got %+v", gone)
		}
		if _, ok := am.Alert("alertname", "Never"); ok {
			t.Error("what never fired was sent")
		}
	})
}

func TestRecallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		am := alertmanagertest.New()
		r := newRig(t, hosts{"am.example": am}, alertmanagers.Options{Resolved: func(context.Context, time.Time) ([]oncall.Transition, error) {
			return nil, errors.New("the store is away")
		}})
		r.fire("A")
		r.start()
		synctest.Wait()
		wantFiring(t, am, "A")
		r.stop()
	})
}

// TestStop: what changed just before the end is still sent, and an Alertmanager that hangs does not hold it up.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		am, slow := alertmanagertest.New(), alertmanagertest.New()
		slow.SetFault(func(int) alertmanagertest.Fault { return alertmanagertest.Fault{Hang: true} })
		r := newRig(t, hosts{"am.example": am, "slow.example": slow}, alertmanagers.Options{})
		r.start()
		synctest.Wait()
		r.fire("A")
		began := time.Now()
		r.stop()
		wantFiring(t, am, "A")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v to end", took)
		}
	})
}

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := hosts{"one.example": alertmanagertest.New(), "two.example": alertmanagertest.New()}
		r := newRig(t, servers, alertmanagers.Options{})
		r.start()
		defer r.stop()
		r.fire("A")
		synctest.Wait()
		if err := r.f.Apply([]alertmanagers.Config{config(t, "http://two.example")}, labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.fire("B")
		synctest.Wait()
		wantFiring(t, servers["one.example"], "A")
		wantFiring(t, servers["two.example"], "A", "B")
		if n := testutil.CollectAndCount(r.reg, "tocsin_alertmanagers_alerts_sent_total"); n != 1 {
			t.Errorf("%d Alertmanagers have metrics", n)
		}
		if err := r.f.Apply(nil, labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.fire("C")
		time.Sleep(10 * time.Minute)
		if _, ok := servers["two.example"].Alert("alertname", "C"); ok {
			t.Error("sent to an Alertmanager that is configured no more")
		}
	})
}

func TestForm(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := alertOf("A")
	a.StartsAt = now.Add(-time.Hour)
	for _, c := range []struct {
		name   string
		change func(*evaluator.Forwarded)
		ends   time.Time
		url    bool
	}{
		{"short interval", func(*evaluator.Forwarded) {}, now.Add(4 * time.Minute), true},
		{"long interval", func(a *evaluator.Forwarded) { a.Interval = 10 * time.Minute }, now.Add(40 * time.Minute), true},
		{"resolved", func(a *evaluator.Forwarded) { a.EndsAt = now.Add(-time.Minute) }, now.Add(-time.Minute), true},
		{"clock set back", func(a *evaluator.Forwarded) { a.EndsAt = now.Add(-2 * time.Hour) }, now.Add(-time.Hour), true},
		{"no URL", func(a *evaluator.Forwarded) { a.GeneratorURL = "" }, now.Add(4 * time.Minute), false},
		{"relative URL", func(a *evaluator.Forwarded) { a.GeneratorURL = "/graph" }, now.Add(4 * time.Minute), false},
		{"broken URL", func(a *evaluator.Forwarded) { a.GeneratorURL = "http://a b/%zz" }, now.Add(4 * time.Minute), false},
	} {
		got := a
		c.change(&got)
		if f := alertmanagers.Form(got, now); !f.EndsAt.Equal(c.ends) || (f.GeneratorURL != "") != c.url {
			t.Errorf("%s: got %+v", c.name, f)
		}
	}
}

func TestMetricNames(t *testing.T) {
	r := newRig(t, hosts{"am.example": alertmanagertest.New()}, alertmanagers.Options{})
	problems, err := testutil.GatherAndLint(r.reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v (%v)", problems, err)
	}
}
